"""The agents whose calls counted on a budget in its window, read at the same cost however many calls there were.

Rule 1: of a window of few calls it is each call's own legs that tell. Of more it is the sums that are kept of all
        calls, where it can be told from them which of those count; else it is the newest calls, by their legs.
Rule 2: what was looked at is told with it, so that whoever shows it can say so.
Rule 3: reading only, in SQL that both stores understand as it is, by ranges of primary keys and of the index on time.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from aegis_gateway.adapters.reports import Query, Sum
from aegis_gateway.adapters.rows import legs_on
from aegis_gateway.adapters.usage_reports import pieces_of
from aegis_gateway.domain.counted import Alike, Counted, counted_of
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.registry import ON_THE_FLY, Budget, Registry
from aegis_gateway.domain.window import Window

CALLS_READ_MAX = 5_000
"""So many calls of a window are read one by one."""

_NAMED_AT_ONCE = 100
"""So many agents are named to the store; of more it is told by what it answers of all."""

_BEHIND = """
select decided_ns from call
 where tenant = ? and decided_ns >= ? and decided_ns < ?
 order by decided_ns desc
 limit 1 offset ?
"""
"""When the newest call was decided behind so many others. Walks the index on time from its end."""

_OF_CALLS = """
select agent as name, count(*) as calls, sum(coalesce(cost_nano_usd, 0)) as nano_usd
  from call
 where tenant = ? and decided_ns >= ? and decided_ns < ? and effect = 'allow' and legs like ? escape '!'
 group by agent
 order by sum(coalesce(cost_nano_usd, 0)) desc, agent
 limit ?
"""
"""The agents whose calls have a leg on a budget. A range of the index on time."""

_OF_SUMS = """
select posted, agent, calls, nano_usd, alike_calls, alike_nano_usd
  from (select sum(posted) as posted from standing where tenant = ? and budget = ? and "window" = ?) as balance
  left join (select agent, sum(calls) as calls, sum(cost) as nano_usd, sum(calls * alike) as alike_calls,
                    sum(cost * alike) as alike_nano_usd
               from ({pieces}) as piece group by agent) as told on 1 = 1
"""
"""What each agent's calls come to, all of them and those that are alike, and what is posted on a budget's balances, as
of the same moment.
"""

_PIECE = """
select agent, calls, cost, case when {alike} then 1 else 0 end as alike from usage_sum
 where tenant = ? and span = ? and start_ns >= ? and start_ns < ? and effect = 'allow' and calls > 0 and {named}
"""

_LEFT_OUT = """
select 1 as one from shadow_sum
 where tenant = ? and span = ? and start_ns >= ? and start_ns < ? and rule = ?
