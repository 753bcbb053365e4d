"""The approvals inbox over a real gateway: who sees what, who may answer, and everything that is refused."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.approval_route import Group, Route, Want
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.people.door import READING_MAX
from tests.asked import arguments, ask_people
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import HOST, PERMIT_ALL, Answer, Gateway, configuration, until

pytestmark = pytest.mark.xdist_group("inbox")

UPSTREAM = "http://127.0.0.1:9"
FILES = configuration(UPSTREAM, policies=PERMIT_ALL, budgets={"day": "limit: 20.00, period: daily"})
OTHER_TENANT = FILES["aegis.yaml"].partition("  acme:\n")[2]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway with two tenants, acme and zeta, whose agents ask."""
    files = {**FILES, "aegis.yaml": f"{FILES['aegis.yaml']}  zeta:\n{OTHER_TENANT}"}
    with Gateway(files) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Ben and cy approve in acme, vi looks on there, zoe approves in zeta; ana is an admin everywhere."""
    staff = Staff(gateway)
    for person in ("ben", "cy"):
        staff.add(person, Grant(role="approver", tenant="acme"))
    staff.add("vi", Grant(role="viewer", tenant="acme"))
    staff.add("zoe", Grant(role="approver", tenant="zeta"))
    return staff


@pytest.fixture(scope="module")
def people(gateway: Gateway, staff: Staff) -> dict[str, Visitor]:
    """All of them, signed in."""
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def answer(who: Visitor, approval: Approval, kind: str, reason: str = "", **more: str) -> Answer:
    """Somebody presses a button of a request's page."""
    page = f"/approvals/{approval.id}"
    csrf = csrf_on(who.get("/approvals"))
    return who.post(page, {"csrf": csrf, "answer": kind, "reason": reason, **more})


def stored(gateway: Gateway, approval: Approval) -> tuple[str, list[Any]]:
    """The state of a request, and who answered it."""
    rows = gateway.query("select state from approval where approval = ?", approval.id)
    answers = gateway.query(
        "select person from approval_answer where approval = ? order by at_ns", approval.id
    )
    return rows[0]["state"], [row["person"] for row in answers]


