"""Limit changes: what is added to a configured limit, or taken off it, from one instant to another.

Rule 1: a change acts from the very nanosecond in which it begins until that in which it ends; whoever asks says when.
Rule 2: changes add up in whatever order they were made, and a limit is never below 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

FOREVER_NS = 2**63 - 1
"""An end that nobody will see."""


class LimitChange(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """So much more, or less, in the smallest unit that the limit is written in; `ends_ns` is None where it lasts."""

    amount: int
    starts_ns: int
    ends_ns: int | None = None

    def acts(self, now_ns: int) -> bool:
        """Whether it is in force at an instant."""
        return self.starts_ns <= now_ns and (self.ends_ns is None or now_ns < self.ends_ns)


def changed(limit: int, changes: Iterable[LimitChange], now_ns: int) -> int:
    """A configured limit as it is at an instant."""
    return max(0, limit + sum(change.amount for change in changes if change.acts(now_ns)))


def lasting(limit: int, changes: Iterable[LimitChange], now_ns: int) -> int:
    """A configured limit as it is at an instant, without what ends by itself."""
    return changed(limit, (change for change in changes if change.ends_ns is None), now_ns)


def turns(changes: Iterable[LimitChange], starts_ns: int, ends_ns: int | None) -> Iterator[int]:
    """The instants of a stretch at which a limit may be another than just before; its beginning is one."""
    until_ns = FOREVER_NS if ends_ns is None else ends_ns
    found = {starts_ns}
    for change in changes:
        found.add(change.starts_ns)
        if change.ends_ns is not None:
            found.add(change.ends_ns)
    return (at_ns for at_ns in sorted(found) if starts_ns <= at_ns < until_ns)


def lowest(limit: int, changes: Iterable[LimitChange], starts_ns: int, ends_ns: int | None) -> int:
    """The least that a limit is within a stretch; below 0 where more is taken off than there is."""
    known = tuple(changes)
    return min(
        limit + sum(change.amount for change in known if change.acts(at_ns))
        for at_ns in turns(known, starts_ns, ends_ns)
    )
