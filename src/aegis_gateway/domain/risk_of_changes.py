"""How each kind of thing in a configuration is judged (`risk.py` says by which rules): the tables, and `risk_of`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Literal

import msgspec

from aegis_gateway.domain.adapts import Adapts
from aegis_gateway.domain.approval_rules import ApprovalRules, AskRules
from aegis_gateway.domain.currency import Currency
from aegis_gateway.domain.limits import CarryOver
from aegis_gateway.domain.price import ModelPrice, ToolPrice
from aegis_gateway.domain.registry import EVERY_AGENT, Budget, Connector, Rate, Registry
from aegis_gateway.domain.replication import REPLICATION, Replication
from aegis_gateway.domain.risk import (
    Compare,
    Finding,
    Judged,
    PolicyBody,
    Risk,
    Section,
    Stance,
    compared,
    less_widens,
    more_widens,
    neutral,
    turned_off_widens,
    turned_on_widens,
    unclear,
)
from aegis_gateway.domain.risk_of_notices import notify_risk
from aegis_gateway.domain.risk_of_thresholds import thresholds_risk


def _model_price(old: ModelPrice | None, new: ModelPrice | None) -> Judged:
    """A model's price; without one, calls of it are refused."""
    if new is None:
        return "narrowing", "is gone, so it can't be called"
    if old is None:
        return "widening", "is known, so it can be called"
    before, after = _by_tier(old), _by_tier(new)
    if before == after:
        return "neutral", "is the same from elsewhere"
    if before.keys() == after.keys() and all(before[each] <= after[each] for each in after):
        return "narrowing", "is higher"
    return "widening", "is another, so budgets may bear more calls"


def _by_tier(price: ModelPrice) -> dict[tuple[int, str], Fraction]:
    return {
        (tier.above_input_tokens, kind): Fraction(unit.nano_usd, unit.per)
        for tier in price.tiers
        for kind, unit in tier.prices.items()
    }


def _tool_price(old: ToolPrice, new: ToolPrice) -> Judged:
    per_call = new.per_call_nano_usd
    otherwise_same = msgspec.structs.replace(old, per_call_nano_usd=per_call, version=new.version) == new
    if per_call > old.per_call_nano_usd and otherwise_same:
        return "narrowing", "is higher"
    return "widening", "is another, so budgets may bear more calls"


def _network(_old: str, new: str) -> Judged:
    if new == "public":
        return "narrowing", "is the public one"
    return "widening", "may be a private one"


def _asks_for(old: tuple[str, ...] | Literal["all"], new: tuple[str, ...] | Literal["all"]) -> Judged:
    """For whom an agent may ask: who asks for another spends that one's money."""
    if old == EVERY_AGENT or (new != EVERY_AGENT and set(new) < set(old)):
        return "narrowing", "is for fewer agents"
    if new != EVERY_AGENT and set(new) == set(old):
        return "neutral", "is in another order"
    return "widening", "is for agents for whom it could not ask"


def _within(old: str | None, new: str | None) -> Judged:
    if new is None:
        return "widening", "is gone"
    return ("narrowing", "is new") if old is None else unclear(old, new)


def _answers_for(_old: str | None, new: str | None) -> Judged:
    """Who may move a budget's money, and agree to more of it where `asks` names its owner."""
    if not new:
        return "narrowing", "is nobody any more"
    return "widening", "is another, who answers for it"


def _adapts(old: Adapts | None, new: Adapts | None) -> Judged:
    """A limit that follows use: what it may come to without anybody's word."""
    if new is None:
        return "neutral", "is gone"
    if new.applies == "approval":
        return "neutral", "proposes, and changes nothing by itself"
    if old is None or old.applies == "approval":
        return "widening", "may raise the limit by itself"
    bounds = ("floor", "ceiling", "k_thousandths", "most_change")
    if all(getattr(new, bound) <= getattr(old, bound) for bound in bounds) and new.every == old.every:
        return "narrowing", "raises the limit less"
    return "widening", "may raise the limit by more"


