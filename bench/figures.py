"""`make bench-figures`: what key figures of a year of ten million calls take, and what keeping them costs each call.

The year is made up: the sums of 10 million calls of 60 agents, by hour, day and fortnight, as the ledger would have
kept them, with outcomes of every agent's work each day. Asked are the figures as `aegis kpi`, `/api/v1/kpi` and `/kpi`
ask for them, by agent; median and slowest of some rounds. Then a ledger decides and settles batches of calls: without
a request to be known again, with one that nobody made before, and with one that was settled before; with and without
an outcome of their runs. Times on SQLite are of the processor, as nothing but the disk is waited for. `--url` measures
a PostgreSQL database, which has to be empty, by the clock.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import (
    Admit,
    ArgumentsRecord,
    Attribution,
    Command,
    Settle,
    TellOutcome,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, OutcomeSumRow, Store, UsageRow
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.outcome import RESULTS, OutcomeKey, OutcomeSum, Report
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.quote import CALLS, USD, Quote
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.usage import DAY_NS, FORTNIGHT_NS, SPANS, Span, UsageKey, UsageSum, together
from aegis_gateway.entrypoints.figures import key_figures
from bench.machine import Machine, this_machine
from bench.policies import registry as bench_registry

DAYS, AGENTS, CALLS_OF_YEAR = 365, 60, 10_000_000
HOURS_OF_DAY = 8
ROUNDS = 15
AIM_MS = 200.0
BATCH, BATCHES = 64, 120
TENANT = "acme"
NOW_NS = 1_795_435_200_000_000_000

_RESULTS = Path(__file__).parent / "results"
_KINDS = (
    ("openai", "chat", "gpt-4.1", "allow", "", ""),
    ("openai", "chat", "gpt-4o-mini", "allow", "", ""),
    ("shop", "shop.search", "", "allow", "", ""),
    ("openai", "chat", "gpt-4.1", "deny", "budget_exhausted", "budget:day"),
    ("shop", "shop.pay", "", "require_approval", "approval_required", "large-payments"),
)
_PERMITTED = Verdict(effect="allow", reasons=(Reason(code="permitted", message="policy `p` permits this"),))


class Clock:
    """A clock that goes on by a millisecond each time it is read."""

    def __init__(self) -> None:
        self.at_ns = NOW_NS

    def now_ns(self) -> int:
        """Now."""
        self.at_ns += 1_000_000
        return self.at_ns


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was measured, in milliseconds, or in microseconds of a call."""

    what: str
    unit: str
    median: float
    slowest: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    on: str
    machine: Machine
    store: str
    times: str
    calls: int
    rows: int
    lines: list[Line]


def a_year(store: Store) -> tuple[int, int]:
    """Write the sums of a year. Gives how many calls and rows they are."""
    chance = random.Random(1)
    each_hour = CALLS_OF_YEAR // (DAYS * AGENTS * HOURS_OF_DAY * len(_KINDS))
    calls = rows = 0
    first = NOW_NS - NOW_NS % DAY_NS - DAYS * DAY_NS
    fortnights: dict[tuple[int, UsageKey], UsageSum] = {}
    for day in range(DAYS):
        found: list[UsageRow] = []
        work: list[OutcomeSumRow] = []
        for agent, kind in itertools.product(range(AGENTS), _KINDS):
            key = _key(agent, kind)
            day_sums = UsageSum()
            for hour in chance.sample(range(24), HOURS_OF_DAY):
                sums = _sums(chance, key, each_hour)
                day_sums = UsageSum(
                    *map(sum, zip(*map(msgspec.structs.astuple, (day_sums, sums)), strict=True))
                )
                start_ns = first + day * DAY_NS + hour * SPANS["hour"]
                found.append(UsageRow(tenant=TENANT, span="hour", start_ns=start_ns, key=key, sums=sums))
            start_ns = first + day * DAY_NS
            found.append(UsageRow(tenant=TENANT, span="day", start_ns=start_ns, key=key, sums=day_sums))
            place = (start_ns - start_ns % FORTNIGHT_NS, key)
            fortnights[place] = together(fortnights.get(place, UsageSum()), day_sums)
            calls += day_sums.calls
        start_ns = first + day * DAY_NS
        for agent, result in itertools.product(range(AGENTS), RESULTS):
            told = OutcomeSum(trees=9, begun=9, transactions=11, cost=8_000_000, claimed=90_000_000)
            of = OutcomeKey(
                agent=f"agent-{agent}", team=f"team-{agent % 9}", project="", cost_centre=f"CC-{agent % 9}",
                environment="production", result=result,
            )  # fmt: skip
            spans: tuple[Span, ...] = ("day", "fortnight")
            for span in spans:
                at_ns = start_ns - start_ns % SPANS[span]
                work.append(OutcomeSumRow(tenant=TENANT, span=span, start_ns=at_ns, key=of, sums=told))
        with store.lock([TENANT]) as locked:
            locked.write(Changes(usage=found, outcome_sums=work))
        rows += len(found) + len(work)
    longest = [
        UsageRow(tenant=TENANT, span="fortnight", start_ns=at_ns, key=key, sums=sums)
        for (at_ns, key), sums in fortnights.items()
    ]
    with store.lock([TENANT]) as locked:
        locked.write(Changes(usage=longest))
    return calls, rows + len(longest)


