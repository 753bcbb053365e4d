"""`aegis versions` and `aegis rollback`: what was in force, and how to go back to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.application.ports import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.entrypoints.cli.configuration import NoteOption, Plan, against, ask, plan_record, show_plan
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption
from aegis_gateway.entrypoints.cli.output import GOOD, STRONG, Column, Row, out, print_json, say, table, utc
from aegis_gateway.entrypoints.cli.session import NOTHING_IN_FORCE, Session, opened

_DIGEST_SHOWN = 12


def versions(
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many at most.")] = 20,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the configurations that were applied, the newest first: who applied each, when and why.

    The same files have the same digest, whenever and wherever they are applied.
    """
    with opened(store) as session:
        found = session.reports.versions(limit=limit)
    if as_json:
        print_json({"versions": [_record(each, found[0]) for each in found]})
        return
    if not found:
        say(NOTHING_IN_FORCE)
        return
    columns = [
        Column(name="version", right=True),
        Column(name=""),
        Column(name="applied"),
        Column(name="by", flexible=True),
        Column(name="files", optional=1),
        Column(name="why", flexible=True),
    ]
    rows = [
        Row(
            cells=(
                Text(str(each.version), style=STRONG),
                Text("in force", style=GOOD) if each is found[0] else "",
                utc(each.applied_ns),
                each.applied_by,
                each.digest[:_DIGEST_SHOWN],
                each.note,
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))


def rollback(
    version: Annotated[
        int | None,
        typer.Argument(
            min=1,
            metavar="[VERSION]",
            help="Which; the one before the one in force if left out.",
            show_default=False,
        ),
    ] = None,
    note: NoteOption = "",
    store: StoreOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before going back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier configuration in force again, as a new version; nothing of the record is taken back.

    Balances, keys and imported agents stay as they are. The very next call is decided by it, on every replica. Its
    policies are not linted and its tests not run: it was in force before, and this may be an emergency.
    """
    with opened(store, writable=True) as session:
        target = _target(session, version)
        found = _plan(session, target)
        if not as_json:
            show_plan(found)
        if found.is_new and not yes:
            ask(f"go back to configuration {target.version}?", "--yes goes back without a question")
        applied = session.administration().apply(
            found.files, found.new.registries, note=note, back_to=target.version
        )
    if as_json:
        print_json({**plan_record(found), "version": applied.version, "back_to": target.version})
    elif found.is_new:
        say("")
        say(
            Text(
                f"configuration {applied.version} is in force; its files are those of {target.version}",
                STRONG,
            )
        )


def _target(session: Session, version: int | None) -> ConfigVersion:
    current = session.state.config
    if current is None:
        raise ConfigurationError("no configuration is in force yet, so there is none to go back to")
    wanted = current.version - 1 if version is None else version
    found = session.reports.versions(until=wanted, limit=1)
    if not found or found[0].version != wanted:
        raise ConfigurationError(
            f"there is no configuration `{wanted}` to go back to; `aegis versions` lists them"
        )
    return found[0]


def _plan(session: Session, target: ConfigVersion) -> Plan:
    from aegis_gateway import bootstrap

    new = bootstrap.configuration(target.files)
    bare = Plan(
        directory=Path(f"configuration {target.version}"),
        files=target.files,
        new=new,
        current=None,
        changes=(),
        warnings=(),
    )
    return against(session, bare)


def _record(each: ConfigVersion, newest: ConfigVersion) -> dict[str, object]:
    return {
        "version": each.version,
        "in_force": each is newest,
        "applied_by": each.applied_by,
        "applied": utc(each.applied_ns),
        "files_sha256": each.digest,
        "note": each.note,
    }
