"""Open pages in a real browser: they hear of a call as it happens, stop when told to, and ask where they can't hear."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.asked import ask_people
from tests.browsers import Staff
from tests.gateways import TENANT, Gateway, chat, configuration
from tests.watched import DESK, Watched

pytestmark = pytest.mark.xdist_group("browser")

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""What a browser says when its tab goes to the background, and when it comes back."""

REQUESTS = "performance.getEntriesByType('resource').filter(each => each.initiatorType === 'fetch').length"


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """A gateway."""
    del browser  # without one there is nothing to test
    with UpstreamProcess(apps="provider") as upstream, Gateway(configuration(upstream.base_url)) as gateway:
        gateway.key()
        yield gateway


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    """Of vi, who looks on."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    return staff.tokens["vi"]


@pytest.fixture
def desk(browser: Browser, gateway: Gateway, token: str) -> Iterator[Watched]:
    """Vi's page, just signed in."""
    with browser.new_context(viewport=DESK) as context:
        watched = Watched(context, gateway)
        watched.go("/calls")
        watched.sign_in(token)
        yield watched


def shown(page: Page, call: str) -> None:
    """Wait until a call is on the page, settled."""
    page.wait_for_selector(f'tr:has(a[href$="{call}"]) data.money')


def make_call(gateway: Gateway) -> str:
    """A call that was answered; its id."""
    answer = chat(gateway, "hello", key=gateway.key())
    assert 200 == answer.status
    return answer.headers["aegis-decision-id"]


def how(page: Page, words: str) -> None:
    """Wait until the page says how it is kept right."""
    page.wait_for_selector(f"#live span:text-is('{words}')")


def test_a_call_is_there_as_it_happens(desk: Watched, gateway: Gateway) -> None:
    """Told by the gateway, and asked for at once."""
    page = desk.go("/calls")
    how(page, "Live")
    for _ in range(3):
        shown(page, make_call(gateway))
    assert [] == desk.wrong


@pytest.mark.parametrize("path", ["/", "/calls", "/budgets"])
def test_a_page_that_is_left_open_stays_as_light(desk: Watched, gateway: Gateway, path: str) -> None:
    """However often its part is put in the place of the last one: nothing of that one stays."""
    page = desk.go(path)
    how(page, "Live")
    make_call(gateway)
    nodes = []
    for _ in range(3):
        seen = page.get_attribute("#living", "hx-get")
        make_call(gateway)
        page.wait_for_function(
            "seen => document.querySelector('#living').getAttribute('hx-get') !== seen", arg=seen
        )
        nodes.append(page.evaluate("document.querySelector('main').childNodes.length"))
    assert [nodes[0]] * 3 == nodes
    assert [] == desk.wrong


def test_what_waits_stands_in_the_menu(desk: Watched, gateway: Gateway) -> None:
    """On every page, in words for who can't see it, and as it comes."""
    page = desk.go("/calls")
    how(page, "Live")
    assert 1 == page.get_by_role("link", name="Approvals", exact=True).count()
    ask_people(gateway)
    page.get_by_role("link", name="Approvals 1 waiting", exact=True).wait_for()
    desk.go("/settings").get_by_role("link", name="Approvals 1 waiting", exact=True).wait_for()
    assert [] == desk.wrong


def test_it_stops_when_told_to(desk: Watched, gateway: Gateway) -> None:
    """By a button, and while nobody looks; then what was missed is there."""
    page = desk.go("/calls")
    how(page, "Live")
    page.get_by_role("button", name="Pause").click()
    how(page, "Paused")
    before = page.evaluate(REQUESTS)
    call = make_call(gateway)
    page.get_by_role("button", name="Go on").click()
    assert page.evaluate(REQUESTS) <= before + 1
    shown(page, call)
    how(page, "Live")
    page.evaluate(HIDE, True)
    call = make_call(gateway)
    assert 0 == page.locator(f'a[href$="{call}"]').count()
    page.evaluate(HIDE, False)
    shown(page, call)
    how(page, "Live")
    assert [] == desk.wrong


@pytest.mark.parametrize("way", ["refused", "held back"])
def test_where_it_can_not_be_heard(desk: Watched, gateway: Gateway, way: str) -> None:
    """A proxy that refuses streams, or holds them back: the page asks by itself, and says so."""

    def meddle(route: Route) -> None:
        if way == "refused":
            route.fulfill(status=502, body="no")

    page = desk.page
    page.route("**/live*", meddle)
    desk.go("/calls")
    how(page, "Every few seconds")
    shown(page, make_call(gateway))
    assert [] == [each for each in desk.wrong if "502" not in each]


def test_signed_out_elsewhere(desk: Watched, gateway: Gateway) -> None:
    """A page that is open when its session ends goes to where one signs in, by itself."""
    page = desk.go("/calls")
    how(page, "Live")
    other = page.context.new_page()
    other.goto(f"{gateway.url}/calls")
    other.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in?next=**")
