"""What a caller gets, message by message: as one answer, or as a stream once there is more to tell.

Rule 1: a request is answered once, over whichever of the two was begun.
Rule 2: of a server's messages only those pass that belong to the request; the last one is its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.entrypoints.data_plane.events import event_data, with_data
from aegis_gateway.entrypoints.data_plane.exchange import Caller, HttpProtocol, returned_headers
from aegis_gateway.entrypoints.data_plane.mcp.errors import event
from aegis_gateway.entrypoints.data_plane.mcp.messages import Id, ServerMessage, server_message
from aegis_gateway.entrypoints.data_plane.refusals import Headers

JSON_TYPE = ("content-type", "application/json")
STREAM_HEADERS: Headers = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
]


class CallerLeft(Exception):
    """The caller has closed its stream, and by that has cancelled its request."""


class StreamPaused(Exception):
    """The server has closed its stream before the answer, for the caller to take it up again later."""


class Exchange(Protocol):
    """A server's answer to one message."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Headers:
        """The headers, names in lower case."""

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""

    async def whole(self) -> bytes:
        """The body of one that is no stream.

        Raises:
            UpstreamFault: it broke off.
        """

    async def next_event(self) -> bytes | None:
        """The next event of a stream; None at its end.

        Raises:
            UpstreamFault: it broke off.
        """


class Answering:
    """The answer to one request, of which nothing has been sent yet. `ours` are headers that it has in any case."""

    def __init__(self, protocol: HttpProtocol, id_: Id | None, ours: Headers | None = None) -> None:
        """Answer a request over a protocol."""
        self._protocol = protocol
        self._caller: Caller | None = None
        self.id = id_
        self.ours: Headers = ours or []

    @property
    def is_there(self) -> bool:
        """Whether the caller still takes what is sent."""
        return self._caller is None or self._caller.is_there

    def begin(self, headers: Headers | None = None) -> None:
        """Begin a stream."""
        begun = returned_headers(STREAM_HEADERS if headers is None else headers, self.ours)
        self._caller = Caller(self._protocol.response_stream(200, begun))

    def drop(self) -> None:
        """Let go of a stream that was begun: it ends without an answer."""
        self._caller = None

    async def tell(self, data: bytes) -> None:
        """Send an event before the answer."""
        if self._caller is None:
            self.begin()
        assert self._caller is not None, "it was just begun"
        await self._caller.send(data)

    async def finish(self, message: bytes, headers: Headers | None = None, *, status: int = 200) -> None:
        """Send the answer: a whole one, or the last event of the stream that was begun."""
        await self.finish_event(event(message), message, headers, status=status)

    async def finish_event(
        self, last: bytes, message: bytes, headers: Headers | None = None, *, status: int = 200
    ) -> None:
        """The same, with the event in which the answer stands in a stream."""
        if self._caller is not None:
            await self._caller.finish(last)
            return
        passed = [JSON_TYPE] if headers is None else headers
        self._protocol.response_bytes(status, returned_headers(passed, self.ours), message)


def has_id(block: bytes) -> bool:
    """Whether an event has an id, after which its stream can be taken up again."""
    return block.startswith(b"id:") or b"\nid:" in block or b"\rid:" in block


Respond = Callable[[ServerMessage, bytes], Awaitable[bytes]]
"""What becomes of the answer on its way to the caller, by the message and its bytes."""
Pass = Callable[[ServerMessage, bytes], Awaitable[bytes | None]]
"""What becomes of a message before the answer; None where the caller doesn't get it."""


class Misanswered(UpstreamFault):
    """The server's answer is none to what it was asked."""

    def __init__(self, what: str) -> None:
        """Say what it sent instead."""
        super().__init__(f"the server {what}", sent=True)


async def unchanged(_message: ServerMessage, raw: bytes) -> bytes:
    """What passes as it is."""
    return raw


async def relay(
    exchange: Exchange,
    answering: Answering,
    respond: Respond,
    pass_on: Pass,
    *,
    leaving_cancels: bool,
    marked: Callable[[bytes], bytes] | None = None,
) -> None:
    """Pass a server's answer on, as it comes. Where streams may be taken up again, their events are `marked`.

    Raises:
        StreamPaused: the server has closed its stream before the answer, and will give it later.
        UpstreamFault: it broke off, or is none; what was begun of the caller's answer still lacks its end.
        CallerLeft: the caller has left, where that cancels its request.
    """
    if not exchange.is_stream:
        raw = await exchange.whole()
        message = _answer(server_message(raw), answering.id)
        sent = await respond(message, raw)
        await answering.finish(sent, exchange.headers, status=exchange.status)
        return
    answering.begin(exchange.headers)
    may_resume = False
    while (block := await exchange.next_event()) is not None:
        raw = event_data(block)
        if marked is not None and has_id(block):
            block, may_resume = marked(block), True
        if not raw:
            await answering.tell(block)  # a comment, or where to take the stream up again
            continue
        message_or_none = server_message(raw)
        if message_or_none is not None and message_or_none.method is not None:
            passed = await pass_on(message_or_none, raw)
            if passed is not None:
                await answering.tell(block if passed is raw else with_data(block, passed))
            if leaving_cancels and not answering.is_there:
                raise CallerLeft
            continue
        message = _answer(message_or_none, answering.id)
        sent = await respond(message, raw)
        await answering.finish_event(block if sent is raw else with_data(block, sent), sent)
        return
    if may_resume:
        raise StreamPaused
    raise UpstreamFault("the server's stream ended before its answer", sent=True)


def _answer(message: ServerMessage | None, id_: Id | None) -> ServerMessage:
    """A message, if it answers a request.

    Raises:
        Misanswered: it doesn't.
    """
    if message is None or not message.is_response:
        raise Misanswered("answered with what is no answer")
    # By type too: `1` and `"1"` are two requests.
    if message.id != id_ or type(message.id) is not type(id_):
        raise Misanswered("answered another request")
    return message