"""
"""Whether a rule in shadow would have held a call back."""

LookedAt = Literal["calls", "sums", "newest_calls"]


class BudgetAgents(msgspec.Struct, frozen=True, kw_only=True):
    """The agents whose calls counted on a budget, the dearest first, from an instant on.

    `looked_at`: all calls of its window; sums by the hour of the calls that count by the settings of now; or the newest
    calls of its window. `rest_nano_usd` is what is spent of the budget besides what sums tell: by calls in runs that
    were delegated to others, or under other settings; below 0 where not all that counts now counted then. None where
    that isn't known. `is_widened`: sums of an hour tell of more than its window.
    """

    agents: list[Sum]
    looked_at: LookedAt
    since_ns: int
    rest_nano_usd: int | None = None
    is_widened: bool = False


class AgentsOfBudget:
    """The question. `query` is a store's."""

    def __init__(self, query: Query, calls_read_max: int = CALLS_READ_MAX) -> None:
        """Read through a store, so many calls at most."""
        self._query = query
        self._calls_read_max = calls_read_max

    def of(self, registry: Registry, budget: Budget, now_ns: int, limit: int = 8) -> BudgetAgents:
        """Those of the window that an instant falls into; of a rolling budget, of its last hours."""
        window = budget.window(now_ns)
        if budget.period == "rolling":
            window = msgspec.structs.replace(window, starts_ns=now_ns - budget.length_ns)
        period = (registry.tenant, window.starts_ns, window.ends_ns)
        behind = self._query(_BEHIND, (*period, self._calls_read_max))
        if not behind:
            return self._of_calls(registry, budget, window, limit, "calls")
        counted = counted_of(budget, registry)
        if counted is None or self._leaves_out(registry, budget, window, now_ns):
            # Calls are decided many at one instant: those of the last one might not be all there.
            newest = msgspec.structs.replace(window, starts_ns=behind[0]["decided_ns"] + 1)
            return self._of_calls(registry, budget, newest, limit, "newest_calls")
        return self._of_sums(registry, budget, counted, window, now_ns, limit)

    def _of_calls(
        self, registry: Registry, budget: Budget, window: Window, limit: int, looked_at: LookedAt
    ) -> BudgetAgents:
        values = (registry.tenant, window.starts_ns, window.ends_ns, legs_on(budget.id), limit)
        rows = self._query(_OF_CALLS, values)
        agents = [Sum(name=row["name"], calls=row["calls"], nano_usd=int(row["nano_usd"])) for row in rows]
        return BudgetAgents(agents=agents, looked_at=looked_at, since_ns=window.starts_ns)

    def _leaves_out(self, registry: Registry, budget: Budget, window: Window, now_ns: int) -> bool:
        """Whether a budget in shadow left out calls that were let through without having room on it."""
        if budget.mode == "enforce" and registry.proxy is None:
            return False
        pieces = pieces_of(window.starts_ns, _until_ns(window, now_ns))
        sql = " union all ".join([_LEFT_OUT] * len(pieces))
        values = [value for piece in pieces for value in (registry.tenant, *piece, f"budget:{budget.id}")]
        return bool(self._query(f"{sql} limit 1", tuple(values)))

    def _of_sums(
        self, registry: Registry, budget: Budget, counted: Counted, window: Window, now_ns: int, limit: int
    ) -> BudgetAgents:
        alike, of_alike = _alike(counted.alike)
        named, of_named = _named(counted, alike, of_alike)
        pieces = pieces_of(window.starts_ns, _until_ns(window, now_ns))
        is_whole = window.starts_ns % HOUR_NS == 0 and (window.ends_ns % HOUR_NS == 0 or window.holds(now_ns))
        # What is posted of rolling windows has passed out of them, and balances of runs are too many to add up.
        is_told = (
            is_whole and budget.quantity == USD and budget.period != "rolling" and not _is_of_calls(budget)
        )
        rows = self._query(
            _OF_SUMS.format(
                pieces=" union all ".join([_PIECE.format(alike=alike, named=named)] * len(pieces))
            ),
            (
                *(registry.tenant, budget.id if is_told else "", window.label),
                *(value for piece in pieces for value in (*of_alike, registry.tenant, *piece, *of_named)),
            ),
        )
        agents = [found for row in rows if (found := _sum(row, counted)) is not None]
        posted = rows[0]["posted"]
        return BudgetAgents(
            agents=sorted(agents, key=lambda each: (-each.nano_usd, each.name))[:limit],
            looked_at="sums",
            since_ns=window.starts_ns - window.starts_ns % HOUR_NS,
            rest_nano_usd=int(posted or 0) - sum(each.nano_usd for each in agents) if is_told else None,
            is_widened=not is_whole,
        )


def _is_of_calls(budget: Budget) -> bool:
    """Whether a budget has balances that calls open as they come."""
    return not set(budget.per).isdisjoint(ON_THE_FLY)


def _until_ns(window: Window, now_ns: int) -> int:
    """Until when there can be calls in a window that may have no end."""
    return min(window.ends_ns, now_ns + HOUR_NS)


def _alike(alike: Alike | None) -> tuple[str, tuple[str, ...]]:
    """Which calls are alike, but for whose they are, and the values of that."""
    if alike is None:
        return "1 = 0", ()
    told = [f"{name} = ?" for name, _ in alike.equal] + [f"{name} <> ''" for name in alike.have]
    return " and ".join(told) or "1 = 1", tuple(wanted for _, wanted in alike.equal)


def _named(counted: Counted, alike: str, of_alike: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Which sums have to be read, and the values of that."""
    if not counted.residents:
        return f"({alike})", of_alike
    if counted.alike is None and len(counted.residents) <= _NAMED_AT_ONCE:
        residents = tuple(sorted(counted.residents))
        return f"agent in ({', '.join('?' * len(residents))})", residents
    return "1 = 1", ()


def _sum(row: dict[str, Any], counted: Counted) -> Sum | None:
    """What of an agent's calls counts, if any of them does."""
    agent = row["agent"]
    if agent is None:
        return None
    of = ""
    if agent not in counted.residents:
        alike = counted.alike
        if alike is None or (alike.agents is not None and agent not in alike.agents):
            return None
        of = "alike_"
    calls = int(row[f"{of}calls"])
    return Sum(name=agent, calls=calls, nano_usd=int(row[f"{of}nano_usd"])) if calls else None
