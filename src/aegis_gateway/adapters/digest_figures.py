"""The figures of digests, read from either store: of calls as they were admitted in a period, and what else happened.

Rule: reading only, in single statements over ranges of indexes, in SQL that both stores understand as it is. What is
      spent is the sum of what calls cost, which is that of their charge lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median_low

import msgspec

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.budget_use import BudgetUse, forecast_of
from aegis_gateway.adapters.reports import BudgetStanding, Query, Reports
from aegis_gateway.adapters.rows import legs_on
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.digest_content import BudgetFigures, Driver, Figures, Refusals, Words
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.registry import Budget, Registry
from aegis_gateway.domain.window import Window

BUDGETS_MAX = 8
DRIVERS_MAX = 50
APPROVALS_MAX = 10_000
_TOLD_PREFIX = 96
"""So much of a reason tells which rule it is about: a kind, and an id of at most 64 characters."""

_IN_PERIOD = " where call.tenant = ? and decided_ns >= ? and decided_ns < ?"
_OF_TEAM = " and team = ?"
_OF_BUDGET = " and legs like ? escape '!'"

_TOTALS = """
select count(*) as calls, sum(coalesce(cost_nano_usd, 0)) as nano_usd,
       sum(case when state in ('reserved', 'dispatched', 'in_doubt') then 1 else 0 end) as open_calls,
       sum(case when state in ('reserved', 'dispatched', 'in_doubt') then coalesce(maximum_nano_usd, 0)
                else 0 end) as open_nano_usd
  from call
"""
"""What a period's calls come to. A range of the index on time."""

_BY = """
select {dimension} as name, count(*) as calls, sum(coalesce(cost_nano_usd, 0)) as nano_usd from call
"""
"""The same by agent, model or tool."""

_REFUSED = "select effect, reason_code, substr(reason, 1, 96) as reason, count(*) as calls from call"
"""What was refused or held, and why. A range of the index on time."""

_DOWNGRADED = """
select entry.body as body from call join entry on entry.call = call.call
"""
"""The decisions on calls of which another model was called instead; by the index on time, then that on entries."""

_NOTICED = """
select kind, subject, body from notice
 where tenant = ? and at_ns >= ? and at_ns < ? and kind in ('threshold_passed', 'budget_exhausted')
 order by sequence
"""
_INCIDENTS = """
select subject, opened_ns, closed_ns from incident
 where tenant = ? and (closed_ns is null or (opened_ns >= ? and opened_ns < ?))
"""
_HELD_KEYS = """
select key, agent, holds from api_key where tenant = ? and holds is not null order by agent, key
"""


class _Threshold(msgspec.Struct):
    threshold: str = ""
    scope: str = ""


class _Saved(msgspec.Struct):
    saved_nano_usd: str


class _Decision(msgspec.Struct):
    downgrade: _Saved | None = None


_holds = msgspec.json.Decoder(tuple[Hold, ...]).decode
_decision = msgspec.json.Decoder(_Decision)