def test_a_request_is_granted(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """It is in the inbox, is shown in full, and a yes with its reason is taken once and told from then on."""
    first = ask_people(gateway, about="api.wire", facts=arguments("100.00"))
    asked = ask_people(gateway, about="api.wire", facts=arguments("5000.00", to="<b>Fabrikam</b> & Co"))
    ben = people["ben"]
    inbox = text_of(ben.get("/approvals"))
    assert f'href="/approvals/{asked.id}"' in inbox
    page = ben.get(f"/approvals/{asked.id}")
    text = text_of(page)
    assert b"&lt;b&gt;Fabrikam&lt;/b&gt; &amp; Co" in page.body
    assert b"<b>Fabrikam" not in page.body
    for words in (
        "bot wants to call api.wire",
        "$0.25",
        'was <span class="mono">100.00',
        "50 times what it was",
        "Payments above $5,000 need a second pair of eyes",
        "ana@acme.example",
        "$20.00",
        'this leaves <span class="money">$19.75',
        "The call isn’t made",
    ):
        assert words in text, words
    given = answer(ben, asked, "grant", "as agreed")
    assert (303, f"/approvals/{asked.id}") == (given.status, given.headers["location"])
    assert ("granted", ["ben"]) == stored(gateway, asked)
    after = text_of(ben.get(f"/approvals/{asked.id}"))
    assert "Approved." in after
    assert "as agreed" in after
    assert 'name="answer"' not in after
    assert asked.id not in text_of(ben.get("/approvals"))
    assert asked.id in text_of(ben.get("/approvals/decided"))
    assert 303 == answer(people["cy"], first, "refuse", "not this vendor").status
    assert ("refused", ["cy"]) == stored(gateway, first)


def test_a_second_click_and_a_second_person(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """The same answer again changes nothing; another one is told that it came too late."""
    asked = ask_people(gateway)
    statuses: list[int] = []
    presses = [
        threading.Thread(target=lambda: statuses.append(answer(people["ben"], asked, "grant").status))
        for _ in range(4)
    ]
    for press in presses:
        press.start()
    for press in presses:
        press.join()
    assert [303] * 4 == statuses
    assert ("granted", ["ben"]) == stored(gateway, asked)
    late = answer(people["cy"], asked, "refuse", "no")
    assert (409, True) == (late.status, "was not taken" in text_of(late))
    assert ("granted", ["ben"]) == stored(gateway, asked)


def test_answers_that_are_none(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """A no wants a reason; what is neither is nothing; a form from elsewhere does nothing."""
    asked = ask_people(gateway)
    ben = people["ben"]
    unreasoned = answer(ben, asked, "refuse", "  ")
    assert (400, True) == (unreasoned.status, "Say why you refuse" in text_of(unreasoned))
    assert 400 == answer(ben, asked, "perhaps").status
    for csrf in ("", csrf_on(people["cy"].get("/approvals"))):
        assert 403 == ben.post(f"/approvals/{asked.id}", {"csrf": csrf, "answer": "grant"}).status
    assert (
        403
        == ben.post(f"/approvals/{asked.id}", {"answer": "grant"}, {"origin": "https://evil.example"}).status
    )
    assert ("waiting", []) == stored(gateway, asked)


def test_who_may_not_answer(gateway: Gateway, people: dict[str, Visitor], staff: Staff) -> None:
    """Who only looks on, who isn't asked, who stands behind the request: each is told why, and finds no button."""
    asked = ask_people(
        gateway,
        behind=("cy",),
        route=Route(wants=(Want(groups=(Group(name="desk", people=("ben", "cy")),)),)),
    )
    for person, why in (("vi", "not among those"), ("ana", "not among those"), ("cy", "stands behind")):
        page = text_of(people[person].get(f"/approvals/{asked.id}"))
        assert why in page
        assert 'value="grant"' not in page
        assert 409 == answer(people[person], asked, "grant").status
    assert ("waiting", []) == stored(gateway, asked)
    own = ask_people(gateway, kind="increase", requester="ben", about="day", maximum_nano_usd=None)
    assert "own request" in text_of(people["ben"].get(f"/approvals/{own.id}"))
    assert 409 == answer(people["ben"], own, "grant").status
    assert ("waiting", []) == stored(gateway, own)


def test_other_tenants_requests_are_not_there(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Neither in the inbox nor by their id, and no answer to them is taken; the same as for one that is none."""
    asked = ask_people(gateway)
    zoe = people["zoe"]
    assert asked.id not in text_of(zoe.get("/approvals"))
    assert asked.id not in text_of(zoe.get("/approvals?tenant=acme"))
    nothing = zoe.get("/approvals/apr_00000000000000000000")
    for found in (zoe.get(f"/approvals/{asked.id}"), answer(zoe, asked, "grant")):
        assert (404, True) == (found.status, "There is no such request" in text_of(found))
    assert text_of(nothing).count("such request") == 2
    assert ("waiting", []) == stored(gateway, asked)
    everywhere = text_of(people["ana"].get("/approvals"))
    assert asked.id in everywhere
    assert "<option>zeta</option>" in everywhere
    assert asked.id not in text_of(people["ana"].get("/approvals?tenant=zeta"))


def test_an_expired_request(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Is over for everybody, whether or not that was written down yet."""
    asked = ask_people(gateway, route=Route(within_ns=1))
    page = text_of(people["ben"].get(f"/approvals/{asked.id}"))
    assert "Nobody answered in time" in page
    assert 'value="grant"' not in page
    assert asked.id not in text_of(people["ben"].get("/approvals"))
    late = answer(people["ben"], asked, "grant")
    assert 409 == late.status
    assert ("expired", []) == stored(gateway, asked)


def test_who_asks_for_more(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """How much until when, in their own words; it is no cost, and takes nothing of what is left."""
    facts = {"amount": "$250.00", "until_ns": "1795456800000000000", "why": "quarter end", "left": "$0.00"}
    asked = ask_people(
        gateway, kind="increase", requester="bo", about="day", maximum_nano_usd=250_000_000_000, facts=facts
    )
    page = " ".join(text_of(people["ben"].get(f"/approvals/{asked.id}")).split())
    for words in (
        "bo asks for $250.00 more on day, until 23 Nov 2026, 18:00:00 UTC",
        "“quarter end”",
        "<dt>asks for</dt>",
        "The limit is raised at once",
    ):
        assert words in page, words
    assert "this leaves" not in page
    assert "1795456800000000000" not in page


def test_what_is_alike_is_answered_together(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """All that were shown, and none that came since, nor one of another kind that a form names."""
    alike = [
        ask_people(gateway, group_after=1, about="api.refund", facts=arguments(f"{n}.00"))
        for n in (1, 2, 3, 4)
    ]
    leader = alike[1]
    stranger = ask_people(gateway, about="api.pay")
    page = text_of(people["ben"].get(f"/approvals/{leader.id}"))
    assert "Also the other 2 alike that wait" in page
    assert "together at most $0.75" in page
    later = ask_people(gateway, group_after=1, about="api.refund")
    shown = [("other", each.id) for each in (*alike[1:], stranger)]
    csrf = csrf_on(people["ben"].get("/approvals"))
    fields = [("csrf", csrf), ("answer", "grant"), ("together", "yes"), *shown]
    done = people["ben"].send(f"/approvals/{leader.id}", fields)
    assert 303 == done.status
    assert ["waiting", "granted", "granted", "granted"] == [stored(gateway, each)[0] for each in alike]
    assert ["waiting", "waiting"] == [stored(gateway, each)[0] for each in (stranger, later)]


def test_who_is_signed_out_comes_back(gateway: Gateway, staff: Staff) -> None:
    """A link of a message leads to the request, by way of signing in; also one that names the tenant."""
    asked = ask_people(gateway)
    visitor = Visitor(gateway)
    sent = visitor.get(f"/approvals/{asked.id}")
    assert (303, f"/sign-in?next=%2Fapprovals%2F{asked.id}") == (sent.status, sent.headers["location"])
    back = visitor.submit(
        sent.headers["location"], "/sign-in", token=staff.tokens["ben"], next=f"/approvals/{asked.id}"
    )
    assert f"/approvals/{asked.id}" == back.headers["location"]
    assert f"/approvals/{asked.id}" == visitor.get(f"/approvals/acme/{asked.id}").headers["location"]


def test_a_page_that_stays_open(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Asks for its living part: nothing comes while nothing changed, the part alone when something has."""
    ben = people["ben"]
    seen = text_of(ben.get("/approvals")).partition("/approvals?seen=")[2][:16]
    part = ben.get(f"/approvals?seen={seen}", {"hx-request": "true"})
    assert (204, b"") == (part.status, part.body)
    asked = ask_people(gateway, facts=arguments("1.00"))
    part = ben.get(f"/approvals?seen={seen}", {"hx-request": "true"})
    assert (200, True, False) == (part.status, asked.id in text_of(part), "<html" in text_of(part))
    stranger = Visitor(gateway).get("/approvals", {"hx-request": "true"})
    assert (204, "/sign-in?next=%2Fapprovals") == (stranger.status, stranger.headers["hx-redirect"])


def test_bodies_that_are_held_back_keep_nobody_out(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Whoever opens connections and sends half of a form on each: pages are shown, and answers taken, meanwhile."""
    asked = ask_people(gateway)
    half = "POST /slack/interactions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\npayload="
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection((HOST, gateway.settings.port)))
            for _ in range(2 * READING_MAX)
        ]
        for each in held:
            each.sendall(half.encode())
        until(lambda: READING_MAX == len(select.select(held, [], [], 0)[0]))  # so many are given up
        assert 200 == people["ben"].get("/approvals").status
        assert 303 == answer(people["ben"], asked, "grant").status
    assert ("granted", ["ben"]) == stored(gateway, asked)
