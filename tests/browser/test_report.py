"""The report of a month in a real browser and on paper: equal to the ledger, readable, printable, sent by mail.

The pages are kept as pictures and the report as PDF, where `tests.watched.pictures` says.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, text_of
from tests.channels import Mailbox, mail_server
from tests.gateways import TENANT, Gateway, ask, chat, configuration, until
from tests.spending import aegis
from tests.spent import spend_for_weeks
from tests.watched import DESK, Watched, hindrances, overflow, pictures

pytestmark = pytest.mark.xdist_group("browser")

ZONE = "UTC"
BUDGETS = {
    "day": "limit: 3.00, period: daily, kind: soft",
    "tiny": "limit: 0.0001, period: daily, match: {agent: bot}",
    "runs": "limit: 1.00, period: daily, per: [run]",
}
A4 = (595, 842)
PAGES_MOST = 4


class World:
    """A gateway with weeks of spending, its people, its mail, and the month before the present one."""

    def __init__(self, gateway: Gateway, mailbox: Mailbox) -> None:
        self.gateway = gateway
        self.mailbox = mailbox
        self.staff = Staff(gateway)
        self.staff.add("fin", Grant(role="finops", tenant=TENANT))
        self.staff.add("vic", Grant(role="viewer", tenant=TENANT))
        self.staff.add("zoe", Grant(role="finops", tenant="zeta"))
        first = datetime.now(ZoneInfo(ZONE)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        before = _month_before(first)
        self.this, self.last = f"{first:%Y-%m}", f"{before:%Y-%m}"
        self.bounds = {
            self.last: (_ns(before), _ns(first)),
            self.this: (_ns(first), 2**62),
        }
        self.bounds["before that"] = (_ns(_month_before(before)), _ns(before))

    def spent(self, month: str, condition: str = "1 = 1", *values: object) -> int:
        """What the calls of a month have cost, added up from the calls themselves."""
        since_ns, until_ns = self.bounds[month]
        sql = "select coalesce(sum(cost_nano_usd), 0) as nano_usd from call where decided_ns >= ? and decided_ns < ?"
        return int(self.gateway.query(f"{sql} and {condition}", since_ns, until_ns, *values)[0]["nano_usd"])

    def report(self, *arguments: str) -> Any:
        """What the command tells programs."""
        told = aegis(
            self.gateway, "report", "--tenant", TENANT, *arguments, "--json", token=self.staff.tokens["fin"]
        )
        return json.loads(told)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _month_before(first: datetime) -> datetime:
    year, month = (first.year - 1, 12) if first.month == 1 else (first.year, first.month - 1)
    return first.replace(year=year, month=month)


@pytest.fixture(scope="module")
def world(browser: Browser) -> Iterator[World]:
    """Weeks of spending in two tenants' configuration, some calls just now, one of them refused."""
    del browser  # without one there is nothing to test
    mailbox = Mailbox()
    with (
        mail_server(mailbox) as smtp,
        UpstreamProcess() as upstream,
        Gateway(None, start=False) as gateway,
    ):
        spend_for_weeks(gateway, 40)
        files = configuration(upstream.base_url, budgets=BUDGETS, agents=("bot", "clerk"), timezone=ZONE)
        text = files["aegis.yaml"]
        other = text.partition("  acme:\n")[2]
        mine = (
            "    channels:\n"
            "      mail: {kind: email, smtp: 'SMTP', from: a@acme.example, to: [fin@acme.example], network: private}\n"
            "    rules: {dear: {what: {tool: chat}, effect: deny, mode: shadow}}\n"
        ).replace("SMTP", smtp)
        gateway.apply({**files, "aegis.yaml": f"{text}{mine}  zeta:\n{other}"})
        gateway.start()
        statuses = {
            chat(gateway, f"Hello {n} [[tokens={9 * n}]]", key=gateway.key()).status for n in range(9)
        }
        assert {200, 402} == statuses
        until(lambda: not gateway.query("select 1 as x from call where state = 'dispatched'"))
        yield World(gateway, mailbox)


