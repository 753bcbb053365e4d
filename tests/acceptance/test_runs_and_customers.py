"""Runs, customers, tags, rolling budgets and rates that wait, through a whole gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import (
    Answer,
    Files,
    Gateway,
    ask,
    assert_books_balance,
    chat_body,
    configuration,
    happening,
)

pytestmark = pytest.mark.xdist_group("runs")

CHAT = "/v1/chat/completions"
BUDGETS = {
    "plenty": "limit: 1000.00, period: yearly",
    "each-run": "limit: 0.00025, period: once, per: [run], match: {agent: runner}, max_instances: 3",
    "each-customer": "limit: 0.00025, period: daily, per: [customer], match: {agent: server}",
    "blue": "limit: 0.00025, period: daily, per: ['tag:colour'], match: {tags: {colour: blue}}",
    "hour": "limit: 0.00025, period: rolling, length: 1h, match: {agent: roller}",
    "fiscal": "limit: 500.00, period: yearly, calendar: fiscal",
}
RATES = {
    "patient": "limit: 4, every: 1s, burst: 1, delay: 2s, match: {agent: patient}",
    "new-runs": "limit: 2, every: 1h, of: runs, match: {agent: spawner}",
}
AGENTS = ("bot", "runner", "server", "roller", "patient", "spawner", "blue-one", "red-one")


def files(upstream: UpstreamProcess) -> Files:
    """A configuration with all of them, with customers, and with tags on two agents."""
    made = configuration(upstream.base_url, agents=AGENTS, budgets=BUDGETS, rates=RATES)
    text = made["aegis.yaml"]
    more = 'fiscal_year_starts: "04-01"\n    customers: {c-1: {name: First}, c-2: {}}'
    text = text.replace("    agents:\n", f"    {more}\n    agents:\n")
    for agent in ("blue-one", "red-one"):
        colour = agent.partition("-")[0]
        text = text.replace(f"      {agent}: {{", f"      {agent}: {{tags: {{colour: {colour}}}, ")
    return {**made, "aegis.yaml": text}


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess(apps="provider") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway."""
    with Gateway(files(upstream)) as gateway:
        yield gateway
        assert_books_balance(gateway)


def call(gateway: Gateway, agent: str, key: str | None = None, **headers: str) -> Answer:
    """One call that costs $0.00012 and a little."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = chat_body("hi [[tokens=200]]", max_tokens=200)
    return ask(gateway, "POST", CHAT, body, key=key or gateway.key(agent), headers=named)


def test_a_run_has_a_budget_of_its_own(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Each call without a run opens one, which the answer names; what is spent in it is the run's."""
    key = gateway.key("runner")
    first = call(gateway, "runner", key)
    run = first.headers["aegis-run-id"]
    assert 200 == first.status
    second = call(gateway, "runner", key, aegis_run_id=run)
    third = call(gateway, "runner", key, aegis_run_id=run)
    assert [200, 402] == [second.status, third.status]
    assert run == second.headers["aegis-run-id"] == third.headers["aegis-run-id"]
    assert f"`each-run` of `{run}`" in str(third.json)
    assert 200 == call(gateway, "runner", key).status
    assert 3 == sum(each["run"] == run for each in gateway.calls())


def test_how_many_runs_an_agent_opens(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """As many balances as are stated, and no more; those that are open go on."""
    key = gateway.key("runner")
    refused = None
    for _ in range(4):
        answer = call(gateway, "runner", key)
        refused = answer if answer.status == 402 else refused
    assert refused is not None
    assert "too_many_instances" == refused.code


def test_somebody_else_s_run(gateway: Gateway) -> None:
    """A run is its agent's, under one key: for anybody else it is none, and nothing is recorded."""
    run = call(gateway, "bot").headers["aegis-run-id"]
    before = gateway.count()
    for agent in ("roller", "server"):
        answer = call(gateway, agent, aegis_run_id=run)
        assert 400 == answer.status
        assert "no run of agent" in str(answer.json)
    assert 400 == call(gateway, "bot", aegis_run_id="run_made-up").status
    assert 400 == call(gateway, "bot", aegis_parent_id="call_made-up").status
    assert before == gateway.count()


def test_a_customer_has_a_budget_of_its_own(gateway: Gateway) -> None:
    """Calls are put down to registered customers, each with a balance; one that nobody knows is refused."""
    key = gateway.key("server")
    statuses = [call(gateway, "server", key, aegis_customer="c-1").status for _ in range(3)]
    assert [200, 200, 402] == statuses
    assert 200 == call(gateway, "server", key, aegis_customer="c-2").status
    unknown = call(gateway, "server", key, aegis_customer="c-3")
    assert 400 == unknown.status
    assert "`c-3` is not registered" in str(unknown.json)
    assert {"c-1", "c-2"} == {each["customer"] for each in gateway.calls() if each["agent"] == "server"}
    decision = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1]
    assert "c-2" == decision["customer"]


def test_a_parent_is_recorded(gateway: Gateway) -> None:
    """A call says which one it was made for."""
    parent = call(gateway, "bot").headers["aegis-decision-id"]
    child = call(gateway, "bot", aegis_parent_id=parent)
    assert parent == gateway.call(child.headers["aegis-decision-id"])["parent"]


def test_tags_come_from_the_registry(gateway: Gateway) -> None:
    """A budget of a tag counts the agents that have it, and nobody says so for himself."""
    blue = [call(gateway, "blue-one", aegis_tag_colour="red").status for _ in range(3)]
    red = [call(gateway, "red-one", aegis_tag_colour="blue").status for _ in range(3)]
    assert [200, 200, 402] == blue
    assert [200, 200, 200] == red


def test_a_rolling_budget(gateway: Gateway) -> None:
    """It is full like any other, and says what it is."""
    assert [200, 200, 402] == [call(gateway, "roller").status for _ in range(3)]
    (row,) = gateway.query('select "window", buckets from standing where budget = ?', "hour")
    assert "rolling-3600s" == row["window"]
    assert row["buckets"]


def test_calls_that_wait_for_their_turn(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Eight at once on a rate of four a second that waits: all are made, one after the other, none too early."""
    key = gateway.key("patient")
    with happening(gateway, upstream) as happened, ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        answers = list(pool.map(lambda _: call(gateway, "patient", key), range(8)))
        took_s = time.monotonic() - begun
    assert [200] * 8 == [answer.status for answer in answers]
    assert took_s >= 7 / 4
    assert 8 == happened.arrived
    assert happened.billed_nano_usd == happened.charged_nano_usd


def test_calls_that_would_wait_too_long(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """What would have to wait longer than is allowed is refused at once, with the time to wait, and takes no turn."""
    key = gateway.key("patient")
    with happening(gateway, upstream) as happened, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: call(gateway, "patient", key), range(24)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert len(answers) - len(refused) == happened.arrived
    assert {200, 429} == {answer.status for answer in answers}


def test_new_runs_are_limited(gateway: Gateway) -> None:
    """So many runs an hour; calls within a run that is open are not counted."""
    key = gateway.key("spawner")
    first = call(gateway, "spawner", key)
    run = first.headers["aegis-run-id"]
    assert [200, 200, 429] == [
        first.status,
        call(gateway, "spawner", key).status,
        call(gateway, "spawner", key).status,
    ]
    assert [200, 200] == [call(gateway, "spawner", key, aegis_run_id=run).status for _ in range(2)]
