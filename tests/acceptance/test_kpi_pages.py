"""The page of key figures, on a gateway that has done work: it says what the ledger has, and what agents said."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from html import escape, unescape

import pytest
from openpyxl import load_workbook

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, text_of
from tests.gateways import TENANT, Gateway, ask, chat_body, configuration

pytestmark = pytest.mark.xdist_group("kpi-pages")

CHAT = "/v1/chat/completions"
NAME = '<b>refund</b> & "more"'
SHOWN = escape(NAME, quote=False).replace('"', "&#34;")
POLICIES = (
    '@id("all-may") permit(principal, action, resource);\n'
    '@id("never") @reason("this one never may") forbid(principal == Agent::"barred", action, resource);\n'
    '@id("quiet") @mode("shadow") forbid(principal == Agent::"bot", action, resource);\n'
)


def call(gateway: Gateway, text: str, agent: str = "bot") -> str:
    """A call in a run of its own; gives the run."""
    answer = ask(
        gateway, "POST", CHAT, chat_body(f"{text} [[tokens=20]]", max_tokens=90), key=gateway.key(agent)
    )
    return answer.headers["aegis-run-id"]


def tell(gateway: Gateway, run: str, **report: object) -> None:
    """A report."""
    answer = ask(gateway, "POST", f"/v1/runs/{run}/outcome", json.dumps(report).encode(), key=gateway.key())
    assert 200 == answer.status, answer.body


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway that has seen two successes, a failure, a repeat, work without a word, and a refusal."""
    with UpstreamProcess(apps="provider") as upstream:
        files = configuration(
            upstream.base_url,
            budgets={"day": "limit: 5.00, period: daily"},
            agents=("bot", "barred"),
            policies=POLICIES,
        )
        with Gateway(files) as gateway:
            tell(
                gateway, call(gateway, "one"), outcome="success", name=NAME, value_usd="12.50", transactions=3
            )
            tell(gateway, call(gateway, "two and more"), outcome="success")
            tell(gateway, call(gateway, "three"), outcome="failure", note="the bank said no")
            call(gateway, "one")
            call(gateway, "no", agent="barred")
            yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Vi looks on in acme; zoe has no role anywhere."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    staff.add("zoe")
    return staff


@pytest.fixture(scope="module")
def people(gateway: Gateway, staff: Staff) -> dict[str, Visitor]:
    """Both of them, signed in."""
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def figure(page: str, name: str) -> tuple[str, str]:
    """What a figure comes to on a page: what it is made of, and as it is shown."""
    found = re.search(rf'id="figure-{name}".*?<data value="([^"]*)">([^<]*)</data>', page, re.S)
    assert found is not None, name
    return found[1], unescape(found[2])


def cost(gateway: Gateway, where: str = "1 = 1") -> int:
    """What calls have cost."""
    (row,) = gateway.query(f"select coalesce(sum(cost_nano_usd), 0) as cost from call where {where}")
    return int(row["cost"])


def of_result(gateway: Gateway, result: str) -> int:
    """What the runs have cost that came to something."""
    return cost(
        gateway,
        f"substr(run, 5, 20) in (select run from outcome where result = '{result}')",
    )


