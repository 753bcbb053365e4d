"""The pages of calls, on a gateway that has answered real ones: what they say is what the ledger has."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from html import escape

import pytest
from openpyxl import load_workbook

from aegis_gateway.adapters.pace_reports import PaceReports
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.money import nano_usd, usd_text
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.pace_account import PaceSeen, duration_text, read_pace
from tests.browsers import Staff, Visitor, text_of
from tests.gateways import TENANT, Gateway, ask, chat_body, configuration, until

pytestmark = pytest.mark.xdist_group("call-pages")

CHAT = "/v1/chat/completions"
POLICIES = (
    '@id("all-may") permit(principal, action, resource);\n'
    '@id("never") @reason("this one never may") forbid(principal == Agent::"barred", action, resource);\n'
)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway that has settled three calls of `bot` and refused one of `barred`."""
    with UpstreamProcess(apps="provider") as upstream:
        files = configuration(
            upstream.base_url,
            budgets={"day": "limit: 5.00, period: daily"},
            agents=("bot", "barred"),
            policies=POLICIES,
        )
        with Gateway(files) as gateway:
            for place in range(3):
                ask(gateway, "POST", CHAT, chat_body(f"hi {place} [[tokens=20]]", max_tokens=90))
            refused = ask(gateway, "POST", CHAT, chat_body("hi"), key=gateway.key("barred"))
            assert 403 == refused.status
            yield gateway


@pytest.fixture(scope="module")
def people(gateway: Gateway) -> dict[str, Visitor]:
    """Vi looks on in acme; zoe has no role anywhere."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    staff.add("zoe")
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def ids(page: str) -> list[str]:
    """The calls on a page, in its order."""
    return re.findall(r'<th[^>]*><a href="/calls/acme/([^"]+)"', page)


def test_the_stream(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """The newest first, each with its cost to the last digit or why not; filters leave the others out."""
    rows = gateway.query("select call, agent, effect, cost_nano_usd from call order by decided_ns desc")
    page = text_of(people["vi"].get("/calls"))
    assert [row["call"] for row in rows] == ids(page)
    for row in rows:
        if row["effect"] == "allow":
            assert f">{usd_text(row['cost_nano_usd'])}<" in page
    assert "this one never may" in page
    refused = [row["call"] for row in rows if row["agent"] == "barred"]
    assert refused == ids(text_of(people["vi"].get("/calls?effect=deny")))
    assert refused == ids(text_of(people["vi"].get("/calls?agent=barred&since=1h&state=refused")))
    assert [] == ids(text_of(people["vi"].get("/calls?agent=nobody")))
    assert "aegis calls --follow" in text_of(people["vi"].get("/calls?agent=nobody"))


def test_what_an_address_says_wrongly(people: dict[str, Visitor]) -> None:
    """It is as at first, or finds nothing; it is shown as text, and never breaks the page."""
    for query in (
        "effect=drop",
        "since=99999d",
        "behind=1",
        "behind=99999999999999999999-1",
        "behind=9999999999999999999-1",
        "state=%00",
    ):
        assert 4 == len(ids(text_of(people["vi"].get(f"/calls?{query}")))), query
    page = people["vi"].get("/calls?agent=%3Cscript%3Ealert(1)%3C/script%3E%00%27")
    assert 200 == page.status
    assert b"<script>alert" not in page.body
    assert 200 == people["vi"].get("/calls?behind=9223372036854775807-999999999999999999").status


def test_only_who_may_read_sees_anything(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Strangers sign in first; who has no role sees no trace; a tenant that isn't there is like one of others."""
    call = gateway.query("select call from call")[0]["call"]
    for path in ("/calls", "/calls/table.csv", f"/calls/{TENANT}/{call}"):
        assert 303 == Visitor(gateway).get(path).status
        assert call not in text_of(people["zoe"].get(path))
    assert "no tenant that you may see" in text_of(people["zoe"].get("/calls"))
    assert 404 == people["zoe"].get(f"/calls/{TENANT}/{call}").status
    assert 404 == people["vi"].get("/calls?tenant=zeta").status
    assert 404 == people["vi"].get(f"/calls/zeta/{call}").status
    assert 404 == people["vi"].get(f"/calls/{TENANT}/call_none").status


