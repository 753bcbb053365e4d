"""Balances as they stand, read from outside the ledger by whoever asks what a call would find.

Rule: one statement, so one snapshot: no call is seen in one balance and not in another.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.rows import standing, turns
from aegis_gateway.application.ports import Balances
from aegis_gateway.domain.admit import RateKey, StandingKey
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.rate import Turns
from aegis_gateway.domain.replication import Run, RunClaim, called

_HEAD = """
select 'head' as kind, '' as name, '' as scope, '' as label, epoch as first, last_ns as second, null as buckets,
       null as notes
  from tenant_head where tenant = ?
"""
_STANDINGS = """
union all
select 'standing', budget, scope, "window", pending, posted, buckets, notes from standing
 where tenant = ? and ({keys})
"""
_ARRIVALS = """
union all
select 'arrival', rate, scope, '', arrival_ns, 0, free, null from rate_arrival
 where tenant = ? and ({keys})
"""
"""By the primary keys, key by key."""
_USED = """
union all
select * from (select 'used', budget, scope, '', 0, 0, null, null from standing
 where tenant = ? and budget = ? and scope = ? limit 1) as used
"""
_RUN = """
union all
select 'run', run, '', '', open_until_ns, coalesce(ended_ns, -1), null, null from run where tenant = ? and number = ?
union all
select 'others', '', '', '', count(*), 0, null, null from run
 where tenant = ? and owner = ? and ended_ns is null and open_until_ns > ? and number <> ?
"""
"""A run, by the primary key, and the others of its owner that count, by the index on them."""


class StoredBalances:
    """The question. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def read(
        self,
        tenant: str,
        standings: Collection[StandingKey],
        arrivals: Collection[RateKey],
        run: RunClaim | None,
        now_ns: int,
        used: Collection[tuple[str, str]] = (),
    ) -> Balances:
        """A tenant's epoch and clock, what there is of some balances and rates, and of a run, and which of some budgets
        were ever used.
        """
        sql, values = _HEAD, list[object]([tenant])
        if standings:
            sql += _STANDINGS.format(keys=_any_of('(budget = ? and scope = ? and "window" = ?)', standings))
            values += [tenant, *(part for key in standings for part in key)]
        if arrivals:
            sql += _ARRIVALS.format(keys=_any_of("(rate = ? and scope = ?)", arrivals))
            values += [tenant, *(part for key in arrivals for part in key)]
        if run is not None:
            sql += _RUN
            values += [tenant, run.number, tenant, run.owner, now_ns, run.number]
        for budget in used:
            sql += _USED
            values += [tenant, *budget]
        epoch = last_ns = others = 0
        kept: Run | None = None
        balances: dict[StandingKey, Standing] = {}
        arriving: dict[RateKey, Turns] = {}
        found_used: set[tuple[str, str]] = set()
        for row in self._query(sql, tuple(values)):
            match row["kind"]:
                case "head":
                    epoch, last_ns = row["first"], row["second"]
                case "standing":
                    key = (row["name"], row["scope"], row["label"])
                    balances[key] = standing(row["first"], row["second"], row["buckets"], row["notes"])
                case "run":
                    assert run is not None, "it was asked about"
                    ended_ns = None if row["second"] < 0 else row["second"]
                    kept = msgspec.structs.replace(
                        called(run, tenant, None, now_ns), open_until_ns=row["first"], ended_ns=ended_ns
                    )
                case "used":
                    found_used.add((row["name"], row["scope"]))
                case "others":
                    others = row["first"]
                case _:
                    arriving[row["name"], row["scope"]] = turns(row["first"], row["buckets"])
        return Balances(
            epoch=epoch,
            last_ns=last_ns,
            standings=balances,
            arrivals=arriving,
            run=kept,
            others_open=others,
            used=frozenset(found_used),
        )


def _any_of(condition: str, keys: Collection[object]) -> str:
    return " or ".join([condition] * len(keys))
