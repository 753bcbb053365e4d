"""Answers of people whose word doesn't count, by the command and by the API of a real gateway: refused with the reason,
recorded with who tried, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from typer.testing import CliRunner

from aegis_gateway.domain.approval_route import Group, Route, Want
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.cli.main import build
from tests.asked import ask_people
from tests.browsers import Staff
from tests.gateways import PEPPER, Gateway, ask, configuration

pytestmark = pytest.mark.xdist_group("control-api")

Way = Literal["cli", "api"]
WAYS: tuple[Way, ...] = ("cli", "api")

TWO = Route(wants=(Want(groups=(Group(name="finance", people=("ben", "eva")),), needs=2),))
FINANCE = Route(wants=(Want(groups=(Group(name="finance", people=("fin",)),)),))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway of one tenant."""
    with Gateway(configuration("http://127.0.0.1:9")) as gateway:
        gateway.key()
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Ben and eva approve; vi looks on."""
    staff = Staff(gateway)
    for name, role in (("ben", "approver"), ("eva", "approver"), ("vi", "viewer")):
        staff.add(name, Grant(role=role, tenant="acme"))  # type: ignore[arg-type]
    return staff


def answer(gateway: Gateway, staff: Staff, way: Way, who: str, approval: str, kind: str) -> tuple[bool, str]:
    """Answer a request in somebody's name; whether that was taken, and what was said."""
    if way == "api":
        path = f"/api/v1/approvals/{approval}/answer"
        told = ask(gateway, "POST", path, {"answer": kind, "reason": "as I say"}, key=staff.tokens[who])
        assert told.status in (200, 409), told.body
        return told.status == 200, told.json.get("detail", "")
    settings = gateway.settings
    environment = {
        "AEGIS_PEPPER": settings.pepper,
        "AEGIS_TEST_PEPPER": PEPPER,
        "AEGIS_SIGNING_KEY": settings.signing_key,
        "AEGIS_TOKEN": staff.tokens[who],
    }
    words = ["approvals", kind, approval, "--reason", "as I say", "--store", settings.store]
    done = CliRunner(env=environment).invoke(build(), words)
    assert done.exit_code in (0, 3), done.output
    return done.exit_code == 0, " ".join(done.output.split())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["grant", "refuse"])
@pytest.mark.parametrize(
    ("asked", "who", "words"),
    [
        ({"requester": "ben", "kind": "increase"}, "ben", "own request; it wants somebody else's word"),
        ({"behind": ("ben", "ben@northbank.example")}, "ben", "stands behind the request"),
        ({"route": FINANCE}, "ben", "not among those whom"),
        ({}, "vi", "not among those whom"),
    ],
    ids=["the requester", "the agent's owner", "not of the group", "without the role"],
)
def test_the_wrong_person_is_told_why_and_nothing_changes(
    gateway: Gateway, staff: Staff, asked: dict[str, Any], who: str, words: str, kind: str, way: Way
) -> None:
    """Neither a yes nor a no of theirs counts; that they tried is on the record, by which way."""
    request = ask_people(gateway, **asked)
    is_taken, told = answer(gateway, staff, way, who, request.id, kind)
    assert not is_taken
    assert words in told
    (row,) = gateway.query("select state from approval where approval = ?", request.id)
    assert "waiting" == row["state"]
    assert [] == gateway.query("select person from approval_answer where approval = ?", request.id)
    last = gateway.entries()[-1]
    assert ("not_taken", request.id, who, kind, way) == (
        last["act"],
        last["approval"],
        last["actor"],
        last["answer"],
        last["via"],
    )


@pytest.mark.parametrize("way", WAYS)
def test_one_person_is_not_two(gateway: Gateway, staff: Staff, way: Way) -> None:
    """Where two have to agree, the same word again changes nothing and the other answer of the same person doesn't
    count, whichever way they take; a second person's does.
    """
    request = ask_people(gateway, route=TWO)
    assert (True, True) == tuple(
        answer(gateway, staff, each, "ben", request.id, "grant")[0] for each in (way, *reversed(WAYS))
    )[:2]
    (row,) = gateway.query("select state from approval where approval = ?", request.id)
    assert "waiting" == row["state"], "one person agreed, twice"
    is_taken, told = answer(gateway, staff, way, "ben", request.id, "refuse")
    assert (False, True) == (is_taken, "has answered" in told)
    assert answer(gateway, staff, way, "eva", request.id, "grant")[0]
    (row,) = gateway.query("select state from approval where approval = ?", request.id)
    assert "granted" == row["state"]
