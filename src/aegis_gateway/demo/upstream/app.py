"""The upstream as one RSGI application: the APIs by path, and the bill beside them.

``GET /bill``, ``GET /bill/requests?since=N``, ``POST /bill/reset`` and ``GET /healthz`` need no key: they are
a tool for tests and demos, and the server listens on loopback only.
"""

import os
from collections.abc import Callable, Sequence
from typing import Literal, Protocol
from urllib.parse import parse_qs

from aegis_gateway.demo.upstream.azure import AzureChat
from aegis_gateway.demo.upstream.bill import Bill, accounts
from aegis_gateway.demo.upstream.embeddings import Embeddings
from aegis_gateway.demo.upstream.gemini import Gemini
from aegis_gateway.demo.upstream.messages import Messages
from aegis_gateway.demo.upstream.payments import Payments
from aegis_gateway.demo.upstream.provider import Provider
from aegis_gateway.demo.upstream.responses import Responses
from aegis_gateway.demo.upstream.till import Till
from aegis_gateway.demo.upstream.wire import Http, Scope, reply


class App(Protocol):
    """One API."""

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""


Apps = Literal["provider", "payments", "both"]


class Upstream:
    """The APIs that were asked for, on one bill."""

    def __init__(self, *, apps: Apps, keys: Sequence[str], seed: int, clock: Callable[[], float]) -> None:
        known = accounts(list(keys))
        self._bill = Bill()
        self._apps: list[App] = []
        if apps != "payments":
            till = Till(accounts=known, bill=self._bill, seed=seed, clock=clock)
            chat = Provider(till)
            # Chat first: it is what benchmarks measure with.
            self._apps += [chat, Responses(till), Embeddings(till), Messages(till), Gemini(till)]
            self._apps.append(AzureChat(till, chat))
        if apps != "provider":
            self._apps.append(Payments(accounts=known, bill=self._bill, seed=seed, clock=clock))

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        path = scope.path
        for app in self._apps:
            if app.serves(path):
                return await app.__rsgi__(scope, http)
        match scope.method, path:
            case "GET", "/healthz":
                reply(http, 200, {"status": "ok", "pid": os.getpid()})
            case "GET", "/bill":
                reply(http, 200, self._bill.summary())
            case "GET", "/bill/requests":
                since = parse_qs(scope.query_string).get("since", ["0"])[0]
                if since.isdecimal():
                    reply(http, 200, self._bill.since(int(since)))
                else:
                    reply(http, 400, {"error": {"message": f"`since` is a whole number, not `{since}`"}})
            case "POST", "/bill/reset":
                self._bill.reset()
                reply(http, 200, self._bill.summary())
            case _:
                reply(http, 404, {"error": {"message": f"there is no `{scope.method} {path}` here"}})
