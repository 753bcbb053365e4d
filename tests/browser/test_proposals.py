"""The page of a proposal as an approver meets it: nothing keeps anybody out, and a press of a thumb approves it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, ViewportSize

from tests.chromium import AXE
from tests.proposed import propose, with_four_eyes
from tests.watched import DESK, PHONE, Watched, overflow, pictures

pytestmark = pytest.mark.xdist_group("browser")


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_a_proposal_is_approved(browser: Browser, scheme: str, size: ViewportSize) -> None:
    """From the list of versions: what would change is shown, a reason is written, and it is in force."""
    with (
        with_four_eyes() as (gateway, staff),
        browser.new_context(
            viewport=size,
            color_scheme="dark" if scheme == "dark" else "light",
            bypass_csp=True,  # for axe alone, which the page itself may not load
        ) as context,
    ):
        number = propose(gateway, staff, "fin", 2)
        context.add_init_script(path=AXE)
        watched = Watched(context, gateway)
        page = watched.go("/policies/versions")
        watched.sign_in(staff.tokens["ben"])
        page.get_by_role("link", name=f"Proposal {number}").click()
        page.get_by_text("budget day: limit $5.00 → $6.00").wait_for()
        assert 0 == page.get_by_role("alert").count()
        assert ([], 0) == (watched.complaints(), overflow(page))
        page.screenshot(path=pictures() / f"proposal-{scheme}.png", full_page=True)
        page.get_by_role("textbox", name="Why").fill("more is needed")
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("heading", name="Version 4 in force").wait_for()
        watched.go(f"/policies/proposals/{number}").get_by_text("more is needed").wait_for()
        assert [] == watched.wrong
