"""What a change of a budget's thresholds widens: whatever holds calls or keys later, less, or no more; and where
nobody is told any more.

Rule: a threshold that is there tells of itself, whatever it does (`application/thresholds.py`); one that is gone tells
      of nothing, which disarms, as a `notify` that tells of less does (`risk_of_notices.py`).
"""

from __future__ import annotations

from fractions import Fraction

from aegis_gateway.domain.risk import Judged
from aegis_gateway.domain.threshold import ACTS_ON_CALLS, ACTS_ON_KEYS, Threshold, ThresholdAct

_ACTING = frozenset((*ACTS_ON_CALLS, *ACTS_ON_KEYS))
_MISSED = frozenset((*_ACTING, "incident"))
"""What isn't done any more where it is taken out; a threshold without `notify` is told of all the same."""


def thresholds_risk(old: tuple[Threshold, ...], new: tuple[Threshold, ...]) -> Judged:
    """Which way a change of thresholds goes."""
    after = {each.id: each for each in new}
    for before in old:
        words = _wider(before, after.get(before.id))
        if words:
            return "widening", f"at {before.id} {words}"
    if _acting(old) == _acting(new):
        return "neutral", "tell otherwise"
    return "narrowing", "hold more"


def _acting(thresholds: tuple[Threshold, ...]) -> set[tuple[str, tuple[ThresholdAct, ...]]]:
    return {
        (each.id, tuple(act for act in each.acts if act.kind in _ACTING))
        for each in thresholds
        if each.is_of_calls or each.is_of_keys
    }


def _wider(old: Threshold, new: Threshold | None) -> str:
    """What is wider about what is left of a threshold; nothing where nothing is."""
    acts = {act.kind: act for act in (new.acts if new is not None else ())}
    for act in old.acts:
        if act.kind not in _MISSED:
            continue
        other = acts.get(act.kind)
        if other is None:
            return f"there is no {act.kind} any more"
        if act.limit and Fraction(other.limit, other.period_ns) > Fraction(act.limit, act.period_ns):
            return f"{act.kind} lets more through"
        if other.model != act.model:
            return f"{act.kind} is to another model; how far can't be told"
    if new is None:
        return "nobody is told any more"
    if not (old.is_of_calls or old.is_of_keys):
        return ""
    if new.waits_for_word and not old.waits_for_word:
        return "somebody's word is waited for"
    if (new.grace_amount, new.grace_ns) != (old.grace_amount, old.grace_ns):
        is_less = new.grace_amount <= old.grace_amount and new.grace_ns <= old.grace_ns
        if not is_less:
            return "the grace is another"
    if old.is_of_keys and new.restores and not old.restores:
        return "keys come back"
    return ""
