"""What the record says of a call: the bodies of its entries, apart from place and time.

The format is frozen (`domain/entry.py`): amounts are strings, nothing of the arguments is readable.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.application.commands import Admit, ApprovalNote, EndRun, OpenRun, TellOutcome
from aegis_gateway.domain.admit import Admission
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.entry import amounts_text, bounded_summary, reasons_record, shadow_record
from aegis_gateway.domain.ledger import Evidence, Leg, Settlement
from aegis_gateway.domain.outcome import Outcome, Report


def decision_record(
    command: Admit,
    admission: Admission,
    shadow: tuple[Shadow, ...] = (),
    approval: ApprovalNote | None = None,
) -> dict[str, object]:
    """What was decided, about whom and what, why, at which quote, held where; what shadow rules would have changed."""
    who, quote = command.attribution, command.quote
    record: dict[str, object] = {
        "effect": admission.effect,
        "reasons": reasons_record(admission.reasons),
        "policy_version": command.policy_version,
        "config_version": command.config_version,
        "agent": who.agent,
        "team": who.team,
        "project": who.project,
        "cost_centre": who.cost_centre,
        "owner": who.owner,
        "purpose": who.purpose,
        "environment": who.environment,
        "key": who.key,
        "connector": who.connector,
        "tool": who.tool,
        "model": who.model,
        "region": who.region,
        "run": who.run,
        "parent": who.parent,
        "arguments": {
            "digest": command.arguments.digest,
            "hmac": command.arguments.hmac,
            "summary": bounded_summary(command.arguments.summary),
        },
        "legs": _legs_record(admission.legs),
        "rates": [claim.rate for claim in command.rates],
    }
    if command.beside_version is not None:
        record["beside_version"] = command.beside_version
    if who.customer is not None:
        record["customer"] = who.customer
    if who.asked_by is not None:
        record["asked_by"] = who.asked_by
    if admission.wait_ns:
        record["wait_ns"] = str(admission.wait_ns)
    if who.downgraded_from is not None:
        record["downgrade"] = {"from": who.downgraded_from, "saved_nano_usd": str(who.saved_nano_usd)}
    if shadow:
        record["shadow"] = shadow_record(shadow)
    if who.depth:
        record["depth"] = who.depth
    if command.utilisation is not None:
        record["utilisation"] = command.utilisation
    if command.measures:
        record["measures"] = sorted({each.rule for each in command.measures})
    if command.redacted:
        record["redacted"] = command.redacted
    if command.asked is not None:
        record["asked"] = command.asked
    if who.retry:
        record["retry"] = who.retry
    if quote is not None:
        record["quote"] = {
            "expected": amounts_text(quote.expected),
            "maximum": amounts_text({**quote.maximum, **admission.maximum}),
            "price_source": quote.price_source,
            "price_version": quote.price_version,
        }
    if command.traceparent is not None:
        record["traceparent"] = command.traceparent
    if approval is not None:
        record["approval"] = {
            "id": approval.id,
            "state": approval.state,
            "by": list(approval.by),
            "policies": list(approval.policies),
        }
    if admission.output_tokens is not None:
        record["output_tokens"] = admission.output_tokens
    return record


def run_opened_record(
    command: OpenRun, admission: Admission, shadow: tuple[Shadow, ...] = ()
) -> dict[str, object]:
    """Which run was opened by whom and for whom, or wasn't and why; for which owner it counts."""
    claim, by = command.claim, command.by
    record: dict[str, object] = {
        "event": "opened" if admission.effect == "allow" else "refused",
        "effect": admission.effect,
        "reasons": reasons_record(admission.reasons),
        "policy_version": command.policy_version,
        "config_version": command.config_version,
        "run": claim.run,
        "for": claim.agent,
        "counts_for": claim.owner,
        "agent": by.agent,
        "team": by.team,
        "cost_centre": by.cost_centre,
        "owner": by.owner,
        "key": by.key,
        "parent": by.parent,
        "depth": by.depth,
        "rates": [rate.rate for rate in command.rates],
    }
    if shadow:
        record["shadow"] = shadow_record(shadow)
    return record


def run_ended_record(command: EndRun, below: int) -> dict[str, object]:
    """Which run was ended, by whom, and how many with it that were delegated in it."""
    return {
        "event": "ended",
        "run": command.claim.run,
        "for": command.claim.agent,
        "actor": command.actor,
        "below": below,
    }


def outcome_record(command: TellOutcome, before: Outcome | None) -> dict[str, object]:
    """What an agent says became of which run, and what it said before."""
    record: dict[str, object] = {
        "event": "reported" if before is None else "replaced",
        "run": command.call,
        "agent": command.by.agent,
        "team": command.by.team,
        "key": command.by.key,
        **_report_record(command.report),
    }
    if before is not None:
        # Its entry has all of it; both, each at its longest, would not fit into one.
        record["before"] = _report_record(msgspec.structs.replace(before.report, note="", names=()))
    return record


def _report_record(report: Report) -> dict[str, object]:
    record: dict[str, object] = {"result": report.result or None}
    if report.name:
        record["name"] = report.name
    if report.note:
        record["note"] = report.note
    if report.value_nano_usd is not None:
        record["value_nano_usd"] = str(report.value_nano_usd)
    if report.transactions is not None:
        record["transactions"] = report.transactions
    if report.names:
        record["names"] = list(report.names)
    return record


def settlement_record(legs: tuple[Leg, ...], evidence: Evidence, outcome: Settlement) -> dict[str, object]:
    """What a call came to, on whose word, line by line and leg by leg."""
    record: dict[str, object] = ({"actor": evidence.actor} if evidence.actor else {}) | {
        "evidence": evidence.source,
        "note": evidence.note,
        "cost_nano_usd": str(outcome.cost_nano_usd),
        "overrun": outcome.overrun,
        "actual": amounts_text(evidence.actual),
        "legs": [
            {
                "budget": leg.budget,
                "scope": leg.scope,
                "window": leg.window,
                "reserved": str(leg.amount),
                "settled": str(amount),
            }
            for leg, amount in zip(legs, outcome.amounts, strict=True)
        ],
        "charges": [
            {
                "kind": line.kind,
                "quantity": str(line.quantity),
                "unit": line.unit,
                "unit_price_nano_usd": str(line.unit_price.nano_usd),
                "per": str(line.unit_price.per),
                "price_source": line.price_source,
                "price_version": line.price_version,
                "nano_usd": str(line.nano_usd),
            }
            for line in evidence.lines
        ],
    }
    if evidence.redacted:
        record["redacted"] = evidence.redacted
    if evidence.shadow:
        record["shadow"] = shadow_record(evidence.shadow)
    return record


def _legs_record(legs: tuple[Leg, ...]) -> list[dict[str, str]]:
    return [
        {
            "budget": leg.budget,
            "scope": leg.scope,
            "window": leg.window,
            "quantity": leg.quantity,
            "amount": str(leg.amount),
        }
        for leg in legs
    ]