def test_figures_are_the_ledgers(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Each with what it is made of; savings apart; work that no agent reported on counts in no success."""
    page = text_of(people["vi"].get("/kpi?range=24h"))
    spent, good, bad = cost(gateway), of_result(gateway, "success"), of_result(gateway, "failure")
    assert 0 < good < spent
    (repeated,) = gateway.query("select sum(repeated) as cost from usage_sum where span = 'hour'")
    one = gateway.query("select cost_nano_usd from call where effect = 'allow' order by sequence")[-1]
    assert int(one["cost_nano_usd"]) == int(repeated["cost"]) > 0
    expected = {
        "spent": f"{spent}",
        "cost_per_call": f"{spent}/4",
        "cost_per_transaction": f"{spent}/{3 + 1 + 1 + 1}",
        "cost_per_success": f"{good}/2",
        "cost_per_success_in_all": f"{good + bad}/2",
        "success_rate": "2/3",
        "outcomes_reported": "3/4",
        "wasted": f"{bad}",
        "value_claimed": f"{12_500_000_000}",
        "allocation_coverage": f"{spent}/{spent}",
        "violations": "1",
        "cache_candidates": f"{int(repeated['cost'])}",
    }
    assert expected == {name: figure(page, name)[0] for name in expected}
    assert usd_short(round(good / 2)) == figure(page, "cost_per_success")[1]
    assert "cost of trees reported as success / those trees" in page
    assert "None of it is ever taken off spending" in page
    api = people["vi"].get("/api/v1/kpi")
    assert 401 == api.status, "the control API knows tokens only"


def test_what_is_behind_the_numbers(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """By agent, by rule and mode, by budget; work leads to its runs; each link is a page."""
    vi = people["vi"]
    page = text_of(vi.get("/kpi?range=24h&by=agent"))
    assert re.search(
        r'never</th>.*?enforced</span>.*?deny.*?barred.*?href="/calls\?tenant=acme&agent=barred',
        page,
        re.S,
    )
    assert re.search(r'quiet</th>.*?shadow</span>.*?would deny.*?bot.*?href="/shadow/acme/quiet"', page, re.S)
    assert re.search(r'href="/budgets/acme/day">day</a>.*?within</span>', page, re.S)
    for by in ("team", "model", "tool", "cost_centre", "connector", "environment", "project"):
        assert 200 == vi.get(f"/kpi?by={by}&range=365d").status
    living = page[page.index('id="living"') :]
    links = {unescape(each) for each in re.findall(r'href="(/[^"#]*)"', living)}
    assert len(links) > 20
    for each in sorted(links):
        assert 200 == vi.get(each).status, each
    work = vi.get("/kpi/work?range=24h&outcome=success").body.decode()
    assert SHOWN in work
    assert NAME not in work
    (run,) = gateway.query("select run from outcome where name <> ''")
    assert f'href="/runs/acme/{run["run"]}"' in work
    assert "the bank said no" in text_of(vi.get("/kpi/work?outcome=failure"))
    assert "No work that was begun" in text_of(vi.get("/kpi/work?outcome=partial"))
    run_page = vi.get(f"/runs/acme/{run['run']}").body.decode()
    assert SHOWN in run_page
    assert "$12.50" in run_page


def test_tables_are_had_as_files(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """As CSV with plain numbers and as a spreadsheet with typed cells; a text is never a formula."""
    vi = people["vi"]
    found = {}
    for table in ("figures", "parts", "outcomes", "budgets", "violations"):
        text = text_of(vi.get(f"/kpi/table.csv?range=24h&table={table}"))
        found[table] = list(csv.DictReader(io.StringIO(text)))
    values = {row["figure"]: row["value"] for row in found["figures"]}
    assert Decimal(cost(gateway)).scaleb(-9) == Decimal(values["spent"])
    assert [("bot", "2")] == [
        (row["agent"], row["successes"]) for row in found["parts"] if row["agent"] == "bot"
    ]
    assert {("success", "2"), ("failure", "1")} == {
        (row["outcome"], row["trees"]) for row in found["outcomes"]
    }
    assert [("day", "within")] == [(row["budget"], row["calls_for"]) for row in found["budgets"]]
    assert {("never", "enforce", "barred"), ("quiet", "shadow", "bot")} == {
        (row["rule"], row["mode"], row["agent"]) for row in found["violations"]
    }
    sheet = load_workbook(io.BytesIO(vi.get("/kpi/work/table.xlsx?outcome=success").body)).active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    assert NAME in rows[2]
    assert 12.5 in rows[2]
    assert 404 == vi.get("/kpi/table.txt").status


def test_nobody_else_sees_it(people: dict[str, Visitor]) -> None:
    """Who has no role in the tenant gets no figure, no work and no file of it, and no word that there is one."""
    for path in ("/kpi", "/kpi/work", "/kpi/table.csv", "/kpi/work/table.csv"):
        for query in ("", f"?tenant={TENANT}", "?tenant=nowhere"):
            answer = people["zoe"].get(f"{path}{query}")
            assert (404 if path.endswith(".csv") else 200) == answer.status, path
            assert path.endswith(".csv") or "no tenant that you may see" in text_of(answer), path
            assert b"bot" not in answer.body
    odd = people["vi"].get("/kpi?range=%00&by=salt&table=%F0%9F%92%A5")
    assert 200 == odd.status