@pytest.fixture
def desk(browser: Browser, world: World) -> Iterator[Watched]:
    """Fin's page at a desk."""
    with browser.new_context(viewport=DESK) as context:
        watched = Watched(context, world.gateway)
        watched.go("/")
        watched.sign_in(world.staff.tokens["fin"])
        yield watched


def test_the_report_is_the_ledger(world: World, desk: Watched) -> None:
    """Of a month that is over and of this one: page, command, API and files tell what the calls add up to, exactly."""
    for month, before in ((world.last, "before that"), (world.this, None)):
        page = desk.go(f"/report?tenant={TENANT}&month={month}")
        shown = int(page.locator("#spent data").get_attribute("value") or "none")
        spent = world.spent(month)
        told = world.report("--month", month)
        assert [spent] * 3 == [shown, told["spent_nano_usd"], sum(day["nano_usd"] for day in told["days"])]
        if before is not None:
            assert world.spent(before) == told["before_nano_usd"] == told["month_before_nano_usd"]
        change = told["spent_nano_usd"] - told["before_nano_usd"]
        assert [change] * 4 == [
            told["change_nano_usd"],
            *(each["change_nano_usd"] for each in told["changes"]),
        ]
        for each in told["changes"]:
            lines = [*each["increases"], *each["decreases"], each["rest"]]
            assert change == sum(line["change_nano_usd"] for line in lines)
            for line in lines[:-1]:
                column = f"coalesce({each['by']}, '') = ?"
                assert world.spent(month, column, line["value"]) == line["nano_usd"]
        (day,) = (each for each in told["budgets"] if each["budget"] == "day")
        # The days of the budget are those of its zone, as the month is.
        assert spent == day["spent_nano_usd"]
        expected = day["spent_nano_usd"] if day["expected_nano_usd"] is None else day["expected_nano_usd"]
        assert Fraction(expected - day["plan_nano_usd"], day["plan_nano_usd"]) == pytest.approx(
            day["deviation"]
        )
        assert day["windows"] * 3_000_000_000 == day["plan_nano_usd"]
    api = ask(world.gateway, "GET", f"/api/v1/report?month={world.last}", key=world.staff.tokens["fin"]).json
    same = ("spent_nano_usd", "budgets", "figures", "savings", "changes", "days")
    told = world.report("--month", world.last)
    assert {each: told[each] for each in same} == {each: api[each] for each in same}
    assert [] == desk.wrong


def test_each_table_is_a_file(world: World) -> None:
    """As CSV with every amount to the nano-dollar, and as a spreadsheet."""
    fin = Visitor(world.gateway)
    fin.sign_in(world.staff.tokens["fin"])
    at = f"tenant={TENANT}&month={world.last}"
    tables = {
        name: list(csv.DictReader(io.StringIO(fin.get(f"/report/{name}/table.csv?{at}").body.decode())))
        for name in ("budgets", "figures", "changes", "points", "days")
    }
    assert all(rows for rows in tables.values())
    assert world.spent(world.last) == sum(_nano(row["spent_usd"]) for row in tables["days"])
    for by in ("team", "agent", "model"):
        rows = [row for row in tables["changes"] if row["by"] == by]
        assert world.spent(world.last) == sum(_nano(row["spent_usd"]) for row in rows)
        assert world.spent("before that") == sum(_nano(row["before_usd"]) for row in rows)
    for name in tables:
        assert fin.get(f"/report/{name}/table.xlsx?{at}").body.startswith(b"PK")
    for address in (
        f"/report/nothing/table.csv?{at}",
        f"/report/days/table.pdf?{at}",
        "/report/days/table.csv?month=x",
    ):
        assert 404 == fin.get(address).status


def _nano(dollars: str) -> int:
    return int(Fraction(dollars) * 1_000_000_000)


