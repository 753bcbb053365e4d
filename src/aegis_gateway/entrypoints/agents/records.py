"""Agents as programs read them: what the control API answers with, and commands print for `--json`.

Amounts are integers of nano-USD, and named so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.repeats import Repeated
from aegis_gateway.entrypoints.agents.account import AgentAccount, BudgetLine, KeyLine, Refusal
from aegis_gateway.entrypoints.agents.advice import advice_on
from aegis_gateway.entrypoints.agents.policy_texts import PolicyText
from aegis_gateway.entrypoints.agents.roster import AgentLine
from aegis_gateway.entrypoints.agents.savings import Instead, Savings
from aegis_gateway.entrypoints.cli.key_holds import hold_records
from aegis_gateway.entrypoints.people.overview.periods import Period

Instant = Callable[[int], str]


def line_record(each: AgentLine, instant: Instant) -> dict[str, Any]:
    """One agent among the others."""
    agent = each.agent
    return {
        "agent": each.id,
        "state": each.state,
        "owner": each.owner or None,
        "team": each.team or None,
        "project": agent.project if agent is not None else None,
        "cost_centre": agent.cost_centre if agent is not None else None,
        "purpose": agent.purpose if agent is not None else None,
        "environment": agent.environment if agent is not None else None,
        "budget": agent.budget if agent is not None else None,
        "today_nano_usd": each.today,
        "month_nano_usd": each.month,
        "last_30d_nano_usd": each.lately,
        "calls_30d": each.calls,
        "refused_30d": each.refused,
        "last_call": None if each.last_ns is None else instant(each.last_ns),
        "keys": each.keys,
        "valid_keys": each.valid_keys,
    }


def account_record(
    found: AgentAccount,
    savings: Savings,
    texts: dict[str, PolicyText],
    now_ns: int,
    instant: Instant,
) -> dict[str, Any]:
    """One agent in full."""
    agent, sums = found.agent, found.totals.sums
    return {
        "tenant": found.tenant,
        "agent": found.id,
        "state": found.state,
        "owner": agent.owner if agent is not None else None,
        "team": found.team or None,
        "project": agent.project if agent is not None else None,
        "cost_centre": agent.cost_centre if agent is not None else None,
        "purpose": agent.purpose if agent is not None else None,
        "environment": agent.environment if agent is not None else None,
        "tags": dict(agent.tags) if agent is not None else {},
        "last_call": None if found.last_ns is None else instant(found.last_ns),
        "today_nano_usd": found.today,
        "month_nano_usd": found.month,
        "period": _period_record(found.period, instant),
        "spent_nano_usd": sums.cost,
        "spent": usd_text(sums.cost),
        "spent_before_nano_usd": found.before_nano_usd,
        "calls": sums.calls,
        "settled_calls": sums.settled_calls,
        "refused_calls": found.totals.violations,
        "tokens": sums.tokens,
        "output_tokens": sums.output_tokens,
        "runs": found.runs_count,
        "runs_nano_usd": found.runs_nano_usd,
        "is_cut": found.is_cut,
        "dearest_runs": [
            {
                "run": each.number,
                "calls": each.calls,
                "refused_calls": each.refused,
                "open_calls": each.open_calls,
                "nano_usd": each.nano_usd,
                "since": instant(each.since_ns),
            }
            for each in found.runs
        ],
        "dearest_calls": [
            {
                "call": each.call,
                "tool": each.tool,
                "model": each.model,
                "nano_usd": each.cost_nano_usd,
                "decided": instant(each.decided_ns),
            }
            for each in found.dearest
        ],
        "refusals": [_refusal_record(each, texts.get(each.rule), instant) for each in found.refusals],
        "budgets": [_budget_record(each) for each in found.budgets],
        "keys": [_key_record(each, now_ns, instant) for each in found.keys],
        "savings": savings_record(savings, instant),
    }


def savings_record(found: Savings, instant: Instant) -> dict[str, Any]:
    """What could have cost less. None of it was saved."""
    return {
        "tenant": found.tenant,
        "agent": found.agent,
        "period": _period_record(found.period, instant),
        "looked_at_calls": found.looked_at,
        "is_cut": found.is_cut,
        "spent_nano_usd": found.spent_nano_usd,
        "period_cache_candidates": found.whole.repeats,
        "period_cache_candidates_nano_usd": found.whole.repeated,
        "repeated_calls": found.repeats,
        "repeated_nano_usd": found.repeats_nano_usd,
        "attempts": found.attempts,
        "attempts_nano_usd": found.attempts_nano_usd,
        "repeated": [_repeated_record(each, instant) for each in found.repeated],
        "other_models": [_instead_record(each) for each in found.instead],
    }


def _period_record(period: Period, instant: Instant) -> dict[str, Any]:
    return {
        "range": period.range,
        "since": instant(period.since_ns),
        "until": instant(period.until_ns),
        "timezone": period.zone,
    }


def _refusal_record(each: Refusal, text: PolicyText | None, instant: Instant) -> dict[str, Any]:
    return {
        "effect": each.effect,
        "code": each.code,
        "rule": each.rule or None,
        "calls": each.calls,
        "not_spent_nano_usd": each.not_spent,
        "words": each.words or (text.message if text is not None else "") or None,
        "last_call": each.last.call if each.last is not None else None,
        "last": instant(each.last.at_ns) if each.last is not None else None,
        "what_to_do": advice_on(each.code) or None,
        "policy": None if text is None else {"place": text.place, "cedar": text.cedar or None},
    }


def _budget_record(each: BudgetLine) -> dict[str, Any]:
    standing = each.standing
    return {
        "budget": each.budget.id,
        "quantity": each.budget.quantity,
        "period": each.budget.period,
        "mode": each.budget.mode,
        "is_home": each.is_home,
        "scope": standing.scope if standing is not None else None,
        "limit": standing.limit if standing is not None else None,
        "spent": standing.spent if standing is not None else None,
        "reserved": standing.reserved if standing is not None else None,
        "left": standing.left if standing is not None else None,
    }


def _key_record(each: KeyLine, now_ns: int, instant: Instant) -> dict[str, Any]:
    key = each.key
    return {
        "key": key.id,
        "hint": key.hint,
        "state": each.state,
        "issued": instant(key.issued_ns),
        "made_by": each.made_by or None,
        "last_used": None if each.last_ns is None else instant(each.last_ns),
        "expires": None if key.expires_ns is None else instant(key.expires_ns),
        "revoked": None if key.revoked_ns is None else instant(key.revoked_ns),
        "holds": hold_records(key, now_ns),
    }


def _repeated_record(each: Repeated, instant: Instant) -> dict[str, Any]:
    return {
        "agent": each.agent,
        "tool": each.tool,
        "model": each.model or None,
        "first_call": each.first,
        "first": instant(each.first_ns),
        "last_calls": list(each.last),
        "last": instant(each.last_ns),
        "repeats": each.repeats,
        "repeats_nano_usd": each.repeats_nano_usd,
        "attempts": each.attempts,
        "attempts_nano_usd": each.attempts_nano_usd,
    }


def _instead_record(each: Instead) -> dict[str, Any]:
    return {
        "model": each.traffic.model,
        "action": each.action,
        "calls": each.traffic.calls,
        "calls_without_usage": each.traffic.uncounted,
        "spent_nano_usd": each.traffic.cost_nano_usd,
        "units": each.traffic.units,
        "others": [
            {
                "model": other.model,
                "would_have_cost_nano_usd": other.nano_usd,
                "less_nano_usd": other.less_nano_usd,
                "not_known_because": other.why or None,
            }
            for other in each.others
        ],
        "may_not_call": list(each.may_not),
    }
