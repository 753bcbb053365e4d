"""`make bench-telemetry`: what spans and metrics cost a gateway, whatever becomes of their receiver.

Four gateways, alike but for their telemetry: none; a receiver that takes all at once; one that takes connections and
never answers; one that isn't there. They take turns in short rounds over the same chats of the bundled provider, and
each figure is compared with that of the gateway without telemetry in the same turn. Besides, how much memory the
workers have before, after, and after some more rounds, since what waits to be sent is bounded and no more than that may
be held; and where the spans went: received, or lost by the log's word.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

import msgspec

from aegis_gateway.demo.upstream.process import UpstreamProcess
from bench.load import Plan, Result
from bench.machine import Machine, this_machine
from bench.processes import free_port
from bench.rounds import DISTURBED, Generator, Patience, Row, p50, p99, take_turns
from bench.targets import Aegis, Target, configuration
from bench.truth import billed, truth

CALLERS = (1, 32)
TURNS = 9
SECONDS = 1.5
SENT_WITHIN_S = 30.0

OFF, LIVE, HANGS, DOWN = "off", "live receiver", "receiver hangs", "receiver is down"
_LIBRARIES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-proto")
_RESULTS = Path(__file__).parent / "results"
_LOST = re.compile(r"spans were lost: ([^;]*);")
_COUNT = re.compile(r"([0-9,]+) \(([^)]*)\)")


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway under one load, beside the one without telemetry: shares and differences of the same turns."""

    telemetry: str
    callers: int
    per_second: float
    share: float
    share_range: tuple[float, float]
    p50_us: float
    p99_us: float
    added_p50_us: float
    added_p99_us: float
    added_p99_range_us: tuple[float, float]
    worker_cpu_us: float
    others: float
    wrong: list[str]


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway's worker holds before the rounds, after them, and after half as many again; and what became of its
    spans.
    """

    telemetry: str
    before_mib: float
    after_mib: float
    later_mib: float
    calls: int
    received: int
    lost: dict[str, int]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    at: str
    machine: Machine
    libraries: dict[str, str]
    turns: int
    rows: list[Compared]
    memory: list[Memory]


class Receiver:
    """The receiver's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.otlp_receiver"],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None, "it is a pipe"
        self.live, self.mute = map(int, self._process.stdout.readline().split())

    def spans(self) -> int:
        """How many have come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.live, timeout=SENT_WITHIN_S)
        with contextlib.closing(connection):
            connection.request("GET", "/spans")
            return int(connection.getresponse().read())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Watched:
    """A gateway, and what is told of its spans and memory."""

    def __init__(self, telemetry: str, aegis: Aegis, folder: Path) -> None:
        self.telemetry = telemetry
        self.aegis = aegis
        self._log = folder / "log"
        self.before_mib = self.memory_mib()

    def memory_mib(self) -> float:
        """What its worker holds."""
        (worker, *_) = self.aegis.processes()["worker"]
        pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def lost(self) -> dict[str, int]:
        """How many spans its log says were lost, by why."""
        found: dict[str, int] = {}
        for told in _LOST.findall(self._log.read_text(errors="replace")):
            for count, why in _COUNT.findall(told):
                found[why] = found.get(why, 0) + int(count.replace(",", ""))
        return found


@contextlib.contextmanager
def gateways(folder: Path, receiver: Receiver) -> Iterator[tuple[UpstreamProcess, list[Watched]]]:
    """The provider, and a gateway for each state of a receiver."""
    ports = {OFF: None, LIVE: receiver.live, HANGS: receiver.mute, DOWN: free_port()}
    keys = {name: f"sk-bench-telemetry-{number}" for number, name in enumerate(ports)}
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(UpstreamProcess(apps="provider", keys=list(keys.values())))
        made = []
        for number, (name, port) in enumerate(ports.items()):
            variables = {} if port is None else {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
            place = folder / f"gateway-{number}"
            aegis = Aegis(name, configuration(provider.base_url), keys[name], place, 1, variables)
            stack.callback(aegis.stop)
            made.append(Watched(name, aegis, place))
        yield provider, made


def measure(
    folder: Path, patience: Patience, turns: int, seconds: float
) -> tuple[list[Compared], list[Memory]]:
    """All rows, and what became of memory and spans."""
    rows: list[Compared] = []
    with contextlib.ExitStack() as stack:
        receiver = Receiver()
        stack.callback(receiver.close)
        generator = Generator()
        stack.callback(generator.close)
        provider, watched = stack.enter_context(gateways(folder, receiver))
        assert provider.pid is not None, "the provider runs"
        targets = [each.aegis for each in watched]
        for callers in CALLERS:
            found = take_turns(generator, provider.pid, targets, _plan(callers, seconds), turns, patience)
            for each, row in zip(targets, found, strict=True):
                row.wrong += truth(each, partial(billed, provider, each.account)).faults()
            rows += [_compared(callers, row, found[0]) for row in found]
        after_mib = [each.memory_mib() for each in watched]
        further = _plan(CALLERS[-1], seconds)
        take_turns(generator, provider.pid, targets, further, (turns + 1) // 2, Patience(0))
        memory = [
            _settled(each, mib, provider, receiver) for each, mib in zip(watched, after_mib, strict=True)
        ]
    return rows, memory


def _plan(callers: int, seconds: float) -> Callable[[Target], Plan]:
    return lambda target: Plan(port=target.port, key=target.key, callers=callers, seconds=seconds)


def _compared(callers: int, row: Row, off: Row) -> Compared:
    pairs = [(ours.result, bare.result) for ours, bare in zip(row.rounds, off.rounds, strict=True)]
    shares = [ours.per_second() / bare.per_second() for ours, bare in pairs]

    def added(wait: object) -> list[float]:
        assert callable(wait), "it is a figure of a result"
        return [float(wait(ours) - wait(bare)) for ours, bare in pairs]

    added_p99 = added(p99)
    waits: list[Result] = [each.result for each in row.rounds]
    return Compared(
        telemetry=row.target,
        callers=callers,
        per_second=row.per_second,
        share=median(shares),
        share_range=(min(shares), max(shares)),
        p50_us=median(map(p50, waits)),
        p99_us=median(map(p99, waits)),
        added_p50_us=median(added(p50)),
        added_p99_us=median(added_p99),
        added_p99_range_us=(min(added_p99), max(added_p99)),
        worker_cpu_us=row.cpu_us()["worker"],
        others=row.others,
        wrong=row.wrong,
    )


def _settled(each: Watched, after_mib: float, provider: UpstreamProcess, receiver: Receiver) -> Memory:
    """What is left when a gateway has stopped, and so sent or given up its last spans."""
    later_mib = each.memory_mib()
    calls, _ = billed(provider, each.aegis.account)
    each.aegis.stop()
    received = 0
    if each.telemetry == LIVE:
        deadline = time.monotonic() + SENT_WITHIN_S
        while (received := receiver.spans()) + sum(
            each.lost().values()
        ) < calls and time.monotonic() < deadline:
            time.sleep(0.1)
    return Memory(
        telemetry=each.telemetry,
        before_mib=each.before_mib,
        after_mib=after_mib,
        later_mib=later_mib,
        calls=calls,
        received=received,
        lost=each.lost(),
    )


def told(report: Report) -> str:
    """The report as people read it."""
    machine = report.machine
    libraries = ", ".join(
        f"{name} {each}" for name, each in {**machine.libraries, **report.libraries}.items()
    )
    lines = [
        "# What telemetry costs the gateway",
        "",
        f"{report.at} · {machine.cpu}, {machine.cores} cores, Python {machine.python}, {libraries} · revision "
        f"{machine.revision}",
        "",
        f"{report.turns} turns; shares and differences are to the gateway without telemetry in the same turn, medians "
        "of all turns with the range beside them. `others`: what other processes took of the machine meanwhile.",
        "",
        "| telemetry | callers | calls a second | of off | P50 ms | P99 ms | added P50 | added P99 | worker CPU µs "
        "| others |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report.rows:
        low, high = row.share_range
        least, most = row.added_p99_range_us
        is_off = row.telemetry == OFF
        lines.append(
            f"| {row.telemetry} | {row.callers} | {row.per_second:,.0f} | "
            + ("" if is_off else f"{row.share:.0%} ({low:.0%} to {high:.0%})")
            + f" | {row.p50_us / 1e3:.2f} | {row.p99_us / 1e3:.2f} | "
            + ("" if is_off else f"{row.added_p50_us / 1e3:+.2f}")
            + " | "
            + ("" if is_off else f"{row.added_p99_us / 1e3:+.2f} ({least / 1e3:+.1f} to {most / 1e3:+.1f})")
            + f" | {row.worker_cpu_us:,.0f} | {row.others:.0%} |"
        )
    lines += [
        "",
        "## Memory of a worker, and its spans",
        "",
        "| telemetry | before MiB | after MiB | after more MiB | calls | spans received | lost, by the log |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in report.memory:
        lost = ", ".join(f"{count:,} ({why})" for why, count in sorted(each.lost.items())) or "–"
        lines.append(
            f"| {each.telemetry} | {each.before_mib:.0f} | {each.after_mib:.0f} | {each.later_mib:.0f} "
            f"| {each.calls:,} | {each.received:,} | {lost} |"
        )
    disturbed = max(row.others for row in report.rows)
    if disturbed > DISTURBED:
        lines += ["", f"The machine was busy with other work meanwhile: up to {disturbed:.0%} of it."]
    return "\n".join(lines) + "\n"


def faults(report: Report) -> list[str]:
    """What was wrong: bills that don't agree, and spans that nobody has an account of."""
    found = [f"{row.telemetry}: {words}" for row in report.rows for words in row.wrong]
    for each in report.memory:
        accounted = each.received + sum(each.lost.values())
        if each.telemetry != OFF and accounted < each.calls:
            found.append(
                f"{each.telemetry}: of {each.calls} spans {accounted} were received or said to be lost"
            )
    return found


def main() -> int:
    """Measure, write the result down; the exit code says whether something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry", description=__doc__)
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, noisier")
    options = parser.parse_args()
    turns, seconds, patience = (3, 0.6, 4.0) if options.quick else (TURNS, SECONDS, 30.0)
    place = "/var/tmp" if Path("/var/tmp").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="aegis-bench-", dir=place) as name:
        folder = Path(name)
        machine = this_machine(folder)
        rows, memory = measure(folder, Patience(patience), turns, seconds)
    now = datetime.now(UTC)
    report = Report(
        at=f"{now:%Y-%m-%d %H:%M} UTC",
        machine=machine,
        libraries={name: version(name) for name in _LIBRARIES},
        turns=turns,
        rows=rows,
        memory=memory,
    )
    text = told(report)
    path = Path(options.results) / f"{now:%Y-%m-%d}-telemetry.md"
    path.write_text(text)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{text}\nwritten to {path}")
    wrong = faults(report)
    for words in wrong:
        print(f"failed: {words}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
