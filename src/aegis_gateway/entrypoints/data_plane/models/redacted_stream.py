"""A model's stream as its caller sees it: without what is to be redacted, held back no longer than it has to be.

Rule 1: each text is redacted as one, over all the events that it comes in; what may still become a match waits for the
        next of them, or for the event that ends the text.
Rule 2: a text that is JSON, as a tool call's arguments are, is redacted by its fields, and given when it is whole.
Rule 3: events stay events: what waited comes in an event made after the last one that had a part of its text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.adapters.redaction import RedactedStream, TextRedactor
from aegis_gateway.application.decided import Decided
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.domain.redaction import Counts
from aegis_gateway.entrypoints.data_plane.answers import check_encoding, finding, redacted_headers
from aegis_gateway.entrypoints.data_plane.events import event_data, split, with_data
from aegis_gateway.entrypoints.data_plane.models.call import ModelCall
from aegis_gateway.entrypoints.data_plane.models.dialect import Channel, Dialect, StreamedText
from aegis_gateway.entrypoints.data_plane.redacting import looks_like_json, redacted_json, redacted_text
from aegis_gateway.entrypoints.data_plane.refusals import WITHHELD, Headers, withheld_words
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

JSON_CHARACTERS_MAX = 4 * 1024 * 1024

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class ShownStream:
    """What of a stream its caller is shown, and what redactions in shadow would have found in it."""

    def __init__(self, headers: Headers, decided: Decided[ModelCall], dialect: Dialect) -> None:
        """Show the answer to a call."""
        wanted = decided.answer
        self._dialect = dialect
        self._redactor = TextRedactor(wanted.redaction, wanted.key) if wanted.redaction else None
        self._events = RedactedEvents(dialect, self._redactor) if self._redactor is not None else None
        self._why_not: str | None = None
        self._watched = [
            _Watched(each, dialect, TextRedactor(each.redactions.response, wanted.key))
            for each in wanted.watched
        ]
        try:
            check_encoding(headers)
        except NotRedactable as fault:
            self._why_not = str(fault)
        self._has_told = False

    def headers(self, headers: Headers) -> Headers:
        """The answer's headers as its caller sees them."""
        return headers if self._redactor is None else redacted_headers(headers, self._redactor)

    def feed(self, block: bytes) -> bytes:
        """Take whole events, give those that may be shown now."""
        return self._shown(block, is_last=False)

    def end(self, last: bytes) -> bytes:
        """Take the last events, give all that is left to show."""
        return self._shown(last, is_last=True)

    def told(self, decided: Decided[ModelCall]) -> Decided[ModelCall]:
        """The decision with what was redacted in its answer."""
        found = tuple(found for each in self._watched if (found := each.found()) is not None)
        redacted = self._events.counts if self._events is not None else {}
        return msgspec.structs.replace(decided, redacted=redacted, shadow=found)

    def _shown(self, block: bytes, *, is_last: bool) -> bytes:
        for each in self._watched:
            each.feed(block, is_last=is_last)
        if self._events is None:
            return block
        if self._why_not is None:
            try:
                return self._events.end(block) if is_last else self._events.feed(block)
            except NotRedactable as fault:
                self._why_not = str(fault)
        if self._has_told:
            return b""
        self._has_told = True
        return self._dialect.errors.event(403, WITHHELD, withheld_words(self._why_not))


class _Watched:
    """A redaction in shadow, which reads along."""

    def __init__(self, shadow: Shadow, dialect: Dialect, redactor: TextRedactor) -> None:
        self._shadow = shadow
        self._events = RedactedEvents(dialect, redactor)
        self._fault: NotRedactable | None = None

    def feed(self, block: bytes, *, is_last: bool) -> None:
        if self._fault is None:
            try:
                _ = self._events.end(block) if is_last else self._events.feed(block)
            except NotRedactable as fault:
                self._fault = fault

    def found(self) -> Shadow | None:
        return finding(self._shadow, self._events.counts, self._fault)


class _Text:
    """One text of a stream: redacted as it comes, or once it is whole where it is JSON."""

    def __init__(self, redactor: TextRedactor, *, is_typed: bool) -> None:
        self._redactor = redactor
        self._is_typed = is_typed
        self._is_json = is_typed
        self._pieces: list[str] = []
        self._characters = 0
        self._stream: RedactedStream | None = None
        self.event = b""
        self.fields = b""

    def feed(self, piece: str) -> str:
        """Take a piece, give what may be shown now."""
        if self._stream is not None:
            return self._stream.feed(piece)
        self._pieces.append(piece)
        self._characters += len(piece)
        if self._characters > JSON_CHARACTERS_MAX:
            raise NotRedactable("a text that is JSON is too long to be looked into")
        if self._is_json:
            return ""
        begun = "".join(self._pieces)
        self._is_json = looks_like_json(begun)
        if self._is_json or not begun.lstrip().removeprefix("[").lstrip():
            return ""  # it isn't known yet what it is
        self._stream = self._redactor.stream()
        return self._stream.feed(begun)

    def end(self) -> str:
        """Give all that is left."""
        if self._stream is not None:
            return self._stream.end()
        return redacted_text("".join(self._pieces), self._redactor, is_typed=self._is_typed)


