"""`aegis agent …`: who may call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.adapters.reports import Discovered
from aegis_gateway.application.administration import owners_bound
from aegis_gateway.application.agents import (
    CSV_BYTES_MAX,
    TAG_COLUMN,
    Changed,
    Import,
    Mistake,
    Row,
    Rows,
    plan_import,
    read_agents_csv,
)
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.registry import CREDENTIAL, Agent
from aegis_gateway.entrypoints.cli import agent_cost, options, output
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import GOOD, STRONG, WARNING, Column, out, print_json, say, table
from aegis_gateway.entrypoints.cli.session import Session, opened

REFUSED = 3

_MISTAKES_SHOWN_MAX = 50

app = typer.Typer(
    name="agent",
    help="Register agents, one or many, and see them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("add")
def add(
    agent: Annotated[str, typer.Argument(metavar="ID", help="What it is called.", show_default=False)],
    owner: Annotated[str, typer.Option(help="Who answers for it.", show_default=False)] = "",
    team: Annotated[str, typer.Option(help="The team that it works for.", show_default=False)] = "",
    cost_centre: Annotated[str, typer.Option(help="Who pays for it.", show_default=False)] = "",
    purpose: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    environment: Annotated[str, typer.Option(help="Where it runs.", show_default=False)] = "",
    role: Annotated[
        str, typer.Option(help="What it acts as, for policies and rules.", show_default=False)
    ] = "",
    project: Annotated[str, typer.Option(help="The project of its team.", show_default=False)] = "",
    budget: Annotated[str, typer.Option(help="What it lives on.", show_default="its team's default")] = "",
    external_id: Annotated[str, typer.Option(help="What your own systems call it.", show_default=False)] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A tag; may be repeated.", show_default=False),
    ] = None,
    discovered: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Who it was so far: a caller without a key, as `aegis agent discovered` names it.",
            show_default=False,
        ),
    ] = "",
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register an agent, or one that was discovered: who brings that one's credential is then this agent.

    Owner, team, cost centre, purpose, environment and a budget (its own, or its team's default) are needed; exit
    code 3 says that something is missing or unknown, and what to write.
    """
    fields = {
        "id": agent,
        "owner": owner,
        "team": team,
        "cost_centre": cost_centre,
        "purpose": purpose,
        "environment": environment,
        "role": role,
        "project": project,
        "budget": budget,
        "external_id": external_id,
        **dict(_tag(each) for each in tag or ()),
    }
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        planned = _planned(session, name, Rows(rows=(Row(number=1, fields=fields),)))
        mistakes = [Mistake(column=each.column, message=each.message) for each in planned.mistakes]
        if planned.updated:
            message = f"is `{agent}`, which is registered already; `aegis agent import` changes agents"
            mistakes.append(Mistake(column="id", message=message))
        if mistakes:
            _refuse(mistakes, as_json=as_json)
        if planned.created and discovered:
            session.administration().adopt(
                name,
                planned.agents[0],
                _credential_of(session, name, discovered),
                four_eyes=name in session.four_eyes,
                bound=owners_bound(session.configured(name)),
            )
        elif planned.created:
            _save(session, name, planned.agents)
        added = (*planned.agents, *planned.unchanged)[0]
    if as_json:
        print_json(_record(name, added, "import"))
        return
    how = "is registered" if planned.created else "was registered before, just the same"
    out().print(
        Text.assemble(("agent ", ""), (added.id, STRONG), f" {how}; it lives on budget {added.budget}")
    )
    if discovered:
        say(f"it calls with its own credential, as before; the next call of `{discovered}` is its")
    else:
        say(f"give it a key with `aegis key issue {added.id}`")


def _credential_of(session: Session, tenant: str, name: str) -> bytes:
    """The keyed hash of the credential that a discovered caller brings."""
    for found in session.reports.discovered(tenant, 0):
        if found.agent == name:
            return bytes.fromhex(found.api_key.removeprefix(CREDENTIAL))
    raise ConfigurationError(
        f"nobody is known as `{name}`; `aegis agent discovered` lists who called without a key"
    )


