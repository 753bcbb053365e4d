"""Thresholds passed by many real processes at once, on one PostgreSQL: each exactly once."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from contextlib import closing

import msgspec
import pytest

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from tests.ledgers import admission, budget, cost, create_tenants, on_exhaustion, quote, threshold

pytestmark = pytest.mark.xdist_group("postgres")

CALLS = 20
STEPS = (*(threshold(at, "notify") for at in range(10, 100, 10)), on_exhaustion("notify"))
PROGRAM = """
import random, sys, time
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from tests.contract.test_thresholds_of_many import STEPS
from tests.ledgers import admission, budget, cost, quote

url, name, limit, calls, jump_ns = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])

class JumpingClock:
    chance = random.Random(name)
    def now_ns(self):
        return time.time_ns() + self.chance.randint(-jump_ns, jump_ns)

store = open_store(url, JumpingClock() if jump_ns else None)
store.keep_ledger()
print("ready", flush=True)
ledger = Ledger(store)
claim = budget("month", limit, thresholds=STEPS)
sys.stdin.readline()
for place in range(calls):
    call = f"{name}-{place}"
    ledger.process([admission(call, budgets=(claim,), quoted=quote(10))])
    ledger.process([Settle(call=call, tenant="acme", evidence=cost(10))])
    print(place, flush=True)
store.close()
"""


class Spender:
    """A process that spends 10 with each call, and says so after each."""

    def __init__(self, url: str, name: str, limit: int, calls: int, jump_ns: int = 0) -> None:
        words = (url, name, *(str(each) for each in (limit, calls, jump_ns)))
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert b"ready" in self.line()

    def line(self) -> bytes:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Wait for its end; the exit code."""
        self.process.communicate(timeout=120)
        return self.process.returncode

    def kill(self, after: int) -> None:
        """`kill -9` it after so many calls, wherever it then is."""
        for _ in range(after):
            self.line()
        self.process.kill()
        self.end()


def assert_each_was_passed_once(store: Store) -> None:
    """Ten thresholds, ten entries, ten notices."""
    rows = store.query("select body from entry where type = 'threshold'")
    told = Counter(msgspec.json.decode(row["body"])["threshold"] for row in rows)
    assert {**{str(at): 1 for at in range(10, 100, 10)}, "exhausted": 1} == dict(told)
    assert [(10,)] == [tuple(row.values()) for row in store.query("select count(*) as n from notice")]


@pytest.mark.parametrize("processes", [2, pytest.param(10, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("jump_ns", [0, 2_000_000_000], ids=["one clock", "clocks that jump"])
def test_each_threshold_is_passed_once_whoever_reaches_it(
    postgres_url: str, processes: int, jump_ns: int
) -> None:
    """All begin together and settle on one balance, each by a clock of its own that may jump forwards and backwards
    with every look at it.
    """
    with closing(open_store(postgres_url, None)) as store:
        create_tenants(store, "acme")
        limit = processes * CALLS * 10
        running = [Spender(postgres_url, f"p{number}", limit, CALLS, jump_ns) for number in range(processes)]
        for each in running:
            each.go()
        assert [0] * processes == [each.end() for each in running]
        assert_each_was_passed_once(store)


@pytest.mark.parametrize("processes", [3, pytest.param(10, marks=pytest.mark.chaos)])
def test_each_threshold_is_passed_once_though_processes_are_killed(postgres_url: str, processes: int) -> None:
    """Each is killed somewhere on its way, within a transaction or between two, and another goes on in its place; what
    they left under way is settled afterwards, and the rest is spent to the last.
    """
    chance = random.Random(processes)
    with closing(open_store(postgres_url, None)) as store:
        create_tenants(store, "acme")
        limit = processes * CALLS * 10
        for life in range(2):
            running = [
                Spender(postgres_url, f"p{number}-{life}", limit, CALLS, 2_000_000_000)
                for number in range(processes)
            ]
            for each in running:
                each.go()
            for each in running:
                each.kill(chance.randrange(1, CALLS // 2))
        ledger, claim = Ledger(store), budget("month", limit, thresholds=STEPS)
        for row in store.query("select call from call where state = 'dispatched'"):
            ledger.process([Settle(call=row["call"], tenant="acme", evidence=cost(10))])
        (row,) = store.query("select posted from standing")
        for place in range((limit - row["posted"]) // 10):
            ledger.process([admission(f"rest-{place}", budgets=(claim,), quoted=quote(10))])
            ledger.process([Settle(call=f"rest-{place}", tenant="acme", evidence=cost(10))])
        assert_each_was_passed_once(store)
