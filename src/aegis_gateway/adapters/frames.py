"""Frames between a gateway worker and the ledger process: a length of four bytes, then msgpack.

A frame is one event-loop turn's worth of messages, `[[number, message], …]`; a reply carries its request's number.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aegis_gateway.application.commands import Command, Reply, Running
from aegis_gateway.application.pace import AskPace, Paced, PaceTold

FRAME_BYTES_MAX = 64 * 1024 * 1024

_LENGTH_BYTES = 4

encode_messages = msgspec.msgpack.Encoder().encode
commands_decoder = msgspec.msgpack.Decoder(list[tuple[int, Command | Running | Paced | AskPace]])
replies_decoder = msgspec.msgpack.Decoder(list[tuple[int, Reply | PaceTold]])


def frame(payload: bytes) -> bytes:
    """A payload with its length before it."""
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Take bytes, give the payloads that are whole.

        Raises:
            ValueError: a frame claims to be longer than any may be.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "big")
            if length > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes")
            end = start + _LENGTH_BYTES + length
            if len(buffer) < end:
                break
            yield bytes(buffer[start + _LENGTH_BYTES : end])
            start = end
        del buffer[:start]
