"""`make bench-pages`: what pages that are open cost the calls behind them, and how late they are.

One gateway (SQLite, one worker) is offered a steady stream of calls. Rounds take turns: nobody looks; the overview, the
calls and a budget are read from elsewhere; they are open in a real browser here; nobody looks again. Within a turn the
ratio is taken of the calls' waits with pages and without, and of both rounds without, which says what the machine's own
noise is; of turns the median counts.

A browser here draws on the cores that the gateway runs on, so it costs calls what anything else would that keeps these
busy. What the *gateway* pays for open pages is told by the round in which they are read from elsewhere (`readers.py`):
then all is asked that a browser asks, and nothing is drawn.

A page is as late as the time from a call's settlement, by the ledger, until the page shows it: the first total, or the
first newest call, that has it in it. That is worked out for every call of the rounds, from what the pages noted of
themselves (`pages_seen.py`). At the end each page says what the ledger says, or the run has failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median

import msgspec
from playwright.sync_api import Browser

from aegis_gateway.demo.upstream.process import UpstreamProcess
from bench.load import Plan
from bench.machine import Machine, this_machine
from bench.pages_seen import Late, Looking, Memory, lateness
from bench.processes import memory_mib
from bench.rounds import Generator, Round, measure, p50, p99
from bench.targets import Aegis, configuration
from bench.truth import billed, truth
from tests.chromium import chromium

RATES = (1_000, 700, 500, 350, 250, 150)
CALLERS = 64
TRY_S = 4.0
BORNE = 0.97
"""The share of what is offered that has to be answered, in half a second at P99."""
BORNE_P99_US = 500_000
AIM_LATE_S = 1.0
_RESULTS = Path(__file__).parent / "results"
_ROLES = ("worker", "ledger", "pages", "steward")
_KEY = "sk-bench-pages-0001"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Four rounds: nobody looks, pages are read elsewhere, they are open here, nobody looks."""

    before: Round
    elsewhere: Round
    here: Round
    after: Round

    def ratio(self, what: str, looking: Round) -> float:
        """How a wait in a round with pages is to that without."""
        figure = p50 if what == "p50" else p99
        without = (figure(self.before.result) + figure(self.after.result)) / 2
        return figure(looking.result) / max(without, 1)

    def noise(self, what: str) -> float:
        """How the two waits without pages are to each other."""
        figure = p50 if what == "p50" else p99
        return figure(self.after.result) / max(figure(self.before.result), 1)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    on: str
    machine: Machine
    rate: int
    seconds: float
    calls: int
    turns: list[Turn]
    late: dict[str, Late]
    mib: dict[str, list[float]]
    tabs: dict[str, list[Memory]]
    asked: int
    wrong: list[str]


def run(options: argparse.Namespace, folder: Path, browser: Browser) -> Report:
    """Measure."""
    with UpstreamProcess(apps="provider", keys=[_KEY]) as provider:
        pid = provider.pid
        assert pid is not None, "the provider runs"
        aegis = Aegis("Aegis", configuration(provider.base_url), _KEY, folder / "one", 1)
        generator = Generator()
        try:
            rate = _bearable(generator, pid, aegis, options.rate)
            with Looking(browser, aegis) as looking:
                turns: list[Turn] = []
                mib: dict[str, list[float]] = {role: [] for role in _ROLES}
                plan = _plan(aegis, rate, options.seconds)
                for _ in range(options.turns):
                    before = measure(generator, pid, aegis, plan)
                    _note_memory(aegis, mib)
                    with looking.elsewhere():
                        elsewhere = measure(generator, pid, aegis, plan)
                    looking.look()
                    here = measure(generator, pid, aegis, plan)
                    looking.rest()
                    _note_memory(aegis, mib)
                    after = measure(generator, pid, aegis, plan)
                    turns.append(Turn(before=before, elsewhere=elsewhere, here=here, after=after))
                    _tell(turns[-1], rate)
                looking.look()
                wrong = looking.differences()
                late = lateness(aegis.database, looking.spans, looking.seen())
            found = truth(aegis, lambda: billed(provider, aegis.account))
        finally:
            generator.close()
            aegis.stop()
    rounds = [each for turn in turns for each in (turn.before, turn.elsewhere, turn.here, turn.after)]
    wrong += found.faults()
    wrong += [f"{each.result.broken} calls broke off" for each in rounds if each.result.broken]
    return Report(
        on=datetime.now().astimezone().isoformat(timespec="minutes"),
        machine=this_machine(folder),
        rate=rate,
        seconds=options.seconds,
        calls=found.settled_calls,
        turns=turns,
        late=late,
        mib=mib,
        tabs=looking.memory,
        asked=sum(looking.asked.values()),
        wrong=wrong,
    )


def _plan(aegis: Aegis, rate: int, seconds: float) -> Plan:
    return Plan(port=aegis.port, key=aegis.key, callers=CALLERS, seconds=seconds, warm_up_s=1.0, rate=rate)


