"""The pages of notifications as people meet them: what was given up, having it sent again, by hand and by thumb."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from aegis_gateway.domain.message import Link, Message
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.channels import Receiver, receiver
from tests.gateways import TENANT, Gateway, configuration, until
from tests.told import tell
from tests.watched import DESK, PHONE, Watched, hindrances, overflow

pytestmark = pytest.mark.xdist_group("browser")

LONG = Message(
    title="Approval wanted: api.pay of 48,200.00 USD to Contoso Consolidated Holdings International Ltd",
    text="<b>not bold</b>",
    facts=tuple((f"fact {n}", "as agreed " * 12) for n in range(8)),
    links=(Link(label="Open the request", url="https://aegis.example/approvals/acme/apr_1"),),
    tenant=TENANT,
)


@pytest.fixture(scope="module")
def workflow(browser: Browser) -> Iterator[Receiver]:
    """The other side of the channel."""
    del browser  # without one there is nothing to test
    with receiver() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(workflow: Receiver) -> Iterator[Gateway]:
    """A gateway with a channel."""
    files = configuration("http://127.0.0.1:9")
    channel = "    channels: {fin: {kind: teams, webhook: env:TEAMS, network: private}}\n"
    with Gateway(
        {**files, "aegis.yaml": files["aegis.yaml"] + channel}, environment={"TEAMS": f"{workflow.url}/x"}
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Fin, who may have things sent again, and vi, who looks on."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    return staff


def test_what_was_given_up_is_sent_again_from_a_phone(
    browser: Browser, gateway: Gateway, staff: Staff, workflow: Receiver
) -> None:
    """One press of a thumb, and the page tells when it is there; then all the others by one."""
    told = [tell(gateway) for _ in range(3)]
    with browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:
        phone = Watched(context, gateway)
        page = phone.go("/notifications")
        phone.sign_in(staff.tokens["fin"])
        assert f"{gateway.url}/notifications" == page.url
        assert 0 == overflow(page)
        button = page.locator(f"form[action='/notifications/{told[0].id}'] button")
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        button.tap()
        page.wait_for_selector("article .mark.allow")
        assert [told[0].id] == [got.headers["x-aegis-delivery"] for got in workflow.got]
        page.get_by_role("button", name="Menu").tap()
        page.get_by_role("link", name="Notifications").first.tap()
        page.get_by_role("button", name="Retry all 2").tap()
        page.get_by_text("2 notifications are tried again now").wait_for()
        until(lambda: 3 == len(workflow.got))
        page.get_by_text("Nothing waits").wait_for()
        assert [] == phone.wrong


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """Of messages with long words and many facts, in the list and by themselves, and of lists without any."""
    dead = tell(gateway, LONG, recipient="somebody.with.a.long.name@contoso.example")
    states = (f"/notifications?state={state}" for state in ("waiting", "sent"))
    paths = ("/notifications", *states, f"/notifications/{dead.id}")
    assert [] == hindrances(browser, gateway, staff.tokens["fin"], paths)


def test_what_was_written_is_text(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """A message's own marks are shown, not obeyed."""
    dead = tell(gateway, LONG)
    with browser.new_context(viewport=DESK) as context:
        desk = Watched(context, gateway)
        page = desk.go(f"/notifications/{dead.id}")
        desk.sign_in(staff.tokens["fin"])
        assert page.get_by_text("<b>not bold</b>").first.is_visible()
        assert 0 == page.locator("article b").count()
        assert [] == desk.wrong


def test_who_only_looks_on_has_no_button(browser: Browser, gateway: Gateway, staff: Staff) -> None:
    """They see what was given up and why, and can do nothing about it."""
    told = tell(gateway)
    with contextlib.closing(browser.new_context(viewport=DESK)) as context:
        desk = Watched(context, gateway)
        page = desk.go("/notifications")
        desk.sign_in(staff.tokens["vi"])
        assert page.get_by_text(told.fault).first.is_visible()
        assert 0 == page.locator("main form button").count()
        page.goto(f"{gateway.url}/notifications/{told.id}")
        assert 0 == page.locator("main form button").count()
        assert [] == desk.wrong
