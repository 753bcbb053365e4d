"""`aegis runs`: the runs that are open, for whom they count, and the way to end one."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from aegis_gateway.application.commands import Ended, EndRun, Failed
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.domain.errors import ConfigurationError, LedgerUnavailable
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.replication import Run, RunClaim
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    Column,
    Row,
    ago,
    out,
    print_json,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import opened

_NUMBER = slice(len("run_"), len("run_") + 20)

app = typer.Typer(
    name="runs",
    help="The runs that are open, by owner; end one.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def runs(
    context: typer.Context,
    owner: Annotated[
        str | None,
        typer.Option(metavar="OWNER", help="Only those that count for this one.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """List open runs, those that were called in last first: which agent's, for whose bound they count, delegated where.

    Kept are runs that were opened as such, and where `replication` bounds an owner's runs, all of theirs.
    """
    if context.invoked_subcommand is not None:
        return
    with opened(store) as session:
        name = session.tenant(tenant)
        now_ns = session.clock.now_ns()
        found = session.reports.open_runs(name, owner, now_ns, limit)
        counts = session.reports.open_run_counts(name, now_ns)
        registry = session.configured(name)
    if as_json:
        owners = {
            each: {"open": count, "most": _most(registry, each)} for each, count in sorted(counts.items())
        }
        print_json({"tenant": name, "owners": owners, "runs": [_record(each) for each in found]})
        return
    if not found:
        say("no run is open of those that are kept; `aegis calls` shows the run of each call")
        return
    columns = [
        Column(name="counts for", flexible=True),
        Column(name="agent", flexible=True),
        Column(name="opened", right=True),
        Column(name="counts until", optional=1),
        Column(name="tree", optional=2),
        Column(name="run"),
    ]
    rows = [
        Row(
            cells=(
                each.owner,
                each.agent,
                ago(each.opened_ns, now_ns),
                utc(each.open_until_ns),
                Text(each.root, style=DIM),
                each.number,
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))
    for each, count in sorted(counts.items()):
        most = _most(registry, each)
        say(Text(f"{each}: {count:,} open" + ("" if most is None else f" of {most:,}"), style=DIM))


@app.command("end")
def end(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Its id, or its number as `aegis runs` shows it.", show_default=False
        ),
    ],
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a run and what was delegated in it: nothing is called in them any more. Works while a gateway runs."""
    number = run[_NUMBER] if run.startswith("run_") else run
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        found = session.reports.run(name, number)
        if found is None:
            raise ConfigurationError(f"no run `{run[:64]}` is kept; `aegis runs` lists those that are open")
        who = session.operator("keys", name).name
        claim = RunClaim(
            number=found.number,
            run=found.run,
            agent=found.agent,
            owner=found.owner,
            is_kept=found.is_kept,
            root=found.root,
            above=found.above,
        )
        reply = Ledger(session.store).process([EndRun(call=found.run, tenant=name, claim=claim, actor=who)])[
            0
        ]
        if isinstance(reply, Failed):
            raise LedgerUnavailable(reply.message)
        assert isinstance(reply, Ended)
    if as_json:
        print_json({"tenant": name, "run": found.run, "state": "ended", "below": reply.below})
        return
    below = f", and {reply.below:,} below it" if reply.below else ""
    out().print(Text.assemble("run ", (found.number, STRONG), f" of agent {found.agent} is ended{below}"))


def _most(registry: Registry, owner: str) -> int | None:
    replication = registry.replication
    return None if replication is None else replication.of(owner).runs_max


def _record(run: Run) -> dict[str, object]:
    return {
        **msgspec.to_builtins(run),
        "opened": utc(run.opened_ns),
        "counts_until": utc(run.open_until_ns),
    }
