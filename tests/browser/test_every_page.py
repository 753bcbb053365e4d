"""Every page of the gateway, as its own list of addresses has them, with the demo's day of real calls behind it.

Each is found by its links, from the menu on, so a page that is in that list and can't be come to fails the test. A page
that only messages or other people's acts lead to is named in `ELSEWHERE`, with the test that visits it. Pictures are
left in `.screenshots/` (or where `AEGIS_SCREENSHOTS` says).
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from itertools import chain
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.routing import compile_path

from aegis_gateway import bootstrap
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.pace import PaceTold
from aegis_gateway.demo.agents import look_up_rate
from aegis_gateway.demo.director import SEED, play
from aegis_gateway.demo.names import FX, TENANT
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Day
from aegis_gateway.demo.telling import SilentTeller
from aegis_gateway.demo.visitor import Visitor, let_in
from aegis_gateway.entrypoints.people.app import build
from aegis_gateway.entrypoints.people.navigation import GROUPS
from tests.asked import arguments, ask_people
from tests.gateways import until
from tests.told import tell
from tests.watched import Watched, judged, overflow, pictures

pytestmark = pytest.mark.xdist_group("browser")

NO_PAGES = ("/api/v1/", "/api/openapi", "/static/", "/live", "/metrics")
"""Addresses that are for programs."""

ELSEWHERE = {
    "/approvals/{tenant}/{approval}": "leads messages' readers to the request: test_inbox",
    "/policies/proposals/{proposal:int}": "wants a tenant of two people: test_proposals",
    "/sign-in": "everybody has to pass it: the fixture `you`",
}

FURTHER = 40
"""So many more pages of each kind are looked through for links to what no other led to."""

TABS = 25
"""So many controls of each page are gone through by keyboard."""

GUESTS = "      guest-day:\n        owner: guest@northbank.example\n"
LOOKED_AFTER = f"{GUESTS}        thresholds: [{{at: 1%, do: [incident]}}]\n"

NANO = 1_000_000_000

CONTROLS = """() => {
  const wanted = 'a[href], button, input, select, textarea, summary, [tabindex="0"]';
  const isOne = each => each.checkVisibility({ visibilityProperty: true }) && !each.disabled && each.tabIndex >= 0;
  window.controls = Array.from(document.querySelectorAll(wanted)).filter(isOne);
  return window.controls.length;
}"""
FOCUSED = """() => {
  const shows = style => style.outlineStyle !== 'none' || style.boxShadow !== 'none';
  const active = document.activeElement;
  const isSeen = [null, '::before', '::after'].some(each => shows(getComputedStyle(active, each)));
  return [window.controls.indexOf(active), isSeen];
}"""


class Crawl:
    """Which addresses were found, and one of each kind that is still to be visited."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.paths = [path for path in paths if path == "/api/docs" or not path.startswith(NO_PAGES)]
        self._patterns = [(path, compile_path(path)[0]) for path in self.paths]
        self.visited: dict[str, str] = {}
        self.waiting = [page.address for group in GROUPS for page in group.pages]
        self.others: list[str] = []

    def __iter__(self) -> Iterator[str]:
        while self.waiting:
            address = self.waiting.pop(0)
            kind = self.kind(address)
            if kind is not None and kind not in self.visited:
                self.visited[kind] = address
                yield address
            elif kind is not None and address not in self.others:
                self.others.append(address)

    @property
    def missed(self) -> list[str]:
        """Those that nothing led to so far."""
        return [path for path in self.paths if path not in self.visited and path not in ELSEWHERE]

    def kind(self, address: str) -> str | None:
        """Which of the listed paths an address is; None if it is no page."""
        path = address.partition("?")[0]
        return next((each for each, pattern in self._patterns if pattern.match(path)), None)

    def look_further(self, context: BrowserContext, url: str) -> bool:
        """Look on more pages of the kinds that are known for what leads to others; whether something does."""
        by_kind: dict[str | None, list[str]] = {}
        for address in self.others:
            by_kind.setdefault(self.kind(address), []).append(address)
        for address in chain.from_iterable(each[:FURTHER] for each in by_kind.values()):
            if not set(self.missed) - set(map(self.kind, self.waiting)):
                break
            found = re.findall(r'href="(/[^"]*)"', context.request.get(url + address).text())
            self.waiting += [each for each in map(unescape, found) if self.kind(each) in self.missed]
        return bool(self.waiting)

    def find(self, page: Page) -> None:
        """Take note of where a page leads, and of what it is drawn from."""
        self.waiting += page.evaluate(
            """Array.from(document.querySelectorAll('a[href^="/"], [data-src]'),
              each => each.getAttribute('href') ?? each.dataset.src)"""
        )


