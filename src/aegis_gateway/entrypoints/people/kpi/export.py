"""The tables of the page of key figures, as files have them: exact, and whole."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, get_args

from aegis_gateway.adapters.outcome_reports import ToldWork
from aegis_gateway.domain.kpi import Figure
from aegis_gateway.entrypoints.figures import KeyFigures
from aegis_gateway.entrypoints.people.columns import Cell, Column, Row
from aegis_gateway.entrypoints.people.kpi.desk import FiguresDesk
from aegis_gateway.entrypoints.people.kpi.view import FiguresView

Table = Literal["figures", "parts", "outcomes", "budgets", "violations"]
TABLES: tuple[Table, ...] = get_args(Table)

_SCALES = {"usd": 9, "seconds": 9}


def table_of(
    name: Table, view: FiguresView, desk: FiguresDesk, found: KeyFigures
) -> tuple[list[Column], list[Row]]:
    """One of them: its columns and its rows."""
    match name:
        case "figures":
            return _FIGURE_COLUMNS, [_figure_row(each) for each in found.figures]
        case "parts":
            columns = [Column(view.by), *_PART_COLUMNS]
            return columns, [
                [
                    each.value, each.sums.cost, each.sums.calls, each.sums.settled_calls, each.transactions,
                    each.good.trees, each.good.cost, each.wasted, each.sums.tokens, each.sums.repeated, each.sums.saved,
                ]
                for each in desk.parts()
            ]  # fmt: skip
        case "outcomes":
            return _OUTCOME_COLUMNS, [
                [each.result, each.sums.trees, each.sums.transactions, each.sums.cost, each.sums.claimed]
                for each in desk.work()
            ]
        case "budgets":
            return _BUDGET_COLUMNS, [
                [
                    each.of.standing.budget.id, each.of.standing.window.label, each.of.standing.spent,
                    each.of.standing.limit, each.of.expected, each.of.deviation, each.step,
                ]
                for each in desk.budgets()
            ]  # fmt: skip
        case "violations":
            return _VIOLATION_COLUMNS, [
                [each.of.rule, each.of.mode, each.of.did, each.of.agent, each.of.calls, each.of.amount]
                for each in desk.violators()
            ]


def work_table(found: Sequence[ToldWork]) -> tuple[list[Column], list[Row]]:
    """Work that came to something."""
    columns = [
        Column("begun", "time"), Column("run"), Column("outcome"), Column("name"), Column("agent"), Column("team"),
        Column("cost_usd", "usd"), Column("claimed_usd", "usd"), Column("transactions", "count"), Column("note"),
    ]  # fmt: skip
    rows: list[Row] = [
        [
            each.began_ns, f"run_{each.run}", each.result, each.name, each.agent, each.team, each.cost,
            each.value_nano_usd, each.transactions, each.note,
        ]
        for each in found
    ]  # fmt: skip
    return columns, rows


_FIGURE_COLUMNS = [
    Column("figure"), Column("about"), Column("value", "number"), Column("unit"), Column("numerator", "number"),
    Column("numerator_unit"), Column("denominator", "number"), Column("denominator_unit"), Column("formula"),
    Column("source"),
]  # fmt: skip
_PART_COLUMNS = [
    Column("spent_usd", "usd"), Column("calls", "count"), Column("settled_calls", "count"),
    Column("transactions", "count"), Column("successes", "count"), Column("cost_of_successes_usd", "usd"),
    Column("failed_usd", "usd"), Column("tokens", "count"), Column("cache_candidates_usd", "usd"),
    Column("saved_usd", "usd"),
]  # fmt: skip
_OUTCOME_COLUMNS = [
    Column("outcome"), Column("trees", "count"), Column("transactions", "count"), Column("cost_usd", "usd"),
    Column("claimed_usd", "usd"),
]  # fmt: skip
_BUDGET_COLUMNS = [
    Column("budget"), Column("window"), Column("spent_usd", "usd"), Column("limit_usd", "usd"),
    Column("expected_usd", "usd"), Column("deviation", "share"), Column("calls_for"),
]  # fmt: skip
_VIOLATION_COLUMNS = [
    Column("rule"), Column("mode"), Column("did"), Column("agent"), Column("calls", "count"),
    Column("not_spent_usd", "usd"),
]  # fmt: skip


def _figure_row(figure: Figure) -> Row:
    value = figure.value
    told: Cell = None
    if value is not None:
        places = _SCALES.get(figure.unit, 0)
        told = (Decimal(value.numerator) / Decimal(value.denominator)).scaleb(-places)
    below = None if figure.denominator is None else _scaled(figure.below, figure.denominator)
    return [
        figure.name, figure.group, told, figure.unit, _scaled(figure.above, figure.numerator), figure.above, below,
        "" if figure.denominator is None else figure.below, figure.formula, figure.source,
    ]  # fmt: skip


def _scaled(unit: str, amount: int) -> Decimal:
    return Decimal(amount).scaleb(-_SCALES.get(unit, 0))
