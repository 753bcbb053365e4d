"""Server-sent events of a model's stream, cut out of whatever pieces they arrive in."""

from __future__ import annotations

import re
from collections.abc import Iterator

EVENT_BYTES_MAX = 8 * 1024 * 1024

_END_BYTES = 3
"""How much of an event's end may stand in an earlier piece than its last byte."""
_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventReader:
    """Cuts a stream into events, each with its terminating blank line, so that they can be passed on unchanged."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._pieces: list[bytes] = []
        self._size = 0

    def block(self, piece: bytes) -> bytes:
        """Take a piece, give all events that are whole now, as they stand.

        Raises:
            ValueError: an event is longer than any may be.
        """
        if self._pieces and not self._ends_event(piece):
            # Joined with what is held only once that ends: a long event in small pieces would be copied each time.
            self._hold(piece)
            return b""
        buffer = b"".join((*self._pieces, piece)) if self._pieces else piece
        end = _end_of_last_event(buffer)
        self._pieces, self._size = [], 0
        self._hold(buffer[end:])
        return buffer[:end]

    def _ends_event(self, piece: bytes) -> bool:
        """Whether a piece ends the event that is held, or one in itself."""
        before = b"".join(self._pieces[-_END_BYTES:])[-_END_BYTES:]
        return _END_OF_EVENT.search(before + piece) is not None

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > EVENT_BYTES_MAX:
            raise ValueError("an event of the upstream's stream is too long")
        if piece:
            self._pieces.append(piece)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece, give the events that are whole now, one by one.

        Raises:
            ValueError: an event is longer than any may be.
        """
        yield from split(self.block(piece))

    def rest(self) -> bytes:
        """What is left when the stream has ended: an event without its blank line."""
        rest = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return rest


def split(block: bytes) -> Iterator[bytes]:
    """The events of a block, each with its terminating blank line."""
    start = 0
    for end in _END_OF_EVENT.finditer(block):
        yield block[start : end.end()]
        start = end.end()


def _end_of_last_event(buffer: bytes) -> int:
    """Where the last whole event ends; 0 where there is none."""
    place = buffer.rfind(b"\n\n")
    if b"\r" not in buffer and buffer[place - 1 : place] != b"\n":
        # Then the last blank line is where the last event ends. (Of three line ends it would be the second.)
        return place + 2 if place >= 0 else 0
    return max((end.end() for end in _END_OF_EVENT.finditer(buffer)), default=0)


def with_data(event: bytes, data: bytes) -> bytes:
    """An event with other data, its other lines as they are."""
    lines = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join((*lines, b"data: " + data, b"", b""))


def event_data(event: bytes) -> bytes:
    """The data of an event: its `data:` lines, joined."""
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)