async def no_pace() -> PaceTold:
    """How fast calls go isn't asked of an application that answers nobody."""
    raise NotImplementedError


@pytest.fixture(scope="module")
def stage(browser: Browser) -> Iterator[Stage]:
    """The demo's gateway after its day, with something for every page: a request, and a message that was given up."""
    del browser  # without one there is nothing to test
    with Stage(seed=SEED, port=0) as stage:
        # In a thread of its own: agents have an event loop, and so has the browser.
        day = Thread(target=lambda: play(stage, Day(seed=SEED), SilentTeller()))
        day.start()
        day.join()
        ask_people(
            stage,
            tenant=TENANT,
            requester="payout-clerk",
            about="payments.pay",
            facts=arguments("48200.00"),
        )
        tell(stage, tenant=TENANT)
        file = stage.bank / "aegis.yaml"  # beside it is the rule that the last scene had in shadow
        file.write_text(file.read_text().replace(GUESTS, LOOKED_AFTER).replace("limit: 1.00", "limit: 0.10"))
        applied = stage.aegis(["apply", str(stage.bank), "--yes", "--note", "guests are looked after"])
        assert 0 == applied.exit_code, applied.said
        assert 200 == look_up_rate(stage.door("guest"), FX, "EUR-USD").status
        until(lambda: bool(stage.store.query("select id from incident")), "no incident")
        yield stage


@pytest.fixture(scope="module")
def visitor(stage: Stage) -> Visitor:
    """Whoever watches the demo, and has answered a request."""
    visitor = let_in(stage)
    asked = ask_people(stage, tenant=TENANT, requester="payout-clerk", about="payments.pay")
    caller = Caller(token=visitor.token_file.read_text())
    Approvals(stage.store, bootstrap.pepper(stage.settings), caller).answer(TENANT, asked.id, "refuse", "no")
    return visitor


@pytest.fixture(scope="module")
def you(browser: Browser, stage: Stage, visitor: Visitor) -> Iterator[Watched]:
    """Their page, signed in by the link that the demo ends with."""
    with judged(browser, stage) as watched:
        watched.page.goto(visitor.link)
        watched.page.get_by_role("button", name="Sign in").click()
        watched.page.wait_for_selector("header nav")
        yield watched


def test_every_page(you: Watched, stage: Stage) -> None:
    """Each is come to, shown without a fault, light and dark, wide and narrow, by keyboard and to who doesn't see."""
    crawl = Crawl(build(stage.settings, dict, no_pace).paths)
    faults: list[str] = []
    for address in all_of(crawl, you.page.context, stage.url):
        answer = you.page.context.request.get(stage.url + address)
        if not answer.headers.get("content-type", "").startswith("text/html"):
            faults += [] if answer.ok else [f"{address}: {answer.status}"]
            continue
        page = you.show(address)
        crawl.visited[crawl.kind(page.url.removeprefix(stage.url)) or ""] = address  # it may lead on
        crawl.find(page)
        faults += [
            f"{address}: {each}" for each in (*wrong_at_a_desk(you), *wrong_on_a_phone(you), *you.wrong)
        ]
        you.wrong.clear()
    assert not faults, "\n".join(faults)
    assert [] == crawl.missed


