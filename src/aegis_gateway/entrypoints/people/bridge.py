"""The bridge from what workers pass on to ASGI, which frameworks for pages speak.

Rule 1: the worker has read a request's body and bounded it, as its headers, before the application hears of it.
Rule 2: an application that is told `http.disconnect`, or whose `send` fails, has nobody to answer any more.
Rule 3: however an application ends, the worker hears of it: it passes on only so many requests at once, and those whose
        callers left are worked on for as long as the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

import msgspec

from aegis_gateway.domain.errors import AegisError
from aegis_gateway.entrypoints.people.passing_on import (
    PIECE_BYTES_MAX,
    Answered,
    Asked,
    Began,
    FromPages,
    FromWorker,
    Headers,
    Line,
    Piece,
    Taken,
    from_worker,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_log = logging.getLogger("aegis.people")


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """An application; `hang_up` ends its answers that would go on for as long as somebody listens.

    `paths` are those that it answers a GET at, in the order in which they are looked for.
    """

    app: AsgiApp
    hang_up: Callable[[], None]
    paths: tuple[str, ...]


class Workers:
    """The workers that have requests answered by an application."""

    def __init__(self, app: AsgiApp) -> None:
        """None is there yet."""
        self.app = app
        self.are_gone = asyncio.Event()
        self.are_gone.set()
        self.there: set[Worker] = set()

    def meet(self) -> asyncio.Protocol:
        """A worker that connects."""
        return Worker(self)

    def come(self, worker: Worker) -> None:
        """One is there."""
        self.there.add(worker)
        self.are_gone.clear()

    def leave(self, worker: Worker) -> None:
        """One has gone."""
        self.there.discard(worker)
        if not self.there:
            self.are_gone.set()


class Worker(Line[FromWorker]):
    """A worker's connection, and the requests on it that are being answered."""

    def __init__(self, workers: Workers) -> None:
        super().__init__(from_worker.decode)
        self._workers = workers
        self._open: dict[int, _Exchange] = {}
        self._answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be there."""
        super().connection_made(transport)
        self._workers.come(self)

    def take(self, message: FromWorker) -> None:
        """Begin to answer, or go on."""
        if isinstance(message, Asked):
            self._begin(message)
        elif (exchange := self._open.get(message.number)) is not None:
            if isinstance(message, Taken):
                exchange.go_on.set()
            else:
                exchange.leave()

    def lose(self) -> None:
        """Whoever asked by this worker is gone with it."""
        for exchange in self._open.values():
            exchange.leave()
        self._workers.leave(self)

    def _begin(self, asked: Asked) -> None:
        exchange = self._open[asked.number] = _Exchange(asked, self.send)
        answering = asyncio.create_task(exchange.answer(self._workers.app))
        self._answering.add(answering)
        answering.add_done_callback(lambda _: self._end(asked.number, answering))

    def _end(self, number: int, answering: asyncio.Task[None]) -> None:
        self._answering.discard(answering)
        del self._open[number]


class _Exchange:
    """One request and its answer, as ASGI sees them. `go_on` is set while a piece may be sent."""

    def __init__(self, asked: Asked, say: Callable[[FromPages], None]) -> None:
        self._asked = asked
        self._say = say
        self._is_told = False
        self._is_over = False
        self._start: Message | None = None
        self._has_begun = False
        self._left = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def answer(self, app: AsgiApp) -> None:
        """Have the application answer, whatever happens."""
        try:
            await app(_asgi_scope(self._asked), self._receive, self._send)
        except AegisError as fault:
            self._refuse(503, str(fault))
        except OSError:
            _log.debug("somebody left before they were answered")
        except Exception:
            # The last resort: an answer for who asked, the trace for the operator.
            _log.exception("a page failed in a way nobody foresaw")
            self._refuse(500, "the gateway failed; the operator's log says why")
        if not self._is_over:
            self._say(Piece(number=self._asked.number, data=b"", is_last=True))

    def leave(self) -> None:
        """Whoever asked has left."""
        self._left.set()
        self.go_on.set()

    async def _receive(self) -> Message:
        """The request, once; from then on that its caller has left, when they have."""
        if not self._is_told:
            self._is_told = True
            return {"type": "http.request", "body": self._asked.body, "more_body": False}
        if not self._is_over:
            await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """A part of the answer.

        Raises:
            OSError: the caller has left.
        """
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._is_over:
            return  # the rest of what a HEAD isn't shown
        is_head = self._asked.method == "HEAD"
        data = b"" if is_head else bytes(message.get("body", b""))
        has_more = bool(message.get("more_body", False)) and not is_head
        if not self._has_begun and not has_more and len(data) <= PIECE_BYTES_MAX:
            self._is_over = True
            status, headers = self._head()
            self._say(Answered(number=self._asked.number, status=status, headers=headers, body=data))
            return
        if not self._has_begun:
            self._has_begun = True
            status, headers = self._head()
            self._say(Began(number=self._asked.number, status=status, headers=headers))
        for start in range(0, max(len(data), 1), PIECE_BYTES_MAX):
            end = start + PIECE_BYTES_MAX
            await self._send_piece(data[start:end], is_last=not has_more and end >= len(data))

    async def _send_piece(self, data: bytes, *, is_last: bool) -> None:
        await self.go_on.wait()
        if self._left.is_set():
            raise OSError("the caller has left")
        self.go_on.clear()
        self._is_over = is_last
        self._say(Piece(number=self._asked.number, data=data, is_last=is_last))

    def _head(self) -> tuple[int, Headers]:
        assert self._start is not None, "an answer begins with its status"
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self._start["headers"]
        ]
        return self._start["status"], headers

    def _refuse(self, status: int, words: str) -> None:
        """Answer that it failed, if no answer has begun."""
        if not self._has_begun and not self._is_over:
            self._is_over = True
            self._say(Answered.problem(self._asked.number, status, words))


def _asgi_scope(asked: Asked) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": asked.http_version,
        # A HEAD is a GET whose answer's body stays here.
        "method": "GET" if asked.method == "HEAD" else asked.method,
        "scheme": asked.scheme,
        "path": asked.path,
        "raw_path": quote(asked.path, safe="/%:@!$&'()*+,;=~").encode(),
        "query_string": asked.query.encode(),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode()) for name, value in asked.headers],
        "client": _address(asked.client),
        "server": _address(asked.server),
    }


def _address(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else None
