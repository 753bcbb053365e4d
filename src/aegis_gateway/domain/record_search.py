"""What somebody looks for in a record, and whether an entry is that.

Rule 1: an entry is what is looked for where all that is asked holds, each in a field of its name, at any depth.
Rule 2: what callers sent (the summary of arguments) is looked at for words alone, and never taken for what the gateway
        says: an argument named `agent` is no agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import msgspec

Subject = Literal["agent", "budget", "rule", "version", "key", "run"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)

_WHO = ("actor", "by", "author", "approver", "asked_by", "agent", "key", "person", "granted_by")
"""Fields that say whose act something is, or who asked for it."""

_FIELDS: dict[Subject, tuple[str, ...]] = {
    "agent": ("agent", "for", "requester", "asked_by", "agents"),
    "budget": ("budget",),
    "rule": ("subject", "rule", "policies", "policy", "measures", "by"),
    "version": ("config_version", "back_to", "based_on", "ends_canary", "beside_version"),
    "key": ("key",),
    "run": ("run",),
}
_OF_BUDGETS = ("budget_exhausted", "too_many_instances", "unbounded_cost")
"""Codes of reasons whose subject is a budget."""
_FROM_CALLERS = ("summary", "facts", "asked")

_encode = msgspec.json.Encoder().encode


class EntryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: all that is given must hold. `words` stand anywhere in it, whether A to Z are
    written large or small.
    """

    kind: str | None = None
    who: str | None = None
    agent: str | None = None
    budget: str | None = None
    call: str | None = None
    rule: str | None = None
    version: int | None = None
    key: str | None = None
    run: str | None = None
    words: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether every entry of a period is wanted."""
        return self.kind is None and self.call is None and self.words is None and not self.needles()

    def needles(self) -> list[bytes]:
        """Bytes that an entry has, if it is one that is wanted; that it has them isn't enough."""
        texts = [self.who, *(self._subject(each) for each in SUBJECTS if each != "version")]
        found = [_encode(text) for text in texts if text is not None]
        if self.version is not None:
            found.append(f'":{self.version}'.encode())
        if self.rule is not None:
            found = [each for each in found if each != _encode(self.rule)]
            found.append(_encode(_bare(self.rule))[1:])  # `budget:day` ends as `day` does
        return found

    def word_needle(self) -> bytes | None:
        """Bytes that an entry has whose letters A to Z are made small, if it has the words that are wanted."""
        # Of ASCII alone: it is the same in every store, and whatever is around it.
        return None if self.words is None else _encode(self.words)[1:-1].lower()

    def fits(
        self, kind: str, call: str | None, body: bytes, content: Callable[[bytes], dict[str, Any] | None]
    ) -> bool:
        """Whether an entry is wanted; its time isn't looked at."""
        if self.kind not in (None, kind) or self.call not in (None, call):
            return False
        words = self.word_needle()
        if words is not None and words not in body.lower():
            return False
        asked: list[tuple[tuple[str, ...], str | int]] = []
        if self.who is not None:
            asked.append((_WHO, self.who))
        asked += [(_FIELDS[each], value) for each in SUBJECTS if (value := self._subject(each)) is not None]
        if not asked:
            return True
        said = list(_fields(content(body) or {}))
        return all(
            any(name in names and _is(value, wanted) for name, value in said) for names, wanted in asked
        )

    def _subject(self, subject: Subject) -> Any:
        return getattr(self, subject)


def _bare(rule: str) -> str:
    """A rule as reasons name it: a budget or rate by its id alone."""
    kind, colon, name = rule.partition(":")
    return name if colon and kind in ("budget", "rate") else rule


def _is(value: object, wanted: str | int) -> bool:
    if isinstance(wanted, int):
        return value == wanted and not isinstance(value, bool)
    return value in (wanted, _bare(wanted))


def _fields(said: object, name: str = "") -> Iterator[tuple[str, object]]:
    """All that an entry says, by the name of the field that says it, without what callers sent."""
    if isinstance(said, dict):
        if said.get("code") in _OF_BUDGETS:
            yield "budget", said.get("subject")
        for key, value in said.items():
            if key not in _FROM_CALLERS:
                yield from _fields(value, key)
    elif isinstance(said, list):
        for value in said:
            yield from _fields(value, name)
    else:
        yield name, said
