"""`aegis incidents`: what somebody has to look at, and that it is over."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_gateway.adapters.incident_reports import IncidentReports
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption, one_line
from aegis_gateway.entrypoints.cli.output import Column, Row, ago, out, print_json, say, table, utc
from aegis_gateway.entrypoints.cli.session import opened

_TOLD = ("id", "kind", "subject", "severity", "opened_ns", "facts")

app = typer.Typer(
    name="incidents",
    help="What somebody has to look at: see, close.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def incidents(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, the newest first.")] = 50,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show open incidents, the newest first: what budgets' thresholds have opened."""
    if context.invoked_subcommand is not None:
        return
    with opened(store) as session:
        name = session.tenant(tenant)
        found = IncidentReports(session.store.query).open(name, limit)
        now_ns = session.clock.now_ns()
    if as_json:
        records = [
            {**{field: getattr(each, field) for field in _TOLD}, "opened": utc(each.opened_ns)}
            for each in found
        ]
        print_json({"tenant": name, "at": utc(now_ns), "incidents": records})
        return
    if not found:
        say("no open incidents")
        return
    columns = [
        Column(name="incident"),
        Column(name="severity"),
        Column(name="kind"),
        Column(name="about", flexible=True),
        Column(name="opened"),
    ]
    lines = [
        Row(
            cells=(
                each.id,
                each.severity,
                each.kind.replace("_", " "),
                each.subject,
                ago(each.opened_ns, now_ns),
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, lines, console))


@app.command("close")
def close(
    incident: Annotated[str, typer.Argument(metavar="ID", help="The incident's id.", show_default=False)],
    reason: Annotated[
        str,
        typer.Option(
            "--reason", metavar="WORDS", help="What came of it; it stands in the record.", parser=one_line
        ),
    ],
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close an incident: for its budget's owner, and whoever may change limits. A limit that follows use goes on."""
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        closed = session.incidents().close(name, incident, reason)
    if as_json:
        print_json(
            {"tenant": name, "incident": closed.id, "subject": closed.subject, "closed_ns": closed.closed_ns}
        )
    else:
        say(f"{closed.id} ({closed.subject}) is closed")
