"""What people ask of agents: their keys, when each last called, what was dear, what was refused, what was asked again.

Rule 1: reading only, in SQL that both stores understand as it is, along the indexes on an agent's calls and on entries
        that aren't about calls.
Rule 2: what isn't kept as a sum is told of an agent's newest calls of a period, at most `LOOKED_AT` of them; whoever
        shows it says so where there were more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import CallReport, Query
from aegis_gateway.adapters.rows import key_row
from aegis_gateway.application.recorded import RecordedReason
from aegis_gateway.domain.cheaper import Traffic
from aegis_gateway.domain.price import KINDS
from aegis_gateway.domain.registry import Key
from aegis_gateway.domain.repeats import SettledRequest
from aegis_gateway.domain.rule_name import acting_rule, rule_of

LOOKED_AT = 5_000

REFUSED_LOOKED_AT = 100

_ASKED_AT_ONCE = 500

_KEYS = """
select key, agent, hash, hint, issued_ns, expires_ns, revoked_ns, throttle_limit, throttle_period_ns, holds
  from api_key
 where tenant = ?
"""
"""A tenant's keys."""

_LAST_CALLS = """
with asked(whose) as (values {places})
select whose, (select max(decided_ns) from call where call.tenant = ? and call.agent = asked.whose) as last_ns
  from asked
"""
"""When agents last called: one look into the index for each."""

_RECENT = """
select {columns} from call
 where tenant = ? and agent = ? and decided_ns >= ? and decided_ns < ?{also}
 order by decided_ns desc
 limit {limit}
"""
"""An agent's newest calls of a period. Walks the index on an agent's calls from its end."""

_RUNS = """
select number, count(*) as calls, sum(nano_usd) as nano_usd, sum(refused) as refused, sum(unbounded) as unbounded,
       sum(is_open) as open_calls, min(decided_ns) as since_ns,
       count(*) over () as runs, sum(sum(nano_usd)) over () as all_nano_usd
  from (select substr(run, 5, 20) as number, decided_ns,
               case when effect <> 'allow' then 0
                    when state in ('reserved', 'dispatched', 'in_doubt') then coalesce(maximum_nano_usd, 0)
                    else coalesce(cost_nano_usd, 0) end as nano_usd,
               case when effect <> 'allow' then 1 else 0 end as refused,
               case when state in ('reserved', 'dispatched', 'in_doubt') then 1 else 0 end as is_open,
               case when state in ('reserved', 'dispatched', 'in_doubt') and maximum_nano_usd is null
                    then 1 else 0 end as unbounded
          from ({recent}) as recent
         where run is not null) as told
 group by number
 order by sum(nano_usd) desc, min(decided_ns) desc, number
 limit ?
"""
"""What the dearest runs of them came to, open calls at the most that they can come to; and how many there are, and what
all of them came to.
"""

_DEAREST = """
select {columns} from ({recent}) as recent
 where cost_nano_usd is not null
 order by cost_nano_usd desc, decided_ns desc
 limit ?
"""

_REFUSED = """
select told.call, effect, told.decided_ns, body
  from (select call, effect, decided_ns from ({recent}) as recent
         where effect <> 'allow'
         order by decided_ns desc
         limit ?) as told
  join entry on entry.call = told.call
 where entry.type = 'decision'
 order by told.decided_ns desc
"""
"""The newest of them that weren't let through, with what was said."""

_KEYS_USED = """
select api_key, max(decided_ns) as last_ns, count(*) as calls from ({recent}) as recent group by api_key
"""

_ABOUT_KEYS = """
select body from entry
 where tenant = ? and type = 'key' and type not in ('decision', 'dispatch', 'settlement', 'release', 'expire', 'doubt')
 order by sequence desc limit ?
"""
"""Who did what to keys, the newest first. By the index on entries about no call, whose condition it repeats."""

_REQUESTS = """
select recent.call, agent, connector, tool, coalesce(model, '') as model, cost_nano_usd, decided_ns, settled_ns, body
  from ({recent}) as recent join entry on entry.call = recent.call
 where entry.type = 'decision'
"""
_BILLS = """
select recent.call, model, tool, cost_nano_usd, kind, quantity
  from ({recent}) as recent join charge_line on charge_line.call = recent.call
 order by recent.call, line
"""
_SETTLED_OF_TENANT = """
select {columns} from call
 where tenant = ? and decided_ns >= ? and decided_ns < ? and state = 'settled'
 order by decided_ns desc
 limit {limit}
"""
_SETTLED = " and state = 'settled'"

