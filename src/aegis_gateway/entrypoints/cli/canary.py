"""`aegis canary`: a version that decides for some agents, beside the one that is in force for the others."""

from __future__ import annotations

from pathlib import Path

import msgspec
import typer
from rich.text import Text

from aegis_gateway.application.watching import CALLS_LOOKED_AT_MAX
from aegis_gateway.domain.config_version import Canary, ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.share import share, share_text
from aegis_gateway.domain.watch import Side
from aegis_gateway.entrypoints.cli.configuration import NoteOption, Plan, put_in_force, tell_proposed
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption
from aegis_gateway.entrypoints.cli.output import STRONG, Column, Row, out, print_json, say, table, utc
from aegis_gateway.entrypoints.cli.session import Session, opened

app = typer.Typer(
    name="canary",
    help="How a version fares that decides for some agents; then for all, or for none.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)

_COLUMNS = ("agents", "calls", "refused", "of all", "errors", "of all", "cost", "a call")


@app.callback()
def canary(context: typer.Context, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show the canary that is under way beside the version that is in force: calls, refusals, errors, costs.

    Errors are calls that were to be sent and came to nothing: in doubt, never sent, or refused by the upstream and so
    not charged. Of what is free nobody can tell.
    """
    if context.invoked_subcommand is not None:
        return
    with opened(store) as session:
        config, trial = _under_way(session)
        sides = _sides(session, trial)
    versions = (trial, config)
    if as_json:
        print_json(
            {
                "canary": trial.version,
                "in_force": config.version,
                "since": utc(trial.applied_ns),
                "for": msgspec.to_builtins(trial.canary),
                "sides": [
                    {
                        "config_version": version.version,
                        **msgspec.structs.asdict(sides.get(version.version, Side())),
                    }
                    for version in versions
                ],
            }
        )
        return
    console = out()
    console.print(
        Text(
            f"configuration {trial.version} decides for {_for(trial.canary)} since {utc(trial.applied_ns)}",
            STRONG,
        )
    )
    columns = [Column(name=""), *(Column(name=name, right=True) for name in _COLUMNS)]
    rows = []
    for words, version in (("canary", trial), ("in force", config)):
        side = sides.get(version.version, Side())
        each = side.cost_nano_usd // side.calls if side.calls else 0
        rows.append(
            Row(
                cells=(
                    f"{words} {version.version}",
                    f"{side.agents}",
                    f"{side.calls:,}",
                    f"{side.refused:,}",
                    share_text(side.refused_share),
                    f"{side.errors:,}",
                    share_text(side.errors_share),
                    usd_short(side.cost_nano_usd),
                    usd_short(each),
                )
            )
        )
    console.print(table(columns, rows, console))
    say("`aegis canary promote` puts it in force for all, `aegis canary abort` for none")


@app.command()
def promote(note: NoteOption = "", store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Put the canary in force for all agents, as a new version with its files."""
    _end(store, note, as_json, promotes=True)


@app.command()
def abort(note: NoteOption = "", store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Put the version beside the canary in force for all agents again, as a new version with its files."""
    _end(store, note, as_json, promotes=False)


def share_given(text: str | None) -> int | None:
    """A share of agents, as it was written on the command line."""
    found = share(text) if text is not None else None
    if text is not None and found is None:
        raise typer.BadParameter(f"`{text}` is no share; write one above 0% and up to 100%, as in 10%")
    return found


def wanted(part: int | None, agents: str | None) -> Canary | None:
    """The canary that was asked for on the command line, if one was."""
    if part is not None and agents is not None:
        raise ConfigurationError(
            "a canary is for a share of agents or for some by name; give --canary or --agents"
        )
    if agents is not None:
        names = tuple(name.strip() for name in agents.split(",") if name.strip())
        if not names:
            raise ConfigurationError(
                "--agents names none; write their ids, as in --agents loan-bot,payments-bot"
            )
        return Canary(beside=0, agents=names)
    return Canary(beside=0, share=part) if part is not None else None


def _end(store: str | None, note: str, as_json: bool, *, promotes: bool) -> None:
    from aegis_gateway import bootstrap

    with opened(store, writable=True) as session:
        config, trial = _under_way(session)
        files = (trial if promotes else config).files
        new = bootstrap.configuration(files)
        found = Plan(
            directory=Path(),
            files=files,
            new=new,
            current=config,
            changes=(),
            warnings=(),
            appraisal=session.appraisal(new),
        )
        back_to = None if promotes else config.version
        stays = trial.watch is None  # what was tried with --no-roll-back is put in force with it
        version = put_in_force(session, found, note, back_to, ends=trial.version, stays=stays)
    if isinstance(version, Proposal):
        tell_proposed(version, found, as_json=as_json)
    elif as_json:
        print_json({"version": version.version, "ends_canary": trial.version, "back_to": back_to})
    else:
        whose = (
            f"canary {trial.version}"
            if promotes
            else f"{config.version}, and canary {trial.version} has ended"
        )
        out().print(
            Text(f"configuration {version.version} is in force; its files are those of {whose}", STRONG)
        )


def _under_way(session: Session) -> tuple[ConfigVersion, ConfigVersion]:
    """What is in force, and the canary beside it."""
    config, trial = session.state.config, session.state.canary
    if config is None or trial is None:
        raise ConfigurationError("no canary is under way; `aegis apply DIR --canary 10%` starts one")
    session.verify()
    return config, trial


def _sides(session: Session, trial: ConfigVersion) -> dict[int, Side]:
    """How calls fared since the canary began, in all tenants together."""
    found: dict[int, Side] = {}
    now_ns = session.store.clock_ns()
    for tenant in session.state.tenants:
        for version, side in session.reports.sides(
            tenant, trial.applied_ns, now_ns, CALLS_LOOKED_AT_MAX
        ).items():
            found[version] = found.get(version, Side()) + side
    return found


def _for(canary: Canary | None) -> str:
    assert canary is not None, "it is one"
    return f"agents {', '.join(canary.agents)}" if canary.agents else f"{share_text(canary.share)} of agents"
