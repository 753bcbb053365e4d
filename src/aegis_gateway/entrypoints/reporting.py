"""The report of a month, read from a store, as commands, the page, messages and the control API tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aegis_gateway.adapters.incident_reports import IncidentReports
from aegis_gateway.adapters.metrics_reports import MetricsReports
from aegis_gateway.adapters.month_reports import MonthReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.usage_reports import UsageReports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.kpi import Figure, Totals, figures
from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.report import BY, Changes, Driver, FigurePair, PlanLine, Point, Report, changes_of
from aegis_gateway.domain.report_points import ReportFacts, Shadowed, decisions_of, risks_of
from aegis_gateway.domain.rollout import Rollout
from aegis_gateway.domain.shadow_rules import in_shadow
from aegis_gateway.entrypoints.months import Month
from aegis_gateway.entrypoints.plan_lines import PlanLines
from aegis_gateway.entrypoints.tenant_spending import TenantSpending

_ROWS_MOST = 1_000_000
_PROPOSALS_MOST = 1_000


def report_of(
    store: Store, registry: Registry, policies: Iterable[Policy], rollout: Rollout, month: Month
) -> Report:
    """Read it. `rollout` is how far the tenant's is now."""
    tenant, usage = registry.tenant, UsageReports(store.query)
    period, before = month.period, month.before
    now = usage.totals(tenant, period.since_ns, period.until_ns)
    then = usage.totals(tenant, before.since_ns, before.until_ns)
    whole_before = then if before.until_ns == month.since_ns else usage.totals(tenant, *month.whole_before)
    incidents = IncidentReports(store.query)
    known = {
        each.id: each for each in figures(then, incidents.times(tenant, before.since_ns, before.until_ns))
    }
    found = figures(now, incidents.times(tenant, period.since_ns, period.until_ns))
    pairs = [FigurePair(now=each, before=known.get(each.id)) for each in found]
    spending = TenantSpending(store.query, registry, month.now_ns)
    expected = None if month.is_over else spending.forecast("monthly", now.sums.cost)
    is_told = expected is not None and expected.basis != "nothing"
    plans = PlanLines(store.query, registry, month)
    lines = plans.lines()
    facts = _facts(store, registry, policies, rollout, month, lines, now)
    return Report(
        tenant=tenant,
        tenant_name=registry.name,
        zone=registry.zone,
        month=month.label,
        name=month.name,
        at_ns=month.now_ns,
        is_over=month.is_over,
        period=period,
        before=before,
        spent_nano_usd=now.sums.cost,
        before_nano_usd=then.sums.cost,
        whole_before_nano_usd=whole_before.sums.cost,
        expected_nano_usd=expected.expected if expected is not None and is_told else None,
        low_nano_usd=expected.low if expected is not None and is_told else None,
        high_nano_usd=expected.high if expected is not None and is_told else None,
        calls=now.sums.calls,
        figures=tuple(each for each in pairs if not _is_saving(each.now) and each.is_known),
        savings=tuple(each for each in pairs if _is_saving(each.now)),
        plans=tuple(lines),
        plans_split=plans.split(),
        changes=tuple(_changes(usage, tenant, month)),
        risks=tuple(risks_of(facts)),
        decisions=tuple(decisions_of(facts)),
        days=tuple(_days(usage, tenant, month)),
    )


def _is_saving(figure: Figure) -> bool:
    return figure.group == "not spent"


def _changes(usage: UsageReports, tenant: str, month: Month) -> Iterable[Changes]:
    period, before = month.period, month.before
    for by in BY:
        found = [
            {
                each.values[0]: each.sums.cost
                for each in usage.by(tenant, stretch.since_ns, stretch.until_ns, (by,), limit=_ROWS_MOST)
            }
            for stretch in (period, before)
        ]
        yield changes_of(by, found[0], found[1])


def _days(usage: UsageReports, tenant: str, month: Month) -> Iterable[tuple[str, int]]:
    """Each day of the month with what it came to; those to come with nothing."""
    stretches = month.days
    amounts = usage.over_time(tenant, stretches, "team", ())[None]
    return ((f"{day}", amount) for day, amount in enumerate(amounts, 1))


