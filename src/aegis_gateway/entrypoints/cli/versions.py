"""`aegis versions` and `aegis rollback`: what was in force, and how to go back to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.application.versions import KEY_ID_CHARACTERS, checked_versions, verify
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError, VersionForged
from aegis_gateway.entrypoints.cli.configuration import (
    EmergencyOption,
    NoteOption,
    Plan,
    against,
    ask,
    check_emergency,
    put_in_force,
    show_plan,
    tell_applied,
)
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption
from aegis_gateway.entrypoints.cli.output import GOOD, STRONG, Column, Row, out, print_json, say, table, utc
from aegis_gateway.entrypoints.cli.session import NOTHING_IN_FORCE, Session, opened

_DIGEST_SHOWN = 12
FAILED = 3


app = typer.Typer(
    name="versions",
    help="What was applied, by whom, when and why.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def versions(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many at most.")] = 20,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the configurations that were applied, the newest first: who applied each, when and why.

    The same files have the same digest, whenever and wherever they are applied.
    """
    if context.invoked_subcommand is not None:
        return
    with opened(store) as session:
        found = session.reports.versions(limit=limit)
        states = _states(session)
    if as_json:
        print_json({"versions": [_record(each, states) for each in found]})
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
                Text(states.get(each.version, ""), style=GOOD),
                utc(each.applied_ns),
                " + ".join(filter(None, (each.applied_by, each.approved_by))),
                each.digest[:_DIGEST_SHOWN],
                each.note,
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command("verify")
def verify_versions(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check that each version is as it was signed, that none is missing, and that the record says the same.

    Exit code 3 says that something is wrong. To be sure of a key, compare its id with the one that was noted elsewhere.
    """
    with opened(store) as session:
        if session.state.config is None:
            raise ConfigurationError(NOTHING_IN_FORCE)
        signatures = session.signatures
        applied = 0
        problems: list[tuple[int, str]] = []
        recorded = session.reports.versions_recorded()
        newest = 0
        for version, wrong in checked_versions(session.reports.all_versions(), signatures):
            applied, newest = applied + 1, version.version
            problems += [(version.version, words) for words in wrong]
            digest = recorded.pop(version.version, None)
            if digest != version.bundle_digest:
                said = "says nothing of it" if digest is None else "says something else of it"
                problems.append((version.version, f"the record {said}"))
        problems += [
            (number, "the record says that it was applied, and it is not there") for number in recorded
        ]
    key = signatures.public_key
    if as_json:
        print_json(
            {
                "public_key": key,
                "public_key_id": key[:KEY_ID_CHARACTERS],
                "versions": applied,
                "newest": newest,
                "problems": [{"version": number, "problem": words} for number, words in problems],
            }
        )
    else:
        for number, words in problems:
            say(Text.assemble(("error: ", "red"), f"configuration {number}: {words}"))
        if not problems:
            out().print(f"all {applied} are as they were signed" if applied > 1 else "it is as it was signed")
        out().print(f"public key id {key[:KEY_ID_CHARACTERS]}")
    if problems:
        raise typer.Exit(FAILED)


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
    emergency: EmergencyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier configuration in force again, as a new version; nothing of the record is taken back.

    Balances, keys and imported agents stay as they are. The very next call is decided by it, on every replica. Its
    policies are not linted and its tests not run: it was in force before, and this may be an emergency. What widens
    where two people are needed is proposed, as with `aegis apply`.
    """
    check_emergency(emergency, note)
    with opened(store, writable=True) as session:
        target = _target(session, version)
        found = rollback_plan(session, target)
        if not as_json:
            show_plan(found)
        leaves = session.state.canary
        if (found.is_new or leaves is not None) and not yes:
            ask(f"go back to configuration {target.version}?", "--yes goes back without a question")
        done = put_in_force(
            session,
            found,
            note,
            target.version,
            ends=leaves.version if leaves is not None else None,
            is_emergency=emergency,
        )
    tell_applied(done, found, as_json=as_json, words=f"is in force; its files are those of {target.version}")


def _target(session: Session, version: int | None) -> ConfigVersion:
    current = session.state.config
    if current is None:
        raise ConfigurationError("no configuration is in force yet, so there is none to go back to")
    # While a canary is under way, going back means to leave it.
    last = current.version - 1 if session.state.canary is None else current.version
    wanted = last if version is None else version
    found = session.reports.versions(until=wanted, limit=1)
    if not found or found[0].version != wanted:
        raise ConfigurationError(
            f"there is no configuration `{wanted}` to go back to; `aegis versions` lists them"
        )
    return found[0]


def rollback_plan(session: Session, target: ConfigVersion) -> Plan:
    """What going back to a version would change.

    Raises:
        VersionForged: it is not as it was signed.
    """
    from aegis_gateway import bootstrap

    verify(target, session.signatures)
    new = bootstrap.configuration(target.files)
    bare = Plan(
        directory=Path(f"configuration {target.version}"),
        files=target.files,
        new=new,
        current=None,
        changes=(),
        warnings=(),
        appraisal=session.appraisal(new),
    )
    try:
        return against(session, bare)
    except VersionForged as fault:
        say(f"{fault}; so it can't be said what will change")
        return bare


def _states(session: Session) -> dict[int, str]:
    """What decides, by version."""
    named = ((session.state.config, "in force"), (session.state.canary, "canary"))
    return {version.version: words for version, words in named if version is not None}


def _record(each: ConfigVersion, states: dict[int, str]) -> dict[str, object]:
    return {
        "version": each.version,
        "in_force": states.get(each.version) == "in force",
        "is_canary": states.get(each.version) == "canary",
        "applied_by": each.applied_by,
        "approved_by": each.approved_by or None,
        "risk": each.risk or None,
        "applied": utc(each.applied_ns),
        "files_sha256": each.digest,
        "bundle_sha256": each.bundle_digest,
        "signed_by": each.signed_by[:KEY_ID_CHARACTERS],
        "note": each.note,
    }
