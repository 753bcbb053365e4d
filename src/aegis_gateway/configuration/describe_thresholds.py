"""Thresholds in the units and words of the people who wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.threshold import Threshold, ThresholdAct


def describe_thresholds(thresholds: Iterable[Threshold], amount: Callable[[int], str]) -> dict[str, str]:
    """What is done when, by when: `at 80%`. `amount` writes amounts of the budget's quantity."""
    return {place_text(each, amount): acts_text(each, amount) for each in thresholds}


def place_text(threshold: Threshold, amount: Callable[[int], str]) -> str:
    """When a threshold is passed."""
    if threshold.basis == "exhaustion":
        return "when exhausted"
    share = f"{(Decimal(threshold.share) / 100).normalize():f}%"
    where = amount(threshold.amount) if threshold.amount else share
    return f"at {where}" + (" of forecast" if threshold.basis == "forecast" else "")


def acts_text(threshold: Threshold, amount: Callable[[int], str]) -> str:
    """What is done then, and how soon."""
    words = ", ".join(map(_act, threshold.acts))
    if threshold.grace_amount:
        words += f"; after {amount(threshold.grace_amount)} more"
    if threshold.grace_ns:
        words += f"; after {duration_text(threshold.grace_ns)}"
    if threshold.waits_for_word:
        words += "; waits for somebody's word"
    return words if threshold.restores else f"{words}; keys don't come back by themselves"


def _act(act: ThresholdAct) -> str:
    name = act.kind.replace("_", " ")
    if act.model:
        return f"{name} to {act.model}"
    return f"{name} to {act.limit} every {duration_text(act.period_ns)}" if act.limit else name
