"""The report as a message: what of it fits into a mail or a channel, with a link to all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from aegis_gateway.domain.message import FACT_CHARACTERS_MAX, FACTS_MAX, Link, Message
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.report import Changes, Point, Report
from aegis_gateway.domain.report_words import compared, figure_text, plan_text, value_text

PLANS_MOST = 6
POINTS_MOST = 5


def report_message(report: Report, pages_url: str) -> Message:
    """The message that a report makes."""
    facts = [(label, _short(text)) for label, text in _facts(report) if text]
    is_urgent = any(each.tone == "deny" for each in report.risks)
    return Message(
        title=f"{report.tenant_name}, {report.name}: {usd_text(report.spent_nano_usd)} spent",
        text=_short(compared(report)),
        tone="attention" if is_urgent else "plain",
        facts=tuple(facts[:FACTS_MAX]),
        links=(
            Link(label="Open the report", url=f"{pages_url}{report_address(report.tenant, report.month)}"),
        ),
        tenant=report.tenant,
        at_ns=report.at_ns,
        data={
            "report": report.month,
            "nano_usd": report.spent_nano_usd,
            "before_nano_usd": report.before_nano_usd,
            "expected_nano_usd": report.expected_nano_usd,
        },
    )


def report_address(tenant: str, month: str) -> str:
    """Where the report of a month is."""
    return f"/report?{urlencode({'tenant': tenant, 'month': month})}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "tenant", report.tenant_name
    yield "period", f"{report.period.words}, {report.zone}"
    for plan in report.plans[:PLANS_MOST]:
        yield f"budget {plan.budget}", plan_text(plan)
    for changes in report.changes:
        yield f"changed by {changes.by}", _changes(changes)
    yield "risks", _points(report.risks)
    yield "decisions wanted", _points(report.decisions)
    for pair in report.figures:
        if pair.now.unit == "usd" and pair.now.value is not None and pair.now.id != "spent":
            yield pair.now.name, figure_text(pair.now)
    for pair in report.savings:
        if pair.now.numerator:
            yield f"savings: {pair.now.name}", figure_text(pair.now)


def _changes(changes: Changes) -> str:
    named = [
        f"{value_text(changes.by, each.value)} {_signed(each.change_nano_usd)}"
        for each in (*changes.increases, *changes.decreases)
    ]
    if changes.rest_count and changes.rest.change_nano_usd:
        named.append(f"{changes.rest_count} others {_signed(changes.rest.change_nano_usd)}")
    return ", ".join(named)


def _points(points: Sequence[Point]) -> str:
    told = "; ".join(each.words for each in points[:POINTS_MOST])
    more = len(points) - POINTS_MOST
    return f"{told}; and {more} more" if more > 0 else told


def _signed(amount: int) -> str:
    return f"{'+' if amount > 0 else ''}{usd_text(amount)}"


def _short(text: str) -> str:
    return text if len(text) <= FACT_CHARACTERS_MAX else f"{text[: FACT_CHARACTERS_MAX - 1]}…"
