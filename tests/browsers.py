"""Somebody at a browser, without the browser: cookies, forms, and the proof that these carry."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from aegis_gateway import bootstrap
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.people import OwnToken, People
from aegis_gateway.domain.keys import key_hint, new_key, token_digest
from aegis_gateway.domain.people import ALL_TENANTS, Grant
from tests.gateways import HOST, PEPPER, WAIT_S, Answer, Gateway

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Visitor:
    """Keeps cookies, and follows no redirection by itself."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.cookies: dict[str, str] = {}

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Look at a page."""
        return self._ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a form as it is given."""
        return self._ask("POST", path, urlencode(fields).encode(), headers)

    def send(self, path: str, fields: Sequence[tuple[str, str]]) -> Answer:
        """Send a form with fields that may be there more than once."""
        return self._ask("POST", path, urlencode(fields).encode(), None)

    def submit(self, page: str, path: str, **fields: str) -> Answer:
        """Send a form of a page, with the proof that is on it."""
        return self.post(path, {"csrf": csrf_on(self.get(page)), **fields})

    def sign_in(self, token: str) -> Answer:
        """Sign in with a token."""
        return self.submit("/sign-in", "/sign-in", token=token, next="/approvals")

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None) -> Answer:
        sent = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(HOST, self.gateway.settings.port, timeout=WAIT_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            told = answer.getheaders()
            content = answer.read()
        for cookie in (value for name, value in told if name.lower() == "set-cookie"):
            for name, morsel in SimpleCookie(cookie).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return Answer(
            status=answer.status, headers={name.lower(): value for name, value in told}, body=content
        )


class Staff:
    """The people of a gateway, each with a token that nobody else has seen. The first is `ana`, an admin."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.tokens: dict[str, str] = {}
        self.add("ana", Grant(role="admin", tenant=ALL_TENANTS), by="")

    def add(self, person: str, *grants: Grant, by: str = "ana") -> None:
        """Register somebody."""
        secret = new_key(os.urandom, "person")
        own = OwnToken(digest=token_digest(secret), hint=key_hint(secret))
        with self.people(by) as people:
            people.add(person, person.title(), grants)
            people.issue_token(person, own=own)
        self.tokens[person] = secret

    @contextlib.contextmanager
    def people(self, who: str = "ana") -> Iterator[People]:
        """The use cases about people, as somebody."""
        caller = Caller(local_name="test", token=self.tokens.get(who))
        with contextlib.closing(bootstrap.store(self._gateway.settings)) as store:
            yield People(store, PEPPER.encode(), os.urandom, caller, has_four_eyes=False)

    def link(self, person: str) -> str:
        """A link that signs them in, as its path."""
        with self.people(person) as people:
            return f"/sign-in?link={people.issue_link(person).secret}"


def csrf_on(page: Answer) -> str:
    """The proof that a page's forms carry."""
    found = _CSRF.search(text_of(page))
    return found[1] if found is not None else ""


def text_of(page: Answer) -> str:
    """A page's text, with its marks."""
    return unescape(page.body.decode())
