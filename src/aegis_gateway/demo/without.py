"""The same agents without Aegis, straight at the provider; and a counter as most gateways keep it.

Nothing here is estimated: the loop runs, the calls are made, and the provider's own bill says what they cost.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aegis_gateway.demo import agents
from aegis_gateway.demo.agents import Call, Loop, Reply
from aegis_gateway.demo.names import LOAN_ADVISOR, RESEARCHER
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.upstream.prices import MODELS


class CheckThenSpend:
    """A budget that looks at its balance, lets the call through, and adds what it cost once that is known.

    It is a careful one: it looks whether the most that the call can cost still fits. That does not help:
    between looking and adding there is the call itself, and every other call looks meanwhile.
    """

    def __init__(self, limit_nano_usd: int, spent_nano_usd: int, call_nano_usd_max: int) -> None:
        """A day's limit, what is spent of it by now, and the most that one call can cost."""
        self._limit = limit_nano_usd
        self._call_max = call_nano_usd_max
        self.spent_nano_usd = spent_nano_usd
        self.passed = 0

    async def __call__(self, call: Call) -> Reply:
        """Look, let through, add."""
        if self.spent_nano_usd + self._call_max > self._limit:
            return Reply(status=402, code="budget_exceeded")
        self.passed += 1
        reply = await call()
        self.spent_nano_usd += reply.completion_tokens * MODELS[agents.MEMO_MODEL].output_nano_usd
        return reply


class Without(msgspec.Struct, frozen=True, kw_only=True):
    """What a day without Aegis came to, by the provider's bill."""

    loop: Loop
    loop_nano_usd: int
    lending_nano_usd: int
    lending_over_nano_usd: int

    @property
    def nano_usd(self) -> int:
        """What both agents spent."""
        return self.loop_nano_usd + self.lending_nano_usd


def billed(stage: Stage, agent: str) -> int:
    """What the provider has charged for an agent's calls."""
    line = stage.bill()["by_agent"].get(agent)
    return int(line["nano_usd"]) if line else 0


def run_loop(stage: Stage, seed: int, on_turn: Callable[[Loop], None]) -> Loop:
    """The market researcher's loop, with the provider's key."""
    return agents.look_for_reasons(stage.back_door(RESEARCHER), seed, on_turn)


def spend_the_morning(stage: Stage, seed: int, amount_nano_usd: int) -> None:
    """The loan advisor's morning, with the provider's key."""
    agent = LOAN_ADVISOR
    agents.spend_until(stage.back_door(agent), seed, amount_nano_usd, lambda: billed(stage, agent))


def run_rush(stage: Stage, limit_nano_usd: int) -> CheckThenSpend:
    """The 256 calls at once, through a check-then-spend counter that knows the bill so far to the nano-dollar."""
    model = MODELS[agents.MEMO_MODEL]
    call_max = model.cost_nano_usd(prompt_tokens=50, cached_tokens=0, completion_tokens=agents.RUSH_TOKENS)
    counter = CheckThenSpend(limit_nano_usd, billed(stage, LOAN_ADVISOR), call_max)
    agents.rush(stage.back_door(LOAN_ADVISOR), counter)
    return counter
