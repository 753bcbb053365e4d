"""What rules did in a period, read from the sums that are kept of it, and which calls one of them decided.

Rule 1: a period is whole hours, read as in `usage_reports`: a year of all rules is some hundred days of rows.
Rule 2: whose calls a rule decided is read from the last of them, along the index on rule and time, so many at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.usage_reports import pieces_of

_DID = """
select rule, did, sum(calls) as calls, sum(expected) as expected, sum(cost) as cost from ({pieces}) as piece
 group by rule, did
union all
select rule, 'would ' || would, sum(calls), sum(maximum), 0 from ({shadow}) as quiet
 group by rule, would
"""
"""What all rules of a tenant did, and what those in shadow would have done. Ranges of the primary keys."""

_PIECE = """
select rule, did, calls, expected, cost from rule_sum
 where tenant = ? and span = ? and start_ns >= ? and start_ns < ?
"""
_SHADOW_PIECE = """
select rule, would, calls, maximum from shadow_sum
 where tenant = ? and span = ? and start_ns >= ? and start_ns < ?
"""

_HOURS = """
select start_ns, did, sum(calls) as calls from rule_sum
 where tenant = ? and span = ? and start_ns >= ? and start_ns < ? and rule = ?
 group by start_ns, did
union all
select start_ns, 'would ' || would, sum(calls) from shadow_sum
 where tenant = ? and span = ? and start_ns >= ? and start_ns < ? and rule = ?
 group by start_ns, would
"""
"""What one rule did, by hour. Ranges of the primary keys."""

_AGENTS = """
select agent, count(*) as calls, sum(case when effect = 'allow' then 1 else 0 end) as allowed,
       sum(coalesce(cost_nano_usd, 0)) as cost, max(decided_ns) as last_ns
  from (select agent, effect, cost_nano_usd, decided_ns from call
         where tenant = ? and rule = ? and decided_ns >= ? and decided_ns < ?
         order by decided_ns desc
         limit ?) as recent
 group by agent
 order by count(*) desc, agent
"""
"""Whose calls a rule decided. A range of the index on rule and time, from its end."""

WOULD = "would "
"""Stands before what a rule in shadow would have done."""

AGENTS_OF_CALLS_MAX = 10_000


class RuleDid(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that one rule did to some calls, as a reason's code says it; or, after `would `, would have done.

    `expected` is what those calls were expected to cost, of a rule in shadow at most; `cost` what those cost that it
    let through. In nano-USD.
    """

    rule: str
    did: str
    calls: int
    expected: int
    cost: int

    @property
    def is_shadow(self) -> bool:
        """Whether it only would have."""
        return self.did.startswith(WOULD)


class RuleAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent of whose calls a rule decided some: how many, how many of them were let through, and their cost."""

    agent: str
    calls: int
    allowed: int
    cost: int
    last_ns: int


class RuleReports:
    """The questions. `query` is a store's. Instants are nanoseconds since 1970."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def did(self, tenant: str, since_ns: int, until_ns: int) -> list[RuleDid]:
        """What each rule did in a period, and would have done; by rule, what it did most first. One query."""
        pieces = pieces_of(since_ns, until_ns)
        sql = _DID.format(
            pieces=" union all ".join([_PIECE] * len(pieces)),
            shadow=" union all ".join([_SHADOW_PIECE] * len(pieces)),
        )
        values = tuple(value for piece in pieces for value in (tenant, *piece))
        return sorted(
            (_did(row) for row in self._query(sql, values * 2)),
            key=lambda each: (each.rule, -each.calls, each.did),
        )

    def over_time(self, tenant: str, rule: str, stretches: Sequence[tuple[int, int]]) -> list[dict[str, int]]:
        """How many calls one rule did what to, in each of some stretches of time, which follow each other."""
        found: list[dict[str, int]] = [{} for _ in stretches]
        if not stretches:
            return found
        period = (tenant, "hour", stretches[0][0], stretches[-1][1], rule)
        place = 0
        for row in sorted(self._query(_HOURS, period * 2), key=lambda each: each["start_ns"]):
            while row["start_ns"] >= stretches[place][1]:
                place += 1
            counts = found[place]
            counts[row["did"]] = counts.get(row["did"], 0) + int(row["calls"])
        return found

    def agents(self, tenant: str, rule: str, since_ns: int, until_ns: int) -> list[RuleAgent]:
        """Whose calls a rule decided, of the last so many of a period; most first."""
        return [
            RuleAgent(
                agent=row["agent"],
                calls=int(row["calls"]),
                allowed=int(row["allowed"]),
                cost=int(row["cost"]),
                last_ns=row["last_ns"],
            )
            for row in self._query(_AGENTS, (tenant, rule, since_ns, until_ns, AGENTS_OF_CALLS_MAX))
        ]


def _did(row: dict[str, Any]) -> RuleDid:
    return RuleDid(
        rule=row["rule"],
        did=row["did"],
        calls=int(row["calls"]),
        expected=int(row["expected"]),
        cost=int(row["cost"]),
    )