def all_of(crawl: Crawl, context: BrowserContext, url: str) -> Iterator[str]:
    """One address of each kind, those too that only some pages of a kind lead to."""
    yield from crawl
    if crawl.missed and crawl.look_further(context, url):
        yield from crawl


def wrong_at_a_desk(you: Watched) -> Iterator[str]:
    """What is wrong with a page there, by daylight."""
    page = you.page
    page.screenshot(path=pictures() / f"{name_of(page)}-desk.png", full_page=True)
    if 200 != page.evaluate("performance.getEntriesByType('navigation')[0].responseStatus"):
        yield "is no page"
    if page.get_by_role("heading", level=1).count() != 1:
        yield "has no heading, or several"
    yield from you.complaints()
    count = min(page.evaluate(CONTROLS), TABS)
    page.locator(".skip").focus()
    reached = [0]
    for _ in range(2 * TABS):
        if reached[-1:] == [count - 1]:
            break
        page.keyboard.press("Tab")
        place, is_seen = page.evaluate(FOCUSED)
        if place >= 0:
            reached.append(place)
            if not is_seen:
                yield f"doesn't show that control {place} has the focus"
    if reached != list(range(count)):
        yield f"is gone through by keyboard as {reached}, of {count}"


def wrong_on_a_phone(you: Watched) -> Iterator[str]:
    """What is wrong with a page there, at night."""
    page = you.page
    with you.at_night_on_a_phone():
        page.screenshot(path=pictures() / f"{name_of(page)}-phone.png", full_page=True)
        if overflow(page):
            yield f"is {overflow(page)} px wider than a phone"
        yield from you.complaints()


def name_of(page: Page) -> str:
    """A page's address as the name of a picture."""
    return (
        re.sub(r"[^a-z0-9]+", "-", page.url.partition("?")[0].lower().split("/", 3)[3]).strip("-")[:60]
        or "overview"
    )


def test_one_total(you: Watched, stage: Stage, visitor: Visitor) -> None:
    """What `aegis kpi`, `/metrics` and the overview say was spent is what calls cost by the ledger, to the nano."""
    (row,) = stage.store.query("select sum(cost_nano_usd) as cost from call")
    told = json.loads(stage.aegis(["kpi", "--json"]).said)
    (spent,) = [each["value"] for each in told["figures"] if each["id"] == "spent"]
    page = you.go("/")
    shown = int(page.locator("#total data").first.get_attribute("value") or "")
    assert [int(row["cost"])] * 3 == [spent, shown, scraped(stage, visitor)]


def scraped(stage: Stage, visitor: Visitor) -> int:
    """The sum of `aegis_cost_usd_total`, in nano-USD."""
    asked = urllib.request.Request(
        f"{stage.url}/metrics", headers={"authorization": f"Bearer {visitor.token_file.read_text()}"}
    )
    with urllib.request.urlopen(asked) as answer:
        text: str = answer.read().decode()
    found = re.findall(r"^aegis_cost_usd_total(?:\{.*\})? (\S+)", text, re.MULTILINE)
    assert found, "there is such a metric"
    return int(sum(map(Decimal, found)) * NANO)


def test_numbers_are_the_ledgers(you: Watched, stage: Stage) -> None:
    """The newest calls with what they cost, and each budget's balance, are those in the tables."""
    page = you.go("/calls?since=ever")
    rows = stage.store.query(
        "select call, cost_nano_usd from call where tenant = ? order by decided_ns desc, sequence desc limit 50",
        (TENANT,),
    )
    listed: Any = page.evaluate(
        "Array.from(document.querySelectorAll('.stream tbody tr'), row => ["
        " row.querySelector('th a').getAttribute('href').split('/').pop(),"
        " Number(row.querySelector('data.money')?.value || 0)])"
    )
    assert [[row["call"], row["cost_nano_usd"] or 0] for row in rows] == listed
    page = you.go("/budgets")
    shown = {each.get_attribute("value") for each in page.locator("tbody data").all()}
    balances = stage.store.query("select posted from standing where scope = '' and budget <> 'payouts-day'")
    assert {f"{row['posted']}" for row in balances} <= shown
