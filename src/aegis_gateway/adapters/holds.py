"""What holding keys reads: balances of which thresholds are passed, and who has keys that are held, by indexes."""

from __future__ import annotations

from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.rows import standing
from aegis_gateway.application.holding import PassedBalance

_PASSED = """
select tenant, budget, scope, "window" as label, quantity, ends_ns, pending, posted, buckets, notes
  from standing where passed is not null order by tenant, ends_ns
"""
_HELD = "select distinct tenant from api_key where holds is not null"


def passed_balances(query: Query) -> list[PassedBalance]:
    """All balances of which thresholds are passed."""
    return [
        PassedBalance(
            tenant=row["tenant"],
            key=(row["budget"], row["scope"], row["label"]),
            quantity=row["quantity"],
            ends_ns=row["ends_ns"],
            standing=standing(row["pending"], row["posted"], row["buckets"], row["notes"]),
        )
        for row in query(_PASSED, ())
    ]


def tenants_with_held_keys(query: Query) -> list[str]:
    """The tenants that have keys which are held."""
    return [row["tenant"] for row in query(_HELD, ())]