class DigestFigures:
    """The figures of one tenant's digests, on a store."""

    def __init__(self, store: Store, registry: Registry) -> None:
        """Read nothing yet."""
        self._query: Query = store.query
        self._reports = Reports(store.query)
        self._use = BudgetUse(store.query)
        self._approvals = ApprovalReports(store.rows)
        self._registry = registry
        self._tenant = registry.tenant

    def of(self, digest: Digest, window: Window, now_ns: int, missing: Sequence[Window] = ()) -> Figures:
        """What a digest tells of a period, as it stands now."""
        registry = self._registry
        before = digest.before(registry.zone, window, registry.year_starts)
        totals, earlier = self._totals(digest, window), self._totals(digest, before)
        noticed = self._noticed(digest, window)
        opened, still_open = self._incidents(digest, window)
        held = self._held_keys(digest, now_ns)
        return Figures(
            tenant=self._tenant,
            tenant_name=registry.name,
            zone=registry.zone,
            of=_of(digest, registry),
            every=digest.every,
            window=window,
            before=before,
            nano_usd=totals["nano_usd"],
            before_nano_usd=earlier["nano_usd"],
            calls=totals["calls"],
            open_calls=totals["open_calls"],
            open_nano_usd=totals["open_nano_usd"],
            agents=self._drivers(digest, "agent", window, before),
            models=self._drivers(digest, "model", window, before),
            tools=self._drivers(digest, "tool", window, before),
            budgets=self._budgets(digest, window, now_ns),
            thresholds=noticed,
            refused=self._refused(digest, window),
            words=self._words(digest, window),
            held_keys=held,
            incidents_opened=opened,
            incidents_open=still_open,
            saved_nano_usd=self._saved(digest, window),
            missing=tuple(missing),
        )

    def _scoped(self, digest: Digest, window: Window) -> tuple[str, tuple[object, ...]]:
        """Which calls a digest is about, and the values of that."""
        values: tuple[object, ...] = (self._tenant, window.starts_ns, window.ends_ns)
        if digest.scope == "team":
            return _IN_PERIOD + _OF_TEAM, (*values, digest.name)
        if digest.scope == "budget":
            return _IN_PERIOD + _OF_BUDGET, (*values, legs_on(digest.name))
        return _IN_PERIOD, values

    def _totals(self, digest: Digest, window: Window) -> dict[str, int]:
        where, values = self._scoped(digest, window)
        (row,) = self._query(f"{_TOTALS}{where} and effect = 'allow'", values)
        return {name: int(value or 0) for name, value in row.items()}

    def _drivers(self, digest: Digest, dimension: str, window: Window, before: Window) -> tuple[Driver, ...]:
        now, then = self._by(digest, dimension, window), self._by(digest, dimension, before)
        names = {name for name in (*now, *then) if name}
        found = [
            Driver(
                name=name,
                calls=now.get(name, (0, 0))[0],
                nano_usd=now.get(name, (0, 0))[1],
                before_nano_usd=then.get(name, (0, 0))[1],
            )
            for name in names
        ]
        return tuple(
            sorted(found, key=lambda each: (-max(each.nano_usd, each.before_nano_usd), each.name))[
                :DRIVERS_MAX
            ]
        )

    def _by(self, digest: Digest, dimension: str, window: Window) -> dict[str, tuple[int, int]]:
        where, values = self._scoped(digest, window)
        sql = f"{_BY.replace('{dimension}', dimension)}{where} and effect = 'allow' group by {dimension}"
        return {
            row["name"]: (int(row["calls"]), int(row["nano_usd"]))
            for row in self._query(sql, values)
            if row["name"] is not None
        }

    def _budgets(self, digest: Digest, window: Window, now_ns: int) -> tuple[BudgetFigures, ...]:
        ended_ns = min(window.ends_ns - 1, now_ns)
        standings = []
        for budget in _budgets_of(digest, self._registry):
            # A window that ended with the period is told as it ended; one that goes on as it stands now.
            at_ns = ended_ns if budget.window(ended_ns).ends_ns <= now_ns else now_ns
            found = self._reports.standings(self._tenant, [budget], at_ns)
            standings += [(standing, at_ns) for standing in found if standing.limit > 0]
        standings.sort(
            key=lambda each: (
                -(each[0].spent * 1_000 // each[0].limit),
                each[0].budget.id,
                each[0].scope,
            )
        )
        return tuple(self._budget(standing, at_ns) for standing, at_ns in standings[:BUDGETS_MAX])

    def _budget(self, standing: BudgetStanding, now_ns: int) -> BudgetFigures:
        budget = standing.budget
        quantity = self._registry.quantities[budget.quantity]
        use = self._use.hourly(self._tenant, budget, standing.scope, now_ns)
        found = forecast_of(use, standing, now_ns)
        is_over = standing.window.ends_ns - 1 <= now_ns
        is_told = found.expected is not None and bool(found.days) and not is_over
        return BudgetFigures(
            budget=budget.id,
            scope=standing.scope,
            window=standing.window.label,
            quantity=quantity.id,
            scale=quantity.scale,
            is_money=quantity.is_money,
            limit=standing.limit,
            spent=standing.spent,
            reserved=standing.reserved,
            expected=found.expected if is_told else None,
            low=found.low if is_told else None,
            high=found.high if is_told else None,
        )

    def _noticed(self, digest: Digest, window: Window) -> tuple[str, ...]:
        ids = self._budget_ids(digest)
        values = (self._tenant, window.starts_ns, window.ends_ns)
        found = []
        for row in self._query(_NOTICED, values):
            budget = row["subject"].partition(":")[2]
            if budget in ids:
                scope = msgspec.json.decode(row["body"], type=_Threshold)
                at = "exhausted" if row["kind"] == "budget_exhausted" else f"at {scope.threshold}"
                found.append(" ".join(filter(None, (budget, scope.scope, at))))
        return tuple(dict.fromkeys(found))

    def _budget_ids(self, digest: Digest) -> set[str]:
        return {budget.id for budget in _budgets_of(digest, self._registry)}

    def _refused(self, digest: Digest, window: Window) -> tuple[Refusals, ...]:
        # What a budget refused has no legs; which rule it was is told by its reason.
        by_budget = digest.scope == "budget"
        about = msgspec.structs.replace(digest, scope="tenant") if by_budget else digest
        where, values = self._scoped(about, window)
        sql = f"{_REFUSED}{where} and effect <> 'allow' group by effect, reason_code, substr(reason, 1, 96)"
        counted: dict[tuple[str, str, str], int] = {}
        for row in self._query(sql, values):
            key = (_rule(row["reason_code"], row["reason"]), row["reason_code"], row["effect"])
            counted[key] = counted.get(key, 0) + int(row["calls"])
        found = [
            Refusals(rule=rule, code=code, effect=effect, calls=calls)
            for (rule, code, effect), calls in counted.items()
            if not by_budget or rule == f"budget `{digest.name}`"
        ]
        return tuple(sorted(found, key=lambda each: (-each.calls, each.rule))[:DRIVERS_MAX])

    def _words(self, digest: Digest, window: Window) -> Words:
        approvals = [
            each
            for each in self._approvals.approvals(self._tenant, APPROVALS_MAX)
            if self._is_asked_in(digest, each)
        ]
        asked = [each for each in approvals if window.holds(each.created_ns)]
        answered = [each for each in asked if each.answers]
        waits = [each.answers[-1].at_ns - each.created_ns for each in answered]
        return Words(
            asked=len(asked),
            answered=len(answered),
            waiting=sum(each.state == "waiting" for each in approvals),
            median_ns=median_low(waits) if waits else None,
        )

    def _is_asked_in(self, digest: Digest, approval: Approval) -> bool:
        """Whether a request is of what a digest is about: of its budgets, or of a team's agents."""
        if digest.scope == "tenant" or _budget_of(approval.about) in self._budget_ids(digest):
            return True
        agent = self._registry.agents.get(approval.requester)
        return digest.scope == "team" and agent is not None and agent.team == digest.name

    def _held_keys(self, digest: Digest, now_ns: int) -> tuple[str, ...]:
        agents = self._registry.agents
        found = []
        for row in self._query(_HELD_KEYS, (self._tenant,)):
            holds = [each for each in _holds(row["holds"]) if each.acts and not each.is_over(now_ns)]
            agent = agents.get(row["agent"])
            is_about = digest.scope == "tenant" or (
                agent is not None and agent.team == digest.name
                if digest.scope == "team"
                else any(_budget_of(each.rule) == digest.name for each in holds)
            )
            if holds and is_about:
                found.append(f"{row['key']} of {row['agent']}")
        return tuple(found)

    def _incidents(self, digest: Digest, window: Window) -> tuple[int, int]:
        ids = self._budget_ids(digest)
        found = [
            row
            for row in self._query(_INCIDENTS, (self._tenant, window.starts_ns, window.ends_ns))
            if digest.scope == "tenant" or _budget_of(row["subject"]) in ids
        ]
        opened = sum(window.holds(int(row["opened_ns"])) for row in found)
        return opened, sum(row["closed_ns"] is None for row in found)

    def _saved(self, digest: Digest, window: Window) -> int:
        where, values = self._scoped(digest, window)
        sql = (
            f"{_DOWNGRADED}{where} and effect = 'allow' and reason_code = 'downgraded' and type = 'decision'"
        )
        total = 0
        for row in self._query(sql, values):
            decision = _decision.decode(bytes(row["body"]))
            total += int(decision.downgrade.saved_nano_usd) if decision.downgrade is not None else 0
        return total


def _of(digest: Digest, registry: Registry) -> str:
    return registry.name if digest.scope == "tenant" else f"{digest.scope} {digest.name}"


def _budgets_of(digest: Digest, registry: Registry) -> Iterable[Budget]:
    """The budgets that a digest is about."""
    budgets = registry.budgets.values()
    if digest.scope == "budget":
        return [each for each in budgets if each.id == digest.name]
    if digest.scope == "team":
        return [each for each in budgets if dict(each.match).get("team") == digest.name]
    return list(budgets)


def _budget_of(subject: str) -> str:
    """The budget that something is about, which is named by its id, as `budget:ID`, or with a threshold of it."""
    return subject.removeprefix("budget:").partition("@")[0]


def _rule(code: str, reason: str) -> str:
    """Which rule refused: a budget or rate by its name, anything else by its words."""
    head, tick, rest = reason.partition("`")
    name, end, _ = rest.partition("`")
    if tick and end and head.strip() in ("budget", "rate", "key", "connector", "tool"):
        return f"{head}`{name}`"
    return reason[:_TOLD_PREFIX] or code.replace("_", " ")