def test_it_prints_on_a_few_pages_of_a4(desk: Watched, world: World) -> None:
    """As PDF it is a few pages of A4, without menu, forms and buttons, and nothing is wider than the paper."""
    page = desk.go(f"/report?month={world.last}")
    file = pictures() / "report.pdf"
    page.pdf(path=file, prefer_css_page_size=True)
    document = file.read_bytes()
    boxes = re.findall(rb"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", document)
    assert {A4} == {(round(float(width)), round(float(height))) for width, height in boxes}
    assert 1 <= len(boxes) <= PAGES_MOST
    page.emulate_media(media="print")
    assert not page.locator("header.top").is_visible()
    assert not page.get_by_role("button", name="Send").is_visible()
    page.set_viewport_size({"width": 690, "height": 970})
    assert 0 == overflow(page)
    grounds = page.evaluate(
        "[...document.querySelectorAll('.report .mark')].map(each => getComputedStyle(each).backgroundColor)"
    )
    assert {"rgba(0, 0, 0, 0)"} == set(grounds)


def test_nothing_keeps_anybody_out(browser: Browser, world: World) -> None:
    """Of a month that is over, with the one before it to compare with."""
    paths = (f"/report?month={world.last}",)
    assert [] == hindrances(browser, world.gateway, world.staff.tokens["fin"], paths)


def test_it_is_sent_by_mail(world: World) -> None:
    """By page and command, in the sender's name: a mail of text and HTML with the figures and a link to all of it."""
    fin = Visitor(world.gateway)
    fin.sign_in(world.staff.tokens["fin"])
    at = f"/report?month={world.last}"
    assert 303 == fin.submit(at, "/report", tenant=TENANT, month=world.last, channel="mail").status
    aegis(
        world.gateway,
        "report",
        "--tenant",
        TENANT,
        "--month",
        world.last,
        "--send",
        "mail",
        token=world.staff.tokens["fin"],
    )
    until(lambda: len(world.mailbox.mails) == 2, "the mails don't come")
    mail = message_from_bytes(world.mailbox.mails[0], policy=policy.default)
    for kind in ("plain", "html"):
        body = mail.get_body((kind,))
        assert body is not None
        text = body.get_content()
        assert f"month={world.last}" in text
        assert "changed by agent" in text
    acts = [each for each in world.gateway.entries() if each.get("act") == "report"]
    assert [("fin", "page"), ("fin", "cli")] == [(each["actor"], each["via"]) for each in acts]
    assert 400 == fin.submit(at, "/report", tenant=TENANT, month=world.last, channel="none").status
    assert 400 == fin.submit(at, "/report", tenant=TENANT, month="2999-01", channel="mail").status


def test_nobody_sees_or_sends_what_they_may_not(world: World) -> None:
    """Another tenant's report isn't there; who may only read can't send; months that are none are told so."""
    zoe, vic = Visitor(world.gateway), Visitor(world.gateway)
    zoe.sign_in(world.staff.tokens["zoe"])
    vic.sign_in(world.staff.tokens["vic"])
    for path in (f"/report?tenant={TENANT}", f"/report/days/table.csv?tenant={TENANT}"):
        assert 404 == zoe.get(path).status
    assert 404 == zoe.submit("/approvals", "/report", tenant=TENANT, month=world.last, channel="mail").status
    assert (
        404
        == ask(world.gateway, "GET", f"/api/v1/report?tenant={TENANT}", key=world.staff.tokens["zoe"]).status
    )
    page = text_of(vic.get("/report"))
    assert "Send to" not in page
    assert "agent" in page
    assert 403 == vic.submit("/approvals", "/report", tenant=TENANT, month=world.last, channel="mail").status
    for month in ("2999-01", "1969-12", "2026-13", "%27%20or%201=1", "%00"):
        assert 404 == vic.get(f"/report?month={month}").status
    empty = text_of(zoe.get("/report?month=1970-01"))
    assert "Nothing was spent in December 1969." in empty
