"""Which address leads to which page of the record."""

from __future__ import annotations

from starlette.routing import Route

from aegis_gateway.configuration.settings import Settings
from aegis_gateway.entrypoints.people.audit.pages import AuditPages
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.visits import Handler, page


def audit_routes(office: Office, settings: Settings) -> list[Route]:
    """The routes."""
    audit = AuditPages(settings)

    def get(path: str, handler: Handler) -> Route:
        return Route(path, page(office, handler), methods=["GET"])

    return [
        get("/audit", audit.show_all),
        get("/audit/table.{ending}", audit.export_table),
        get("/audit/entries.jsonl", audit.export_lines),
        get("/audit/verified", audit.show_verified),
        get("/audit/{tenant}/{sequence}", audit.show_one),
    ]
