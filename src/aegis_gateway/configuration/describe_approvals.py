"""A tenant's approvals, and whom owners ask for more, in words, setting by setting, for those who compare two
configurations.
"""

from __future__ import annotations

from collections.abc import Iterator

from aegis_gateway.domain.approval_route import Group
from aegis_gateway.domain.approval_rules import (
    NO_ASKS,
    NO_RULES,
    ApprovalRules,
    AskRule,
    AskRules,
    RouteRule,
    WordRule,
)
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.money import usd_text


def describe_approvals(rules: ApprovalRules) -> dict[str, str]:
    """What is set, by name; nothing where all is as it is without."""
    if rules == NO_RULES:
        return {}
    return dict(_fields(rules))


def describe_asks(rules: AskRules) -> dict[str, str]:
    """What is set of whom owners ask for more, by name."""
    described = {f"asks route {number}": _ask(route) for number, route in enumerate(rules.routes, start=1)}
    if rules.within_ns != NO_ASKS.within_ns:
        described["asks for more are answered within"] = duration_text(rules.within_ns)
    return described


def _fields(rules: ApprovalRules) -> Iterator[tuple[str, str]]:
    for name, group in sorted(rules.groups.items()):
        yield f"group {name}", _group(group)
    for number, route in enumerate(rules.routes, start=1):
        yield f"approval route {number}", _route(route)
    times = (
        ("approvals are answered within", rules.within_ns, NO_RULES.within_ns),
        ("approvals may be used for", rules.valid_for_ns, NO_RULES.valid_for_ns),
        ("connections are held for", rules.hold_ns, NO_RULES.hold_ns),
    )
    for name, length_ns, otherwise_ns in times:
        if length_ns != otherwise_ns:
            yield name, duration_text(length_ns)
    if rules.open_per_agent != NO_RULES.open_per_agent:
        yield "approvals that an agent may wait for", str(rules.open_per_agent)
    if rules.group_after != NO_RULES.group_after:
        yield "approvals are grouped after", str(rules.group_after)
    if rules.owner_may_answer:
        yield "owners may answer for their agents", "yes"
    if rules.elicit:
        yield "MCP clients are sent to the page", "yes"


def _group(group: Group) -> str:
    return f"role {group.role}" if group.role is not None else ", ".join(group.people)


def _route(route: RouteRule) -> str:
    stated = (
        ("policy", route.policies),
        ("agent", route.agents),
        ("team", route.teams),
        ("tool", route.tools),
        ("budget", route.budgets),
    )
    about = [f"{what} {' or '.join(names)}" for what, names in stated if names]
    if route.above_nano_usd is not None:
        about.append(f"above {usd_text(route.above_nano_usd)}")
    return f"{', '.join(about) or 'everything'}: {_word(route)}"


def _ask(route: AskRule) -> str:
    most = "any amount" if route.up_to_nano_usd is None else f"up to {usd_text(route.up_to_nano_usd)}"
    return f"{most}: {_word(route)}"


def _word(route: WordRule) -> str:
    words = [f"ask {', '.join(route.ask)}"]
    if route.needs > 1:
        words.append(f"{route.needs} of them")
    if route.within_ns is not None:
        words.append(f"within {duration_text(route.within_ns)}")
    if route.escalate_after_ns is not None:
        words.append(f"after {duration_text(route.escalate_after_ns)} also {', '.join(route.escalate_to)}")
    return ", ".join(words)
