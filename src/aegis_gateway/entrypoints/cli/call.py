"""`aegis call`: one call in full: who, what, why, at which price, held where, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group
from rich.text import Text

from aegis_gateway.adapters.reports import CallReport, EntryReport
from aegis_gateway.application.runs import recorded_run
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.redaction import told
from aegis_gateway.domain.shadow_rules import WOULD
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

_TITLES = {
    "decision": "decided",
    "dispatch": "sent",
    "settlement": "settled",
    "release": "given back",
    "expire": "ran out",
    "doubt": "in doubt",
}

Record = Mapping[str, Any]


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
        found = session.reports.call(name, call_id)
        if found is None:
            raise ConfigurationError(f"there is no call `{call_id}`; `aegis calls` lists them")
        entries = session.reports.entries_of_call(name, call_id)
        attempts = session.reports.attempts(name, found)
        now_ns = session.clock.now_ns()
    records = [(entry, msgspec.json.decode(entry.body)) for entry in entries]
    if as_json:
        print_json(
            {
                "tenant": name,
                **call_record(found),
                "entries": [record for _, record in records],
                "attempts": [each.call for each in attempts],
            }
        )
        return
    decision: Record = next((record for entry, record in records if entry.type == "decision"), {})
    settlement = next((record for entry, record in records if entry.type == "settlement"), None)
    parts: list[Text] = [
        Text.assemble((found.call, STRONG), "  ", effect_text(found.effect), "  ", state_text(found.state)),
        *_reasons(decision),
        Text(""),
        *_facts(found, decision, settlement),
        Text(""),
        *_money(found, decision, settlement),
        *_timeline(records, now_ns),
        *_attempts(found, attempts),
    ]
    out().print(Group(*parts))


def _reasons(decision: Record) -> Iterator[Text]:
    for reason in decision.get("reasons", ()):
        subject = f" ({reason['subject']})" if reason["subject"] else ""
        yield Text(f"because {reason['message']}{subject}")


def _facts(found: CallReport, decision: Record, settlement: Record | None) -> Iterator[Text]:
    arguments = decision.get("arguments", {})
    asked = ", ".join(f"{name} {value}" for name, value in arguments.get("summary", {}).items())
    what = f"{found.tool} on {found.model or found.connector or 'nothing that is configured'}"
    facts = {
        "who": f"agent {found.agent}, team {found.team}, {found.cost_centre}, {found.environment}",
        "owner": f"{decision.get('owner', '')}, for: {decision.get('purpose', '')}",
        "key": found.api_key,
        "what": f"{what}{_of(' in ', decision.get('region'))}{_of(' through ', found.connector)}",
        "asked": asked,
        "arguments": f"digest {str(arguments.get('digest', ''))[:16]}…, not kept",
        "run": found.run or "",
        "delegated": _delegated(found),
        "parent": found.parent or "",
        "customer": found.customer or "",
        "asked by": decision.get("asked_by", ""),
        "attempt": f"{decision['retry'] + 1}, by the client itself" if decision.get("retry") else "",
        "in shadow": "; ".join(_would(each) for each in decision.get("shadow", ())),
        "downgraded": _downgraded(decision.get("downgrade")),
        "redacted": _redacted(decision, settlement or {}),
        "policies": f"version {found.policy_version}, configuration {found.config_version}",
    }
    for title, text in facts.items():
        if text:
            yield Text.assemble((f"{title:<10}", DIM), text)


def _delegated(found: CallReport) -> str:
    run = recorded_run(found.run or "")
    by = ", ".join(each.agent for each in run.delegators)
    return f"by {by}, in the tree of {run.scope}" if by else ""


def _downgraded(downgrade: Record | None) -> str:
    if downgrade is None:
        return ""
    saved = usd_text(int(downgrade["saved_nano_usd"]))
    return f"asked of {downgrade['from']}, which was expected to cost {saved} more"


def _redacted(decision: Record, settlement: Record) -> str:
    sides = (("arguments", decision), ("answer", settlement))
    return "; ".join(
        f"{told(entry['redacted'])} in the {side}" for side, entry in sides if entry.get("redacted")
    )


def _would(finding: Record) -> str:
    return f"{finding['rule']} {WOULD[finding['would']]} this"


def _of(words: str, value: object) -> str:
    return f"{words}{value}" if value else ""


def _money(found: CallReport, decision: Record, settlement: Record | None) -> Iterator[Text]:
    quote = decision.get("quote")
    if quote is not None:
        expected, maximum = quote["expected"].get("usd"), quote["maximum"].get("usd")
        words = f"expected {_usd(expected)}, at most {_usd(maximum)}"
        whence = f"{quote['price_source']} {quote['price_version']}".strip()
        yield Text.assemble(("quote     ", DIM), f"{words}; prices from {whence}")
    if "output_tokens" in decision:
        yield Text.assemble(("limit     ", DIM), f"{decision['output_tokens']} tokens of output")
    if found.cost_nano_usd is not None:
        note = f"; {settlement['note']}" if settlement is not None and settlement["note"] else ""
        whose = (settlement.get("actor") or settlement["evidence"]) if settlement is not None else None
        source = _of(", on the word of ", whose)
        over = ", more than was reserved" if found.overrun else ""
        yield Text.assemble(
            ("cost      ", DIM), (usd_text(found.cost_nano_usd), STRONG), f"{over}{source}{note}"
        )
    elif found.counted_nano_usd is not None:
        yield Text.assemble(("counts    ", DIM), f"{usd_text(found.counted_nano_usd)} until it is known")
    yield Text("")
    if settlement is not None and settlement["charges"]:
        yield _charges(settlement["charges"])
        yield Text("")
    legs = settlement["legs"] if settlement is not None else decision.get("legs", ())
    if legs:
        yield _legs(legs, {leg["budget"]: leg["quantity"] for leg in decision.get("legs", ())})
        yield Text("")


def _usd(amount: str | None) -> str:
    return "unknown" if amount is None else usd_text(int(amount))


def _charges(charges: Sequence[Record]) -> Text:
    costs = at_decimal_point([usd_text(int(line["nano_usd"])) for line in charges])
    rows = [
        Row(
            cells=(
                str(line["kind"]).replace("_", " "),
                f"{int(line['quantity']):,}",
                str(line["unit"]),
                f"{_price(line)} each {int(line['per']):,}",
                costs[place],
            )
        )
        for place, line in enumerate(charges)
    ]
    columns = [
        Column(name="charge"),
        Column(name="", right=True),
        Column(name="unit"),
        Column(name="price", right=True),
        Column(name="cost", right=True),
    ]
    return table(columns, rows, out())


def _price(line: Record) -> str:
    return usd_text(int(line["unit_price_nano_usd"]))


def _legs(legs: Sequence[Record], quantities: Mapping[str, str]) -> Text:
    reserved, settled = (
        at_decimal_point(
            [_amount(leg.get(name, leg.get("amount")), quantities[leg["budget"]]) for leg in legs]
        )
        for name in ("reserved", "settled")
    )
    is_settled = "settled" in legs[0]
    rows = [
        Row(
            cells=(
                f"{leg['budget']} {leg['scope']}".rstrip(),
                window_text(str(leg["window"])),
                reserved[place],
                settled[place] if is_settled else "",
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


def _amount(amount: object, quantity: str) -> str:
    """Money in dollars; of other quantities the smallest unit, as the record has it."""
    number = int(str(amount))
    return usd_text(number) if quantity == USD else f"{number:,} {quantity}"


def _timeline(records: Sequence[tuple[EntryReport, Record]], now_ns: int) -> Iterator[Text]:
    before: int | None = None
    for entry, record in records:
        after = "" if before is None else f"  +{(entry.at_ns - before) / 1e9:.3f} s"
        why = f"  {record['reason']}" if record.get("reason") else ""
        title = _TITLES.get(entry.type, entry.type)
        when = f"{utc(entry.at_ns)}  {ago(entry.at_ns, now_ns)}"
        yield Text.assemble((f"{title:<10}", DIM), f"{when}{after}{why}", (f"  entry {entry.sequence}", DIM))
        before = entry.at_ns


def _attempts(found: CallReport, attempts: Sequence[CallReport]) -> Iterator[Text]:
    others = [each for each in attempts if each.call != found.call]
    if others:
        yield Text("")
        yield Text("the same request, tried by the client itself:")
        for each in attempts:
            mark = " (this one)" if each.call == found.call else ""
            yield Text.assemble(f"  {utc(each.decided_ns)}  {each.call}{mark}  ", state_text(each.state))
