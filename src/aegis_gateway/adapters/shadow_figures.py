"""What rules in shadow would have done in a period, with what speaks for and against them; read from either store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.shadow_digest import ShadowedAgent, ShadowFigures, ShadowFinding
from aegis_gateway.domain.shadow_rules import in_shadow
from aegis_gateway.domain.window import Window

_CALLS = """
select agent, count(*) as calls from call
 where tenant = ? and decided_ns >= ? and decided_ns < ? and effect = 'allow' group by agent
"""
"""How many calls of each agent went through. A range of the index on time."""

_AGREED = """
select finding.rule, would, count(*) as calls from shadow_finding as finding join call on call.call = finding.call
 where finding.tenant = ? and finding.decided_ns >= ? and finding.decided_ns < ?
   and effect = 'allow' and reason_code in ('approval_required', 'approved')
 group by finding.rule, would
"""
"""To how many of the calls that a rule would have changed a person had agreed. A range of the primary key."""


def shadow_figures(
    store: Store,
    registry: Registry,
    policies: Iterable[Policy],
    window: Window,
    missing: Sequence[Window] = (),
) -> ShadowFigures:
    """What a tenant's rules in shadow would have done to the calls of a period."""
    values = (registry.tenant, window.starts_ns, window.ends_ns)
    of = {row["agent"]: int(row["calls"]) for row in store.query(_CALLS, values)}
    agreed = {(row["rule"], row["would"]): int(row["calls"]) for row in store.query(_AGREED, values)}
    rules = in_shadow(registry, policies)
    found = Reports(store.query).shadow(registry.tenant, window.starts_ns, until_ns=window.ends_ns)
    return ShadowFigures(
        tenant=registry.tenant,
        tenant_name=registry.name,
        zone=registry.zone,
        window=window,
        rules=rules,
        findings=tuple(
            ShadowFinding(
                rule=each.rule,
                kind=rules[each.rule],
                would=each.would,
                calls=each.calls,
                nano_usd=each.nano_usd,
                agents=tuple(
                    ShadowedAgent(agent=agent.name or "", calls=agent.calls, of=of.get(agent.name or "", 0))
                    for agent in each.agents
                ),
                agreed=agreed.get((each.rule, each.would), 0),
                examples=each.examples,
            )
            for each in found
            if each.rule in rules
        ),
        missing=tuple(missing),
    )
