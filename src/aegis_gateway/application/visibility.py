"""Visibility: what an agent may call under some arguments. It is what lists of tools and models show.

Rule 1: what could be permitted under any arguments, cost, run, customer or use of budgets is visible; what enforced
        policies refuse whatever those are is not. Conditions on time count as they are now.
Rule 2: it only says what is worth asking for. Each call is decided on what it really is.
"""

from __future__ import annotations

from collections.abc import Iterable

from aegis_gateway.application.directory import TenantView
from aegis_gateway.domain.judge import Reach, Unknown
from aegis_gateway.domain.moment import moment
from aegis_gateway.domain.registry import Agent, Registry


class _Everything:
    """The reach of every agent where everything passes."""

    def tool(self, _name: str) -> bool:
        """All tools, also those that nobody declared."""
        return True

    def model(self, _action: str, _name: str) -> bool:
        """All models."""
        return True


_EVERYTHING = _Everything()


def reach_of(view: TenantView, agent: Agent, now_ns: int) -> Reach:
    """What an agent may call, as of an instant."""
    if view.registry.proxy is not None:
        return _EVERYTHING
    return view.policies.reach(agent.id, known_context(agent, view.registry, now_ns))


def visible_tools(view: TenantView, agent: Agent, tools: Iterable[str], now_ns: int) -> list[str]:
    """Those of some tools (`CONNECTOR.OPERATION`) that an agent may call, in their order."""
    reach = reach_of(view, agent, now_ns)
    return [tool for tool in tools if reach.tool(tool)]


def known_context(agent: Agent, registry: Registry, now_ns: int) -> dict[str, object]:
    """What is known of the contexts of all calls that an agent could make now; their arguments are their tools'.

    It has the names that `policy_context` gives a call.
    """
    return {
        "environment": agent.environment,
        "cost": {"expected_usd": Unknown.VALUE, "maximum_usd": Unknown.PRESENCE},
        "time": moment(registry.zone, now_ns, registry.business_hours),
        "run": Unknown.VALUE,
        "depth": Unknown.VALUE,
        "budget": {"utilisation": Unknown.VALUE},
        "parent": Unknown.PRESENCE,
        "customer": Unknown.PRESENCE,
    }
