"""`make bench-policies`: what a verdict costs, by how many policies there are.

Each question is new to the memory of answers, so Cedar is asked each time. The sizes take turns in short rounds, and
the medians of the rounds count, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from statistics import median

import msgspec

from aegis_gateway.adapters.cedar import CedarPolicies, Files, PolicyCompiler
from aegis_gateway.domain.judge import PolicyRequest, judge
from aegis_gateway.domain.registry import Agent, Connector, Registry, Team
from aegis_gateway.entrypoints.collector import calm_collector
from bench.machine import Machine, this_machine

SIZES = (10, 100, 1_000, 10_000, 100_000)
ONE_TENANT_SIZES = (10, 1_000, 10_000)
TENANTS = 100
TEAMS, AGENTS_A_TEAM, ACTIONS = 20, 5, 20
SHARED = 10
ROUNDS, CALLS_A_ROUND = 15, 2_000
RATIO_AIM, P99_AIM_US = 1.2, 50.0

_RESULTS = Path(__file__).parent / "results"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """One number of policies, and what was measured with it. Times in microseconds, of one verdict."""

    policies: int
    tenants: int
    compile_s: float
    first_p50: float
    p50: float
    p99: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    on: str
    machine: Machine
    sizes: list[Size]
    memory_mib: float


def registry(tenant: str) -> Registry:
    """A tenant of twenty teams with five agents each."""
    teams = {
        f"team-{n}": Team(id=f"team-{n}", name="", cost_centre=f"CC-{n}", owner="ana") for n in range(TEAMS)
    }
    agents = {
        name: Agent(
            id=name,
            owner="ana",
            team=team,
            cost_centre="CC",
            purpose="bench",
            environment="production",
            budget="day",
        )
        for team in teams
        for name in (f"{team}-{n}" for n in range(AGENTS_A_TEAM))
    }
    pay = Connector(id="pay", kind="http", base_url="http://pay", region="eu")
    return Registry(
        tenant=tenant,
        name=tenant,
        zone="UTC",
        teams=teams,
        projects={},
        agents=agents,
        connectors={"pay": pay},
        models={},
        quantities={},
        budgets={},
        rates={},
    )


def files(tenant: str, own: int) -> Files:
    """Ten policies for every call of every tenant, and a tenant's own: for other teams, actions and places."""
    shared = "\n".join(
        f'@id("shared-{n}") {"permit" if n == 0 else "forbid"}(principal, action, resource) '
        # Not compared as it is, so that each amount is a question of its own.
        f"when {{ context.args.amount + 0 {'>=' if n == 0 else '<'} {-n} }};"
        for n in range(SHARED)
    )
    scopes = (
        'principal in Team::"other-{n}", action, resource',
        'principal, action == Action::"pay.other-{n}", resource',
        'principal in Tenant::"{tenant}", action, resource == Connector::"other-{n}"',
    )
    theirs = "\n".join(
        f'@id("own-{n}") forbid({scopes[n % len(scopes)].format(n=n, tenant=tenant)}) '
        f'when {{ context.args.amount > {n} && principal.purpose == "bench" }};'
        for n in range(own)
    )
    return (("shared.cedar", shared), (f"{tenant}.cedar", theirs))


class Subject:
    """One number of policies, compiled, and the times of its verdicts."""

    def __init__(self, policies: int, tenants: int) -> None:
        own = max(policies - SHARED, 0) // tenants
        names = [f"tenant-{n}" for n in range(tenants)]
        every = {name: files(name, own) for name in names}
        begin = time.perf_counter()
        compiled = PolicyCompiler().compile(every)
        self.compile_s = time.perf_counter() - begin
        self.policies, self.tenants = policies, tenants
        self.first: list[float] = []
        self.p50s: list[float] = []
        self.p99s: list[float] = []
        self._judges = {name: CedarPolicies(registry(name), compiled[name]) for name in names}
        self._amounts = count(1)
        self._questions = list(self._all_questions())

    def _all_questions(self) -> Iterator[tuple[CedarPolicies, str, str]]:
        chosen = random.Random(7)
        for judged in self._judges.values():
            for _ in range(2_000 // len(self._judges)):
                team, agent = chosen.randrange(TEAMS), chosen.randrange(AGENTS_A_TEAM)
                yield judged, f"team-{team}-{agent}", f"pay.do-{chosen.randrange(ACTIONS)}"

    def turn(self, calls: int) -> list[float]:
        """So many verdicts, each on a question never asked before; their times, in order."""
        times = []
        for n in range(calls):
            judged, agent, action = self._questions[n % len(self._questions)]
            request = PolicyRequest(
                agent=agent,
                action=action,
                resource_type="Connector",
                resource="pay",
                context={"args": {"amount": next(self._amounts)}},
            )
            begin = time.perf_counter_ns()
            verdict = judge(request, judged)
            times.append((time.perf_counter_ns() - begin) / 1_000)
            assert verdict.permits, "the shared policies permit it, and no other can match"
        return times

    def result(self) -> Size:
        """The medians of its turns."""
        return Size(
            policies=self.policies,
            tenants=self.tenants,
            compile_s=self.compile_s,
            first_p50=median(self.first),
            p50=median(self.p50s),
            p99=median(self.p99s),
        )


def main() -> int:
    """Measure, write the result down; the exit code says whether an aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.policies", description=__doc__)
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        machine = this_machine(Path(folder))
    subjects = [Subject(size, TENANTS) for size in SIZES] + [Subject(size, 1) for size in ONE_TENANT_SIZES]
    for subject in subjects:
        subject.first = subject.turn(2_000)
    calm_collector()
    for _ in range(ROUNDS):
        for subject in subjects:
            times = sorted(subject.turn(CALLS_A_ROUND))
            subject.p50s.append(times[len(times) // 2])
            subject.p99s.append(times[len(times) * 99 // 100])
    report = Report(
        on=datetime.now().astimezone().date().isoformat(),
        machine=machine,
        sizes=[subject.result() for subject in subjects],
        memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    text, missed = told(report)
    path = Path(options.results) / f"{report.on}-policies.md"
    path.write_text(text)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{text}\nwritten to {path}")
    return 1 if missed else 0


def told(report: Report) -> tuple[str, bool]:
    """A report as a page, and whether an aim was missed."""
    base = report.sizes[0].p50
    rows = [
        f"| {size.policies:,} | {size.tenants} | {size.p50:.1f} | {size.p50 / base:.2f} | {size.p99:.1f} | "
        f"{size.first_p50:.0f} | {size.compile_s:.2f} |"
        for size in report.sizes
    ]
    ratio = next(size.p50 for size in report.sizes if size.policies == 10_000) / base
    worst = max(size.p99 for size in report.sizes)
    missed = ratio > RATIO_AIM or worst >= P99_AIM_US
    machine = report.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return (
        f"# What a verdict costs, by the number of policies\n\n{report.on} · {machine.cpu}, {machine.cores} cores, "
        f"Python {machine.python}, {libraries} · revision {machine.revision}\n\n"
        "One `judge` with a question that no memory of answers has; ten policies hold for it and are evaluated. "
        "Microseconds.\n\n"
        "| policies | tenants | P50 | to the first | P99 | P50 of first questions | compiled in s |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"P50 at 10,000 over P50 at 10: {ratio:.2f} (aim: at most {RATIO_AIM}). "
        f"Highest P99: {worst:.1f} µs (aim: below {P99_AIM_US:.0f}). "
        f"Memory at its most: {report.memory_mib:,.0f} MiB.\n"
    ), missed


if __name__ == "__main__":
    sys.exit(main())
