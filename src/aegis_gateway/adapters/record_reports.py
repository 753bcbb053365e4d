"""The record as people look into it and as it is verified, read from either store in the same words.

Rule 1: what is looked for is looked for from the newest on, in pieces along the primary key, so that looking costs the
        same however long the record is: so many entries at a time, and where it went on is told.
Rule 2: kinds of entries that aren't about calls have an index of their own, since they are few among many.
Rule 3: reading only; what is compared is read in one statement, so that calls may go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.rows import decode_legs
from aegis_gateway.application.verifying import CallState, HourSum
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.record_check import Kept, content
from aegis_gateway.domain.record_search import EntryFilter
from aegis_gateway.domain.usage import DAY_NS

KINDS_OF_CALLS = ("decision", "dispatch", "settlement", "release", "expire", "doubt")

_FIELDS = "select tenant, sequence, call, type, at_ns, body from entry"
_STRETCH = f"{_FIELDS} where tenant = ? and sequence > ? and sequence <= ? order by sequence limit ?"
_ENTRY = f"{_FIELDS} where tenant = ? and sequence = ?"
_OF_CALL = (
    f"{_FIELDS} where call = ? and tenant = ? and sequence + 0 <= ? and sequence + 0 >= ?"
    " order by sequence + 0 desc limit ?"
)
"""By the index on calls: without `+ 0`, SQLite would walk the whole record in the order that is asked for."""
_DOWN = f"{_FIELDS} where tenant = ? and sequence <= ? and sequence >= ?"
"""A stretch of the record from its end. By the primary key, or by the index on kinds, whose condition `_RARE` is."""
_RARE = " and type not in ('decision', 'dispatch', 'settlement', 'release', 'expire', 'doubt')"
_NEWEST = "select next_sequence - 1 as sequence from tenant_head where tenant = ?"
_AT_OR_BEFORE = (
    "select sequence, at_ns from entry where tenant = ? and sequence <= ? order by sequence desc limit 1"
)

_STATES = """
select call.call, call.state, call.effect, call.reason_code, call.reason, call.agent, call.team, call.project,
       call.cost_centre, call.environment, call.connector, call.tool, call.model, call.api_key, call.run, call.parent,
       call.policy_version, call.config_version, call.expected_nano_usd, call.maximum_nano_usd, call.cost_nano_usd,
       call.overrun, call.legs, call.decided_ns, call.settled_ns, call.sequence,
       sum(case when entry.type = 'dispatch' then 1 else 0 end) as dispatch,
       sum(case when entry.type = 'settlement' then 1 else 0 end) as settlement,
       sum(case when entry.type = 'release' then 1 else 0 end) as release,
       sum(case when entry.type = 'expire' then 1 else 0 end) as expire,
       sum(case when entry.type = 'doubt' then 1 else 0 end) as doubt
  from call join entry on entry.call = call.call and entry.tenant || '' = call.tenant
 where call.tenant = ? and call.call in
       (select call from entry where tenant = ? and sequence > ? and sequence <= ? and call is not null)
 group by call.call
"""
"""Calls beside how many entries of each kind they have. By the record's primary key, then the calls', then the index on
the calls of entries: `|| ''` keeps SQLite from reading the tenant's whole record for that."""

_CHARGES = """
select call, kind, quantity, unit, unit_price_nano_usd, per, price_source, price_version, nano_usd
  from charge_line
 where call in (select call from entry where tenant = ? and sequence > ? and sequence <= ? and type = 'settlement')
 order by call, line
"""

_UNDECIDED = """
select call.call, call.sequence
  from call left join entry on entry.tenant = call.tenant and entry.sequence = call.sequence
 where call.tenant = ? and call.decided_ns > ? and call.decided_ns <= ?
   and (entry.sequence is null or entry.type <> 'decision' or entry.call is null or entry.call <> call.call)
 order by call.decided_ns
 limit ?
"""
"""Calls without their decision. A range of the index on time, then the record's primary key."""