@app.command("discovered")
def discovered_agents(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Calls since then: 1h, 7d, 2026-11-23 or 2026-11-23T08:00Z.")
    ] = "30d",
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who called without a key of ours, with what it spent, until somebody registers it.

    Where a tenant has `proxy: {unregistered: true}` such callers pass, with their own upstream credential. Of that no
    more than a keyed hash is known here, which tells one caller from another.
    """
    with opened(store) as session:
        name = session.tenant(tenant)
        since_ns = options.since_ns(since, session.clock.now_ns())
        adopted = {key.id for key in session.state.tenants[name].keys}
        found = [each for each in session.reports.discovered(name, since_ns) if each.api_key not in adopted]
    if as_json:
        print_json({"tenant": name, "discovered": [_discovered_record(each) for each in found]})
        return
    if not found:
        say(f"nobody called without a key since {since}")
        return
    columns = [
        Column(name="caller"),
        Column(name="calls", right=True),
        Column(name="spent", right=True),
        Column(name="unpriced", right=True, optional=1),
        Column(name="first", optional=2),
        Column(name="last"),
        Column(name="calls what", flexible=True),
    ]
    rows = [
        output.Row(
            cells=(
                Text(each.agent, style=STRONG),
                f"{each.calls:,}",
                usd_short(each.nano_usd),
                Text(f"{each.unpriced:,}", style=WARNING if each.unpriced else ""),
                output.utc(each.first_ns),
                output.utc(each.last_ns),
                ", ".join(each.used),
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))
    say(
        f"register one with `aegis agent add ID --discovered {found[0].agent} --owner … --team … --purpose … "
        "--environment …`"
    )


app.command("cost")(agent_cost.cost)


def _discovered_record(found: Discovered) -> dict[str, object]:
    return {
        "caller": found.agent,
        "calls": found.calls,
        "nano_usd": found.nano_usd,
        "unpriced_calls": found.unpriced,
        "first": output.utc(found.first_ns),
        "last": output.utc(found.last_ns),
        "used": list(found.used),
    }


@app.command("list")
def list_agents(store: StoreOption = None, tenant: TenantOption = None, as_json: JsonOption = False) -> None:
    """List the agents: those of the configuration file, and those that were added or imported."""
    with opened(store) as session:
        name = session.tenant(tenant)
        registry = session.registry(name)
        in_file = session.configured(name).agents
        keys = session.state.tenants[name].keys
        now_ns = session.clock.now_ns()
        valid = [key.agent for key in keys if key.is_valid(now_ns)]
    agents = sorted(registry.agents.values(), key=lambda agent: (agent.team, agent.id))
    if as_json:
        records = [
            {
                **_record(name, agent, "file" if agent.id in in_file else "import"),
                "valid_keys": valid.count(agent.id),
            }
            for agent in agents
        ]
        print_json({"tenant": name, "agents": records})
        return
    if not agents:
        say("no agents yet; `aegis agent add ID …` registers one, `aegis agent import FILE.csv` many")
        return
    columns = [
        Column(name="agent"),
        Column(name="team"),
        Column(name="budget"),
        Column(name="keys", right=True),
        Column(name="environment", optional=1),
        Column(name="cost centre", optional=2),
        Column(name="owner", flexible=True),
        Column(name="purpose", flexible=True, optional=3),
        Column(name="from", optional=4),
    ]
    rows = [
        output.Row(
            cells=(
                Text(agent.id, style=STRONG),
                agent.team,
                agent.budget,
                Text(str(valid.count(agent.id)), style="" if agent.id in valid else WARNING),
                agent.environment,
                agent.cost_centre,
                agent.owner,
                agent.purpose,
                "file" if agent.id in in_file else "import",
            )
        )
        for agent in agents
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command("import")
def import_agents(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="Columns are named as the tags are; free ones tag:NAME.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show; write nothing.")] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register or change many agents from a CSV file, all of them or none.

    Columns: id, owner, team, cost_centre, purpose, environment; project, budget, external_id, role, tag:NAME. An agent
    is known by its external id, else by its id. Columns that the file does not have stay as they are. Commas or
    semicolons. All mistakes are told at once, by row and column; exit code 3 says that there are some.
    """
    read = read_agents_csv(_read(file))
    with opened(store, writable=not dry_run) as session:
        name = session.tenant(tenant)
        planned = _planned(session, name, read)
        if planned.mistakes:
            _refuse(planned.mistakes, as_json=as_json, file=file)
        if dry_run:
            whole = {**session.imported(name), **{agent.id: agent for agent in planned.agents}}
            owners_bound(session.configured(name))(whole)
        elif planned.agents:
            _save(session, name, planned.agents)
    if as_json:
        print_json(_import_record(name, planned, dry_run))
        return
    _show(planned, dry_run)


