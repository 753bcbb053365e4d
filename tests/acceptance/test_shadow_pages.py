"""The pages of rules in shadow on a real gateway: looking changes nothing, enforcing takes the way of every change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import PERMIT_ALL, Answer, Gateway, configuration, until

pytestmark = pytest.mark.xdist_group("notifications")

QUIET = """
@id("no-nights")
@mode("shadow")
@effect("deny")
@reason("nobody works at night; so it is")
forbid (principal, action, resource) when { context.utc_hour > 22 };

@id("all-of-it")
@mode("shadow")
permit (principal, action, resource) when { context.utc_hour > 1 };
"""
FILES = configuration(
    "http://127.0.0.1:9",
    policies=PERMIT_ALL + QUIET,
    budgets={"day": "limit: 20.00, period: daily, mode: shadow", "month": "limit: 90.00, period: monthly"},
)


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "four eyes"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway with a budget and a policy in shadow; without four eyes, and with them."""
    text = FILES["aegis.yaml"]
    if request.param:
        text = text.replace("  acme:\n", "  acme:\n    changes: {four_eyes: true}\n")
    with Gateway({**FILES, "aegis.yaml": text}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def people(gateway: Gateway) -> dict[str, Visitor]:
    """Fin may apply, vi looks on; ana is an admin everywhere, zoe is nobody in acme."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant="acme"))
    staff.add("vi", Grant(role="viewer", tenant="acme"))
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def versions(gateway: Gateway) -> int:
    """How many versions there are."""
    return int(gateway.query("select count(*) as n from config_version")[0]["n"])


def press(who: Visitor, rule: str, based_on: int) -> Answer:
    """Press the button of a rule's page."""
    csrf = csrf_on(who.get("/shadow/acme"))
    return who.post(f"/shadow/acme/{rule}", {"csrf": csrf, "based_on": str(based_on)})


def test_looking_changes_nothing(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Both rules are there, with what enforcing each would change; strangers are sent to sign in."""
    before = versions(gateway)
    page = text_of(people["vi"].get("/shadow/acme"))
    assert "budget:day" in page
    assert "no-nights" in page
    assert "budget:month" not in page
    for rule in ("budget:day", "no-nights"):
        shown = text_of(people["fin"].get(f"/shadow/acme/{rule}"))
        assert "What would change" in shown
        assert 'name="based_on"' in shown, shown
        assert "you may look, and not change it" in text_of(people["vi"].get(f"/shadow/acme/{rule}")).lower()
    assert 303 == Visitor(gateway).get("/shadow/acme").status
    assert 404 == people["fin"].get("/shadow/acme/budget:month").status
    assert 404 == people["fin"].get("/shadow/zeta").status
    assert 303 == people["fin"].get("/shadow").status
    assert before == versions(gateway)


def test_who_may_not_and_what_is_old(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """A viewer, a form without its proof, and a page of another version: nothing is changed."""
    before = versions(gateway)
    assert 403 == press(people["vi"], "budget:day", before).status
    assert 403 == people["fin"].post("/shadow/acme/budget:day", {"based_on": str(before)}).status
    old = press(people["fin"], "budget:day", before + 7)
    assert 409 == old.status
    assert "another version" in text_of(old)
    assert before == versions(gateway)


def test_enforcing(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Makes a version of files with that one word changed, or a proposal of what widens where two people are needed."""
    before = versions(gateway)
    wants_two = "four_eyes" in str(gateway.query("select bundle from config_version")[0]["bundle"])
    for number, rule in enumerate(("budget:day", "no-nights")):
        done = press(people["fin"], rule, before + number)
        assert f"/shadow/acme?version={before + number + 1}" == done.headers.get("location"), text_of(done)
    wider = press(people["fin"], "all-of-it", before + 2)
    said = "proposed=1" if wants_two else f"version={before + 3}"
    assert f"/shadow/acme?{said}" == wider.headers.get("location"), text_of(wider)
    page = text_of(people["fin"].get(f"/shadow/acme?{said}"))
    assert ("/policies/proposals/1" in page) == wants_two
    waiting = text_of(people["vi"].get("/policies/versions"))
    assert ("Wants a second person" in waiting, "/policies/proposals/1" in waiting) == (wants_two, wants_two)
    shown = people["vi"].get("/policies/proposals/1")
    assert (200 if wants_two else 404) == shown.status
    if wants_two:
        for words in (
            "by fin",
            "waits for a second person",
            "removed: </span>@mode(",
            "aegis proposals approve 1",
        ):
            assert words in text_of(shown), words
    until(
        lambda: rules(people["fin"]) == {"all-of-it"} if wants_two else not rules(people["fin"]),
        "still quiet",
    )


def rules(who: Visitor) -> set[str]:
    """The rules that the page has."""
    page = text_of(who.get("/shadow/acme"))
    return {rule for rule in ("budget:day", "no-nights", "all-of-it") if f"{rule} <span" in page}
