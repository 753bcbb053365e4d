"""The pages of notifications: what was given up, waits or was sent, and one of them with its message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args
from urllib.parse import urlencode

from starlette.responses import Response

from aegis_gateway.domain.delivery import Delivery, DeliveryState
from aegis_gateway.domain.errors import NotPermitted
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.notifications.desk import NotificationsDesk
from aegis_gateway.entrypoints.people.notifications.export import DELIVERY_COLUMNS, delivery_rows
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.tables import FILE_ROWS_MAX, table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence

_FIRST: DeliveryState = "dead"
_COUNTED: tuple[DeliveryState, ...] = ("dead", "waiting")
"""States that a page says the number of: what somebody may have to look at. What was sent only grows."""


def show_all(visit: Visit) -> Response:
    """Those in one state, what was given up first."""
    if not visit.readable:
        return visit.without_tenant()
    with _desk(visit) as desk:
        return _all(visit, desk)


def export_all(visit: Visit) -> Response:
    """The same as a file."""
    tenant, state = visit.query.get("tenant") or None, _state(visit)
    with _desk(visit) as desk:
        rows = delivery_rows(desk.listed(tenant, state, None, FILE_ROWS_MAX))
        return table_file(visit, f"{tenant or 'all'}-notifications-{state}", DELIVERY_COLUMNS, rows)


def retry_all(visit: Visit) -> Response:
    """Have all that were given up tried again, in the tenant that is shown or in all in which the reader may."""
    with _desk(visit) as desk:
        tenant = visit.field("tenant") or None
        try:
            count = desk.retry_dead([each for each in desk.of(tenant) if desk.may_retry(each)])
        except NotPermitted as fault:
            return _all(visit, desk, status=403, error=sentence(f"{fault}"))
    shown = {"state": "waiting", "again": str(count), **({"tenant": tenant} if tenant else {})}
    return redirect("/notifications?" + urlencode(shown))


def show_one(visit: Visit) -> Response:
    """One, with its message."""
    with _desk(visit) as desk:
        delivery = desk.find(visit.at["delivery"])
        return _none(visit) if delivery is None else _one(visit, desk, delivery)


def retry_one(visit: Visit) -> Response:
    """Have one tried again. Where that can't be, the page says why, beside how it stands."""
    with _desk(visit) as desk:
        delivery = desk.find(visit.at["delivery"])
        if delivery is None:
            return _none(visit)
        try:
            desk.retry(delivery)
        except NotPermitted as fault:
            now = desk.find(delivery.id) or delivery
            status = 409 if desk.may_retry(delivery.tenant) else 403
            return _one(visit, desk, now, status=status, error=sentence(f"{fault}"))
    return redirect(f"/notifications/{delivery.id}?again=1")


def _all(visit: Visit, desk: NotificationsDesk, *, status: int = 200, error: str = "") -> Response:
    tenant = visit.query.get("tenant") or None
    state = _state(visit)
    listed = desk.listed(tenant, state, None)
    return living(
        visit,
        "notifications/all.html",
        status=status,
        deliveries=listed,
        counts={each: desk.count(tenant, each) for each in _COUNTED},
        may_retry={each.tenant for each in listed if desk.may_retry(each.tenant)},
        state=state,
        tenant=tenant,
        tenants=desk.readable,
        again=_number(visit.query.get("again", "")),
        error=error,
    )


def _one(
    visit: Visit, desk: NotificationsDesk, delivery: Delivery, *, status: int = 200, error: str = ""
) -> Response:
    return living(
        visit,
        "notifications/one.html",
        status=status,
        delivery=delivery,
        may_retry=desk.may_retry(delivery.tenant),
        many_tenants=len(desk.readable) > 1,
        again=_number(visit.query.get("again", "")),
        error=error,
    )


def _none(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such notification",
        "The address may have been cut when it was copied, or it is one of a tenant that you may not see.",
    )


def _state(visit: Visit) -> DeliveryState:
    return next((each for each in get_args(DeliveryState) if each == visit.query.get("state")), _FIRST)


def _number(text: str) -> int:
    return int(text[:6]) if text.isdecimal() and text.isascii() else 0


@contextmanager
def _desk(visit: Visit) -> Iterator[NotificationsDesk]:
    with visit.office.store() as store:
        yield NotificationsDesk(visit.office, store, reader_of(visit))
