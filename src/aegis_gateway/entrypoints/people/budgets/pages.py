"""The pages of budgets: how full all are, and of one how its window goes and what was done to its limit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from aegis_gateway.adapters.budget_agents import AgentsOfBudget
from aegis_gateway.adapters.budget_change_rows import history_of
from aegis_gateway.adapters.budget_use import BudgetUse, burn_down_of
from aegis_gateway.adapters.holds import WordsAsked
from aegis_gateway.adapters.reports import BudgetStanding, Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.describe_thresholds import acts_text, place_text
from aegis_gateway.domain.amounts import limit_text
from aegis_gateway.domain.burn_down import BurnPoint
from aegis_gateway.domain.forecast import BAND_PERCENT
from aegis_gateway.domain.registry import Budget, Registry
from aegis_gateway.domain.threshold_state import ThresholdStanding
from aegis_gateway.entrypoints.budget_agents import agents_words
from aegis_gateway.entrypoints.cli.budget_terms import window_terms
from aegis_gateway.entrypoints.people.budgets.balances import (
    Balance,
    balance_of,
    balances_of,
    fullness,
)
from aegis_gateway.entrypoints.people.budgets.course import Course, course_of
from aegis_gateway.entrypoints.people.budgets.export import (
    AGENT_COLUMNS,
    BALANCE_COLUMNS,
    CHANGE_COLUMNS,
    COURSE_COLUMNS,
    WINDOW_COLUMNS,
    agent_rows,
    balance_rows,
    change_rows,
    course_rows,
    window_rows,
)
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.tables import FILE_ROWS_MAX, table_file
from aegis_gateway.entrypoints.people.visits import Visit
from aegis_gateway.entrypoints.people.words import local

_HISTORY_MAX = 50
_SCOPES_LISTED = 100
_AGENTS_LISTED = 8


class ThresholdLine(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold in words. `approval` is what it waits for."""

    place: str
    does: str
    at: ThresholdStanding
    approval: str | None