def _pace(rate: Rate) -> dict[str, Any]:
    """A rate's settings, with limit and time as one."""
    values = msgspec.structs.asdict(rate)
    return {"pace": Fraction(values.pop("limit"), values.pop("period_ns")), **values}


def _limited(budget: Budget) -> dict[str, Any]:
    """A budget's settings, with its limit as it is for good: a version that configures another ends lasting changes."""
    values = msgspec.structs.asdict(budget)
    lasting = sum(change.amount for change in values.pop("changes") if change.ends_ns is None)
    return {**values, "limit": budget.limit + lasting}


def _without_operations(connector: Connector) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(connector).items() if name != "operations"}


def _currency(old: Currency | None, new: Currency | None) -> Judged:
    """What a limit is worth: by the table at each date that either has."""
    if old is None or new is None or old.code != new.code:
        return unclear(old, new)
    pairs = [(old.on(rate.day), new.on(rate.day)) for rate in (*old.rates, *new.rates)]
    if any(
        after is not None and (before is None or after.pico_usd > before.pico_usd) for before, after in pairs
    ):
        return "widening", "is worth more"
    return "narrowing", "is worth less"


def _carry_over(old: CarryOver | None, new: CarryOver | None) -> Judged:
    if old is None or new is None:
        return turned_on_widens(old is not None, new is not None)
    if new.most > old.most:
        return "widening", "takes more over"
    if old.expires_ns and (not new.expires_ns or new.expires_ns > old.expires_ns):
        return "widening", "lasts longer"
    return "narrowing", "takes less over, or for a shorter time"


_NEW, _GONE = "is new", "is gone"

_DIGEST: dict[str, Compare] = dict.fromkeys(("every", "scope", "name", "hour", "to"), neutral)
"""It goes to channels that are there."""

_SECTIONS = {
    "quantities": Section(noun="quantity", added=("neutral", _NEW), removed=("neutral", _GONE)),
    "teams": Section(
        noun="team",
        added=("neutral", _NEW),
        removed=("neutral", _GONE),
        settings={"name": neutral, "default_budget": neutral},
    ),
    "projects": Section(
        noun="project", added=("neutral", _NEW), removed=("neutral", _GONE), settings={"name": neutral}
    ),
    "customers": Section(
        noun="customer", added=("neutral", _NEW), removed=("narrowing", _GONE), settings={"name": neutral}
    ),
    "agents": Section(
        noun="agent",
        added=("neutral", _NEW),
        removed=("narrowing", _GONE),
        settings={"external_id": neutral, "asks_for": _asks_for},
    ),
    "connectors": Section(
        noun="connector",
        added=("widening", "is new, and leads out"),
        removed=("narrowing", _GONE),
        settings={"network": _network, "deadlines": neutral},
        values=_without_operations,
    ),
    "models": Section(
        noun="model",
        added=("widening", "is new, and may be called"),
        removed=("narrowing", _GONE),
        settings={
            "price": _model_price,
            "max_output_tokens": more_widens,
            "default_output_tokens": more_widens,
            "min_output_tokens": less_widens,
            "expected_output_tokens": less_widens,
        },
    ),
    "budgets": Section(
        noun="budget",
        added=("narrowing", _NEW),
        removed=("widening", _GONE),
        settings={
            "owner": _answers_for,
            "deputy": _answers_for,
            "limit": more_widens,
            "hard": turned_off_widens,
            "instances_max": more_widens,
            "within": _within,
            "adapts": _adapts,
            "currency": _currency,
            "carry_over": _carry_over,
            "thresholds": thresholds_risk,
        },
        values=_limited,
    ),
    "rates": Section(
        noun="rate",
        added=("narrowing", _NEW),
        removed=("widening", _GONE),
        settings={"pace": more_widens, "burst": more_widens, "delay_ns": more_widens},
        values=_pace,
    ),
    "channels": Section(
        noun="channel",
        added=("widening", "is new, and leads out"),
        removed=("neutral", _GONE),
        settings={"network": _network, "sender": neutral},
    ),
    "digests": Section(noun="digest", added=("neutral", _NEW), removed=("neutral", _GONE), settings=_DIGEST),
}
"""What a registry has of each kind. A new agent has no key yet; one that has some is judged as changed."""

