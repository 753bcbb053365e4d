"""The tables of one agent, as files have them: its runs, dearest calls, refusals, keys and budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.agents.account import AgentAccount
from aegis_gateway.entrypoints.agents.advice import advice_on
from aegis_gateway.entrypoints.people.budgets.export import in_unit
from aegis_gateway.entrypoints.people.calls.export import CALL_COLUMNS, call_rows
from aegis_gateway.entrypoints.people.columns import Column, Row


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table: its columns, and how its rows are made."""

    columns: tuple[Column, ...]
    rows: Callable[[AgentAccount, Registry], Iterator[Row]]


def _runs(account: AgentAccount, _registry: Registry) -> Iterator[Row]:
    for each in account.runs:
        yield [
            each.number,
            each.since_ns,
            each.nano_usd,
            each.calls,
            each.refused,
            each.open_calls,
            each.unbounded,
        ]


def _refusals(account: AgentAccount, _registry: Registry) -> Iterator[Row]:
    for each in account.refusals:
        last = each.last
        yield [
            each.effect,
            each.code,
            each.rule or None,
            each.calls,
            each.not_spent,
            each.words or None,
            advice_on(each.code) or None,
            last.call if last is not None else None,
            last.at_ns if last is not None else None,
        ]


def _keys(account: AgentAccount, _registry: Registry) -> Iterator[Row]:
    for each in account.keys:
        key = each.key
        held_by = ", ".join(held.budget or held.hold.by for held in each.holds)
        yield [
            key.id,
            key.hint,
            each.state,
            key.issued_ns,
            each.made_by or None,
            each.last_ns,
            key.expires_ns,
            key.revoked_ns,
            held_by or None,
        ]


def _budgets(account: AgentAccount, registry: Registry) -> Iterator[Row]:
    for each in account.budgets:
        quantity, standing = registry.quantities[each.budget.quantity], each.standing
        amounts: tuple[int | None, ...] = (None,) * 4
        if standing is not None:
            amounts = (standing.left, standing.spent, standing.reserved, standing.limit)
        yield [
            each.budget.id,
            each.budget.period,
            each.budget.mode,
            each.is_home,
            quantity.id,
            *(in_unit(quantity, amount) for amount in amounts),
        ]


TABLES: dict[str, Table] = {
    "runs": Table(
        columns=(
            Column("run"),
            Column("begun", "time"),
            Column("cost_usd", "usd"),
            Column("calls", "count"),
            Column("refused_calls", "count"),
            Column("open_calls", "count"),
            Column("unbounded_calls", "count"),
        ),
        rows=_runs,
    ),
    "calls": Table(columns=CALL_COLUMNS, rows=lambda account, _registry: call_rows(account.dearest)),
    "refusals": Table(
        columns=(
            Column("effect"),
            Column("code"),
            Column("rule"),
            Column("calls", "count"),
            Column("not_spent_usd", "usd"),
            Column("words"),
            Column("what_to_do"),
            Column("last_call"),
            Column("last", "time"),
        ),
        rows=_refusals,
    ),
    "keys": Table(
        columns=(
            Column("key"),
            Column("hint"),
            Column("state"),
            Column("made", "time"),
            Column("made_by"),
            Column("last_used", "time"),
            Column("expires", "time"),
            Column("revoked", "time"),
            Column("held_by"),
        ),
        rows=_keys,
    ),
    "budgets": Table(
        columns=(
            Column("budget"),
            Column("period"),
            Column("mode"),
            Column("lives_on_it", "flag"),
            Column("unit"),
            *(Column(each, "number") for each in ("left", "spent", "reserved", "limit")),
        ),
        rows=_budgets,
    ),
}
"""By what the address calls them."""
