"""Rules in shadow: which of a tenant's are, in which words it is told what they would have done, and how that ends.

Rule: nothing here changes anything. What is in shadow is enforced, or goes, as everything of a configuration does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.registry import Budget, Rate, Registry
from aegis_gateway.domain.replication import OF_REPLICATION
from aegis_gateway.domain.rule_name import NO_PERMIT

WOULD = {
    "deny": "would have refused",
    "throttle": "would have throttled",
    "require_approval": "would have asked a person about",
    "cap": "would have capped",
    "downgrade": "would have downgraded",
    "redact": "would have redacted something of",
    "allow": "would have allowed",
    "error": "could not be evaluated and so would have refused",
}
_AGENTS_NAMED_MAX = 5


def in_shadow(registry: Registry, policies: Iterable[Policy]) -> dict[str, str]:
    """The rules of a tenant that only say what they would have done, each with what it is."""
    all_of_it = registry.proxy is not None

    def is_quiet(rule: Policy | Budget | Rate) -> bool:
        return all_of_it or rule.mode == "shadow"

    rules = {
        policy.id: "permit" if policy.effect == "permit" else "forbid"
        for policy in policies
        if is_quiet(policy)
    }
    rules |= {f"budget:{each.id}": "budget" for each in registry.budgets.values() if is_quiet(each)}
    rules |= {f"rate:{each.id}": "rate limit" for each in registry.rates.values() if is_quiet(each)}
    if registry.replication is not None and registry.replication_mode == "shadow":
        rules |= dict.fromkeys((f"{OF_REPLICATION}depth", f"{OF_REPLICATION}runs"), "bound of owners")
    if all_of_it:
        rules[NO_PERMIT] = "the want of a permit"
    return rules


def told(
    would: str, calls: int, cost_nano_usd: int, agents: Sequence[tuple[str, int]], usd: Callable[[int], str]
) -> str:
    """What a rule would have done, to how many calls, at what cost, of whom."""
    counted = "1 call" if calls == 1 else f"{calls:,} calls"
    money = "expected to cost" if would == "allow" else "that cost"
    return f"{WOULD[would]} {counted} {money} {usd(cost_nano_usd)}: {_whose(agents)}"


def _whose(agents: Sequence[tuple[str, int]]) -> str:
    named = ", ".join(f"{name} {calls:,}" for name, calls in agents[:_AGENTS_NAMED_MAX])
    more = len(agents) - _AGENTS_NAMED_MAX
    return named + (f" and {more} more agents" if more > 0 else "")


def how_to_enforce(rule: str, kind: str) -> str:
    """What is written in the configuration to enforce a rule that is in shadow."""
    name = rule.partition(":")[2]
    match kind:
        case "permit" | "forbid":
            return f'take mode: shadow, or in Cedar @mode("shadow"), off `{rule}`'
        case "budget":
            return f"write mode: enforce under budgets: {name}:"
        case "rate limit":
            return f"write mode: enforce under rates: {name}:"
        case "bound of owners":
            return "write mode: enforce under replication:"
        case _:
            return "take proxy: out of the tenant, so that all of its rules are enforced"


def how_to_drop(rule: str, kind: str) -> str:
    """What is taken out of the configuration to be rid of a rule."""
    name = rule.partition(":")[2]
    match kind:
        case "permit" | "forbid":
            return f"delete the rule or policy `{rule}`"
        case "budget":
            return f"delete budgets: {name}:"
        case "rate limit":
            return f"delete rates: {name}:"
        case "bound of owners":
            return "delete replication:"
        case _:
            return "it can't be dropped by itself; it goes with proxy:"
