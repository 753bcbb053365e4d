"""Who made a model's answer: what it says of itself, in whatever API, whole or at the beginning of its stream.

Rule: what is no name (too long, not printable) is none. Nothing else of an answer is looked at.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.application.tracing import AnswerOrigin, CallSpan
from aegis_gateway.entrypoints.data_plane.events import EventReader, event_data

NAME_CHARACTERS_MAX = 256
EVENTS_MAX = 8
"""How many events of a stream are looked at: the first that says anything is among the first two of every API."""

_NOTHING = AnswerOrigin()


class _Inside(msgspec.Struct, frozen=True):
    """What an event of OpenAI's Responses or of Anthropic's Messages has inside."""

    id: str | None = None
    model: str | None = None


class _Said(_Inside, frozen=True):
    """An answer, or an event of its stream. What is absent says nothing; no two APIs mean other things by one name."""

    response_id: str | None = msgspec.field(default=None, name="responseId")
    model_version: str | None = msgspec.field(default=None, name="modelVersion")
    response: _Inside | None = None
    message: _Inside | None = None


_decode = msgspec.json.Decoder(_Said | list[_Said]).decode


def answer_origin(answer: bytes) -> AnswerOrigin:
    """What an answer says of itself, or the first of an array of chunks that says anything."""
    try:
        found = _decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _NOTHING
    origins = map(_origin, found if isinstance(found, list) else [found])
    return next((each for each in origins if each != _NOTHING), _NOTHING)


class OriginReader:
    """Reads the beginning of a stream, and tells a call's span once it knows, or nothing more is to be expected."""

    def __init__(self, span: CallSpan | None) -> None:
        """Without a span nobody wants to know."""
        self._span = span
        self._events = EventReader()
        self._left = EVENTS_MAX if span is not None else 0
        self._found = _NOTHING

    def feed(self, piece: bytes) -> None:
        """Take a piece from the upstream."""
        if not self._left:
            return
        try:
            for event in self._events.feed(piece):
                self._look(event_data(event))
        except ValueError:  # an event that is too long; whoever passes it on says so
            self._left = 0

    def end(self) -> None:
        """Take note that no more is read."""
        if self._span is not None and self._found != _NOTHING:
            self._span.answered(self._found)
        self._span, self._left = None, 0

    def _look(self, data: bytes) -> None:
        if not self._left:
            return
        self._left -= 1
        said = answer_origin(data)
        self._found = AnswerOrigin(model=self._found.model or said.model, id=self._found.id or said.id)
        if not self._left or (self._found.model and self._found.id):
            self.end()


def _origin(said: _Said) -> AnswerOrigin:
    inside = said.response or said.message or said
    return AnswerOrigin(
        model=_name(inside.model or said.model_version), id=_name(inside.id or said.response_id)
    )


def _name(text: str | None) -> str | None:
    is_name = text is not None and len(text) <= NAME_CHARACTERS_MAX and text.isascii() and text.isprintable()
    return text or None if is_name else None
