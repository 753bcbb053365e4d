"""HTTP/1.1 as far as the gateway's API needs it, without any I/O: one request is written, its answer is read.

Rule 1: what is no answer, or more than is bearable, is a `ProtocolFault`; nothing is guessed.
Rule 2: a connection is used again only if the answer ended where it said that it would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
_DIGITS_MAX = 16
_END = b"\r\n\r\n"


class ProtocolFault(Exception):
    """What came is no HTTP answer, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; its body is JSON. `headers` are its own, checked names and values."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; header names in lower case. `keeps`: the connection may be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    keeps: bool


def written(request: Request, prefix: str, head: str) -> bytes:
    """A request as it is sent; `head` are the headers that all have."""
    start = f"{request.method} {prefix}{request.path} HTTP/1.1\r\n{head}"
    for name, value in request.headers.items():
        start += f"{name}: {value}\r\n"
    if request.body or request.method == "POST":
        start += f"Content-Type: application/json\r\nContent-Length: {len(request.body)}\r\n"
    return f"{start}\r\n".encode("ascii") + request.body


class ResponseReader:
    """Reads one answer, piece by piece."""

    def __init__(self) -> None:
        """Begin."""
        self._data = bytearray()
        self._status = 0
        self._headers: dict[str, str] | None = None
        self._length: int | None = None
        self._is_chunked = False
        self._keeps = False
        self._chunks = bytearray()

    @property
    def has_begun(self) -> bool:
        """Whether anything has come."""
        return bool(self._data) or self._headers is not None

    def feed(self, data: bytes) -> Response | None:
        """Take a piece; the answer, once it is whole.

        Raises:
            ProtocolFault: it is none.
        """
        self._data += data
        while self._headers is None:
            if not self._read_head():
                return None
        if self._is_chunked:
            return self._chunked()
        if self._length is None:
            if len(self._data) > BODY_BYTES_MAX:
                raise ProtocolFault("the answer is too long")
            return None
        if len(self._data) < self._length:
            return None
        is_exact = len(self._data) == self._length
        return self._response(bytes(self._data[: self._length]), keeps=self._keeps and is_exact)

    def end(self) -> Response:
        """The connection was closed; the answer, if that is how it ends.

        Raises:
            ProtocolFault: it is not whole.
        """
        if self._headers is None or self._length is not None or self._is_chunked:
            raise ProtocolFault("the connection was closed before the answer was whole")
        return self._response(bytes(self._data), keeps=False)

    def _response(self, body: bytes, *, keeps: bool) -> Response:
        return Response(self._status, self._headers or {}, body, keeps)

    def _read_head(self) -> bool:
        end = self._data.find(_END)
        if end < 0:
            if len(self._data) > HEAD_BYTES_MAX:
                raise ProtocolFault("the answer's head is too long")
            return False
        lines = self._data[:end].decode("latin-1").split("\r\n")
        del self._data[: end + len(_END)]
        version, _, rest = lines[0].partition(" ")
        status = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (len(status) == 3 and status.isdecimal()):
            raise ProtocolFault("what answered does not speak HTTP/1.1")
        self._status = int(status)
        if 100 <= self._status < 200:
            return bool(self._data)  # an interim answer; the real one comes after it
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise ProtocolFault("the answer's head has a line that is no header")
            headers[name.strip().lower()] = value.strip()
        self._frame(version, headers)
        self._headers = headers
        return True

    def _frame(self, version: str, headers: dict[str, str]) -> None:
        """Find out how the body ends."""
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolFault("the answer is compressed, which nobody asked for")
        if coding and coding != "chunked":
            raise ProtocolFault("the answer has a transfer coding other than chunked")
        self._is_chunked = bool(coding)
        if self._status in (204, 304):
            self._length = 0
        elif length is not None and not self._is_chunked:
            is_number = length.isascii() and length.isdecimal() and len(length) <= _DIGITS_MAX
            if not is_number or int(length) > BODY_BYTES_MAX:
                raise ProtocolFault("the answer's length makes no sense, or is too much")
            self._length = int(length)
        connection = headers.get("connection", "").lower()
        self._keeps = (
            version == "HTTP/1.1"
            and "close" not in connection
            and (self._is_chunked or self._length is not None)
        )

    def _chunked(self) -> Response | None:
        while True:
            end = self._data.find(b"\r\n")
            if end < 0:
                if len(self._data) > HEAD_BYTES_MAX:
                    raise ProtocolFault("a chunk of the answer has no length")
                return None
            try:
                size = int(bytes(self._data[:end]).split(b";")[0].strip(), 16)
            except ValueError as fault:
                raise ProtocolFault("a chunk of the answer has no length") from fault
            if size < 0 or len(self._chunks) + size > BODY_BYTES_MAX:
                raise ProtocolFault("the answer is too long")
            if size == 0:
                return self._last_chunk(end)
            begin, stop = end + 2, end + 2 + size
            if len(self._data) < stop + 2:
                return None
            if self._data[stop : stop + 2] != b"\r\n":
                raise ProtocolFault("a chunk of the answer is longer than it says")
            self._chunks += self._data[begin:stop]
            del self._data[: stop + 2]

    def _last_chunk(self, end: int) -> Response | None:
        """What follows the last chunk: trailers, which say nothing here, and an empty line."""
        rest = bytes(self._data[end:])
        stop = rest.find(_END)
        if stop < 0:
            if len(rest) > HEAD_BYTES_MAX:
                raise ProtocolFault("the answer's trailers are too long")
            return None
        is_exact = len(rest) == stop + len(_END)
        return self._response(bytes(self._chunks), keeps=self._keeps and is_exact)
