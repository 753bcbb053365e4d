"""`aegis replay`: what a changed configuration would have done to the calls that were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from aegis_gateway.application.replay import DENIALS, Change, Kind, Report
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_short, usd_text
from aegis_gateway.entrypoints.cli import options
from aegis_gateway.entrypoints.cli.configuration import Plan, checked
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    GOOD,
    STRONG,
    WARNING,
    Column,
    Row,
    at_decimal_point,
    out,
    print_json,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import Session, opened

if TYPE_CHECKING:
    from aegis_gateway.configuration.load import Configuration

REFUSED = 3
_FAR_AWAY_NS = 2**63 - 1

_WOULD: dict[Kind, str] = {
    "refused": "would now be refused",
    "throttled": "would now be throttled",
    "asked": "would now need a person to agree",
    "allowed": "would now be allowed",
    "model": "would now go to another model",
    "output_limit": "would now have another output limit",
    "reason": "would be refused for another reason",
}
_MONEY: dict[Kind, str] = {
    "allowed": "expected to cost ",
    "model": "expected to cost less by ",
    "output_limit": "expected to cost less by ",
}

SinceOption = Annotated[
    str,
    typer.Option(metavar="TIME", help="Replay calls since then: 1h, 7d, 2026-11-23 or 2026-11-23T08:00Z."),
]
FailOption = Annotated[
    bool,
    typer.Option("--fail-on-new-denials", help="Exit with 3 if any call that was allowed would not pass."),
]
MostOption = Annotated[
    int | None,
    typer.Option(
        "--max-new-denials",
        metavar="N",
        min=0,
        help="Exit with 3 if more calls that were allowed would not pass.",
        show_default=False,
    ),
]


def replay(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="The directory with aegis.yaml and policies/*.cedar; without one, what is in force.",
            show_default=False,
        ),
    ] = None,
    since: SinceOption = "7d",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only calls before then.", show_default=False)
    ] = None,
    fail_on_new_denials: FailOption = False,
    max_new_denials: MostOption = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a configuration would have done to recorded calls: which decisions differ, whose, how many dollars.

    Policies, rates and budgets decide each call anew, in order, as they decide live ones; calls cost and settle as they
    did. What was refused and would now pass is taken to cost what was expected, at once. Prices are as recorded. What
    the version in force would already decide otherwise is told apart. Policies that look at arguments which the record
    doesn't show are listed, with the calls that they leave undecided: nothing is guessed. Nothing is changed.
    """
    found = None if directory is None else checked(directory)
    with opened(store) as session:
        is_changed = found is not None and not is_in_force(session, found)
        changed = found.new if found is not None and is_changed else session.configuration
        now_ns = session.clock.now_ns()
        reports = replayed(
            session,
            changed,
            options.since_ns(since, now_ns),
            _FAR_AWAY_NS if until is None else options.since_ns(until, now_ns),
            tenant,
        )
    if as_json:
        print_json({"tenants": [report_record(report) for report in reports]})
    else:
        show_reports(reports)
        if not reports:
            say(f"there are no calls since {since} to replay")
    refuse_new_denials(reports, 0 if fail_on_new_denials else max_new_denials)


def refuse_new_denials(reports: Sequence[Report], most: int | None) -> None:
    """Refuse what would not let more calls pass than may be; None is any number.

    Raises:
        typer.Exit: it would.
    """
    denials = sum(report.new_denials for report in reports)
    if most is not None and denials > most:
        allowed = "none may be" if not most else f"at most {most:,} may be"
        say(Text.assemble(("refused: ", "red"), f"{_calls(denials)} would newly be refused; {allowed}"))
        raise typer.Exit(REFUSED)


def replay_of(session: Session, found: Plan, since: str) -> list[Report]:
    """What a plan that changes anything would have done to the calls since then; nothing where there are none."""
    since_ns = options.since_ns(since, session.clock.now_ns())
    if session.state.config is None or is_in_force(session, found):
        return []
    return replayed(session, found.new, since_ns, _FAR_AWAY_NS)


def is_in_force(session: Session, found: Plan) -> bool:
    """Whether a directory is what is in force."""
    return session.state.config is not None and session.state.config.files == found.files


def replayed(
    session: Session, changed: Configuration, since_ns: int, until_ns: int, tenant: str | None = None
) -> list[Report]:
    """Replay the calls of each tenant, or of one; of those that a configuration has and that have any.

    Raises:
        ConfigurationError: there is no such tenant, or nothing was ever in force.
    """
    from aegis_gateway import bootstrap
    from aegis_gateway.adapters.budget_change_rows import changes_of
    from aegis_gateway.adapters.traffic import StoredTraffic

    in_force = session.configuration
    names = sorted(set(in_force.registries) & set(changed.registries) & set(session.state.tenants))
    if tenant is not None:
        if session.tenant(tenant) not in names:
            raise ConfigurationError(
                f"tenant `{tenant}` is not in both configurations; there is nothing to compare"
            )
        names = [tenant]
    reports = []
    for name in names:
        limits = changes_of(session.store.rows, name)
        run = bootstrap.replay(changed, in_force, session.state, name, session.reports.version, limits)
        report = run.over(StoredTraffic(session.store.rows, name), since_ns, until_ns)
        if report is not None:
            reports.append(report)
    return reports


