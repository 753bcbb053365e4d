"""Messages between callers of one form of the protocol and servers of the other.

Rule 1: a message that has to be said otherwise keeps the bytes of all that both forms say alike.
Rule 2: what only one form has is left out, or is what it means where it is not said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from aegis_gateway.entrypoints.data_plane.events import event_data
from aegis_gateway.entrypoints.data_plane.mcp.answering import Exchange
from aegis_gateway.entrypoints.data_plane.mcp.errors import event
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    CallerMessage,
    Id,
    Members,
    encode,
    members,
    raw_json,
    server_message,
)
from aegis_gateway.entrypoints.data_plane.mcp.versions import (
    META,
    META_CAPABILITIES,
    META_VERSION,
    MODERN,
    Era,
)
from aegis_gateway.entrypoints.data_plane.refusals import Headers
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

_PROGRESS = "progressToken"
_CACHEABLE = frozenset(
    (
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "server/discover",
    )
)
_COMPLETE: Members = {"resultType": raw_json("complete")}
_UNCACHED: Members = {"ttlMs": raw_json(0), "cacheScope": raw_json("private")}


def said_in(era: Era, message: CallerMessage, changed: Mapping[str, msgspec.Raw | None], id_: Id) -> bytes:
    """A caller's message in a form of the protocol, under an id of ours. Its progress is told under that id too."""
    params = {name: value for name, value in {**message.params, **changed}.items() if value is not None}
    meta = members(params["_meta"]) if message.meta else {}
    is_said = era == "modern" and META_VERSION in meta
    if not is_said:
        meta = {name: value for name, value in meta.items() if not name.startswith(META)}
    if _PROGRESS in meta:
        meta[_PROGRESS] = raw_json(id_)
    if era == "modern" and not is_said:
        meta |= {META_VERSION: raw_json(MODERN), META_CAPABILITIES: raw_json({})}
    if meta:
        params["_meta"] = raw_json(meta)
    else:
        params.pop("_meta", None)
    return encode({"jsonrpc": "2.0", "id": id_, "method": message.method, "params": params})


def heard_in(era: Era, message: CallerMessage, raw: bytes) -> bytes:
    """A server's message, as a caller of a form of the protocol gets it: the answer under the caller's own id."""
    found = server_message(raw)
    if found is None:
        return raw
    top = members(raw)
    if found.method is not None:
        return _with_progress(top, message) if found.method == "notifications/progress" else raw
    top["id"] = raw_json(message.id)
    if era == "modern" and "result" in top:
        top["result"] = _said_whole(top["result"], message.method)
    return encode(top)


def _said_whole(result: msgspec.Raw, method: str) -> msgspec.Raw:
    """A result with what the modern form wants to be said of each."""
    try:
        found = members(result)
    except UNREADABLE:
        return result
    told = {**_COMPLETE, **(_UNCACHED if method in _CACHEABLE else {})}
    return raw_json({**told, **found})


def _with_progress(top: Members, message: CallerMessage) -> bytes:
    """Progress under the token that the caller gave its request."""
    token = message.meta.get(_PROGRESS)
    params = members(top["params"]) if "params" in top else {}
    return encode({**top, "params": {**params, _PROGRESS: raw_json(token)}})


class Translated:
    """A server's answer, as a caller of a form of the protocol gets it."""

    def __init__(
        self,
        exchange: Exchange,
        era: Era,
        message: CallerMessage,
        asked: Callable[[Id], Id] | None = None,
    ) -> None:
        """Translate an answer to a message; `asked` gives the ids of the server's questions that the caller gets."""
        self._asked = asked
        self._exchange = exchange
        self._era: Era = era
        self._message = message
        self.status = exchange.status
        self.headers: Headers = exchange.headers
        self.is_stream = exchange.is_stream

    async def whole(self) -> bytes:
        """The body of one that is no stream."""
        return heard_in(self._era, self._message, await self._exchange.whole())

    async def next_event(self) -> bytes | None:
        """The next event of a stream; None at its end. Where it could be taken up again is nobody's business."""
        while (block := await self._exchange.next_event()) is not None:
            raw = event_data(block)
            if raw:
                return event(heard_in(self._era, self._message, self._asking(raw)))
        return None

    def _asking(self, raw: bytes) -> bytes:
        """A server's message, a question under the id that its answer comes back under."""
        found = server_message(raw) if self._asked is not None else None
        if found is None or self._asked is None or not found.asks or found.id is None:
            return raw
        return encode({**members(raw), "id": raw_json(self._asked(found.id))})


class Told:
    """An answer that comes as messages, one after the other: whole if the first is the answer, else a stream."""

    status = 200
    headers: Headers

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        """Begin with the first message."""
        found = server_message(first)
        self.is_stream = found is None or found.method is not None
        self.headers = [] if self.is_stream else [("content-type", "application/json")]
        self._first: bytes | None = first
        self._rest = rest

    async def whole(self) -> bytes:
        """The answer."""
        assert self._first is not None, "it is asked for once"
        return self._first

    async def next_event(self) -> bytes | None:
        """The next message as an event."""
        if self._first is not None:
            raw, self._first = self._first, None
            return event(raw)
        async for raw in self._rest:
            return event(raw)
        return None
