"""A thousand calls at once on a budget that bears ten: reservations are taken one after the other, everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import (
    Answer,
    Gateway,
    assert_books_balance,
    at_once,
    chat_body,
    configuration,
    happening,
)
from tests.servers import PostgresServer

pytestmark = pytest.mark.xdist_group("heavy")

CALLS = 1_000
BEARS = 10
FEE_NANO_USD = 250_000_000

BUDGETS = {
    "fees": "limit: 2.50, period: yearly",
    "chats": "counts: calls, limit: 10, period: yearly, match: {tool: chat}",
    "home": "limit: 100.00, period: yearly",
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


@contextmanager
def gateways(upstream: UpstreamProcess, kind: str, request: pytest.FixtureRequest) -> Iterator[list[Gateway]]:
    """One gateway on SQLite, one with two workers, or three on one PostgreSQL."""
    files = configuration(
        upstream.base_url, agents=("payer", "talker"), budgets=BUDGETS, agent_budgets={"talker": "home"}
    )
    with ExitStack() as stack:
        if kind == "three on postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = server.new_database()
            stack.callback(server.drop_database, url)
            first = stack.enter_context(Gateway(files, store=url))
            others = [stack.enter_context(Gateway(None, store=url)) for _ in range(2)]
            yield [first, *others]
        else:
            yield [stack.enter_context(Gateway(files, workers=2 if kind == "two workers" else 1))]


KINDS = ["one worker", "two workers", "three on postgres"]


def spread(
    over: list[Gateway], path: str, body: dict[str, object], key: str, count: int = CALLS
) -> list[Answer]:
    """So many equal calls at once, spread evenly over some gateways; each must be answered."""
    answers = at_once((over[number % len(over)], "POST", path, body, key) for number in range(count))
    assert None not in answers
    return [answer for answer in answers if answer is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_ten_of_a_thousand(
    upstream: UpstreamProcess, kind: str, request: pytest.FixtureRequest
) -> None:
    """Ten reach the provider, 990 are told 402 by name, the bill is the limit, and nothing is left pending."""
    with gateways(upstream, kind, request) as over:
        body: dict[str, object] = {
            "amount": 1, "currency": "USD", "beneficiary": "x", "reference": "[[delay_ms=300]]",
        }  # fmt: skip
        key = over[0].key("payer")
        with happening(over[0], upstream) as happened:
            answers = spread(over, "/connect/api/v1/payments", body, key)
        assert Counter({201: BEARS, 402: CALLS - BEARS}) == Counter(answer.status for answer in answers)
        refused = [answer for answer in answers if answer.status == 402]
        assert {"budget_exhausted"} == {answer.code for answer in refused}
        assert (BEARS, CALLS) == (happened.arrived, happened.decided)
        assert BEARS * FEE_NANO_USD == happened.billed_nano_usd == happened.charged_nano_usd
        assert Counter(settled=BEARS, refused=CALLS - BEARS) == over[0].states()
        assert (0, BEARS * FEE_NANO_USD) == over[0].standing("fees")
        ids = {answer.headers["aegis-decision-id"] for answer in answers}
        assert {row["call"] for row in over[0].calls()} == ids

        with happening(over[0], upstream) as happened:
            streamed = chat_body("[[tokens=5]]", stream=True)
            answers = spread(over, "/v1/chat/completions", streamed, over[0].key("talker"), count=CALLS // 4)
        assert Counter({200: BEARS, 402: CALLS // 4 - BEARS}) == Counter(answer.status for answer in answers)
        assert BEARS == happened.arrived
        assert happened.billed_nano_usd == happened.charged_nano_usd > 0
        assert (0, BEARS) == over[0].standing("chats")
        assert_books_balance(over[0])


def test_a_small_budget_is_used_to_the_last_call(upstream: UpstreamProcess) -> None:
    """Calls that hold more than they cost free it for others: waves pass until not one more fits, and none before."""
    files = configuration(upstream.base_url, budgets={"cent": "limit: 0.01, period: yearly"})
    with Gateway(files, workers=2) as gateway:
        body = chat_body("[[tokens=200]]", max_tokens=400)
        statuses: Counter[int] = Counter()
        wave: Counter[int] = Counter({200: 1})
        with happening(gateway, upstream) as happened:
            while wave[200]:
                answers = spread([gateway], "/v1/chat/completions", body, gateway.key(), count=64)
                wave = Counter(answer.status for answer in answers)
                statuses += wave
        assert {200, 402} == statuses.keys()
        assert happened.arrived == statuses[200]
        assert happened.billed_nano_usd == happened.charged_nano_usd <= 10_000_000
        pending, posted = gateway.standing("cent")
        assert (0, happened.billed_nano_usd) == (pending, posted)
        refused = gateway.query("select maximum_nano_usd from call where state = 'refused' limit 1")
        assert 10_000_000 - posted < refused[0]["maximum_nano_usd"] - (400 - 16) * 600
        assert_books_balance(gateway)


def test_a_rate_limit_under_load(upstream: UpstreamProcess) -> None:
    """Of many calls at once a rate lets its burst through, and tells the others to wait."""
    files = configuration(
        upstream.base_url, rates={"pace": "limit: 5, every: 1m, match: {tenant: acme}, per: [agent]"}
    )
    with Gateway(files, workers=2) as gateway:
        with happening(gateway, upstream) as happened:
            answers = spread([gateway], "/v1/chat/completions", chat_body("x"), gateway.key(), count=200)
        assert Counter({200: 5, 429: 195}) == Counter(answer.status for answer in answers)
        assert 5 == happened.arrived
        waits = {int(answer.headers["retry-after"]) for answer in answers if answer.status == 429}
        assert waits <= {11, 12}
        assert_books_balance(gateway)


def test_calls_that_wait_for_a_slow_model_are_no_pressure(upstream: UpstreamProcess) -> None:
    """Twelve hundred calls in flight at once are all taken, answered and settled by one worker."""
    with Gateway(configuration(upstream.base_url)) as gateway:
        slow = chat_body("[[delay_ms=1500]] [[tokens=1]]")
        with happening(gateway, upstream) as happened:
            answers = spread([gateway], "/v1/chat/completions", slow, gateway.key(), count=1_200)
        assert Counter({200: 1_200}) == Counter(answer.status for answer in answers)
        assert 1_200 == happened.arrived == happened.decided
        assert happened.billed_nano_usd == happened.charged_nano_usd
        assert Counter(settled=1_200) == gateway.states()
