"""A model request's JSON body: looked into as parsed, sent as it came.

Rule 1: what isn't changed leaves byte for byte as it was received: white space, numbers and unknown fields included.
Rule 2: an object with a key twice is refused at any depth, so that no body means one thing here and another upstream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE, decoder_words

_decode = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode

DEPTH_MAX = 256
"""How deep a body may be nested: far above what APIs take, and far below where decoders give up, which depends on who
calls them."""

_NAME = re.compile(rb'[\s,]*"(?:[^"\\]|\\.)*+"\s*:\s*', re.DOTALL)
"""A member's name, from wherever the member before it ended to where its value begins."""


class JsonBody(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object as it was received (`raw`), as parsed (`fields`), and in one order (`canonical`)."""

    raw: bytes
    fields: dict[str, Any]
    canonical: bytes

    def changed(self, changes: Mapping[str, object]) -> bytes:
        """The body with some members' values replaced, or added where there were none.

        A change that is a mapping is one of that member's own members, where it is an object already.
        """
        return _changed(self.raw, self.fields, changes) if changes else self.raw


def read_body_json(raw: bytes) -> JsonBody:
    """Read a body.

    Raises:
        CallError: it is not a JSON object, is nested too deeply, has a key twice or a number that cannot be kept.
    """
    try:
        fields = _decode(raw)
        canonical = _encode_sorted(fields)
    except UNREADABLE as fault:
        raise CallError(f"the body is not valid JSON: {decoder_words(fault)}") from fault
    if not isinstance(fields, dict):
        raise CallError("the body must be a JSON object")
    if _quotes(raw) != _quotes(canonical):
        raise CallError("the body has a key twice in one object; each may stand once")
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and _is_deeper(fields, DEPTH_MAX):
        raise CallError("the body is not valid JSON: it is nested too deeply")
    return JsonBody(raw=raw, fields=fields, canonical=canonical)


def _is_deeper(value: object, depth: int) -> bool:
    """Whether a value is nested deeper than so many levels, told without recursion."""
    level: list[object] = [value]
    for _ in range(depth):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
        if not level:
            return False
    return True


def _quotes(text: bytes) -> int:
    """How many quotation marks begin or end a text.

    Parsing keeps every text but those of a key that stood before, with its value: so where the count differs from
    that of the same object written anew, a key stood twice.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.count(b'"')


def _changed(raw: bytes, fields: Mapping[str, Any], changes: Mapping[str, object]) -> bytes:
    members = _decode_members(raw)
    opening = position = raw.index(b"{") + 1
    added = [name for name in changes if name not in members]
    pieces = [raw[:opening], *(_member(name, changes[name]) for name in added)]
    if added:
        pieces = [pieces[0], b",".join(pieces[1:]), b"," if members else b""]
    kept_from = opening
    for name, value in members.items():
        found = _NAME.match(raw, position)
        assert found is not None, "what was parsed has a name before each value"
        start, position = found.end(), found.end() + memoryview(value).nbytes
        if name in changes:
            pieces += [raw[kept_from:start], _value(bytes(value), fields[name], changes[name])]
            kept_from = position
    return b"".join([*pieces, raw[kept_from:]])


def _value(raw: bytes, parsed: object, change: object) -> bytes:
    if isinstance(change, Mapping) and isinstance(parsed, dict):
        return _changed(raw, parsed, change)
    return _encode(change)


def _member(name: str, change: object) -> bytes:
    return _encode(name) + b":" + _encode(change)