_KINDS = frozenset(KINDS)
"""What a bill by usage has lines for; one that was settled at its maximum, or by a person, has others."""

_CALL_FIELDS = CallReport.__struct_fields__


class RunOfAgent(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's calls in one run came to; open ones at the most that they can, `unbounded` ones without one."""

    number: str
    calls: int
    refused: int
    open_calls: int
    unbounded: int
    nano_usd: int
    since_ns: int


class RunsOfAgent(msgspec.Struct, frozen=True, kw_only=True):
    """The dearest runs of an agent, how many there are in all, and what those come to."""

    dearest: tuple[RunOfAgent, ...] = ()
    count: int = 0
    nano_usd: int = 0


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was refused, throttled or put before a person: by which rule, and in which words.

    `acting` is how the call's row names the rule, if it names one.
    """

    call: str
    effect: str
    code: str
    rule: str
    acting: str | None
    words: str
    at_ns: int


class KeyAct(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a key, and by whom; `reason` may be empty."""

    key: str
    act: str
    actor: str = ""
    reason: str = ""
    time: str = ""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    hmac: str


class _Decided(msgspec.Struct, frozen=True, kw_only=True):
    arguments: _Asked
    retry: int = 0


class _Refused(msgspec.Struct, frozen=True, kw_only=True):
    reasons: list[RecordedReason]


_decided = msgspec.json.Decoder(_Decided).decode
_refused = msgspec.json.Decoder(_Refused).decode
_key_act = msgspec.json.Decoder(KeyAct).decode


class AgentReports:
    """The questions. `query` is a store's. Periods are in nanoseconds since 1970, from their first instant on."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def keys(self, tenant: str) -> list[Key]:
        """All keys of a tenant."""
        return [key_row(tuple(row.values())) for row in self._query(_KEYS, (tenant,))]

    def last_calls(self, tenant: str, agents: Sequence[str]) -> dict[str, int]:
        """When agents last called, by id; those that never did aren't there."""
        found: dict[str, int] = {}
        for start in range(0, len(agents), _ASKED_AT_ONCE):
            some = agents[start : start + _ASKED_AT_ONCE]
            sql = _LAST_CALLS.format(places=", ".join(["(?)"] * len(some)))
            rows = self._query(sql, (*some, tenant))
            found |= {row["whose"]: row["last_ns"] for row in rows if row["last_ns"] is not None}
        return found

    def keys_used(self, tenant: str, agent: str) -> dict[str, int]:
        """When keys were last used, of those that the agent's newest calls were made with."""
        recent = _recent("api_key, decided_ns", LOOKED_AT)
        rows = self._query(_KEYS_USED.format(recent=recent), (tenant, agent, 0, 2**63 - 1))
        return {row["api_key"]: row["last_ns"] for row in rows}

    def key_acts(self, tenant: str, limit: int = LOOKED_AT) -> list[KeyAct]:
        """What was done to a tenant's keys, the newest first."""
        return [_key_act(bytes(row["body"])) for row in self._query(_ABOUT_KEYS, (tenant, limit))]

    def runs(self, tenant: str, agent: str, since_ns: int, until_ns: int, limit: int) -> RunsOfAgent:
        """The runs that an agent called in, the dearest first."""
        recent = _recent("run, effect, state, cost_nano_usd, maximum_nano_usd, decided_ns", LOOKED_AT)
        rows = self._query(_RUNS.format(recent=recent), (tenant, agent, since_ns, until_ns, limit))
        if not rows:
            return RunsOfAgent()
        return RunsOfAgent(
            dearest=tuple(
                RunOfAgent(**{name: _number(row[name]) for name in RunOfAgent.__struct_fields__})
                for row in rows
            ),
            count=int(rows[0]["runs"]),
            nano_usd=int(rows[0]["all_nano_usd"]),
        )

    def dearest(self, tenant: str, agent: str, since_ns: int, until_ns: int, limit: int) -> list[CallReport]:
        """An agent's dearest calls."""
        columns = ", ".join(_CALL_FIELDS)
        sql = _DEAREST.format(columns=columns, recent=_recent(columns, LOOKED_AT))
        rows = self._query(sql, (tenant, agent, since_ns, until_ns, limit))
        return [CallReport(**{**row, "overrun": bool(row["overrun"])}) for row in rows]

    def refused(self, tenant: str, agent: str, since_ns: int, until_ns: int) -> list[Refused]:
        """The last calls of an agent that weren't let through, the newest first."""
        sql = _REFUSED.format(recent=_recent("call, effect, decided_ns", LOOKED_AT))
        found = []
        for row in self._query(sql, (tenant, agent, since_ns, until_ns, REFUSED_LOOKED_AT)):
            reason = _refused(bytes(row["body"])).reasons[0]
            found.append(
                Refused(
                    call=row["call"],
                    effect=row["effect"],
                    code=reason.code,
                    rule=rule_of(reason.code, reason.subject, reason.message),
                    acting=acting_rule(reason.code, reason.subject, reason.message),
                    words=reason.message,
                    at_ns=row["decided_ns"],
                )
            )
        return found

    def requests(self, tenant: str, agent: str | None, since_ns: int, until_ns: int) -> list[SettledRequest]:
        """The newest settled calls of an agent, or of all a tenant's, as requests that can be told from others."""
        columns = "call, agent, connector, tool, model, cost_nano_usd, decided_ns, settled_ns"
        sql = _REQUESTS.format(recent=_settled(columns, agent))
        found = []
        for row in self._query(sql, _values(tenant, agent, since_ns, until_ns)):
            decided = _decided(bytes(row.pop("body")))
            found.append(SettledRequest(**row, digest=decided.arguments.hmac, attempt=decided.retry))
        return found

    def traffic(
        self, tenant: str, agent: str | None, since_ns: int, until_ns: int
    ) -> dict[tuple[str, str], Traffic]:
        """What the newest settled calls of models used, by model and by what was done to it (`chat`, `embed`)."""
        columns = "call, model, tool, cost_nano_usd, decided_ns"
        sql = _BILLS.format(recent=_settled(columns, agent, " and model is not null"))
        used: dict[str, dict[str, int]] = {}
        of: dict[str, tuple[tuple[str, str], int]] = {}
        for row in self._query(sql, _values(tenant, agent, since_ns, until_ns)):
            units = used.setdefault(row["call"], {})
            units[row["kind"]] = units.get(row["kind"], 0) + row["quantity"]
            of[row["call"]] = (row["model"], row["tool"]), row["cost_nano_usd"]
        usages: dict[tuple[str, str], Counter[tuple[tuple[str, int], ...]]] = {}
        costs: Counter[tuple[str, str]] = Counter()
        uncounted: Counter[tuple[str, str]] = Counter()
        for call, (thing, nano_usd) in of.items():
            counted = usages.setdefault(thing, Counter())
            if not used[call].keys() <= _KINDS:
                uncounted[thing] += 1
                continue
            counted[tuple(sorted(used[call].items()))] += 1
            costs[thing] += nano_usd
        return {
            thing: Traffic(
                model=thing[0], usages=counted, cost_nano_usd=costs[thing], uncounted=uncounted[thing]
            )
            for thing, counted in usages.items()
        }

    def settled_count(self, tenant: str, agent: str | None, since_ns: int, until_ns: int) -> int:
        """How many settled calls there are to look at, up to one more than are looked at."""
        sql = f"select count(*) as calls from ({_settled('call, decided_ns', agent, more=1)}) as recent"  # noqa: S608  # ours
        return int(self._query(sql, _values(tenant, agent, since_ns, until_ns))[0]["calls"])


def _recent(columns: str, limit: int, also: str = "") -> str:
    return _RECENT.format(columns=columns, limit=limit, also=also)


def _settled(columns: str, agent: str | None, also: str = "", more: int = 0) -> str:
    limit = LOOKED_AT + more
    if agent is None:
        return _SETTLED_OF_TENANT.format(columns=columns, limit=limit).replace(_SETTLED, _SETTLED + also)
    return _recent(columns, limit, _SETTLED + also)


def _values(tenant: str, agent: str | None, since_ns: int, until_ns: int) -> tuple[object, ...]:
    return (tenant, *(() if agent is None else (agent,)), since_ns, until_ns)


def _number(value: Any) -> Any:
    """A sum as an integer: PostgreSQL's are decimals."""
    return value if isinstance(value, str) else int(value)


def named(agents: Iterable[str]) -> list[str]:
    """Ids that a store can be asked for: none has a NUL in a text."""
    return [each for each in agents if "\0" not in each]
