"""`aegis agent cost`: what one agent costs, what it was refused and why, and what could have cost less."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_short, usd_text
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    GOOD,
    STRONG,
    WARNING,
    Column,
    Row,
    ago,
    effect_text,
    out,
    percent,
    print_json,
    quantity_text,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import instead, opened

if TYPE_CHECKING:
    from aegis_gateway.domain.registry import Registry
    from aegis_gateway.entrypoints.agents.account import AgentAccount
    from aegis_gateway.entrypoints.agents.savings import Savings

_REPEATS_SHOWN = 5
_STATE_STYLES = {"active": GOOD, "held": WARNING, "unregistered": WARNING, "revoked": "red"}


class Range(StrEnum):
    """Of which period; days are those of the tenant's time zone."""

    TODAY = "today"
    DAY = "24h"
    WEEK = "7d"
    DAYS_30 = "30d"
    DAYS_90 = "90d"
    MONTH = "month"


def cost(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Its id.", show_default=False)],
    period: Annotated[
        Range, typer.Option("--range", help="Of which period; days are the tenant's.")
    ] = Range.WEEK,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an agent costs, what it was refused and why, and what of it could have cost less.

    Its dearest runs and calls, the budgets that it draws on, refusals with what to do about them, questions that
    it asked again within a day, and what other models that it may call would have cost on the same tokens. Nothing
    of that is added to, or taken off, what was spent. The page /agents shows the same.
    """
    from aegis_gateway.entrypoints.agents.account import account_of
    from aegis_gateway.entrypoints.agents.policy_texts import PolicyTexts
    from aegis_gateway.entrypoints.agents.records import account_record
    from aegis_gateway.entrypoints.agents.savings import savings_of

    with opened(store) as session:
        name = session.tenant(tenant)
        view, now_ns, query = session.view(name), session.store.clock_ns(), session.store.query
        found = account_of(query, view.registry, agent, period.value, now_ns)
        if found is None:
            raise ConfigurationError(
                f"there is no agent `{agent}`; {instead(agent, sorted(view.registry.agents))}"
            )
        savings = savings_of(query, view, agent, period.value, now_ns)
        texts = PolicyTexts(session.settings).of(session.store, name, view.config_version, sees_shared=True)
    if as_json:
        print_json(account_record(found, savings, texts, now_ns, utc))
        return
    _show(found, savings, view.registry, now_ns)


def _show(found: AgentAccount, savings: Savings, registry: Registry, now_ns: int) -> None:
    console = out()
    sums = found.totals.sums
    state = Text(found.state, style=_STATE_STYLES.get(found.state, ""))
    last = "never called" if found.last_ns is None else f"last called {ago(found.last_ns, now_ns)}"
    console.print(Text.assemble((found.id, STRONG), " ", state, (f", {last}", DIM)))
    if found.agent is not None:
        who = found.agent
        words = f"{who.owner}, team {who.team}, {who.cost_centre}, {who.environment}: {who.purpose}"
        console.print(Text(words, style=DIM))
    zone = found.period.zone
    console.print(
        f"{usd_short(found.today)} today, {usd_short(found.month)} this month ({zone}); {found.period.words}: "
        f"{usd_short(sums.cost)} in {_calls_text(sums.calls)}, {found.totals.violations:,} not let through"
    )
    for title, told in (
        ("budgets it draws on", _budgets(found, registry)),
        ("not let through", _refusals(found)),
        ("dearest runs", _runs(found, now_ns)),
        ("dearest calls", _calls(found, now_ns)),
        ("asked again within a day", _repeats(savings)),
        ("the same tokens at other models' prices", _others(savings)),
    ):
        if told is not None:
            console.print(Group(Text(f"\n{title}", style=DIM), told))
    if found.is_cut or savings.is_cut:
        say(
            f"runs, calls and savings are of its newest calls of the period alone ({savings.looked_at:,} settled)"
        )
    if savings.instead:
        say(
            "another model counts tokens otherwise, and how well it answers no price tells; nothing of this was saved"
        )


def _calls_text(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"


def _budgets(found: AgentAccount, registry: Registry) -> Text | None:
    rows = [
        Row(
            cells=(
                Text(each.budget.id, style=STRONG),
                each.budget.period,
                *(
                    ("", "", "")
                    if each.standing is None
                    else (
                        quantity_text(amount, registry.quantities[each.budget.quantity])
                        for amount in (each.standing.left, each.standing.spent, each.standing.limit)
                    )
                ),
                "lives on it" if each.is_home else "" if each.standing else "as the call decides",
            )
        )
        for each in found.budgets
    ]
    columns = [Column(name="budget"), Column(name="period", optional=1)]
    columns += [Column(name=each, right=True) for each in ("left", "spent", "limit")]
    return table([*columns, Column(name="", optional=2)], rows, out()) if rows else None


def _refusals(found: AgentAccount) -> Text | None:
    from aegis_gateway.entrypoints.agents.advice import advice_on

    rows = [
        Row(
            cells=(effect_text(each.effect), f"{each.calls:,}", each.rule, each.words or each.code),
            note=advice_on(each.code) or None,
        )
        for each in found.refusals
    ]
    columns = [
        Column(name="decision"),
        Column(name="calls", right=True),
        Column(name="by"),
        Column(name="why", flexible=True),
    ]
    return table(columns, rows, out()) if rows else None


def _runs(found: AgentAccount, now_ns: int) -> Text | None:
    rows = [
        Row(
            cells=(
                f"run_{each.number}",
                f"{'≤ ' if each.open_calls else ''}{usd_text(each.nano_usd)}",
                f"{each.calls:,}",
                f"{each.refused:,}",
                ago(each.since_ns, now_ns),
            )
        )
        for each in found.runs
    ]
    columns = [
        Column(name="run"),
        Column(name="cost", right=True),
        Column(name="calls", right=True),
        Column(name="refused", right=True, optional=1),
        Column(name="begun", right=True),
    ]
    return table(columns, rows, out()) if rows else None


def _calls(found: AgentAccount, now_ns: int) -> Text | None:
    rows = [
        Row(
            cells=(
                each.call,
                usd_text(each.cost_nano_usd or 0),
                each.model or each.tool,
                ago(each.decided_ns, now_ns),
            )
        )
        for each in found.dearest
    ]
    columns = [
        Column(name="call"),
        Column(name="cost", right=True),
        Column(name="of", flexible=True),
        Column(name="decided", right=True),
    ]
    return table(columns, rows, out()) if rows else None


def _repeats(savings: Savings) -> Text | None:
    rows = [
        Row(
            cells=(
                each.model or each.tool,
                usd_text(each.nano_usd),
                f"{each.repeats:,}",
                f"{each.attempts:,}",
                each.first,
            )
        )
        for each in savings.repeated[:_REPEATS_SHOWN]
    ]
    if not rows:
        return None
    share = percent(savings.repeats_nano_usd, savings.spent_nano_usd)
    whole = f"in all {_calls_text(savings.repeats)}, {usd_text(savings.repeats_nano_usd)} ({share} of what they cost)"
    columns = [
        Column(name="request"),
        Column(name="all but the first", right=True),
        Column(name="again", right=True),
        Column(name="attempts", right=True, optional=1),
        Column(name="first call", optional=2),
    ]
    return Text("\n").join([table(columns, rows, out()), Text(whole)])


def _others(savings: Savings) -> Text | None:
    rows = list(_other_rows(savings))
    columns = [
        Column(name="model"),
        Column(name="calls", right=True, optional=1),
        Column(name="cost", right=True),
        Column(name="instead", flexible=True),
        Column(name="would have cost", right=True),
        Column(name="less", right=True),
    ]
    return table(columns, rows, out()) if rows else None


def _other_rows(savings: Savings) -> Iterator[Row]:
    for each in savings.instead:
        model, calls = Text(each.traffic.model, style=STRONG), f"{each.traffic.calls:,}"
        spent = usd_text(each.traffic.cost_nano_usd)
        if not each.others:
            yield Row(cells=(model, calls, spent, "no other model of this API that it may call", "", ""))
        for other in each.others:
            known = other.nano_usd is not None and other.less_nano_usd is not None
            told = usd_text(other.nano_usd or 0) if known else f"not known: {other.why}"
            less = usd_text(other.less_nano_usd or 0) if known else ""
            yield Row(cells=(model, calls, spent, other.model, told, less))
