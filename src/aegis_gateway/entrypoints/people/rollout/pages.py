"""The page of the rollout: five steps, each as far as it is, with what to do next; and the reviews.

Rule: looking changes nothing; a review is a form, and stands in the record in the reader's own name.
"""

from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from starlette.responses import Response

from aegis_gateway.adapters.rollout_reports import RolloutReports
from aegis_gateway.application.ports import Store
from aegis_gateway.application.reviewing import Reviews
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.moment import ns_of
from aegis_gateway.domain.people import may
from aegis_gateway.domain.review import NOTE_CHARACTERS_MAX, QUARTER_NS
from aegis_gateway.domain.rollout_facts import PERIOD_DAYS
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import local, sentence
from aegis_gateway.entrypoints.rollout import Rollouts

REVIEWS_SHOWN = 8
_PLACES = {
    "tag": ("/", "by=agent", "What each agent spends"),
    "gateway": ("/calls", "", "The calls"),
    "policies": ("/shadow", "", "Rules in shadow"),
    "alerts": ("/notifications", "", "What was told"),
    "reviews": ("/report", "", "The report of the month"),
}


class RolloutPages:
    """What is answered to visits of this page."""

    def __init__(self, rollouts: Rollouts) -> None:
        """`rollouts` tells how far tenants are."""
        self._rollouts = rollouts

    def show(self, visit: Visit) -> Response:
        """How far one tenant is."""
        tenant = visit.tenant
        if tenant is None:
            return visit.without_tenant()
        with visit.office.store() as store:
            return self._page(visit, store, tenant)

    def review(self, visit: Visit) -> Response:
        """Record a review. Where that can't be, the page says why."""
        tenant = visit.field("tenant")
        if tenant not in visit.readable:
            return visit.no_tenant()
        zone = visit.office.tenants()[tenant].registry.zone
        with visit.office.store() as store:
            try:
                due_ns = _day(visit.field("next"), zone)
                reviews = Reviews(store, visit.office.pepper, reader_of(visit).caller)
                reviews.record(tenant, visit.field("note"), due_ns)
            except (ConfigurationError, NotPermitted) as fault:
                status = 403 if isinstance(fault, NotPermitted) else 400
                error = sentence(f"nothing was recorded: {fault}")
                return self._page(visit, store, tenant, status=status, error=error)
        return redirect(f"/rollout?tenant={tenant}#reviews")

    def _page(
        self, visit: Visit, store: Store, tenant: str, *, status: int = 200, error: str = ""
    ) -> Response:
        view = visit.office.tenants()[tenant]
        zone = view.registry.zone
        found = self._rollouts(store, view)
        return living(
            visit,
            "rollout/page.html",
            status=status,
            rollout=found,
            registry=view.registry,
            tenants=visit.readable,
            days=PERIOD_DAYS,
            places={
                step: (f"{path}?{query}{'&' if query else ''}tenant={tenant}", words)
                for step, (path, query, words) in _PLACES.items()
            },
            reviews=RolloutReports(store.query).reviews(tenant, REVIEWS_SHOWN),
            may_review=may(visit.person, "review", tenant),
            note=visit.field("note") if error else "",
            note_max=NOTE_CHARACTERS_MAX,
            suggested=datetime.fromtimestamp(
                (found.at_ns + QUARTER_NS) // 1_000_000_000, ZoneInfo(zone)
            ).date(),
            zone=zone,
            local=local,
            error=error,
        )


def _day(text: str, zone: str) -> int | None:
    """When a day that somebody chose begins; None where they chose none.

    Raises:
        ConfigurationError: it is no day.
    """
    if not text:
        return None
    try:
        moment = datetime.combine(date.fromisoformat(text), time(9), ZoneInfo(zone))
        found = ns_of(moment)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise ConfigurationError(f"`{text[:20]}` is no day; write it as in 2027-03-01")
    return found
