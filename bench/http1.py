"""The least of HTTP/1.1 that a load generator needs: requests as bytes made beforehand, answers read to their end.

Rule: an answer may arrive in any pieces. Nothing is known of a piece but where it stands in the answer.
"""

from __future__ import annotations

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_CHUNKED = b"\r\ntransfer-encoding: chunked"
_CLOSE = b"\r\nconnection: close"
_DONE = b"[DONE]"
_TAIL_BYTES = 40


class BrokenAnswer(ValueError):
    """The answer isn't HTTP as it is read here; the connection can't be used any more."""


def request(method: str, host: str, path: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """A whole request, ready to be written."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + _END_OF_HEAD + body


class AnswerReader:
    """Reads one answer after another from a connection that carries one at a time."""

    __slots__ = ("_chunked", "_left", "_rest", "_tail", "closes", "has_body", "is_streamed", "status")

    def __init__(self) -> None:
        self.status = 0
        self.closes = False
        """The server closes the connection after this answer."""
        self.has_body = False
        """Something of the body has arrived."""
        self.is_streamed = False
        """The body came in chunks."""
        self._left = -1  # bytes of the body (of the chunk, with its line end) still to come; -1: in the head
        self._chunked = False
        self._rest = b""
        self._tail = b""

    @property
    def is_done(self) -> bool:
        """A stream of events ended with its `[DONE]`, which chunks may have cut in two."""
        return _DONE in self._tail.replace(b"\r\n", b"")

    def feed(self, data: bytes) -> bool:
        """Take what arrived; tell whether the answer is complete.

        Raises:
            BrokenAnswer: it isn't understood.
        """
        if self._left < 0:
            return self._read_head(data)
        if self._chunked:
            return self._read_chunks(data)
        return self._skip(len(data))

    def _read_head(self, data: bytes) -> bool:
        if self._rest:
            data = self._rest + data
        end = data.find(_END_OF_HEAD)
        if end < 0:
            self._rest = data
            return False
        head = data[:end].lower()
        try:
            self.status = int(head[9:12])
            self.closes = _CLOSE in head
            self._rest = b""
            size = len(data) - end - 4
            place = head.find(_LENGTH)
            if place >= 0:
                stop = head.find(b"\r\n", place + 2)
                length = int(head[place + 17 : stop if stop >= 0 else end])
                self._chunked = self.is_streamed = False
                self.has_body = size > 0
                self._left = length
                return self._skip(size)
        except ValueError as fault:
            raise BrokenAnswer(f"`{head[:64]!r}` is no head of an answer") from fault
        if _CHUNKED not in head:
            raise BrokenAnswer("the answer has neither a length nor chunks")
        self._chunked = self.is_streamed = True
        self.has_body = False
        self._left = 0
        self._tail = b""
        return self._read_chunks(data[end + 4 :])

    def _skip(self, size: int) -> bool:
        left = self._left - size
        if left > 0:
            self.has_body = self.has_body or size > 0
            self._left = left
            return False
        if left < 0:
            raise BrokenAnswer("more arrived than the answer's length")
        self._left = -1
        return True

    def _read_chunks(self, data: bytes) -> bool:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        here, size = 0, len(data)
        while here < size:
            if self._left:
                step = min(self._left, size - here)
                here += step
                self._left -= step
                self.has_body = True
                piece = data[max(here - _TAIL_BYTES, here - step) : here]
                self._tail = piece if step >= _TAIL_BYTES else (self._tail + piece)[-_TAIL_BYTES:]
                continue
            line_end = data.find(b"\r\n", here)
            if line_end < 0:
                self._rest = data[here:]
                break
            try:
                length = int(data[here:line_end].partition(b";")[0], 16)
            except ValueError as fault:
                raise BrokenAnswer(f"`{data[here:line_end][:32]!r}` is no length of a chunk") from fault
            if length:
                self._left = length + 2
                here = line_end + 2
                continue
            # The last chunk: trailers, if there are any, then a blank line.
            end = data.find(_END_OF_HEAD, line_end)
            if end < 0:
                self._rest = data[here:]
                break
            if end + 4 != size:
                raise BrokenAnswer("more arrived than the answer's last chunk")
            self._left = -1
            return True
        return False
