"""`aegis approvals …`: what waits for a person's word: see, grant, refuse."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.attendance import read_attendance
from aegis_gateway.application.approvals import UNATTENDED
from aegis_gateway.domain.approval import Approval, ApprovalAnswer, ApprovalState
from aegis_gateway.domain.deputies import is_unattended, missing
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_text
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption, one_line
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

_STYLES: dict[ApprovalState, str] = {
    "waiting": WARNING,
    "granted": GOOD,
    "used": GOOD,
    "refused": WARNING,
    "expired": DIM,
    "withdrawn": DIM,
    "lapsed": DIM,
}

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The approval's id, `apr_…`.", show_default=False)
]
TogetherOption = Annotated[
    bool,
    typer.Option("--together", help="Also all that were told under the same notice; they are shown."),
]

app = typer.Typer(
    name="approvals",
    help="What waits for a person's word: see, grant, refuse.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def approvals(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that don't wait any more.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many at most.")] = 20,
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits for a person's word, the newest first."""
    if context.invoked_subcommand is not None:
        return
    with opened(store) as session:
        name = session.tenant(tenant)
        found = ApprovalReports(session.store.rows).approvals(name, limit, None if every else "waiting")
        now_ns = session.clock.now_ns()
    if as_json:
        print_json({"tenant": name, "approvals": [approval_record(each) for each in found]})
        return
    if not found:
        say("nothing was asked yet" if every else "nothing waits; --all lists what was decided")
        return
    columns = [
        Column(name="approval"),
        Column(name="state"),
        Column(name="by", flexible=True),
        Column(name="about", flexible=True),
        Column(name="moves", right=True),
        Column(name="costs at most", right=True),
        Column(name="asked", right=True),
        Column(name="why", flexible=True),
    ]
    rows = [
        Row(
            cells=(
                Text(each.id, style=STRONG),
                Text(each.state, style=_STYLES[each.state]),
                each.requester,
                each.about,
                str(each.facts.get("moves", "")),
                "" if each.maximum_nano_usd is None else usd_text(each.maximum_nano_usd),
                ago(each.created_ns, now_ns),
                "; ".join(_reasons(each)),
            )
        )
        for each in found
    ]
    console = out()
    console.print(table(columns, rows, console))


