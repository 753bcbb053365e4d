"""The bridge from RSGI, which the gateway speaks, to ASGI, which frameworks for pages speak.

Rule 1: a request's body is read before the application hears of it, and is bounded, as its headers are.
Rule 2: an application that is told `http.disconnect`, or whose `send` fails, has nobody to answer any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import Caller, HttpProtocol, Scope, read_body

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """An application; `hang_up` ends its answers that would go on for as long as somebody listens.

    `paths` are those that it answers a GET at, in the order in which they are looked for.
    """

    app: AsgiApp
    hang_up: Callable[[], None]
    paths: tuple[str, ...]


BODY_BYTES_MAX = 1024 * 1024
HEADER_BYTES_MAX = 32 * 1024
BODY_S = 20.0
"""How long a request's body may take."""


class PeopleScope(Scope, Protocol):
    """What RSGI tells of a request, with what only pages ask for."""

    http_version: str
    scheme: str
    client: str
    server: str


def has_body(scope: PeopleScope) -> bool:
    """Whether a request has a body, as far as applications hear of it."""
    return scope.method not in ("GET", "HEAD")


async def body_of(scope: PeopleScope, protocol: HttpProtocol) -> bytes:
    """A request's body.

    Raises:
        CallError: it is longer than it may be, or did not come whole.
    """
    return await read_body(scope, protocol, BODY_S, BODY_BYTES_MAX)


def _nothing() -> None:
    """Do nothing."""


async def serve(
    app: AsgiApp,
    scope: PeopleScope,
    protocol: HttpProtocol,
    body: bytes,
    on_stream: Callable[[], None] = _nothing,
) -> None:
    """Have an ASGI application answer one request, whose body was read. `on_stream`: its answer goes on in pieces.

    Raises:
        CallError: its headers are longer than they may be; it was not answered.
    """
    headers = [(name.encode("latin-1"), value.encode()) for name, value in scope.headers.items()]
    if sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES_MAX:
        raise CallError(f"the headers are longer than {HEADER_BYTES_MAX} bytes", status=431)
    exchange = _Exchange(protocol, body, on_stream, is_head=scope.method == "HEAD")
    await app(_asgi_scope(scope, headers), exchange.receive, exchange.send)


def _asgi_scope(scope: PeopleScope, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": scope.http_version,
        # A HEAD is a GET whose answer's body stays here.
        "method": "GET" if scope.method == "HEAD" else scope.method,
        "scheme": scope.scheme,
        "path": scope.path,
        "raw_path": quote(scope.path, safe="/%:@!$&'()*+,;=~").encode(),
        "query_string": scope.query_string.encode(),
        "root_path": "",
        "headers": headers,
        "client": _address(scope.client),
        "server": _address(scope.server),
    }


def _address(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else None


class _Exchange:
    """One request and its answer, as ASGI sees them."""

    def __init__(
        self, protocol: HttpProtocol, body: bytes, on_stream: Callable[[], None], *, is_head: bool
    ) -> None:
        self._protocol = protocol
        self._body = body
        self._on_stream = on_stream
        self._is_head = is_head
        self._is_told = False
        self._is_over = False
        self._start: Message = {}
        self._caller: Caller | None = None

    async def receive(self) -> Message:
        """The request, once; from then on that its caller has left, when they have."""
        if not self._is_told:
            self._is_told = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        if not self._is_over:
            await self._protocol.client_disconnect()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """A part of the answer.

        Raises:
            OSError: the caller has left.
        """
        if message["type"] == "http.response.start":
            self._start = message
            return
        piece = b"" if self._is_head else bytes(message.get("body", b""))
        has_more = bool(message.get("more_body", False)) and not self._is_head
        if self._is_over:
            return  # the rest of what a HEAD isn't shown
        if self._caller is None and not has_more:
            self._is_over = True
            self._protocol.response_bytes(self._start["status"], self._headers(), piece)
            return
        if self._caller is None:
            self._on_stream()
            self._caller = Caller(self._protocol.response_stream(self._start["status"], self._headers()))
        await self._caller.send(piece)
        self._is_over = not has_more
        if not self._caller.is_there:
            raise OSError("the caller has left")

    def _headers(self) -> list[tuple[str, str]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._start["headers"]]
