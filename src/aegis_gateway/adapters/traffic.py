"""The record of one tenant, read in order: what replay runs over.

Rule: reading only, a stretch at a time by the record's primary key; a gateway goes on beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from aegis_gateway.application.replay import RecordedEntry

_FIRST = """
select sequence, decided_ns from call where tenant = ? and decided_ns >= ? order by decided_ns, sequence limit 1
"""
"""The first call since an instant. By the index on (tenant, decided_ns)."""

_LAST = "select next_sequence - 1 as sequence from tenant_head where tenant = ?"
"""Where the record ends."""

_ENTRIES = """
select sequence, at_ns, type, call, body from entry
 where tenant = ? and sequence >= ? and sequence < ? and call is not null
 order by sequence
"""
"""A stretch of the record. By its primary key."""

_STRETCH = 4_096


class Rows(Protocol):
    """A store's way to read many rows."""

    def __call__(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Read rows as they are; `?` stands for a value."""


class StoredTraffic:
    """One tenant's record in a store."""

    def __init__(self, rows: Rows, tenant: str) -> None:
        """Read through a store."""
        self._rows = rows
        self._tenant = tenant

    def first_since(self, instant_ns: int) -> tuple[int, int] | None:
        """Place and time of the first call that was decided at an instant or later."""
        rows = self._rows(_FIRST, (self._tenant, max(instant_ns, 0)))
        return (rows[0][0], rows[0][1]) if rows else None

    def entries(self, first: int) -> Iterator[RecordedEntry]:
        """All entries about calls from a place on, up to where the record ended when it was begun to be read."""
        end = self._rows(_LAST, (self._tenant,))[0][0] + 1
        for place in range(first, end, _STRETCH):
            yield from self._rows(_ENTRIES, (self._tenant, place, min(place + _STRETCH, end)))
