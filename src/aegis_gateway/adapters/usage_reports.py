"""What was called and spent in a period, read from the sums that are kept of it (`domain/usage.py`).

Rule 1: a period is whole hours. It is read as the fortnights in it, the days at its ends and the hours at the ends of
        those, so that a year is some fifty of them.
Rule 2: reading only, in SQL that both stores understand as it is, by ranges of the primary key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.kpi import Totals
from aegis_gateway.domain.outcome import OutcomeKey, OutcomeSum
from aegis_gateway.domain.registry import UNREGISTERED
from aegis_gateway.domain.usage import SPANS, Span, UsageKey, UsageSum
from aegis_gateway.domain.usage_cube import UsageCube

Dimension = Literal[
    "agent",
    "team",
    "project",
    "cost_centre",
    "environment",
    "connector",
    "tool",
    "model",
    "effect",
    "code",
    "rule",
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

Where = Mapping[Dimension, str | tuple[str, ...]]
"""Which calls are meant: those that are so in all of these; of several values, one."""

EVERYWHERE: Where = {}

_MEASURES = UsageSum.__struct_fields__
_OF_WORK = OutcomeKey.__struct_fields__
_WORK_MEASURES = OutcomeSum.__struct_fields__


class UsageOf(msgspec.Struct, frozen=True, kw_only=True):
    """What calls with something in common come to: `values` are what they have in common."""

    values: tuple[str, ...]
    sums: UsageSum


class ShadowUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule in shadow would have done: to how many calls of how many agents, which can have cost so much."""

    rule: str
    would: str
    calls: int
    agents: int
    maximum: int


