"""The pages of incidents, on a gateway whose budgets have passed a threshold: seen by some, closed by fewer, once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import TENANT, Gateway, ask, chat_body, configuration, until

pytestmark = pytest.mark.xdist_group("call-pages")

CANARY = "it was a batch; <b>canary</b>"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway with one open incident."""
    with UpstreamProcess(apps="provider") as upstream:
        budgets = {"tiny": "limit: 0.0001, period: daily, thresholds: [{at: 50%, do: [incident]}]"}
        with Gateway(configuration(upstream.base_url, budgets=budgets)) as gateway:
            body = chat_body("hi [[tokens=100]]", max_tokens=100)
            assert 200 == ask(gateway, "POST", "/v1/chat/completions", body, key=gateway.key()).status
            until(lambda: bool(gateway.query("select id from incident")), "no incident")
            yield gateway


@pytest.fixture(scope="module")
def people(gateway: Gateway) -> dict[str, Visitor]:
    """Fin may change limits, vi looks on in acme; zoe has no role anywhere."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    staff.add("zoe")
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def test_it_is_seen_and_closed_once(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """With its facts, by who may see it; closed with a reason by who may, in their name; then it is over."""
    (row,) = gateway.query("select id from incident")
    one = f"/incidents/{TENANT}/{row['id']}"
    listed = text_of(people["vi"].get("/incidents"))
    assert one in listed
    assert "budget:tiny@50" in listed
    assert Visitor(gateway).get("/incidents").status == Visitor(gateway).get(one).status == 303
    assert row["id"] not in text_of(people["zoe"].get("/incidents"))
    assert 404 == people["zoe"].get(one).status
    assert 404 == people["vi"].get(f"/incidents/zeta/{row['id']}").status
    assert 404 == people["vi"].get(f"/incidents/{TENANT}/incident_9999").status

    shown = text_of(people["fin"].get(one))
    for words in ("threshold passed", "$0.0001", "ana@acme.example", 'href="/budgets/acme/tiny"'):
        assert words in shown, words
    assert "<textarea" in shown
    assert "<textarea" not in text_of(people["vi"].get(one))

    proof = {who: csrf_on(people[who].get(one)) for who in ("fin", "vi", "zoe")}
    assert 403 == people["vi"].post(one, {"csrf": proof["vi"], "reason": CANARY}).status
    assert 404 == people["zoe"].post(one, {"csrf": proof["zoe"], "reason": CANARY}).status
    assert 403 == people["fin"].post(one, {"reason": CANARY}).status
    empty = people["fin"].post(one, {"csrf": proof["fin"], "reason": "  "})
    assert (400, True) == (empty.status, "It is still open" in text_of(empty))
    assert [{"closed_ns": None}] == gateway.query("select closed_ns from incident")

    for _ in range(2):  # a second press changes nothing
        done = people["fin"].post(one, {"csrf": proof["fin"], "reason": CANARY})
        assert (303, one) == (done.status, done.headers["location"])
    entries = [each for each in gateway.entries() if each["type"] == "incident"]
    assert [(CANARY, "close")] == [(each["reason"], each["act"]) for each in entries]
    assert "fin" in str(entries[0])
    assert one not in text_of(people["vi"].get("/incidents"))
    assert one in text_of(people["vi"].get("/incidents?state=closed"))
    over = text_of(people["fin"].get(one))
    assert "<textarea" not in over
    assert re.search("<strong>closed</strong>", over)
    assert "No incident is open" in text_of(people["fin"].get("/incidents"))
