"""One call in full, as its record tells it: who, what, why, at which price, held where, and what became of it.

Read and put into words here once, for commands and pages alike. Amounts are nano-USD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import CallReport, EntryReport, Reports
from aegis_gateway.application.runs import recorded_run
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.redaction import told
from aegis_gateway.domain.shadow_rules import WOULD
from aegis_gateway.domain.trace_place import TracePlace

Record = Mapping[str, Any]

_TITLES = {
    "decision": "decided",
    "dispatch": "sent",
    "settlement": "settled",
    "release": "given back",
    "expire": "ran out",
    "doubt": "in doubt",
}


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what a call cost: so much of a unit, at a price for each `per` of it."""

    kind: str
    quantity: int
    unit: str
    price_nano_usd: int
    per: int
    nano_usd: int


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one budget was asked to hold for a call, and what it was settled at; in words. None: not settled yet."""

    budget: str
    scope: str
    window: str
    reserved: str
    settled: str | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One entry about a call: what it says, when, and how long after the one before."""

    title: str
    at_ns: int
    after_ns: int | None
    reason: str
    sequence: int


class CallAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A call with its entries, decoded, and the attempts of its client at the same request, itself among them."""

    tenant: str
    call: CallReport
    entries: tuple[tuple[EntryReport, Record], ...]
    attempts: tuple[CallReport, ...]

    @property
    def decision(self) -> Record:
        """What was decided; empty where the record has no such entry."""
        return self._first("decision") or {}

    @property
    def settlement(self) -> Record | None:
        """What it came to, once that is known."""
        return self._first("settlement")

    def _first(self, type_: str) -> Record | None:
        return next((record for entry, record in self.entries if entry.type == type_), None)


def read_account(reports: Reports, tenant: str, call: str) -> CallAccount | None:
    """All that is known of a tenant's call; None where there is none of that id."""
    found = reports.call(tenant, call)
    if found is None:
        return None
    entries = reports.entries_of_call(tenant, call)
    return CallAccount(
        tenant=tenant,
        call=found,
        entries=tuple((entry, msgspec.json.decode(entry.body)) for entry in entries),
        attempts=tuple(reports.attempts(tenant, found)),
    )


def reasons(account: CallAccount) -> list[str]:
    """Why it was decided so, a sentence for each rule that had a say."""
    return [
        f"{each['message']} ({each['subject']})" if each["subject"] else str(each["message"])
        for each in account.decision.get("reasons", ())
    ]


def facts(account: CallAccount) -> dict[str, str]:
    """Who asked for what, in whose name, under which rules: words by title; those that there are."""
    found, decision = account.call, account.decision
    arguments = decision.get("arguments", {})
    what = f"{found.tool} on {found.model or found.connector or 'nothing that is configured'}"
    said = {
        "who": f"agent {found.agent}, team {found.team}, {found.cost_centre}, {found.environment}",
        "owner": f"{decision.get('owner', '')}, for: {decision.get('purpose', '')}",
        "key": found.api_key,
        "what": f"{what}{_of(' in ', decision.get('region'))}{_of(' through ', found.connector)}",
        "asked": ", ".join(f"{name} {value}" for name, value in arguments.get("summary", {}).items()),
        "arguments": f"digest {str(arguments.get('digest', ''))[:16]}…, not kept",
        "run": found.run or "",
        "delegated": _delegated(found),
        "parent": found.parent or "",
        "trace": _trace(found.place),
        "customer": found.customer or "",
        "asked by": decision.get("asked_by", ""),
        "approval": _approval(decision.get("approval")),
        "attempt": f"{decision['retry'] + 1}, by the client itself" if decision.get("retry") else "",
        "in shadow": "; ".join(_would(each) for each in decision.get("shadow", ())),
        "downgraded": _downgraded(decision.get("downgrade")),
        "redacted": _redacted(decision, account.settlement or {}),
        "policies": f"version {found.policy_version}, configuration {found.config_version}",
    }
    return {title: text for title, text in said.items() if text}