class RedactedEvents:
    """A stream's events, redacted."""

    def __init__(self, dialect: Dialect, redactor: TextRedactor) -> None:
        """Start with nothing read."""
        self._dialect = dialect
        self._redactor = redactor
        self._texts: dict[Channel, _Text] = {}
        self._added = 0
        self._repeated: Counts = {}

    @property
    def counts(self) -> Counts:
        """How many values were redacted. Where a text is told once more when it ends, it counts once."""
        streamed, repeated = self._redactor.counts, self._repeated
        kinds = sorted(streamed.keys() | repeated.keys())
        return {kind: max(streamed.get(kind, 0), repeated.get(kind, 0)) for kind in kinds}

    def feed(self, block: bytes) -> bytes:
        """Take whole events, give them as they may be shown now.

        Raises:
            NotRedactable: one can't be read, or not be redacted.
        """
        return b"".join(self._event(event) for event in split(block))

    def end(self, last: bytes) -> bytes:
        """Take the last events, give all that is left.

        Raises:
            NotRedactable: one can't be read, or not be redacted.
        """
        return self.feed(last) + self._rests([()], [], None)

    def _event(self, event: bytes) -> bytes:
        data = event_data(event)
        if not data.strip():
            return self._redactor.whole(event.decode(errors="replace")).encode()
        if data.strip() == b"[DONE]":
            return self._rests([()], [], None) + event
        try:
            fields = _decode(data)
        except UNREADABLE as fault:
            raise NotRedactable("an event of its stream is not JSON") from fault
        if not isinstance(fields, dict):
            raise NotRedactable("an event of its stream is not an object")
        return self._redacted(event, fields)

    def _redacted(self, event: bytes, fields: dict[str, Any]) -> bytes:
        pieces = []
        for text in self._dialect.streamed(fields):
            pieces.append(text.holder[text.name])
            text.holder[text.name] = ""
        rest = _encode(fields)
        ended = list(self._dialect.ended(fields))
        redactor = TextRedactor(self._redactor.redaction, self._redactor.key) if ended else self._redactor
        redacted = redacted_json(rest, redactor, self._dialect.content)
        if ended:
            seen = self._repeated
            self._repeated = {kind: max(seen.get(kind, 0), n) for kind, n in redactor.counts.items()} | {
                kind: n for kind, n in seen.items() if kind not in redactor.counts
            }
        is_changed = redacted is not rest
        if is_changed:
            fields = _decode(redacted)
        texts = list(self._dialect.streamed(fields))
        for text, piece in zip(texts, pieces, strict=True):
            text.holder[text.name] = shown = self._text(text, event, redacted).feed(piece)
            is_changed = is_changed or shown != piece
        number = fields.get("sequence_number")
        before = self._rests(ended, texts, number)
        if isinstance(number, int) and self._added:
            fields["sequence_number"] = number + self._added
            is_changed = True
        if any(text.holder[text.name] != piece for text, piece in zip(texts, pieces, strict=True)):
            is_changed = True
        return before + (with_data(event, _encode(fields)) if is_changed else event)

    def _text(self, text: StreamedText, event: bytes, fields: bytes) -> _Text:
        known = self._texts.get(text.channel)
        if known is None:
            known = _Text(self._redactor, is_typed=text.is_json)
            self._texts[text.channel] = known
        known.event, known.fields = event, fields
        return known

    def _rests(self, ended: list[Channel], texts: list[StreamedText], number: object) -> bytes:
        """What is left of the texts that end: put into the event that ends them, or into events before it."""
        added = []
        for channel in [each for each in self._texts if any(each[: len(end)] == end for end in ended)]:
            known = self._texts.pop(channel)
            rest = known.end()
            here = next((text for text in reversed(texts) if text.channel == channel), None)
            if rest and here is not None:
                here.holder[here.name] += rest
            elif rest:
                added.append(self._made(known, channel, rest, number))
        return b"".join(added)

    def _made(self, known: _Text, channel: Channel, rest: str, number: object) -> bytes:
        """An event like the last that had a part of a text, with the rest of it alone."""
        fields = _decode(known.fields)
        place = next(text for text in self._dialect.streamed(fields) if text.channel == channel)
        place.holder[place.name] = rest
        if isinstance(fields.get("sequence_number"), int):
            last = number if isinstance(number, int) else fields["sequence_number"] + 1
            fields["sequence_number"] = last + self._added
            self._added += 1
        return with_data(known.event, _encode(fields))
