"""Every page of the menu, for somebody who has an account and no role: it says what to do, and shows nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aegis_gateway.entrypoints.people.navigation import GROUPS
from tests.browsers import Staff, Visitor, text_of
from tests.gateways import TENANT, Gateway, configuration

pytestmark = pytest.mark.xdist_group("call-pages")

FURTHER = ("/kpi/work", "/agents/savings", "/approvals/decided", "/policies/versions", "/audit/verified")
"""Pages that the ones of the menu lead to, and that are of tenants as they are."""

OF_NO_TENANT = ("/api/docs", "/settings")


@pytest.fixture(scope="module")
def zoe() -> Iterator[Visitor]:
    """She is signed in."""
    with Gateway(configuration("http://127.0.0.1:9")) as gateway:
        staff = Staff(gateway)
        staff.add("zoe")
        visitor = Visitor(gateway)
        assert 303 == visitor.sign_in(staff.tokens["zoe"]).status
        yield visitor


def test_each_says_what_to_do(zoe: Visitor) -> None:
    """By the command that gives a role, under the page's own title; whether or not the address names a tenant."""
    names = {page.address: page.name for group in GROUPS for page in group.pages}
    for path in (*names, *FURTHER):
        if path in OF_NO_TENANT:
            continue
        for query in ("", f"?tenant={TENANT}"):
            answer = zoe.get(path + query)
            shown = text_of(answer)
            assert (200, True) == (answer.status, "aegis people grant zoe viewer" in shown), path + query
            assert f"<h1>{names.get(path, '')}" in shown, path
            assert TENANT not in shown.partition('<main id="main"')[2], path


def test_those_of_no_tenant(zoe: Visitor) -> None:
    """The manual is for everybody, and one's settings are one's own."""
    assert all(200 == zoe.get(path).status for path in OF_NO_TENANT)
    assert "aegis people grant zoe ROLE" in text_of(zoe.get("/settings"))


def test_a_page_that_was_open(zoe: Visitor) -> None:
    """Where the last role was taken meanwhile, the part that it asks for has it load itself anew."""
    for path in ("/calls", "/kpi", "/approvals", "/budgets"):
        answer = zoe.get(f"{path}?seen=x", {"hx-request": "true"})
        assert (204, "true") == (answer.status, answer.headers["hx-refresh"]), path