class ChangeLine(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a limit, in words."""

    kind: str
    at_ns: int
    before: str
    after: str
    ends_ns: int | None
    asked_by: str
    approver: str
    reason: str
    version: int


def show_all(visit: Visit) -> Response:
    """All budgets of a tenant, or of all that the reader may see, the fullest first."""
    if not visit.readable:
        return visit.without_tenant()
    read = _all(visit)
    if read is None:
        return _none(visit)
    found, unused = read
    return living(
        visit,
        "budgets/all.html",
        balances=found,
        unused=unused,
        tenants=visit.readable,
        tenant=visit.query.get("tenant") or None,
    )


def export_all(visit: Visit) -> Response:
    """The same as a file."""
    read = _all(visit)
    if read is None:
        return _none(visit)
    name = f"{visit.query.get('tenant') or 'all'}-budgets"
    return table_file(visit, name, BALANCE_COLUMNS, balance_rows(read[0]))


def _all(visit: Visit) -> tuple[list[Balance], list[tuple[str, str]]] | None:
    """The balances that are shown, and the budgets that have none yet; None where the reader may not see the tenant."""
    readable = visit.readable
    tenant = visit.query.get("tenant") or None
    if tenant is not None and tenant not in readable:
        return None
    views = visit.office.tenants()
    with visit.office.store() as store:
        now_ns = store.clock_ns()
        found: list[Balance] = []
        unused: list[tuple[str, str]] = []
        for each in readable:
            if tenant in (None, each):
                registry = views[each].registry
                of_tenant = balances_of(store.query, registry, registry.budgets.values(), now_ns)
                known = {balance.budget.id for balance in of_tenant}
                unused += [(each, name) for name in sorted(registry.budgets) if name not in known]
                found += of_tenant
    return sorted(found, key=fullness), unused


def show_one(visit: Visit) -> Response:
    """One budget, and one of its balances."""
    found = _budget(visit)
    if found is None:
        return _none(visit)
    registry, budget = found
    with visit.office.store() as store:
        now_ns = store.clock_ns()
        reports = Reports(store.query)
        fullest, count = reports.fullest(registry.tenant, budget, now_ns, _SCOPES_LISTED + 1)
        standing = _chosen(visit, reports, registry, budget, fullest, now_ns)
        balance, points = _course(store, registry, standing, now_ns)
        agents = AgentsOfBudget(store.query).of(registry, budget, now_ns, _AGENTS_LISTED)
        return living(
            visit,
            "budgets/one.html",
            registry=registry,
            tenant=registry.tenant,
            budget=budget,
            balance=balance,
            others=[each for each in fullest if standing is None or each.scope != standing.scope][
                :_SCOPES_LISTED
            ],
            others_count=max(0, count - 1),
            course=None if balance is None or not points else course_of(balance, points, now_ns),
            points=points,
            band_percent=BAND_PERCENT,
            limit=limit_text(budget.limit, budget.unit, registry),
            terms=list(window_terms(fullest[:1], registry.quantities[budget.quantity], now_ns)),
            thresholds=_thresholds(store, registry, balance),
            changes=_changes(store, registry, budget),
            agents=agents.agents,
            agents_words=agents_words(agents, lambda at_ns: local(at_ns, budget.zone)),
            windows=reports.windows(registry.tenant, budget.id, now_ns),
            quantity=registry.quantities[budget.quantity],
        )


def show_course(visit: Visit) -> Response:
    """What the chart of one balance is drawn from, as JSON."""
    found = _budget(visit)
    if found is None:
        return _none(visit)
    registry, budget = found
    with visit.office.store() as store:
        now_ns = store.clock_ns()
        standing = _asked(visit, Reports(store.query), registry, budget, now_ns)
        balance, points = _course(store, registry, standing, now_ns)
    if balance is None or not points:
        return _none(visit)
    drawn: Course = course_of(balance, points, now_ns)
    return Response(msgspec.json.encode(drawn), media_type="application/json")


def export_one(visit: Visit) -> Response:
    """One of the tables of a budget's page as a file, by its name in the address."""
    found = _budget(visit)
    if found is None:
        return _none(visit)
    registry, budget = found
    quantity = registry.quantities[budget.quantity]
    name = f"{registry.tenant}-{budget.id}-{visit.at['table']}"
    with visit.office.store() as store:
        now_ns, reports = store.clock_ns(), Reports(store.query)
        match visit.at["table"]:
            case "history":
                changes = history_of(store.rows, registry.tenant, budget.id, FILE_ROWS_MAX)
                return table_file(visit, name, CHANGE_COLUMNS, change_rows(changes, registry))
            case "agents":
                agents = AgentsOfBudget(store.query).of(registry, budget, now_ns, FILE_ROWS_MAX)
                return table_file(visit, name, AGENT_COLUMNS, agent_rows(agents))
            case "windows":
                windows = reports.windows(registry.tenant, budget.id, now_ns, FILE_ROWS_MAX)
                return table_file(visit, name, WINDOW_COLUMNS, window_rows(windows, quantity))
            case "balances":
                standings, _ = reports.fullest(registry.tenant, budget, now_ns, FILE_ROWS_MAX)
                balances = [
                    balance_of(store.query, registry, each, now_ns, with_forecast=False) for each in standings
                ]
                return table_file(visit, name, BALANCE_COLUMNS, balance_rows(balances))
            case "course":
                standing = _asked(visit, reports, registry, budget, now_ns)
                _, points = _course(store, registry, standing, now_ns)
                return table_file(visit, name, COURSE_COLUMNS, course_rows(points, quantity))
    return _none(visit)


def _budget(visit: Visit) -> tuple[Registry, Budget] | None:
    """The budget of an address; None where the reader may not see it, or there is none."""
    tenant = visit.at["tenant"]
    if tenant not in visit.readable:
        return None
    registry = visit.office.tenants()[tenant].registry
    budget = registry.budgets.get(visit.at["budget"])
    return None if budget is None else (registry, budget)


def _asked(
    visit: Visit, reports: Reports, registry: Registry, budget: Budget, now_ns: int
) -> BudgetStanding | None:
    """The balance that is asked for, or the fullest; None where there is none yet."""
    fullest, _ = reports.fullest(registry.tenant, budget, now_ns, 1)
    return _chosen(visit, reports, registry, budget, fullest, now_ns)


def _chosen(
    visit: Visit,
    reports: Reports,
    registry: Registry,
    budget: Budget,
    fullest: Sequence[BudgetStanding],
    now_ns: int,
) -> BudgetStanding | None:
    """The same, where it is known which are fullest. One that isn't among them is looked up."""
    scope = visit.query.get("scope")
    among = next((each for each in fullest if each.scope == scope), None)
    if among is None and scope and "\0" not in scope:
        among = reports.standing(registry.tenant, budget, scope, now_ns)
    return among or next(iter(fullest), None)


def _course(
    store: Store, registry: Registry, standing: BudgetStanding | None, now_ns: int
) -> tuple[Balance | None, tuple[BurnPoint, ...]]:
    if standing is None:
        return None, ()
    use = BudgetUse(store.query).hourly(registry.tenant, standing.budget, standing.scope, now_ns)
    return balance_of(store.query, registry, standing, now_ns), burn_down_of(use, standing, now_ns)


def _thresholds(store: Store, registry: Registry, balance: Balance | None) -> list[ThresholdLine]:
    if balance is None:
        return []
    word_on = WordsAsked(store.query, registry.tenant)
    standing, budget = balance.standing, balance.budget
    notes = standing.balance.notes
    watched = notes.watched if notes is not None else None
    key = (budget.id, standing.scope, standing.window.label)

    def writes(amount: int) -> str:
        return limit_text(amount, budget.unit, registry)

    lines = []
    for each in balance.thresholds:
        at = watched.find(each.threshold.id) if watched is not None else None
        waits = each.state == "waiting" and at is not None
        lines.append(
            ThresholdLine(
                place=place_text(each.threshold, writes),
                does=acts_text(each.threshold, writes),
                at=each,
                approval=word_on(key, at) if waits and at is not None else None,
            )
        )
    return lines


def _changes(store: Store, registry: Registry, budget: Budget) -> list[ChangeLine]:
    return [
        ChangeLine(
            kind=each.kind.replace("_", " "),
            at_ns=each.at_ns,
            before=limit_text(each.limit_before, each.unit, registry),
            after=limit_text(each.limit_after, each.unit, registry),
            ends_ns=each.ends_ns,
            asked_by=each.asked_by,
            approver=each.approver,
            reason=each.reason,
            version=each.config_version,
        )
        for each in history_of(store.rows, registry.tenant, budget.id, _HISTORY_MAX)
    ]


def _none(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such budget",
        "The address may have been cut when it was copied, or it is a budget of a tenant that you may not see.",
    )
