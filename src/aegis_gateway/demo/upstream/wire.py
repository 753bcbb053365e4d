"""The little of RSGI (granian's protocol) that the upstream uses, and JSON replies over it."""

import asyncio
from typing import Any, Protocol

import msgspec

Headers = list[tuple[str, str]]

JSON: Headers = [("content-type", "application/json")]

encode = msgspec.json.Encoder().encode


class RequestHeaders(Protocol):
    """A request's headers, by lower-case name."""

    def get(self, key: str, default: Any = None) -> Any:
        """The header's first value."""


class Scope(Protocol):
    """A request without its body. ``path`` is percent-decoded."""

    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> RequestHeaders:
        """The request's headers."""


class Stream(Protocol):
    """An answer whose body is being sent."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece; raises ``granian.rsgi.ProtocolClosed`` once the client has gone."""


class Http(Protocol):
    """One exchange: call it for the whole request body, then answer exactly once."""

    async def __call__(self) -> bytes:
        """The request's body."""

    async def client_disconnect(self) -> None:
        """Return when the client has gone."""

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer whole."""

    def response_stream(self, status: int, headers: Headers) -> Stream:
        """Begin an answer; its body ends when the stream is no longer referred to."""


def reply(http: Http, status: int, value: object) -> None:
    """Answer with ``value`` as JSON."""
    http.response_bytes(status, JSON, encode(value))


async def pause(milliseconds: int) -> None:
    """Wait, if there is anything to wait for."""
    if milliseconds:
        await asyncio.sleep(milliseconds / 1000)
