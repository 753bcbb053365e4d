"""Ways to a server: how a caller's message gets there, in the form that the server speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Protocol

import msgspec

from aegis_gateway.application.tracing import Trace
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.mcp.answering import Exchange
from aegis_gateway.entrypoints.data_plane.mcp.headers import encoded
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import ACCEPT, Asking, HttpServers
from aegis_gateway.entrypoints.data_plane.mcp.messages import CallerMessage
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.versions import NAME_HEADER, NAMED, SESSION_HEADER
from aegis_gateway.entrypoints.data_plane.refusals import Headers


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's message as its server gets it: `changed` are parameters that are others there, or none (None).

    `headers` stand in place of the caller's; `name` is what the server may know of the caller's name for the call;
    `own_name` is the tool's at the server, `trace` where in a trace it is called.
    """

    message: CallerMessage
    changed: Mapping[str, msgspec.Raw | None] = {}
    headers: Headers = []
    name: str | None = None
    own_name: str | None = None
    trace: Trace | None = None

    @property
    def raw(self) -> bytes:
        """The message's bytes: the caller's own, unless something of it is changed."""
        return self.message.with_params(self.changed) if self.changed else self.message.raw

    @property
    def arguments(self) -> object:
        """The arguments of a call as the server gets them, decoded."""
        changed = self.changed.get("arguments")
        return self.message.param("arguments") if changed is None else msgspec.json.decode(changed)


class Way(Protocol):
    """The way to one server, for one request."""

    @property
    def connector(self) -> Connector:
        """The server."""

    def send(
        self, request: Request, outgoing: Outgoing, *, listens: bool = False
    ) -> AbstractAsyncContextManager[Exchange]:
        """Send a message and read what the server answers; `listens`: that has no end.

        Raises:
            UpstreamFault: there was no answer.
        """

    async def reply(self, request: Request, answer: bytes) -> None:
        """Answer what the server asked, in the caller's place.

        Raises:
            UpstreamFault: it can't be told.
        """


@contextmanager
def before_sending() -> Iterator[None]:
    """The block in which a server is asked what has to be known to send a message: of that it has heard nothing yet."""
    try:
        yield
    except UpstreamFault as fault:
        raise UpstreamFault(str(fault), sent=False, timed_out=fault.timed_out) from fault


class LateWay:
    """A way that is looked for when something is sent on it: finding it may take asking the server."""

    def __init__(self, connector: Connector, find: Callable[[], Awaitable[Way]]) -> None:
        """Find the way to a server by `find`."""
        self.connector = connector
        self._find = find
        self._found: Way | None = None

    async def _way(self) -> Way:
        if self._found is None:
            with before_sending():
                self._found = await self._find()
        return self._found

    @asynccontextmanager
    async def send(
        self, request: Request, outgoing: Outgoing, *, listens: bool = False
    ) -> AsyncIterator[Exchange]:
        """Find the way, and send a message on it."""
        async with (await self._way()).send(request, outgoing, listens=listens) as exchange:
            yield exchange

    async def reply(self, request: Request, answer: bytes) -> None:
        """Answer on the way that was found."""
        await (await self._way()).reply(request, answer)


class RelayedWay:
    """To a server over HTTP that speaks the caller's form of the protocol: what isn't changed passes byte for byte."""

    def __init__(self, servers: HttpServers, connector: Connector) -> None:
        """Pass messages on to a server."""
        self._servers = servers
        self.connector = connector

    @asynccontextmanager
    async def send(
        self, request: Request, outgoing: Outgoing, *, listens: bool = False
    ) -> AsyncIterator[Exchange]:
        """Send a message as it is."""
        asking = asking_for(request, outgoing)
        headers = [*outgoing.headers, *session_headers(request)]
        async with self._servers.exchange(
            asking, self.connector, outgoing.raw, headers, listens=listens
        ) as exchange:
            yield exchange

    async def reply(self, request: Request, answer: bytes) -> None:
        """Answer within the session; in the modern form a server can't ask, and isn't told anything."""
        if request.era == "modern":
            return
        more = [("accept", ACCEPT), *session_headers(request)]
        async with self._servers.exchange(request.who.asking, self.connector, answer, more):
            return


def asking_for(request: Request, outgoing: Outgoing) -> Asking:
    """Who asks a server, for one message."""
    return msgspec.structs.replace(request.who.asking, name=outgoing.name, trace=outgoing.trace)


def session_headers(request: Request) -> Headers:
    """The server's own name for the session that a request is of."""
    upstream = request.session.upstream if request.session is not None else None
    return [(SESSION_HEADER, upstream)] if upstream is not None else []


def name_headers(method: str, name: str) -> Headers:
    """The header that repeats the name in a request, where it has one."""
    return [(NAME_HEADER, encoded(name))] if method in NAMED else []
