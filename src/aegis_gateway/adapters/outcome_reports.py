"""What agents reported of their work, tree by tree, read from either store in the same words."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.domain.outcome import OutcomeKey, OutcomeSum


class ToldWork(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was reported on. `run` is its number; money in nano-USD; `cost` is its whole tree's."""

    run: str
    agent: str
    team: str
    began_ns: int
    told_ns: int
    changes: int
    cost: int
    result: str
    name: str
    note: str
    value_nano_usd: int | None
    transactions: int | None


_FIELDS = ", ".join(ToldWork.__struct_fields__)
_TOLD = f"""
select {_FIELDS} from outcome
 where tenant = ? and result = ? and began_ns >= ? and began_ns < ? and is_counted = 1
 order by began_ns desc
 limit ?
"""  # noqa: S608  # our own names
"""A range of the index on results of trees, from its end."""

_OF = ", ".join(OutcomeKey.__struct_fields__)
_SUMS = ", ".join(f"sum({name}) as {name}" for name in OutcomeSum.__struct_fields__)
_EVER = f"""
select {_OF}, {_SUMS} from outcome_sum
 where tenant = ? and span = 'fortnight'
 group by {_OF}
 order by {_OF}
"""  # noqa: S608  # our own names
"""Sums of the longest span: a range of the primary key."""

_ONE = f"select {_FIELDS} from outcome where tenant = ? and run = ?"  # noqa: S608  # our own names
"""By the primary key."""


class OutcomeReports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def told(self, tenant: str, result: str, since_ns: int, until_ns: int, limit: int) -> list[ToldWork]:
        """Trees that were begun in a period and came to something, the newest first, at most so many."""
        rows = self._query(_TOLD, (tenant, result, since_ns, until_ns, limit))
        return [ToldWork(**row) for row in rows]

    def ever(self, tenant: str) -> list[tuple[OutcomeKey, OutcomeSum]]:
        """All that was ever reported, by agent and result, as it stands now: less of one where another replaced it."""
        return [
            (
                OutcomeKey(**{name: row[name] for name in OutcomeKey.__struct_fields__}),
                OutcomeSum(*(int(row[name]) for name in OutcomeSum.__struct_fields__)),
            )
            for row in self._query(_EVER, (tenant,))
        ]

    def of_run(self, tenant: str, number: str) -> ToldWork | None:
        """What was reported of one run, whether a tree began with it or not."""
        return next((ToldWork(**row) for row in self._query(_ONE, (tenant, number))), None)
