"""Trials: whether what would begin to hold calls back has been in shadow for as long as its tenant demands.

Rule 1: what counts is the rule as it would act: the same policy, budget or rate under the same id, but for its mode and
        its words, in shadow in every version since.
Rule 2: the demand is that of the version in force, so that a change can't do away with it and be let through at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from aegis_gateway.domain.replication import REPLICATION
from aegis_gateway.domain.risk import Finding, Stance

Rules = Mapping[str, tuple[str, Any]]
"""What holds calls back in a tenant, by its name (`policy ID`, `budget ID`, `rate ID`, `replication`): mode, itself."""


class Untried(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that would act too early. `since_ns` is when it was put in shadow as it is now, if it was."""

    tenant: str
    rule: str
    period_ns: int
    since_ns: int | None = None


def rules_of(stance: Stance) -> Rules:
    """All that holds calls back in a tenant. In proxy mode all of it is in shadow."""
    registry = stance.registry
    things: dict[str, tuple[str, Any]] = {
        f"policy {name}": (body.policy.mode, (_as_acting(body.policy), body.condition))
        for name, body in stance.policies.items()
        if body.policy.effect != "permit"
    }
    things |= {f"budget {name}": (each.mode, _as_acting(each)) for name, each in registry.budgets.items()}
    things |= {f"rate {name}": (each.mode, _as_acting(each)) for name, each in registry.rates.items()}
    bounds = registry.replication
    if bounds is not None:
        things[REPLICATION] = (bounds.mode, _as_acting(bounds))
    if registry.proxy is not None:
        return {name: ("shadow", thing) for name, (_, thing) in things.items()}
    return things


def wanting_trial(old: Stance, new: Stance, findings: Iterable[Finding]) -> tuple[str, ...]:
    """The rules that would begin to hold back what is let through now: those that didn't act, policies that are other
    ones, and budgets, rates and bounds of owners of which a change narrows something.
    """
    before, after = rules_of(old), rules_of(new)
    narrower = {finding.what for finding in findings if finding.direction == "narrowing"}
    wanting = []
    for name, (mode, thing) in sorted(after.items()):
        was = before.get(name)
        if mode != "enforce" or was == (mode, thing):
            continue
        if was is None or was[0] != "enforce" or name.startswith("policy ") or name in narrower:
            wanting.append(name)
    return tuple(wanting)


def untried(
    tenant: str,
    names: Iterable[str],
    rules: Rules,
    history: Iterable[tuple[int, Rules]],
    period_ns: int,
    now_ns: int,
) -> tuple[Untried, ...]:
    """Those of some rules that have not been in shadow, unchanged, for a period; `history` is what was in force from
    when on, the newest first.
    """
    since: dict[str, int | None] = dict.fromkeys(names)
    trying = set(since)
    for applied_ns, then in history:
        trying = {name for name in trying if then.get(name) == ("shadow", rules[name][1])}
        for name in trying:
            since[name] = applied_ns
        if not trying or applied_ns <= now_ns - period_ns:
            break
    return tuple(
        Untried(tenant=tenant, rule=name, period_ns=period_ns, since_ns=start)
        for name, start in since.items()
        if start is None or start > now_ns - period_ns
    )


def _as_acting(thing: Any) -> Any:
    """A rule as it would act, without words that decide nothing."""
    words = {name: "" for name in ("owner", "deputy", "reason") if hasattr(thing, name)}
    return msgspec.structs.replace(thing, mode="enforce", **words)
