"""`aegis init`, `aegis plan`, `aegis apply`: configuration as code."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from aegis_gateway.application.administration import owners_bound
from aegis_gateway.application.agents import left_without
from aegis_gateway.domain.config_version import Canary, ConfigVersion
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.errors import ConfigurationError, StoreNotMade
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.domain.trials import Untried
from aegis_gateway.entrypoints.cli.ended_limits import EndedLimit, ended_limits, show_ended
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, one_line
from aegis_gateway.entrypoints.cli.output import DIM, GOOD, STRONG, WARNING, out, print_json, say, utc
from aegis_gateway.entrypoints.cli.session import Session, opened

if TYPE_CHECKING:
    from aegis_gateway.application.replay import Report
    from aegis_gateway.configuration.difference import Change
    from aegis_gateway.configuration.load import Configuration

NO_CHANGES, CHANGES, REFUSED, PROPOSED = 0, 2, 3, 4

DirArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="The directory with aegis.yaml and policies/*.cedar.", show_default=False
    ),
]

NoteOption = Annotated[
    str,
    typer.Option(
        "--note", "-m", metavar="TEXT", help="Why, for the record.", callback=one_line, show_default=False
    ),
]

EmergencyOption = Annotated[
    bool,
    typer.Option(
        "--emergency", help="At once, though two people are needed; another reviews it later. Needs --note."
    ),
]

_SIGNS = {"added": ("+", GOOD), "changed": ("~", WARNING), "removed": ("-", "red")}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What applying a directory would do: the files, all checked, and how they differ from what is in force."""

    directory: Path
    files: dict[str, str]
    new: Configuration
    current: ConfigVersion | None
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    untried: tuple[Untried, ...] = ()
    appraisal: Appraisal = Appraisal()
    ended: tuple[EndedLimit, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether applying makes a version; a comment that changes does, though nothing that decides does."""
        return self.current is None or self.current.files != self.files

    @property
    def summary(self) -> str:
        """How much would change: `2 added, 1 changed`."""
        counts = {kind: sum(change.kind == kind for change in self.changes) for kind in _SIGNS}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def init(
    directory: DirArgument,
    pack: Annotated[
        str, typer.Option("--pack", metavar="NAME", help="A configuration made for one kind of house.")
    ] = "example",
) -> None:
    """Write a commented example configuration into a directory, or a pack: with policies, and tests of them.

    Packs: fintech (payments up to $5,000 pass, above a person is asked, and what an agent moves in a day is bounded);
    saas ($20 a day for each agent and 5 requests a second to each API, hard); healthcare (what calls carry stays in the
    regions where it may be). Nothing that is there is overwritten.
    """
    from aegis_gateway.configuration.packs import PACKS, write_pack

    if pack not in PACKS:
        raise ConfigurationError(f"there is no pack `{pack}`; there are {', '.join(PACKS)}")
    written = write_pack(directory, pack)
    console = out()
    for file in written:
        console.print(Text.assemble(("+ ", GOOD), str(file)))
    say("")
    say(
        f"read and change it, then: `aegis plan {directory}` shows what it does, `aegis apply {directory}` applies it"
    )


def plan(
    directory: DirArgument,
    store: StoreOption = None,
    detailed: Annotated[
        bool,
        typer.Option(
            "--detailed-exitcode",
            help="Exit with 0 if nothing would change, 2 if something would, 1 on errors.",
        ),
    ] = False,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Replay the calls since then: 1h, 7d or 2026-11-23.")
    ] = "7d",
    no_replay: Annotated[
        bool, typer.Option("--no-replay", help="Don't replay the calls that were made.")
    ] = False,
    fail_on_new_denials: Annotated[
        bool,
        typer.Option("--fail-on-new-denials", help="Exit with 3 if a call that was allowed would not pass."),
    ] = False,
    max_new_denials: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Exit with 3 if more such calls would not pass."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a configuration, run its policy tests and show what applying it would change. Nothing is changed.

    Mistakes are told by file and line, all of them at once, with what to write instead. What was done to limits for
    good, and would end because other limits are configured, is listed. Where calls were made, it also says which of
    them the change would have decided otherwise, as `aegis replay` does.
    """
    from aegis_gateway.entrypoints.cli import replay

    found = checked(directory)
    tests = refused_by_tests(found)
    reports: list[Report] = []
    with contextlib.suppress(StoreNotMade), opened(store) as session:
        found = against(session, found)
        if not no_replay:
            reports = replay.replay_of(session, found, since)
    if as_json:
        replays = [] if no_replay else [replay.report_record(report) for report in reports]
        print_json({**plan_record(found), "replay": replays})
    else:
        show_plan(found)
        replay.show_reports(reports)
        if tests:
            say(f"{tests} policy tests passed" if tests > 1 else "1 policy test passed")
        if found.changes:
            say("")
            say(f"apply it with `aegis apply {directory}`")
    replay.refuse_new_denials(reports, 0 if fail_on_new_denials else max_new_denials)
    refuse_untried(found)
    if detailed and found.is_new:
        raise typer.Exit(CHANGES)


def apply(
    directory: DirArgument,
    note: NoteOption = "",
    store: StoreOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before applying.")] = False,
    canary: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Only for a share of agents, as in 10%.", show_default=False),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(metavar="ID,ID", help="Only for these agents, as a canary.", show_default=False),
    ] = None,
    stays: Annotated[
        bool,
        typer.Option("--no-roll-back", help="What it refuses is meant: never take it back by itself."),
    ] = False,
    emergency: EmergencyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put a configuration in force: all of it as one version, or nothing.

    The very next call is decided by it, on every replica. Applying what is in force already changes nothing. What
    widens where `changes: {four_eyes: true}` is set is proposed, and put in force when a second person approves it.

    As a canary it decides for some agents only, on the same balances, each side by its own limits. `aegis canary`
    compares the two; the same directory with a greater share widens it.
    """
    from aegis_gateway.entrypoints.cli.canary import share_given, wanted

    check_emergency(emergency, note)
    trial = wanted(share_given(canary), agents)
    found = checked(directory)  # before a store is made for it
    refused_by_tests(found)
    with opened(store, writable=True) as session:
        found = against(session, found)
        if not as_json:
            show_plan(found)
        if not emergency:
            refuse_untried(found)
        if found.is_new and not yes:
            ask(
                f"apply {found.directory}?",
                "`aegis plan` shows what would change, --yes applies it without a question",
            )
        done = put_in_force(session, found, note, canary=trial, stays=stays, is_emergency=emergency)
    how = "is in force" if trial is None else "is a canary; `aegis canary` says how it fares"
    tell_applied(done, found, as_json=as_json, words=how)


def check_emergency(emergency: bool, note: str) -> None:
    """Refuse an emergency without a reason."""
    if emergency and not note:
        raise typer.BadParameter(
            "an emergency needs its reason; write it with --note", param_hint="--emergency"
        )


def checked(directory: Path) -> Plan:
    """Check a directory. The plan is that of a store where nothing is in force yet.

    Raises:
        ConfigurationError: something is wrong with it; `problems` has all of it.
    """
    from aegis_gateway import bootstrap
    from aegis_gateway.configuration.read import read_directory

    try:
        files = read_directory(directory)
        new = bootstrap.configuration(files)
        problems = bootstrap.lint(new)
        if problems:
            raise ConfigurationError(problems=problems)
    except ConfigurationError as fault:
        raise placed(fault, directory) from None
    bare = Plan(directory=directory, files=files, new=new, current=None, changes=(), warnings=())
    return _compared(bare, None, None)


def placed(fault: ConfigurationError, directory: Path) -> ConfigurationError:
    """A fault with its files as seen from where the command was run, so that a terminal or an editor can jump there."""
    problems = [msgspec.structs.replace(each, file=str(directory / each.file)) for each in fault.problems]
    return ConfigurationError("" if problems else str(fault), problems=tuple(problems))


def refused_by_tests(found: Plan) -> int:
    """Run the tests of a plan's policies; returns how many there are.

    Raises:
        ConfigurationError: some failed, and so the plan can't be applied; or they can't be run.
    """
    from aegis_gateway.entrypoints.cli.policy_test import run_tests

    outcomes = run_tests(found)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        told = "\n".join(
            f"{found.directory / each.test.file}:{each.test.line}: test `{each.test.name}` expects "
            f"{each.expected}, and decided is {each.decided}"
            for each in failed
        )
        raise ConfigurationError(f"{told}\n`aegis test {found.directory}` tells more of them")
    return len(outcomes)


def against(session: Session, found: Plan) -> Plan:
    """The plan, compared with what is in force.

    Raises:
        ConfigurationError: imported agents would be left without their team, project or budget.
    """
    _check_imported(session, found)
    found = msgspec.structs.replace(found, appraisal=session.appraisal(found.new))
    if session.state.config is None:
        return found
    ended = ended_limits(session, found.new.registries)
    found = msgspec.structs.replace(found, untried=session.untried(found.new), ended=ended)
    return _compared(found, session.configuration, session.state.config)


def refuse_untried(found: Plan) -> None:
    """Refuse to let act what hasn't been in shadow for as long as its tenant demands.

    Raises:
        typer.Exit: it has not.
    """
    for each in found.untried:
        period = duration_text(each.period_ns)
        been = "it wasn't" if each.since_ns is None else f"it is since {utc(each.since_ns)}"
        say(
            Text.assemble(
                ("refused: ", "red"),
                f"{each.tenant}: {each.rule} would act, and has to be in shadow for {period} before, as it is; {been}; "
                "apply it in shadow first, one that changes under another id beside the old one",
            )
        )
    if found.untried:
        raise typer.Exit(REFUSED)


def put_in_force(
    session: Session,
    found: Plan,
    note: str = "",
    back_to: int | None = None,
    *,
    canary: Canary | None = None,
    ends: int | None = None,
    stays: bool = False,
    is_emergency: bool = False,
    approves: int | None = None,
) -> ConfigVersion | Proposal:
    """Apply a plan, or propose it; one that changes nothing leaves the version as it is.

    `ends` is the canary that it ends; if it `stays` it is not taken back by itself.
    """
    return session.administration().apply(
        found.files,
        found.new.registries,
        appraisal=found.appraisal,
        note=note,
        back_to=back_to,
        watch=None if stays else found.new.watch or session.watch,
        canary=canary,
        ends=ends,
        seeding=session.seeding(found.new.registries),
        is_emergency=is_emergency,
        approves=approves,
        bounds={name: owners_bound(registry) for name, registry in found.new.registries.items()},
    )


def tell_applied(done: ConfigVersion | Proposal, found: Plan, *, as_json: bool, words: str) -> None:
    """Say what became of a plan; `words` go on after the version."""
    if isinstance(done, Proposal):
        tell_proposed(done, found, as_json=as_json)
    elif as_json:
        print_json({**plan_record(found), "version": done.version, "back_to": done.back_to, "proposal": None})
    elif found.current is None or done.version != found.current.version:
        say("")
        say(Text(f"configuration {done.version} {words}", style=STRONG))
        if done.watch is not None:
            say("it is taken back by itself if refusals or errors go up too far; --no-roll-back keeps it")


def tell_proposed(done: Proposal, found: Plan, *, as_json: bool) -> None:
    """Say that a second person is needed, and end with an exit code that tells it from what is in force.

    Raises:
        typer.Exit: always.
    """
    if as_json:
        print_json({**plan_record(found), "version": None, "proposal": done.number})
    else:
        say("")
        say(Text(f"proposal {done.number} is made; nothing is changed yet", style=STRONG))
        say(f"it wants a second person's word: `aegis proposals approve {done.number}`")
    raise typer.Exit(PROPOSED)


def show_plan(found: Plan) -> None:
    """Say what would change, grouped by tenant, and what may not be meant."""
    console = out()
    tenant: str | None = ""
    for change in found.changes:
        if change.tenant != tenant:
            tenant = change.tenant
            console.print(Text(tenant or "all tenants", style=STRONG))
        console.print(_change_text(change, console))
    if found.changes:
        console.print(Text(found.summary, style=STRONG))
    elif found.is_new:
        console.print("nothing that decides would change, only the files' texts")
    else:
        version = found.current.version if found.current else 0
        console.print(f"nothing to do: configuration {version} is in force and the same")
    show_ended(found.ended)
    show_risk(found.appraisal)
    show_warnings(found)


def show_risk(appraisal: Appraisal) -> None:
    """Say what widens, and where that wants a second person."""
    risk = appraisal.risk
    console = out()
    if risk.level != "neutral":
        console.print(Text(f"risk: {risk.level}", style=WARNING if risk.level == "widening" else GOOD))
    several = len(risk.tenants) > 1
    for finding in risk.findings:
        if finding.direction == "widening":
            where = f"{finding.tenant}: " if several else ""
            console.print(Text.assemble(("  ! ", WARNING), f"{where}{finding}"))
    if appraisal.asking:
        say(f"four eyes: this wants a second person's word in {', '.join(appraisal.asking)}")


def show_warnings(found: Plan) -> None:
    """Say what is allowed and may still not be meant."""
    for warning in found.warnings:
        say(Text.assemble(("warning: ", WARNING), warning))


def _change_text(change: Change, console: Console) -> Text:
    """One change; in a terminal a long line goes on below its own beginning."""
    text = Text(change.what)
    if change.fields and change.kind == "changed":
        text.append(": " + ", ".join(map(str, change.fields)))
    elif change.fields:
        text.append("  " + ", ".join(f"{field.name} {field.new}" for field in change.fields), style=DIM)
    lines = list(text.wrap(console, max(20, console.width - 4))) if console.is_terminal else [text]
    for line in lines:
        line.rstrip()
    return Text.assemble("  ", _SIGNS[change.kind], " ", Text("\n    ").join(lines))


def _compared(found: Plan, old: Configuration | None, current: ConfigVersion | None) -> Plan:
    from aegis_gateway.configuration.difference import difference, obstacles, warnings

    in_the_way = obstacles(old, found.new)
    if in_the_way:
        raise ConfigurationError("\n".join(in_the_way))
    return msgspec.structs.replace(
        found,
        current=current,
        changes=tuple(difference(old, found.new)),
        warnings=tuple(warnings(old, found.new)),
    )


def _check_imported(session: Session, found: Plan) -> None:
    """Refuse what would leave imported agents without their team, project or budget, or an owner with too many."""
    words = [
        f"{tenant}: {mistake}"
        for tenant, registry in sorted(found.new.registries.items())
        for mistake in left_without(registry, session.imported(tenant).values())
    ]
    if words:
        raise ConfigurationError("\n".join(words))
    for tenant, registry in sorted(found.new.registries.items()):
        owners_bound(registry)(session.imported(tenant))


def ask(question: str, unasked: str) -> None:
    """Ask before something is put in force; `unasked` says how to do it where there is nobody to ask.

    Raises:
        ConfigurationError: there is nobody to ask.
        typer.Exit: the answer is no.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(f"there is nobody to ask; {unasked}")
    say("")
    if not typer.confirm(question, err=True):
        say("nothing was changed")
        raise typer.Exit(1)


def plan_record(found: Plan) -> dict[str, object]:
    """A plan for programs."""
    return {
        "directory": str(found.directory),
        "current_version": found.current.version if found.current else None,
        "is_new": found.is_new,
        "changes": [
            {
                "kind": change.kind,
                "tenant": change.tenant,
                "what": change.what,
                "fields": [{"name": each.name, "old": each.old, "new": each.new} for each in change.fields],
            }
            for change in found.changes
        ],
        "risk": risk_record(found.appraisal),
        "untried": [
            {
                "tenant": each.tenant,
                "rule": each.rule,
                "in_shadow_since": each.since_ns and utc(each.since_ns),
            }
            for each in found.untried
        ],
        "ended_limits": [msgspec.to_builtins(each) for each in found.ended],
        "warnings": list(found.warnings),
    }


def risk_record(appraisal: Appraisal) -> dict[str, object]:
    """What a change widens and narrows, for programs."""
    return {
        "level": appraisal.risk.level,
        "needs_two": list(appraisal.asking),
        "findings": [
            {"tenant": each.tenant, "what": each.what, "direction": each.direction, "reason": each.reason}
            for each in appraisal.risk.findings
        ],
    }
