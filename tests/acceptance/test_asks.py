"""Asking for more by command and API, against a gateway that runs: what another person's word lets pass."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.gateways import TENANT, Answer, Gateway, ask, assert_books_balance, configuration, until
from tests.spending import aegis, pay

pytestmark = pytest.mark.xdist_group("packs")

OWNED = "period: yearly, owner: own@acme.example, deputy: dep"
ASKS = """\
    approvals: {groups: {finance: [fin]}}
    asks:
      routes:
        - {up_to: 1.00, ask: [budget_owner]}
        - {ask: [finance]}
"""
HOMES = {"bot": "bots", "trader": "traders", "shop": "shops"}


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway whose agents live on budgets of own's that bear two payments each; ana owns the agents."""
    budgets = dict.fromkeys(HOMES.values(), f"limit: 0.50, {OWNED}")
    made = configuration(upstream.base_url, budgets=budgets, agents=tuple(HOMES), agent_budgets=HOMES)
    text = made["aegis.yaml"].replace("    agents:\n", f"{ASKS}    agents:\n", 1)
    files = {**made, "aegis.yaml": text.replace("ana@acme.example, purpose", "bo@acme.example, purpose")}
    with Gateway(files) as gateway:
        for agent in HOMES:
            gateway.key(agent)
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """own owns the budgets, dep is the deputy and bo owns the agents, without a role; eve has neither; fin may change
    limits.
    """
    staff = Staff(gateway)
    for name in ("own", "dep", "bo", "eve"):
        staff.add(name)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    return staff


def asked(gateway: Gateway, staff: Staff, who: str, *arguments: str) -> dict[str, Any]:
    """Ask for more; the request."""
    told = aegis(
        gateway, "budget", "ask", *arguments, "--reason", "quarter end", "--json", token=staff.tokens[who]
    )
    found: dict[str, Any] = json.loads(told)
    return found


def post(gateway: Gateway, token: str, budget: str, **body: object) -> Answer:
    """Ask by the API."""
    return ask(gateway, "POST", f"/api/v1/budgets/{budget}/asks", body, key=token)


def test_exhausted_asked_granted_and_over(gateway: Gateway, staff: Staff) -> None:
    """The refusal says how to ask, the very call after another's yes passes, and none after the nanosecond it ends."""
    assert [201, 201] == [pay(gateway).status for _ in range(2)]
    refused = pay(gateway)
    assert 402 == refused.status
    command = re.search(r"`aegis (budget ask bots 0\.25) --until TIME --reason WHY`", refused.body.decode())
    assert command is not None, refused.body.decode()
    request = asked(gateway, staff, "bo", *command[1].split()[2:], "--until", "4s")
    assert ("increase", "waiting", "bo", "bots", ["budget_owner"]) == tuple(
        request[name] for name in ("kind", "state", "requester", "about", "asked")
    )
    assert 402 == pay(gateway).status
    shown = aegis(gateway, "approvals", "show", request["id"], token=staff.tokens["own"])
    assert all(part in shown for part in ("$0.25", "quarter end", "$0.50 spent", "$0.00 left")), shown
    assert "own request" in aegis(
        gateway, "approvals", "grant", request["id"], code=3, token=staff.tokens["bo"]
    )
    told = aegis(gateway, "approvals", "grant", request["id"], "--reason", "fine", token=staff.tokens["own"])
    assert "is granted and done" in told
    assert 201 == pay(gateway).status
    (made,) = json.loads(aegis(gateway, "budget", "history", "bots", "--json"))["changes"]
    assert ("bo", "own", request["id"], "$0.75") == tuple(
        made[name] for name in ("asked_by", "approver", "approval", "limit_after_text")
    )
    until(lambda: time.time_ns() > made["ends_ns"])
    assert 402 == pay(gateway).status
    history = aegis(gateway, "budget", "history", "bots")
    assert "bo, granted by own" in history
    assert request["id"] in history
    assert_books_balance(gateway)


def test_much_is_finances_to_grant(gateway: Gateway, staff: Staff) -> None:
    """Above what the owner may let go, somebody else is asked; their no says why, and changes nothing."""
    assert [201, 201, 402] == [pay(gateway, "trader").status for _ in range(3)]
    request = asked(gateway, staff, "own", "traders", "1.01", "--lasting")
    assert ["finance"] == request["asked"]
    assert "not among those" in aegis(
        gateway, "approvals", "grant", request["id"], code=3, token=staff.tokens["dep"]
    )
    aegis(gateway, "approvals", "refuse", request["id"], "--reason", "not now", token=staff.tokens["fin"])
    assert 402 == pay(gateway, "trader").status
    listed = aegis(gateway, "approvals", "--all", token=staff.tokens["fin"])
    assert request["id"] in listed
    assert "may not ask" in aegis(
        gateway,
        *("budget", "ask", "traders", "1", "--lasting", "--reason", "r"),
        code=3,
        token=staff.tokens["eve"],
    )


def test_by_the_api(gateway: Gateway, staff: Staff) -> None:
    """The same, also for an agent's owner who may see nothing else; what nobody may see isn't there."""
    bo, fin = staff.tokens["bo"], staff.tokens["fin"]
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = post(gateway, bo, "shops", amount="0.25", until=ends, reason="sale")
    assert (200, "waiting", "$0.25") == (
        answer.status,
        answer.json["state"],
        answer.json["facts"]["amount"],
    )
    again = post(gateway, bo, "shops", amount="0.25", until=ends, reason="sale")
    assert answer.json["id"] == again.json["id"]
    granted = ask(
        gateway,
        "POST",
        f"/api/v1/approvals/{answer.json['id']}/answer",
        {"answer": "grant"},
        key=fin,
    )
    assert 409 == granted.status
    aegis(gateway, "approvals", "grant", answer.json["id"], token=staff.tokens["dep"])
    assert [201, 201, 201, 402] == [pay(gateway, "shop").status for _ in range(4)]
    wrong = {
        "until": post(gateway, bo, "shops", amount="1", reason="r"),
        "amount": post(gateway, bo, "shops", amount="a lot", lasting=True, reason="r"),
        "reason": post(gateway, bo, "shops", amount="1", lasting=True, reason=" "),
    }
    assert dict.fromkeys(wrong, 422) == {name: each.status for name, each in wrong.items()}
    assert set(wrong) == {each.json["field"] for each in wrong.values()}
    past = post(gateway, fin, "shops", amount="1", until="2020-01-01T00:00:00Z", reason="r")
    assert (409, True) == (past.status, "is over" in past.json["detail"])
    far = post(gateway, fin, "shops", amount="1", until="9999-12-31T00:00:00Z", reason="r")
    assert (422, "until") == (far.status, far.json["field"])
    assert 404 == post(gateway, fin, "nothing", amount="1", lasting=True, reason="r").status
    assert 404 == post(gateway, staff.tokens["eve"], "shops", amount="1", lasting=True, reason="r").status
