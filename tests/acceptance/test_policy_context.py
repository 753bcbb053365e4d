"""What policies see of a call's circumstances: how deep it is, its run, and how much of its budgets is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import PERMIT_ALL, Gateway, ask, assert_books_balance, chat_body, configuration

pytestmark = pytest.mark.xdist_group("shadow")

CHAT, PAY = "/v1/chat/completions", "/connect/api/v1/payments"
SHALLOW = """
@id("shallow")
forbid(principal, action, resource) when { context.depth > 2 };
"""
CHILDREN_OF_NOBODY = """
@id("children")
permit(principal, action == Action::"chat", resource) when { context has parent && context.run like "run_*" };
"""
CAREFUL = """
@id("careful")
@effect("downgrade")
@model("gpt-4o-mini")
forbid(principal, action == Action::"chat", resource) when { context.budget.utilisation >= 50 };
@id("stop")
forbid(principal, action == Action::"chat", resource) when { context.budget.utilisation >= 80 };
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def test_how_deep_a_call_is(upstream: UpstreamProcess) -> None:
    """Each call for another is one deeper, and a policy may say how deep they go."""
    with Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + SHALLOW)) as gateway:
        headers: dict[str, str] = {}
        for depth in range(4):
            answer = ask(gateway, "POST", CHAT, chat_body("hi"), headers=headers)
            assert (200 if depth <= 2 else 403) == answer.status
            headers = {"aegis-parent-id": answer.headers["aegis-decision-id"]}
        decisions = [entry for entry in gateway.entries() if entry["type"] == "decision"]
        assert [0, 1, 2, 3] == [decision.get("depth", 0) for decision in decisions]
        assert "shallow" == decisions[3]["reasons"][0]["subject"]


def test_run_and_parent(upstream: UpstreamProcess) -> None:
    """They are there as they are sent on; a parent only where there is one."""
    with Gateway(configuration(upstream.base_url, policies=CHILDREN_OF_NOBODY)) as gateway:
        alone = ask(gateway, "POST", CHAT, chat_body("hi"))
        assert (403, "no_permit") == (alone.status, alone.code)
        sent_on = {"aegis-parent-id": alone.headers["aegis-decision-id"]}
        assert 200 == ask(gateway, "POST", CHAT, chat_body("hi"), headers=sent_on).status


@pytest.mark.parametrize("workers", [1, 2])
def test_how_much_of_a_budget_is_used(upstream: UpstreamProcess, workers: int) -> None:
    """Exact however many calls are made at once: each is judged by the thresholds passed when it is admitted."""
    budgets = {"day": "limit: 0.02, period: daily"}
    files = configuration(upstream.base_url, budgets=budgets, policies=PERMIT_ALL + CAREFUL)
    with Gateway(files, workers=workers) as gateway:
        key = gateway.key("bot")
        body = chat_body("hi [[tokens=60]]", model="gpt-4.1", max_tokens=60)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(gateway, "POST", CHAT, body, key=key), range(400)))
        assert {200, 403} == {answer.status for answer in answers}
        seen = set()
        held = 0
        legs: dict[str, int] = {}
        for entry in gateway.entries():
            if entry["type"] == "decision":
                used = 100 * held // 20_000_000
                passed = max(each for each in (0, 50, 80, 100) if used >= each)
                assert passed == entry["utilisation"]
                names = {reason["subject"] for reason in entry["reasons"]}
                assert ("careful" in names) == (passed == 50)
                assert ("stop" in names) == (passed >= 80)
                seen.add(passed)
                legs[entry["call"]] = sum(int(leg["amount"]) for leg in entry["legs"])
                held += legs[entry["call"]]
            elif entry["type"] == "settlement":
                held += sum(int(leg["settled"]) for leg in entry["legs"]) - legs[entry["call"]]
        assert {0, 50, 80} == seen
        assert_books_balance(gateway)
