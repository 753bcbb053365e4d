"""`aegis audit`: what the record says, looked for and verified."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.adapters.record_reports import RecordReports
from aegis_gateway.application.verifying import Verified
from aegis_gateway.domain.record_check import CHECK_WORDS, content
from aegis_gateway.domain.record_search import EntryFilter
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption, since_ns
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    GOOD,
    STRONG,
    Column,
    Row,
    out,
    print_json,
    print_json_line,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import opened
from aegis_gateway.entrypoints.record_words import KIND_WORDS, line_of, who_of

FAILED = 3
_EVER = "ever"
_NUMBER_MAX = 2**62

app = typer.Typer(
    name="audit",
    help="What the record says: search it, and verify that it is whole.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def verify(
    first: Annotated[int, typer.Option("--from", min=1, metavar="N", help="From this number on.")] = 1,
    last: Annotated[
        int | None,
        typer.Option(
            "--to", min=1, metavar="N", help="Up to this one; the last if left out.", show_default=False
        ),
    ] = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a tenant's record is whole, and that calls, charges, sums and versions agree with it.

    It reads a piece at a time and locks nothing, so it may run beside the gateway, however long the record is. Exit
    code 3 says that something is wrong; the first fault is named. Who can write to the database can still change what
    is about something else than a call, or all about a call at once: keep a digest elsewhere.
    """
    from aegis_gateway.entrypoints.verification import PROVES_NOT, verified, verified_record

    with opened(store) as session:
        name = session.tenant(tenant)
        begun = time.monotonic_ns()
        found = verified(session.store, session.signatures, name, first, last)
        took_ms = (time.monotonic_ns() - begun) // 1_000_000
    if as_json:
        print_json(verified_record(found, took_ms))
    else:
        _tell(found, took_ms)
        say(Text(PROVES_NOT.replace("’", "'"), style=DIM))
    if not found.is_sound:
        raise typer.Exit(FAILED)


@app.command()
def search(
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help=f"One of {', '.join(KIND_WORDS)}.", show_default=False)
    ] = None,
    who: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Whose act: a person, an agent or a key.", show_default=False),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="ID", help="About this agent.", show_default=False)
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="ID", help="About this budget.", show_default=False)
    ] = None,
    call: Annotated[
        str | None, typer.Option(metavar="ID", help="About this call.", show_default=False)
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Of this rule: a policy's id, budget:ID, rate:ID.", show_default=False
        ),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of this configuration.", show_default=False)
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="About this key.", show_default=False)] = None,
    words: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="With this text, in capitals or not.", show_default=False),
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="As in 1h, 7d, 2026-11-23, or ever.")] = "7d",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Before then; now if left out.", show_default=False)
    ] = None,
    below: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Below this number, to go on.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="How many at most.")] = 50,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print the entries' own bytes, a line each.")
    ] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for entries in a tenant's record, the newest first; all that is asked must hold."""
    from aegis_gateway.entrypoints.verification import entry_record

    if kind is not None and kind not in KIND_WORDS:
        raise typer.BadParameter(
            f"there is no kind `{kind}`; there are {', '.join(KIND_WORDS)}", param_hint="--kind"
        )
    with opened(store) as session:
        name, now_ns = session.tenant(tenant), session.clock.now_ns()
        wanted = EntryFilter(
            kind=kind, who=who, agent=agent, budget=budget, call=call, rule=rule, version=version, key=key, words=words,
            since_ns=None if since == _EVER else since_ns(since, now_ns),
            until_ns=None if until is None else since_ns(until, now_ns),
        )  # fmt: skip
        found = RecordReports(session.store.query).search(name, wanted, below or _NUMBER_MAX, limit)
    if lines:
        sys.stdout.buffer.writelines(each.body + b"\n" for each in found.entries)
        sys.stdout.buffer.flush()
    elif as_json:
        for kept in found.entries:
            print_json_line(entry_record(kept))
    elif found.entries:
        rows = []
        for kept in found.entries:
            said = content(kept.body)
            rows.append(
                Row(
                    cells=(
                        Text(str(kept.sequence), style=STRONG),
                        utc(kept.at_ns),
                        KIND_WORDS.get(kept.type, kept.type),
                        line_of(kept.type, said),
                        who_of(kept.type, said),
                    )
                )
            )
        columns = [
            Column(name="number", right=True),
            Column(name="when"),
            Column(name="kind"),
            Column(name="what", flexible=True),
            Column(name="who", optional=1),
        ]
        console = out()
        console.print(table(columns, rows, console))
    if not found.is_done:
        say(f"there may be more: go on with --below {found.looked_to}")
    elif not found.entries:
        say("no such entries; --since ever looks at all of them")


def _tell(found: Verified, took_ms: int) -> None:
    console = out()
    for check, words in CHECK_WORDS.items():
        faults = found.counts.get(check, 0)
        sign = Text("✗ ", style="red") if faults else Text("✓ ", style=GOOD)
        count = Text(f"  {faults:,} fault{'' if faults == 1 else 's'}", style="red") if faults else Text("")
        console.print(Text.assemble(sign, words, count))
    for place, fault in enumerate(found.faults):
        at = "" if fault.sequence is None else f"entry {fault.sequence}: "
        console.print(
            Text.assemble(("the first fault: " if place == 0 else "  ", "red"), f"{at}{fault.words}")
        )
    console.print(
        f"{found.entries:,} entries ({found.first:,} to {found.last:,}), {found.calls:,} calls, "
        f"{found.settlements:,} settlements, {found.versions:,} versions, in {took_ms / 1_000:.1f} s"
    )
