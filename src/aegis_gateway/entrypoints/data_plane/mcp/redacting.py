"""A server's messages without what is to be redacted in them.

Rule: what can't be redacted is not let through: an answer is withheld, a message before it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.application.decided import AnswerRedaction, Decided
from aegis_gateway.application.judgement import D
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.entrypoints.data_plane.answers import finding
from aegis_gateway.entrypoints.data_plane.mcp.messages import encode, members, result_type
from aegis_gateway.entrypoints.data_plane.redacting import ALL, Content, redacted_json
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

_BLOCKS = Content(
    structural=("type", "mimeType", "role", "method"), unreadable=("data", "blob"), opaque=("_meta",)
)
"""Pieces of content: texts, images, resources. What images and sounds show can't be looked into."""
_PARAMETERS = Content(structural=("progressToken", "level"))
_KEPT: Mapping[str, Collection[str]] = {"resultType": ("complete", "input_required")}
"""Members whose texts are no content, if they say one of these."""
_IN_BLOCKS = ("content", "inputRequests")


class RedactedMessages:
    """What the caller gets of a server's messages during one call, and what was found in them."""

    def __init__(self, wanted: AnswerRedaction) -> None:
        """Redact as policies ask."""
        self._wanted = wanted
        self._redactor = TextRedactor(wanted.redaction, wanted.key) if wanted.redaction else None
        self._watching = [
            (each, TextRedactor(each.redactions.response, wanted.key)) for each in wanted.watched
        ]
        self._faults: dict[str, NotRedactable] = {}

    def told(self, raw: bytes) -> bytes | None:
        """A message before the answer; None where it can't be redacted."""
        if not self._wanted:
            return raw
        try:
            return self._redacted(raw, _told)
        except NotRedactable:
            return None

    def response(self, raw: bytes) -> bytes | str:
        """The answer; or why it can't be given."""
        if not self._wanted:
            return raw
        try:
            return self._redacted(raw, _response)
        except NotRedactable as fault:
            return str(fault)

    def noted(self, decided: Decided[D]) -> Decided[D]:
        """A decision with what was redacted, and what redactions in shadow would have."""
        if not self._wanted:
            return decided
        shadow: list[Shadow] = []
        for each, redactor in self._watching:
            found = finding(each, redactor.counts, self._faults.get(each.rule))
            if found is not None:
                shadow.append(found)
        redacted = self._redactor.counts if self._redactor is not None else {}
        return msgspec.structs.replace(decided, redacted=redacted, shadow=tuple(shadow))

    def _redacted(self, raw: bytes, redact: Callable[[bytes, TextRedactor], bytes]) -> bytes:
        for each, redactor in self._watching:
            try:
                redact(raw, redactor)
            except NotRedactable as fault:
                self._faults.setdefault(each.rule, fault)
        return raw if self._redactor is None else redact(raw, self._redactor)


def _told(raw: bytes, redactor: TextRedactor) -> bytes:
    return _with(raw, "params", lambda params: redacted_json(params, redactor, _PARAMETERS))


def _response(raw: bytes, redactor: TextRedactor) -> bytes:
    raw = _with(raw, "error", lambda error: redacted_json(error, redactor))
    return _with(raw, "result", lambda result: _result(result, redactor))


def _result(raw: bytes, redactor: TextRedactor) -> bytes:
    """A result, each of its members as what it is: in what a tool gives as data all names are its own."""
    try:
        parts = members(raw)
    except UNREADABLE as fault:
        raise NotRedactable("the result is no object") from fault
    is_sealed = result_type(parts) == "input_required"
    redacted = {
        name: bytes(part)
        if _text(part) in _KEPT.get(name, ()) or (is_sealed and name == "requestState" and _text(part))
        else redacted_json(bytes(part), redactor, _BLOCKS if name in _IN_BLOCKS else ALL)
        for name, part in parts.items()
    }
    if all(redacted[name] == bytes(part) for name, part in parts.items()):
        return raw
    return encode({name: msgspec.Raw(part) for name, part in redacted.items()})


def _text(raw: msgspec.Raw) -> str | None:
    """A text; None where it is something else."""
    try:
        return msgspec.json.decode(raw, type=str)
    except UNREADABLE:
        return None


def _with(raw: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """A message with one of its members changed; as it was if that has nothing to change."""
    try:
        top = members(raw)
    except UNREADABLE as fault:
        raise NotRedactable("it is no message") from fault
    if name not in top:
        return raw
    before = bytes(top[name])
    after = change(before)
    return raw if after == before else encode({**top, name: msgspec.Raw(after)})
