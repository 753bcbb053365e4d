"""Tables of all pages as files, on a gateway that has something in each: found by their links, with what is shown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from html import unescape

import pytest
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.asked import ask_people
from tests.browsers import Staff, Visitor
from tests.gateways import PERMIT_ALL, TENANT, Gateway, ask, chat_body, configuration
from tests.told import tell

pytestmark = pytest.mark.xdist_group("call-pages")

CHAT = "/v1/chat/completions"
BUDGETS = {
    "day": "limit: 5.00, period: daily",
    "tiny": "limit: 0.0001, period: daily, match: {agent: bot}, thresholds: [{at: 1%, do: [incident]}]",
    "tokens": "limit: 1000000, counts: tokens, period: daily, match: {agent: bot}, per: [agent]",
    "trial": "limit: 1.00, period: daily, mode: shadow",
}
FILE = re.compile(r'href="([^"]+/table\.(csv|xlsx)[^"]*)"')
TABLES = {
    "/": 2,
    "/calls": 1,
    "/kpi": 3,
    "/budgets": 1,
    "/budgets/acme/tiny": 3,
    "/agents": 1,
    "/agents/acme/bot": 5,
    "/agents/acme/bot/savings": 1,
    "/approvals": 1,
    "/approvals/decided": 1,
    "/incidents": 1,
    "/notifications": 1,
    "/shadow/acme": 1,
}
"""How many tables each page has at least."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway with calls, an incident, requests, a notification and a rule in shadow."""
    with UpstreamProcess(apps="provider") as upstream:
        files = configuration(
            upstream.base_url, budgets=BUDGETS, agent_budgets={"bot": "day"}, policies=PERMIT_ALL
        )
        with Gateway(files) as gateway:
            for place in range(3):
                ask(gateway, "POST", CHAT, chat_body(f"hi {place} [[tokens=20]]", max_tokens=40))
            ask_people(gateway)
            tell(gateway)
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
    refused = f"/approvals/{ask_people(gateway).id}"
    assert 303 == visitors["ana"].submit(refused, refused, answer="refuse", reason="=no").status
    return visitors


def files_on(who: Visitor, page: str) -> list[str]:
    """Where the tables of a page are had as CSV, each once."""
    shown = who.get(page)
    assert 200 == shown.status, page
    found = {(unescape(address), ending) for address, ending in FILE.findall(shown.body.decode())}
    csvs = {address for address, ending in found if ending == "csv"}
    assert {each.replace("table.csv", "table.xlsx", 1) for each in csvs} == {
        address for address, ending in found if ending == "xlsx"
    }
    return sorted(csvs)


def read_csv(who: Visitor, address: str) -> list[dict[str, str]]:
    """The rows of a file."""
    answer = who.get(address)
    assert (200, "text/csv; charset=utf-8") == (answer.status, answer.headers["content-type"]), address
    return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))


def read_xlsx(who: Visitor, address: str) -> Worksheet:
    """The sheet of a file."""
    answer = who.get(address.replace("table.csv", "table.xlsx", 1))
    assert 200 == answer.status, address
    assert answer.headers["content-disposition"].endswith('.xlsx"')
    sheet = load_workbook(io.BytesIO(answer.body)).active
    assert isinstance(sheet, Worksheet)
    return sheet


def test_every_table_has_both_files(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Each page's links lead to the same rows in both forms; numbers and times are such in a spreadsheet."""
    run = gateway.query("select run from call where effect = 'allow'")[0]["run"]
    for page, count in {**TABLES, f"/runs/{TENANT}/{run[4:24]}": 1}.items():
        addresses = files_on(people["vi"], page)
        assert count <= len(addresses), page
        for address in addresses:
            rows, sheet = read_csv(people["vi"], address), read_xlsx(people["vi"], address)
            head, *cells = sheet.iter_rows()
            assert len(rows) == len(cells), address
            assert rows or page == "/budgets/acme/tiny", address
            for row, of_row in zip(rows, cells, strict=True):
                for (name, text), title, cell in zip(row.items(), head, of_row, strict=True):
                    assert name == str(title.value).removesuffix(" (UTC)")
                    if str(title.value).endswith("(UTC)"):
                        assert isinstance(cell.value, datetime) or not text, (address, name)
                    elif name.endswith("_usd") or name in ("limit", "spent", "calls", "value", "used"):
                        assert cell.data_type == "n", (address, name)
                        assert pytest.approx(float(text or 0), abs=1e-6) == (cell.value or 0)


def test_files_say_what_the_ledger_says(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Spent by budgets and in a run, to the nano-dollar; tokens in tokens; what was answered, and why."""
    vi = people["vi"]
    spent = Decimal(gateway.query("select sum(cost_nano_usd) as n from call")[0]["n"]) / 10**9
    balances = {row["budget"]: row for row in read_csv(vi, "/budgets/table.csv")}
    assert (spent, "usd", "5") == (
        Decimal(balances["day"]["spent"]),
        balances["day"]["unit"],
        balances["day"]["limit"],
    )
    assert ("tokens", "1000000") == (balances["tokens"]["unit"], balances["tokens"]["limit"])
    assert {"enforce", "shadow"} == {row["mode"] for row in balances.values()}
    (decided,) = read_csv(vi, "/approvals/decided/table.csv")
    assert ("refused", "ana", "'=no", "0.25") == tuple(
        decided[name] for name in ("state", "by", "reason", "maximum_usd")
    )
    (told,) = read_csv(vi, "/notifications/table.csv?state=dead")
    assert ("fin", "dead", "1") == (told["channel"], told["state"], told["tries"])
    assert [] == read_csv(vi, "/notifications/table.csv?state=sent")
    (incident,) = read_csv(vi, "/incidents/table.csv")
    assert ("tiny", "usd", "0.0001") == tuple(incident[name] for name in ("budget", "unit", "limit"))
    assert [] == read_csv(vi, "/incidents/table.csv?state=closed")
    shares = {row["figure"]: row for row in read_csv(vi, "/overview/figures/table.csv?range=24h")}
    assert spent == Decimal(shares["spent"]["value"])
    assert "1" == shares["allocation_coverage"]["value"]


def test_files_are_for_those_who_may_read(people: dict[str, Visitor], gateway: Gateway) -> None:
    """Strangers sign in first; who has no role gets nothing of this tenant, whatever they ask for."""
    run = gateway.query("select run from call where effect = 'allow'")[0]["run"]
    for page in (*TABLES, f"/runs/{TENANT}/{run[4:24]}"):
        for address in files_on(people["vi"], page):
            assert 303 == Visitor(gateway).get(address).status
            for asked in (address, f"{address}{'&' if '?' in address else '?'}tenant=acme"):
                answer = people["zoe"].get(asked)
                assert answer.headers["content-type"].startswith("text/html") or answer.body.count(b"\n") == 1
                assert not any(word in answer.body for word in (b"tiny", b"call_", b"gpt-4o", b"apr_")), asked
    for address in (
        "/budgets/table.pdf",
        "/budgets/acme/day/nothing/table.csv",
        "/budgets/acme/no/agents/table.csv",
    ):
        assert 404 == people["vi"].get(address).status
