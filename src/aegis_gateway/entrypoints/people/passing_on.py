"""What a gateway worker and the process of the pages say to each other, over a Unix socket that only they reach.

A worker passes on what people ask it (`Asked`), whole; the answer comes back whole (`Answered`), or begins (`Began`)
and goes on in pieces. The next piece is sent once the last one was taken, so nothing piles up for who reads slowly.
Frames are those of the ledger's socket, one message in each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Self, TypeVar, cast

import msgspec

from aegis_gateway.adapters.frames import FrameReader, frame
from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import RequestHeaders, Scope

HEADER_BYTES_MAX = 32 * 1024
PIECE_BYTES_MAX = 1024 * 1024

Headers = list[tuple[str, str]]

_log = logging.getLogger("aegis.people")


class PeopleScope(Scope):
    """What RSGI tells of a request, with what only pages ask for."""

    headers: RequestHeaders
    http_version: str
    scheme: str
    client: str
    server: str


class Asked(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A request, by a number of its connection."""

    number: int
    method: str
    path: str
    query: str
    headers: Headers
    http_version: str
    scheme: str
    client: str
    server: str
    body: bytes

    @classmethod
    def of(cls, number: int, scope: PeopleScope, body: bytes) -> Self:
        """What a worker was asked.

        Raises:
            CallError: the headers are longer than they may be.
        """
        headers = list(scope.headers.items())
        if sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES_MAX:
            raise CallError(f"the headers are longer than {HEADER_BYTES_MAX} bytes", status=431)
        return cls(
            number=number,
            method=scope.method,
            path=scope.path,
            query=scope.query_string,
            headers=headers,
            http_version=scope.http_version,
            scheme=scope.scheme,
            client=scope.client,
            server=scope.server,
            body=body,
        )


class Taken(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """The last piece of an answer was taken."""

    number: int


class Left(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Nobody waits for an answer, or the rest of it, any more."""

    number: int


class Answered(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A whole answer."""

    number: int
    status: int
    headers: Headers
    body: bytes

    @classmethod
    def problem(cls, number: int, status: int, words: str) -> Self:
        """Says what is wrong (RFC 9457), where no page does."""
        headers = [
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ]
        body = msgspec.json.encode({"type": "about:blank", "title": words, "status": status})
        return cls(number=number, status=status, headers=headers, body=body)


class Began(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """An answer that comes in pieces."""

    number: int
    status: int
    headers: Headers


class Piece(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A piece of an answer."""

    number: int
    data: bytes
    is_last: bool


FromWorker = Asked | Taken | Left
FromPages = Answered | Began | Piece
Heard = TypeVar("Heard")

from_worker = msgspec.msgpack.Decoder(FromWorker)
from_pages = msgspec.msgpack.Decoder(FromPages)
_encode = msgspec.msgpack.Encoder().encode


def framed(message: FromWorker | FromPages) -> bytes:
    """A message as it goes over the socket."""
    return frame(_encode(message))


class Line(asyncio.Protocol, Generic[Heard]):
    """One end of the socket: what comes is decoded and `take`n, message by message, until it is `lose`d."""

    def __init__(self, decode: Callable[[bytes], Heard]) -> None:
        """Be at no socket yet."""
        self._decode = decode
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()

    def take(self, message: Heard) -> None:
        """What the other side says."""
        raise NotImplementedError

    def lose(self) -> None:
        """Nothing comes any more, and nobody is there to be told anything."""
        raise NotImplementedError

    @property
    def is_gone(self) -> bool:
        """Whether nobody is there."""
        return self._transport is None

    def send(self, message: FromWorker | FromPages) -> None:
        """Say something; to nobody, if nobody is there."""
        if self._transport is not None:
            self._transport.write(framed(message))

    def hang_up(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be there."""
        # uvloop's transports are not asyncio.Transport by class, only by what they do.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take what came; hang up on what is no message."""
        try:
            for payload in self._reader.feed(data):
                self.take(self._decode(payload))
        except (ValueError, msgspec.DecodeError):
            _log.exception("what came over the socket of the pages is no message of theirs")
            self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Be alone."""
        self._transport = None
        self.lose()
