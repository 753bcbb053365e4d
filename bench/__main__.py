"""`make bench`, `python -m bench`: measure, write the result down, and fail if anything was wrong.

It fails where a row's bill and ledger differ, where a call was answered otherwise than it should, and where Aegis
adds 20 ms or more at P99 to 32 callers; an aim that is missed is shown, and no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from bench.bodies import APIS, Kind
from bench.load import Plan, Result
from bench.machine import this_machine
from bench.report import Comparison, Overload, Report, compare, write
from bench.rounds import Generator, Patience, Row, measure, p50, p99, take_turns
from bench.targets import Aegis, Target, Targets
from bench.truth import Truth, billed, truth

CALLERS = (1, 32, 256)
CALLERS_2 = (32, 256)
NOVEL = "every call a new policy question"
OVERLOAD = 1.2
OVERLOAD_CONNECTIONS = 2_048
COLLAPSE = 0.5
"""The share of its capacity below which an overloaded gateway counts as collapsed."""
COLLAPSE_WAIT_US = 1_000_000
"""What half of the admitted calls may wait at most: beyond it the gateway queues instead of refusing."""

_RESULTS = Path(__file__).parent / "results"


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """How thoroughly to measure."""

    name: str
    turns: int
    seconds: float
    warm_up_s: float
    overload_s: float
    overload_warm_up_s: float
    starts: int
    patience_s: float


FULL = Mode(
    name="full",
    turns=5,
    seconds=1.7,
    warm_up_s=0.3,
    overload_s=6.0,
    overload_warm_up_s=5.0,
    starts=5,
    patience_s=60,
)
QUICK = Mode(
    name="quick",
    turns=1,
    seconds=0.6,
    warm_up_s=0.2,
    overload_s=1.5,
    overload_warm_up_s=4.0,
    starts=3,
    patience_s=4,
)


class Run:
    """One run over the targets."""

    def __init__(self, mode: Mode, targets: Targets, generator: Generator) -> None:
        self._mode = mode
        self.patience = Patience(mode.patience_s)
        self._targets = targets
        self._generator = generator
        pid = targets.provider.pid
        assert pid is not None, "the provider runs"
        self._provider_pid = pid
        self.rows: list[Row] = []
        self.comparisons: list[Comparison] = []
        self.truths: dict[str, Truth] = {}

    def everything(self) -> Overload:
        """All rows; the overload comes last."""
        there = self._targets
        for stream in (False, True):
            for callers in CALLERS:
                _, relay, aegis = self._turns(
                    [there.direct, there.relay, there.aegis], callers, stream=stream
                )
                self.comparisons.append(compare(aegis, relay))
        for callers in CALLERS_2:
            relay, aegis = self._turns([there.relay_2, there.aegis_2], callers)
            self.comparisons.append(compare(aegis, relay))
        self._turns([there.aegis], 32, kind="novel", note=NOVEL)
        for api in APIS:
            self._turns([there.direct, there.aegis], 32, kind=api, note=api)
        return self._overload()

    def _turns(
        self,
        targets: list[Target],
        callers: int,
        *,
        stream: bool = False,
        kind: Kind = "varied",
        note: str = "",
    ) -> list[Row]:
        """Measure targets in turns, check the gateways among them, and note the rows."""
        rows = take_turns(
            self._generator,
            self._provider_pid,
            targets,
            lambda target: self._plan(target, callers, stream=stream, kind=kind),
            self._mode.turns,
            self.patience,
        )
        for target, row in zip(targets, rows, strict=True):
            row.note = note
            if isinstance(target, Aegis):
                row.wrong = row.wrong + self._check(target)
            _tell(row)
        self.rows += rows
        return rows

    def _plan(self, target: Target, callers: int, *, stream: bool = False, kind: Kind = "varied") -> Plan:
        return Plan(
            port=target.port,
            key=target.key,
            callers=callers,
            seconds=self._mode.seconds,
            warm_up_s=self._mode.warm_up_s,
            stream=stream,
            kind=kind,
        )

    def _check(self, aegis: Aegis) -> list[str]:
        bill = partial(billed, self._targets.provider, aegis.account)
        found = self.truths[aegis.name] = truth(aegis, bill)
        return found.faults()

    def _overload(self) -> Overload:
        """Find out what the gateway can do now, then offer it more, by schedule."""
        mode, aegis = self._mode, self._targets.aegis
        while True:
            begin = time.monotonic()
            plan = self._plan(aegis, OVERLOAD_CONNECTIONS // 8)
            before = [
                measure(self._generator, self._provider_pid, aegis, plan)
                for _ in range(max(mode.turns // 2, 1))
            ]
            capacity = median(each.result.per_second() for each in before)
            plan = msgspec.structs.replace(
                plan,
                callers=OVERLOAD_CONNECTIONS,
                seconds=mode.overload_s,
                warm_up_s=mode.overload_warm_up_s,
                rate=round(capacity * OVERLOAD),
            )
            done = measure(self._generator, self._provider_pid, aegis, plan)
            if not self.patience.repeats([*before, done], time.monotonic() - begin):
                break
        result = done.result
        return Overload(
            capacity=capacity,
            offered=plan.rate or 0,
            admitted=result.per_second(),
            refused=result.per_second(503),
            admitted_p50_us=p50(result),
            admitted_p99_us=p99(result),
            refused_p50_us=p50(result, 503),
            refused_p99_us=p99(result, 503),
            generator_late_us_p99=result.late_us_p99,
            held=result.held,
            cpu_us=done.cpu_us,
            others=done.others + done.stolen,
            wrong=[*_overload_faults(result, capacity), *self._check(aegis)],
        )


def _overload_faults(result: Result, capacity: float) -> list[str]:
    faults = [
        f"{waits.count} answers with status {status}"
        for status, waits in result.by_status.items()
        if status not in (200, 503)
    ]
    if result.broken:
        faults.append(f"{result.broken} calls without a whole answer")
    if result.per_second() < COLLAPSE * capacity:
        faults.append(f"it collapsed: {result.per_second():,.0f} of {capacity:,.0f} calls per second")
    if p50(result) >= COLLAPSE_WAIT_US:
        faults.append(f"it collapsed: half of the admitted calls waited {p50(result) / 1e6:.1f} s or more")
    return faults


def main() -> int:
    """Measure as the command line says; the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    mode = QUICK if options.quick else FULL
    if options.patience is not None:
        mode = msgspec.structs.replace(mode, patience_s=options.patience)
    begin = time.monotonic()
    with _folder(options.data) as folder:
        machine = this_machine(folder)
        targets = Targets(folder, mode.starts)
        try:
            generator = Generator()
            try:
                run = Run(mode, targets, generator)
                overload = run.everything()
            finally:
                generator.close()
        finally:
            targets.stop()
    report = Report(
        on=datetime.now().astimezone().date(),
        mode=mode.name,
        seconds=time.monotonic() - begin,
        repeated=run.patience.repeated,
        machine=machine,
        rows=run.rows,
        comparisons=run.comparisons,
        overload=overload,
        ready_s=targets.ready_s,
        truths=run.truths,
    )
    path = write(report, Path(options.results), options.label or mode.name)
    print(f"\n{path.read_text()}\nwritten to {path} and {path.with_suffix('.json').name}")
    for fault in report.faults:
        print(f"failed: {fault}", file=sys.stderr)
    return 1 if report.faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Aegis against a bare relay."
    )
    parser.add_argument("--quick", action="store_true", help="under 40 s instead of under 6 min, and noisier")
    parser.add_argument(
        "--patience",
        type=float,
        help="seconds to spend on measuring again what others on the machine disturbed (default: 60, quick: 4)",
    )
    parser.add_argument("--label", help="the result's name after the date (default: the mode)")
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    parser.add_argument(
        "--data", help="where the databases are while it runs: a disk, not memory (default: /var/tmp)"
    )
    return parser.parse_args()


@contextlib.contextmanager
def _folder(data: str | None) -> Iterator[Path]:
    """A directory for the databases, on a disk: /tmp is memory on many machines, /var/tmp is not."""
    place = data or ("/var/tmp" if Path("/var/tmp").is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="aegis-bench-", dir=place) as name:
        yield Path(name)


def _tell(row: Row) -> None:
    waits = f"P50 {row.wait_us(p50) / 1_000:7.2f} ms  P99 {row.wait_us(p99) / 1_000:7.2f} ms"
    answer = "stream" if row.stream else "whole"
    print(
        f"{row.target:24} {row.callers:4} callers  {answer:6} {row.per_second:8,.0f} calls/s  {waits}  "
        f"others {row.others:.0%}  {row.note}{'; '.join(row.wrong)}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
