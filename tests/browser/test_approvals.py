"""Pages as people meet them: a real browser, on a phone and at a desk, light and dark, by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from aegis_gateway.domain.people import Grant
from tests.asked import arguments, ask_people
from tests.browsers import Staff
from tests.gateways import PERMIT_ALL, Gateway, configuration
from tests.watched import DESK, PHONE, Watched, hindrances, judged, overflow

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """A gateway whose agents ask."""
    files = configuration(
        "http://127.0.0.1:9", policies=PERMIT_ALL, budgets={"day": "limit: 20.00, period: daily"}
    )
    with Gateway(files) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Ben, an approver, and vi, who looks on."""
    staff = Staff(gateway)
    staff.add("ben", Grant(role="approver", tenant="acme"))
    staff.add("vi", Grant(role="viewer", tenant="acme"))
    return staff


@pytest.fixture
def phone(browser: Browser, gateway: Gateway) -> Iterator[Watched]:
    """A page on a phone."""
    with browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:
        yield Watched(context, gateway)


@pytest.fixture
def desk(browser: Browser, gateway: Gateway) -> Iterator[Watched]:
    """A page at a desk."""
    with browser.new_context(viewport=DESK) as context:
        yield Watched(context, gateway)


def test_a_yes_on_a_phone(phone: Watched, gateway: Gateway, staff: Staff) -> None:
    """From a link in a message, by way of signing in, to a yes; what it is about and the buttons are in view."""
    asked = ask_people(gateway, facts=arguments("48200.00", note="as agreed " * 20))
    page = phone.go(f"/approvals/{asked.id}")
    phone.sign_in(staff.tokens["ben"])
    assert page.url == f"{gateway.url}/approvals/{asked.id}"
    for name in ("Approve", "Refuse"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= PHONE["height"]
        assert box["height"] >= 44
    title = page.get_by_role("heading", level=1).bounding_box()
    assert title is not None
    assert title["y"] < PHONE["height"] / 3
    assert 0 == overflow(page)
    page.get_by_label("Reason").fill("as agreed")
    page.get_by_role("button", name="Approve").tap()
    page.wait_for_selector("text=Approved.")
    assert "granted" == gateway.query("select state from approval where approval = ?", asked.id)[0]["state"]
    page.get_by_role("button", name="Menu").tap()
    page.get_by_role("link", name="Approvals").first.tap()
    page.wait_for_url("**/approvals")
    assert 0 == overflow(page)
    assert [] == phone.wrong


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """Of where one signs in, and of a request with all that may be told of it."""
    with judged(browser, gateway) as watched:
        watched.go("/sign-in")
        assert [] == watched.complaints()
        with watched.at_night_on_a_phone():
            assert [] == watched.complaints()
            assert 0 == overflow(watched.page)
        assert [] == watched.wrong
    waits = ask_people(
        gateway, facts=arguments("1.00", risk=("this agent has not asked for this tool before",))
    )
    assert [] == hindrances(browser, gateway, staff.tokens["ben"], (f"/approvals/{waits.id}",))


def test_by_keyboard_alone(desk: Watched, gateway: Gateway, staff: Staff) -> None:
    """Skip link first; from the inbox into a request, past its reason to a no, without a mouse."""
    asked = ask_people(gateway, about="api.keyboard", facts=arguments("2.00"))
    page = desk.go(f"/approvals/{asked.id}")
    desk.sign_in(staff.tokens["ben"])
    page.keyboard.press("Tab")
    assert "Skip to the content" == page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "reason":
            break
    page.keyboard.type("not this vendor")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Refused.")
    assert [] == desk.wrong


def test_an_inbox_stays_right(desk: Watched, gateway: Gateway, staff: Staff) -> None:
    """What comes while somebody looks appears by itself; what others decide goes; a reason that is written stays."""
    page = desk.go("/approvals")
    desk.sign_in(staff.tokens["ben"])
    first = ask_people(gateway, about="api.live")
    page.wait_for_selector(f"#{first.id}")
    page.goto(f"{gateway.url}/approvals/{first.id}")
    page.get_by_label("Reason").fill("half a tho")
    page.get_by_label("Reason").blur()
    page.evaluate("document.querySelector('[data-live]').dispatchEvent(new Event('refresh'))")
    page.wait_for_load_state("networkidle")
    assert "half a tho" == page.get_by_label("Reason").input_value()
    with desk.page.context.browser.new_context() as context:  # type: ignore[union-attr]  # it has one
        other = Watched(context, gateway)
        other.go(f"/approvals/{first.id}")
        other.sign_in(staff.tokens["ben"])
        other.page.get_by_role("button", name="Approve").click()
        other.page.wait_for_selector("text=Approved.")
    page.wait_for_selector("text=Approved.")
    assert 0 == page.get_by_role("button", name="Approve").count()
    assert [] == desk.wrong


def test_who_only_looks_on_has_no_button(desk: Watched, gateway: Gateway, staff: Staff) -> None:
    """And is told why."""
    asked = ask_people(gateway)
    page = desk.go(f"/approvals/{asked.id}")
    desk.sign_in(staff.tokens["vi"])
    assert 0 == page.get_by_role("button", name="Approve").count()
    assert page.get_by_text("You can’t answer this").is_visible()
    assert [] == desk.wrong
