"""What calls could have cost less: questions that were asked again, and what other models would have cost.

Rule 1: it is told of the newest settled calls of a period, at most `LOOKED_AT`, and says of how many.
Rule 2: another model is one of the same API that the agent may call (`application/visibility.py`), in a region where
        the tenant's data may be. Nothing here was saved, and nothing is added to what was spent.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aegis_gateway.adapters.agent_reports import LOOKED_AT, AgentReports
from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.usage_reports import UsageReports, Where
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.visibility import reach_of
from aegis_gateway.domain.cheaper import Candidate, Traffic, WouldCost, would_have_cost
from aegis_gateway.domain.judge import Reach
from aegis_gateway.domain.registry import Model, Registry
from aegis_gateway.domain.repeats import Repeated, SettledRequest, repeated
from aegis_gateway.domain.reuse import is_reusable
from aegis_gateway.domain.usage import UsageSum
from aegis_gateway.entrypoints.people.overview.periods import Period, Range, period_of


class Instead(msgspec.Struct, frozen=True, kw_only=True):
    """What one model's calls used and cost, and what they would have cost with each other model that may be called.

    `may_not` are models of the same API that the agent may not call.
    """

    action: str
    traffic: Traffic
    others: tuple[WouldCost, ...]
    may_not: tuple[str, ...]


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """What could have cost less, of an agent or (None) of all a tenant's. `looked_at` settled calls are told of;
    `is_cut`: there were more. `instead` is told of one agent alone, as what it may call is its own. `whole` is what
    the sums say of the whole period: how many calls a cache could have answered, and what those cost.
    """

    tenant: str
    agent: str | None
    period: Period
    looked_at: int
    is_cut: bool
    spent_nano_usd: int
    repeated: tuple[Repeated, ...]
    instead: tuple[Instead, ...]
    whole: UsageSum

    @property
    def repeats(self) -> int:
        """How many questions were asked again."""
        return sum(each.repeats for each in self.repeated)

    @property
    def repeats_nano_usd(self) -> int:
        """What those cost."""
        return sum(each.repeats_nano_usd for each in self.repeated)

    @property
    def attempts(self) -> int:
        """How many settled attempts of clients' libraries had their answer already."""
        return sum(each.attempts for each in self.repeated)

    @property
    def attempts_nano_usd(self) -> int:
        """What those cost."""
        return sum(each.attempts_nano_usd for each in self.repeated)


def savings_of(query: Query, view: TenantView, agent: str | None, range_: Range, now_ns: int) -> Savings:
    """Read them of an agent, or of all a tenant's."""
    registry, reports = view.registry, AgentReports(query)
    tenant = registry.tenant
    period = period_of(range_, registry.zone, now_ns)
    bounds = (period.since_ns, period.until_ns)
    settled = reports.requests(tenant, agent, *bounds)
    requests = [each for each in settled if _is_reusable(registry, each)]
    traffic = reports.traffic(tenant, agent, *bounds) if agent is not None else {}
    where: Where = {} if agent is None else {"agent": agent}
    return Savings(
        tenant=tenant,
        agent=agent,
        period=period,
        looked_at=len(settled),
        is_cut=reports.settled_count(tenant, agent, *bounds) > LOOKED_AT,
        spent_nano_usd=sum(each.cost_nano_usd for each in settled),
        repeated=tuple(repeated(requests)),
        whole=UsageReports(query).totals(tenant, *bounds, where).sums,
        instead=tuple(
            sorted(
                _instead(view, agent or "", traffic, now_ns),
                key=lambda each: (-each.traffic.cost_nano_usd, each.traffic.model, each.action),
            )
        ),
    )


def _is_reusable(registry: Registry, request: SettledRequest) -> bool:
    """Whether its answer could be used again."""
    return is_reusable(request.model or None, registry.connectors.get(request.connector), request.tool)


def _instead(
    view: TenantView, agent: str, traffic: dict[tuple[str, str], Traffic], now_ns: int
) -> Iterator[Instead]:
    registry = view.registry
    known = registry.agents.get(agent)
    if known is None:
        return
    reach = reach_of(view, known, now_ns)
    for (model, action), used in traffic.items():
        if model not in registry.models:
            continue
        may, may_not = _others(registry, registry.models[model], action, reach)
        others = would_have_cost(used, (_candidate(each) for each in may))
        yield Instead(
            action=action,
            traffic=used,
            others=tuple(others),
            may_not=tuple(sorted(each.id for each in may_not)),
        )


def _others(registry: Registry, model: Model, action: str, reach: Reach) -> tuple[list[Model], list[Model]]:
    """Other models of the same API: those that may be called, and those that may not."""
    kind = registry.connectors[model.connector].kind
    may: list[Model] = []
    may_not: list[Model] = []
    for other in registry.models.values():
        connector = registry.connectors[other.connector]
        if other.id == model.id or connector.kind != kind or not _does(other, action):
            continue
        in_region = not registry.keeps_regions or connector.region in registry.regions
        is_open = in_region and reach.model(action, other.id)
        (may if is_open else may_not).append(other)
    return may, may_not


def _does(model: Model, action: str) -> bool:
    """Whether a model is for such calls, as far as its price tells: what embeds has none for what it puts out."""
    if model.price is None:
        return True
    return (model.price.dearest(0, ("output",)) is None) == (action == "embed")


def _candidate(model: Model) -> Candidate:
    return Candidate(model=model.id, price=model.price, max_input_tokens=model.max_input_tokens)
