"""How a budget's thresholds stand, balance by balance, as people and programs read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from rich.console import Console
from rich.text import Text

from aegis_gateway.adapters.reports import BudgetStanding
from aegis_gateway.configuration.describe_thresholds import acts_text, place_text
from aegis_gateway.domain.admit import StandingKey
from aegis_gateway.domain.currency import units_text
from aegis_gateway.domain.registry import Quantity
from aegis_gateway.domain.threshold import Threshold
from aegis_gateway.domain.threshold_state import (
    ThresholdStanding,
    ThresholdState,
    next_threshold,
    threshold_standings,
)
from aegis_gateway.domain.watched import WatchedThreshold
from aegis_gateway.entrypoints.cli.output import (
    GOOD,
    WARNING,
    Column,
    Row,
    ago,
    quantity_text,
    table,
    utc,
    utc_short,
)

WordOn = Callable[[StandingKey, WatchedThreshold], str | None]
"""The approval that a threshold waits for, by its balance."""


def no_word(_key: StandingKey, _threshold: WatchedThreshold) -> None:
    """Nothing is known of approvals."""


_WORDS: dict[ThresholdState, str] = {
    "not_passed": "not passed",
    "waiting": "waiting",
    "declined": "declined",
    "grace": "in grace",
    "agreed": "agreed",
    "passed": "passed",
}
_STYLES: dict[ThresholdState, str] = {"not_passed": GOOD, "waiting": WARNING, "grace": WARNING}


def thresholds_table(
    standings: Sequence[BudgetStanding], quantity: Quantity, word_on: WordOn, now_ns: int, console: Console
) -> Text | None:
    """The thresholds of a budget's balances, a line each; None where it has none."""
    rows = [
        Row(
            cells=(
                f"{place_text(each.threshold, _writes(standing, quantity))} {standing.scope}".rstrip(),
                Text(_WORDS[each.state], style=_STYLES.get(each.state, "red")),
                "; ".join(_since(standing, each, quantity, word_on, now_ns)),
                acts_text(each.threshold, _writes(standing, quantity)),
            )
        )
        for standing in standings
        for each in _of(standing, now_ns)
    ]
    if not rows:
        return None
    columns = [
        Column(name="threshold"),
        Column(name="state"),
        Column(name="since", flexible=True),
        Column(name="does", optional=1),
    ]
    return table(columns, rows, console)


def next_words(standings: Sequence[BudgetStanding], quantity: Quantity, now_ns: int) -> Iterator[str]:
    """Which threshold of a balance is passed next, and what is left to it; of several balances, of the nearest."""
    nearest = [
        (coming.left or 0, standing, coming)
        for standing in standings
        if (coming := next_threshold(_of(standing, now_ns))) is not None
    ]
    if nearest:
        left, standing, coming = min(nearest, key=lambda each: each[0])
        whose = f" of {standing.scope}" if standing.scope else ""
        where = place_text(coming.threshold, _writes(standing, quantity))
        yield f"next: {where}{whose}, {quantity_text(left, quantity, exact=True)} before it is passed"


def thresholds_record(standing: BudgetStanding, word_on: WordOn, now_ns: int) -> dict[str, object]:
    """The thresholds of a balance as programs read them: amounts in the quantity's smallest unit."""
    found = _of(standing, now_ns)
    coming = next_threshold(found)
    return {
        "thresholds": [_record(standing, each, word_on) for each in found],
        "next_threshold": None
        if coming is None
        else {"threshold": coming.threshold.id, "left_amount": coming.left},
    }


def _of(standing: BudgetStanding, now_ns: int) -> tuple[ThresholdStanding, ...]:
    budget = standing.budget
    return threshold_standings(budget.thresholds, budget, standing.limit, standing.balance, now_ns)


def _since(
    standing: BudgetStanding, each: ThresholdStanding, quantity: Quantity, word_on: WordOn, now_ns: int
) -> Iterator[str]:
    if each.since_ns is None:
        yield (
            "by a forecast"
            if each.left is None
            else f"{quantity_text(each.left, quantity, exact=True)} before it is passed"
        )
        return
    yield ago(each.since_ns, now_ns)
    if each.state == "waiting":
        yield f"for a word: {_word(standing, each.threshold, word_on) or 'about to be asked'}"
    if each.acts_ns is not None:
        yield f"until {utc_short(each.acts_ns, now_ns)}"
    if each.acts_at is not None:
        yield f"until {quantity_text(each.acts_at, quantity, exact=True)} is spent"


def _record(standing: BudgetStanding, each: ThresholdStanding, word_on: WordOn) -> dict[str, object]:
    threshold = each.threshold
    return {
        "threshold": threshold.id,
        "of": threshold.basis,
        "does": [act.kind for act in threshold.acts],
        "state": each.state,
        "amount": each.amount,
        "left_amount": each.left,
        "since_ns": each.since_ns,
        "since": None if each.since_ns is None else utc(each.since_ns),
        "acts_from_ns": each.acts_ns,
        "acts_at_amount": each.acts_at,
        "approval": _word(standing, threshold, word_on) if each.state == "waiting" else None,
    }


def _word(standing: BudgetStanding, threshold: Threshold, word_on: WordOn) -> str | None:
    notes = standing.balance.notes
    at = notes.watched.find(threshold.id) if notes is not None and notes.watched is not None else None
    key = (standing.budget.id, standing.scope, standing.window.label)
    return word_on(key, at) if at is not None else None


def _writes(standing: BudgetStanding, quantity: Quantity) -> Callable[[int], str]:
    currency = standing.budget.currency
    if currency is None:
        return lambda amount: quantity_text(amount, quantity, exact=True)
    return lambda amount: f"{units_text(Decimal(amount) / quantity.scale)} {currency.code}"
