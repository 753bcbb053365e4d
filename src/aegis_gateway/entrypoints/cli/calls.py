"""`aegis calls`: what was decided and what it cost; `aegis calls settle`: a person's word where nobody else knows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from aegis_gateway.adapters.reports import OPEN_STATES, CallFilter, CallReport
from aegis_gateway.application.commands import Failed, Moved, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.runs import recorded_run
from aegis_gateway.domain.errors import ConfigurationError, LedgerUnavailable, MoneyError
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice, nano_usd, scaled_integer, usd_text
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.call_account import cost_text
from aegis_gateway.entrypoints.cli import options
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    WARNING,
    Column,
    Row,
    ago,
    at_decimal_point,
    effect_text,
    err,
    out,
    print_json,
    print_json_line,
    say,
    state_text,
    table,
    utc,
    utc_short,
)
from aegis_gateway.entrypoints.cli.session import Session, listed, opened

REFUSED = 3
FOLLOW_INTERVAL_S = 0.5

_EFFECTS = ("allow", "deny", "throttle", "require_approval")
_STATES = ("refused", "reserved", "dispatched", "in_doubt", "settled", "released", "expired")
_REASON_CHARACTERS_MAX = 500
_PERSON = "person"

app = typer.Typer(
    name="calls",
    help="What was decided and what it cost; settle what is in doubt.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def calls(
    context: typer.Context,
    agent: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this agent's.", show_default=False)
    ] = None,
    effect: Annotated[
        str | None, typer.Option(metavar="EFFECT", help=f"One of {', '.join(_EFFECTS)}.", show_default=False)
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help=f"One of {', '.join(_STATES)}.", show_default=False)
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only this run's.", show_default=False)
    ] = None,
    customer: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only those that served this customer.", show_default=False),
    ] = None,
    in_doubt: Annotated[
        bool, typer.Option("--in-doubt", help="Those that were sent and never answered.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="1h, 2026-11-23, 2026-11-23T08:00Z.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come; Ctrl-C ends.")] = False,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """List calls, the newest first; open ones (`--in-doubt`, `--state`) the oldest first."""
    if context.invoked_subcommand is not None:
        return
    _check_choice("--effect", effect, _EFFECTS)
    _check_choice("--state", state, _STATES)
    with opened(store) as session:
        name = session.tenant(tenant)
        now_ns = session.clock.now_ns()
        wanted = CallFilter(
            agent=agent,
            effect=effect,
            state="in_doubt" if in_doubt else state,
            since_ns=None if since is None else options.since_ns(since, now_ns),
            run=run,
            customer=customer,
        )
        sequence = session.reports.last_sequence(name)
        found = session.reports.calls(name, wanted, limit)
        if not follow:
            _show(name, found, wanted, now_ns, limit, as_json=as_json)
            return
        _follow(session, name, wanted, list(reversed(found)), sequence, as_json=as_json)


@app.command("settle")
def settle(
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL", help="Its id, or how the id of one in doubt ends.", show_default=False
        ),
    ],
    cost: Annotated[
        str,
        typer.Option(
            metavar="DOLLARS", help="What it really cost, as in 0.0123; 0 if nothing.", show_default=False
        ),
    ],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="How you know; it is recorded.", show_default=False)
    ],
    count: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUANTITY=NUMBER",
            help="What it really carried of another quantity, as in paid_out=120.00; "
            "what is not named stays at what was reserved. May be repeated.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle a call in doubt at what you know that it cost. Works while a gateway runs.

    A call is in doubt when whoever sent it ended before the answer came. It counts at its maximum until it is
    settled. Exit code 3 says that the call is not in doubt.
    """
    evidence = _evidence(cost, reason)
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        known = _in_doubt(session, name, call)
        actual = _actual(count or [], session.registry(name)) if count else {}
        who = session.operator("settle", name).name
        evidence = msgspec.structs.replace(evidence, actual=actual, actor=who)
        reply = Ledger(session.store).process([Settle(call=known.call, tenant=name, evidence=evidence)])[0]
        if isinstance(reply, Failed):
            raise LedgerUnavailable(reply.message)
        assert isinstance(reply, Moved)
        settled = session.reports.call(name, known.call) or known
    if as_json:
        print_json({"tenant": name, **call_record(settled)})
        return
    before = "" if known.maximum_nano_usd is None else f"; it counted at {usd_text(known.maximum_nano_usd)}"
    price = usd_text(evidence.cost_nano_usd)
    out().print(
        Text.assemble("call ", (known.call, STRONG), f" is settled at {price}, on {who}'s word{before}")
    )
    if settled.overrun:
        say(Text("that is more than was reserved: an overrun, booked as it is", style=WARNING))


