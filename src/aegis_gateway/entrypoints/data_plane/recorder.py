"""What is answered to a named call, recorded as it is sent; and the call's body, for whoever has to ask anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, StreamTransport
from aegis_gateway.entrypoints.data_plane.refusals import Headers

ANSWER_BYTES_MAX = 1024 * 1024


class Answer(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An answer as it was given, a stream's as all that was sent of it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


packed = msgspec.msgpack.Encoder().encode
unpacked = msgspec.msgpack.Decoder(Answer).decode


class Recorder:
    """A request's protocol that keeps what is answered, up to a length. A caller who leaves doesn't end the record."""

    def __init__(self, protocol: HttpProtocol) -> None:
        """Record what is answered over a protocol."""
        self._protocol = protocol
        self._body: bytes | None = None
        self.status = 0
        self._headers: Headers = []
        self._pieces: list[bytes] = []
        self._size = 0
        self.is_whole = False
        self._goes_on = False

    @property
    def is_too_long(self) -> bool:
        """Whether the answer is longer than may be kept."""
        return self._size > ANSWER_BYTES_MAX

    @property
    def answer(self) -> Answer | None:
        """What was answered; None unless it is whole, and not too long."""
        if self.is_too_long or not self.is_whole:
            return None
        return Answer(status=self.status, headers=self._headers, body=b"".join(self._pieces))

    def header(self, name: str) -> str | None:
        """One header of what was answered."""
        return dict(self._headers).get(name)

    def take(self, data: bytes) -> None:
        """Record a piece."""
        self._size += len(data)
        if self.is_too_long:
            self._pieces.clear()
        else:
            self._pieces.append(data)

    async def __call__(self) -> bytes:
        """The whole body of the request."""
        if self._body is None:
            self._body = await self._protocol()
        return self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body of the request in pieces."""
        if self._body is not None:
            yield self._body
            return
        pieces: list[bytes] = []
        async for piece in self._protocol:
            pieces.append(piece)
            yield piece
        self._body = b"".join(pieces)

    async def client_disconnect(self) -> None:
        """Never: who leaves may ask for the same call again. From now on it goes on, whoever waits for it."""
        self._goes_on = True
        await asyncio.Event().wait()

    async def caller_left(self) -> None:
        """Wait until the caller has left, of a call that doesn't go on without: who asks for it again makes it anew."""
        await (self.client_disconnect() if self._goes_on else self._protocol.client_disconnect())

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer."""
        self.status, self._headers = status, headers
        self.take(body)
        self.is_whole = True
        self._protocol.response_bytes(status, headers, body)

    def response_stream(self, status: int, headers: Headers) -> StreamTransport:
        """Answer in pieces."""
        self.status, self._headers = status, headers
        # Nobody but the door holds the transport: the answer ends when that lets go of it.
        return RecordedTransport(self._protocol.response_stream(status, headers), self)


class RecordedTransport:
    """An answer in pieces that is recorded, whether or not the caller still takes them."""

    def __init__(self, transport: StreamTransport, recorder: Recorder) -> None:
        """Send over a transport, and record."""
        self._transport = transport
        self._recorder = recorder
        self._has_left = False

    def note_whole(self) -> None:
        """All of it was sent."""
        self._recorder.is_whole = True

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece. Once the caller has left it is only recorded, unless that has become pointless."""
        self._recorder.take(data)
        if self._has_left:
            if self._recorder.is_too_long:
                raise RuntimeError("the caller has left")
            return
        try:
            await self._transport.send_bytes(data)
        except RuntimeError:  # RSGIProtocolClosed and RSGIProtocolError are RuntimeErrors
            self._has_left = True
