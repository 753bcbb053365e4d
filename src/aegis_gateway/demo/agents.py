"""North Bank's agents: the same code with and without Aegis, on a fixed seed.

What they ask is made up, and orders in double brackets tell the fake provider how long to think; what they do
with an answer or a refusal is what programs do that know nothing of Aegis.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import openai
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from aegis_gateway.demo.doors import Door, HttpAnswer, async_openai_client, call_http, openai_client
from aegis_gateway.demo.upstream.prices import MODELS

MEMO_MODEL = "gpt-4.1"
MEMO_TOKENS = (20_000, 30_000)
_LAST_MEMO_TOKENS_MIN = 2_000
MEMOS_AT_ONCE = 8

RUSH_CALLS = 256
RUSH_TOKENS = 1_000
# Long enough that all have been sent before the first is answered.
RUSH_DELAY_MS = 1_000

LOOP_MODEL = "gpt-5-mini"
LOOP_TURNS = 243
LOOP_CANDIDATES = 4
LOOP_TOKENS = (90_000, 128_000)
LOOP_TOKENS_MAX = 128_000
_SHOWN_TOKENS = 40


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call: an answer, or a refusal as the official client raised it."""

    status: int
    code: str = ""
    message: str = ""
    error: str = ""
    answer: str = ""
    completion_tokens: int = 0

    @property
    def is_answer(self) -> bool:
        """Whether the model answered."""
        return self.status == 200


class Loop(msgspec.Struct, kw_only=True):
    """What came of a loop: how often it asked, was answered, was refused, and what the first refusal said."""

    turns: int = 0
    answered: int = 0
    refused: int = 0
    first_refusal: Reply | None = None


Call = Callable[[], Awaitable[Reply]]
Gate = Callable[[Call], Awaitable[Reply]]
"""Something that a call goes through on the agent's own side."""


async def _no_gate(call: Call) -> Reply:
    return await call()


def write_memos(door: Door, sizes: list[int]) -> list[Reply]:
    """The loan advisor writes credit memos of so many tokens, a few at a time."""

    async def write_all() -> list[Reply]:
        desks = asyncio.Semaphore(MEMOS_AT_ONCE)
        async with async_openai_client(door) as client:

            async def write(number: int, tokens: int) -> Reply:
                async with desks:
                    text = f"Write the credit memo for file {number}. [[tokens={tokens}]]"
                    return await _ask(client, MEMO_MODEL, text, tokens)

            return await asyncio.gather(*(write(number, tokens) for number, tokens in enumerate(sizes)))

    return asyncio.run(write_all())


def memo_sizes(seed: int, budget_nano_usd: int) -> list[int]:
    """Memos whose words come close to an amount, and leave room for a last one that is cut to fit."""
    chance = random.Random(seed)
    price = MODELS[MEMO_MODEL].output_nano_usd
    sizes: list[int] = []
    while (sum(sizes) + MEMO_TOKENS[1] + _LAST_MEMO_TOKENS_MIN) * price < budget_nano_usd:
        sizes.append(chance.randint(*MEMO_TOKENS))
    return sizes