@app.command("show")
def show(approval_id: IdArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show one in full: who asks for what, at which cost, what is left, who is asked, who answered."""
    with opened(store) as session:
        approval = _found(session, approval_id)
        attendance = read_attendance(session.store, session.store.clock_ns())
    away = missing(approval, attendance) if approval.state == "waiting" else ()
    unattended = UNATTENDED if away and is_unattended(approval, attendance) else ""
    if as_json:
        told: dict[str, object] = {
            "away": [
                {"person": each.person, "until": utc(each.until_ns), "deputy": each.deputy} for each in away
            ],
            "unattended": bool(unattended),
        }
        print_json({**approval_record(approval), **told})
        return
    console = out()
    console.print(
        Text.assemble(
            (approval.id, STRONG), "  ", (approval.state, _STYLES[approval.state]), "  ", approval.kind
        )
    )
    match approval.kind:
        case "increase":
            lines = _lines_of_ask(approval)
        case "limit":
            lines = _lines_of_limit(approval)
        case _:
            lines = lines_of(approval)
    lines += [("away", str(each)) for each in away]
    lines += [("attention", f"{unattended}: nobody can grant it as it stands")] if unattended else []
    for title, text in lines:
        if text:
            console.print(Text.assemble((f"{title:<10}", DIM), " ".join(text.split())))


@app.command("grant")
def grant(
    approval_id: IdArgument,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; it is recorded.", callback=one_line, show_default=False)
    ] = "",
    together: TogetherOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask whether those together are meant.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Agree: exactly what was asked about may then be done once, in the time that it is good for.

    Exit code 3 says that it is not yours to answer, or is decided or over.
    """
    with opened(store, writable=True) as session:
        approval = _found(session, approval_id)
        others = _others(session, approval) if together else ()
        if others and not yes:
            typer.confirm("Agree to these as well?", abort=True, err=True)
        done = session.approvals(approval.tenant, approval.id).grant(
            approval.tenant, approval.id, reason, others=others
        )
    _tell(done, as_json=as_json)


@app.command("refuse")
def refuse(
    approval_id: IdArgument,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; it is recorded.", callback=one_line, show_default=False)
    ],
    together: TogetherOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say no. Whoever repeats the call until its time is over is told so, and why."""
    with opened(store, writable=True) as session:
        approval = _found(session, approval_id)
        others = _others(session, approval) if together else ()
        done = session.approvals(approval.tenant, approval.id).refuse(
            approval.tenant, approval.id, reason, others=others
        )
    _tell(done, as_json=as_json)


def _others(session: Session, approval: Approval) -> tuple[str, ...]:
    """Those that are told together with one, which are shown: nobody agrees to what they haven't seen."""
    found = [
        each for each in ApprovalReports(session.store.rows).together_with(approval) if each.id != approval.id
    ]
    for each in found:
        arguments = each.facts.get("arguments")
        given = arguments.items() if isinstance(arguments, dict) else ()
        shown = (" ".join(f"{name} {value}".split()) for name, value in given)
        say(Text.assemble((each.id, STRONG), "  ", " · ".join(shown)))
    return tuple(each.id for each in found)


def _found(session: Session, approval_id: str) -> Approval:
    reports = ApprovalReports(session.store.rows)
    tenant = reports.tenant(approval_id)
    found = reports.approval(tenant, approval_id) if tenant is not None else None
    if found is None:
        raise ConfigurationError(f"there is no approval `{approval_id}`; `aegis approvals --all` lists them")
    return found


def _tell(approval: Approval, *, as_json: bool) -> None:
    if as_json:
        print_json(approval_record(approval))
        return
    words: dict[str, str] = {
        "waiting": "still waits for others",
        "granted": f"is granted, and may be used until {utc(approval.valid_until_ns or 0)}",
        "used": "is granted and done",
    }
    told = words.get(approval.state, f"is {approval.state}")
    out().print(Text.assemble((approval.id, STRONG), " ", (told, _STYLES[approval.state])))


def _reasons(approval: Approval) -> list[str]:
    """Why a word is wanted: what policies say, or whoever asks for more."""
    found: Any = approval.facts.get("policies", [])
    why = approval.facts.get("why")
    return [str(each["words"]) for each in found] + ([str(why)] if why else [])


def lines_of(approval: Approval) -> list[tuple[str, str]]:
    """A request in full, line by line: a title and what there is to say."""
    facts: dict[str, Any] = approval.facts
    arguments = [f"{name} {value}" for name, value in facts.get("arguments", {}).items()]
    changed = [f"{name} {each['was']} → {each['is']}" for name, each in facts.get("changed", {}).items()]
    budgets = ", ".join(
        f"{each['budget']} {usd_text(int(each['left']))} of {usd_text(int(each['limit']))}"
        for each in facts.get("budgets", [])
        if each["quantity"] == "usd"
    )
    most = approval.maximum_nano_usd
    return [
        ("by", f"{approval.requester}, {facts.get('team', '')}, for: {facts.get('purpose', '')}"),
        ("about", approval.about),
        *_one_a_line("arguments", arguments),
        *_one_a_line("changed", changed),
        ("moves", str(facts.get("moves", ""))),
        ("costs", "nobody knows how much" if most is None else f"at most {usd_text(most)}"),
        ("left", budgets),
        ("because", "; ".join(_reasons(approval))),
        ("risk", "; ".join(map(str, facts.get("risk", [])))),
        *_how_it_goes_on(approval),
    ]


def _lines_of_ask(approval: Approval) -> list[tuple[str, str]]:
    """A request for more of a budget."""
    facts = approval.facts
    until = f"until {utc(int(str(facts['until_ns'])))}" if "until_ns" in facts else facts["until"]
    stands = (f"{facts[name]} {name}" for name in ("spent", "reserved", "left") if name in facts)
    return [
        ("by", approval.requester),
        ("about", f"budget {approval.about} of {facts['owner']}"),
        ("more", f"{facts['amount']}, {until}"),
        ("limit", ", ".join((str(facts["limit"]), *stands))),
        ("forecast", str(facts.get("forecast", ""))),
        ("because", str(facts["why"])),
        *_how_it_goes_on(approval),
    ]


def _lines_of_limit(approval: Approval) -> list[tuple[str, str]]:
    """A proposed limit of a budget that follows use."""
    facts: dict[str, Any] = approval.facts
    return [
        ("by", approval.requester),
        ("about", f"budget {facts['budget']} of {facts['owner']}"),
        ("limit", f"{facts['limit']} → {facts['proposed']}, in turn {facts['turn']}"),
        ("because", str(facts["why"])),
        ("used", ", ".join(map(str, facts["used"]))),
        *_how_it_goes_on(approval),
    ]


def _how_it_goes_on(approval: Approval) -> list[tuple[str, str]]:
    """Who is asked until when, and what they said."""
    return [
        ("asked", f"{', '.join(each.name for each in approval.route.asked(approval.level))}"),
        ("until", utc(approval.deadline_ns) if approval.state == "waiting" else ""),
        ("use until", _use_until(approval)),
        ("used by", approval.used_by or ""),
        *(
            ("answer", f"{_who(each)}: {each.kind}{f', {each.reason}' if each.reason else ''} ({each.via})")
            for each in approval.answers
        ),
    ]


def _one_a_line(title: str, texts: list[str]) -> list[tuple[str, str]]:
    """Each on a line of its own: what an agent writes in one of them can't pass for another."""
    return [(title if number == 0 else "", " ".join(text.split())) for number, text in enumerate(texts)]


def _who(answer: ApprovalAnswer) -> str:
    return f"{answer.by}, for {' and '.join(answer.in_stead_of)}" if answer.in_stead_of else answer.by


def _use_until(approval: Approval) -> str:
    """Until when a grant may be used; what isn't a call's is in force with the grant."""
    valid_until_ns = approval.valid_until_ns
    return utc(valid_until_ns) if valid_until_ns is not None and approval.kind == "call" else ""


def approval_record(approval: Approval) -> dict[str, object]:
    """A request as `--json` prints it."""
    return {
        "id": approval.id,
        "tenant": approval.tenant,
        "kind": approval.kind,
        "state": approval.state,
        "requester": approval.requester,
        "about": approval.about,
        "policies": list(approval.policies),
        "policy_version": approval.policy_version,
        "expected_nano_usd": approval.expected_nano_usd,
        "maximum_nano_usd": approval.maximum_nano_usd,
        "facts": approval.facts,
        "asked": [group.name for group in approval.route.asked(approval.level)],
        "level": approval.level,
        "group": approval.group or None,
        "created": utc(approval.created_ns),
        "deadline": utc(approval.deadline_ns),
        "valid_until": None if approval.valid_until_ns is None else utc(approval.valid_until_ns),
        "used_by": approval.used_by,
        "answers": [
            {
                "answer": each.kind,
                "by": each.by,
                "in_stead_of": list(each.in_stead_of),
                "at": utc(each.at_ns),
                "reason": each.reason,
                "via": each.via,
            }
            for each in approval.answers
        ],
    }
