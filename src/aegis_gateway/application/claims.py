"""Claims: which rates and budgets apply to a call, and to which of their balances.

Rule: what follows from key, connector, tool and model alone is worked out once and remembered with the registry that it
is of; only what the call itself decides on (its run, the customer it serves) is worked out for each call.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.application.directory import Claims, TenantView
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Mode, Throttle
from aegis_gateway.domain.rate import OF_POLICY, RateClaim
from aegis_gateway.domain.registry import (
    ON_THE_FLY,
    TAG,
    Agent,
    Budget,
    Dimension,
    Key,
    Match,
    Rate,
    Registry,
)

KEY_THROTTLE = "key-throttle"
CLAIMS_REMEMBERED_MAX = 65_536
INSTANCES_MAX = 10_000
"""How many balances of one budget an agent may open in a day, where the configuration doesn't say."""

Values = dict[Dimension, str]

_OF_CALLS: tuple[Dimension, ...] = ("key", "connector", "tool", "model", *ON_THE_FLY)
"""What calls of one agent may differ in."""


def claims_of(
    view: TenantView,
    agent: Agent,
    key: Key,
    *,
    connector: str,
    tool: str,
    model: str | None,
    run: str,
    opens_run: bool,
    customer: str | None,
    throttles: tuple[Throttle, ...] = (),
    delegators: tuple[tuple[Agent, Key], ...] = (),
) -> tuple[tuple[RateClaim, ...], tuple[BudgetClaim, ...]]:
    """The rates and budgets that apply to a call; `throttles` are what the policies that match it add to the rates.

    `delegators` are those in whose name the call is made, on whose budgets it counts as well: on each balance once.
    """
    rates, budgets = _own_claims(
        view, agent, key, connector, tool, model, run, customer, throttles, opens_run=opens_run
    )
    if not delegators:
        return rates, budgets
    found = {(budget.budget, budget.scope): budget for budget in budgets}
    for above, with_key in delegators:
        _, theirs = _own_claims(
            view, above, with_key, connector, tool, model, run, customer, (), opens_run=False
        )
        for budget in theirs:
            found.setdefault((budget.budget, budget.scope), budget)
    return rates, tuple(found.values())


def _own_claims(
    view: TenantView,
    agent: Agent,
    key: Key,
    connector: str,
    tool: str,
    model: str | None,
    run: str,
    customer: str | None,
    throttles: tuple[Throttle, ...],
    *,
    opens_run: bool,
) -> tuple[tuple[RateClaim, ...], tuple[BudgetClaim, ...]]:
    combination = (key.id, connector, tool, model)
    known = view.claims.get(combination)
    if known is None:
        values = _values(view.registry, agent, key, connector, tool, model)
        known = _claims(view, agent, key, values)
        if len(view.claims) < CLAIMS_REMEMBERED_MAX:
            view.claims[combination] = known
    if not known.later_rates and not known.later_budgets and not throttles:
        return known.rates, known.budgets
    values = _values(view.registry, agent, key, connector, tool, model)
    values["run"] = run
    if customer is not None:
        values["customer"] = customer
    rates = [
        _rate_claim(view.registry, rate, values)
        for rate in known.later_rates
        if (opens_run or not rate.of_runs) and _applies(rate.match, rate.per, values)
    ]
    budgets = [
        claim_on(view, budget, scope_of(budget.per, values), agent.id)
        for budget in known.later_budgets
        if budget.id == agent.budget or _applies(budget.match, budget.per, values)
    ]
    rates += [_throttle_claim(view.registry, throttle, values) for throttle in throttles]
    return (*known.rates, *rates), (*known.budgets, *budgets)


def rates_of_opening(view: TenantView, agent: Agent, key: Key) -> tuple[RateClaim, ...]:
    """The rates of new runs that apply where one is opened without a call."""
    values = _values(view.registry, agent, key, "", "", None)
    for name in ("connector", "tool"):
        del values[name]
    return tuple(
        _rate_claim(view.registry, msgspec.structs.replace(rate, delay_ns=0), values)
        for rate in view.registry.rates.values()
        if rate.of_runs and _applies(rate.match, rate.per, values)
    )


def _values(
    registry: Registry, agent: Agent, key: Key, connector: str, tool: str, model: str | None
) -> Values:
    """What a call is in each dimension; those it has none of are absent."""
    values = _agent_values(registry, agent) | {"key": key.id, "connector": connector, "tool": tool}
    if model is not None:
        values["model"] = model
    return values


def _agent_values(registry: Registry, agent: Agent) -> Values:
    """What all calls of an agent are."""
    values: Values = {
        "tenant": registry.tenant,
        "team": agent.team,
        "agent": agent.id,
        "environment": agent.environment,
    }
    if agent.project is not None:
        values["project"] = agent.project
    for name, value in agent.tags.items():
        values[f"{TAG}{name}"] = value
    return values


