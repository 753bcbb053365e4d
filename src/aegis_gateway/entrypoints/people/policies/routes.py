"""Which address leads to which page of policies and versions."""

from __future__ import annotations

from starlette.routing import Route

from aegis_gateway.configuration.settings import Settings
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.policies.pages import PoliciesPages
from aegis_gateway.entrypoints.people.policies.proposals_pages import ProposalsPages
from aegis_gateway.entrypoints.people.policies.versions_pages import VersionsPages
from aegis_gateway.entrypoints.people.visits import Handler, page


def policy_routes(office: Office, settings: Settings) -> list[Route]:
    """The routes; versions before rules, whose addresses begin with a tenant."""
    policies = PoliciesPages(settings)
    versions = VersionsPages(settings, policies.versions)
    proposals = ProposalsPages(settings, policies.versions)

    def route(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, page(office, handler), methods=[method])

    return [
        route("/policies", policies.show_all),
        route("/policies/table.{ending}", policies.export_table),
        route("/policies/versions", versions.show_all),
        route("/policies/versions/table.{ending}", versions.export_table),
        route("/policies/versions/{version:int}", versions.show_one),
        route("/policies/versions/{version:int}", versions.roll_back, "POST"),
        route("/policies/proposals/{proposal:int}", proposals.show_one),
        route("/policies/proposals/{proposal:int}", proposals.answer_one, "POST"),
        route("/policies/{tenant}/{rule}", policies.show_one),
    ]
