"""Payments above the ceiling wait for a person, on a real gateway: what exactly their word lets through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.acceptance.test_packs import pack
from tests.gateways import PEPPER, Gateway, ask, assert_books_balance

pytestmark = pytest.mark.xdist_group("packs")

PAY = "/connect/payments/v1/payments"


@pytest.fixture(scope="module")
def bank() -> Iterator[Gateway]:
    """A gateway under the bundled pack for payments, in front of the bundled payments API."""
    with UpstreamProcess() as upstream:
        files = pack("fintech", upstream.base_url)
        held = "    name: Fintech\n    approvals: {hold: 20s}\n"
        files["aegis.yaml"] = files["aegis.yaml"].replace("    name: Fintech\n", held)
        with Gateway(files) as gateway:
            yield gateway


def pay(gateway: Gateway, amount: object, **headers: str) -> Any:
    """One payment of the agent that may pay."""
    body = {"amount": amount, "currency": "USD", "beneficiary": "x"}
    return ask(gateway, "POST", PAY, body, key=gateway.key("invoice-bot"), headers=headers)


def aegis(gateway: Gateway, *arguments: str) -> tuple[int, str]:
    """A command on the gateway's store."""
    settings = {"AEGIS_PEPPER": gateway.settings.pepper, "AEGIS_TEST_PEPPER": PEPPER}
    done = CliRunner(env=settings).invoke(build(), [*arguments, "--store", gateway.settings.store])
    return done.exit_code, done.output


def shown(gateway: Gateway, approval: str) -> dict[str, Any]:
    """How a request stands."""
    found: dict[str, Any] = json.loads(aegis(gateway, "approvals", "show", approval, "--json")[1])
    return found


def acts(gateway: Gateway, approval: str) -> list[str]:
    """What the record says of a request."""
    return [
        entry["act"] for entry in gateway.entries() if entry.get("approval") == approval and "act" in entry
    ]


def test_a_payment_above_the_ceiling(bank: Gateway) -> None:
    """It asks, a person agrees, exactly it goes through, once; a second one asks again."""
    assert 201 == pay(bank, 5000).status
    asked = pay(bank, "5000.01")
    about = asked.json["error"]["approval"]
    assert (403, "approval_required", "waiting") == (asked.status, asked.code, about["state"])
    assert f"/v1/approvals/{about['id']}" == about["status_url"]
    assert (
        about["id"] == asked.headers["aegis-approval-id"] == pay(bank, "5000.01").headers["aegis-approval-id"]
    )
    code, listed = aegis(bank, "approvals")
    assert (0, True) == (code, about["id"] in listed)
    found = shown(bank, about["id"])
    assert ("invoice-bot", "payments.create-payment", "5000.01", ["payments above $5,000 need a person"]) == (
        found["requester"],
        found["about"],
        str(found["facts"]["arguments"]["amount"]),
        [each["words"] for each in found["facts"]["policies"]],
    )
    assert 0 == aegis(bank, "approvals", "grant", about["id"], "--reason", "known vendor")[0]
    assert 403 == pay(bank, "5000.02").status
    done = pay(bank, "5000.01")
    assert (201, about["id"]) == (done.status, done.headers["aegis-approval-id"])
    again = pay(bank, "5000.01")
    assert (403, "approval_required") == (again.status, again.code)
    assert about["id"] != again.headers["aegis-approval-id"]
    assert ["request", "grant", "use"] == acts(bank, about["id"])
    assert done.headers["aegis-decision-id"] == shown(bank, about["id"])["used_by"]
    decision = next(
        entry
        for entry in bank.entries()
        if entry["type"] == "decision" and entry["call"] == done.headers["aegis-decision-id"]
    )
    assert f"`{found_by(bank, about['id'])}` agreed to this: known vendor" in [
        reason["message"] for reason in decision["reasons"]
    ]
    assert_books_balance(bank)


def found_by(gateway: Gateway, approval: str) -> str:
    """Who answered a request."""
    (answer,) = shown(gateway, approval)["answers"]
    return str(answer["by"])


def test_used_twice_refused_and_another_ones(bank: Gateway) -> None:
    """Each is refused, and recorded: what is used up, what was refused, what was given for another payment."""
    first, other = (pay(bank, amount).json["error"]["approval"]["id"] for amount in (6001, 6002))
    aegis(bank, "approvals", "grant", first)
    wrong = pay(bank, 6002, **{"aegis-approval-id": first})
    assert (403, "approval_not_valid") == (wrong.status, wrong.code)
    assert 201 == pay(bank, 6001, **{"aegis-approval-id": first}).status
    assert "approval_not_valid" == pay(bank, 6001, **{"aegis-approval-id": first}).code
    assert 0 == aegis(bank, "approvals", "refuse", other, "--reason", "not this one")[0]
    assert (3, True) == ((late := aegis(bank, "approvals", "grant", other))[0], "is refused by" in late[1])
    refused = pay(bank, 6002)
    assert (403, "approval_refused", "not this one") == (
        refused.status,
        refused.code,
        refused.json["error"]["approval"]["reason"],
    )
    assert ["request", "refuse", "not_taken"] == acts(bank, other)
    codes = [entry["reasons"][0]["code"] for entry in bank.entries() if entry["type"] == "decision"]
    assert ["approval_not_valid", "approval_refused"] == sorted(
        {*codes} & {"approval_not_valid", "approval_refused"}
    )