def _claims(view: TenantView, agent: Agent, key: Key, values: Values) -> Claims:
    registry = view.registry
    rates = list(registry.rates.values())
    budgets = [budget for budget in registry.budgets.values() if budget.match or budget.id == agent.budget]
    throttle: tuple[RateClaim, ...] = ()
    if key.throttle is not None:
        limit = key.throttle.limit
        throttle += (
            RateClaim(
                rate=KEY_THROTTLE,
                scope=key.id,
                limit=limit,
                period_ns=key.throttle.period_ns,
                burst=limit,
                mode=_mode(registry, "enforce"),
            ),
        )
    throttle += tuple(
        RateClaim(
            rate=f"{KEY_THROTTLE}:{hold.rule}",
            scope=key.id,
            limit=hold.limit,
            period_ns=hold.period_ns,
            burst=hold.limit,
            mode=_mode(registry, hold.mode),
        )
        for hold in key.holds
        if hold.limit and hold.lifted_ns is None
    )
    return Claims(
        rates=tuple(
            _rate_claim(registry, rate, values)
            for rate in rates
            if not _is_later(rate) and _applies(rate.match, rate.per, values)
        )
        + throttle,
        budgets=tuple(
            claim_on(view, budget, scope_of(budget.per, values), agent.id)
            for budget in budgets
            if not _is_later(budget)
            and (budget.id == agent.budget or _applies(budget.match, budget.per, values))
        ),
        later_rates=tuple(rate for rate in rates if _is_later(rate)),
        later_budgets=tuple(budget for budget in budgets if _is_later(budget)),
    )


def _is_later(limit: Rate | Budget) -> bool:
    """Whether it takes the call itself to know if a limit applies, and to which of its balances."""
    used = {*limit.per, *(dimension for dimension, _ in limit.match)}
    return (isinstance(limit, Rate) and limit.of_runs) or not used.isdisjoint(ON_THE_FLY)


def _rate_claim(registry: Registry, rate: Rate, values: Values) -> RateClaim:
    return RateClaim(
        rate=rate.id,
        scope=scope_of(rate.per, values),
        limit=rate.limit,
        period_ns=rate.period_ns,
        burst=rate.burst,
        delay_ns=rate.delay_ns,
        mode=_mode(registry, rate.mode),
    )


def _throttle_claim(registry: Registry, throttle: Throttle, values: Values) -> RateClaim:
    return RateClaim(
        rate=f"{OF_POLICY}{throttle.policy}",
        scope=scope_of((throttle.per,), values) if throttle.scope is None else throttle.scope,
        limit=throttle.limit,
        period_ns=throttle.period_ns,
        burst=throttle.limit,
        mode=_mode(registry, throttle.mode),
    )


def _mode(registry: Registry, mode: Mode) -> Mode:
    """How a limit acts; in proxy mode none stops a call."""
    return mode if registry.proxy is None else "shadow"


def _applies(match: Match, per: tuple[Dimension, ...], values: Values) -> bool:
    return all(values.get(dimension) == wanted for dimension, wanted in match) and all(
        dimension in values for dimension in per
    )


def claim_on(view: TenantView, budget: Budget, scope: str, agent: str | None = None) -> BudgetClaim:
    """A claim on one balance of a budget: an agent's by a call, or one for a look at it besides all calls."""
    quantity = view.registry.quantities[budget.quantity]
    opens = agent is not None and any(dimension in ON_THE_FLY for dimension in budget.per)
    return BudgetClaim(
        budget=budget.id,
        scope=scope,
        quantity=budget.quantity,
        scale=quantity.scale,
        is_money=quantity.is_money,
        limit=budget.limit,
        hard=budget.hard,
        period=budget.period,
        zone=budget.zone,
        owner=budget.owner,
        once=budget.once,
        length_ns=budget.length_ns,
        year_starts=budget.year_starts,
        instances_max=(budget.instances_max or INSTANCES_MAX) if opens else None,
        instances_of=(agent or "") if opens else "",
        mode=_mode(view.registry, budget.mode),
        currency=budget.currency,
        carry_over=budget.carry_over,
        changes=budget.changes,
        thresholds=budget.thresholds,
        is_tried=view.beside_version is not None,
    )


def budgets_of_agent(registry: Registry, agent: Agent) -> list[tuple[Budget, str | None]]:
    """The budgets that calls of an agent can count on, each with the agent's balance of it.

    None is the balance where the call decides on it (its model, its run…), or whether it counts there at all.
    """
    values = _agent_values(registry, agent)
    found: list[tuple[Budget, str | None]] = []
    for budget in registry.budgets.values():
        matched = bool(budget.match) and all(
            values.get(dimension) == wanted
            for dimension, wanted in budget.match
            if dimension in values or dimension not in _OF_CALLS
        )
        if budget.id != agent.budget and not matched:
            continue
        needed = {*budget.per, *(() if budget.id == agent.budget else (name for name, _ in budget.match))}
        scope = scope_of(budget.per, values) if needed <= set(values) else None
        found.append((budget, scope))
    return found


def is_of_balance(registry: Registry, key: Key, budget_id: str, scope: str) -> bool:
    """Whether what is called with a key counts on a balance of a budget that tells apart nothing but keys."""
    agent, budget = registry.agents.get(key.agent), registry.budgets[budget_id]
    if agent is None:
        return False
    values = _values(registry, agent, key, "", "", None)
    counts = budget.id == agent.budget if not budget.match else _applies(budget.match, budget.per, values)
    return counts and scope_of(budget.per, values) == scope


def scope_of(per: tuple[Dimension, ...], values: Values) -> str:
    """Which of its balances a call counts against, where a limit is split by dimensions."""
    return "/".join(values.get(dimension, "") for dimension in per)
