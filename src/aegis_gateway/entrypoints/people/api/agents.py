"""Agents, for programs in the name of a person who may read them: all of a tenant, and one in full."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.agents.account import account_of
from aegis_gateway.entrypoints.agents.policy_texts import PolicyTexts
from aegis_gateway.entrypoints.agents.records import account_record, line_record
from aegis_gateway.entrypoints.agents.roster import roster
from aegis_gateway.entrypoints.agents.savings import savings_of
from aegis_gateway.entrypoints.people.agents.view import AgentsView, Order
from aegis_gateway.entrypoints.people.api.operations import PROBLEMS, Asks, Tenant
from aegis_gateway.entrypoints.people.overview.periods import Range
from aegis_gateway.entrypoints.people.words import iso

LISTED_MAX = 1_000

State = Literal["active", "idle", "held", "without key", "revoked", "unregistered", "removed"]


class AgentShort(BaseModel):
    """One agent among the others."""

    agent: str
    state: State
    owner: str | None
    team: str | None
    project: str | None
    cost_centre: str | None
    purpose: str | None
    environment: str | None
    budget: str | None
    today_nano_usd: Annotated[int, Field(description="Spent today, by the tenant's clock.")]
    month_nano_usd: int
    last_30d_nano_usd: int
    calls_30d: int
    refused_30d: int
    last_call: str | None
    keys: int
    valid_keys: Annotated[int, Field(description="Those that may be called with.")]


class AgentList(BaseModel):
    """Agents of a tenant; `count` is how many there are in all that were asked for."""

    tenant: str
    count: int
    agents: list[AgentShort]


class AgentFull(BaseModel):
    """One agent: who it is, what it spent and on what, what it was refused, and what could have cost less."""

    tenant: str
    agent: str
    state: State
    owner: str | None
    team: str | None
    project: str | None
    cost_centre: str | None
    purpose: str | None
    environment: str | None
    tags: dict[str, str]
    last_call: str | None
    today_nano_usd: int
    month_nano_usd: int
    period: dict[str, Any]
    spent_nano_usd: int
    spent: str
    spent_before_nano_usd: Annotated[int, Field(description="In the same time before.")]
    calls: int
    settled_calls: int
    refused_calls: int
    tokens: int
    output_tokens: int
    runs: int
    runs_nano_usd: int
    is_cut: Annotated[
        bool, Field(description="Runs and dearest calls are of the period's newest calls alone.")
    ]
    dearest_runs: list[dict[str, Any]]
    dearest_calls: list[dict[str, Any]]
    refusals: list[dict[str, Any]]
    budgets: list[dict[str, Any]]
    keys: list[dict[str, Any]]
    savings: Annotated[dict[str, Any], Field(description="What could have cost less; none of it was saved.")]


router = APIRouter(prefix="/api/v1", responses=PROBLEMS, tags=["Agents"])


@router.get("/agents", response_model=AgentList, summary="List agents")
def list_agents(
    asks: Asks,
    tenant: Tenant = None,
    q: Annotated[str, Query(description="In name, owner, team or purpose.", max_length=128)] = "",
    team: Annotated[str, Query(max_length=128)] = "",
    owner: Annotated[str, Query(max_length=128)] = "",
    state: Annotated[State | None, Query(description="How they stand.")] = None,
    sort: Annotated[Order, Query(description="Numbers the greatest first, words from A on.")] = "30d",
    limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> dict[str, Any]:
    """List a tenant's agents: whose they are, how they stand, what they spend, the dearest first."""
    name = asks.tenant(tenant)
    registry = asks.office.tenants()[name].registry
    with asks.office.store() as store:
        lines = roster(store.query, registry, store.clock_ns())
    view = AgentsView(tenant=name, q=q, team=team, owner=owner, state=state or "", sort=sort)
    found = view.of(lines)
    shown = found[offset : offset + limit]
    return {"tenant": name, "count": len(found), "agents": [line_record(each, iso) for each in shown]}


@router.get("/agents/{agent:path}", response_model=AgentFull, summary="Show one agent")
def show_agent(
    request: Request,
    asks: Asks,
    agent: Annotated[str, Path(description="The agent's id.", max_length=255)],
    tenant: Tenant = None,
    period: Annotated[
        Range, Query(alias="range", description="Of which period; days are the tenant's.")
    ] = "7d",
) -> dict[str, Any]:
    """Show what one agent costs and why it was refused, with its keys, budgets, and what could have cost less."""
    name = asks.tenant(tenant)
    view = asks.office.tenants()[name]
    texts: PolicyTexts = request.app.state.policy_texts
    with asks.office.store() as store:
        now_ns = store.clock_ns()
        found = account_of(store.query, view.registry, agent, period, now_ns)
        if found is None:
            raise CallError(f"there is no agent `{agent[:64]}` in `{name}`", field="agent", status=404)
        savings = savings_of(store.query, view, agent, period, now_ns)
        sees_shared = asks.office.sees_shared(asks.reader.person)
        policies = texts.of(store, name, view.config_version, sees_shared=sees_shared)
    return account_record(found, savings, policies, now_ns, iso)
