"""The pages of calls, runs and incidents as people meet them: nothing keeps anybody out; filters work by keyboard."""

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
POLICIES = (
    '@id("all-may") permit(principal, action, resource);\n'
    '@id("never") @reason("this one never may call a model; ask whoever owns it")\n'
    'forbid(principal == Agent::"an-agent-with-quite-a-long-name", action, resource);\n'
)


@pytest.fixture(scope="module")
def gateway(browser: Browser) -> Iterator[Gateway]:
    """A gateway with more calls than a page has, some of them refused."""
    del browser  # without one there is nothing to test
    with UpstreamProcess(apps="provider") as upstream:
        agents = ("bot", "an-agent-with-quite-a-long-name")
        files = configuration(
            upstream.base_url,
            agents=agents,
            policies=POLICIES,
            budgets={
                "day": "limit: 5.00, period: daily",
                "tiny": "limit: 0.01, period: daily, match: {agent: bot}, thresholds: [{at: 2%, do: "
                "[incident]}]",
            },
        )
        links = {"AEGIS_TRACE_URL": "https://traces.example/trace/{trace_id}"}
        with Gateway(files, environment=links) as gateway:
            parent: dict[str, str] = {}
            for place in range(51):
                key = gateway.key(agents[place % 5 == 4])
                body = chat_body(f"hi {place} [[tokens=20]]", max_tokens=90)
                again = {"x-stainless-retry-count": "1"} if place == 2 else {}
                traced = {"traceparent": f"00-{place + 1:032x}-{1:016x}-0{place % 2}"}
                answer = ask(gateway, "POST", CHAT, body, key=key, headers={**parent, **again, **traced})
                if place < 3:  # the first ones are one run, each below the one before
                    names = {"aegis-run-id": "aegis-run-id", "aegis-parent-id": "aegis-decision-id"}
                    parent = {name: answer.headers[of] for name, of in names.items()}
                else:
                    parent = {}
            yield gateway


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> str:
    """Of fin, who may close incidents."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    return staff.tokens["fin"]


def test_nothing_keeps_anybody_out(browser: Browser, gateway: Gateway, token: str) -> None:
    """Of a list of nothing, of a call that was refused, of incidents that are closed."""
    (refused, *_) = gateway.query("select call from call where effect = 'deny' order by sequence")
    paths = ("/calls?agent=nobody", f"/calls/{TENANT}/{refused['call']}", "/incidents?state=closed")
    assert [] == hindrances(browser, gateway, token, paths)


def test_by_keyboard_to_the_end_and_to_what_was_refused(
    browser: Browser, gateway: Gateway, token: str
) -> None:
    """A filter is chosen and sent by keys; the list goes on to its last call; a call leads to its budget."""
    with contextlib.closing(browser.new_context(viewport=DESK)) as context:
        desk = Watched(context, gateway)
        page = desk.go("/calls")
        desk.sign_in(token)
        assert 50 == page.locator("tbody tr").count()
        page.get_by_role("link", name="Go on").press("Enter")
        page.get_by_role("link", name="The first page").wait_for()
        assert 1 == page.locator("tbody tr").count()
        page.get_by_label("Decision").select_option("deny")
        page.get_by_role("button", name="Show").press("Enter")
        page.wait_for_url("**effect=deny**")
        assert 10 == page.locator("tbody tr").count()
        page.locator("tbody th a").first.press("Enter")
        page.get_by_role("heading", name="Why", exact=True).wait_for()
        assert page.get_by_text("this one never may call a model").first.is_visible()
        assert [] == desk.wrong