def _bearable(generator: Generator, provider_pid: int, aegis: Aegis, wanted: int) -> int:
    """The rate that was wanted, or the greatest below it that this machine bears just now without any page."""
    for rate in (wanted, *(each for each in RATES if each < wanted)):
        result = measure(generator, provider_pid, aegis, _plan(aegis, rate, TRY_S)).result
        is_borne = (
            result.per_second() >= BORNE * rate
            and p99(result) <= BORNE_P99_US
            and set(result.by_status) == {200}
        )
        print(
            f"{rate} calls/s: {result.per_second():.0f} answered, P99 {p99(result) / 1_000:.0f} ms",
            flush=True,
        )
        if is_borne:
            return rate
    return RATES[-1]


def _note_memory(aegis: Aegis, mib: dict[str, list[float]]) -> None:
    roles = aegis.processes()
    for role, noted in mib.items():
        noted.append(sum(map(memory_mib, roles.get(role, []))))


def _tell(turn: Turn, rate: int) -> None:
    rounds = {"without": turn.before, "elsewhere": turn.elsewhere, "here": turn.here, "again": turn.after}
    for name, each in rounds.items():
        result = each.result
        print(
            f"{name:9} {rate:5} calls/s  P50 {p50(result) / 1_000:7.2f} ms  P99 {p99(result) / 1_000:7.2f} ms  "
            f"others {each.others:.0%}",
            flush=True,
        )


def written(report: Report) -> str:
    """The result as people read it."""
    turns, machine = report.turns, report.machine
    rows = [
        ("without pages", [each.before for each in turns]),
        ("three pages read elsewhere", [each.elsewhere for each in turns]),
        ("three pages open here", [each.here for each in turns]),
        ("without pages, again", [each.after for each in turns]),
    ]
    lines = [
        f"# Open pages, {report.on}",
        "",
        f"{report.rate:,} calls/s offered, {len(turns)} turns of four rounds of {report.seconds:g} s, "
        f"{report.calls:,} calls; overview, calls and one budget, read by a program as a browser elsewhere would "
        f"({report.asked / (report.seconds * len(turns)):.1f} requests/s), or open in Chromium on the same cores.",
        "",
        "CPU is in µs per call; the browser is among the others on the machine.",
        "",
        f"| | calls/s | P50 ms | P99 ms | {' | '.join(_ROLES)} | others |",
        f"|---|---:|---:|---:|{'---:|' * len(_ROLES)}---:|",
    ]
    for name, rounds in rows:
        per_second = median(each.result.per_second() for each in rounds)
        wait_50, wait_99 = (median(figure(each.result) for each in rounds) / 1_000 for figure in (p50, p99))
        used = " | ".join(f"{median(each.cpu_us.get(role, 0) for each in rounds):.0f}" for role in _ROLES)
        others = median(each.others for each in rounds)
        figures = f"{per_second:,.0f} | {wait_50:.2f} | {wait_99:.2f} | {used} | {others:.0%}"
        lines.append(f"| {name} | {figures} |")
    lines += ["", "| calls' wait, within a turn | P50 | P99 | range of P99 |", "|---|---:|---:|---|"]
    takes: dict[str, Callable[[Turn, str], float]] = {
        "read elsewhere / without": lambda turn, what: turn.ratio(what, turn.elsewhere),
        "open here / without": lambda turn, what: turn.ratio(what, turn.here),
        "without / without (noise)": Turn.noise,
    }
    for name, take in takes.items():
        both = {what: sorted(take(each, what) for each in turns) for what in ("p50", "p99")}
        lines.append(
            f"| {name} | {median(both['p50']):.2f} | {median(both['p99']):.2f} "
            f"| {both['p99'][0]:.2f} to {both['p99'][-1]:.2f} |"
        )
    lines += ["", "| page | calls looked for | late P50 s | P99 s | worst s |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {name} | {each.calls:,} | {each.p50_s:.2f} | {each.p99_s:.2f} | {each.worst_s:.2f} |"
        for name, each in report.late.items()
    ]
    lines += ["", "| memory | first | last |", "|---|---:|---:|"]
    lines += [f"| {role}, MiB | {noted[0]:.0f} | {noted[-1]:.0f} |" for role, noted in report.mib.items()]
    lines += [
        f"| {name}: JavaScript MiB, nodes | {found[0].told} | {found[-1].told} |"
        for name, found in report.tabs.items()
    ]
    lines += [
        "",
        f"Missed: {'; '.join(report.wrong) or 'nothing; at the end each page says what the ledger says'}.",
    ]
    lines += [
        "",
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.kernel}, {machine.filesystem}; "
        f"Python {machine.python}; {', '.join(f'{name} {of}' for name, of in machine.libraries.items())}; "
        f"commit {machine.revision}.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure as the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.pages", description="Measure what open pages cost."
    )
    parser.add_argument(
        "--rate", type=int, default=RATES[0], help="calls per second to offer (default: 1000)"
    )
    parser.add_argument("--turns", type=int, default=5, help="turns of four rounds each (default: 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a round is (default: 10)")
    parser.add_argument("--label", default="pages", help="the result's name after the date (default: pages)")
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aegis-bench-", dir="/var/tmp") as name, chromium() as browser:
        report = run(options, Path(name), browser)
    path = Path(options.results) / f"{datetime.now().astimezone().date()}-{options.label}.md"
    path.write_text(written(report))
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"\n{path.read_text()}\nwritten to {path} after {time.monotonic() - began:.0f} s")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