def calls_table(found: Sequence[CallReport], console: Console, now_ns: int, *, steady: bool = False) -> Text:
    """Calls, a line for each; why a call was refused stands below it.

    A steady table keeps its columns where they are, whatever is in them, and leaves out how long ago.
    """
    columns = [
        Column(name="UTC", least=9),
        Column(name="", right=True, optional=2),
        Column(name="agent", flexible=True, least=16),
        Column(name="what", flexible=True, least=16),
        Column(name="decision", least=10),
        Column(name="state", optional=1, least=9),
        Column(name="cost", right=True, least=14),
        Column(name="id", optional=3),
    ]
    if not steady:
        columns = [msgspec.structs.replace(column, least=0) for column in columns]
    costs = at_decimal_point([cost_text(each) for each in found])
    rows = [
        Row(
            cells=(
                utc_short(each.decided_ns, now_ns),
                "" if steady else Text(ago(each.decided_ns, now_ns), style=DIM),
                each.agent,
                each.model or each.tool,
                effect_text(each.effect),
                state_text(each.state),
                Text(costs[place], style=DIM if each.state in OPEN_STATES else ""),
                Text(each.call, style=DIM),
            ),
            note=each.reason if each.effect != "allow" else None,
        )
        for place, each in enumerate(found)
    ]
    if steady:
        del columns[1]
        rows = [Row(cells=(row.cells[0], *row.cells[2:]), note=row.note) for row in rows]
    return table(columns, rows, console)


def call_record(each: CallReport) -> dict[str, object]:
    """A call as programs read it."""
    record: dict[str, object] = msgspec.to_builtins(each)
    record["decided"] = utc(each.decided_ns)
    record["settled"] = None if each.settled_ns is None else utc(each.settled_ns)
    for name in ("expected", "maximum", "cost"):
        amount = record[f"{name}_nano_usd"]
        record[name] = usd_text(amount) if isinstance(amount, int) else None
    if each.place is not None:
        record |= {"trace_id": each.place.trace, "span_id": each.place.span}
    run = recorded_run(each.run or "")
    if run.delegators:
        record["root_run"] = run.scope
        record["delegated_by"] = [above.agent for above in run.delegators]
    return record


def _show(
    tenant: str, found: Sequence[CallReport], wanted: CallFilter, now_ns: int, limit: int, *, as_json: bool
) -> None:
    if as_json:
        print_json({"tenant": tenant, "calls": [call_record(each) for each in found]})
        return
    if not found:
        say(_nothing(wanted))
        return
    console = out()
    if wanted.state == "in_doubt":
        console.print(_in_doubt_table(found, console, now_ns))
        say(
            Text(
                "they count at their maximum until `aegis calls settle ID --cost … --reason …`",
                style=DIM,
            )
        )
        return
    console.print(calls_table(found, console, now_ns))
    if len(found) == limit:
        say(Text(f"the first {limit}; --limit shows more", style=DIM))


def _nothing(wanted: CallFilter) -> str:
    if wanted == CallFilter():
        return "no calls yet; `aegis key issue AGENT` makes a key, calls with it appear here"
    if wanted == CallFilter(state="in_doubt"):
        return "no call is in doubt: everything that was sent is accounted for"
    return "no such calls; leave out a filter to see more"


def _in_doubt_table(found: Sequence[CallReport], console: Console, now_ns: int) -> Text:
    columns = [
        Column(name="id"),
        Column(name="UTC", optional=2),
        Column(name="", right=True),
        Column(name="agent", flexible=True),
        Column(name="what", flexible=True, optional=1),
        Column(name="counts at", right=True),
    ]
    counted = at_decimal_point([cost_text(each) for each in found])
    rows = [
        Row(
            cells=(
                Text(each.call, style=STRONG),
                utc_short(each.decided_ns, now_ns),
                Text(ago(each.decided_ns, now_ns), style=DIM),
                each.agent,
                each.model or each.tool,
                counted[place],
            )
        )
        for place, each in enumerate(found)
    ]
    return table(columns, rows, console)