def sums(account: CallAccount) -> Iterator[tuple[str, str, str]]:
    """What it was expected to cost, could cost and did cost: a title, the figure that matters, and words about it."""
    found, decision, settlement = account.call, account.decision, account.settlement
    quote = decision.get("quote")
    if quote is not None:
        expected, maximum = quote["expected"].get("usd"), quote["maximum"].get("usd")
        whence = f"{quote['price_source']} {quote['price_version']}".strip()
        yield "quote", "", f"expected {_usd(expected)}, at most {_usd(maximum)}; prices from {whence}"
    if "output_tokens" in decision:
        yield "limit", "", f"{decision['output_tokens']} tokens of output"
    if found.cost_nano_usd is not None:
        note = f"; {settlement['note']}" if settlement is not None and settlement["note"] else ""
        whose = (settlement.get("actor") or settlement["evidence"]) if settlement is not None else None
        over = ", more than was reserved" if found.overrun else ""
        yield "cost", usd_text(found.cost_nano_usd), f"{over}{_of(', on the word of ', whose)}{note}"
    elif found.counted_nano_usd is not None:
        yield "counts", "", f"{usd_text(found.counted_nano_usd)} until it is known"


def charges(account: CallAccount) -> list[Charge]:
    """What it was charged for, line by line."""
    settlement = account.settlement
    return [
        Charge(
            kind=str(line["kind"]).replace("_", " "),
            quantity=int(line["quantity"]),
            unit=str(line["unit"]),
            price_nano_usd=int(line["unit_price_nano_usd"]),
            per=int(line["per"]),
            nano_usd=int(line["nano_usd"]),
        )
        for line in (settlement["charges"] if settlement is not None else ())
    ]


def held(account: CallAccount) -> list[Held]:
    """The budgets that held it, in the order in which they were asked."""
    decision, settlement = account.decision, account.settlement
    quantities = {leg["budget"]: leg["quantity"] for leg in decision.get("legs", ())}
    legs = settlement["legs"] if settlement is not None else decision.get("legs", ())
    return [
        Held(
            budget=leg["budget"],
            scope=leg["scope"],
            window=str(leg["window"]),
            reserved=_amount(leg.get("reserved", leg.get("amount")), quantities[leg["budget"]]),
            settled=_amount(leg["settled"], quantities[leg["budget"]]) if "settled" in leg else None,
        )
        for leg in legs
    ]


def steps(account: CallAccount) -> Iterator[Step]:
    """What the record says of it, in order."""
    before: int | None = None
    for entry, record in account.entries:
        yield Step(
            title=_TITLES.get(entry.type, entry.type),
            at_ns=entry.at_ns,
            after_ns=None if before is None else entry.at_ns - before,
            reason=record.get("reason") or "",
            sequence=entry.sequence,
        )
        before = entry.at_ns


def trace_link(found: CallReport, template: str | None) -> str | None:
    """Where a call's trace is shown, by a template of its address; None where nobody kept it, or nobody says where."""
    place = found.place
    return place.address(template) if template and place is not None and place.is_sampled else None


def cost_text(each: CallReport) -> str:
    """What a call counts as; while that is only its maximum, it says so."""
    if each.effect != "allow":
        return ""
    counted = each.counted_nano_usd
    if counted is None:
        return "not bounded" if each.is_open else ""
    return f"≤ {usd_text(counted)}" if each.is_open else usd_text(counted)


def _trace(place: TracePlace | None) -> str:
    if place is None:
        return ""
    return f"{place.trace}, span {place.span}{'' if place.is_sampled else ', not sampled'}"


def _delegated(found: CallReport) -> str:
    run = recorded_run(found.run or "")
    by = ", ".join(each.agent for each in run.delegators)
    return f"by {by}, in the tree of {run.scope}" if by else ""


def _approval(approval: Record | None) -> str:
    if approval is None:
        return ""
    by = ", ".join(approval["by"])
    return f"{approval['id']}, {approval['state']}{_of(' by ', by)}"


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


def _usd(amount: str | None) -> str:
    return "unknown" if amount is None else usd_text(int(amount))


def _amount(amount: object, quantity: str) -> str:
    """Money in dollars; of other quantities the smallest unit, as the record has it."""
    number = int(str(amount))
    return usd_text(number) if quantity == USD else f"{number:,} {quantity}"
