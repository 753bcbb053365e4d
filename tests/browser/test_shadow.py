"""The pages of rules in shadow as people meet them: nothing keeps anybody out, and a press of a thumb enforces one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.gateways import PERMIT_ALL, TENANT, Gateway, configuration
from tests.watched import PHONE, Watched, hindrances

pytestmark = pytest.mark.xdist_group("browser")

FILES = configuration(
    "http://127.0.0.1:9",
    policies=PERMIT_ALL,
    budgets={"a-budget-with-quite-a-long-name": "limit: 20.00, period: daily, mode: shadow"},
)
ONE = "/shadow/acme/budget:a-budget-with-quite-a-long-name"


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


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, token: str) -> None:
    """Of a rule with a long name, in the list and by itself, and of what was proposed."""
    paths = ("/shadow/acme", ONE, "/shadow/acme?proposed=1&version=2")
    assert [] == hindrances(browser, gateway, token, paths)


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
