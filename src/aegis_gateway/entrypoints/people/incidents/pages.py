"""The pages of incidents: those that are open or closed, and one of them with its facts, where it is closed.

Rule: looking changes nothing; closing is a form, takes a reason, and is done in the reader's own name.
"""

from __future__ import annotations

from typing import Literal

from starlette.responses import Response

from aegis_gateway.adapters.incident_reports import IncidentReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.incidents import Incidents
from aegis_gateway.application.ports import Store
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.incident import Incident
from aegis_gateway.domain.people import may
from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.people.incidents.export import INCIDENT_COLUMNS, incident_rows
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.tables import FILE_ROWS_MAX, table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import amount, sentence

LISTED_MAX = 100

_AMOUNTS = {"amount": "begins at", "limit": "limit", "posted": "spent then", "pending": "reserved then"}
_WORDS = {"budget": "budget", "scope": "for", "window": "window", "why": "why", "owner": "owner"}


def show_all(visit: Visit) -> Response:
    """Those of one tenant, or of all that the reader may see; open ones at first."""
    if not visit.readable:
        return visit.without_tenant()
    return living(
        visit,
        "incidents/all.html",
        incidents=_listed(visit, LISTED_MAX),
        state=_state(visit),
        tenant=visit.query.get("tenant") or None,
        tenants=visit.readable,
    )


def export_all(visit: Visit) -> Response:
    """The same as a file."""
    registries = {tenant: view.registry for tenant, view in visit.office.tenants().items()}
    rows = incident_rows(_listed(visit, FILE_ROWS_MAX), registries)
    name = f"{visit.query.get('tenant') or 'all'}-incidents-{_state(visit)}"
    return table_file(visit, name, INCIDENT_COLUMNS, rows)


def _state(visit: Visit) -> Literal["open", "closed"]:
    return "closed" if visit.query.get("state") == "closed" else "open"


def _listed(visit: Visit, limit: int) -> list[Incident]:
    tenant = visit.query.get("tenant") or None
    found: list[Incident] = []
    with visit.office.store() as store:
        reports = IncidentReports(store.query)
        read = reports.closed if _state(visit) == "closed" else reports.open
        for each in visit.readable:
            if tenant in (None, each):
                found += read(each, limit)
    found.sort(key=lambda each: -(each.closed_ns or each.opened_ns))
    return found[:limit]


def show_one(visit: Visit) -> Response:
    """One, with its facts."""
    with visit.office.store() as store:
        return _one(visit, store)


def close_one(visit: Visit) -> Response:
    """Close it. Where that can't be, the page says why."""
    with visit.office.store() as store:
        incident = _find(visit, store)
        if incident is None:
            return _none(visit)
        reason = " ".join(visit.field("reason").split())
        try:
            caller = reader_of(visit).caller
            Incidents(store, visit.office.pepper, caller).close(incident.tenant, incident.id, reason)
        except (ConfigurationError, NotPermitted) as fault:
            status = 403 if isinstance(fault, NotPermitted) else 400
            return _one(visit, store, status=status, error=sentence(f"it is still open: {fault}"))
    return redirect(visit.path)


def _one(visit: Visit, store: Store, *, status: int = 200, error: str = "") -> Response:
    incident = _find(visit, store)
    if incident is None:
        return _none(visit)
    people = {each.id for each in Reports(store.query).people()}
    is_owner = incident.is_owned_by(visit.person.id, people)
    return visit.page(
        "incidents/one.html",
        status=status,
        incident=incident,
        facts=_facts(incident, visit.office.tenants()[incident.tenant].registry),
        may_close=is_owner or may(visit.person, "budgets", incident.tenant),
        reason_max=REASON_CHARACTERS_MAX,
        error=error,
    )


def _facts(incident: Incident, registry: Registry) -> dict[str, str]:
    """What is known of it, in words; amounts in the budget's quantity."""
    facts = incident.facts
    found = {words: str(facts[each]) for each, words in _WORDS.items() if facts.get(each)}
    quantity = registry.quantities.get(str(facts.get("quantity")))
    if quantity is not None:
        found |= {
            words: amount(int(str(facts[each])), quantity)
            for each, words in _AMOUNTS.items()
            if each in facts
        }
    does = facts.get("does")
    if isinstance(does, list):
        found["does"] = ", ".join(str(each).replace("_", " ") for each in does)
    return found


def _find(visit: Visit, store: Store) -> Incident | None:
    tenant = visit.at["tenant"]
    if tenant not in visit.readable:
        return None
    return IncidentReports(store.query).incident(tenant, visit.at["incident"])


def _none(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such incident",
        "The address may have been cut when it was copied, or it is one of a tenant that you may not see.",
    )
