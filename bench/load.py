"""The load generator, a process of its own: it reads plans from standard input and writes results, a line each.

Closed loop: so many callers, each of which sends its next request when it has its answer. Throughput is then what
the server can do, and latency what a caller waits at that number of callers.

Open loop: requests are due by a fixed schedule, whatever becomes of those before them, as with callers who don't
know of each other. Latency counts from when a request was *due*, so a server that falls behind can't hide it.

Rule: everything that can be made beforehand is; per request there are one read, one write and a few dozen bytecodes
(under 25 µs in all), because on a small machine the generator runs on the cores that it measures.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import cycle, islice
from typing import cast

import msgspec
import uvloop

from bench.bodies import DIFFERENT, MCP_HEADERS, Kind, bodies, path_of
from bench.http1 import AnswerReader, BrokenAnswer, request

NOVEL_PREPARED = 24_000
DRAIN_S_MAX = 15.0
TICK_S = 0.001


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One round. `callers` are connections; with a `rate` per second it is an open loop over them.

    What is answered in the first `warm_up_s` isn't counted.
    """

    port: int
    key: str
    callers: int
    seconds: float
    warm_up_s: float = 0.3
    stream: bool = False
    kind: Kind = "varied"
    rate: int | None = None
    host: str = "127.0.0.1"


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """How long callers waited, in microseconds."""

    count: int
    p50_us: int
    p99_us: int
    max_us: int
    mean_us: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a round. `by_status` has the answers that were counted.

    `sent` and `answered` are those of the whole round, warm-up and end included; `broken` are requests whose
    connection failed or whose stream ended before its `[DONE]`. In an open loop `late_us_p99` tells how late the
    generator itself was, `held` how many requests were due while every connection was in use, and `replaced` how
    many connections the server closed while nothing was asked on them: that is no broken request.
    """

    seconds: float
    by_status: dict[int, Latency]
    first_event: Latency | None
    sent: int
    answered: int
    broken: int
    cpu_us_per_call: float
    late_us_p99: int = 0
    held: int = 0
    replaced: int = 0

    def per_second(self, status: int = 200) -> float:
        """Answers with a status, per second."""
        counted = self.by_status.get(status)
        return counted.count / self.seconds if counted else 0.0


class Load:
    """One round."""

    def __init__(self, plan: Plan, requests: Iterator[bytes]) -> None:
        self.plan = plan
        self.requests = requests
        self.waits: dict[int, array[int]] = {}
        self.first_events: array[int] = array("I")
        self.lateness: array[int] = array("I")
        self.sent = self.answered = self.broken = self.held = self.replaced = 0
        self.is_over = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._replacing: set[asyncio.Task[None]] = set()
        self.from_ns = self.until_ns = 0
        self._idle: list[_Caller] = []
        self._due: deque[int] = deque()
        self._next_due_ns = 0

    async def run(self) -> Result:
        """Connect, load, wait for the last answers."""
        plan = self.plan
        for start in range(0, plan.callers, 128):
            size = min(128, plan.callers - start)
            self._idle += await asyncio.gather(*(self._connected() for _ in range(size)))
        callers = list(self._idle)
        gc.collect()
        gc.freeze()
        gc.disable()
        cpu_ns, begin_ns = time.process_time_ns(), time.perf_counter_ns()
        self.from_ns = begin_ns + int(plan.warm_up_s * 1e9)
        self.until_ns = self.from_ns + int(plan.seconds * 1e9)
        if plan.rate is None:
            self._idle.clear()
            for caller in callers:
                caller.send(begin_ns)
        else:
            self._next_due_ns = begin_ns
            self._tick()
        await asyncio.sleep(plan.warm_up_s + plan.seconds)
        if plan.rate is not None:
            await self._all_sent.wait()
        if self.answered + self.broken < self.sent:
            try:
                await asyncio.wait_for(self.is_over.wait(), DRAIN_S_MAX)
            except TimeoutError:
                self.broken += self.sent - self.answered - self.broken
        cpu_ns = time.process_time_ns() - cpu_ns
        gc.enable()
        callers += self._idle
        self._idle.clear()
        for caller in callers:
            caller.leave()
        return self._result(cpu_ns)

    def take(self, caller: _Caller, answered_ns: int) -> None:
        """Count an answer, and give the caller its next request."""
        reader = caller.reader
        if reader.is_streamed and reader.status == 200 and not reader.is_done:
            self.broken += 1
        else:
            self.answered += 1
        sent_ns = caller.due_ns
        if self.from_ns <= answered_ns < self.until_ns:
            status = reader.status
            waits = self.waits.get(status)
            if waits is None:
                waits = self.waits[status] = array("I")
            waits.append((answered_ns - sent_ns) // 1_000)
            if caller.first_ns and status == 200:
                self.first_events.append((caller.first_ns - sent_ns) // 1_000)
        if self.plan.rate is None:
            if answered_ns < self.until_ns:
                caller.send(answered_ns)
            else:
                self.end_if_over()
        else:
            self._give_work(caller)

    def closed(self, caller: _Caller) -> None:
        """The server closed a connection on which nothing was asked; as in clients' pools, another one replaces it."""
        if caller in self._idle:
            self._idle.remove(caller)
            self.replaced += 1
            replacing = asyncio.ensure_future(self._replace())
            self._replacing.add(replacing)
            replacing.add_done_callback(self._replacing.discard)

    async def _replace(self) -> None:
        self._give_work(await self._connected())

    async def _connected(self) -> _Caller:
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(lambda: _Caller(self), self.plan.host, self.plan.port)
        return caller

    def _give_work(self, caller: _Caller) -> None:
        if self._due:
            caller.send(self._due.popleft())
        else:
            self._idle.append(caller)
            self.end_if_over()

    def end_if_over(self) -> None:
        """Tell whoever waits that nothing is on its way any more."""
        has_sent_all = self.plan.rate is None or self._all_sent.is_set()
        if (
            has_sent_all
            and self.answered + self.broken >= self.sent
            and time.perf_counter_ns() >= self.until_ns
        ):
            self.is_over.set()

    def _tick(self) -> None:
        """Send what is due. The event loop's clock ticks in milliseconds, so a few go together."""
        now_ns = time.perf_counter_ns()
        assert self.plan.rate is not None, "only an open loop ticks"
        step_ns = 1_000_000_000 // self.plan.rate
        end_ns = min(now_ns, self.until_ns)
        while self._next_due_ns <= end_ns:
            if self._idle:
                self._idle.pop().send(self._next_due_ns)
            else:
                self._due.append(self._next_due_ns)
                self.held += 1
            self.lateness.append((now_ns - self._next_due_ns) // 1_000)
            self._next_due_ns += step_ns
        if now_ns < self.until_ns:
            asyncio.get_running_loop().call_later(TICK_S, self._tick)
        else:
            self._all_sent.set()

    def _result(self, cpu_ns: int) -> Result:
        latencies = {status: latency(waits) for status, waits in sorted(self.waits.items())}
        late = sorted(self.lateness)
        return Result(
            seconds=self.plan.seconds,
            by_status={status: each for status, each in latencies.items() if each is not None},
            first_event=latency(self.first_events),
            sent=self.sent,
            answered=self.answered,
            broken=self.broken,
            cpu_us_per_call=cpu_ns / 1_000 / max(self.answered, 1),
            late_us_p99=late[len(late) * 99 // 100] if late else 0,
            held=self.held,
            replaced=self.replaced,
        )


class _Caller(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    __slots__ = ("_load", "_transport", "due_ns", "first_ns", "is_busy", "reader")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self.reader = AnswerReader()
        self.due_ns = 0
        self.first_ns = 0
        self.is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio.Transport by class, only by what they do.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, due_ns: int) -> None:
        """Send the next request, which was due then."""
        self.due_ns = due_ns
        self.first_ns = 0
        self.is_busy = True
        load = self._load
        load.sent += 1
        if self._transport is None:
            self._fail()
        else:
            self._transport.write(next(load.requests))

    def data_received(self, data: bytes) -> None:
        try:
            is_whole = self.reader.feed(data)
        except BrokenAnswer as fault:
            print(f"load: {fault}", file=sys.stderr)
            self._fail()
            self.leave()
            return
        if self.reader.is_streamed and not self.first_ns and self.reader.has_body:
            self.first_ns = time.perf_counter_ns()
        if not is_whole:
            return
        self.is_busy = False
        self._load.take(self, time.perf_counter_ns())

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self.is_busy:
            self._fail()
        else:
            self._load.closed(self)

    def leave(self) -> None:
        """Close the connection; nothing is expected of it any more."""
        self.is_busy = False
        if self._transport is not None:
            self._transport.close()

    def _fail(self) -> None:
        self.is_busy = False
        self._load.broken += 1
        self._load.end_if_over()


def latency(waits: array[int]) -> Latency | None:
    """Waits in short; None of none."""
    if not waits:
        return None
    ordered = sorted(waits)
    return Latency(
        count=len(ordered),
        p50_us=ordered[len(ordered) // 2],
        p99_us=ordered[len(ordered) * 99 // 100],
        max_us=ordered[-1],
        mean_us=sum(ordered) // len(ordered),
    )


class Requests:
    """Requests as bytes, made once for each target and kind, and sent round and round."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, str, bool, Kind], Iterator[bytes]] = {}

    def of(self, plan: Plan) -> Iterator[bytes]:
        """Those of a plan; they go on where its last round ended."""
        which = (plan.port, plan.key, plan.stream, plan.kind)
        if which not in self._made:
            self._made[which] = cycle(_made(plan))
        return self._made[which]


def _made(plan: Plan) -> list[bytes]:
    number = NOVEL_PREPARED if plan.kind == "novel" else DIFFERENT
    headers = [("authorization", f"Bearer {plan.key}"), ("user-agent", "bench")]
    headers += [("anthropic-version", "2023-06-01"), ("x-goog-api-key", plan.key)]
    headers += MCP_HEADERS if plan.kind == "mcp" else []
    return [
        request("POST", f"{plan.host}:{plan.port}", path_of(plan.kind), headers, body)
        for body in islice(bodies(plan.kind, stream=plan.stream), number)
    ]


def main() -> None:
    """Carry out plans until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this one is interrupted too, and ends it
    requests = Requests()
    decode = msgspec.json.Decoder(Plan).decode
    encode = msgspec.json.Encoder().encode
    for line in sys.stdin.buffer:
        plan = decode(line)
        result = uvloop.run(Load(plan, requests.of(plan)).run())
        sys.stdout.buffer.write(encode(result) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
