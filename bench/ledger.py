"""`python -m bench.ledger OTHER`: what a decision with its settlement costs the ledger alone, here and in another tree.

`OTHER` is this repository at another commit (`git archive COMMIT | tar -x -C OTHER`). Both are run in turns, each in a
process of its own, on SQLite on a disk, in batches of 32 against three budgets; ratios are taken within a turn, the
median counts.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import msgspec

TURNS = 8
_HERE = Path(__file__).parents[1]
_LOOP = """
import json, sys, tempfile, time
from pathlib import Path
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from tests.ledgers import TurnableClock, admission, budget, cost, create_tenants, quote, sqlite_database
batches, size = 60, 32
kept = (budget("day", 10**15, period="daily"), budget("month", 10**15), budget("year", 10**15, period="yearly"))
with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, sqlite_database(Path(folder)) as database:
    store = database.open(TurnableClock())
    create_tenants(store, "acme")
    ledger = Ledger(store)
    def go(first, count):
        for batch in range(first, first + count):
            names = [f"c{batch}x{place}" for place in range(size)]
            ledger.process([admission(name, quoted=quote(100), budgets=kept) for name in names])
            ledger.process([Settle(call=name, tenant="acme", evidence=cost(50)) for name in names])
    go(0, 10)
    cpu, wall = time.process_time(), time.perf_counter()
    go(10, batches)
    calls = batches * size / 1e6
    print(json.dumps({"cpu_us": (time.process_time() - cpu) / calls, "wall_us": (time.perf_counter() - wall) / calls}))
"""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one call, decided and settled."""

    cpu_us: float
    wall_us: float


def measure(tree: Path) -> Cost:
    """One run in a tree."""
    paths = f"import sys; sys.path[:0] = [{str(tree / 'src')!r}, {str(tree)!r}]"
    ended = subprocess.run([sys.executable, "-c", paths + _LOOP], capture_output=True, text=True, check=True)
    return msgspec.json.decode(ended.stdout, type=Cost)


def main() -> None:
    """Measure, and say what came of it."""
    other: list[Cost] = []
    here: list[Cost] = []
    for turn in range(TURNS):
        order = [(other, Path(sys.argv[1]).resolve()), (here, _HERE)]
        for found, tree in order if turn % 2 == 0 else reversed(order):
            found.append(measure(tree))
    for name in Cost.__struct_fields__:
        ratios = sorted(getattr(new, name) / getattr(old, name) for old, new in zip(other, here, strict=True))
        middle = [median(getattr(each, name) for each in found) for found in (other, here)]
        print(
            f"{name}: other {middle[0]:.0f}, here {middle[1]:.0f}; ratio {median(ratios):.2f}"
            f" ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
