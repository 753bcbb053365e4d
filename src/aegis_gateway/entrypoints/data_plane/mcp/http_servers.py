"""MCP servers over HTTP: how they are asked, and how they answer.

Rule: a server gets its own credential, never the caller's, and none of the headers that are between caller and gateway.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from aegis_gateway.application.ports import Secrets, Upstream, UpstreamRequest, UpstreamStream
from aegis_gateway.application.tracing import Trace
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector, Deadlines
from aegis_gateway.entrypoints.data_plane.events import EventReader, split
from aegis_gateway.entrypoints.data_plane.exchange import RequestHeaders, Scope
from aegis_gateway.entrypoints.data_plane.forwarding import upstream_request
from aegis_gateway.entrypoints.data_plane.mcp.versions import LAST_EVENT, SESSION_HEADER
from aegis_gateway.entrypoints.data_plane.refusals import Headers
from aegis_gateway.entrypoints.data_plane.wire import JSON

ACCEPT = "application/json, text/event-stream"
LISTENING_S = 24 * 3600
"""How long a stream may be open on which a server tells what changes, and how long it may be silent."""

_BETWEEN_US = frozenset((SESSION_HEADER, LAST_EVENT, "origin", "referer", "mcp-session", "forwarded"))
_NOT_RETURNED = frozenset((SESSION_HEADER, "www-authenticate"))
_OF_MESSAGES = ("mcp-", "last-event-id", "accept")
_OF_BROWSERS = "sec-"
_MARK = "\ufeff".encode()
_ODD = re.compile(rb"[^\x20-\x7e]")


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks a server: the request of which headers pass, and whether its caller's credential is the server's; what
    the server may know of the caller's name for the call; and where in a trace it is asked."""

    scope: Scope
    own_credential: bool = False
    name: str | None = None
    trace: Trace | None = None


class HttpExchange:
    """A server's answer over HTTP."""

    def __init__(self, stream: UpstreamStream) -> None:
        """Read an answer that has begun."""
        self._stream = stream
        self._reader = EventReader()
        self._events: deque[bytes] = deque()
        self._is_over = False
        self._is_first = True
        self.status = stream.status
        told = stream.headers
        self.session = dict(told).get(SESSION_HEADER)
        self.headers: Headers = [(name, value) for name, value in told if name not in _NOT_RETURNED]
        media = dict(told).get("content-type", "").partition(";")[0].strip().lower()
        self.is_stream = media == "text/event-stream" and self.status == 200

    async def whole(self) -> bytes:
        """The body of one that is no stream."""
        return (await self._stream.rest()).body

    async def next_event(self) -> bytes | None:
        """The next event of a stream; None at its end."""
        while not self._events and not self._is_over:
            piece = await self._stream.next_piece()
            try:
                if piece is None:
                    self._is_over = True
                    rest = self._reader.rest()
                    self._events.extend(split(rest + b"\n\n") if rest.strip() else ())
                else:
                    self._events.extend(self._reader.feed(piece))
            except ValueError as fault:
                raise UpstreamFault(str(fault), sent=True) from fault
        event = self._events.popleft() if self._events else None
        if event is not None and self._is_first:
            self._is_first = False
            event = event.removeprefix(_MARK)  # callers read on behind it
        return plain(event) if event is not None else None


def plain(event: bytes) -> bytes:
    """An event without those lines beside its data in which some clients see more line ends than the gateway does."""
    lines = event.splitlines()
    if not any(_is_odd(line) for line in lines):
        return event
    return b"\n".join((*(line for line in lines if line and not _is_odd(line)), b"", b""))


def _is_odd(line: bytes) -> bool:
    return not line.startswith(b"data:") and _ODD.search(line) is not None


class HttpServers:
    """The way to MCP servers over HTTP."""

    def __init__(self, upstream: Upstream, secrets: Secrets) -> None:
        """Build on the way to upstreams."""
        self._upstream = upstream
        self._secrets = secrets

    @asynccontextmanager
    async def exchange(
        self,
        asking: Asking,
        connector: Connector,
        body: bytes,
        more: Headers | None = None,
        *,
        method: str = "POST",
        listens: bool = False,
        fresh: bool = False,
    ) -> AsyncIterator[HttpExchange]:
        """Send a server a message and read what it answers.

        `more` are headers that stand in place of the caller's; `listens`: the answer is a stream without an end;
        `fresh`: the message is worded by the gateway, so what the caller's headers say of its own doesn't pass.

        Raises:
            UpstreamFault: there was no answer.
        """
        request = self._request(asking, connector, body, more or [], method, fresh=fresh)
        if listens:
            usual = request.deadlines
            patient = Deadlines(
                connect_s=usual.connect_s,
                first_byte_s=usual.first_byte_s,
                idle_s=LISTENING_S,
                total_s=LISTENING_S,
            )
            request = msgspec.structs.replace(request, deadlines=patient)
        async with self._upstream.stream(request) as stream:
            yield HttpExchange(stream)

    def _request(
        self, asking: Asking, connector: Connector, body: bytes, more: Headers, method: str, *, fresh: bool
    ) -> UpstreamRequest:
        request = upstream_request(
            asking.scope,
            connector,
            self._secrets,
            method=method,
            url=connector.base_url,
            content_type=JSON if body else None,
            body=body,
            name=asking.name,
            own_credential=asking.own_credential,
            trace=asking.trace,
        )
        replaced = {name for name, _ in more}
        kept = [
            (name, value)
            for name, value in request.headers
            if name not in _BETWEEN_US
            and name not in replaced
            and not name.startswith(_OF_BROWSERS)
            and not (fresh and name.startswith(_OF_MESSAGES))
        ]
        return msgspec.structs.replace(request, headers=[*kept, *more])


class _NoHeaders(dict[str, str]):
    """The headers of what nobody called."""

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # a list, as of a request's headers
        return []


class OwnScope(msgspec.Struct, kw_only=True):
    """A request that the gateway makes by itself."""

    method: str = "POST"
    path: str = ""
    query_string: str = ""
    headers: RequestHeaders = msgspec.field(default_factory=_NoHeaders)


BY_ITSELF = Asking(scope=OwnScope())
