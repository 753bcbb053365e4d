"""Whether what was measured was also right: the provider's own bill against the gateway's ledger.

Read from the database file, not asked of the gateway.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import apsw
import msgspec

from aegis_gateway.demo.upstream.process import UpstreamProcess
from bench.targets import Aegis

SETTLE_S_MAX = 3.0

_OPEN = "select count(*) from call where state in ('reserved', 'dispatched', 'in_doubt')"
_CALLS = (
    "select count(*), coalesce(sum(cost_nano_usd), 0) from call where state = 'settled' and cost_nano_usd > 0"
)
_BUDGETS = "select budget, sum(posted), sum(pending) from standing group by budget order by budget"
_ENTRIES = "select count(*), coalesce(max(sequence), 0) from entry"


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """Bill and ledger of one gateway, from its start to now."""

    billed_calls: int
    billed_nano_usd: int
    settled_calls: int
    settled_nano_usd: int
    open_calls: int
    budgets: dict[str, tuple[int, int]]
    entries: int
    last_sequence: int

    def faults(self) -> list[str]:
        """What doesn't agree, in words."""
        faults = []
        if self.billed_nano_usd != self.settled_nano_usd:
            faults.append(
                f"the provider billed {self.billed_nano_usd} nano-USD, the ledger has {self.settled_nano_usd}"
            )
        if self.billed_calls != self.settled_calls:
            faults.append(
                f"the provider billed {self.billed_calls} calls, the ledger has {self.settled_calls}"
            )
        if self.open_calls:
            faults.append(f"{self.open_calls} calls are neither settled nor released")
        for budget, (posted, pending) in self.budgets.items():
            if posted != self.billed_nano_usd or pending:
                faults.append(f"budget `{budget}` has {posted} nano-USD spent and {pending} reserved")
        if len(self.budgets) != 3:
            faults.append(f"there are {len(self.budgets)} budgets with calls instead of 3")
        if self.entries != self.last_sequence:
            faults.append(f"the record has {self.entries} entries and ends at {self.last_sequence}")
        return faults


def billed(provider: UpstreamProcess, account: str) -> tuple[int, int]:
    """How many calls the provider has billed an account, and how much."""
    found = provider.bill()["by_account"].get(account, {"requests": 0, "nano_usd": 0})
    return found["requests"], found["nano_usd"]


def truth(aegis: Aegis, bill: Callable[[], tuple[int, int]]) -> Truth:
    """Compare bill (calls, nano-USD) and ledger once nothing is open any more, or after a moment."""
    connection = apsw.Connection(str(aegis.database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        deadline = time.monotonic() + SETTLE_S_MAX
        while _row(connection, _OPEN)[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        billed_calls, billed_nano_usd = bill()
        connection.execute("begin")  # all that follows is read as of one instant
        settled_calls, settled_nano_usd = _row(connection, _CALLS)
        entries, last_sequence = _row(connection, _ENTRIES)
        return Truth(
            billed_calls=billed_calls,
            billed_nano_usd=billed_nano_usd,
            settled_calls=settled_calls,
            settled_nano_usd=settled_nano_usd,
            open_calls=_row(connection, _OPEN)[0],
            budgets={
                str(budget): (int(posted), int(pending))
                for budget, posted, pending in connection.execute(_BUDGETS)
            },
            entries=entries,
            last_sequence=last_sequence,
        )
    finally:
        connection.close()


def _row(connection: apsw.Connection, sql: str) -> list[int]:
    return [int(value) for value in next(iter(connection.execute(sql)))]
