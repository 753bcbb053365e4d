"""Redaction inside JSON: values are replaced where they stand, by their field's name or by what they look like.

Rule 1: what isn't redacted stays byte for byte: white space, numbers, escapes, unknown fields.
Rule 2: what can't be replaced by a token without breaking what it stands in is not let through: a number, a name of a
        field.
"""

from __future__ import annotations

import re
from collections.abc import Container

import msgspec

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.domain.redaction import is_token
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

_PIECE = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],]|[^\s{}\[\],:"]++', re.DOTALL)
_NUMBER_DIGITS_MIN = 8
"""No number that is shorter looks like anything that is redacted."""
_NESTED_MAX = 8

_decode = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def looks_like_json(text: str) -> bool:
    """Whether a text begins as an object of JSON does, or a list of some."""
    return text.lstrip().removeprefix("[").lstrip().startswith("{")


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Where the content of a body is, as opposed to what it is built of.

    The texts of `structural` members are no content (a model's name, roles, ids); within `schemas` only descriptions
    are; and all is, within objects that are members named in `opaque` (a tool's arguments). Members named in `typed`
    hold JSON in a text whose types matter. What members named in `unreadable` hold is no text (an image), unless it is
    empty; of those in `unreadable_objects` that is so of objects and lists.
    """

    structural: Container[str] = ()
    schemas: Container[str] = ()
    opaque: Container[str] = ()
    typed: Container[str] = ()
    unreadable: Container[str] = ()
    unreadable_objects: Container[str] = ()


ALL = Content()
"""All texts are content."""


def redacted_json(raw: bytes, redactor: TextRedactor, content: Content = ALL) -> bytes:
    """JSON without what is to be redacted.

    Raises:
        NotRedactable: it isn't JSON, or has something in it that has to be redacted and can't be replaced by a token.
    """
    try:
        _decode(raw)
    except UNREADABLE as fault:
        raise NotRedactable("it is not valid JSON") from fault
    return _Walk(redactor, content, is_typed=True).redacted(raw)


def redacted_text(text: str, redactor: TextRedactor, *, is_typed: bool = False) -> str:
    """A text without what is to be redacted, one that is JSON by its fields too; its types matter if `is_typed`.

    Raises:
        NotRedactable: it has something in it that has to be redacted and can't be replaced by a token.
    """
    return _Walk(redactor, ALL, is_typed=True).nested(text, is_typed=is_typed) or redactor.whole(text)


class _Frame:
    """An object or array that is being walked through."""

    __slots__ = (
        "expects_key",
        "in_schema",
        "is_object",
        "is_opaque",
        "is_unreadable",
        "key",
        "kind",
        "number",
    )

    def __init__(self, outer: _Frame | None, *, is_object: bool) -> None:
        self.is_object = self.expects_key = is_object
        self.key: str = "" if outer is None or is_object else outer.key
        self.kind: str | None = outer.kind if outer is not None else None
        self.in_schema: bool = outer is not None and outer.in_schema
        self.is_opaque: bool = outer is not None and outer.is_opaque
        self.is_unreadable = False
        self.number = 0


class _Walk:
    """One walk through a JSON text."""

    def __init__(self, redactor: TextRedactor, content: Content, *, is_typed: bool, depth: int = 0) -> None:
        self._redactor = redactor
        self._content = content
        self._is_typed = is_typed
        self._depth = depth
        self._kinds: dict[str, str | None] = {}
        self._keys: dict[bytes, str] = {}

    def redacted(self, raw: bytes) -> bytes:
        pieces: list[bytes] = []
        kept_from = 0
        frames: list[_Frame] = []
        for match in _PIECE.finditer(raw):
            sign = raw[match.start()]
            frame = frames[-1] if frames else None
            if sign in b"{[":
                frames.append(self._entered(frame, is_object=sign == ord("{")))
            elif sign in b"}]":
                frames.pop()
            elif sign == ord(","):
                assert frame is not None, "a comma stands in something"
                frame.expects_key = frame.is_object
                frame.number += 1
            elif frame is not None and frame.is_unreadable:
                raise NotRedactable(f"what stands at {_path(frames[:-1])} is no text that could be redacted")
            elif sign == ord('"') and frame is not None and frame.expects_key:
                frame.expects_key = False
                frame.key = self._key(match.group(), frames)
            else:
                old = match.group()
                new = self._text(old, frame) if sign == ord('"') else self._number(old, frame, frames)
                if new is not old:
                    pieces += (raw[kept_from : match.start()], new)
                    kept_from = match.end()
        return b"".join((*pieces, raw[kept_from:])) if pieces else raw

    def _entered(self, outer: _Frame | None, *, is_object: bool) -> _Frame:
        frame = _Frame(outer, is_object=is_object)
        if outer is not None and outer.is_object:
            frame.kind = frame.kind or self._kind_of(outer.key)
            frame.in_schema = frame.in_schema or (not frame.is_opaque and outer.key in self._content.schemas)
            frame.is_opaque = frame.is_opaque or (is_object and outer.key in self._content.opaque)
            content = self._content
            is_unreadable = outer.key in content.unreadable or outer.key in content.unreadable_objects
            frame.is_unreadable = is_unreadable and not (frame.is_opaque or frame.in_schema)
        return frame

    def _kind_of(self, key: str) -> str | None:
        if key not in self._kinds:
            self._kinds[key] = self._redactor.redaction.kind_of(key)
        return self._kinds[key]

    def _key(self, raw: bytes, frames: list[_Frame]) -> str:
        key = self._keys.get(raw)
        if key is not None:
            return key
        key = self._keys[raw] = _decode_text(raw)
        if self._redactor.whole(key) != key:
            raise NotRedactable(f"the name of a field at {_path(frames[:-1])} would have to be redacted")
        return key

    def _is_content(self, frame: _Frame) -> bool:
        if frame.is_opaque:
            return True
        return frame.key == "description" if frame.in_schema else frame.key not in self._content.structural

    def _text(self, raw: bytes, frame: _Frame | None) -> bytes:
        if frame is not None and not self._is_content(frame):
            return raw
        text = _decode_text(raw)
        if text and frame is not None and self._is_unreadable(frame):
            raise NotRedactable(f"`{frame.key}` is no text that could be redacted")
        kind = self._kind_at(frame)
        if kind is not None:
            return raw if not text or is_token(text) else _encode(self._redactor.token(kind, text.encode()))
        is_typed = self._is_typed and frame is not None and frame.key in self._content.typed
        new = self.nested(text, is_typed=is_typed) or self._redactor.whole(text)
        return raw if new == text else _encode(new)

    def _is_unreadable(self, frame: _Frame) -> bool:
        return not frame.is_opaque and not frame.in_schema and frame.key in self._content.unreadable

    def _kind_at(self, frame: _Frame | None) -> str | None:
        if frame is None:
            return None
        return frame.kind or (self._kind_of(frame.key) if frame.is_object else None)

    def nested(self, text: str, *, is_typed: bool) -> str | None:
        """A text that is JSON itself, redacted as such; None where it is none."""
        if not looks_like_json(text) or self._depth == _NESTED_MAX:
            return None
        raw = text.encode()
        try:
            _decode(raw)
        except UNREADABLE:
            return None
        return _Walk(self._redactor, ALL, is_typed=is_typed, depth=self._depth + 1).redacted(raw).decode()

    def _number(self, raw: bytes, frame: _Frame | None, frames: list[_Frame]) -> bytes:
        if not raw[-1:].isdigit() or (frame is not None and not self._is_content(frame)):
            return raw
        kind = self._kind_at(frame)
        if kind is None and len(raw) >= _NUMBER_DIGITS_MIN:
            found = self._redactor.whole(raw.decode())
            if found != raw.decode():
                kind = found.partition("[")[2].partition(":")[0].lower()
        if kind is None:
            return raw
        if self._is_typed:
            raise NotRedactable(
                f"the number at {_path(frames)} would have to be redacted, and only a text can be"
            )
        return _encode(self._redactor.token(kind, raw))


def _path(frames: list[_Frame]) -> str:
    path = "".join(f".{frame.key}" if frame.is_object else f"[{frame.number}]" for frame in frames)
    return f"`{path.removeprefix('.')}`" if path else "the top"