_OPERATIONS = Section(
    noun="operation",
    added=("widening", "is new, and may be called"),
    removed=("narrowing", _GONE),
    settings={"price": _tool_price},
)


def _shadow_for(old: int, new: int) -> Judged:
    return ("widening", "is shorter") if new < old else ("narrowing", "is longer")


def _replication(old: Replication | None, new: Replication | None) -> Judged:
    """The bounds of owners, all together: one that is wider anywhere is wider."""
    if new is None or (new.mode == "shadow" and old is not None and old.mode == "enforce"):
        is_acting = old is not None and old.mode == "enforce"
        return ("widening", "acts no more") if is_acting else ("neutral", "is gone, and was in shadow")
    if new.mode == "shadow":
        return "neutral", "is in shadow, and changes nothing"
    if old is None or old.mode == "shadow":
        return "narrowing", "acts"
    pairs = [
        (old.bounds, new.bounds),
        *((old.of(each), new.of(each)) for each in {**old.owners, **new.owners}),
    ]
    for before, after in pairs:
        for name in before.__struct_fields__:
            was, most = getattr(before, name), getattr(after, name)
            if was is not None and (most is None or most > was):
                return "widening", "bears more"
    if new.idle_ns < old.idle_ns:
        return "widening", "has runs count for a shorter time"
    return "narrowing", "bears less"


def _approvals(old: ApprovalRules, new: ApprovalRules) -> Judged:
    """Who may agree to what would not pass otherwise, all together: other people may be people who agree to more."""
    if new.owner_may_answer and not old.owner_may_answer:
        return "widening", "let an agent's owner agree to its calls"
    if new.valid_for_ns > old.valid_for_ns:
        return "widening", "let a grant be used for longer"
    is_kept = all(new.groups.get(name) == group for name, group in old.groups.items())
    if new.routes != old.routes or not is_kept:
        return "widening", "ask other people"
    if new.owner_may_answer == old.owner_may_answer and new.valid_for_ns == old.valid_for_ns:
        return "neutral", "ask the same people"
    return "narrowing", "let less be agreed to"


def _asks(old: AskRules, new: AskRules) -> Judged:
    """Who may raise limits that somebody asks to be raised; without routes, those who may do so anyway."""
    if not new.routes:
        return "narrowing", "let nobody raise limits but those who may anyway"
    if new.routes != old.routes:
        return "widening", "let other people raise limits"
    return "neutral", "give another time to answer"


_TENANT: dict[str, Compare] = {
    "approvals": _approvals,
    "asks": _asks,
    "name": neutral,
    "four_eyes": turned_off_widens,
    "shadow_for_ns": _shadow_for,
    "proxy": turned_on_widens,
    "currencies": neutral,  # what they do to budgets is told of those
    "notify": notify_risk,
}

_BOUNDS: dict[str, Compare] = {
    "reason": neutral,
    "output_tokens_max": more_widens,
    "cost_max_nano_usd": more_widens,
}
"""What of a policy can be told while its condition stays; a throttle's numbers go together and can't."""


def risk_of(old: Mapping[str, Stance], new: Mapping[str, Stance]) -> Risk:
    """What a change does, tenant by tenant; nothing was in force where `old` is empty."""
    return Risk(
        findings=tuple(
            finding
            for tenant in sorted(old.keys() | new.keys())
            for finding in _of_tenant(tenant, old.get(tenant), new.get(tenant))
        )
    )


