"""Calls that wait for a rate's next turn: reserved until it has come, sent only if they win their dispatch then.

Rule 1: a call that isn't going to be sent, because its caller left or the gateway stops, holds nothing from then on.
Rule 2: once its dispatch is asked for, the ledger's answer decides; where none comes it is not sent, and holds nothing
        either, whatever the ledger had done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from aegis_gateway.application.asking_ledger import AsyncLedger
from aegis_gateway.application.call_context import Leaves
from aegis_gateway.application.commands import Admit, Admitted, Dispatch, Moved, Release, Withdraw
from aegis_gateway.domain.errors import CallerLeft, LedgerError, LedgerUnavailable

WAITING_MAX = 1_024
"""How many calls of one worker may wait for a rate limit's next turn."""

TOO_MANY = "too many calls wait for their turn"
LEFT = "the caller left while its call waited for its turn"
STOPPING = "the gateway stopped while the call waited for its turn"
NOT_KNOWN = "it was not known whether the call had won its turn; it was not sent"
"""Why a call that waited was given up, as the record says it."""

NotSent = Release | Withdraw
"""What frees all that a call holds that is not going to be sent."""


class WaitingCalls:
    """Those of one worker."""

    def __init__(self, ledger: AsyncLedger, ask_later: Callable[[NotSent], None]) -> None:
        """Wait before asking the ledger. `ask_later` has it asked again what it couldn't take now."""
        self._ledger = ledger
        self._ask_later = ask_later
        self._waiting: set[asyncio.Future[str]] = set()
        self._giving_up: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def win(self, command: Admit, admitted: Admitted, leaves: Leaves | None) -> None:
        """Wait for a reserved call's turn, and win its dispatch. `leaves` waits until its caller has left.

        Raises:
            CallerLeft: the caller left meanwhile; it is not sent.
            LedgerUnavailable: too many wait already, its reservation ran out or the gateway stops; it is not sent.
        """
        call, tenant = command.call, command.tenant
        release = Release(call=call, tenant=tenant, reason=STOPPING, turns=admitted.turns)
        try:
            why_not = await self._until_turn(admitted.wait_ns / 1_000_000_000, leaves)
        except BaseException:
            await self._give_up(release)
            raise
        if why_not:
            await self._give_up(msgspec.structs.replace(release, reason=why_not))
            if why_not == LEFT:
                raise CallerLeft(why_not)
            raise LedgerUnavailable(f"{why_not}; try again in a moment")
        try:
            reply = await self._ledger.ask(Dispatch(call=call, tenant=tenant))
        except BaseException:
            # It may have won by now, or win yet. Nobody is going to send it.
            withdraw = Withdraw(call=call, tenant=tenant, not_before=admitted.sequence, reason=NOT_KNOWN)
            await self._give_up(withdraw)
            raise
        if not isinstance(reply, Moved) or reply.state != "dispatched":
            raise LedgerUnavailable(
                "the call waited for its turn longer than it could be reserved; try again"
            )

    def hang_up(self) -> None:
        """The gateway stops: calls that wait are given up, and none waits any more."""
        self._is_stopping = True
        for over in self._waiting:
            _end(over, STOPPING)

    async def _until_turn(self, wait_s: float, leaves: Leaves | None) -> str:
        """Wait until a call's turn has come; or until it isn't going to be sent, and then why."""
        if self._is_stopping:
            return STOPPING
        if len(self._waiting) >= WAITING_MAX:
            return TOO_MANY
        loop = asyncio.get_running_loop()
        over: asyncio.Future[str] = loop.create_future()
        self._waiting.add(over)
        timer = loop.call_later(wait_s, _end, over, "")
        leaving = asyncio.ensure_future(leaves()) if leaves is not None else None
        if leaving is not None:
            leaving.add_done_callback(lambda left: None if left.cancelled() else _end(over, LEFT))
        try:
            return await over
        finally:
            self._waiting.discard(over)
            timer.cancel()
            if leaving is not None:
                leaving.cancel()

    async def _give_up(self, command: NotSent) -> None:
        """Have the ledger free what a call holds: now or as soon as it can, even if who waits here is cancelled."""
        giving_up = asyncio.create_task(self._given_up(command))
        self._giving_up.add(giving_up)
        giving_up.add_done_callback(self._giving_up.discard)
        await asyncio.shield(giving_up)

    async def _given_up(self, command: NotSent) -> None:
        try:
            await self._ledger.ask(command)
        except LedgerUnavailable:
            self._ask_later(command)
        except LedgerError:
            pass  # its reservation had run out before: it holds nothing any more


def _end(over: asyncio.Future[str], why_not: str) -> None:
    """End a wait, unless it is over."""
    if not over.done():
        over.set_result(why_not)