def spend_until(door: Door, seed: int, amount_nano_usd: int, spent_nano_usd: Callable[[], int]) -> None:
    """Have memos written until so much is spent, to a cent or so; `spent_nano_usd` tells how much it is by now."""
    write_memos(door, memo_sizes(seed, amount_nano_usd - spent_nano_usd()))
    missing = amount_nano_usd - spent_nano_usd()
    write_memos(door, [missing // MODELS[MEMO_MODEL].output_nano_usd])


def rush(door: Door, gate: Gate = _no_gate) -> list[Reply]:
    """All of the loan advisor's customers ask in the same moment."""

    async def ask_all() -> list[Reply]:
        async with async_openai_client(door) as client:

            def asking(number: int) -> Call:
                orders = f"[[tokens={RUSH_TOKENS}]] [[delay_ms={RUSH_DELAY_MS}]]"
                text = f"May customer {number:03d} pay back early? {orders}"
                return lambda: _ask(client, MEMO_MODEL, text, RUSH_TOKENS)

            return await asyncio.gather(*(gate(asking(number)) for number in range(RUSH_CALLS)))

    return asyncio.run(ask_all())


def look_for_reasons(door: Door, seed: int, on_turn: Callable[[Loop], None]) -> Loop:
    """The market researcher's loop: no answer is ever good enough, and a refusal is only another bad answer."""
    chance = random.Random(seed)
    loop = Loop()
    with openai_client(door) as client:
        for turn in range(1, LOOP_TURNS + 1):
            reply = _think(client, turn, chance.randint(*LOOP_TOKENS))
            loop.turns = turn
            loop.answered += reply.is_answer
            loop.refused += not reply.is_answer
            if not reply.is_answer and loop.first_refusal is None:
                loop.first_refusal = reply
            on_turn(loop)
    return loop


def ask_streaming(door: Door, model: str, text: str) -> Reply:
    """One question, its answer streamed."""
    pieces: list[str] = []
    tokens = 0
    try:
        with openai_client(door) as client:
            stream = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": text}],
                stream=True,
                stream_options={"include_usage": True},
            )
            for chunk in stream:
                pieces += [choice.delta.content or "" for choice in chunk.choices]
                tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    except openai.APIStatusError as refusal:
        return _refused(refusal)
    return Reply(status=200, answer="".join(pieces), completion_tokens=tokens)


def look_up_rate(door: Door, path: str, pair: str) -> HttpAnswer:
    """One exchange rate."""
    return call_http(door, "GET", f"{path}/v1/fx/{pair}")


def pay(door: Door, path: str, amount: str, reference: str) -> HttpAnswer:
    """One payment."""
    body = {"amount": amount, "currency": "USD", "beneficiary": "Harbour Supplies", "reference": reference}
    return call_http(door, "POST", f"{path}/v1/payments", body)


def pay_at_once(door: Door, path: str, amount: str, times: int) -> list[HttpAnswer]:
    """The same payment several times, all in the same moment."""
    with ThreadPoolExecutor(times) as threads:
        sent = [
            threads.submit(pay, door, path, amount, f"invoice {number}") for number in range(1, times + 1)
        ]
        return [each.result() for each in sent]


async def _ask(client: AsyncOpenAI, model: str, text: str, tokens: int) -> Reply:
    try:
        answer = await client.chat.completions.create(
            model=model, max_completion_tokens=tokens, messages=[{"role": "user", "content": text}]
        )
    except openai.APIStatusError as refusal:
        return _refused(refusal)
    return _answered(answer)


def _think(client: OpenAI, turn: int, tokens: int) -> Reply:
    thought = f"[[tokens={tokens}]] [[reasoning={tokens - _SHOWN_TOKENS}]]"
    try:
        answer = client.chat.completions.create(
            model=LOOP_MODEL,
            max_completion_tokens=LOOP_TOKENS_MAX,
            n=LOOP_CANDIDATES,
            messages=[
                {
                    "role": "system",
                    "content": "You find the reason. If the critic isn't content, think again.",
                },
                {"role": "user", "content": f"Critic's round {turn}: why did the market move? {thought}"},
            ],
        )
    except openai.APIStatusError as refusal:
        return _refused(refusal)
    return _answered(answer)


def _answered(answer: ChatCompletion) -> Reply:
    tokens = answer.usage.completion_tokens if answer.usage else 0
    return Reply(status=200, answer=answer.choices[0].message.content or "", completion_tokens=tokens)


def _refused(refusal: openai.APIStatusError) -> Reply:
    return Reply(
        status=refusal.status_code,
        code=str(refusal.code),
        message=str(refusal.body.get("message", "")) if isinstance(refusal.body, dict) else str(refusal),
        error=type(refusal).__name__,
    )