def _follow(
    session: Session,
    tenant: str,
    wanted: CallFilter,
    found: list[CallReport],
    sequence: int,
    *,
    as_json: bool,
) -> None:
    """Print calls as the record tells of them, each time that something became of one."""
    console = out()
    if not as_json:
        err().print(Text("following; Ctrl-C ends", style=DIM))
        console.print(calls_table([], console, 0, steady=True))
    try:
        while True:
            for each in found:
                if as_json:
                    print_json_line(call_record(each))
                else:
                    lines = calls_table([each], console, session.clock.now_ns(), steady=True).split("\n")
                    console.print(Text("\n").join(lines[1:]))
            time.sleep(FOLLOW_INTERVAL_S)
            until = session.reports.last_sequence(tenant)
            news = session.reports.calls_of_entries(tenant, sequence, until) if until > sequence else []
            found = [each for each in news if _fits(each, wanted)]
            sequence = until
    except KeyboardInterrupt:
        return


def _fits(each: CallReport, wanted: CallFilter) -> bool:
    return (
        wanted.agent in (None, each.agent)
        and wanted.effect in (None, each.effect)
        and wanted.state in (None, each.state)
    )


def _in_doubt(session: Session, tenant: str, written: str) -> CallReport:
    """The call in doubt that is meant: by its id, or by how it ends."""
    known = session.reports.call(tenant, written)
    if known is None:
        doubtful = session.reports.calls(tenant, CallFilter(state="in_doubt"), 10_000)
        ending = [each for each in doubtful if each.call.endswith(written.lstrip("…"))]
        if len(ending) > 1:
            raise ConfigurationError(
                f"{len(ending)} calls in doubt end so: {listed([each.call for each in ending])}"
            )
        if not ending:
            raise ConfigurationError(
                f"there is no call `{written}`; `aegis calls --in-doubt` lists those to settle"
            )
        known = ending[0]
    if known.state == "in_doubt":
        return known
    words = {
        "refused": "was refused: it was never sent, and cost nothing",
        "reserved": "was not sent yet",
        "dispatched": "is under way; if its gateway is gone, the next one to start puts it in doubt",
        "settled": f"is settled already, at {usd_text(known.cost_nano_usd or 0)}",
        "released": "was released: it was never sent, and cost nothing",
        "expired": "ran out before it was sent, and cost nothing",
    }[known.state]
    say(Text.assemble(("refused: ", "red"), f"call `{known.call}` {words}"))
    raise typer.Exit(REFUSED)


def _evidence(cost: str, reason: str) -> Evidence:
    """A person's word as evidence: the cost as one line of its own, and who says so."""
    try:
        amount = nano_usd(cost.strip().removeprefix("$"))
    except MoneyError as fault:
        raise typer.BadParameter(str(fault), param_hint="--cost") from None
    if amount < 0:
        raise typer.BadParameter("a cost is 0 or more, in dollars, as in 0.0123", param_hint="--cost")
    words = " ".join(reason.split())
    if not words or len(words) > _REASON_CHARACTERS_MAX:
        raise typer.BadParameter(
            f"say in up to {_REASON_CHARACTERS_MAX} characters how you know what it cost",
            param_hint="--reason",
        )
    line = charge_line(_PERSON, 1, "call", UnitPrice(nano_usd=amount), _PERSON)
    return Evidence(source="person", lines=(line,) if amount else (), note=words)


def _actual(counts: Sequence[str], registry: Registry) -> dict[str, int]:
    """What a call really carried of other quantities, in smallest units."""
    actual = {}
    for each in counts:
        name, equals, number = each.partition("=")
        quantity = registry.quantities.get(name)
        if not equals or quantity is None or name == "usd":
            known = listed(sorted(set(registry.quantities) - {"usd"}))
            message = f"`{each}` names no quantity; write one of {known}, as in tokens=1200"
            raise typer.BadParameter(message, param_hint="--count")
        try:
            actual[name] = scaled_integer(number, quantity.scale)
        except MoneyError as fault:
            raise typer.BadParameter(str(fault), param_hint="--count") from None
        if actual[name] < 0:
            raise typer.BadParameter(f"`{each}` is below 0", param_hint="--count")
    return actual


def _check_choice(option: str, given: str | None, known: Sequence[str]) -> None:
    if given is not None and given not in known:
        raise typer.BadParameter(f"`{given}` is none; write one of {', '.join(known)}", param_hint=option)
