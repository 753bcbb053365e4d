"""Passing: a balance with its thresholds as they are by what stands in it and by what is configured.

Rule: a claim's thresholds come to amounts by the claim's limit in the balance's window (`limit_of`), here alone.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.ledger import Standing, WindowNotes
from aegis_gateway.domain.limits import Limited, in_ledgers_unit, limit_of
from aegis_gateway.domain.threshold import EXHAUSTED, Threshold
from aegis_gateway.domain.watched import (
    Looked,
    Stands,
    Turn,
    Watched,
    WatchedThreshold,
    answered,
    armed,
    looked_at,
    over,
    refused,
    wanted_of,
)

_NO_NOTES = WindowNotes()


class Watching(Limited, Protocol):
    """A budget, or a claim on one, as far as its thresholds go."""

    @property
    def owner(self) -> str: ...  # noqa: D102 - the class says it
    @property
    def mode(self) -> Mode: ...  # noqa: D102
    @property
    def length_ns(self) -> int: ...  # noqa: D102
    @property
    def thresholds(self) -> tuple[Threshold, ...]: ...  # noqa: D102
    @property
    def is_tried(self) -> bool: ...  # noqa: D102


Passed = tuple[Standing, tuple[Turn, ...]]
"""A balance after a look at its thresholds, and what has turned."""


def with_thresholds(budget: Watching, standing: Standing, now_ns: int) -> Passed:
    """A balance with the thresholds of its budget as they are configured now, looked at."""
    before = standing.notes.watched if standing.notes is not None else None
    limit = limit_of(budget, standing, now_ns)
    stands = _stands(standing, is_rolling=bool(budget.length_ns))
    turns: tuple[Turn, ...] = ()
    watched = before
    if watched is not None and budget.is_tried and limit <= watched.limit:
        pass  # each side counts against its own limit; thresholds are those of the greater one
    elif watched is None or not _is_as_configured(watched, budget, limit, standing):
        wanted = tuple(_wanted(each, budget, limit, standing) for each in budget.thresholds)
        anew = armed(before, wanted, limit, budget.owner, budget.mode, stands, now_ns)
        watched, turns = anew.watched, anew.turns
    looked = looked_at(watched, stands, now_ns)
    return _noted(standing, before, looked), (*turns, *looked.turns)


def settled(standing: Standing, now_ns: int, *, is_rolling: bool) -> Passed:
    """A balance whose posted amount is another, with what that passes by what stands in its notes."""
    watched = standing.notes.watched if standing.notes is not None else None
    if watched is None:
        return standing, ()
    looked = looked_at(watched, _stands(standing, is_rolling=is_rolling), now_ns)
    return _noted(standing, watched, looked), looked.turns


def exhausted(standing: Standing, now_ns: int, *, is_rolling: bool) -> Passed:
    """A balance of a budget that had too little left for a call."""
    watched = standing.notes.watched if standing.notes is not None else None
    if watched is None:
        return standing, ()
    looked = refused(watched, EXHAUSTED, _stands(standing, is_rolling=is_rolling), now_ns)
    return _noted(standing, watched, looked), looked.turns


def foreseen(standing: Standing, expected: int, now_ns: int) -> Passed:
    """A balance whose window is expected to come to so much."""
    watched = standing.notes.watched if standing.notes is not None else None
    if watched is None:
        return standing, ()
    looked = looked_at(watched, msgspec.structs.replace(_stands(standing), expected=expected), now_ns)
    return _noted(standing, watched, looked), looked.turns


def with_word(standing: Standing, threshold: str, now_ns: int, *, is_granted: bool) -> Passed:
    """A balance after somebody's word on one of its thresholds."""
    watched = standing.notes.watched if standing.notes is not None else None
    if watched is None:
        return standing, ()
    looked = answered(watched, threshold, _stands(standing), now_ns, is_granted=is_granted)
    return _noted(standing, watched, looked), looked.turns


def closed(standing: Standing, now_ns: int, why: Literal["window", "configuration"]) -> Passed:
    """A balance whose window is over, or whose budget is gone: nothing of it holds any more."""
    watched = standing.notes.watched if standing.notes is not None else None
    if watched is None:
        return standing, ()
    looked = over(watched, _stands(standing), now_ns, why)
    return _noted(standing, watched, looked), looked.turns


def amount_of(threshold: Threshold, budget: Limited, limit: int, standing: Standing) -> int:
    """At which amount of a balance a threshold is passed."""
    if threshold.amount:
        return in_ledgers_unit(budget, threshold.amount, standing)
    return threshold.amount_at(limit)


def _wanted(threshold: Threshold, budget: Watching, limit: int, standing: Standing) -> WatchedThreshold:
    return wanted_of(threshold, amount_of(threshold, budget, limit, standing), budget.mode)


def _is_as_configured(watched: Watched, budget: Watching, limit: int, standing: Standing) -> bool:
    if (watched.limit, watched.owner, watched.mode) != (limit, budget.owner, budget.mode):
        return False
    if len(watched.thresholds) != len(budget.thresholds):
        return False
    for each, threshold in zip(watched.thresholds, budget.thresholds, strict=True):
        wanted = _wanted(threshold, budget, limit, standing)
        if (each.id, each.amount, each.acts, each.waits) != (
            wanted.id,
            wanted.amount,
            wanted.acts,
            wanted.waits,
        ):
            return False
    return True


def _stands(standing: Standing, *, is_rolling: bool = False) -> Stands:
    return Stands(posted=standing.posted, pending=standing.pending, is_rolling=is_rolling)


def _noted(standing: Standing, before: Watched | None, looked: Looked) -> Standing:
    if looked.watched is before:
        return standing
    notes = msgspec.structs.replace(standing.notes or _NO_NOTES, watched=looked.watched)
    return msgspec.structs.replace(standing, notes=notes)
