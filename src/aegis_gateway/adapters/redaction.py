"""Redaction of texts, whole or in the pieces that a stream brings.

Rule 1: what comes out does not depend on where a text was cut into pieces.
Rule 2: nothing comes out that may still become a match. Only the beginning of one is held back, of at most
        `MATCH_BYTES_MAX`, so that a stream goes on.
Rule 3: the time grows with the text's length and with nothing else of it: each pattern reads each byte a bounded number
        of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

import re2  # type: ignore[import-untyped]  # it has no stubs

from aegis_gateway.adapters.redaction_checks import Candidate, holds_token, is_in_token, plain_value
from aegis_gateway.adapters.redaction_patterns import MATCH_BYTES_MAX, Pattern, patterns_of
from aegis_gateway.domain.redaction import Counts, Redaction, is_token, token

CONTEXT_BYTES = 20
"""How much of what stands before a value, and of what stands after it, its check is given."""

_STARTS = re.compile(rb"(?<![0-9A-Za-z_])[0-9A-Za-z_]|(?<![0-9A-Za-z_\x80-\xff])[\x80-\xff]|[+(:\\\"-]")
"""Where a pattern may begin: at a word, or at one of a few signs. (What begins elsewhere, no check accepts.)"""
_ESCAPE = re.compile(rb"\\[nrtbf]$")
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_MEMBER = re.compile(rb"\"\s*:\s*$")

_MEMORY_BYTES_MAX = 4 * 1024 * 1024
_MEMORY_OF_ALL_BYTES_MAX = 32 * 1024 * 1024
"""What a pattern may remember of how it runs; beyond that it forgets, and goes on."""
_REMEMBERED_MAX = 64


class Compiled(Protocol):
    """A compiled pattern."""

    def search(self, text: bytes, position: int) -> Any:
        """The first match from a position on, or None."""

    def match(self, text: bytes, position: int) -> Any:
        """The match that begins at a position, or None."""

    def fullmatch(self, text: bytes, position: int) -> Any:
        """The match from a position up to the end, or None."""


class Detector:
    """One pattern, compiled: what is looked for, and what may become it."""

    def __init__(self, pattern: Pattern, full: Compiled, begun: Compiled) -> None:
        """Detect by a pattern's two forms."""
        self.kind, self.check = pattern.kind, pattern.check
        self.full, self.begun = full, begun


class Detectors:
    """All that is to be looked for, compiled once and for all texts.

    Most pieces of most texts have nothing, which `any_full` and `any_begun` tell, all patterns at once. They are asked
    from a place on and run forward only: backward, so many patterns would be in play at once that new texts are slow.
    """

    def __init__(self, redaction: Redaction) -> None:
        """Compile what detects what is to be redacted."""
        patterns = patterns_of(redaction)
        self.each = [
            Detector(
                pattern,
                _compiled(pattern.part.full, captures=True),
                _compiled(pattern.part.begun),
            )
            for pattern in patterns
        ]
        most = _MEMORY_OF_ALL_BYTES_MAX
        self.any_full = _compiled(rf"(?s:.*?)(?:{'|'.join(each.part.full for each in patterns)})", most)
        self.any_begun = _compiled("|".join(each.part.begun for each in patterns), most)
        self._which = re2.Set.SearchSet(_options(most))
        for pattern in patterns:
            self._which.Add(pattern.part.full.encode("latin-1"))
        self._which.Compile()

    def found_in(self, text: bytes, begin: int) -> Iterable[int]:
        """Which detectors find something in a text, from a place on; more may be named than do."""
        if self.any_full.match(text, begin) is None:
            return ()
        # A set tells nothing where it runs out of memory; then each has to look for itself.
        found: list[int] | None = self._which.Match(text)
        return sorted(found) if found else range(len(self.each))


detectors_of = lru_cache(maxsize=_REMEMBERED_MAX)(Detectors)
"""The detectors of a redaction; there are as many redactions as policies differ."""


