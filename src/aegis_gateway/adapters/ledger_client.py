"""The ledger as a gateway worker sees it: a Unix socket to the one process that keeps it.

Rule 1: what one event-loop turn asks goes out as one frame, so batches grow with load and nothing waits for them.
Rule 2: the number of questions open is bounded and each has a deadline; past either the ledger is unavailable.
Rule 3: an admission that is answered after its deadline is taken back as never sent: nobody was told to send it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aegis_gateway.adapters.frames import FrameReader, encode_messages, frame, replies_decoder
from aegis_gateway.application.commands import Admitted, Command, Failed, Release, Reply, Running, Settle
from aegis_gateway.application.pace import AskPace, Paced, PaceTold
from aegis_gateway.domain.errors import IllegalTransition, LedgerUnavailable, UnknownCall
from aegis_gateway.domain.ledger import Evidence

OPEN_QUESTIONS_MAX = 4_096
DEADLINE_S = 5.0
WAITS_AVERAGED = 32


class LedgerClient(asyncio.Protocol):
    """Asks the ledger process. `on_lost` is called once when the connection ends, for whatever reason."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        """Prepare; `connect` makes the connection."""
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._waiting: dict[int, tuple[asyncio.Future[Reply | PaceTold], float, Command | AskPace]] = {}
        self._late: dict[int, Command | AskPace] = {}
        self._outgoing: list[tuple[int, Command | AskPace]] = []
        self._number = 0
        self._usual_wait_s = 0.0
        self._watch: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, path: Path, on_lost: Callable[[], None]) -> LedgerClient:
        """Connect to the ledger process that listens at `path`."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_unix_connection(lambda: cls(on_lost), str(path))
        return client

    async def ask(self, command: Command) -> Reply:
        """Have a command carried out; the answer is on disk when this returns.

        Raises:
            LedgerUnavailable: it was not done, or it is not known whether it was.
            UnknownCall: there is no such call.
            IllegalTransition: the call's state does not allow it.
        """
        reply = await self._answer(command)
        if isinstance(reply, Failed):
            raise _FAULTS[reply.kind](reply.message)
        if isinstance(reply, PaceTold):
            raise LedgerUnavailable("the ledger gave an answer that is none")
        return reply

    async def pace(self, mine: Paced) -> PaceTold:
        """What all workers counted since the gateway began, with what this one has not told yet.

        Raises:
            LedgerUnavailable: the ledger process does not say.
        """
        self.tell(mine)
        reply = await self._answer(AskPace())
        if not isinstance(reply, PaceTold):
            raise LedgerUnavailable("the ledger gave an answer that is none")
        return reply

    def tell(self, message: Running | Paced) -> None:
        """Say what this process runs, or has counted; nobody answers."""
        if self._transport is not None:
            self._transport.write(frame(encode_messages([(0, message)])))

    async def _answer(self, command: Command | AskPace) -> Reply | PaceTold:
        if self._transport is None or len(self._waiting) >= OPEN_QUESTIONS_MAX:
            raise LedgerUnavailable("the ledger has more to do than it can; try again in a moment")
        self._number += 1
        future: asyncio.Future[Reply | PaceTold] = self._loop.create_future()
        self._waiting[self._number] = (future, self._loop.time() + DEADLINE_S, command)
        self._send(self._number, command)
        return await future

    @property
    def open_questions(self) -> int:
        """How many questions wait for an answer."""
        return len(self._waiting)

    def wait_s(self) -> float:
        """How long the ledger lets wait now: the last answers' average, or longer if a question is open for longer.

        0 where no question is open.
        """
        for _, deadline, _ in self._waiting.values():
            return max(self._usual_wait_s, self._loop.time() - (deadline - DEADLINE_S))
        return 0.0

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start watching deadlines."""
        # uvloop's transports are not asyncio.Transport by class, only by what they do.
        self._transport = cast(asyncio.Transport, transport)
        self._watch = self._loop.call_later(1.0, self._check_deadlines)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them."""
        for payload in self._reader.feed(data):
            for number, reply in replies_decoder.decode(payload):
                waiting = self._waiting.pop(number, None)
                if waiting is not None:
                    wait_s = self._loop.time() - (waiting[1] - DEADLINE_S)
                    self._usual_wait_s += (wait_s - self._usual_wait_s) / WAITS_AVERAGED
                if waiting is None:
                    self._take_back(self._late.pop(number, None), reply)
                elif not waiting[0].done():
                    waiting[0].set_result(reply)
                else:
                    self._take_back(waiting[2], reply)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Fail whoever waits: nothing is known about their questions."""
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
        for future, _, _ in self._waiting.values():
            if not future.done():
                future.set_exception(LedgerUnavailable("the ledger is gone; nothing can be made durable"))
        self._waiting.clear()
        self._on_lost()

    def _send(self, number: int, command: Command | AskPace) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append((number, command))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is None:
            return
        try:
            payload = encode_messages(outgoing)
        except (ValueError, OverflowError):
            # One of them cannot be written down; its neighbours of the same turn must not suffer for it.
            payload = encode_messages([each for each in outgoing if self._is_writable(*each)])
        self._transport.write(frame(payload))

    def _is_writable(self, number: int, command: Command | AskPace) -> bool:
        try:
            encode_messages([(number, command)])
        except (ValueError, OverflowError) as fault:
            waiting = self._waiting.pop(number, None)
            if waiting is not None and not waiting[0].done():
                waiting[0].set_exception(LedgerUnavailable(f"the call cannot be written down: {fault}"))
            return False
        return True

    def _check_deadlines(self) -> None:
        self._watch = self._loop.call_later(1.0, self._check_deadlines)
        now = self._loop.time()
        for number, (future, deadline, command) in list(self._waiting.items()):
            if deadline > now:
                break  # questions are kept in the order they were asked
            del self._waiting[number]
            self._late[number] = command
            if not future.done():
                future.set_exception(LedgerUnavailable("the ledger did not answer in time; try again"))

    def _take_back(self, command: Command | AskPace | None, reply: Reply | PaceTold) -> None:
        if command is None or not isinstance(reply, Admitted):
            return
        note = "its admission was answered after its deadline; it was not sent"
        if reply.state == "reserved":
            self._number += 1
            release = Release(call=reply.call, tenant=command.tenant, reason=note, turns=reply.turns)
            self._send(self._number, release)
        elif reply.state == "dispatched":
            evidence = Evidence(source="not_sent", note=note)
            self._number += 1
            self._send(self._number, Settle(call=reply.call, tenant=command.tenant, evidence=evidence))


_FAULTS: dict[str, type[LedgerUnavailable | UnknownCall | IllegalTransition]] = {
    "unavailable": LedgerUnavailable,
    "unknown_call": UnknownCall,
    "illegal_transition": IllegalTransition,
}
