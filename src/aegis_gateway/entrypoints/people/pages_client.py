"""The process of the pages, as a gateway worker sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import msgspec

from aegis_gateway.adapters.frames import FrameReader
from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import Caller, HttpProtocol
from aegis_gateway.entrypoints.people.passing_on import (
    Answered,
    Asked,
    Began,
    FromPages,
    FromWorker,
    Left,
    PeopleScope,
    Piece,
    Taken,
    framed,
    from_pages,
)

News = FromPages | Literal["gone", "left"]
"""A part of the answer; or: the process of the pages is gone, or whoever asked."""

_GONE = "the pages were interrupted; try again in a moment"
_GONE_AT_IT = (
    "the pages were interrupted, and it isn't known whether this was done; look before you try again"
)

_log = logging.getLogger("aegis.people")


class PagesClient:
    """Passes requests on, by one connection, which is made when it is needed."""

    def __init__(self, path: Path) -> None:
        """Connect to nothing yet; the process listens at `path`."""
        self._path = path
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None
        self._streams: set[asyncio.Queue[News]] = set()

    async def serve(
        self, scope: PeopleScope, protocol: HttpProtocol, body: bytes, on_stream: Callable[[], None]
    ) -> None:
        """Have a request answered. `on_stream`: its answer goes on in pieces.

        Raises:
            CallError: the headers are longer than they may be, or nobody is there to answer.
        """
        connection = await self._connected()
        number, news = connection.open()
        leaving = asyncio.ensure_future(protocol.client_disconnect())
        leaving.add_done_callback(lambda _: news.put_nowait("left"))
        is_answered = False
        try:
            connection.send(Asked.of(number, scope, body))
            first = await news.get()
            if isinstance(first, Answered):
                is_answered = True
                protocol.response_bytes(first.status, first.headers, first.body)
            elif isinstance(first, Began):
                on_stream()
                caller = Caller(protocol.response_stream(first.status, first.headers))
                is_answered = await self._go_on(connection, number, news, caller)
            elif first == "gone":
                is_answered = True
                raise CallError(_GONE if scope.method in ("GET", "HEAD") else _GONE_AT_IT, status=503)
        finally:
            leaving.cancel()
            connection.close(number)
            if not is_answered:
                connection.send(Left(number=number))

    async def _go_on(
        self, connection: _Connection, number: int, news: asyncio.Queue[News], caller: Caller
    ) -> bool:
        """Pass on pieces until the last; whether it came to that."""
        self._streams.add(news)
        try:
            while isinstance(piece := await news.get(), Piece):
                await caller.send(piece.data)
                if piece.is_last:
                    return True
                if not caller.is_there:
                    return False
                connection.send(Taken(number=number))
            return piece == "gone"
        finally:
            self._streams.discard(news)

    def hang_up(self) -> None:
        """End the answers that would go on for as long as somebody looks at a page."""
        for news in self._streams:
            news.put_nowait("left")

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.is_gone:
                loop = asyncio.get_running_loop()
                try:
                    _, self._connection = await loop.create_unix_connection(_Connection, str(self._path))
                except OSError as fault:
                    _log.warning("the process of the pages can't be reached: %s", fault)
                    raise CallError(_GONE, status=503) from fault
            return self._connection


class _Connection(asyncio.Protocol):
    """A connection, and what comes on it for each request that is open."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._open: dict[int, asyncio.Queue[News]] = {}
        self._number = 0

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._transport is None

    def open(self) -> tuple[int, asyncio.Queue[News]]:
        """A number for a request, and where what comes for it is found."""
        self._number += 1
        news = self._open[self._number] = asyncio.Queue()
        if self.is_gone:
            news.put_nowait("gone")
        return self._number, news

    def close(self, number: int) -> None:
        """Take nothing more for a request."""
        self._open.pop(number, None)

    def send(self, message: FromWorker) -> None:
        """Say something; to nobody, if nobody is there."""
        if self._transport is not None:
            self._transport.write(framed(message))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be there."""
        # uvloop's transports are not asyncio.Transport by class, only by what they do.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand what came to those who wait for it."""
        try:
            for payload in self._reader.feed(data):
                message = from_pages.decode(payload)
                news = self._open.get(message.number)
                if news is not None:
                    news.put_nowait(message)
        except (ValueError, msgspec.DecodeError):
            _log.exception("the process of the pages said what is no answer")
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell all who wait."""
        self._transport = None
        for news in self._open.values():
            news.put_nowait("gone")
