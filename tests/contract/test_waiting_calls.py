"""Calls that wait for their turn, whose callers leave, gateway stops or ledger doesn't answer: on both stores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
import pytest

from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    CallName,
    Command,
    Dispatch,
    Failed,
    Known,
    Reply,
    Withdraw,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.application.waiting_calls import (
    LEFT,
    NOT_KNOWN,
    STOPPING,
    TOO_MANY,
    WAITING_MAX,
    NotSent,
    WaitingCalls,
)
from aegis_gateway.domain.errors import CallerLeft, IllegalTransition, LedgerUnavailable
from tests.ledgers import SECOND_NS, admission, budget, rate

MILLISECOND_NS = SECOND_NS // 1_000
HOUR_S = 3_600
CALLS = 60
ENDS = (CallerLeft, LedgerUnavailable, asyncio.CancelledError)
"""How a call that waits may end that is not sent."""


class Asked:
    """A ledger that is asked without blocking; a test may have it take its time, or fail before or after the work."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.before: Callable[[Command], Awaitable[None]] | None = None
        self.after: Callable[[Command], Awaitable[None]] | None = None
        self.asked: list[Command] = []

    async def ask(self, command: Command) -> Reply:
        """As a worker's client does."""
        self.asked.append(command)
        if self.before is not None:
            await self.before(command)
        (reply,) = self.ledger.process([command])
        if self.after is not None:
            await self.after(command)
        if isinstance(reply, Failed):
            raise IllegalTransition(reply.message)
        return reply


class House:
    """Waiting calls on a real ledger: one at a time, every `pace_ns`, of $100 in nano-dollars each."""

    def __init__(self, ledger: Ledger, store: Store, pace_ns: int = HOUR_S * SECOND_NS) -> None:
        self.store = store
        self.asked = Asked(ledger)
        self.later: list[NotSent] = []
        self.waiting = WaitingCalls(self.asked, self.later.append)
        self._claim = msgspec.structs.replace(rate("pace", 1, pace_ns), delay_ns=CALLS * pace_ns)

    def command(self, call: str, name: str | None = None) -> Admit:
        """A call of one agent."""
        asked = admission(call, budgets=(budget(limit=1_000_000),), rates=(self._claim,))
        named = None if name is None else CallName(name=name, request=b"r")
        return msgspec.structs.replace(asked, name=named)

    def reserved(self, call: str, name: str | None = None) -> tuple[Admit, Admitted]:
        """A call that has to wait."""
        command = self.command(call, name)
        (reply,) = self.asked.ledger.process([command])
        assert isinstance(reply, Admitted)
        return command, reply

    def state(self, call: str) -> tuple[str, int | None]:
        """A call's state and cost."""
        (row,) = self.store.query("select state, cost_nano_usd from call where call = ?", (call,))
        return row["state"], row["cost_nano_usd"]

    def pending(self) -> int:
        """What is held of the budget."""
        (row,) = self.store.query("select pending from standing where budget = 'month'", ())
        held: int = row["pending"]
        return held

    def reasons(self, call: str) -> str:
        """What the record says of a call at last."""
        (row,) = self.store.query(
            "select body from entry where call = ? order by sequence desc limit 1", (call,)
        )
        return str(msgspec.json.decode(bytes(row["body"])).get("reason"))


@pytest.fixture
def house(ledger: Ledger, store: Store) -> House:
    """One in which a call was just made, so the next has its turn in an hour."""
    house = House(ledger, store)
    house.reserved("now")
    return house


def within_a_minute(work: Coroutine[Any, Any, None]) -> None:
    """Run it, and not for ever."""

    async def run() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(run())


def test_who_leaves_gives_all_back_at_once(house: House) -> None:
    """Money, name and turn are the next caller's; the record says why."""
    soon = house.reserved("soon", "n")
    (known,) = house.asked.ledger.process([house.command("other", "n")])
    assert isinstance(known, Known)
    assert 200 == house.pending()

    async def leave() -> None:
        left = asyncio.Event()

        async def leaves() -> None:
            await left.wait()

        waiting = asyncio.create_task(house.waiting.win(*soon, leaves))
        await asyncio.sleep(0)
        assert not waiting.done()
        left.set()
        with pytest.raises(CallerLeft):
            await waiting

    within_a_minute(leave())
    assert ("released", 0) == house.state("soon")
    assert LEFT == house.reasons("soon")
    assert 100 == house.pending()
    _, reply = house.reserved("next", "n")
    assert ("reserved", soon[1].turns) == (reply.state, reply.turns)


def test_a_gateway_that_stops(house: House) -> None:
    """All that wait are given up at once, and none begins to."""
    calls = [house.reserved(f"c{number}") for number in range(3)]

    async def stop() -> None:
        waiting = [asyncio.create_task(house.waiting.win(*call, None)) for call in calls[:2]]
        await asyncio.sleep(0)
        house.waiting.hang_up()
        for each in [*waiting, asyncio.create_task(house.waiting.win(*calls[2], None))]:
            with pytest.raises(LedgerUnavailable, match="stopped"):
                await each

    within_a_minute(stop())
    assert {("released", 0)} == {house.state(command.call) for command, _ in calls}
    assert STOPPING == house.reasons("c0")
    assert 100 == house.pending()
    assert calls[0][1].turns == house.reserved("next")[1].turns


