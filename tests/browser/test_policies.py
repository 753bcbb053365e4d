"""The pages of policies, versions and the record as people meet them: nothing keeps anybody out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ViewportSize

from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.chromium import AXE, chromium
from tests.gateways import TENANT, Gateway
from tests.policed import policed
from tests.watched import DESK, PHONE, Watched, overflow

pytestmark = pytest.mark.xdist_group("browser")

"""A directory to leave pictures of the pages in, for whoever wants to look at them."""
PATHS = {
    "policies": "/policies?range=24h",
    "policies-none": "/policies?q=nothing+at+all",
    "rule": f"/policies/{TENANT}/never?range=24h",
    "rule-yaml": f"/policies/{TENANT}/none-dear",
    "rule-shadow": f"/policies/{TENANT}/quiet?range=24h",
    "versions": "/policies/versions",
    "version": "/policies/versions/2",
    "record": "/audit?since=ever",
    "record-none": "/audit?who=nobody",
    "entry": f"/audit/{TENANT}/3",
    "verified": "/audit/verified",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """Three versions, six calls."""
    del browser  # without one there is nothing to test
    with policed() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    """Of fin, who may go back to a version."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    return staff.tokens["fin"]


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk", "phone"])
def test_nothing_keeps_anybody_out(
    browser: Browser, gateway: Gateway, token: str, scheme: str, size: ViewportSize
) -> None:
    """Axe finds nothing, light or dark, wide or narrow; nothing is wider than the page; nobody else is asked."""
    with contextlib.closing(
        browser.new_context(
            viewport=size,
            color_scheme="dark" if scheme == "dark" else "light",
            bypass_csp=True,  # for axe alone, which the page itself may not load
        )
    ) as context:
        context.add_init_script(path=AXE)
        watched = Watched(context, gateway)
        watched.go("/policies")
        watched.sign_in(token)
        for path in PATHS.values():
            watched.go(path)
            assert [] == watched.complaints(), path
            assert 0 == overflow(watched.page), path
        assert [] == watched.wrong
