"""A seeded mix of calls in every API, plain and streaming, with callers who leave and upstreams that fail.

The provider's bill is the oracle: what it charged to one agent is, to the nano-dollar, what the ledger charged. Another
agent makes the calls whose cost nobody can know, because the answer breaks off or lacks its usage: there the bill is at
most what the ledger counts.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import Gateway, assert_books_balance, configuration, until

pytestmark = pytest.mark.xdist_group("mix")

SEED = 20_261_127
CALLERS = 48
CLAUDE, GEMINI, EMBED = "claude-sonnet-4-5", "gemini-2.5-flash", "text-embedding-3-small"
HOSTED = (
    "max_input_tokens: 200000, hosted_tools: {web_search: {max_calls: 5}, file_search: {price_per_call: 0.0025, "
    "max_calls: 5}, code_execution: {price_per_call: 0.03, max_calls: 5}}"
)
MODELS = {
    "gpt-4o-mini": f"connector: provider, {HOSTED}",
    "gpt-5-mini": "connector: provider",
    "gpt-6-luna": "connector: provider",
    EMBED: "connector: provider",
    CLAUDE: "connector: claude",
    GEMINI: "connector: google",
    "at-azure": "connector: azure, upstream: gpt-4.1",
}
KNOWN_ORDERS = (
    *("", "", "", "", "[[usage=zero]]", "[[cached=4]]", "[[reasoning=5]]", "[[tokens=3]]", "[[tokens=60]]"),
    *("[[fail=400]]", "[[fail=429]]", "[[fail=500]]", "[[fail=503]]", "[[delay_ms=30]]"),
)
UNKNOWN_ORDERS = (
    "[[usage=missing]]",
    "[[garbage]]",
    "[[break_after=2]]",
    "[[reset_after=2]]",
    "[[error_after=1]]",
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess(apps="provider") as upstream:
        yield upstream


class Ask:
    """One request of the mix."""

    def __init__(self, draw: random.Random, agent: str) -> None:
        self.agent = agent
        orders = KNOWN_ORDERS if agent == "known" else UNKNOWN_ORDERS
        text = f"{draw.randrange(10**9)}: which invoice is due first? {draw.choice(orders)}"
        self.streams = draw.random() < 0.4
        self.leaves = self.streams and draw.random() < 0.3
        said = [{"role": "user", "content": text}]
        kind = draw.choice(
            ("chat", "chat", "azure", "responses", "tools", "luna", "embed", "claude", "gemini")
        )
        self.path = "/v1/chat/completions"
        body: dict[str, Any] = {"messages": said, "stream": self.streams}
        match kind:
            case "chat":
                body |= {"model": draw.choice(("gpt-4o-mini", "gpt-5-mini")), "max_completion_tokens": 80}
            case "azure":
                self.path = "/openai/deployments/at-azure/chat/completions"
            case "responses" | "tools" | "luna":
                model = "gpt-6-luna" if kind == "luna" else "gpt-4o-mini"
                self.path = "/v1/responses"
                body = {"model": model, "input": text, "stream": self.streams, "max_output_tokens": 80}
                if kind == "tools":
                    body["tools"] = [{"type": "web_search"}, {"type": "file_search"}]
                    body["input"] += "[[searches=2]][[file_searches=1]]"
                if kind == "luna":
                    body["input"] += "[[written=3]]"
            case "embed":
                self.path, self.streams, self.leaves = "/v1/embeddings", False, False
                body = {"model": EMBED, "input": [text, text]}
            case "claude":
                self.path = "/v1/messages"
                body |= {"model": CLAUDE, "max_tokens": 80}
                said[0]["content"] += "[[written=3]][[written_1h=2]]"
            case "gemini":
                verb = "streamGenerateContent?alt=sse" if self.streams else "generateContent"
                self.path = f"/v1beta/models/{GEMINI}:{verb}"
                body = {
                    "contents": [{"role": "user", "parts": [{"text": text}]}],
                    "generationConfig": {"maxOutputTokens": 80},
                }
        self.body = json.dumps(body).encode()


async def make(client: Client, gateway: Gateway, key: str, ask: Ask, seen: Counter[str]) -> None:
    """Make one call, and leave in its middle if it is one of those."""
    headers = [
        ("authorization", f"Bearer {key}"),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("x-agent", ask.agent),
    ]
    sending = client.post(f"{gateway.url}{ask.path}").headers(headers).body_bytes(ask.body)
    try:
        async with sending.streamed_read_buffer_limit(0).build_streamed() as answer:
            seen[str(answer.status)] += 1
            while await answer.body_reader.read_chunk() is not None:
                if ask.leaves:
                    seen["left"] += 1
                    return
    except PyreqwestError:
        seen["broken"] += 1


async def mixed(gateway: Gateway, number: int) -> Counter[str]:
    """Make so many calls, a few dozen at a time."""
    draw = random.Random(SEED)
    seen: Counter[str] = Counter()
    client = ClientBuilder().no_proxy().gzip(False).timeout(timedelta(seconds=60)).build()
    keys = {agent: gateway.key(agent) for agent in ("known", "unknown")}
    asks = (Ask(draw, "unknown" if draw.random() < 0.1 else "known") for _ in range(number))

    async def caller() -> None:
        for ask in asks:
            await make(client, gateway, keys[ask.agent], ask, seen)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await client.close()
    return seen


def charged(gateway: Gateway, agent: str) -> int:
    """What the ledger counts an agent's calls as."""
    amount = "case when state = 'in_doubt' then maximum_nano_usd else coalesce(cost_nano_usd, 0) end"
    (row,) = gateway.query(f"select sum({amount}) as nano_usd from call where agent = ?", agent)
    return int(row["nano_usd"] or 0)


@pytest.mark.parametrize("number", [2_000, pytest.param(100_000, marks=pytest.mark.chaos)])
def test_the_bill_is_the_ledger(upstream: UpstreamProcess, number: int) -> None:
    """Over the whole mix; with nothing left under way, and nobody charged for what failed."""
    upstream.reset()
    budgets = {"plenty": "limit: 100000.00, period: yearly"}
    files = configuration(upstream.base_url, agents=("known", "unknown"), models=MODELS, budgets=budgets)
    with Gateway(files) as gateway:
        seen = asyncio.run(mixed(gateway, number))
        until(lambda: not gateway.states()["dispatched"], "calls stay under way")
        bill: dict[str, Any] = upstream.bill()["by_agent"]
        assert bill["known"]["nano_usd"] == charged(gateway, "known") > 0
        assert 0 < bill["unknown"]["nano_usd"] <= charged(gateway, "unknown")
        doubtful = gateway.query("select distinct agent from call where state = 'in_doubt'")
        assert [{"agent": "unknown"}] == doubtful
        assert {"200", "400", "429", "500", "503", "left"} <= seen.keys()
        assert number == gateway.count()
        if number <= 10_000:
            assert_books_balance(gateway)
