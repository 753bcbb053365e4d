"""Requests for a person's word in a gateway's store, as the ledger makes them."""

from __future__ import annotations

import contextlib
import itertools

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.application.approval_requests import request
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.demo.stage import Stage
from aegis_gateway.domain.approval import Approval, Asking
from tests.gateways import TENANT, Gateway

PAYMENT = Asking(
    tenant=TENANT,
    kind="call",
    requester="bot",
    about="api.pay",
    policy_version="p1",
    policies=("four-eyes",),
    expected_nano_usd=250_000_000,
    maximum_nano_usd=250_000_000,
)

_numbers = itertools.count(1)


def ask_people(gateway: Gateway | Stage, group_after: int | None = None, **more: object) -> Approval:
    """Make a request, each of another call."""
    asking = msgspec.structs.replace(PAYMENT, **{"fingerprint": f"f{next(_numbers)}", **more})
    with (
        contextlib.closing(bootstrap.store(gateway.settings)) as store,
        store.change([asking.tenant]) as change,
    ):
        alike = [
            each
            for each in change.open_approvals(asking.tenant, asking.requester, 100)
            if each.is_like(asking)
        ]
        return request(RegistryRecording(change, "aegis"), asking, alike, group_after)


def arguments(
    amount: str, to: str = "Contoso Ltd", risk: tuple[str, ...] = (), **more: object
) -> dict[str, object]:
    """What people see of a payment."""
    given = {"amount": amount, "currency": "USD", "beneficiary": to, "iban": "[IBAN]", **more}
    who = {"agent": "bot", "team": "desk", "connector": "api", "tool": "api.pay", "environment": "test"}
    words = "Payments above $5,000 need a second pair of eyes"
    return {**who, "arguments": given, "policies": [{"id": "four-eyes", "words": words}], "risk": list(risk)}
