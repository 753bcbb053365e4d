"""`aegis people away` and `aegis people back`: who is away, until when, and who answers in their stead."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.domain.absence import Absence, all_away, newest_of_each, stead_of
from aegis_gateway.domain.moment import minute_text
from aegis_gateway.entrypoints.cli import options
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    WARNING,
    Column,
    Row,
    out,
    print_json,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import Session, opened

PersonArgument = Annotated[
    str | None,
    typer.Argument(metavar="[PERSON]", help="Their id; yourself, where it is left out.", show_default=False),
]


def away(
    person: PersonArgument = None,
    begins: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="From when: 2h (from now), 2026-12-24 or 2026-12-24T08:00Z.",
            show_default="now",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Until when, not at it; written as --from is.", show_default=False),
    ] = None,
    deputy: Annotated[
        str | None,
        typer.Option(
            metavar="PERSON",
            help="Who answers in their stead; they have to be one who may approve.",
            show_default="nobody",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; it is recorded.", callback=options.one_line)
    ] = "",
    listed: Annotated[
        bool, typer.Option("--list", help="Show who is or will be away, and change nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that somebody is away, and who answers what they are asked meanwhile.

    Everybody may for themselves, admins for others. What is said last holds. A deputy answers in their own name, in the
    stead of who is away: once, for however many they stand in for, and nothing that either may not answer. Where the
    deputy is away as well, theirs answers. Without a deputy, whom a route escalates to is asked at once.
    """
    if listed:
        if person is not None or until is not None or deputy is not None:
            raise typer.BadParameter("`--list` shows who is away; leave out what would be recorded")
        with opened(store) as session:
            _list(session, as_json=as_json)
        return
    if until is None:
        raise typer.BadParameter("say until when, as in --until 2w or --until 2026-12-31T18:00Z")
    with opened(store, writable=True) as session:
        now_ns = session.clock.now_ns()
        from_ns = None if begins is None else options.instant_ns(begins, now_ns)
        done = session.absences().away(person, from_ns, options.until_ns(until, now_ns), deputy, reason)
    if as_json:
        print_json({**_record(done.absence), "deputy_may_not_approve_in": list(done.not_in)})
        return
    told = done.absence
    stead = f"`{told.deputy}` answers in their stead" if told.deputy else "nobody answers in their stead"
    words = f" is away from {minute_text(told.from_ns)} until {minute_text(told.until_ns)}; {stead}"
    out().print(Text.assemble((told.person, STRONG), words))
    if done.not_in:
        say(Text(f"but not in {', '.join(done.not_in)}, where they may not approve", style=WARNING))


def back(person: PersonArgument = None, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """End an absence now, or take one back that has not begun. Everybody may for themselves, admins for others."""
    with opened(store, writable=True) as session:
        ended = session.absences().back(person)
    if as_json:
        print_json({"person": ended.person, "was": _record(ended)})
        return
    out().print(Text.assemble((ended.person, STRONG), " is there, and answers for themselves"))


def _list(session: Session, *, as_json: bool) -> None:
    now_ns = session.store.clock_ns()
    found = DeliveryReports(session.store.rows).absences()
    everybody_away = all_away(found, now_ns)
    shown = sorted(
        (each for each in newest_of_each(found).values() if each.until_ns > now_ns),
        key=lambda each: (each.from_ns, each.person),
    )
    stead = {
        each.person: stead_of(each.person, everybody_away).who if each.holds(now_ns) else each.deputy
        for each in shown
    }
    if as_json:
        records = [
            {**_record(each), "is_away": each.holds(now_ns), "answers_for_them": stead[each.person]}
            for each in shown
        ]
        print_json({"absences": records})
        return
    if not shown:
        say("nobody is away; `aegis people away --until TIME --deputy PERSON` records that somebody is")
        return
    columns = [
        Column(name="person"),
        Column(name="from"),
        Column(name="until"),
        Column(name="deputy"),
        Column(name="answers"),
        Column(name="said by"),
    ]
    rows = [
        Row(
            cells=(
                Text(each.person, style=STRONG),
                minute_text(each.from_ns),
                minute_text(each.until_ns),
                each.deputy or Text("none", style=DIM),
                stead[each.person] or Text("nobody", style=WARNING),
                each.by,
            )
        )
        for each in shown
    ]
    console = out()
    console.print(table(columns, rows, console))


def _record(absence: Absence) -> dict[str, object]:
    return {
        "person": absence.person,
        "from": utc(absence.from_ns),
        "until": utc(absence.until_ns),
        "deputy": absence.deputy,
        "recorded_by": absence.by,
    }
