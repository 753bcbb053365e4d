"""The report's tables as files: exact, and whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aegis_gateway.domain.report import Report
from aegis_gateway.entrypoints.people.columns import Column, Row

Table = tuple[Sequence[Column], Sequence[Row]]


def _budgets(report: Report) -> Table:
    columns = [
        Column("budget"),
        Column("owner"),
        Column("mode"),
        Column("window"),
        Column("windows", "count"),
        Column("plan_usd", "usd"),
        Column("spent_usd", "usd"),
        Column("reserved_usd", "usd"),
        Column("expected_usd", "usd"),
        Column("expected_low_usd", "usd"),
        Column("expected_high_usd", "usd"),
        Column("deviation", "share"),
        Column("calls_for"),
        Column("exhausted", "flag"),
    ]
    rows: list[Row] = [
        [
            each.budget,
            each.owner,
            each.mode,
            each.window,
            each.windows,
            each.plan_nano_usd,
            each.spent_nano_usd,
            each.reserved_nano_usd,
            each.expected_nano_usd,
            each.low_nano_usd,
            each.high_nano_usd,
            each.deviation,
            each.calls_for,
            each.is_exhausted,
        ]
        for each in report.plans
    ]
    return columns, rows


def _figures(report: Report) -> Table:
    columns = [
        Column("figure"),
        Column("name"),
        Column("unit"),
        Column("numerator", "count"),
        Column("denominator", "count"),
        Column("before_numerator", "count"),
        Column("before_denominator", "count"),
        Column("trend"),
        Column("is_saving", "flag"),
        Column("formula"),
        Column("source"),
    ]
    rows: list[Row] = [
        [
            each.now.id,
            each.now.name,
            "nano_usd" if each.now.unit == "usd" else each.now.unit,
            each.now.numerator,
            each.now.denominator,
            None if each.before is None else each.before.numerator,
            None if each.before is None else each.before.denominator,
            each.trend,
            is_saving,
            each.now.formula,
            each.now.source,
        ]
        for is_saving, pairs in ((False, report.figures), (True, report.savings))
        for each in pairs
    ]
    return columns, rows


def _changes(report: Report) -> Table:
    columns = [
        Column("by"),
        Column("value"),
        Column("values", "count"),
        Column("spent_usd", "usd"),
        Column("before_usd", "usd"),
        Column("change_usd", "usd"),
    ]
    rows: list[Row] = []
    for changes in report.changes:
        named = (*changes.increases, *changes.decreases)
        lines = [(each.value, 1, each) for each in named] + [("all others", changes.rest_count, changes.rest)]
        rows += [
            [changes.by, value, count, each.nano_usd, each.before_nano_usd, each.change_nano_usd]
            for value, count, each in lines
            if count
        ]
    return columns, rows


def _points(report: Report) -> Table:
    columns = [Column("what"), Column("kind"), Column("words"), Column("page"), Column("command")]
    rows: list[Row] = [
        [what, each.kind, each.words, each.address, each.command]
        for what, points in (("risk", report.risks), ("decision", report.decisions))
        for each in points
    ]
    return columns, rows


def _days(report: Report) -> Table:
    columns = [Column("day"), Column("spent_usd", "usd")]
    rows: list[Row] = [[f"{report.month}-{day:0>2}", amount] for day, amount in report.days]
    return columns, rows


TABLES: dict[str, Callable[[Report], Table]] = {
    "budgets": _budgets,
    "figures": _figures,
    "changes": _changes,
    "points": _points,
    "days": _days,
}
"""Each by the name that it has in its address."""