def _key(agent: int, kind: tuple[str, ...]) -> UsageKey:
    connector, tool, model, effect, code, rule = kind
    return UsageKey(
        agent=f"agent-{agent}", team=f"team-{agent % 9}", project="", cost_centre=f"CC-{agent % 9}",
        environment="production", connector=connector, tool=tool, model=model, effect=effect, code=code, rule=rule,
    )  # fmt: skip


def _sums(chance: random.Random, key: UsageKey, each: int) -> UsageSum:
    calls = max(1, chance.randrange(2 * each))
    if key.effect != "allow":
        return UsageSum(calls=calls, expected=calls * 700_000)
    return UsageSum(
        calls=calls, transactions=calls // 4, settled_calls=calls, cost=calls * 650_000, expected=calls * 700_000,
        tokens=calls * 900, output_tokens=calls * 200, repeats=calls // 20, repeated=calls // 20 * 650_000,
    )  # fmt: skip


def timed(ask: Callable[[], object], rounds: int, clock_ns: Callable[[], int]) -> list[float]:
    """How long it takes, in milliseconds."""
    times = []
    for _ in range(rounds):
        began = clock_ns()
        ask()
        times.append((clock_ns() - began) / 1e6)
    return times


def year_lines(store: Store, registry: Registry, clock_ns: Callable[[], int]) -> Iterator[Line]:
    """What figures of a year, a month and a day take."""
    for words, days in (("a year", DAYS), ("90 days", 90), ("30 days", 30), ("a day", 1)):
        since_ns = NOW_NS - days * DAY_NS

        def ask(since_ns: int = since_ns) -> object:
            return key_figures(store.query, registry, since_ns, NOW_NS, NOW_NS, "agent")

        ask()
        times = timed(ask, ROUNDS, clock_ns)
        yield Line(what=f"figures of {words}, by agent", unit="ms", median=median(times), slowest=max(times))


def call_lines(store: Store, clock_ns: Callable[[], int]) -> Iterator[Line]:
    """What deciding and settling a call takes in a batch, by what there is to find of it."""
    ledger, numbers = Ledger(store), itertools.count()
    outcomes = [
        TellOutcome(
            call=run_of(place),
            tenant=TENANT,
            number=run_of(place)[4:24],
            report=Report(result="success"),
            by=who(place),
        )
        for place in range(BATCH)
    ]
    kinds: tuple[tuple[str, Callable[[int], int | None]], ...] = (
        ("no request to be known again", lambda _: None),
        ("a request that is new", lambda number: number + 1_000_000),
        ("a request that was settled before", lambda number: number % BATCH),
    )
    for reported in (False, True):
        if reported:
            ledger.process(outcomes)
        collected: dict[str, list[float]] = {words: [] for words, _ in kinds}
        for _ in range(BATCHES):  # in turns: whatever else the machine does hits all alike
            for words, request in kinds:
                names = [next(numbers) for _ in range(BATCH)]
                admits: list[Command] = [
                    admission(f"call_{number}", place, request(number)) for place, number in enumerate(names)
                ]
                settles: list[Command] = [settled(f"call_{number}") for number in names]
                began = clock_ns()
                ledger.process(admits)
                ledger.process(settles)
                collected[words].append((clock_ns() - began) / 1e3 / BATCH)
        for words, times in collected.items():
            runs = "in runs with an outcome" if reported else "in runs without an outcome"
            yield Line(what=f"{words}, {runs}", unit="µs a call", median=median(times), slowest=max(times))