def _of_tenant(tenant: str, old: Stance | None, new: Stance | None) -> Iterator[Finding]:
    if old is None:
        yield _of_itself(tenant, ("widening", "is new, and nobody could call anything there"))
    elif new is None:
        # Made anew it would begin without the want of a second person.
        with_it: Judged = ("widening", "is gone, and four eyes with it")
        yield _of_itself(tenant, with_it if old.registry.four_eyes else ("narrowing", _GONE))
    else:
        yield from _of_registries(old.registry, new.registry, new.keyed)
        for name in sorted(old.policies.keys() | new.policies.keys()):
            for direction, reason in _of_policy(old.policies.get(name), new.policies.get(name)):
                yield Finding(tenant=tenant, what=f"policy {name}", direction=direction, reason=reason)


def _of_itself(tenant: str, judged: Judged) -> Finding:
    return Finding(tenant=tenant, what=f"tenant {tenant}", direction=judged[0], reason=judged[1])


def _of_registries(old: Registry, new: Registry, keyed: frozenset[str]) -> Iterator[Finding]:
    tenant = new.tenant
    before, after = msgspec.structs.asdict(old), msgspec.structs.asdict(new)
    own = [name for name in after if name not in _SECTIONS and name != REPLICATION]
    for judged in compared(
        {name: before[name] for name in own}, {name: after[name] for name in own}, _TENANT
    ):
        yield _of_itself(tenant, judged)
    if old.replication != new.replication:
        direction, reason = _replication(old.replication, new.replication)
        yield Finding(tenant=tenant, what=REPLICATION, direction=direction, reason=reason)
    for name, section in _SECTIONS.items():
        yield from section.findings(tenant, before[name], after[name])
    for agent in sorted((after["agents"].keys() - before["agents"].keys()) & keyed):
        reason = "comes back while it has keys; what they may do now can't be told"
        yield Finding(tenant=tenant, what=f"agent {agent}", direction="widening", reason=reason)
    yield from _of_operations(old, new)


def _of_operations(old: Registry, new: Registry) -> Iterator[Finding]:
    """Those of connectors that were there before and still are."""
    for name in sorted(old.connectors.keys() & new.connectors.keys()):
        before, after = (
            {f"{name}.{operation.id}": operation for operation in registry.connectors[name].operations}
            for registry in (old, new)
        )
        yield from _OPERATIONS.findings(new.tenant, before, after)


def _of_policy(old: PolicyBody | None, new: PolicyBody | None) -> Iterator[Judged]:
    was = old if old is not None and old.policy.mode == "enforce" else None
    acts = new if new is not None and new.policy.mode == "enforce" else None
    if was is None and acts is None:
        if old != new:
            yield "neutral", "is in shadow, and changes nothing"
    elif was is None and acts is not None:
        came = _NEW if old is None else "is no longer in shadow"
        yield ("widening", f"{came}, and permits") if _permits(acts) else ("narrowing", came)
    elif acts is None and was is not None:
        went = _GONE if new is None else "is put in shadow"
        yield ("narrowing", f"{went}, and permitted") if _permits(was) else ("widening", went)
    elif was is not None and acts is not None:
        yield from _of_enforced(was, acts)


def _of_enforced(old: PolicyBody, new: PolicyBody) -> Iterator[Judged]:
    if old.policy.effect != new.policy.effect:
        if _permits(old) and new.policy.effect == "deny":
            yield "narrowing", "denies what it permitted"
        else:
            yield unclear(old, new)[0], "has another effect"
    elif old.condition != new.condition:
        yield unclear(old, new)[0], "is about other calls; how far can't be told"
    else:
        yield from compared(msgspec.structs.asdict(old.policy), msgspec.structs.asdict(new.policy), _BOUNDS)


def _permits(body: PolicyBody) -> bool:
    return body.policy.effect == "permit"
