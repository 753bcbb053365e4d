"""`aegis shadow`: what rules in shadow would have done to the calls that were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from aegis_gateway.adapters.reports import ShadowReport
from aegis_gateway.domain.money import usd_short, usd_text
from aegis_gateway.domain.shadow_rules import in_shadow, told
from aegis_gateway.entrypoints.cli import options
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import DIM, STRONG, out, print_json
from aegis_gateway.entrypoints.cli.session import opened

_NOTHING = 'no rule is in shadow; write @mode("shadow") before a policy, or mode: shadow in a budget or rate'


def shadow(
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Calls since then: 1h, 7d, 2026-11-23 or 2026-11-23T08:00Z.")
    ] = "7d",
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what rules in shadow would have done: to how many calls, of whom, and what those cost.

    A policy with @mode("shadow"), a budget or rate limit with `mode: shadow` is evaluated with the others and changes
    nothing. Each is judged alone: what would it, enforced, have changed about calls as they were decided? A permit
    counts where nothing but the want of one refused, anything else where nothing refused. Budgets and rates keep
    balances of their own, of the calls that they would have let pass. Where a tenant has `proxy`, all its policies,
    budgets and rates are in shadow, and so is the want of a permit.
    """
    from aegis_gateway import bootstrap

    with opened(store) as session:
        name = session.tenant(tenant)
        now_ns = session.clock.now_ns()
        registry = session.configured(name)
        policies = bootstrap.compiled_policies(session.configuration, name).rules
        rules = in_shadow(registry, (policy for _, policy in sorted(policies.items())))
        found = session.reports.shadow(name, options.since_ns(since, now_ns))
    if as_json:
        print_json(_record(name, rules, found))
        return
    lines = list(_lines(rules, found, since))
    if not lines:
        lines = [Text(_NOTHING)]
    out().print(Group(*lines))


def _lines(rules: Mapping[str, str], found: Sequence[ShadowReport], since: str) -> Iterator[Text]:
    """Rules in shadow, then those that are not any more and left their trace."""
    for rule in dict.fromkeys((*rules, *(each.rule for each in found))):
        state = f"{rules[rule]}, in shadow" if rule in rules else "not in shadow any more"
        yield Text.assemble((rule, STRONG), (f"  {state}", DIM))
        mine = [each for each in found if each.rule == rule]
        for each in mine:
            yield Text(f"  {_told(each)}")
            yield Text(f"  such as {', '.join(each.examples)}", style=DIM)
        if not mine:
            yield Text(f"  would have changed nothing since {since}")


def _told(report: ShadowReport) -> str:
    agents = [(agent.name or "", agent.calls) for agent in report.agents]
    return told(report.would, report.calls, report.nano_usd, agents, usd_short)


def _record(tenant: str, rules: Mapping[str, str], found: Sequence[ShadowReport]) -> dict[str, object]:
    return {
        "tenant": tenant,
        "in_shadow": list(rules),
        "findings": [
            {
                "rule": each.rule,
                "would": each.would,
                "calls": each.calls,
                "nano_usd": each.nano_usd,
                "usd": usd_text(each.nano_usd),
                "agents": [
                    {"agent": agent.name, "calls": agent.calls, "nano_usd": agent.nano_usd}
                    for agent in each.agents
                ],
                "examples": list(each.examples),
            }
            for each in found
        ],
    }