def show_reports(reports: Sequence[Report]) -> None:
    """Say what was found, tenant by tenant."""
    console = out()
    for report in reports:
        for line in _lines(report, console):
            console.print(line)


def _lines(report: Report, console: Console) -> Iterator[Text]:
    yield Text.assemble(
        (f"{report.tenant}: {_calls(report.calls)} replayed", STRONG),
        (f"  {utc(report.first_ns)} to {utc(report.last_ns)}", DIM),
    )
    if not report.changes:
        yield Text("no decision that the record can tell would change", style=GOOD)
    for kind in _WOULD:
        mine = [change for change in report.changes if change.kind == kind]
        if mine:
            yield Text.assemble((_sum_of(kind, mine), WARNING if kind in DENIALS else ""))
    if report.changes:
        yield _table(report.changes, console)
    if report.undecided_calls:
        yield Text(f"{_calls(report.undecided_calls)} can't be decided from the record", style=WARNING)
        for each in report.undecided:
            shown = "; ".join(f"`{argument}` of {tool}" for tool, argument in each.missing)
            yield Text.assemble(
                f"  {each.rule}: {_calls(each.calls)}; add `shown: true` to {shown}",
                (f"  such as {', '.join(each.examples)}", DIM),
            )
    for code, calls in report.as_recorded:
        yield Text(f"{_calls(calls)} taken as recorded: {code}", style=DIM)
    yield from _in_force(report, console)


def _in_force(report: Report, console: Console) -> Iterator[Text]:
    """How the version in force, replayed, differs from what was recorded, and why."""
    differs = sum(change.calls for change in report.in_force)
    if differs:
        why = "the rest follows from those, or from agents and keys that changed"
        if not report.other_versions:
            why = "agents, keys or imported data have changed since"
        elif report.other_versions == differs:
            why = "each was decided under another version"
        else:
            why = f"{report.other_versions:,} of them were decided under another version, {why}"
        yield Text(
            f"the version in force, replayed, differs from the record on {_calls(differs)}: {why}", style=DIM
        )
        yield _table(report.in_force, console)
    elif report.in_force_undecided_calls:
        yield Text(
            "the version in force, replayed, agrees with the record where that tells enough", style=DIM
        )
    else:
        yield Text("the version in force, replayed, agrees with the record", style=DIM)


def _table(changes: Sequence[Change], console: Console) -> Text:
    columns = [
        Column(name="would"),
        Column(name="by", flexible=True),
        Column(name="agent", flexible=True),
        Column(name="calls", right=True),
        Column(name="USD", right=True),
        Column(name="was", flexible=True, optional=1),
    ]
    money = at_decimal_point([usd_short(change.nano_usd) for change in changes])
    rows = [
        Row(
            cells=(
                change.kind.replace("_", " "),
                change.rule or change.code,
                change.agent,
                f"{change.calls:,}",
                amount,
                change.was_rule or change.was_code,
            ),
            note=f"such as {', '.join(change.examples)}",
        )
        for change, amount in zip(changes, money, strict=True)
    ]
    return table(columns, rows, console)


def _sum_of(kind: Kind, changes: Sequence[Change]) -> str:
    calls = sum(change.calls for change in changes)
    agents = len({change.agent for change in changes})
    nano_usd = sum(change.nano_usd for change in changes)
    whose = "1 agent" if agents == 1 else f"{agents:,} agents"
    money = "" if kind == "reason" else f", {_MONEY.get(kind, '')}{usd_short(nano_usd)},"
    return f"{_calls(calls)} of {whose}{money} {_WOULD[kind]}"


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number:,} calls"


def report_record(report: Report) -> dict[str, object]:
    """A report for programs."""
    return {
        "tenant": report.tenant,
        "calls": report.calls,
        "first_sequence": report.first_sequence,
        "last_sequence": report.last_sequence,
        "from": utc(report.first_ns),
        "to": utc(report.last_ns),
        "new_denials": report.new_denials,
        "changes": [_change_record(change) for change in report.changes],
        "undecided_calls": report.undecided_calls,
        "undecided": [
            {
                "policy": each.rule,
                "calls": each.calls,
                "missing": [{"tool": tool, "argument": argument} for tool, argument in each.missing],
                "examples": list(each.examples),
            }
            for each in report.undecided
        ],
        "already_in_force": [_change_record(change) for change in report.already],
        "in_force": {
            "differs": [_change_record(change) for change in report.in_force],
            "undecided_calls": report.in_force_undecided_calls,
            "decided_under_other_versions": report.other_versions,
        },
        "as_recorded": [{"code": code, "calls": calls} for code, calls in report.as_recorded],
    }


def _change_record(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind,
        "rule": change.rule,
        "code": change.code,
        "agent": change.agent,
        "was_code": change.was_code,
        "was_rule": change.was_rule,
        "calls": change.calls,
        "nano_usd": change.nano_usd,
        "usd": usd_text(change.nano_usd),
        "examples": list(change.examples),
    }
