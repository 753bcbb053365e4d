"""The door to pages and the control API, among the doors of a gateway worker.

Rule 1: what people ask for is done in threads, few of them, each with a store of its own: calls share neither with it.
Rule 2: a worker that no person visits pays nothing: the application is built when the first one comes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import cast

import msgspec

from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope
from aegis_gateway.entrypoints.people import bridge
from aegis_gateway.entrypoints.people.bridge import Application, PeopleScope

IN_FLIGHT_MAX = 64
READING_MAX = 64
"""How many bodies are read at once. Of more, the one that has taken longest is given up: whoever sends a body whole
needs no time for it, and whoever holds many back keeps nobody else out."""
THREADS = 2
SWITCH_S = 0.0005
"""How long a thread that renders a page may keep the interpreter from the event loop that calls are on. Eight who load
an inbox of 200 requests without a pause make an answer of that loop wait 6 ms (P50), 10 with Python's own 5 ms, and 24
with four threads; measured on two cores, clients included."""

_PREFIXES = (
    "/overview",
    "/budgets",
    "/calls",
    "/runs",
    "/agents",
    "/incidents",
    "/kpi",
    "/live",
    "/approvals",
    "/notifications",
    "/policies",
    "/audit",
    "/shadow",
    "/report",
    "/rollout",
    "/settings",
    "/views",
    "/sign-in",
    "/sign-out",
    "/static",
    "/api",
    "/slack",
    "/metrics",
)

_log = logging.getLogger("aegis.people")


def is_for_people(path: str) -> bool:
    """Whether a path is one of a page, or of the control API."""
    return path == "/" or any(path == prefix or path.startswith(f"{prefix}/") for prefix in _PREFIXES)


class PeopleDoor:
    """Answers people. `build` makes the application; it blocks, and runs in a thread."""

    def __init__(self, build: Callable[[], Application]) -> None:
        """Build nothing yet."""
        self._build = build
        self._app: Application | None = None
        self._building = asyncio.Lock()
        self._in_flight = 0
        self._reading: dict[asyncio.Future[bytes], None] = {}

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request, whatever happens."""
        asked = cast(PeopleScope, scope)
        try:
            body = await self._read(asked, protocol) if bridge.has_body(asked) else b""
            await self._answer(asked, protocol, body)
        except CallError as fault:
            _refuse(protocol, fault.status, str(fault))
        except AegisError as fault:
            _refuse(protocol, 503, str(fault))
        except OSError:
            _log.debug("somebody left before they were answered")
        except Exception:
            # The last resort: an answer for who asked, the trace for the operator.
            _log.exception("a page failed in a way nobody foresaw")
            _refuse(protocol, 500, "the gateway failed; the operator's log says why")

    def hang_up(self) -> None:
        """End the answers that would go on for as long as somebody looks at a page."""
        if self._app is not None:
            self._app.hang_up()

    async def _read(self, scope: PeopleScope, protocol: HttpProtocol) -> bytes:
        reading = asyncio.ensure_future(bridge.body_of(scope, protocol))
        self._reading[reading] = None
        if len(self._reading) > READING_MAX:
            slowest = next(iter(self._reading))
            del self._reading[slowest]
            slowest.cancel()
        try:
            await asyncio.wait({reading})
        finally:
            reading.cancel()
            self._reading.pop(reading, None)
        if reading.cancelled():
            raise CallError("the body takes longer than those of all others; send it whole", status=408)
        return reading.result()

    async def _answer(self, scope: PeopleScope, protocol: HttpProtocol, body: bytes) -> None:
        if self._in_flight >= IN_FLIGHT_MAX:
            raise CallError("too many people ask at once; try again in a moment", status=503)
        self._in_flight += 1
        is_counted = True

        def count_no_more() -> None:
            nonlocal is_counted
            self._in_flight -= is_counted
            is_counted = False

        try:
            application = self._app or await self._built()
            # What streams has its own bound (`live/watch.py`), or pages that are open would keep others out.
            await bridge.serve(application.app, scope, protocol, body, on_stream=count_no_more)
        finally:
            count_no_more()

    async def _built(self) -> Application:
        async with self._building:
            if self._app is None:
                from anyio.to_thread import current_default_thread_limiter  # with what it belongs to

                sys.setswitchinterval(SWITCH_S)
                current_default_thread_limiter().total_tokens = THREADS
                self._app = await asyncio.to_thread(self._build)
            return self._app


def _refuse(protocol: HttpProtocol, status: int, words: str) -> None:
    headers = [
        ("content-type", "application/problem+json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    body = {"type": "about:blank", "title": words, "status": status}
    try:
        protocol.response_bytes(status, headers, msgspec.json.encode(body))
    except RuntimeError:  # the answer had begun: the connection ends in the middle of it, which says enough
        _log.debug("an answer broke off")
