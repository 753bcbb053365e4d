"""The pages of agents as people meet them: nothing keeps anybody out; an agent is found and held by keyboard."""

from __future__ import annotations

import contextlib
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
LONG = "an-agent-with-quite-a-long-name-in-it"
POLICIES = (
    '@id("all-may") permit(principal, action, resource);\n'
    '@id("small-models-only") @reason("only the small model, until the pilot is over; ask the desk")\n'
    'forbid(principal == Agent::"support-bot", action, resource == Model::"gpt-4.1");\n'
)


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """A gateway with more agents than a page has; some called, were refused, and asked again."""
    del browser  # without one there is nothing to test
    with UpstreamProcess(apps="provider") as upstream:
        agents = ("support-bot", LONG, *(f"agent-{place:02}" for place in range(52)))
        files = configuration(
            upstream.base_url,
            agents=agents,
            policies=POLICIES,
            budgets={
                "day": "limit: 5.00, period: daily",
                "support-month": "limit: 40.00, period: monthly, match: {agent: support-bot}",
                "large-models": "limit: 20.00, period: daily, match: {model: gpt-4.1}",
            },
        )
        with Gateway(files) as gateway:
            for place in range(12):
                key = gateway.key(agents[place % 6 == 5])
                model = ("gpt-4o-mini", "gpt-5-mini", "gpt-4.1")[place % 3]
                body = chat_body(f"hi {place % 2} [[tokens=40]]", model=model, max_tokens=90)
                ask(gateway, "POST", CHAT, body, key=key)
            yield gateway


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    """Of fin, who may hold keys."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    return staff.tokens["fin"]


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, token: str) -> None:
    """Of long names, of a list without anybody, of an agent that has called nothing."""
    paths = ("/agents", "/agents?q=nobody", f"/agents/{TENANT}/{LONG}", f"/agents/{TENANT}/agent-07")
    assert [] == hindrances(browser, gateway, token, paths)


def test_an_agent_is_found_and_held_by_keyboard(browser: Browser, gateway: Gateway, token: str) -> None:
    """Searched for, opened, held with a reason; the list goes on to its second page."""
    with contextlib.closing(browser.new_context(viewport=DESK)) as context:
        watched = Watched(context, gateway)
        page = watched.go("/agents")
        watched.sign_in(token)
        page.goto(f"{gateway.url}/agents")
        page.get_by_role("link", name="Go on").press("Enter")
        page.wait_for_selector("text=51 to 54 of 54")
        page.get_by_label("Search").fill("long-name")
        page.get_by_label("Search").press("Enter")
        page.get_by_role("link", name=LONG).press("Enter")
        page.get_by_label("For how long it is held").fill("2h")
        page.get_by_label("Why").fill("it spoke too much")
        page.get_by_role("button", name="Do it").press("Enter")
        page.wait_for_url(f"**/agents/{TENANT}/{LONG}#keys")
        assert "it spoke too much" in page.inner_text("#living")
        assert [] == watched.wrong
