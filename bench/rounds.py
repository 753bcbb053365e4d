"""Rounds: one target loaded for a moment, and what that cost each process.

The machine is never quite one's own, so what is compared is measured in short rounds that take turns, a ratio or a
difference is taken within a turn, and of several turns the median counts.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from bench.load import Plan, Result
from bench.processes import cpu_us, machine_time, pace_us
from bench.targets import Target

DISTURBED = 0.10
"""The share of the machine above which others' work disturbs a measurement."""

_ROOT = Path(__file__).parents[1]


class Generator:
    """The load generator's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Result).decode
        self.pid = self._process.pid

    def run(self, plan: Plan) -> Result:
        """Carry out a plan."""
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        self._process.stdin.write(self._encode(plan) + b"\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended; its own words are above")
        return self._decode(line)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round. CPU is in microseconds per call, by role; `others` is the part of the machine that none of the
    measured processes used, `stolen` what its host kept, each as a share of all its cores. `pace_us` is how long a
    fixed piece of work took just before.
    """

    result: Result
    cpu_us: dict[str, float]
    others: float
    stolen: float
    pace_us: int


class Row(msgspec.Struct, kw_only=True):
    """A line of the table: one target under one load, and its rounds in the order of the turns."""

    target: str
    callers: int
    stream: bool
    rounds: list[Round] = []
    note: str = ""
    wrong: list[str] = []

    @property
    def per_second(self) -> float:
        """Answered calls per second."""
        return median(each.result.per_second() for each in self.rounds)

    @property
    def range_per_second(self) -> tuple[float, float]:
        """The slowest and the fastest round."""
        rates = [each.result.per_second() for each in self.rounds]
        return min(rates), max(rates)

    def wait_us(self, what: Callable[[Result], int]) -> float:
        """A figure of the callers' wait."""
        return median(what(each.result) for each in self.rounds)

    def cpu_us(self) -> dict[str, float]:
        """CPU per call by role."""
        roles = self.rounds[0].cpu_us
        return {role: median(each.cpu_us[role] for each in self.rounds) for role in roles}

    @property
    def others(self) -> float:
        """What other processes took of the machine."""
        return median(each.others + each.stolen for each in self.rounds)

    @property
    def pace_us(self) -> float:
        """How long the fixed piece of work took."""
        return median(each.pace_us for each in self.rounds)


class Patience:
    """How long a run may spend on measuring again what others disturbed."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self.repeated = 0

    def repeats(self, rounds: Sequence[Round], seconds: float) -> bool:
        """Whether rounds, which took so long, are to be measured again."""
        if max(each.others + each.stolen for each in rounds) <= DISTURBED or self._left_s < seconds:
            return False
        self._left_s -= seconds
        self.repeated += 1
        return True


def p50(result: Result, status: int = 200) -> int:
    """The median wait."""
    return result.by_status[status].p50_us if status in result.by_status else 0


def p99(result: Result, status: int = 200) -> int:
    """The wait that one caller in a hundred exceeds."""
    return result.by_status[status].p99_us if status in result.by_status else 0


def first_event_p50(result: Result) -> int:
    """The median wait for a stream's first event."""
    return result.first_event.p50_us if result.first_event else 0


def first_event_p99(result: Result) -> int:
    """The wait for a stream's first event that one caller in a hundred exceeds."""
    return result.first_event.p99_us if result.first_event else 0


def measure(generator: Generator, provider_pid: int, target: Target, plan: Plan) -> Round:
    """Load a target once."""
    roles = {**target.processes(), "provider": [provider_pid]}
    ours = [pid for pids in roles.values() for pid in pids] + [generator.pid]
    pace = pace_us()
    used = {pid: cpu_us(pid) for pid in ours}
    machine = machine_time()
    result = generator.run(plan)
    machine_after = machine_time()
    used = {pid: cpu_us(pid) - before for pid, before in used.items()}
    elapsed = max(machine_after.all_us - machine.all_us, 1)
    calls = max(result.answered, 1)
    per_call = {role: sum(used[pid] for pid in pids) / calls for role, pids in roles.items()}
    return Round(
        result=result,
        cpu_us={**per_call, "generator": result.cpu_us_per_call},
        others=max(machine_after.used_us - machine.used_us - sum(used.values()), 0) / elapsed,
        stolen=(machine_after.stolen_us - machine.stolen_us) / elapsed,
        pace_us=pace,
    )


def take_turns(
    generator: Generator,
    provider_pid: int,
    targets: Sequence[Target],
    plan: Callable[[Target], Plan],
    turns: int,
    patience: Patience,
) -> list[Row]:
    """Measure targets in turns, there and back: A B C, C B A, …; a turn that was disturbed may be repeated."""
    first = plan(targets[0])
    rows = [
        Row(target=target.name, callers=first.callers, stream=first.stream, rounds=[]) for target in targets
    ]
    order = list(zip(targets, rows, strict=True))
    while len(rows[0].rounds) < turns:
        begin = time.monotonic()
        turn = [measure(generator, provider_pid, target, plan(target)) for target, _ in order]
        if patience.repeats(turn, time.monotonic() - begin):
            continue
        for (_, row), each in zip(order, turn, strict=True):
            row.rounds.append(each)
        order.reverse()
    for row in rows:
        row.wrong = [words for each in row.rounds for words in _faults(each.result)]
    return rows


def _faults(result: Result) -> list[str]:
    faults = [
        f"{waits.count} answers with status {status}"
        for status, waits in result.by_status.items()
        if status != 200
    ]
    if result.broken:
        faults.append(f"{result.broken} calls without a whole answer")
    if 200 not in result.by_status:
        faults.append("no call was answered")
    return faults
