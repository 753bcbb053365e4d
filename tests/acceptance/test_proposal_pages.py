"""The page of a proposal, on a gateway with four eyes: what it shows, and whose answer it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization

from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import Answer, Gateway
from tests.proposed import propose, with_four_eyes

pytestmark = pytest.mark.xdist_group("policy-pages")


@pytest.fixture
def house() -> Iterator[tuple[Gateway, Staff]]:
    """A gateway with four eyes, three versions and some people."""
    with with_four_eyes() as found:
        yield found


@pytest.fixture
def people(house: tuple[Gateway, Staff]) -> dict[str, Visitor]:
    """Each of them, signed in."""
    gateway, staff = house
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def page(number: int) -> str:
    """The address of a proposal."""
    return f"/policies/proposals/{number}"


def answer(who: Visitor, number: int, kind: str, note: str = "seen") -> Answer:
    """Send the form, as it would be on the page."""
    csrf = csrf_on(who.get("/policies/versions"))
    return who.post(page(number), {"csrf": csrf, "answer": kind, "note": note})


def newest(gateway: Gateway) -> tuple[int, str, str]:
    """The version in force: its number, by whom it was applied, by whom approved."""
    with gateway.store() as store:
        config = store.state().config
    assert config is not None
    return config.version, config.applied_by, config.approved_by


def test_from_the_proposal_to_the_version(house: tuple[Gateway, Staff], people: dict[str, Visitor]) -> None:
    """It is shown with what it changes; another person approves it there, with a reason, once; both are named."""
    gateway, staff = house
    number = propose(gateway, staff, "fin", 2)
    shown = text_of(people["ben"].get(page(number)))
    for words in ("budget day: limit $5.00 → $6.00", "limit: 6.00", "What it widens", 'value="approve"'):
        assert words in shown, words

    done = answer(people["ben"], number, "approve", "seen; <b>canary</b>")
    assert (303, "/policies/versions/4") == (done.status, done.headers["location"])
    assert (4, "fin", "ben") == newest(gateway)
    acts = [(each["actor"], each["act"]) for each in gateway.entries() if each["type"] == "proposal"]
    assert [("fin", "propose"), ("ben", "approve")] == acts
    told = people["au"].get(page(number)).body.decode()
    assert ("seen; &lt;b&gt;canary" in told, 'name="answer"' in told) == (True, False)
    again = answer(people["bea"], number, "refuse")
    assert (403, True) == (again.status, "is approved already" in text_of(again))


def test_whose_answer_does_not_count(house: tuple[Gateway, Staff], people: dict[str, Visitor]) -> None:
    """The author's own, of who may only look, without a reason or its proof; strangers see nothing. Nothing changes."""
    gateway, staff = house
    number = propose(gateway, staff, "ana", 2)
    for person, words in (("ana", "is `ana`'s own"), ("fin", "needs the role"), ("au", "needs the role")):
        shown = people[person].get(page(number))
        assert (True, False) == (words in text_of(shown), 'value="approve"' in text_of(shown)), person
        for kind in ("approve", "refuse"):
            refused = answer(people[person], number, kind)
            assert (403, True) == (refused.status, words in text_of(refused)), (person, kind)
    assert 404 == people["zoe"].get(page(number)).status == answer(people["zoe"], number, "approve").status
    assert 404 == answer(people["ben"], number + 1, "approve").status
    assert 303 == Visitor(gateway).get(page(number)).status
    assert 403 == people["ben"].post(page(number), {"answer": "approve", "note": "seen"}).status
    for kind, note, words in (
        ("approve", "  ", "say why"),
        ("refuse", "", "say why"),
        ("maybe", "seen", "choose an answer"),
        ("review", "seen", "is open"),
    ):
        refused = answer(people["ben"], number, kind, note)
        assert words in text_of(refused), kind
        assert refused.status in (403, 409), kind
    assert (3, 1) == (
        newest(gateway)[0],
        sum(each["type"] == "proposal" for each in gateway.entries()),
    )


def test_only_who_sees_all_of_it_approves(house: tuple[Gateway, Staff], people: dict[str, Visitor]) -> None:
    """What is about other tenants too can be refused by an approver, and not approved; nothing of them is shown."""
    gateway, staff = house
    number = propose(gateway, staff, "ana", 1)
    shown = text_of(people["ben"].get(page(number)))
    assert "may not see all that it would change" in shown
    assert (True, False) == ('value="refuse"' in shown, 'value="approve"' in shown)
    refused = answer(people["ben"], number, "approve")
    assert 409 == refused.status
    for text in (shown, text_of(refused)):
        assert not [words for words in ("zeta", "79.00") if words in text]
    assert 3 == newest(gateway)[0]
    done = answer(people["ben"], number, "refuse", "too much")
    assert (303, page(number)) == (done.status, done.headers["location"])
    assert "refuse by ben" in text_of(people["fin"].get(page(number)))


def test_without_the_private_key(house: tuple[Gateway, Staff], people: dict[str, Visitor]) -> None:
    """Where the gateway has public keys only, the page says so; a no needs no key."""
    gateway, staff = house
    number = propose(gateway, staff, "fin", 2)
    key = gateway.data / "signing-key.pem"
    public = serialization.load_pem_private_key(key.read_bytes(), None).public_key()
    key.write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    shown = text_of(people["ben"].get(page(number)))
    assert "has public keys only" in shown
    assert "aegis proposals approve" in shown
    assert (True, False) == ('value="refuse"' in shown, 'value="approve"' in shown)
    refused = answer(people["ben"], number, "approve")
    assert (409, True) == (refused.status, "has public keys only" in text_of(refused))
    assert 3 == newest(gateway)[0]
    assert 303 == answer(people["ben"], number, "refuse", "not here").status


def test_what_was_overtaken(house: tuple[Gateway, Staff], people: dict[str, Visitor]) -> None:
    """Another version was put in force meanwhile: it can only be refused."""
    gateway, staff = house
    first, second = propose(gateway, staff, "fin", 2), propose(gateway, staff, "ana", 2)
    assert 303 == answer(people["ben"], second, "approve").status
    shown = text_of(people["ben"].get(page(first)))
    assert "Version 4 is in force by now" in shown
    assert 'value="approve"' not in shown
    refused = answer(people["ben"], first, "approve")
    assert (409, True) == (refused.status, "proposed anew" in text_of(refused))
    assert 303 == answer(people["bea"], first, "refuse", "too late").status


def test_an_emergency_is_reviewed(house: tuple[Gateway, Staff], people: dict[str, Visitor]) -> None:
    """What was done at once is looked at by another person, who says so there."""
    gateway, staff = house
    number = propose(gateway, staff, "ana", 2, is_emergency=True)
    assert 'value="review"' not in text_of(people["ana"].get(page(number)))
    assert 'value="review"' in text_of(people["ben"].get(page(number)))
    assert 409 == answer(people["ben"], number, "approve").status
    assert 303 == answer(people["ben"], number, "review", "it burned").status
    assert "review by ben" in text_of(people["au"].get(page(number)))
    assert 4 == newest(gateway)[0]
