"""What of a month somebody should know, and what they should decide: each in words that follow from a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote, urlencode

import msgspec

from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.report import PlanLine, Point
from aegis_gateway.domain.rollout import Rollout
from aegis_gateway.domain.shadow_rules import WOULD

STOPS = ("deny", "throttle", "require_approval", "error")
"""What a rule in shadow would have done to calls so that they didn't go through at once."""

NAMED_MOST = 6


class Shadowed(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule in shadow would have done to calls of the month, and what these can have come to at most."""

    rule: str
    would: str
    calls: int
    maximum_nano_usd: int


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What risks and decisions are told from; counts of what is open are those of now, the others the month's."""

    tenant: str
    month: str
    is_over: bool
    spent_nano_usd: int
    unattributed_nano_usd: int
    unpriced_calls: int
    plans: Sequence[PlanLine]
    shadowed: Sequence[Shadowed]
    open_incidents: int
    doubtful_calls: int
    doubtful_nano_usd: int
    given_up_messages: int
    waiting_approvals: int
    waiting_proposals: int
    rollout: Rollout


def risks_of(facts: ReportFacts) -> Iterator[Point]:
    """What is at risk, the most urgent kind first."""
    tenant = facts.tenant
    for each in facts.plans:
        if each.mode != "enforce" or not _is_over(each):
            continue
        told = (
            f"{usd_short(each.comes_to_nano_usd)} of {usd_short(each.plan_nano_usd)} planned in {each.window}"
        )
        if each.is_exhausted:
            words = f"Budget {each.budget} is exhausted now: {told}"
        elif each.expected_nano_usd is not None:
            words = f"Budget {each.budget} is expected to exceed its plan: {told} ({each.calls_for})"
        else:
            words = f"Budget {each.budget} exceeded its plan: {told} ({each.calls_for})"
        yield Point(kind="budget", tone="deny", words=words, address=_budget(tenant, each.budget))
    if facts.open_incidents:
        words = f"{_count(facts.open_incidents, 'incident')} open now"
        yield Point(kind="incidents", tone="deny", words=words, address=_page("/incidents", tenant))
    if facts.doubtful_calls:
        calls, most = _count(facts.doubtful_calls, "call"), usd_short(facts.doubtful_nano_usd)
        words = f"{calls} in doubt now, counted at the most that they can come to: {most}"
        address = _page("/calls", tenant, state="in_doubt", since="ever")
        yield Point(kind="doubt", tone="throttle", words=words, address=address)
    if facts.unattributed_nano_usd:
        strange = facts.unattributed_nano_usd
        share = 100 * strange // facts.spent_nano_usd if facts.spent_nano_usd else 0
        words = f"{usd_short(strange)} ({share} %) spent by callers that nobody had registered"
        yield Point(kind="untagged", tone="throttle", words=words, address=f"{_page('/rollout', tenant)}#tag")
    if facts.unpriced_calls:
        words = f"{_count(facts.unpriced_calls, 'call')} without a price: what these cost is not known"
        yield Point(kind="unpriced", tone="throttle", words=words, address=_page("/calls", tenant))
    if facts.given_up_messages:
        words = f"{_count(facts.given_up_messages, 'message')} given up: nobody was told"
        address = _page("/notifications", tenant, state="dead")
        yield Point(kind="messages", tone="throttle", words=words, address=address)
    stopped = [each for each in facts.shadowed if each.would in STOPS]
    for rule in stopped[:NAMED_MOST]:
        told = f"{_count(rule.calls, 'call')} of at most {usd_short(rule.maximum_nano_usd)}"
        words = f"{rule.rule}, in shadow, {WOULD[rule.would]} {told}"
        yield Point(kind="shadow", tone="shadow", words=words, address=_rule(tenant, rule.rule))
    if len(stopped) > NAMED_MOST:
        words = f"{_count(len(stopped) - NAMED_MOST, 'more rule')} in shadow would have stopped calls"
        yield Point(kind="shadow", tone="shadow", words=words, address=_rule(tenant))


def decisions_of(facts: ReportFacts) -> Iterator[Point]:
    """What somebody has to decide, each with where that is done."""
    tenant = facts.tenant
    if facts.waiting_approvals:
        yield Point(
            kind="approvals",
            tone="ask",
            words=f"Answer {_count(facts.waiting_approvals, 'approval')} that {_wait(facts.waiting_approvals)}",
            address=_page("/approvals", tenant),
            command=f"aegis approvals --tenant {tenant}",
        )
    if facts.waiting_proposals:
        yield Point(
            kind="proposals",
            tone="ask",
            words=f"Approve or refuse {_count(facts.waiting_proposals, 'proposed change')} of the configuration",
            address=_page("/policies/versions", tenant),
            command="aegis proposals",
        )
    if not facts.is_over:
        for each in facts.plans:
            if each.mode == "enforce" and each.expected_nano_usd is not None and _is_over(each):
                more = each.expected_nano_usd - each.plan_nano_usd
                raised = f"raise it by {usd_short(more)}" if more > 0 else "raise the limit of its window"
                yield Point(
                    kind="budget",
                    tone="ask",
                    words=f"Budget {each.budget}: spend less, or {raised} (owner {each.owner})",
                    address=_budget(tenant, each.budget),
                )
    for step in facts.rollout.steps:
        if step.then is not None:
            yield Point(
                kind="rollout",
                tone="ask",
                words=f"{step.title}: {step.then.words.replace('`', '')}",
                address=f"{_page('/rollout', tenant)}#{step.id}",
                command=step.then.command,
            )


def _is_over(plan: PlanLine) -> bool:
    share = plan.deviation
    return plan.is_exhausted or (share is not None and share > 0)


def _page(path: str, tenant: str, **more: str) -> str:
    return f"{path}?{urlencode({'tenant': tenant, **more})}"


def _rule(tenant: str, rule: str = "") -> str:
    return f"/shadow/{quote(tenant, safe='')}{'/' if rule else ''}{quote(rule, safe='')}"


def _budget(tenant: str, budget: str) -> str:
    return f"/budgets/{quote(tenant, safe='')}/{quote(budget, safe='')}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"
