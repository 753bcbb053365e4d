"""The process of the pages, as a gateway worker sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from aegis_gateway.adapters.patience import Patience
from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import Caller, HttpProtocol
from aegis_gateway.entrypoints.people.passing_on import (
    Answered,
    Asked,
    Began,
    FromPages,
    Left,
    Line,
    PeopleScope,
    Piece,
    Taken,
    from_pages,
)

News = FromPages | Literal["gone", "left"]
"""A part of the answer; or: the process of the pages is gone, or whoever asked."""

ANSWER_S = 120.0
"""How long an answer may take to begin."""

_GONE = "the pages were interrupted"
_SILENT = "the pages have not answered in {:g} s"
_AGAIN = "; try again in a moment"
_LOOK = ", and it isn't known whether this was done; look before you try again"

_log = logging.getLogger("aegis.people")


class PagesClient:
    """Passes requests on, by one connection, which is made when it is needed."""

    def __init__(self, path: Path, patience_s: float = ANSWER_S) -> None:
        """Connect to nothing yet; the process listens at `path`."""
        self._path = path
        self._patience_s = patience_s
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None
        self._streams: set[asyncio.Queue[News]] = set()

    async def serve(
        self, scope: PeopleScope, protocol: HttpProtocol, body: bytes, free: Callable[[], None]
    ) -> None:
        """Have a request answered. `free` is done once no answer to it is worked out any more, which may be after
        whoever asked has left; or once its answer goes on in pieces.

        Raises:
            CallError: the headers are longer than they may be, or nobody is there to answer, or not in time.
        """
        what_to_do = _AGAIN if scope.method in ("GET", "HEAD") else _LOOK
        try:
            connection = await self._connected()
            number, news = connection.ask(scope, body, free)
        except BaseException:
            free()
            raise
        leaving = asyncio.ensure_future(protocol.client_disconnect())
        leaving.add_done_callback(lambda _: news.put_nowait("left"))
        try:
            with Patience(self._patience_s):
                first = await news.get()
            if isinstance(first, Answered):
                protocol.response_bytes(first.status, first.headers, first.body)
            elif isinstance(first, Began):
                caller = Caller(protocol.response_stream(first.status, first.headers))
                has_end = any(name == "content-length" for name, _ in first.headers)
                await self._go_on(connection, number, news, caller, has_end=has_end)
            elif first == "gone":
                raise CallError(f"{_GONE}{what_to_do}", status=503)
        except TimeoutError as fault:
            raise CallError(f"{_SILENT.format(self._patience_s)}{what_to_do}", status=504) from fault
        finally:
            leaving.cancel()
            connection.leave(number)

    async def _go_on(
        self,
        connection: _Connection,
        number: int,
        news: asyncio.Queue[News],
        caller: Caller,
        *,
        has_end: bool,
    ) -> None:
        """Pass on pieces until the last, or until nobody takes or gives any."""
        if not has_end:
            self._streams.add(news)
        try:
            while isinstance(piece := await news.get(), Piece):
                await caller.send(piece.data)
                if piece.is_last or not caller.is_there:
                    return
                connection.send(Taken(number=number))
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
                    raise CallError(f"{_GONE}{_AGAIN}", status=503) from fault
            return self._connection


class _Open(NamedTuple):
    """A request whose answer has not come to its end."""

    news: asyncio.Queue[News]
    free: Callable[[], None]


class _Connection(Line[FromPages]):
    """A connection, and what comes on it for each request that is open."""

    def __init__(self) -> None:
        super().__init__(from_pages.decode)
        self._open: dict[int, _Open] = {}
        self._number = 0

    def ask(
        self, scope: PeopleScope, body: bytes, free: Callable[[], None]
    ) -> tuple[int, asyncio.Queue[News]]:
        """Pass a request on; gives its number, and where what comes for it is found.

        Raises:
            CallError: the headers are longer than they may be.
        """
        self._number += 1
        asked = Asked.of(self._number, scope, body)
        news: asyncio.Queue[News] = asyncio.Queue()
        self._open[self._number] = _Open(news, free)
        if self.is_gone:
            self.lose()
        self.send(asked)
        return self._number, news

    def leave(self, number: int) -> None:
        """Nobody waits for the answer to a request. What is open until its end has come is `free` only then."""
        if number in self._open:
            self.send(Left(number=number))

    def lose(self) -> None:
        """Tell all who wait."""
        for each in self._open.values():
            each.news.put_nowait("gone")
            each.free()
        self._open.clear()

    def take(self, message: FromPages) -> None:
        """Hand it to who waits for it."""
        asked = self._open.get(message.number)
        if asked is None:
            return
        asked.news.put_nowait(message)
        is_last = isinstance(message, Answered) or (isinstance(message, Piece) and message.is_last)
        if is_last:
            del self._open[message.number]
        if is_last or isinstance(message, Began):
            asked.free()
