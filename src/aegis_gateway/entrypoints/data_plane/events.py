"""Server-sent events of a model's stream, cut out of whatever pieces they arrive in."""

from __future__ import annotations

import re
from collections.abc import Iterator

EVENT_BYTES_MAX = 8 * 1024 * 1024

_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventReader:
    """Cuts a stream into events, each with its terminating blank line, so that they can be passed on unchanged."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._buffer = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece, give the events that are whole.

        Raises:
            ValueError: an event is longer than any may be.
        """
        buffer = self._buffer + piece
        start = 0
        for end in _END_OF_EVENT.finditer(buffer):
            yield buffer[start : end.end()]
            start = end.end()
        self._buffer = buffer[start:]
        if len(self._buffer) > EVENT_BYTES_MAX:
            raise ValueError("an event of the upstream's stream is too long")

    def rest(self) -> bytes:
        """What is left when the stream has ended: an event without its blank line."""
        rest, self._buffer = self._buffer, b""
        return rest


def event_data(event: bytes) -> bytes:
    """The data of an event: its `data:` lines, joined."""
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)
