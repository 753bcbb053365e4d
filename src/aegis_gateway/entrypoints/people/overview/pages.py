"""The first page, what its chart is drawn from, and its table as a file. The address says what is looked at."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from aegis_gateway.entrypoints.people.columns import Row
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.overview.alerts import ALERTS_SHOWN
from aegis_gateway.entrypoints.people.overview.charts import drawn_as
from aegis_gateway.entrypoints.people.overview.desk import (
    BUDGETS_SHOWN,
    OverviewDesk,
    name_of,
)
from aegis_gateway.entrypoints.people.overview.export import (
    DAY_COLUMNS,
    FIGURE_COLUMNS,
    figure_rows,
    usage_columns,
    usage_rows,
)
from aegis_gateway.entrypoints.people.overview.periods import RANGE_WORDS
from aegis_gateway.entrypoints.people.overview.tags import tags_of
from aegis_gateway.entrypoints.people.overview.view import (
    CHART_WORDS,
    GROUPING_WORDS,
    View,
    view_of,
    words_of,
)
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit

_FIGURES = (
    "cost_per_transaction",
    "cost_per_call",
    "cost_per_1k_tokens",
    "cost_per_agent",
    "cost_per_success",
    "success_rate",
    "wasted",
    "allocation_coverage",
    "violations",
    "saved_by_downgrades",
    "not_spent",
    "cache_candidates",
)


def show_overview(visit: Visit) -> Response:
    """What is spent, what wants somebody, how budgets stand, and what spending is made of."""
    view = _view(visit)
    if view is None:
        return visit.without_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        desk = OverviewDesk(store, registry)
        balances = desk.budgets()
        spending, alerts = desk.spending(view), desk.alerts()
        return living(
            visit,
            "overview/page.html",
            registry=registry,
            tenants=visit.readable,
            view=view,
            today=desk.today(),
            month=desk.month(),
            needs=desk.needs(balances),
            balances=balances[:BUDGETS_SHOWN],
            balances_count=len(balances),
            spending=spending,
            figures=[each for each in spending.figures if each.id in _FIGURES],
            ranges=list(RANGE_WORDS.items()),
            groupings=list(GROUPING_WORDS.items()),
            tags=[(each, words_of(each)) for each in tags_of(registry)],
            charts=list(CHART_WORDS.items()),
            days=desk.days(spending) if view.chart == "calendar" else [],
            alerts=alerts[:ALERTS_SHOWN],
            alerts_more=max(0, len(alerts) - ALERTS_SHOWN),
            words_of=words_of,
            name_of=name_of,
        )


def show_series(visit: Visit) -> Response:
    """What the chart is drawn from, as JSON. Amounts are in nano-USD."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        desk = OverviewDesk(store, registry)
        found = drawn_as(view.chart)(desk, desk.spending(view))
    return Response(msgspec.json.encode(found), media_type="application/json")


def export_table(visit: Visit) -> Response:
    """The table behind the chart, whole."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        rows = OverviewDesk(store, registry).rows(view)
    name = f"{view.tenant}-{_slug(view)}-by-{view.by}"
    return table_file(visit, name, usage_columns(view.by), usage_rows(rows))


def export_figures(visit: Visit) -> Response:
    """The key figures of the period, all of them."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        spending = OverviewDesk(store, registry).spending(view)
    rows = figure_rows(spending.figures, spending.period.since_ns, spending.period.until_ns)
    return table_file(visit, f"{view.tenant}-{_slug(view)}-key-figures", FIGURE_COLUMNS, rows)


def export_days(visit: Visit) -> Response:
    """What was spent on each day, or in each hour, of the period."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        desk = OverviewDesk(store, registry)
        days = desk.days(desk.spending(view))
    rows: list[Row] = [[each.since_ns, each.until_ns, each.words, amount] for each, amount in days]
    return table_file(visit, f"{view.tenant}-{_slug(view)}-by-time", DAY_COLUMNS, rows)


def _slug(view: View) -> str:
    return f"{view.since}-{view.until or 'now'}" if view.since else view.range


def _view(visit: Visit) -> View | None:
    """What is asked for; None where it is of no tenant that the reader may see."""
    tenant = visit.tenant
    if tenant is None:
        return None
    return view_of(visit.query, tenant, tags_of(visit.office.tenants()[tenant].registry))