def test_too_many_that_wait(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is too much holds nothing either."""
    assert WAITING_MAX > 0
    monkeypatch.setattr("aegis_gateway.application.waiting_calls.WAITING_MAX", 1)
    first, second = house.reserved("first"), house.reserved("second")

    async def crowd() -> None:
        waiting = asyncio.create_task(house.waiting.win(*first, None))
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailable, match=TOO_MANY):
            await house.waiting.win(*second, None)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    within_a_minute(crowd())
    assert {("released", 0)} == {house.state("first"), house.state("second")}
    assert 100 == house.pending()


def test_a_ledger_that_cannot_take_it_now(house: House) -> None:
    """It is told again; having taken it after all, it takes it no second time."""
    calls = [house.reserved(f"c{number}") for number in range(2)]

    async def fail(_command: Command) -> None:
        raise LedgerUnavailable("the disk is full")

    async def leaves() -> None:
        """At once."""

    async def leave() -> None:
        house.asked.before = fail
        with pytest.raises(CallerLeft):
            await house.waiting.win(*calls[0], leaves)
        house.asked.before, house.asked.after = None, fail
        with pytest.raises(CallerLeft):
            await house.waiting.win(*calls[1], leaves)

    within_a_minute(leave())
    assert [("reserved", None), ("released", 0)] == [house.state("c0"), house.state("c1")]
    assert ["c0", "c1"] == [command.call for command in house.later]
    assert [False, True] == [isinstance(r, Failed) for r in house.asked.ledger.process(house.later)]
    assert ("released", 0) == house.state("c0")
    assert 100 == house.pending()


@pytest.mark.parametrize("does", ["cancel", "fail before", "fail after"])
def test_a_dispatch_whose_answer_never_comes(ledger: Ledger, store: Store, does: str) -> None:
    """It isn't sent and costs nothing, whether the ledger had let it win or not."""
    house = House(ledger, store, MILLISECOND_NS)
    house.reserved("now")
    soon = house.reserved("soon")
    asked = asyncio.Event()

    async def hang(command: Command) -> None:
        if isinstance(command, Dispatch):
            asked.set()
            await (asyncio.Event().wait() if does == "cancel" else fail())

    async def fail() -> None:
        raise LedgerUnavailable("no answer")

    if does == "fail before":
        house.asked.before = hang
    else:
        house.asked.after = hang

    async def lose() -> None:
        waiting = asyncio.create_task(house.waiting.win(*soon, None))
        await asked.wait()
        if does == "cancel":
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError if does == "cancel" else LedgerUnavailable):
            await waiting

    within_a_minute(lose())
    assert isinstance(house.asked.asked[-1], Withdraw)
    assert ("released" if does == "fail before" else "settled", 0) == house.state("soon")
    assert 100 == house.pending()
    (row,) = store.query("select body from entry where call = 'soon' order by sequence desc limit 1")
    assert NOT_KNOWN.encode() in bytes(row["body"])


@pytest.mark.parametrize("seed", range(3))
def test_leaving_beside_winning(ledger: Ledger, store: Store, seed: int) -> None:
    """Callers leave, tasks are cancelled and the ledger fails just when turns come: what was sent is what holds money,
    and all else is free.
    """
    dice = random.Random(seed)
    house = House(ledger, store, 2 * MILLISECOND_NS)
    house.reserved("now")
    calls = [house.reserved(f"c{number}") for number in range(CALLS)]
    sent: set[str] = set()

    async def be_slow(command: Command) -> None:
        await asyncio.sleep(dice.choice([0, 0, 0.001, 0.003]))
        if dice.random() < 0.1:
            raise LedgerUnavailable("no answer")

    async def call(command: Admit, admitted: Admitted) -> None:
        turn_s = admitted.wait_ns / SECOND_NS

        async def leaves() -> None:
            await asyncio.sleep(turn_s + dice.uniform(-0.004, 0.004))

        await house.waiting.win(command, admitted, leaves if dice.random() < 0.7 else None)
        sent.add(command.call)

    async def race() -> None:
        house.asked.before = house.asked.after = be_slow
        tasks = []
        for command, admitted in calls:
            tasks.append(asyncio.create_task(call(command, admitted)))
            if dice.random() < 0.3:
                turn_s = admitted.wait_ns / SECOND_NS
                asyncio.get_running_loop().call_later(turn_s + dice.uniform(-0.004, 0.006), tasks[-1].cancel)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [end for end in ends if isinstance(end, BaseException) and not isinstance(end, ENDS)]
        house.asked.before = house.asked.after = None
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    within_a_minute(race())
    ledger.process(house.later)
    states = {command.call: house.state(command.call) for command, _ in calls}
    assert {call for call, (state, _) in states.items() if state == "dispatched"} == sent
    free = {state for call, state in states.items() if call not in sent}
    assert free <= {("released", 0), ("settled", 0), ("expired", 0)}
    assert 0 < len(sent) < CALLS
    assert 100 * (1 + len(sent)) == house.pending()