def _facts(
    store: Store,
    registry: Registry,
    policies: Iterable[Policy],
    rollout: Rollout,
    month: Month,
    plans: list[PlanLine],
    totals: Totals,
) -> ReportFacts:
    tenant, query, period = registry.tenant, store.query, month.period
    metrics, reports = MetricsReports(query), Reports(query)
    doubtful, doubtful_nano_usd = MonthReports(query).in_doubt(tenant)
    rules = in_shadow(registry, policies)
    proposals = reports.proposals(_PROPOSALS_MOST, only_waiting=True)
    return ReportFacts(
        tenant=tenant,
        month=month.label,
        is_over=month.is_over,
        spent_nano_usd=totals.sums.cost,
        unattributed_nano_usd=totals.sums.cost - totals.attributed_cost,
        unpriced_calls=totals.sums.unpriced,
        plans=plans,
        shadowed=[
            Shadowed(rule=each.rule, would=each.would, calls=each.calls, maximum_nano_usd=each.maximum)
            for each in UsageReports(query).shadow(tenant, period.since_ns, period.until_ns)
            if each.rule in rules
        ],
        open_incidents=sum(metrics.open_incidents(tenant).values()),
        doubtful_calls=doubtful,
        doubtful_nano_usd=doubtful_nano_usd,
        given_up_messages=metrics.deliveries(tenant).get("dead", 0),
        waiting_approvals=metrics.waiting_approvals(tenant),
        waiting_proposals=sum(tenant in each.tenants for each in proposals),
        rollout=rollout,
    )


# -- for programs ------------------------------------------------------------------------------------------


def report_record(report: Report, instant: Callable[[int], str]) -> dict[str, object]:
    """It for programs; `instant` writes a time. Amounts are nano-USD, and in dollars where that helps to read."""
    return {
        "tenant": report.tenant,
        "month": report.month,
        "is_over": report.is_over,
        "at": instant(report.at_ns),
        "zone": report.zone,
        "since": instant(report.period.since_ns),
        "until": instant(report.period.until_ns),
        "compared_with": {
            "since": instant(report.before.since_ns),
            "until": instant(report.before.until_ns),
            "words": report.before.words,
        },
        "calls": report.calls,
        "spent_nano_usd": report.spent_nano_usd,
        "spent": f"${usd_decimal_text(report.spent_nano_usd)}",
        "before_nano_usd": report.before_nano_usd,
        "month_before_nano_usd": report.whole_before_nano_usd,
        "change_nano_usd": report.change_nano_usd,
        "expected_nano_usd": report.expected_nano_usd,
        "expected_low_nano_usd": report.low_nano_usd,
        "expected_high_nano_usd": report.high_nano_usd,
        "budgets": [_plan_record(each) for each in report.plans],
        "budgets_split": report.plans_split,
        "figures": [_pair_record(each) for each in report.figures],
        "savings": [_pair_record(each) for each in report.savings],
        "changes": [_changes_record(each) for each in report.changes],
        "risks": [_point_record(each) for each in report.risks],
        "decisions": [_point_record(each) for each in report.decisions],
        "days": [{"day": day, "nano_usd": amount} for day, amount in report.days],
    }


def _plan_record(plan: PlanLine) -> dict[str, object]:
    share = plan.deviation
    return {
        "budget": plan.budget,
        "owner": plan.owner,
        "mode": plan.mode,
        "window": plan.window,
        "windows": plan.windows,
        "plan_nano_usd": plan.plan_nano_usd,
        "spent_nano_usd": plan.spent_nano_usd,
        "reserved_nano_usd": plan.reserved_nano_usd,
        "expected_nano_usd": plan.expected_nano_usd,
        "expected_low_nano_usd": plan.low_nano_usd,
        "expected_high_nano_usd": plan.high_nano_usd,
        "deviation": None if share is None else float(share),
        "calls_for": plan.calls_for,
        "exhausted": plan.is_exhausted,
    }


def _pair_record(pair: FigurePair) -> dict[str, object]:
    return {
        "id": pair.now.id,
        "name": pair.now.name,
        "unit": "nano_usd" if pair.now.unit == "usd" else pair.now.unit,
        "numerator": pair.now.numerator,
        "denominator": pair.now.denominator,
        "before_numerator": None if pair.before is None else pair.before.numerator,
        "before_denominator": None if pair.before is None else pair.before.denominator,
        "trend": pair.trend,
        "formula": pair.now.formula,
        "source": pair.now.source,
    }


def _changes_record(changes: Changes) -> dict[str, object]:
    return {
        "by": changes.by,
        "change_nano_usd": changes.total_nano_usd,
        "increases": [_driver_record(each) for each in changes.increases],
        "decreases": [_driver_record(each) for each in changes.decreases],
        "rest": {**_driver_record(changes.rest), "count": changes.rest_count},
    }


def _driver_record(driver: Driver) -> dict[str, object]:
    return {
        "value": driver.value,
        "nano_usd": driver.nano_usd,
        "before_nano_usd": driver.before_nano_usd,
        "change_nano_usd": driver.change_nano_usd,
    }


def _point_record(point: Point) -> dict[str, object]:
    return {"kind": point.kind, "words": point.words, "page": point.address, "command": point.command or None}