def _save(session: Session, tenant: str, agents: tuple[Agent, ...]) -> None:
    """Register agents, as far as their owners may have so many."""
    session.administration().save_agents(
        tenant,
        agents,
        four_eyes=tenant in session.four_eyes,
        bound=owners_bound(session.configured(tenant)),
    )


def _planned(session: Session, tenant: str, read: Rows) -> Import:
    return plan_import(read, session.configured(tenant), session.imported(tenant))


def _show(planned: Import, dry_run: bool) -> None:
    console = out()
    for changed in planned.created:
        console.print(Text.assemble(("+ ", GOOD), changed.agent.id))
    for changed in planned.updated:
        console.print(Text.assemble(("~ ", WARNING), f"{changed.agent.id}: {_changes(changed)}"))
    counts = (
        f"{len(planned.created)} created, {len(planned.updated)} updated, {len(planned.unchanged)} unchanged"
    )
    console.print(Text(f"dry run, nothing was written: {counts}" if dry_run else counts, style=STRONG))
    if planned.created and not dry_run:
        say("give each a key with `aegis key issue AGENT`")


def _changes(changed: Changed) -> str:
    return ", ".join(f"{name} {old or 'none'} → {new or 'none'}" for name, old, new in changed.fields())


def _refuse(
    mistakes: tuple[Mistake, ...] | list[Mistake], *, as_json: bool, file: Path | None = None
) -> None:
    """Tell what is wrong, and end."""
    if as_json:
        print_json(
            {
                "mistakes": [
                    {"row": each.row, "column": each.column, "message": each.message} for each in mistakes
                ]
            }
        )
        raise typer.Exit(REFUSED)
    for mistake in mistakes[:_MISTAKES_SHOWN_MAX]:
        say(Text.assemble(("refused: ", "red"), f"{file}: {mistake}" if file else str(mistake)))
    if len(mistakes) > _MISTAKES_SHOWN_MAX:
        say(f"and {len(mistakes) - _MISTAKES_SHOWN_MAX} more; --json lists all")
    if file is not None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        say(f"{count}; nothing of `{file}` was imported")
    raise typer.Exit(REFUSED)


def _read(file: Path) -> str:
    """A CSV file's text.

    Raises:
        ConfigurationError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(CSV_BYTES_MAX + 1)
    except OSError as fault:
        words = (fault.strerror or "it failed").lower()
        raise ConfigurationError(f"`{file}` cannot be read: {words}") from fault
    if len(raw) > CSV_BYTES_MAX:
        raise ConfigurationError(
            f"`{file}` is larger than {CSV_BYTES_MAX // 1024 // 1024} MiB; import it in parts"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        row = raw.count(b"\n", 0, fault.start) + 1
        raise ConfigurationError(f"`{file}` is not UTF-8 (line {row}); save it as CSV UTF-8") from fault


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"`{text}` is not a tag; write it as in channel=web", param_hint="--tag")
    return f"{TAG_COLUMN}{name}", value


def _record(tenant: str, agent: Agent, source: str) -> dict[str, object]:
    return {
        "tenant": tenant,
        "agent": agent.id,
        "owner": agent.owner,
        "team": agent.team,
        "project": agent.project,
        "cost_centre": agent.cost_centre,
        "purpose": agent.purpose,
        "role": agent.role,
        "environment": agent.environment,
        "budget": agent.budget,
        "external_id": agent.external_id,
        "tags": agent.tags,
        "asks_for": agent.asks_for,
        "source": source,
    }


def _import_record(tenant: str, planned: Import, dry_run: bool) -> dict[str, object]:
    return {
        "tenant": tenant,
        "dry_run": dry_run,
        "created": [changed.agent.id for changed in planned.created],
        "updated": [
            {
                "agent": changed.agent.id,
                "changes": [{"name": name, "old": old, "new": new} for name, old, new in changed.fields()],
            }
            for changed in planned.updated
        ],
        "unchanged": [agent.id for agent in planned.unchanged],
        "mistakes": [],
    }
