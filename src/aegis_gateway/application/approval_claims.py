"""Whose word a call wants that policies ask about: found by the tenant's rules, before the ledger is asked."""

from __future__ import annotations

import hmac

from aegis_gateway.application.commands import ApprovalClaim
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.judgement import Described
from aegis_gateway.domain.approval_route import Route, joined
from aegis_gateway.domain.approval_rules import Asked
from aegis_gateway.domain.decision import Verdict
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.people import ids_of_address
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.domain.registry import Agent
from aegis_gateway.domain.threshold import budget_of_rule


def claim_of(
    view: TenantView,
    agent: Agent,
    asker: Agent,
    described: Described,
    verdict: Verdict,
    quote: Quote | None,
    customer: str | None,
    given: str | None,
    traceparent: str = "",
) -> ApprovalClaim | None:
    """Whose word a call wants; None where no policy asks and it names none. `asker` asks for it, it serves the
    `customer`, `given` is the approval it names, `traceparent` its place in a trace.
    """
    if not verdict.asks and given is None:
        return None
    rules = view.registry.approvals
    return ApprovalClaim(
        fingerprint=_fingerprint(view, agent, described, customer),
        route=_route(view, agent, described, verdict, quote),
        behind=() if rules.owner_may_answer else _owners(agent, asker),
        open_max=rules.open_per_agent,
        group_after=rules.group_after,
        given=given,
        traceparent=traceparent,
        moves=_moves(view, quote),
    )


def _moves(view: TenantView, quote: Quote | None) -> tuple[str, ...]:
    """The money that a call moves beside what it costs: what a payment pays out is what its approver looks for."""
    if quote is None:
        return ()
    quantities = view.registry.quantities
    return tuple(
        f"{usd_text(amount)} {name.replace('_', ' ')}"
        for name, amount in sorted(quote.expected.items())
        if name != USD and name in quantities and quantities[name].is_money
    )


def _fingerprint(view: TenantView, agent: Agent, described: Described, customer: str | None) -> str:
    """What a call is found again by: agent, connector, tool, customer and arguments, as a digest keyed by tenant."""
    place = f"approval\n{agent.id}\n{described.connector}\n{described.tool}\n{customer or ''}\n"
    return hmac.digest(view.arguments_key, place.encode() + described.canonical, "sha256").hex()


def _route(
    view: TenantView, agent: Agent, described: Described, verdict: Verdict, quote: Quote | None
) -> Route:
    """One route for all policies that ask."""
    approvers = dict(verdict.approvers)
    cost = quote.maximum.get(USD) if quote is not None else None
    return joined(
        [
            view.registry.approvals.route(
                Asked(
                    policy=ask.subject,
                    agent=agent.id,
                    team=agent.team,
                    tool=described.tool,
                    maximum_nano_usd=cost,
                    budget=budget_of_rule(ask.subject),
                ),
                approvers.get(ask.subject, ""),
            )
            for ask in verdict.asks
        ]
    )


def _owners(agent: Agent, asker: Agent) -> tuple[str, ...]:
    """Whoever answers for an agent, as people's ids may be written."""
    return tuple(sorted({name for each in (agent, asker) for name in ids_of_address(each.owner)}))
