"""An answer that was given before, as the answer to the same call asked again: under the id that it has now."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aegis_gateway.entrypoints.data_plane.events import event_data, split, with_data
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, StreamTransport
from aegis_gateway.entrypoints.data_plane.mcp.messages import Id, encode, members, raw_json, server_message
from aegis_gateway.entrypoints.data_plane.refusals import Headers
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

_REPLAYED = "aegis-replayed"


class OwnId:
    """A request's protocol that knows the request's id, and gives it to an answer that is given again."""

    def __init__(self, protocol: HttpProtocol) -> None:
        """Answer over a protocol."""
        self._protocol = protocol
        self._pieces: list[bytes] = []

    async def __call__(self) -> bytes:
        """The whole body of the request."""
        body = await self._protocol()
        self._pieces = [body]
        return body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body of the request in pieces."""
        async for piece in self._protocol:
            self._pieces.append(piece)
            yield piece

    async def client_disconnect(self) -> None:
        """Wait until the caller has left."""
        await self._protocol.client_disconnect()

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer."""
        if any(name == _REPLAYED for name, _ in headers):
            body = self._renamed(body, is_stream=_is_stream(headers))
        self._protocol.response_bytes(status, headers, body)

    def response_stream(self, status: int, headers: Headers) -> StreamTransport:
        """Answer in pieces."""
        return self._protocol.response_stream(status, headers)

    def _renamed(self, body: bytes, *, is_stream: bool) -> bytes:
        message = server_message(b"".join(self._pieces))
        if message is None or message.id is None:
            return body
        if not is_stream:
            return with_id(body, message.id)
        return b"".join(_event_with_id(event, message.id) for event in split(body))


def with_id(raw: bytes, id_: Id) -> bytes:
    """An answer under another id."""
    try:
        return encode({**members(raw), "id": raw_json(id_)})
    except UNREADABLE:
        return raw


def _event_with_id(event: bytes, id_: Id) -> bytes:
    message = server_message(event_data(event))
    if message is None or not message.is_response:
        return event
    return with_data(event, with_id(event_data(event), id_))


def _is_stream(headers: Headers) -> bool:
    return dict(headers).get("content-type", "").startswith("text/event-stream")