def test_the_file(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Every call with plain numbers, which add up to what the ledger has."""
    answer = people["vi"].get("/calls/table.csv?since=ever")
    assert "text/csv; charset=utf-8" == answer.headers["content-type"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert 4 == len(rows)
    total = gateway.query("select sum(cost_nano_usd) as n from call")[0]["n"]
    assert int(total) == sum(nano_usd(row["cost_usd"]) for row in rows if row["cost_usd"])
    assert {"deny", "allow"} == {row["effect"] for row in rows}
    one = list(csv.DictReader(io.StringIO(people["vi"].get("/calls/table.csv?effect=deny").body.decode())))
    assert ["barred"] == [row["agent"] for row in one]
    answer = people["vi"].get("/calls/table.xlsx?since=ever")
    assert answer.headers["content-type"].endswith("spreadsheetml.sheet")
    assert answer.headers["content-disposition"].endswith('"acme-calls-ever.xlsx"')
    sheet = load_workbook(io.BytesIO(answer.body)).active
    assert sheet is not None
    head, *found = sheet.values
    place = head.index("cost_usd")
    assert [float(row["cost_usd"]) if row["cost_usd"] else None for row in rows] == [
        row[place] for row in found
    ]
    assert 404 == people["vi"].get("/calls/table.pdf").status


def test_a_call_in_full(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Who, what, why, charges, budgets and entries, as `aegis call` has them."""
    row = gateway.query("select * from call where agent = 'bot' order by sequence limit 1")[0]
    page = text_of(people["vi"].get(f"/calls/{TENANT}/{row['call']}"))
    hint = gateway.query(f"select hint from api_key where key = '{row['api_key']}'")[0]["hint"]
    places = gateway.query(f"select sequence from entry where call = '{row['call']}'")
    for words in (
        "agent bot, team desk",
        "ana@acme.example, for: test",
        hint,
        "chat on gpt-4o-mini through provider",
        "90 tokens of output",
        usd_text(row["cost_nano_usd"]),
        "output",
        'href="/budgets/acme/day"',
        str(row["run"]),
        "decided",
        "settled",
        f"version {row['policy_version']}",
        *(f"entry {each['sequence']}" for each in places),
    ):
        assert words in page, words
    barred = gateway.query("select call from call where agent = 'barred'")[0]["call"]
    assert escape("this one never may") in text_of(people["vi"].get(f"/calls/{TENANT}/{barred}"))


def test_a_page_that_is_open_is_told_only_what_changed(people: dict[str, Visitor]) -> None:
    """Asked for anew with what was seen, nothing is sent where nothing changed."""
    first = text_of(people["vi"].get("/calls"))
    address = re.search(r'hx-get="([^"]+)"', first)
    assert address is not None
    again = people["vi"].get(address[1], {"hx-request": "true"})
    assert again.status in (200, 204)  # the last minute's counts may have changed meanwhile
    assert "<html" not in text_of(again)


def test_how_fast_it_is(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """As the workers measured it and the store has it within seconds; upstream failures too; others see nothing."""
    assert 500 <= ask(gateway, "POST", CHAT, chat_body("hi [[fail=503]]", max_tokens=90)).status
    assert 401 == ask(gateway, "POST", CHAT, chat_body("hi"), key="nobodys").status

    def seen() -> PaceSeen:
        with gateway.store() as store:
            return read_pace(PaceReports(store.query), TENANT, store.clock_ns())

    until(lambda: seen().calls == gateway.count(), "not all calls were measured")
    pace = seen()
    assert ({"allow": 4, "deny": 1}, {"5xx": 1}, 0) == (pace.effects, pace.upstream_errors, pace.late)
    assert (5, 4, 5) == tuple(pace.took[each].calls for each in ("added", "upstream", "whole"))
    page = text_of(people["vi"].get("/calls"))
    took = pace.took["added"]
    assert (
        f'<a href="#pace-parts">added by the gateway</a> <strong>{duration_text(took.p50_ns)}</strong>'
        in page
    )
    assert f"<strong>{duration_text(took.p99_ns)}</strong>" in page
    parts = {(each.measure, each.of): (each.took.calls, each.failed) for each in pace.parts}
    assert {
        ("added", "models"): (5, 0),
        ("upstream", "provider"): (4, 1),
        ("whole", "models"): (5, 0),
    } == parts
    assert "by the upstream <strong>provider</strong>" in page
    assert "of 4 calls; 1 failure</li>" in page
    assert "upstream failures</a> <strong>1</strong> (1 errors of theirs)" in page
    assert '<svg class="spark"' in page
    assert "refused without a decision <strong>1</strong> (1 unknown key)" in page
    assert "added by the gateway" not in text_of(people["zoe"].get("/calls"))
