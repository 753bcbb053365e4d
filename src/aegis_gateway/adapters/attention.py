"""How much waits for people over some tenants, as the menu of every page says it.

Rule: reading only, by indices on what waits and up to a bound: it is asked for each page that is opened or kept right.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aegis_gateway.adapters.reports import Query

_WAITING = "select 1 as it from approval where tenant in ({places}) and state = 'waiting' limit ?"
"""By the index on requests in a state."""

_OPEN = (
    "select 1 as it from incident where tenant in ({places}) and opened_ns >= 0 and closed_ns is null limit ?"
)
"""By the index on open incidents, which SQLite takes for the sake of the instant; else it would go through all."""

_AT_ONCE = 500


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests wait for a person's word and how many incidents are open, each up to the bound that was asked
    for.
    """

    approvals: int = 0
    incidents: int = 0


def attention(query: Query, tenants: Sequence[str], most: int) -> Attention:
    """What waits in some tenants, counted up to `most` of each."""
    return Attention(
        approvals=_counted(query, _WAITING, tenants, most), incidents=_counted(query, _OPEN, tenants, most)
    )


def _counted(query: Query, sql: str, tenants: Sequence[str], most: int) -> int:
    found = 0
    for start in range(0, len(tenants), _AT_ONCE):
        if found >= most:
            break
        some = tuple(tenants[start : start + _AT_ONCE])
        found += len(query(sql.format(places=", ".join("?" * len(some))), (*some, most - found)))
    return found
