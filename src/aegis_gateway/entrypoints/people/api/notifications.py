"""The control API's operations on notifications: what was to be told, whether it was, and having it tried again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from aegis_gateway.domain.delivery import Delivery, DeliveryState
from aegis_gateway.domain.errors import CallError, NotPermitted
from aegis_gateway.entrypoints.cli.notifications import delivery_record
from aegis_gateway.entrypoints.people.api import forms
from aegis_gateway.entrypoints.people.api.operations import PROBLEMS, Asks, Tenant
from aegis_gateway.entrypoints.people.notifications.desk import LISTED_MAX, NotificationsDesk
from aegis_gateway.entrypoints.people.words import iso

router = APIRouter(prefix="/api/v1/notifications", responses=PROBLEMS, tags=["Notifications"])

Notification = Annotated[str, Path(description="The notification's id, `dlv_…`.", max_length=64)]


@router.get("", response_model=forms.NotificationList, summary="List notifications")
def list_notifications(
    asks: Asks,
    tenant: Tenant = None,
    state: Annotated[DeliveryState | None, Query(description="Those in this state; all without it.")] = None,
    channel: Annotated[str | None, Query(description="Those of one channel.", max_length=128)] = None,
    limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50,
) -> dict[str, Any]:
    """List what was to be told in a tenant, one for each message and place, the newest first."""
    name = asks.tenant(tenant)
    with asks.office.store() as store:
        found = NotificationsDesk(asks.office, store, asks.reader).listed(name, state, channel, limit)
    return {"tenant": name, "notifications": [_record(each) for each in found]}


@router.get("/{notification}", response_model=forms.Notification, summary="Show one notification")
def show_notification(asks: Asks, notification: Notification) -> dict[str, Any]:
    """Show one: how often it was tried, what went wrong, and the message."""
    with asks.office.store() as store:
        return _record(_found(NotificationsDesk(asks.office, store, asks.reader), notification))


@router.post(
    "/{notification}/retry",
    response_model=forms.Notification,
    summary="Have one tried again",
    responses={
        403: {"model": forms.Problem, "description": "You may not; the detail says which role it needs."},
        409: {"model": forms.Problem, "description": "It was sent, and isn't sent again."},
    },
)
def retry_notification(asks: Asks, notification: Notification) -> dict[str, Any]:
    """Have one that was given up or waits tried again now, in your name, under the same id."""
    with asks.office.store() as store:
        desk = NotificationsDesk(asks.office, store, asks.reader)
        found = _found(desk, notification)
        try:
            return _record(desk.retry(found))
        except NotPermitted as fault:
            status = 409 if desk.may_retry(found.tenant) else 403
            raise CallError(f"{fault}", status=status) from None


def _found(desk: NotificationsDesk, notification: str) -> Delivery:
    found = desk.find(notification)
    if found is None:
        raise CallError(f"there is no notification `{notification}` that you may read", status=404)
    return found


def _record(delivery: Delivery) -> dict[str, Any]:
    return delivery_record(delivery, iso)
