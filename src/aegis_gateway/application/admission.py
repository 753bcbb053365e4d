"""What the ledger is asked for a call that was judged: all that its decision and its entry are made of."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from aegis_gateway.application.approval_claims import claim_of
from aegis_gateway.application.asked import asked_record
from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.commands import Admit, ArgumentsRecord, Attribution, CallName
from aegis_gateway.application.considered import Considered
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.judgement import Described
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.rate import RateClaim
from aegis_gateway.domain.registry import Agent, Key
from aegis_gateway.domain.reuse import is_reusable, request_number
from aegis_gateway.domain.trace_place import TracePlace

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255


def admission_of(
    call: str,
    considered: Considered[Described],
    context: CallContext,
    place: TracePlace | None,
    random_bytes: Callable[[int], bytes],
) -> Admit:
    """What the ledger is asked for a call that was judged, under its new id.

    Raises:
        CallError: the name that its caller gives to it is no name.
    """
    view, agent, circumstances = considered.view, considered.agent, considered.circumstances
    judgement, registry = considered.judgement, considered.view.registry
    described = judgement.described
    arguments = _arguments_record(view, described, random_bytes(16))
    return Admit(
        call=call,
        tenant=registry.tenant,
        epoch=view.epoch,
        attribution=attribution_of(
            agent,
            considered.key,
            connector=described.connector,
            tool=described.tool,
            model=described.model,
            region=described.region,
            run=circumstances.run,
            parent=circumstances.parent,
            depth=circumstances.depth,
            retry=context.retry,
            customer=context.customer,
            downgraded_from=judgement.downgraded_from,
            saved_nano_usd=judgement.saved_nano_usd,
            asked_by=considered.asked_by,
        ),
        verdict=judgement.verdict,
        arguments=arguments,
        policy_version=view.policies.version,
        config_version=view.config_version,
        beside_version=view.beside_version,
        quote=judgement.quote,
        redacted=described.redacted,
        approval=claim_of(
            view,
            agent,
            considered.asker,
            described,
            judgement.verdict,
            judgement.quote,
            context.customer,
            context.approval,
            place.parent if place is not None else "",
        ),
        rates=_delayed_at_most(considered.rates, context.patience_ns),
        budgets=considered.budgets,
        run=considered.run,
        measures=judgement.measures,
        watched=considered.watched,
        request=_request(view, agent, described, arguments),
        name=_call_name(context, considered),
        utilisation=circumstances.utilisation if judgement.verdict.saw_utilisation else None,
        asked=asked_record(
            judgement.asked,
            judgement.quote,
            is_downgraded=judgement.downgraded_from is not None,
            is_proxied=registry.proxy is not None,
            opens_run=context.run is None,
            judged_ns=circumstances.now_ns,
        ),
        traceparent=place.parent if place is not None else None,
    )


def attribution_of(
    agent: Agent, key: Key, *, connector: str = "", tool: str = "", **more: Any
) -> Attribution:
    """What an agent does under a key is put down to, as it is registered now."""
    return Attribution(
        agent=agent.id,
        team=agent.team,
        project=agent.project,
        cost_centre=agent.cost_centre,
        owner=agent.owner,
        purpose=agent.purpose,
        environment=agent.environment,
        key=key.id,
        connector=connector,
        tool=tool,
        **more,
    )


def _arguments_record(view: TenantView, described: Described, salt: bytes) -> ArgumentsRecord:
    return ArgumentsRecord(
        salt=salt,
        digest=hashlib.sha256(salt + described.canonical).hexdigest(),
        hmac=hmac.digest(view.arguments_key, described.canonical, "sha256").hex(),
        summary=described.summary,
    )


def _delayed_at_most(rates: tuple[RateClaim, ...], patience_ns: int | None) -> tuple[RateClaim, ...]:
    """Rates' claims on a call that can wait for so long at most."""
    if patience_ns is None:
        return rates
    return tuple(
        rate if rate.delay_ns <= patience_ns else msgspec.structs.replace(rate, delay_ns=patience_ns)
        for rate in rates
    )


def _request(view: TenantView, agent: Agent, described: Described, arguments: ArgumentsRecord) -> int | None:
    """What tells a call's request from others, where its answer could be used again."""
    connector = view.registry.connectors.get(described.connector)
    if not is_reusable(described.model, connector, described.tool):
        return None
    of = (agent.id, described.connector, described.tool, described.model or "")
    return request_number(*of, arguments.hmac)


def _call_name(context: CallContext, considered: Considered[Described]) -> CallName | None:
    """The caller's name for the call, with a keyed digest of what is asked for; that of another call differs.

    What others name that ask for an agent is apart from what it names itself.

    Raises:
        CallError: it is no name.
    """
    name = context.idempotency_key
    if name is None:
        return None
    if len(name) > IDEMPOTENCY_KEY_CHARACTERS_MAX or not (name.isascii() and name.isprintable()):
        raise CallError(
            f"an idempotency key has at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} printable ASCII characters",
            field="idempotency-key",
        )
    view, described = considered.view, considered.judgement.described
    asked = f"{context.address}\n{described.connector}\n{described.tool}\n".encode() + described.canonical
    # A name is printable, so with a line's end in it it is no one's own.
    name = name if considered.asked_by is None else f"{considered.asked_by}\n{name}"
    return CallName(
        name=stored_name(view, considered.agent.id, name),
        request=hmac.digest(view.arguments_key, asked, "sha256"),
    )


def stored_name(view: TenantView, agent: str, name: str) -> str:
    """What is stored of a caller's name for a call, and all that an upstream learns of it: a keyed digest.

    Agents share the upstream's account. As they named their calls themselves, one could ask for another's answer there.
    """
    return hmac.digest(view.arguments_key, f"name\n{agent}\n{name}".encode(), "sha256").hex()
