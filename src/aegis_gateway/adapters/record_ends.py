"""How far tenants' records have come: one number each, which grows with all that pages show of them.

Rule: reading only, by the primary key, in SQL that both stores understand as it is: it is asked a few times a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis_gateway.adapters.reports import Query

_ENDS = "select tenant, next_sequence + epoch as place from tenant_head where tenant in ({places})"
"""By the primary key. Each entry moves it on, and each change of what is in force."""

_AT_ONCE = 500


def record_ends(query: Query, tenants: Sequence[str]) -> dict[str, int]:
    """A number for each of some tenants that there are. It only grows, and stays while nothing is written."""
    found: dict[str, int] = {}
    for start in range(0, len(tenants), _AT_ONCE):
        some = tuple(tenants[start : start + _AT_ONCE])
        rows = query(_ENDS.format(places=", ".join("?" * len(some))), some)
        found |= {row["tenant"]: int(row["place"]) for row in rows}
    return found