_FIRST_SUM = "select min(start_ns) as start_ns from usage_sum where tenant = ? and span = 'hour'"
_LAST_SUM = "select max(start_ns) as start_ns from usage_sum where tenant = ? and span = 'hour'"
_LAST_CALL = "select max(decided_ns) as at_ns from call where tenant = ?"
_EARLIER = "select 1 as one from call where tenant = ? and decided_ns < ? limit 1"
_WRONG_SUMS = f"""
select span, start_ns, sum(calls) as calls, sum(cost) as cost from (
    select span, start_ns, calls, cost from usage_sum
     where tenant = ? and span = 'hour' and start_ns >= ? and start_ns < ?
    union all
    select span, start_ns, calls, cost from usage_sum
     where tenant = ? and span = 'day' and start_ns >= ? and start_ns < ?
    union all
    select 'hour', decided_ns - decided_ns % {HOUR_NS}, -1, -coalesce(cost_nano_usd, 0) from call
     where tenant = ? and decided_ns >= ? and decided_ns < ?
    union all
    select 'day', decided_ns - decided_ns % {DAY_NS}, -1, -coalesce(cost_nano_usd, 0) from call
     where tenant = ? and decided_ns >= ? and decided_ns < ?
) as both_of_them
 group by span, start_ns
having sum(calls) <> 0 or sum(cost) <> 0
 order by start_ns, span
"""  # noqa: S608  # numbers of ours
"""Hours and days whose sums aren't what their calls come to, as of one moment. Ranges of the key, and of the index on
time."""

_PIECE = 20_000
LOOKED_AT_MAX = 250_000
"""So many entries are looked at before it is told that nothing more was found so far."""
_READ_MAX = 20_000
"""So many of those that look like what is wanted are read, to see whether they are."""
_AT_ONCE = 256
_WRONG_TOLD_MAX = 1_000
_SUMS_PIECE_NS = 7 * DAY_NS

_KINDS = ("dispatch", "settlement", "release", "expire", "doubt")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, the newest first. All down to the number `looked_to` were looked at, and `floor` is where the period
    begins.
    """

    entries: tuple[Kept, ...]
    looked_to: int
    floor: int = 1

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to be looked at."""
        return self.looked_to <= self.floor