class TextRedactor:
    """Redacts texts, for one redaction and one tenant, and counts what it found."""

    def __init__(
        self,
        redaction: Redaction,
        key: bytes,
        detectors: Detectors | None = None,
        match_bytes_max: int = MATCH_BYTES_MAX,
    ) -> None:
        """`key` is the tenant's, under which tokens are made."""
        self.redaction, self.key = redaction, key
        self.counts: Counts = {}
        self._detectors = detectors or detectors_of(redaction)
        self._match_bytes_max = match_bytes_max

    def whole(self, text: str) -> str:
        """A text without what is to be redacted."""
        encoded = text.encode()
        if self._detectors.any_full.match(encoded, 0) is None:
            return text
        return RedactedStream(self, self._detectors, self._match_bytes_max, encoded).end()

    def stream(self) -> RedactedStream:
        """Begin a text that comes in pieces."""
        return RedactedStream(self, self._detectors, self._match_bytes_max)

    def field(self, name: str, text: str) -> str:
        """The text of a field without what is to be redacted: all of it, if it is for the field's name."""
        kind = self.redaction.kind_of(name)
        if kind is None:
            return self.whole(text)
        return text if not text or is_token(text) else self.token(kind, text.encode())

    def token(self, kind: str, value: bytes) -> str:
        """What stands in place of a value, which is counted."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return token(kind, plain_value(kind, value), self.key)


class _Found:
    """A value that was found: where in the buffer, and what stands in its place."""

    __slots__ = ("detector", "end", "is_bare", "start")

    def __init__(self, start: int, end: int, detector: Detector, *, is_bare: bool) -> None:
        self.start, self.end, self.detector, self.is_bare = start, end, detector, is_bare


class RedactedStream:
    """One text, redacted as it comes."""

    def __init__(
        self, redactor: TextRedactor, detectors: Detectors, match_bytes_max: int, buffer: bytes = b""
    ) -> None:
        """Start with what has come so far."""
        self._redactor = redactor
        self._detectors = detectors
        self._match_bytes_max = match_bytes_max
        self._buffer = buffer
        self._begin = 0  # where in the text the buffer begins
        self._sent = 0  # up to where the buffer has come out; what is before it is context
        self._decided = 0  # up to where it is known what begins; a value found before may end after it
        self._next = [0] * len(detectors.each)  # where in the text each goes on looking
        self._found: list[_Found] = []

    def feed(self, text: str) -> str:
        """Take a piece, give what of the text is certain now."""
        if not text:
            return ""
        self._buffer += text.encode()
        return self._advance(at_end=False)

    def end(self) -> str:
        """Take note that nothing more comes; give the rest."""
        return self._advance(at_end=True)

    def _advance(self, *, at_end: bool) -> str:
        certain = len(self._buffer) if at_end else self._certain()
        for number in self._detectors.found_in(self._buffer, self._decided):
            self._look(number, self._detectors.each[number], certain)
        self._decided = certain
        return self._released(certain)

    def _certain(self) -> int:
        """Up to where nothing can begin that the text so far doesn't show; what has become too long is let go."""
        certain = self._begins(self._detectors.any_begun, self._decided)
        if len(self._buffer) - certain <= self._match_bytes_max:
            return _character(self._buffer, certain)
        certain = len(self._buffer)
        for number, detector in enumerate(self._detectors.each):
            begun = self._begins(detector.begun, self._goes_on(number))
            if len(self._buffer) - begun > self._match_bytes_max:
                self._next[number] = self._begin + self._too_long(number, detector, begun)
                begun = self._begins(detector.begun, self._goes_on(number))
            certain = min(certain, begun)
        return _character(self._buffer, certain)

    def _begins(self, begun: Compiled, position: int) -> int:
        """Where something begins that the buffer's end may cut off; its end, if nothing does."""
        for start in _STARTS.finditer(self._buffer, position):
            if begun.fullmatch(self._buffer, start.start()) is not None:
                return start.start()
        return len(self._buffer)

    def _too_long(self, number: int, detector: Detector, begun: int) -> int:
        """Decide on a value that goes on for longer than any may: the beginning of it, if that is one."""
        self._look(number, detector, begun)
        end = begun + self._match_bytes_max
        match = detector.full.search(self._buffer[begun:end], 0)
        if match is not None and match.start() == 0:
            self._accept(detector, match, begun)
        return end

    def _look(self, number: int, detector: Detector, certain: int) -> None:
        """Find what of a detector begins before a place."""
        position, buffer = self._goes_on(number), self._buffer
        while True:
            match = detector.full.search(buffer, position)
            if match is None or match.start() >= certain:
                break
            if match.end() - match.start() > self._match_bytes_max:
                position = self._too_long(number, detector, match.start())
            else:
                position = self._accept(detector, match, 0) or match.start() + 1
            self._next[number] = self._begin + position

    def _goes_on(self, number: int) -> int:
        """Where in the buffer a detector goes on looking."""
        return max(self._next[number] - self._begin, self._decided)

    def _accept(self, detector: Detector, match: Any, offset: int) -> int:
        """Keep a match if it is one; where it ends, or 0."""
        start, end = match.span(match.lastindex)
        start, end = start + offset, end + offset
        found = self._buffer[start:end]
        before = _ESCAPE.sub(b" ", self._buffer[max(0, start - CONTEXT_BYTES) : start])
        if holds_token(found) or is_in_token(before):
            return 0
        length = detector.check(Candidate(found, before, self._buffer[end : end + CONTEXT_BYTES]))
        if not length:
            return 0
        end = _character(self._buffer, start + length, forward=True)
        self._found.append(
            _Found(_character(self._buffer, start), end, detector, is_bare=_is_number(found, before))
        )
        return end

    def _released(self, certain: int) -> str:
        """What comes out up to a place, with tokens where values were found."""
        pieces = []
        for found in self._ready(certain):
            if found.end <= self._sent:
                continue  # it lies within one that began before
            pieces.append(self._buffer[self._sent : found.start])
            value = self._buffer[max(found.start, self._sent) : found.end]
            token = self._redactor.token(found.detector.kind, value).encode()
            pieces.append(b'"' + token + b'"' if found.is_bare else token)
            self._sent = found.end
        pieces.append(self._buffer[self._sent : certain])
        self._sent = max(self._sent, certain)
        self._forget()
        return b"".join(pieces).decode()

    def _ready(self, certain: int) -> list[_Found]:
        """The values that begin before a place, in order."""
        if not self._found:
            return self._found
        ready = [found for found in self._found if found.start < certain]
        self._found = [found for found in self._found if found.start >= certain]
        return sorted(ready, key=lambda found: (found.start, -found.end))

    def _forget(self) -> None:
        """Let go of what has come out and is decided, but for a little that checks may want to see."""
        gone = min(self._sent, self._decided) - CONTEXT_BYTES
        if gone <= 0:
            return
        self._buffer, self._begin = self._buffer[gone:], self._begin + gone
        self._sent, self._decided = self._sent - gone, self._decided - gone
        for found in self._found:
            found.start, found.end = found.start - gone, found.end - gone


def _is_number(found: bytes, before: bytes) -> bool:
    """Whether a value is a number of JSON that stands inside a text; its token needs quotes to be JSON."""
    return _NUMBER.fullmatch(found) is not None and _MEMBER.search(before) is not None


def _compiled(pattern: str, memory_bytes_max: int = _MEMORY_BYTES_MAX, *, captures: bool = False) -> Compiled:
    options = _options(memory_bytes_max)
    options.never_capture = not captures
    compiled: Compiled = re2.compile(pattern.encode("latin-1"), options)
    return compiled


def _options(memory_bytes_max: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = memory_bytes_max
    return options


def _character(buffer: bytes, place: int, *, forward: bool = False) -> int:
    """The border of a character, at a place or before it (or after it)."""
    step = 1 if forward else -1
    while 0 < place < len(buffer) and buffer[place] & 0xC0 == 0x80:
        place += step
    return place
