"""Overview and budgets as people meet them: their numbers are the ledger's; phone and desk, light, dark and blind."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.people.navigation import GROUPS
from tests.asked import ask_people
from tests.browsers import Staff
from tests.gateways import TENANT, Gateway, chat, configuration, until
from tests.spending import aegis
from tests.spent import spend_for_weeks
from tests.watched import DESK, PHONE, Watched, hindrances, pictures

pytestmark = pytest.mark.xdist_group("browser")

BUDGETS = {
    "day": "limit: 20.00, period: daily, kind: soft, thresholds: [{at: 80%, do: [notify]}]",
    "tiny": "limit: 0.0001, period: daily, match: {agent: bot}, thresholds: [{at: 50%, do: [incident]}]",
    "runs": "limit: 1.00, period: daily, per: [run]",
    "extra": "limit: 5.00, period: weekly",
    "recent": "limit: 3.00, period: rolling, length: 6h",
}
PAGES = (
    "/?range=30d&by=agent&team=lending",
    "/?team=nobody",
    "/?range=90d&chart=calendar",
    "/?range=30d&chart=shares&tag:channel=branch",
    "/?since=2026-01-01&by=tag:channel&chart=top",
    "/budgets/acme/tiny",
    "/budgets/acme/runs",
    "/budgets/acme/recent",
)
FIRST_VIEW_MS = 1_000
"""Ten times what it takes on a machine with nothing else to do; tests share theirs."""
BYTES_MAX = 300_000


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """A gateway with weeks of spending, and some calls just now, one of them refused."""
    del browser  # without one there is nothing to test
    with UpstreamProcess() as upstream, Gateway(None, start=False) as gateway:
        spend_for_weeks(gateway, 40)
        files = configuration(upstream.base_url, budgets=BUDGETS, agents=("bot", "clerk", "loan-advisor"))
        for agent, channel in (("bot", "web"), ("loan-advisor", "branch")):
            tagged = f"{agent}: {{tags: {{channel: {channel}}}, "
            files = {**files, "aegis.yaml": files["aegis.yaml"].replace(f"{agent}: {{", tagged, 1)}
        other = files["aegis.yaml"].partition("  acme:\n")[2]
        gateway.apply({**files, "aegis.yaml": f"{files['aegis.yaml']}  zeta:\n{other}"})
        gateway.start()
        gateway.key("clerk")
        statuses = [
            chat(gateway, f"Hello {n} [[tokens={9 * n}]]", key=gateway.key()).status for n in range(12)
        ]
        assert {200, 402} == set(statuses)
        until(lambda: not gateway.query("select 1 as x from call where state = 'dispatched'"))
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Fin, who may change budgets, and zoe, who is of another tenant."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    staff.add("zoe", Grant(role="viewer", tenant="zeta"))
    return staff


@pytest.fixture
def desk(browser: Browser, gateway: Gateway, staff: Staff) -> Iterator[Watched]:
    """Fin's page at a desk."""
    with browser.new_context(viewport=DESK) as context:
        watched = Watched(context, gateway)
        watched.go("/")
        watched.sign_in(staff.tokens["fin"])
        yield watched


def amount(page: Page, selector: str) -> int:
    """The exact amount that stands somewhere, in nano-USD."""
    return int(page.locator(selector).first.get_attribute("value") or "none")


def spent(gateway: Gateway, condition: str = "1 = 1", *values: object) -> int:
    """What calls have cost, added up from the calls themselves."""
    sql = f"select coalesce(sum(cost_nano_usd), 0) as nano_usd from call where {condition}"
    return int(gateway.query(sql, *values)[0]["nano_usd"])


def chart_of(page: Page) -> Any:
    """What the page's chart is drawn from, as its script got it."""
    page.wait_for_selector(".canvas[data-drawn] canvas")
    source = page.locator("[data-chart]").get_attribute("data-src")
    return page.evaluate("async source => (await fetch(source)).json()", source)


