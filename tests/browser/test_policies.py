"""The pages of policies, versions and the record as people meet them: nothing keeps anybody out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.gateways import TENANT, Gateway
from tests.policed import policed
from tests.watched import hindrances

pytestmark = pytest.mark.xdist_group("browser")

PATHS = (
    "/policies?q=nothing+at+all",
    f"/policies/{TENANT}/never?range=24h",
    f"/policies/{TENANT}/none-dear",
    f"/policies/{TENANT}/quiet?range=24h",
    "/audit?who=nobody",
)


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


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, token: str) -> None:
    """Of lists without anything, and of a rule of each kind."""
    assert [] == hindrances(browser, gateway, token, PATHS)
