"""Calls as the ledger keeps them: the row of one that is decided, and of one that moves on."""

from __future__ import annotations

import msgspec

from aegis_gateway.application.commands import Admit
from aegis_gateway.application.ports import CallMove, CallRow
from aegis_gateway.domain.admit import Admission
from aegis_gateway.domain.ledger import State
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.rule_name import acting_rule


def new_call(
    command: Admit,
    admission: Admission,
    state: State,
    *,
    boot: str,
    now_ns: int,
    reserve_for_ns: int | None,
    sequence: int,
) -> CallRow:
    """The row of a call that was decided, whose entry stands at a place of its tenant's record."""
    who, quote = command.attribution, command.quote
    first = admission.reasons[0] if admission.reasons else None
    quoted = quote.maximum.get(USD) if quote else None
    allowed = admission.effect == "allow"
    return CallRow(
        call=command.call,
        tenant=command.tenant,
        state=state,
        effect=admission.effect,
        reason_code=first.code if first else "",
        reason=first.message if first else "",
        agent=who.agent,
        team=who.team,
        project=who.project,
        cost_centre=who.cost_centre,
        environment=who.environment,
        connector=who.connector,
        tool=who.tool,
        model=who.model,
        key=who.key,
        run=who.run,
        parent=who.parent,
        policy_version=command.policy_version,
        config_version=command.config_version,
        expected_nano_usd=quote.expected.get(USD) if quote else None,
        maximum_nano_usd=admission.maximum.get(USD) if allowed else quoted,
        cost_nano_usd=None,
        overrun=False,
        legs=admission.legs,
        salt=command.arguments.salt,
        boot=boot,
        decided_ns=now_ns,
        expires_ns=None if reserve_for_ns is None else now_ns + reserve_for_ns,
        settled_ns=None,
        sequence=sequence,
        customer=who.customer,
        request=command.request,
        name=command.name.name if command.name is not None and allowed else None,
        rule=acting_rule(first.code, first.subject, first.message) if first else None,
        traceparent=command.traceparent,
    )


def moved_call(row: CallRow, move: CallMove) -> CallRow:
    """A call's row after a change of its state."""
    return msgspec.structs.replace(
        row,
        state=move.state,
        cost_nano_usd=move.cost_nano_usd,
        overrun=move.overrun,
        settled_ns=move.settled_ns,
    )