def test_numbers_are_the_ledgers(desk: Watched, gateway: Gateway) -> None:
    """To the nano-dollar: totals, rows, the chart's sums, and a file's; further in, those of its calls alone."""
    page = desk.go("/?range=90d&by=team")
    assert spent(gateway) == gateway.charged() == amount(page, "#total data")
    rows = {
        row.locator("th").inner_text().strip(): int(row.locator("data").get_attribute("value") or "")
        for row in page.locator("#spending tbody tr").all()
    }
    teams = gateway.query("select distinct team from call where cost_nano_usd > 0")
    assert {each["team"]: spent(gateway, "team = ?", each["team"]) for each in teams} == rows
    drawn = chart_of(page)
    assert rows == {each["name"]: sum(each["nano_usd"]) for each in drawn["series"]}
    page.get_by_role("link", name="lending").click()
    page.wait_for_url("**by=agent&team=lending")
    assert spent(gateway, "team = 'lending'") == amount(page, "#total data")
    page.get_by_role("link", name="loan-advisor").click()
    page.wait_for_url("**by=model&team=lending&agent=loan-advisor")
    assert spent(gateway, "agent = 'loan-advisor'") == amount(page, "#total data")
    page.get_by_role("link", name="All of agent").click()
    page.wait_for_url("**by=agent&team=lending")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").first.click()
    text = Path(downloading.value.path()).read_text()
    assert text.startswith("agent,spent_usd,")
    assert 2 == text.count("\n") - 1
    page.goto(f"{gateway.url}/")
    today = page.locator("#today data")
    today_ns = gateway.query("select max(decided_ns) as at from call")[0]["at"] // 86_400_000_000_000
    assert spent(gateway, "decided_ns >= ?", today_ns * 86_400_000_000_000) == int(
        today.get_attribute("value") or ""
    )
    assert [] == desk.wrong


def test_each_chart_is_the_ledgers(desk: Watched, gateway: Gateway) -> None:
    """The largest, shares, days, tags, and a stated period: each comes to what the calls that it is of have cost."""
    whole = spent(gateway)
    charts = {
        name: chart_of(desk.go(f"/?range=90d&by=agent&chart={name}"))
        for name in ("top", "shares", "calendar")
    }
    assert [whole] * 3 == [
        sum(row["nano_usd"] for row in rows)
        for rows in (charts["top"]["rows"], charts["shares"]["tree"], charts["calendar"]["days"])
    ]
    for area in charts["shares"]["tree"]:
        assert not area["children"] or area["nano_usd"] == sum(each["nano_usd"] for each in area["children"])
    day = max(charts["calendar"]["days"], key=lambda each: each["nano_usd"])
    page = desk.go(day["address"])
    day_ns = 86_400_000_000_000
    found = {
        row["day"]: int(row["nano_usd"])
        for row in gateway.query(
            f"select decided_ns / {day_ns} as day, sum(cost_nano_usd) as nano_usd from call group by 1"
        )
    }
    assert max(found.values()) == day["nano_usd"] == amount(page, "#total data")
    tags = chart_of(desk.go("/?range=90d&by=tag:channel"))
    assert {
        "branch": spent(gateway, "agent = 'loan-advisor'"),
        "web": spent(gateway, "agent = 'bot'"),
        "no channel": spent(gateway, "agent not in ('bot', 'loan-advisor')"),
    } == {each["name"]: sum(each["nano_usd"]) for each in tags["series"]}
    page = desk.go("/?range=90d&by=agent&tag:channel=branch")
    assert spent(gateway, "agent = 'loan-advisor'") == amount(page, "#total data")
    assert "threshold" in desk.go("/").locator(".alerts").inner_text()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="PNG").click()
    assert Path(downloading.value.path()).read_bytes().startswith(b"\x89PNG")
    assert [] == desk.wrong


def test_a_budgets_numbers_are_its_balances(desk: Watched, gateway: Gateway) -> None:
    """Spent, reserved and left; the chart ends in what is left; its dearest agents; the list says the same."""
    page = desk.go("/budgets/acme/day")
    (row,) = gateway.query(
        "select posted, pending from standing where budget = 'day' order by starts_ns desc limit 1"
    )
    limit = 20_000_000_000
    assert [row["posted"], row["pending"], limit - row["posted"] - row["pending"], limit] == [
        amount(page, f"#{name}") for name in ("spent", "reserved", "left", "limit")
    ]
    drawn = chart_of(page)
    assert (
        limit - row["posted"]
        == [each["actual"] for each in drawn["points"] if each["actual"] is not None][-1]
    )
    assert drawn["band"], "40 days tell how wrong forecasts were"
    page.get_by_text("The table behind it").click()
    assert len(drawn["points"]) == page.locator(".fields tbody tr").count()
    page.get_by_role("link", name="Budgets").first.click()
    assert 0 < page.locator("tbody tr").count()
    assert f"{row['posted']}" in [each.get_attribute("value") for each in page.locator("tbody data").all()]
    assert [] == desk.wrong


