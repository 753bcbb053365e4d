"""`aegis call`: one call in full: who, what, why, at which price, held where, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_text
from aegis_gateway.entrypoints.call_account import (
    CallAccount,
    Charge,
    Held,
    charges,
    facts,
    held,
    read_account,
    reasons,
    steps,
    sums,
    trace_link,
)
from aegis_gateway.entrypoints.cli.calls import call_record
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    Column,
    Row,
    ago,
    at_decimal_point,
    effect_text,
    out,
    print_json,
    state_text,
    table,
    utc,
    window_text,
)
from aegis_gateway.entrypoints.cli.session import opened


def call(
    call_id: Annotated[
        str,
        typer.Argument(metavar="CALL", help="Its id, as `Aegis-Decision-Id` says it.", show_default=False),
    ],
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain one call: who made it, what was asked for, why it was decided so, what it came to.

    Everything is read from the record. Attempts that a client's library made before or after by itself are listed.
    """
    with opened(store) as session:
        name = session.tenant(tenant)
        account = read_account(session.reports, name, call_id)
        now_ns, template = session.clock.now_ns(), session.settings.trace_url
    if account is None:
        raise ConfigurationError(f"there is no call `{call_id}`; `aegis calls` lists them")
    found = account.call
    link = trace_link(found, template)
    if as_json:
        print_json(
            {
                "tenant": name,
                **call_record(found),
                **({} if link is None else {"trace_url": link}),
                "entries": [record for _, record in account.entries],
                "attempts": [each.call for each in account.attempts],
            }
        )
        return
    parts: list[Text] = [
        Text.assemble((found.call, STRONG), "  ", effect_text(found.effect), "  ", state_text(found.state)),
        *(Text(f"because {reason}") for reason in reasons(account)),
        Text(""),
        *(Text.assemble((f"{title:<10}", DIM), text) for title, text in facts(account).items()),
        *([] if link is None else [Text.assemble((f"{'shown at':<10}", DIM), link)]),
        Text(""),
        *_money(account),
        *_timeline(account, now_ns),
        *_attempts(account),
    ]
    out().print(Group(*parts))


def _money(account: CallAccount) -> Iterator[Text]:
    for title, figure, words in sums(account):
        yield Text.assemble((f"{title:<10}", DIM), (figure, STRONG), words)
    yield Text("")
    lines, legs = charges(account), held(account)
    if lines:
        yield _charges(lines)
        yield Text("")
    if legs:
        yield _legs(legs)
        yield Text("")


def _charges(lines: Sequence[Charge]) -> Text:
    costs = at_decimal_point([usd_text(line.nano_usd) for line in lines])
    rows = [
        Row(
            cells=(
                line.kind,
                f"{line.quantity:,}",
                line.unit,
                f"{usd_text(line.price_nano_usd)} each {line.per:,}",
                costs[place],
            )
        )
        for place, line in enumerate(lines)
    ]
    columns = [
        Column(name="charge"),
        Column(name="", right=True),
        Column(name="unit"),
        Column(name="price", right=True),
        Column(name="cost", right=True),
    ]
    return table(columns, rows, out())


def _legs(legs: Sequence[Held]) -> Text:
    reserved = at_decimal_point([leg.reserved for leg in legs])
    settled = at_decimal_point([leg.settled or "" for leg in legs])
    rows = [
        Row(
            cells=(
                f"{leg.budget} {leg.scope}".rstrip(),
                window_text(leg.window),
                reserved[place],
                settled[place],
            )
        )
        for place, leg in enumerate(legs)
    ]
    columns = [
        Column(name="budget", flexible=True),
        Column(name="window"),
        Column(name="reserved", right=True),
        Column(name="settled", right=True),
    ]
    return table(columns, rows, out())


def _timeline(account: CallAccount, now_ns: int) -> Iterator[Text]:
    for step in steps(account):
        after = "" if step.after_ns is None else f"  +{step.after_ns / 1e9:.3f} s"
        why = f"  {step.reason}" if step.reason else ""
        when = f"{utc(step.at_ns)}  {ago(step.at_ns, now_ns)}"
        yield Text.assemble(
            (f"{step.title:<10}", DIM), f"{when}{after}{why}", (f"  entry {step.sequence}", DIM)
        )


def _attempts(account: CallAccount) -> Iterator[Text]:
    if len(account.attempts) > 1:
        yield Text("")
        yield Text("the same request, tried by the client itself:")
        for each in account.attempts:
            mark = " (this one)" if each.call == account.call.call else ""
            yield Text.assemble(f"  {utc(each.decided_ns)}  {each.call}{mark}  ", state_text(each.state))
