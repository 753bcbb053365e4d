"""From thresholds as people write them to thresholds as the domain has them."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from aegis_gateway.configuration.document import BudgetEntry, ExhaustionEntry, GraceEntry, ThresholdEntry
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.scaling import scaled
from aegis_gateway.configuration.words import listed
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.registry import TAG, Dimension
from aegis_gateway.domain.share import WHOLE
from aegis_gateway.domain.threshold import EXHAUSTED, Threshold

OF_AGENTS: tuple[Dimension, ...] = ("tenant", "team", "project", "agent", "key", "environment")
"""What is known of a key without a call: budgets that are told apart by anything else hold no keys."""


def compile_thresholds(
    entry: BudgetEntry, scale: int, told_apart_by: Collection[Dimension], path: Path, problems: Problems
) -> tuple[Threshold, ...]:
    """A budget's thresholds, the lowest first, with what is done at its end last.

    `told_apart_by` are the dimensions that it is matched and split by.
    """
    found: dict[str, Threshold] = {}
    for place, each in enumerate(entry.thresholds):
        where: Path = (*path, "thresholds", place)
        threshold = _threshold(_id_of(each), each, scale, told_apart_by, where, problems)
        if threshold.id in found:
            problems.add(where, "is at the same as one before it; write what is done there in one list")
        amount = scaled(each.amount, scale, (*where, "amount"), problems) if each.amount is not None else 0
        found[threshold.id] = Threshold(
            id=threshold.id,
            share=each.at or 0,
            amount=amount,
            basis=each.of,
            acts=threshold.acts,
            waits_for_word=threshold.waits_for_word,
            grace_amount=threshold.grace_amount,
            grace_ns=threshold.grace_ns,
            restores=threshold.restores,
        )
    thresholds = sorted(found.values(), key=lambda each: (each.basis, each.share, each.amount))
    if entry.on_exhaustion is not None:
        where = (*path, "on_exhaustion")
        thresholds.append(_threshold(EXHAUSTED, entry.on_exhaustion, scale, told_apart_by, where, problems))
    return tuple(thresholds)


def _id_of(entry: ThresholdEntry) -> str:
    """A threshold is named by where it is, so it stays the same one while what is done there changes."""
    number = Decimal(entry.at) / 100 if entry.at is not None else entry.amount or Decimal(0)
    name = f"{number.normalize():f}"
    name = name if entry.at is not None else f"amount-{name}"
    return f"{name}-forecast" if entry.of == "forecast" else name


def _threshold(
    name: str,
    entry: ExhaustionEntry,
    scale: int,
    told_apart_by: Collection[Dimension],
    path: Path,
    problems: Problems,
) -> Threshold:
    grace = entry.grace or GraceEntry.model_construct()
    more = (
        scaled(grace.amount, scale, (*path, "grace", "amount"), problems) if grace.amount is not None else 0
    )
    threshold = Threshold(
        id=name,
        share=WHOLE,
        basis="exhaustion",
        acts=entry.do,
        waits_for_word=entry.waits_for_word,
        grace_amount=more,
        grace_ns=grace.time or 0,
        restores=entry.restore != "never",
    )
    if not (threshold.is_of_calls or threshold.is_of_keys):
        for setting in ("waits_for_word", "grace"):
            if setting in entry.model_fields_set:
                problems.add((*path, setting), "is for what holds calls or keys; leave it out")
    if entry.restore is not None and not threshold.is_of_keys:
        problems.add((*path, "restore"), "is for `revoke_keys` and `throttle_keys`; leave it out")
    others = sorted(each for each in told_apart_by if each not in OF_AGENTS and not each.startswith(TAG))
    if threshold.is_of_keys and others:
        words = f"holds keys, and this budget is told apart by {listed(others)}, which keys aren't"
        problems.add((*path, "do"), f"{words}; write block, or throttle, which hold its calls alone")
    return threshold