def run_of(place: int) -> str:
    """The run that a batch's calls at a place are of."""
    return f"run_{place:020x}{'0' * 16}"


def who(place: int) -> Attribution:
    """Whom they are put down to."""
    return Attribution(
        agent="agent-1", team="team-1", cost_centre="CC-1", owner="ann@example.com", purpose="bench",
        environment="production", key="key_1", connector="openai", tool="chat", model="gpt-4.1", run=run_of(place),
    )  # fmt: skip


def admission(name: str, place: int, request: int | None) -> Admit:
    """A call as it is decided."""
    return Admit(
        call=name, tenant=TENANT, epoch=1, attribution=who(place), verdict=_PERMITTED,
        arguments=ArgumentsRecord(salt=b"0" * 16, digest="d" * 64, hmac="h" * 64, summary={"model": "gpt-4.1"}),
        policy_version="p", config_version=1, request=request,
        quote=Quote(expected={USD: 700_000, CALLS: 1}, maximum={USD: 900_000, CALLS: 1}),
    )  # fmt: skip


def settled(name: str) -> Settle:
    """What it came to."""
    lines = (charge_line("input", 650, "token", UnitPrice(nano_usd=1_000), "c1"),)
    return Settle(call=name, tenant=TENANT, evidence=Evidence(source="usage", lines=lines))


def table(result: Result) -> str:
    """The result for people."""
    machine = result.machine
    rows = "\n".join(
        f"| {each.what} | {each.median:.1f} {each.unit} | {each.slowest:.1f} {each.unit} |"
        for each in result.lines
    )
    return (
        f"# Key figures, {result.on}\n\n"
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.kernel}, {machine.python}; "
        f"{result.store}; revision {machine.revision}. "
        f"A year of {result.calls:,} calls in {result.rows:,} rows of sums. "
        f"Batches of {BATCH} calls, decided in one transaction and settled in another. {result.times}\n\n"
        f"| | median | slowest |\n|---|---|---|\n{rows}\n\n"
        f"Wanted: figures of a year below {AIM_MS:.0f} ms.\n"
    )


def main() -> int:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="an empty PostgreSQL database; a SQLite file of its own, if left out")
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        url = asked.url or f"sqlite:{Path(directory) / 'bench.db'}"
        store = open_store(url, Clock())
        store.keep_ledger()
        with store.change([TENANT]) as change:
            change.create_tenant(TENANT)
        calls, rows = a_year(store)
        registry = bench_registry(TENANT)
        clock_ns = time.perf_counter_ns if asked.url else time.process_time_ns
        kind = "PostgreSQL" if asked.url else "SQLite"
        result = Result(
            on=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=this_machine(Path(directory)),
            store=kind,
            times="By the clock." if asked.url else "Processor time.",
            calls=calls,
            rows=rows,
            lines=[*year_lines(store, registry, clock_ns), *call_lines(store, clock_ns)],
        )
        store.close()
    print(table(result))
    if asked.write:
        name = f"{result.on}-figures" + ("-postgres" if asked.url else "")
        (_RESULTS / f"{name}.md").write_text(table(result), encoding="utf-8")
        (_RESULTS / f"{name}.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
        )
    return 0 if result.lines[0].median < AIM_MS else 1


if __name__ == "__main__":
    sys.exit(main())
