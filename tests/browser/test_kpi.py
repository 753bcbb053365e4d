"""The pages of key figures as people meet them: nothing keeps anybody out, full or empty."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.gateways import TENANT, Gateway, ask, chat_body, configuration
from tests.watched import DESK, Watched, hindrances

pytestmark = pytest.mark.xdist_group("browser")

CHAT = "/v1/chat/completions"
LONG = "an-agent-with-quite-a-long-name"
POLICIES = (
    '@id("all-may") permit(principal, action, resource);\n'
    f'@id("never") @reason("this one never may") forbid(principal == Agent::"{LONG}", action, resource);\n'
    '@id("quiet") @mode("shadow") forbid(principal == Agent::"bot", action, resource);\n'
)


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """A gateway with work that came to all there is, some refused, on budgets."""
    del browser  # without one there is nothing to test
    with UpstreamProcess(apps="provider") as upstream:
        files = configuration(
            upstream.base_url,
            agents=("bot", LONG),
            policies=POLICIES,
            budgets={
                "day": "limit: 5.00, period: daily",
                "tiny": "limit: 0.0001, period: daily, mode: shadow",
            },
        )
        with Gateway(files) as gateway:
            for place, outcome in enumerate(("success", "success", "partial", "failure", "cancelled", "")):
                body = chat_body(f"hi {place % 2} [[tokens=20]]", max_tokens=90)
                run = ask(gateway, "POST", CHAT, body).headers["aegis-run-id"]
                told = (
                    {"outcome": outcome, "name": f"refund {place}", "value_usd": 3}
                    if outcome
                    else {"transactions": 2}
                )
                raw = json.dumps(told).encode()
                assert 200 == ask(gateway, "POST", f"/v1/runs/{run}/outcome", raw, key=gateway.key()).status
            ask(gateway, "POST", CHAT, chat_body("no"), key=gateway.key(LONG))
            yield gateway


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    """Of fin, who looks after money."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    return staff.tokens["fin"]


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, token: str) -> None:
    """Of other rows than the usual ones, of work with long names, of a period that is none."""
    paths = (
        "/kpi?by=tool&range=365d",
        "/kpi/work?outcome=success",
        "/kpi/work?outcome=success&range=nonsense",
    )
    assert [] == hindrances(browser, gateway, token, paths)


def test_rows_and_period_by_keyboard(browser: Browser, gateway: Gateway, token: str) -> None:
    """A link chooses what rows are of, another the period, and both stay chosen."""
    with browser.new_context(viewport=DESK) as context:
        watched = Watched(context, gateway)
        watched.go("/kpi")
        watched.sign_in(token)
        page = watched.go("/kpi?range=24h")
        page.get_by_role("link", name="model", exact=True).press("Enter")
        page.wait_for_url("**by=model**")
        page.get_by_role("link", name="7 days").press("Enter")
        page.wait_for_url("**range=7d&by=model**")
        assert [] == watched.wrong
