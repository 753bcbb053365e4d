"""People who are away, on a real gateway: by the command, on the page, by the API, and what the steward does then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.domain.approval_route import Escalation, Group, Route, Want
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.cli.main import build
from tests.asked import ask_people
from tests.browsers import Staff, Visitor, text_of
from tests.gateways import PEPPER, PERMIT_ALL, Gateway, ask, configuration, until

pytestmark = pytest.mark.xdist_group("control-api")

HOUR_NS = 3_600_000_000_000
LEAD = Want(groups=(Group(name="lead", people=("ben",)),))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway whose agents ask."""
    with Gateway(configuration("http://127.0.0.1:9", policies=PERMIT_ALL)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Ben, cy and dee approve."""
    staff = Staff(gateway)
    for person in ("ben", "cy", "dee"):
        staff.add(person, Grant(role="approver", tenant="acme"))
    return staff


class Command:
    """The command, as somebody runs it."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self._environment = {
            "AEGIS_PEPPER": gateway.settings.pepper,
            "AEGIS_TEST_PEPPER": PEPPER,
            "AEGIS_STORE": gateway.settings.store,
            "AEGIS_TOKEN": token,
            "COLUMNS": "180",
        }

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What it prints."""
        done = CliRunner(env=self._environment).invoke(build(), list(arguments))
        assert code == done.exit_code, done.output
        return done.output

    def json(self, *arguments: str) -> Any:
        """What it prints for programs."""
        return json.loads(self(*arguments, "--json"))


def test_a_deputy_is_told_and_answers(gateway: Gateway, staff: Staff) -> None:
    """By the page, in ben's stead; until he is back. What nobody can answer is put before others within a second."""
    ben, dee, cy = (Command(gateway, staff.tokens[name]) for name in ("ben", "dee", "cy"))
    asked = ask_people(gateway, route=Route(wants=(LEAD,)))
    said = ben("people", "away", "--until", "2h", "--deputy", "dee", "--reason", "a holiday")
    assert "ben is away from" in said
    assert "`dee` answers in their stead" in said
    (listed,) = dee.json("people", "away", "--list")["absences"]
    assert ("ben", "dee", True) == (listed["person"], listed["answers_for_them"], listed["is_away"])
    assert "dee for ben, who is away until" in dee("approvals", "show", asked.id)

    visitor = Visitor(gateway)
    assert 303 == visitor.sign_in(staff.tokens["dee"]).status
    assert "You answer for ben, who is away until" in text_of(visitor.get(f"/approvals/{asked.id}"))
    told = ask(gateway, "GET", f"/api/v1/approvals/{asked.id}", key=staff.tokens["dee"]).json
    assert (True, ["ben"], [("ben", "dee")], False) == (
        told["may_answer"],
        told["in_stead_of"],
        [(each["person"], each["deputy"]) for each in told["away"]],
        told["unattended"],
    )
    answered = visitor.submit(f"/approvals/{asked.id}", f"/approvals/{asked.id}", answer="grant", reason="ok")
    assert 303 == answered.status
    assert "dee, for ben" in text_of(visitor.get(f"/approvals/{asked.id}"))
    (answer,) = dee.json("approvals", "show", asked.id)["answers"]
    assert ("dee", ["ben"]) == (answer["by"], answer["in_stead_of"])
    assert [["ben"]] == [
        entry["in_stead_of"]
        for entry in gateway.entries()
        if entry.get("approval") == asked.id and "in_stead_of" in entry
    ]

    assert "name somebody who is there" in dee("people", "away", "--until", "1h", "--deputy", "ben", code=1)
    assert "may not" in cy("people", "away", "ben", "--until", "1h", code=3)
    ben("people", "away", "--until", "2h")
    alone = ask_people(gateway, route=Route(wants=(LEAD,)))
    assert "those who are asked are away" in cy("approvals", "show", alone.id)
    chief = Escalation(after_ns=3 * HOUR_NS, groups=(Group(name="chief", people=("cy",)),))
    stuck = ask_people(gateway, route=Route(wants=(LEAD,), escalation=chief))
    until(lambda: cy.json("approvals", "show", stuck.id)["level"] == 1, "cy is not asked")
    assert "is granted" in cy("approvals", "grant", stuck.id)
    assert "answers for themselves" in ben("people", "back")
    assert "nobody is away" in ben("people", "away", "--list")
    assert "is granted" in ben("approvals", "grant", alone.id)
