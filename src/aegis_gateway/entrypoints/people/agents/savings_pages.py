"""The pages of what could have cost less, of one agent and of all a tenant's, and the table of requests as a file."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response

from aegis_gateway.application.directory import TenantView
from aegis_gateway.entrypoints.agents.savings import Savings, savings_of
from aegis_gateway.entrypoints.people.agents.export import (
    INSTEAD_COLUMNS,
    REPEAT_COLUMNS,
    instead_rows,
    repeat_rows,
)
from aegis_gateway.entrypoints.people.agents.pages import SINCE_OF, address_of, none_of
from aegis_gateway.entrypoints.people.overview.periods import RANGE_WORDS, range_of
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit

LISTED_MAX = 50


def show_agent(visit: Visit) -> Response:
    """What one agent could have paid less for."""
    view = _view(visit)
    if view is None:
        return none_of(visit)
    agent = visit.at["agent"]
    savings = _read(visit, view, agent)
    if agent not in view.registry.agents and not savings.looked_at:
        return none_of(visit)
    here = f"{address_of(view.registry.tenant, agent)}/savings"
    return _page(visit, savings, f"{here}?", f"{here}/table.csv?range={savings.period.range}", view)


def show_tenant(visit: Visit) -> Response:
    """What all agents of a tenant asked again."""
    tenant = visit.tenant
    if tenant is None:
        return visit.without_tenant()
    view = visit.office.tenants()[tenant]
    savings = _read(visit, view, None)
    pairs = urlencode({"tenant": tenant})
    table = f"/agents/savings/table.csv?{pairs}&range={savings.period.range}"
    return _page(visit, savings, f"/agents/savings?{pairs}&", table, view)


def export_agent(visit: Visit) -> Response:
    """The requests that one agent made again, all of them; or what other models would have cost."""
    view = _view(visit)
    if view is None:
        return none_of(visit)
    savings = _read(visit, view, visit.at["agent"])
    if visit.query.get("of") != "models":
        return _file(visit, savings)
    name = f"{savings.agent}-other-models-{savings.period.range}"
    return table_file(visit, name, INSTEAD_COLUMNS, instead_rows(savings.instead))


def export_tenant(visit: Visit) -> Response:
    """The requests that agents of a tenant made again, all of them."""
    tenant = visit.tenant
    if tenant is None:
        return visit.no_tenant()
    return _file(visit, _read(visit, visit.office.tenants()[tenant], None))


def _page(visit: Visit, savings: Savings, address: str, table: str, view: TenantView) -> Response:
    calls = {"tenant": savings.tenant, "state": "settled", "since": SINCE_OF[savings.period.range]}
    if savings.agent is not None:
        calls["agent"] = savings.agent
    return visit.page(
        "agents/savings.html",
        savings=savings,
        tenants=visit.readable,
        address=address,
        table=table,
        calls=f"/calls?{urlencode(calls)}",
        ranges=list(RANGE_WORDS.items()),
        listed=LISTED_MAX,
        is_registered=savings.agent in view.registry.agents,
    )


def _file(visit: Visit, savings: Savings) -> Response:
    name = f"{savings.agent or savings.tenant}-asked-again-{savings.period.range}"
    return table_file(visit, name, REPEAT_COLUMNS, repeat_rows(savings.repeated))


def _read(visit: Visit, view: TenantView, agent: str | None) -> Savings:
    range_ = range_of(visit.query)
    if agent is not None and "\0" in agent:  # no store has one in a text
        agent = ""
    with visit.office.store() as store:
        return savings_of(store.query, view, agent, range_, store.clock_ns())


def _view(visit: Visit) -> TenantView | None:
    tenant = visit.at["tenant"]
    return visit.office.tenants()[tenant] if tenant in visit.readable else None