class RecordReports:
    """The questions. `query` is a store's. Instants are nanoseconds since 1970."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def newest(self, tenant: str) -> int:
        """The number of the last entry that was ever written; 0 where there is none."""
        rows = self._query(_NEWEST, (tenant,))
        return int(rows[0]["sequence"]) if rows else 0

    def entry(self, tenant: str, sequence: int) -> Kept | None:
        """One entry."""
        rows = self._query(_ENTRY, (tenant, sequence))
        return _kept(rows[0]) if rows else None

    def stretch(self, tenant: str, after: int, until: int, limit: int) -> list[Kept]:
        """Entries behind one number, up to another."""
        return [_kept(row) for row in self._query(_STRETCH, (tenant, after, until, limit))]

    def last_before(self, tenant: str, at_ns: int) -> int:
        """The number of the last entry before an instant; 0 where there is none. Entries are in the order of time."""
        low, high = 0, self.newest(tenant)
        while low < high:
            middle = (low + high + 1) // 2
            rows = self._query(_AT_OR_BEFORE, (tenant, middle))
            if not rows or rows[0]["at_ns"] < at_ns:
                low = middle
            else:
                high = rows[0]["sequence"] - 1
        return low

    def search(self, tenant: str, wanted: EntryFilter, below: int, limit: int) -> Found:
        """Entries that are wanted, the newest first, below a number; so many of them, and of those looked at."""
        top = min(below - 1, self.newest(tenant))
        floor = 1
        if wanted.until_ns is not None:
            top = min(top, self.last_before(tenant, wanted.until_ns))
        if wanted.since_ns is not None:
            floor = self.last_before(tenant, wanted.since_ns) + 1
        if wanted.call is not None:
            rows = self._query(_OF_CALL, (wanted.call, tenant, top, floor, 1_000))
            entries = [
                kept for kept in map(_kept, rows) if wanted.fits(kept.type, kept.call, kept.body, content)
            ]
            if len(entries) > limit:
                return Found(
                    entries=tuple(entries[:limit]), looked_to=entries[limit - 1].sequence, floor=floor
                )
            return Found(entries=tuple(entries), looked_to=floor, floor=floor)
        sql, values = _DOWN, list[object]()
        lowest = max(floor, top - LOOKED_AT_MAX + 1)
        piece = _PIECE
        if wanted.kind is not None:
            sql += " and type = ?"
            values.append(wanted.kind)
        if wanted.is_plain or (wanted.kind is not None and wanted.kind not in KINDS_OF_CALLS):
            # What an index leads to at once isn't looked for in pieces.
            sql += "" if wanted.is_plain else _RARE
            lowest, piece = floor, top
        for needle in wanted.needles():
            sql += " and instr(body, ?) > 0"
            values.append(needle)
        words = wanted.word_needle()
        if words is not None:
            sql += " and instr(lower(body), ?) > 0"  # the last, as it takes the longest
            values.append(words)
        sql += " order by sequence desc limit ?"
        found: list[Kept] = []
        read = 0
        while top >= lowest and read < _READ_MAX:
            bottom = max(lowest, top - piece + 1)
            rows = self._query(sql, (tenant, top, bottom, *values, max(limit - len(found), _AT_ONCE)))
            read += len(rows)
            for kept in map(_kept, rows):
                if wanted.fits(kept.type, kept.call, kept.body, content):
                    found.append(kept)
                    if len(found) == limit:
                        return Found(entries=tuple(found), looked_to=kept.sequence, floor=floor)
            top = rows[-1]["sequence"] - 1 if len(rows) >= max(limit - len(found), _AT_ONCE) else bottom - 1
        return Found(entries=tuple(found), looked_to=max(floor, top + 1), floor=floor)

    # -- what is verified ----------------------------------------------------------------------------------

    def states(self, tenant: str, after: int, until: int) -> dict[str, CallState]:
        """The calls that a stretch is about."""
        return {
            row["call"]: CallState(
                row=row,
                legs=[
                    [leg.budget, leg.scope, leg.window, leg.quantity, leg.amount]
                    for leg in decode_legs(row["legs"])
                ],
                kinds={kind: int(row[kind]) for kind in _KINDS},
            )
            for row in self._query(_STATES, (tenant, tenant, after, until))
        }

    def charges(self, tenant: str, after: int, until: int) -> dict[str, list[dict[str, Any]]]:
        """The charge lines of calls that were settled in a stretch, in order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._query(_CHARGES, (tenant, after, until)):
            found.setdefault(row["call"], []).append(row)
        return found

    def undecided(self, tenant: str, after_ns: int, until_ns: int) -> Iterator[tuple[str, int]]:
        """Calls that say that they were decided behind one instant, up to another, where no such decision is."""
        for row in self._query(_UNDECIDED, (tenant, after_ns, until_ns, _WRONG_TOLD_MAX)):
            yield row["call"], row["sequence"]

    def wrong_sums(self, tenant: str, since_ns: int, until_ns: int) -> list[HourSum]:
        """The hours that a period touches, and the days in these, whose sums aren't what their calls come to.

        Calls that were made before there were sums are left out, with the day in which these begin.
        """
        first = self._query(_FIRST_SUM, (tenant,))[0]["start_ns"]
        if first is None:
            return []
        last = self._query(_LAST_SUM, (tenant,))[0]["start_ns"]
        newest = self._query(_LAST_CALL, (tenant,))[0]["at_ns"] or 0
        begin = first - first % DAY_NS
        if self._query(_EARLIER, (tenant, first)):
            begin += DAY_NS
        over = max(last, newest) + 1
        start = max(begin, since_ns - since_ns % HOUR_NS)
        end = over + -over % DAY_NS if until_ns >= over else until_ns + -until_ns % HOUR_NS
        found: list[HourSum] = []
        while start < end and len(found) < _WRONG_TOLD_MAX:
            stop = min(end, start - start % DAY_NS + _SUMS_PIECE_NS)
            hours, days = (tenant, start, stop), (tenant, start + -start % DAY_NS, stop - stop % DAY_NS)
            for row in self._query(_WRONG_SUMS, (*hours, *days, *hours, *days)):
                found.append(
                    HourSum(
                        span=row["span"],
                        start_ns=row["start_ns"],
                        calls=int(row["calls"]),
                        cost=int(row["cost"]),
                    )
                )
            start = stop
        return found


def _kept(row: dict[str, Any]) -> Kept:
    return Kept(**{**row, "body": bytes(row["body"])})
