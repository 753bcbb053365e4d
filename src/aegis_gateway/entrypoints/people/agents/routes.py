"""Which address leads to which page of agents."""

from __future__ import annotations

from starlette.routing import Route

from aegis_gateway.configuration.settings import Settings
from aegis_gateway.entrypoints.agents.policy_texts import PolicyTexts
from aegis_gateway.entrypoints.people.agents import pages, savings_pages
from aegis_gateway.entrypoints.people.agents.pages import AgentPages
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.visits import Handler, page


def agent_routes(office: Office, settings: Settings, texts: PolicyTexts) -> list[Route]:
    """All of them; an id may have a slash in it, so what stands behind one comes first."""
    one = AgentPages(settings, texts)

    def get(path: str, handler: Handler) -> Route:
        return Route(path, page(office, handler), methods=["GET"])

    return [
        get("/agents", pages.show_all),
        get("/agents/table.{ending}", pages.export_table),
        get("/agents/savings", savings_pages.show_tenant),
        get("/agents/savings/table.{ending}", savings_pages.export_tenant),
        Route("/agents/{tenant}/{agent:path}/keys", page(office, one.act_on_keys), methods=["POST"]),
        get("/agents/{tenant}/{agent:path}/savings", savings_pages.show_agent),
        get("/agents/{tenant}/{agent:path}/savings/table.{ending}", savings_pages.export_agent),
        get("/agents/{tenant}/{agent:path}/table.{ending}", one.export_one),
        get("/agents/{tenant}/{agent:path}", one.show_one),
    ]