def test_charts_as_pictures(desk: Watched) -> None:
    """A PNG that is as wide wherever it is made, with the chart, its title and its colours' names in it."""
    for place, path in enumerate(("/?range=30d&by=team", "/budgets/acme/day")):
        page = desk.go(path)
        page.wait_for_selector(".canvas[data-drawn] canvas")
        with page.expect_download() as downloading:
            page.get_by_role("button", name="PNG").click()
        body = Path(downloading.value.path()).read_bytes()
        (pictures() / f"chart-{place}.png").write_bytes(body)
        assert b"\x89PNG\r\n\x1a\n" == body[:8]
        assert (2_400, 1_240) == struct.unpack(">II", body[16:24])
        assert len(body) > 20_000
    assert [] == desk.wrong


def test_what_was_done_to_a_limit(desk: Watched, gateway: Gateway, staff: Staff) -> None:
    """Old and new, who, until when and why, as text, whatever was written."""
    reason = "quarter <b>end</b>"
    increase = ("budget", "increase", "extra", "2.50", "--until", "4h", "--reason", reason)
    aegis(gateway, *increase, "--tenant", TENANT, token=staff.tokens["fin"])
    until(lambda: "$7.50" in desk.go("/budgets/acme/extra").locator("#limit").inner_text())
    history = desk.page.locator(
        "section", has=desk.page.get_by_role("heading", name="What was done to its limit")
    )
    words = " ".join(history.inner_text().split())
    for told in ("$5.00 to $7.50", "Increase", "asked by fin", ", until ", reason):
        assert told in words
    assert [] == desk.wrong


def test_what_wants_somebody(desk: Watched, gateway: Gateway) -> None:
    """Approvals that wait lead to the inbox, incidents to theirs; what is dealt with is gone."""
    asked = ask_people(gateway)
    page = desk.go("/")
    needs = page.locator(".needs")
    assert "/incidents?tenant=acme" == needs.get_by_role("link", name="1 open incident").get_attribute("href")
    needs.get_by_role("link", name="1 approval waits").click()
    page.wait_for_url("**/approvals?tenant=acme")
    page.get_by_role("link", name="api.pay").first.click()
    page.wait_for_url(f"**/approvals/{asked.id}")
    assert [] == desk.wrong


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """Of each kind of chart and budget, and where nothing was spent."""
    assert [] == hindrances(browser, gateway, staff.tokens["fin"], PAGES)


