"""Requests that an agent made again: what an answer that is kept for a day would have saved.

Rule 1: looked at are settled calls that cost something and whose answer could be used again (`domain/reuse.py`). One
        repeats another if it is the same request (same agent, same arguments, same tool and model), and another was
        settled within the 24 hours before it was. It is the rule by which they are added up with what was spent.
Rule 2: a further attempt that a client's library made by itself is counted apart: it is no question asked again.
Rule 3: nothing is saved by it yet. What repeats cost was spent, and is told beside what was spent.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec

from aegis_gateway.domain.reuse import REUSE_NS


class SettledRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A settled call. `digest` is keyed, and tells its arguments from others; `attempt` is above 0 where a client's
    library tried again by itself. Instants in nanoseconds since 1970.
    """

    call: str
    agent: str
    connector: str
    tool: str
    model: str
    digest: str
    attempt: int
    cost_nano_usd: int
    decided_ns: int
    settled_ns: int


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was made again: how often, and what all but the first cost.

    `repeats` are questions that were asked again, `attempts` a library's own. `first` is the call whose answer would
    have done, `last` are some of those that it would have done for, the newest first.
    """

    agent: str
    connector: str
    tool: str
    model: str
    first: str
    first_ns: int
    last: tuple[str, ...]
    last_ns: int
    repeats: int
    repeats_nano_usd: int
    attempts: int
    attempts_nano_usd: int

    @property
    def nano_usd(self) -> int:
        """What all but the first cost."""
        return self.repeats_nano_usd + self.attempts_nano_usd


NAMED_MAX = 3


def repeated(requests: Iterable[SettledRequest]) -> list[Repeated]:
    """The requests that were made again, those first whose repetition cost most."""
    alike: dict[tuple[str, ...], list[SettledRequest]] = {}
    for each in requests:
        if each.cost_nano_usd:
            key = (each.agent, each.connector, each.tool, each.model, each.digest)
            alike.setdefault(key, []).append(each)
    found = [told for group in alike.values() if len(group) > 1 and (told := _told(group)) is not None]
    return sorted(found, key=lambda each: (-each.nano_usd, -each.repeats - each.attempts, each.first))


def _told(group: list[SettledRequest]) -> Repeated | None:
    ordered = sorted(group, key=lambda each: (each.settled_ns, each.decided_ns, each.call))
    again = [
        (before, each)
        for before, each in pairwise(ordered)
        if each.settled_ns - before.settled_ns <= REUSE_NS
    ]
    if not again:
        return None
    first, last = again[0][0], again[-1][1]
    asked = [each for _, each in again if not each.attempt]
    tried = [each for _, each in again if each.attempt]
    return Repeated(
        agent=first.agent,
        connector=first.connector,
        tool=first.tool,
        model=first.model,
        first=first.call,
        first_ns=first.decided_ns,
        last=tuple(each.call for _, each in reversed(again[-NAMED_MAX:])),
        last_ns=last.decided_ns,
        repeats=len(asked),
        repeats_nano_usd=sum(each.cost_nano_usd for each in asked),
        attempts=len(tried),
        attempts_nano_usd=sum(each.cost_nano_usd for each in tried),
    )
