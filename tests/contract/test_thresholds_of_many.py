"""Thresholds passed by many real processes at once, on one PostgreSQL: each exactly once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import closing

import msgspec
import pytest

from aegis_gateway.adapters.stores import open_store
from tests.ledgers import create_tenants

pytestmark = pytest.mark.xdist_group("postgres")

CALLS = 20
PROGRAM = """
import sys
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from tests.ledgers import admission, budget, cost, on_exhaustion, quote, threshold

url, name, limit, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = open_store(url, None)
store.keep_ledger()
print("ready", flush=True)
ledger = Ledger(store)
steps = (*(threshold(at, "notify") for at in range(10, 100, 10)), on_exhaustion("notify"))
claim = budget("month", limit, thresholds=steps)
sys.stdin.readline()
for place in range(calls):
    call = f"{name}-{place}"
    ledger.process([admission(call, budgets=(claim,), quoted=quote(10))])
    ledger.process([Settle(call=call, tenant="acme", evidence=cost(10))])
store.close()
"""


@pytest.mark.parametrize("processes", [2, pytest.param(10, marks=pytest.mark.chaos)])
def test_each_threshold_is_passed_once_whoever_reaches_it(postgres_url: str, processes: int) -> None:
    """All begin together and settle on one balance; each of ten thresholds has one entry and one notice."""
    with closing(open_store(postgres_url, None)) as store:
        create_tenants(store, "acme")
        limit = processes * CALLS * 10
        running = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, postgres_url, f"p{number}", str(limit), str(CALLS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for number in range(processes)
        ]
        for each in running:
            assert each.stdout is not None
            assert b"ready" in each.stdout.readline()
        for each in running:
            assert each.stdin is not None
            each.stdin.write(b"\n")
            each.stdin.flush()
        for each in running:
            each.communicate(timeout=120)
        assert [0] * processes == [each.returncode for each in running]
        rows = store.query("select body from entry where type = 'threshold'")
        told = Counter(msgspec.json.decode(row["body"])["threshold"] for row in rows)
        assert {**{str(at): 1 for at in range(10, 100, 10)}, "exhausted": 1} == dict(told)
        assert [(10,)] == [tuple(row.values()) for row in store.query("select count(*) as n from notice")]
