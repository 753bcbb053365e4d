"""Incidents as people look at them, read from either store in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.domain.incident import Incident

_FIELDS = ", ".join(Incident.__struct_fields__)

_OPEN = f"""
select {_FIELDS} from incident
 where tenant = ? and closed_ns is null
 order by opened_ns desc
 limit ?
"""  # noqa: S608  # our own names
"""By the index on open incidents."""

_CLOSED = f"""
select {_FIELDS} from incident
 where tenant = ? and closed_ns is not null
 order by closed_ns desc
 limit ?
"""  # noqa: S608  # our own names
"""By the index on closed incidents."""

_ONE = f"select {_FIELDS} from incident where tenant = ? and id = ?"  # noqa: S608  # our own names
"""By the primary key."""


class IncidentReports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def open(self, tenant: str, limit: int) -> list[Incident]:
        """Those that somebody has to look at, the newest first."""
        return _incidents(self._query(_OPEN, (tenant, limit)))

    def closed(self, tenant: str, limit: int) -> list[Incident]:
        """Those that are over, the last closed first."""
        return _incidents(self._query(_CLOSED, (tenant, limit)))

    def incident(self, tenant: str, name: str) -> Incident | None:
        """One by its id."""
        return next(iter(_incidents(self._query(_ONE, (tenant, name)))), None)


def _incidents(rows: Sequence[dict[str, Any]]) -> list[Incident]:
    return [Incident(**{**row, "facts": msgspec.json.decode(row["facts"])}) for row in rows]