def test_without_scripts(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """All numbers are there, and nothing that doesn't work is shown."""
    with browser.new_context(viewport=PHONE, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{gateway.url}{staff.link('fin')}")
        page.get_by_role("button", name="Sign in").click()
        assert f"{gateway.url}/" == page.url
        assert page.locator("#today").is_visible()
        assert page.locator("#spending tbody tr").first.is_visible()
        assert not page.locator(".chart").is_visible()
        assert not page.get_by_role("button", name="PNG").is_visible()
        page.goto(f"{gateway.url}/budgets/acme/day")
        page.get_by_text("The table behind it").click()
        assert page.locator(".fields tbody tr").first.is_visible()


def test_it_is_quick_and_light(desk: Watched) -> None:
    """The page and all it loads but the library of charts; a page left open asks for little."""
    sizes: dict[str, int] = {}
    desk.page.on("response", lambda got: sizes.update({got.url: len(got.body())}))
    page = desk.go("/")
    page.wait_for_selector(".canvas[data-drawn] canvas")
    assert sum(size for url, size in sizes.items() if "echarts" not in url) < BYTES_MAX
    timing = "performance.getEntriesByType('navigation')[0].responseEnd"
    assert page.evaluate(timing) < FIRST_VIEW_MS


def test_it_stays_right(desk: Watched, gateway: Gateway) -> None:
    """What is spent meanwhile is there by itself, in numbers and chart; what was unfolded stays so."""
    assert 200 == chat(gateway, "Some", key=gateway.key("clerk")).status
    gateway.settled()
    page = desk.go("/?range=today&by=agent&agent=clerk")
    before = chart_of(page)
    page.get_by_text("cost per call").click()
    assert 200 == chat(gateway, "More", key=gateway.key("clerk")).status
    assert "settled" == gateway.settled()["state"]
    now = spent(gateway, "agent = 'clerk'")
    page.wait_for_selector(f"[data-chart][data-tag^='{now}-']")
    page.wait_for_selector(f".canvas[data-drawn^='{now}-'] canvas")
    assert [now] == [sum(each["nano_usd"]) for each in chart_of(page)["series"]]
    assert len(before["labels"]) <= len(chart_of(page)["labels"])
    assert page.get_by_text("spent / settled calls").is_visible()
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector(".canvas[data-drawn] canvas")
    assert [] == desk.wrong


def test_the_menu_on_a_phone(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """Behind a button that needs no script, opened and closed by keyboard; it has all pages, the present one marked."""
    with browser.new_context(viewport=PHONE, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{gateway.url}{staff.link('fin')}")
        page.get_by_role("button", name="Sign in").click()
        menu = page.get_by_role("navigation", name="Pages")
        assert not menu.is_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert "Overview" == menu.locator("[aria-current=page]").inner_text()
        for place, address in enumerate(each.address for group in GROUPS for each in group.pages):
            assert address == menu.get_by_role("link").nth(place).get_attribute("href")
        page.keyboard.press("Escape")
        assert not menu.is_visible()
        page.get_by_role("button", name="Menu").click()
        menu.get_by_role("link", name="Incidents").click()
        page.wait_for_url("**/incidents")
    with browser.new_context(viewport=DESK, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{gateway.url}{staff.link('fin')}")
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_role("link", name="Incidents").is_visible()
        assert not page.get_by_role("button", name="Menu").is_visible()


def test_keys(desk: Watched, browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """`g` and a letter opens a page, `j` goes to rows, `?` tells all; not while somebody writes, nor switched off."""
    page = desk.go("/budgets")
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/calls")
    page.get_by_label("Agent").press_sequentially("gob?")
    assert ("gob?", f"{gateway.url}/calls") == (page.get_by_label("Agent").input_value(), page.url)
    page.get_by_role("heading", name="Calls", exact=True).click()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/calls/acme/**")
    page.keyboard.press("Shift+?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    assert "Notifications" in dialog.inner_text()
    dialog.get_by_label("Keys are on").uncheck()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.keyboard.press("v")
    assert not page.get_by_role("dialog", name="Saved views").is_visible()
    page.keyboard.press("Shift+?")
    dialog.get_by_label("Keys are on").check()
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    assert page.get_by_role("dialog", name="Saved views").is_visible()
    assert [] == desk.wrong
    with browser.new_context(viewport=DESK, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{gateway.url}{staff.link('fin')}")
        page.get_by_role("button", name="Sign in").click()
        page.goto(f"{gateway.url}/?range=30d&by=model")
        page.get_by_role("button", name="Views").click()
        page.get_by_label("Save this view of Overview").fill("Models")
        page.get_by_role("button", name="Save", exact=True).click()
        page.goto(f"{gateway.url}/budgets")
        page.get_by_role("button", name="Views").click()
        page.get_by_role("link", name="Models").click()
        page.wait_for_url("**/?range=30d&by=model")


def test_by_keyboard_alone(desk: Watched) -> None:
    """The first tab skips to the content; periods, rows and tables are reached, and say that they are."""
    page = desk.go("/")
    page.keyboard.press("Tab")
    assert "Skip to the content" == page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
    for words in ("30 days", "model", "lending", "CSV of this table"):
        assert words in reached
    assert [] == desk.wrong


def test_who_may_see_nothing(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """Who isn't signed in is sent to; who is of another tenant sees no trace of this one, by any address."""
    with browser.new_context(viewport=DESK) as context:
        watched = Watched(context, gateway)
        for path in ("/overview/series", "/overview/table.csv", "/budgets", "/budgets/acme/day", "/"):
            assert "/sign-in?next=" in watched.go(path).url
        watched.sign_in(staff.tokens["zoe"])
        for path, status in (
            ("/", 200),
            ("/budgets", 200),
            ("/?tenant=acme", 404),
            ("/budgets?tenant=acme", 404),
            ("/budgets/acme/day", 404),
            ("/budgets/acme/day/course", 404),
            ("/overview/series?tenant=acme", 404),
            ("/overview/table.csv?tenant=acme", 404),
        ):
            answer = context.request.get(gateway.url + path)
            assert status == answer.status, path
            assert not any(words in answer.text() for words in ("loan-advisor", "lending"))
