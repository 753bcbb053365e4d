"""`aegis proposals …`: what one person wants to change and another has to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.configuration.load import Configuration
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.proposal import WAITING, Proposal
from aegis_gateway.entrypoints.cli.configuration import (
    NoteOption,
    Plan,
    against,
    ask,
    plan_record,
    put_in_force,
    show_plan,
    tell_applied,
)
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, one_line
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    GOOD,
    STRONG,
    WARNING,
    Column,
    Row,
    ago,
    out,
    print_json,
    say,
    table,
    utc,
)
from aegis_gateway.entrypoints.cli.session import Session, opened

_STYLES = {"open": WARNING, "unreviewed": WARNING, "approved": GOOD, "reviewed": GOOD, "refused": DIM}
_WORDS = {"unreviewed": "emergency, unreviewed", "reviewed": "emergency, reviewed"}

NumberArgument = Annotated[
    int, typer.Argument(min=1, metavar="N", help="The proposal's number.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before.")]

app = typer.Typer(
    name="proposals",
    help="Changes that want a second person's word: see, approve, refuse, review.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def proposals(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that were answered.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many at most.")] = 20,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits for a second person: proposals, and emergencies that nobody else has looked at yet."""
    if context.invoked_subcommand is not None:
        return
    with opened(store) as session:
        found = session.reports.proposals(limit, only_waiting=not every)
        current = _current(session)
        now_ns = session.clock.now_ns()
    if as_json:
        print_json({"proposals": [_record(each, current) for each in found]})
        return
    if not found:
        say(
            "no proposals yet"
            if every
            else "nothing waits for a second person; --all lists what was answered"
        )
        return
    columns = [
        Column(name="", right=True),
        Column(name="state"),
        Column(name="by", flexible=True),
        Column(name="", right=True),
        Column(name="on", right=True),
        Column(name="widens", flexible=True),
        Column(name="why", flexible=True),
    ]
    rows = [
        Row(
            cells=(
                Text(str(each.number), style=STRONG),
                Text(_state(each, current), style=_STYLES[each.state]),
                _who(each),
                ago(each.proposed_ns, now_ns),
                str(each.based_on),
                "; ".join(each.reasons),
                each.note,
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command("show")
def show(number: NumberArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show a proposal in full: who, why, what it would change and what that widens."""
    with opened(store) as session:
        proposal = _proposal(session, number)
        current = _current(session)
        found = proposal_plan(session, proposal) if proposal.state == "open" else None
    if as_json:
        changes = plan_record(found) if found is not None else {}
        print_json({**changes, **_record(proposal, current), "files": proposal.files})
        return
    _show_head(proposal, current)
    if found is not None:
        show_plan(found)
    else:
        for reason in proposal.reasons:
            out().print(Text.assemble(("  ! ", WARNING), reason))


@app.command("approve")
def approve(
    number: NumberArgument,
    note: NoteOption = "",
    store: StoreOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put in force exactly what somebody else proposed, if what it was based on still is.

    Needs the role admin or approver, and a token that its author has not seen. Exit code 3 says that it is not yours to
    approve, or was answered already.
    """
    with opened(store, writable=True) as session:
        proposal = _proposal(session, number)
        found = proposal_plan(session, proposal)
        if not as_json:
            _show_head(proposal, _current(session))
            show_plan(found)
        if not yes:
            ask(f"approve proposal {number}?", f"`aegis proposals show {number}` shows it, --yes approves it")
        done = approve_proposal(session, proposal, found, note)
    words = "is in force" if proposal.manner.canary is None else "is a canary"
    tell_applied(done, found, as_json=as_json, words=f"{words}; it is proposal {number} of {proposal.author}")


@app.command("refuse")
def refuse(
    number: NumberArgument,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; it is recorded.", callback=one_line, show_default=False)
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say no to what somebody else proposed."""
    with opened(store, writable=True) as session:
        refused = session.proposals().refuse(number, reason)
        _tell(refused, _current(session), as_json=as_json)


@app.command("review")
def review(
    number: NumberArgument, note: NoteOption, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Say that you have looked at what somebody else put in force as an emergency. Nothing is changed by it."""
    with opened(store, writable=True) as session:
        reviewed = session.proposals().review(number, note)
        _tell(reviewed, _current(session), as_json=as_json)


def _proposal(session: Session, number: int) -> Proposal:
    found = session.reports.proposal(number)
    if found is None:
        raise ConfigurationError(f"there is no proposal `{number}`; `aegis proposals` lists them")
    return found


def proposal_plan(session: Session, proposal: Proposal) -> Plan:
    """What a proposal would change in what is in force now.

    Raises:
        ConfigurationError: its files can't be in force any more.
        VersionForged: what is in force is not as it was signed.
    """
    from aegis_gateway import bootstrap

    new: Configuration = bootstrap.configuration(proposal.files)
    directory = Path(f"proposal {proposal.number}")
    bare = Plan(directory=directory, files=proposal.files, new=new, current=None, changes=(), warnings=())
    return against(session, bare)


def approve_proposal(
    session: Session, proposal: Proposal, found: Plan, note: str
) -> ConfigVersion | Proposal:
    """Put in force what a proposal says, as its plan.

    Raises:
        ConfigurationError: it was based on what is not in force any more, or nothing can be signed here.
        NotPermitted: it is not open, or who approves may not, or its author may not any more.
    """
    how = proposal.manner
    return put_in_force(
        session,
        found,
        note,
        how.back_to,
        canary=how.canary,
        ends=how.ends,
        stays=how.stays,
        approves=proposal.number,
    )


def _current(session: Session) -> int:
    newest = session.state.canary or session.state.config
    return newest.version if newest is not None else 0


def _state(proposal: Proposal, current: int) -> str:
    if proposal.state == "open" and proposal.based_on != current:
        return "open, but overtaken"
    return _WORDS.get(proposal.state, proposal.state)


def _who(proposal: Proposal) -> str:
    return proposal.author if proposal.answer is None else f"{proposal.author} + {proposal.answer.by}"


def _show_head(proposal: Proposal, current: int) -> None:
    console = out()
    console.print(
        Text.assemble(
            (f"proposal {proposal.number}", STRONG),
            f", {_state(proposal, current)}: {_who(proposal)}, {utc(proposal.proposed_ns)}",
        )
    )
    if proposal.note:
        console.print(Text.assemble(("why       ", DIM), proposal.note))
    if proposal.answer is not None and proposal.answer.note:
        console.print(Text.assemble(("answer    ", DIM), proposal.answer.note))
    console.print(Text.assemble(("based on  ", DIM), f"configuration {proposal.based_on}"))
    if proposal.state == "open" and proposal.based_on != current:
        say(
            f"configuration {current} is in force by now, so it can't be approved; it has to be proposed anew"
        )


def _tell(proposal: Proposal, current: int, *, as_json: bool) -> None:
    if as_json:
        print_json(_record(proposal, current))
        return
    out().print(Text.assemble(f"proposal {proposal.number} is ", (proposal.state, STRONG)))


def _record(proposal: Proposal, current: int) -> dict[str, object]:
    answer = proposal.answer
    return {
        "proposal": proposal.number,
        "state": proposal.state,
        "waits": proposal.state in WAITING,
        "author": proposal.author,
        "proposed": utc(proposal.proposed_ns),
        "note": proposal.note,
        "based_on": proposal.based_on,
        "overtaken": proposal.state == "open" and proposal.based_on != current,
        "manner": proposal.manner,
        "tenants": list(proposal.tenants),
        "widens": list(proposal.reasons),
        "files_sha256": proposal.digest,
        "emergency_version": proposal.emergency,
        "answer": None
        if answer is None
        else {
            "kind": answer.kind,
            "by": answer.by,
            "at": utc(answer.at_ns),
            "note": answer.note,
            "version": answer.version,
        },
    }
