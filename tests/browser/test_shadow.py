"""The pages of rules in shadow as people meet them: nothing keeps anybody out, and a press of a thumb enforces one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ViewportSize

from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.chromium import AXE, chromium
from tests.gateways import PERMIT_ALL, TENANT, Gateway, configuration
from tests.watched import DESK, PHONE, Watched, overflow

pytestmark = pytest.mark.xdist_group("browser")

FILES = configuration(
    "http://127.0.0.1:9",
    policies=PERMIT_ALL,
    budgets={"a-budget-with-quite-a-long-name": "limit: 20.00, period: daily, mode: shadow"},
)
ONE = "/shadow/acme/budget:a-budget-with-quite-a-long-name"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """A gateway with a budget in shadow."""
    del browser  # without one there is nothing to test
    with Gateway(FILES) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    """Of fin, who may put a configuration in force."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    return staff.tokens["fin"]


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_nothing_keeps_anybody_out(
    browser: Browser, gateway: Gateway, token: str, scheme: str, size: ViewportSize
) -> None:
    """Axe finds nothing, light or dark, wide or narrow; nothing is wider than the page."""
    with browser.new_context(
        viewport=size,
        color_scheme="dark" if scheme == "dark" else "light",
        bypass_csp=True,  # for axe alone, which the page itself may not load
    ) as context:
        context.add_init_script(path=AXE)
        watched = Watched(context, gateway)
        watched.go("/shadow/acme")
        watched.sign_in(token)
        for path in ("/shadow/acme", ONE, "/shadow/acme?proposed=1&version=2"):
            watched.go(path)
            assert [] == watched.complaints(), path
            assert 0 == overflow(watched.page), path
        assert [] == watched.wrong


def test_a_rule_is_enforced_from_a_phone(browser: Browser, gateway: Gateway, token: str) -> None:
    """From the link in a digest: what would change is shown, a press does it, and the rule is gone from the page."""
    with contextlib.closing(browser.new_context(viewport=PHONE, has_touch=True)) as context:
        phone = Watched(context, gateway)
        page = phone.go(ONE)
        phone.sign_in(token)
        page.get_by_text("changed budget a-budget-with-quite-a-long-name").wait_for()
        page.get_by_role("button", name="Enforce it").tap()
        page.get_by_text("is in force").wait_for()
        assert [] == phone.wrong
