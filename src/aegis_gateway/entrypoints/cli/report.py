"""`aegis report`: the report of a month, printed, for programs, or sent to a channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_short, usd_text
from aegis_gateway.domain.report import Changes, FigurePair, PlanLine, Point, Report
from aegis_gateway.domain.report_message import report_address, report_message
from aegis_gateway.domain.report_words import compared, figure_text, signed_percent, value_text
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    Column,
    Row,
    out,
    percent,
    print_json,
    say,
    table,
    utc,
    window_text,
)
from aegis_gateway.entrypoints.cli.session import instead, opened

_TREND_WORDS = {"up": "up", "down": "down", "same": "as before", "new": "new", "": ""}


def report(
    month: Annotated[
        str,
        typer.Option(
            "--month", metavar="YYYY-MM", help="Which month; the present one, where it is left out."
        ),
    ] = "",
    send: Annotated[
        str | None,
        typer.Option(
            "--send", metavar="CHANNEL", help="Have the steward send it to a channel.", show_default=False
        ),
    ] = None,
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the report of a month: budgets' plans, key figures, what changed, savings, risks, decisions wanted.

    The month is one of the tenant's time zone. One that isn't over is compared with as much of the month before. All
    figures are the ledger's; increases, decreases and the rest of each breakdown add up to the whole change. The same
    is a page to print: /report.
    """
    from aegis_gateway import bootstrap
    from aegis_gateway.entrypoints.months import month_of
    from aegis_gateway.entrypoints.reporting import report_of, report_record
    from aegis_gateway.entrypoints.rollout import rollout_now

    with opened(store, writable=send is not None) as session:
        name = session.tenant(tenant)
        registry = session.registry(name)
        which = month_of(month, registry.zone, session.store.clock_ns())
        rules = bootstrap.compiled_policies(session.configuration, name).rules
        found = report_of(session.store, registry, rules.values(), rollout_now(session, name), which)
        pages_url = session.settings.pages_url
        if send is not None:
            channel = registry.channels.get(send)
            if channel is None:
                raise ConfigurationError(
                    f"there is no channel `{send}`; {instead(send, sorted(registry.channels))}"
                )
            message = report_message(found, pages_url)
            sent = session.report_sending().send(name, which.label, channel, message)
            if as_json:
                print_json({"tenant": name, "month": which.label, "deliveries": [each.id for each in sent]})
            else:
                say(
                    f"{len(sent)} will be sent by the steward; `aegis notifications --channel {send}` says whether"
                )
            return
    if as_json:
        print_json(report_record(found, utc))
        return
    console = out()
    for line in _lines(found):
        console.print(line)
    say(f"to print or mail: {pages_url}{report_address(found.tenant, found.month)}")


def _lines(found: Report) -> Iterator[Text]:
    yield Text.assemble(
        (f"{found.tenant_name}, {found.name}: {usd_text(found.spent_nano_usd)} spent", STRONG),
        (f"  {found.period.words}, {found.zone}", DIM),
    )
    yield Text(compared(found))
    if found.plans:
        yield Text("\nplan and actual by budget", style=DIM)
        yield _plans(found.plans)
    if found.plans_split:
        split = "1 budget is" if found.plans_split == 1 else f"{found.plans_split} budgets are"
        yield Text(f"{split} split, and not planned as a whole", style=DIM)
    yield Text(f"\nkey figures, beside {found.before.words}", style=DIM)
    yield _pairs(found.figures)
    for changes in found.changes:
        yield Text(f"\nwhat changed, by {changes.by}", style=DIM)
        yield _changes(changes)
    yield Text("\nsavings, apart from what was spent", style=DIM)
    yield _pairs(found.savings)
    for title, points in (("risks", found.risks), ("decisions wanted", found.decisions)):
        yield Text(f"\n{title}", style=DIM)
        yield from _points(points)


def _plans(plans: tuple[PlanLine, ...]) -> Text:
    columns = [
        Column(name="budget", flexible=True),
        Column(name="window", optional=2),
        Column(name="plan", right=True),
        Column(name="spent", right=True),
        Column(name="used", right=True, optional=3),
        Column(name="expected", right=True),
        Column(name="deviation", right=True),
        Column(name="calls for", optional=1),
    ]
    rows = [
        Row(
            cells=(
                each.budget if each.mode == "enforce" else f"{each.budget} (in shadow)",
                window_text(each.window),
                usd_short(each.plan_nano_usd),
                usd_short(each.spent_nano_usd),
                percent(each.spent_nano_usd, each.plan_nano_usd),
                "–" if each.expected_nano_usd is None else usd_short(each.expected_nano_usd),
                signed_percent(each.deviation),
                "exhausted" if each.is_exhausted else each.calls_for,
            )
        )
        for each in plans
    ]
    return table(columns, rows, out())


def _pairs(pairs: tuple[FigurePair, ...]) -> Text:
    columns = [
        Column(name="figure", flexible=True),
        Column(name="value", right=True),
        Column(name="before", right=True),
        Column(name="trend", optional=1),
    ]
    rows = [
        Row(
            cells=(
                each.now.name,
                figure_text(each.now),
                "–" if each.before is None else figure_text(each.before),
                f"{_TREND_WORDS[each.trend]} {signed_percent(each.change) if each.change else ''}".strip(),
            )
        )
        for each in pairs
    ]
    return table(columns, rows, out())


def _changes(changes: Changes) -> Text:
    columns = [
        Column(name=changes.by, flexible=True),
        Column(name="change", right=True),
        Column(name="now", right=True),
        Column(name="before", right=True),
    ]
    named = [(value_text(changes.by, each.value), each) for each in (*changes.increases, *changes.decreases)]
    if changes.rest_count:
        named.append((f"{changes.rest_count} other{'' if changes.rest_count == 1 else 's'}", changes.rest))
    rows = [
        Row(
            cells=(
                name,
                f"{'+' if each.change_nano_usd > 0 else ''}{usd_short(each.change_nano_usd)}",
                usd_short(each.nano_usd),
                usd_short(each.before_nano_usd),
            )
        )
        for name, each in named
    ]
    return table(columns, rows, out())


def _points(points: tuple[Point, ...]) -> Iterator[Text]:
    if not points:
        yield Text("none")
    for each in points:
        yield Text(f"- {each.words}")
        if each.command:
            yield Text(f"  $ {each.command}", style=DIM)