class UsageReports:
    """The questions. `query` is a store's. Periods are in nanoseconds since 1970, and taken as whole hours."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def by(
        self,
        tenant: str,
        since_ns: int,
        until_ns: int,
        dimensions: Sequence[Dimension],
        limit: int = 10_000,
        where: Where = EVERYWHERE,
    ) -> list[UsageOf]:
        """What was called and spent, by some dimensions, the dearest first."""
        columns = ", ".join(dimensions)
        rows = self._rows(
            f"select {columns}, {_SUMMED} from ({{pieces}}) as piece group by {columns}"  # noqa: S608  # closed lists
            f" order by sum(cost) desc, sum(calls) desc, {columns} limit {int(limit)}",
            ", ".join((*dimensions, *_MEASURES)),
            "usage_sum",
            tenant,
            since_ns,
            until_ns,
            where=where,
        )
        return [UsageOf(values=tuple(row[each] for each in dimensions), sums=_sums(row)) for row in rows]

    def cube(self, tenant: str, since_ns: int, until_ns: int) -> UsageCube:
        """What was called, spent and reported, by all that it has in common; read in one pass of each table."""
        usage = self._rows(
            f"select {', '.join(DIMENSIONS)}, {_SUMMED} from ({{pieces}}) as piece group by {', '.join(DIMENSIONS)}",  # noqa: S608  # closed lists
            ", ".join((*DIMENSIONS, *_MEASURES)),
            "usage_sum",
            tenant,
            since_ns,
            until_ns,
        )
        return UsageCube(
            [(UsageKey(**{name: row[name] for name in DIMENSIONS}), _sums(row)) for row in usage],
            self._work(tenant, since_ns, until_ns, EVERYWHERE),
        )

    def _work(
        self, tenant: str, since_ns: int, until_ns: int, where: Where
    ) -> list[tuple[OutcomeKey, OutcomeSum]]:
        """What was reported of trees that were begun in a period. None of it is any model's or tool's alone."""
        if any(dimension not in _OF_WORK for dimension in where):
            return []
        columns = ", ".join(_OF_WORK)
        rows = self._rows(
            f"select {columns}, {_SUMMED_WORK} from ({{pieces}}) as piece group by {columns}",  # noqa: S608  # closed lists
            ", ".join((*_OF_WORK, *_WORK_MEASURES)),
            "outcome_sum",
            tenant,
            since_ns,
            until_ns,
            where=where,
        )
        return [
            (
                OutcomeKey(**{name: row[name] for name in _OF_WORK}),
                OutcomeSum(*(int(row[name] or 0) for name in _WORK_MEASURES)),
            )
            for row in rows
        ]

    def over_time(
        self,
        tenant: str,
        stretches: Sequence[tuple[int, int]],
        dimension: Dimension,
        names: Sequence[str],
        where: Where = EVERYWHERE,
    ) -> dict[str | None, list[int]]:
        """What was spent in each of some stretches of time, by some values of a dimension.

        All other values together are None. Stretches are somebody's days, or hours. They begin and end with whole
        hours: one within which a stretch ended and another began would be counted in both.
        """
        found: dict[str | None, list[int]] = {name: [0] * len(stretches) for name in (*names, None)}
        pieces = [
            (place, *piece)
            for place, stretch in enumerate(stretches)
            for piece in pieces_of(*stretch)
            if piece[1] < piece[2]
        ]
        if not pieces:
            return found
        listed = ", ".join(f"({place}, '{span}', {since}, {until})" for place, span, since, until in pieces)
        named = f"case when {dimension} in ({', '.join('?' * len(names))}) then {dimension} end"
        rows = self._query(
            f"with piece(place, span, since_ns, until_ns) as (values {listed})"  # noqa: S608  # numbers, and closed lists
            f" select place, {named if names else 'null'} as name, sum(cost) as cost"
            " from piece cross join usage_sum"
            " where tenant = ? and usage_sum.span = piece.span"
            f" and start_ns >= since_ns and start_ns < until_ns{_also(where)} group by 1, 2",
            (*names, tenant, *_values(where)),
        )
        for row in rows:
            found[row["name"]][row["place"]] += int(row["cost"] or 0)
        return found

    def by_time(self, tenant: str, since_ns: int, until_ns: int, span: Span) -> dict[int, int]:
        """What was spent in each hour, or day (UTC), of a period, by when it begins."""
        rows = self._query(
            "select start_ns, sum(cost) as cost from usage_sum"
            " where tenant = ? and span = ? and start_ns >= ? and start_ns < ? group by start_ns order by start_ns",
            (tenant, span, since_ns, until_ns),
        )
        return {row["start_ns"]: int(row["cost"]) for row in rows}

    def totals(self, tenant: str, since_ns: int, until_ns: int, where: Where = EVERYWHERE) -> Totals:
        """All that figures are made of."""
        rows = self._rows(
            f"select {_SUMMED}, count(distinct case when settled_calls > 0 then agent end) as active_agents,"  # noqa: S608  # a closed list
            " sum(case when model <> '' then cost else 0 end) as model_cost,"
            " sum(case when team <> ? then cost else 0 end) as attributed_cost,"
            " sum(case when effect <> 'allow' then calls else 0 end) as violations,"
            " sum(case when effect <> 'allow' then expected else 0 end) as refused_cost"
            " from ({pieces}) as piece",
            ", ".join(("agent", "team", "model", "effect", *_MEASURES)),
            "usage_sum",
            tenant,
            since_ns,
            until_ns,
            UNREGISTERED,
            where=where,
        )
        (row,) = rows
        return Totals(
            sums=_sums(row),
            active_agents=int(row["active_agents"] or 0),
            model_cost=int(row["model_cost"] or 0),
            attributed_cost=int(row["attributed_cost"] or 0),
            violations=int(row["violations"] or 0),
            refused_cost=int(row["refused_cost"] or 0),
            work=UsageCube((), self._work(tenant, since_ns, until_ns, where)).work(),
        )

    def shadow(self, tenant: str, since_ns: int, until_ns: int) -> list[ShadowUsage]:
        """What rules in shadow would have done, what would have hit most calls first."""
        rows = self._rows(
            "select rule, would, sum(calls) as calls, count(distinct agent) as agents, sum(maximum) as maximum"
            " from ({pieces}) as piece group by rule, would order by sum(calls) desc, rule, would",
            "agent, rule, would, calls, maximum",
            "shadow_sum",
            tenant,
            since_ns,
            until_ns,
        )
        return [
            ShadowUsage(
                rule=row["rule"],
                would=row["would"],
                calls=int(row["calls"]),
                agents=int(row["agents"]),
                maximum=int(row["maximum"]),
            )
            for row in rows
        ]

    def shadow_agents(
        self, tenant: str, since_ns: int, until_ns: int, limit: int
    ) -> list[tuple[str, str, str, int, int]]:
        """What rules in shadow would have done to whom: rule, what, agent, how many calls, their cost at most."""
        rows = self._rows(
            "select rule, would, agent, sum(calls) as calls, sum(maximum) as maximum from ({pieces}) as piece"  # noqa: S608  # a number
            f" group by rule, would, agent order by sum(calls) desc, rule, would, agent limit {int(limit)}",
            "agent, rule, would, calls, maximum",
            "shadow_sum",
            tenant,
            since_ns,
            until_ns,
        )
        return [
            (row["rule"], row["would"], row["agent"], int(row["calls"]), int(row["maximum"])) for row in rows
        ]

    def _rows(
        self,
        sql: str,
        columns: str,
        table: str,
        tenant: str,
        since_ns: int,
        until_ns: int,
        *values: object,
        where: Where = EVERYWHERE,
    ) -> list[dict[str, Any]]:
        """The rows of a question about the pieces of a period. `values` come before those of the pieces."""
        pieces = pieces_of(since_ns, until_ns)
        one = f"select {columns} from {table}"  # noqa: S608  # ours
        one += " where tenant = ? and span = ? and start_ns >= ? and start_ns < ?"
        one += _also(where)
        placed = [value for piece in pieces for value in (tenant, *piece, *_values(where))]
        return self._query(sql.format(pieces=" union all ".join([one] * len(pieces))), (*values, *placed))


def pieces_of(since_ns: int, until_ns: int) -> list[tuple[Span, int, int]]:
    """A period as the fortnights in it, the days at their ends, and the hours at the ends of those: of what length,
    from when and until when. It is widened to whole hours.
    """
    since_ns -= since_ns % HOUR_NS
    until_ns = max(since_ns, until_ns + -until_ns % HOUR_NS)
    found = _pieces(since_ns, until_ns, ("fortnight", "day", "hour"))
    return found or [("hour", since_ns, until_ns)]


def _pieces(since_ns: int, until_ns: int, spans: tuple[Span, ...]) -> list[tuple[Span, int, int]]:
    """A period of whole ones of the last span, as ones that are as long as can be."""
    if since_ns >= until_ns:
        return []
    longest, *shorter = spans
    length_ns = SPANS[longest]
    first_ns, last_ns = since_ns + -since_ns % length_ns, until_ns - until_ns % length_ns
    if first_ns >= last_ns:
        return _pieces(since_ns, until_ns, tuple(shorter))
    return [
        *_pieces(since_ns, first_ns, tuple(shorter)),
        (longest, first_ns, last_ns),
        *_pieces(last_ns, until_ns, tuple(shorter)),
    ]


def _also(where: Where) -> str:
    return "".join(f" and {dimension} {_compared(value)}" for dimension, value in where.items())


def _compared(value: str | tuple[str, ...]) -> str:
    return "= ?" if isinstance(value, str) else f"in ({', '.join('?' * len(value)) or 'null'})"


def _values(where: Where) -> list[str]:
    return [each for value in where.values() for each in ((value,) if isinstance(value, str) else value)]


_SUMMED = ", ".join(f"sum({name}) as {name}" for name in _MEASURES)
_SUMMED_WORK = ", ".join(f"sum({name}) as {name}" for name in _WORK_MEASURES)


def _sums(row: dict[str, Any]) -> UsageSum:
    return UsageSum(*(int(row[name] or 0) for name in _MEASURES))
