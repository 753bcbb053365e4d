"""Figures of a report in words, the same on paper, in a terminal and in a message."""

from __future__ import annotations

from fractions import Fraction

from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.kpi import Figure
from aegis_gateway.domain.money import usd_short, usd_text
from aegis_gateway.domain.registry import UNREGISTERED
from aegis_gateway.domain.report import By, PlanLine, Report
from aegis_gateway.domain.rolling import length_of

_PERCENT = 100
_SECOND_NS = 1_000_000_000


def compared(report: Report) -> str:
    """What was spent beside what was spent before, and what is expected, in two sentences at most."""
    change = report.change_nano_usd
    if not report.before_nano_usd:
        told = f"Nothing was spent {_before(report)}."
    elif not change:
        told = f"As much as {_before(report)}, to the nano-dollar."
    else:
        share = Fraction(abs(change), report.before_nano_usd)
        told = (
            f"{usd_short(abs(change))} {'more' if change > 0 else 'less'} ({percent_text(share)}) than "
            f"{_before(report)}, when {usd_short(report.before_nano_usd)} was spent."
        )
    if report.expected_nano_usd is None:
        return told
    band = ""
    if report.low_nano_usd is not None and report.high_nano_usd is not None:
        band = f", between {usd_short(report.low_nano_usd)} and {usd_short(report.high_nano_usd)} in 80 of 100 months"
    return f"{told} {usd_short(report.expected_nano_usd)} is expected at the month's end{band}."


def _before(report: Report) -> str:
    return f"in {report.before.words}"


def value_text(by: By, value: str) -> str:
    """What a value of a breakdown is called: some are empty, where there is nothing."""
    if by == "team" and value == UNREGISTERED:
        return "not registered"
    return value or ("no model (tools)" if by == "model" else "none")


def percent_text(share: Fraction) -> str:
    """A share in whole percent; less than half of one is told as such."""
    percent = round(share * _PERCENT)
    return f"{percent:,} %" if percent or not share else "<1 %"


def signed_percent(share: Fraction | None) -> str:
    """By how many percent something went up or down: `+12 %`."""
    if share is None:
        return "–"
    percent = round(share * _PERCENT)
    return f"{percent:+,} %" if percent else "0 %"


def figure_text(figure: Figure) -> str:
    """What a key figure comes to, rounded for people."""
    value = figure.value
    if value is None:
        return "–"
    if figure.unit == "usd":
        return usd_short(round(value))
    if figure.unit == "share":
        return percent_text(value)
    if figure.unit == "seconds":
        return _time_text(value)
    return f"{round(value):,}"


def _time_text(length_ns: Fraction) -> str:
    """A length of time in its largest unit."""
    seconds = round(length_ns / _SECOND_NS)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{round(Fraction(seconds, length)):,} {unit}"
    return f"{seconds} s"


def plan_text(plan: PlanLine) -> str:
    """Plan, spent and expected of a budget in one line."""
    length_ns = length_of(plan.window)
    window = plan.window if length_ns is None else f"the last {duration_text(length_ns)}"
    told = f"{usd_text(plan.spent_nano_usd)} of {usd_text(plan.plan_nano_usd)} planned in {window}"
    if plan.expected_nano_usd is not None:
        told += f", {usd_text(plan.expected_nano_usd)} expected"
    return f"{told} ({signed_percent(plan.deviation)}, {plan.calls_for})"
