"""The first page, what its chart is drawn from, and its table as a file. The address says what is looked at."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.overview.desk import (
    BUDGETS_SHOWN,
    SERIES_MOST,
    OverviewDesk,
    Spending,
    name_of,
)
from aegis_gateway.entrypoints.people.overview.export import (
    FIGURE_COLUMNS,
    figure_rows,
    usage_columns,
    usage_rows,
)
from aegis_gateway.entrypoints.people.overview.periods import RANGE_WORDS, RANGES
from aegis_gateway.entrypoints.people.overview.view import GROUPING_WORDS, GROUPINGS, View, view_of
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit

_FIGURES = (
    "cost_per_transaction",
    "cost_per_call",
    "cost_per_1k_tokens",
    "cost_per_agent",
    "allocation_coverage",
    "violations",
    "saved_by_downgrades",
    "not_spent",
)


def show_overview(visit: Visit) -> Response:
    """What is spent, what wants somebody, how budgets stand, and what spending is made of."""
    view = _view(visit)
    if view is None:
        return visit.page("overview/none.html") if not visit.readable else visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        desk = OverviewDesk(visit.office, store, reader_of(visit), registry)
        balances = desk.budgets()
        spending = desk.spending(view)
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
            ranges=[(each, RANGE_WORDS[each]) for each in RANGES],
            groupings=[(each, GROUPING_WORDS[each]) for each in GROUPINGS],
            words_of=GROUPING_WORDS,
            name_of=name_of,
        )


def show_series(visit: Visit) -> Response:
    """What the chart is drawn from, as JSON. Amounts are in nano-USD."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        desk = OverviewDesk(visit.office, store, reader_of(visit), registry)
        spending = desk.spending(view)
        found = desk.series(spending)
    return Response(msgspec.json.encode(_drawn(spending, found)), media_type="application/json")


def export_table(visit: Visit) -> Response:
    """The table behind the chart, whole."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        rows = OverviewDesk(visit.office, store, reader_of(visit), registry).rows(view)
    name = f"{view.tenant}-{view.range}-by-{view.by}"
    return table_file(visit, name, usage_columns(view.by), usage_rows(rows))


def export_figures(visit: Visit) -> Response:
    """The key figures of the period, all of them."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        spending = OverviewDesk(visit.office, store, reader_of(visit), registry).spending(view)
    rows = figure_rows(spending.figures, spending.period.since_ns, spending.period.until_ns)
    return table_file(visit, f"{view.tenant}-{view.range}-key-figures", FIGURE_COLUMNS, rows)


def _drawn(spending: Spending, found: dict[str | None, list[int]]) -> dict[str, object]:
    period = spending.period
    series = [
        {"name": each.name, "color": each.series + 1, "nano_usd": found[each.value]}
        for each in spending.named
    ]
    if any(found[None]):
        series.append({"name": "all others", "color": SERIES_MOST + 1, "nano_usd": found[None]})
    return {
        "labels": [each.label for each in period.stretches],
        "words": [each.words for each in period.stretches],
        "each": period.each,
        "series": series,
    }


def _view(visit: Visit) -> View | None:
    """What is asked for; None where it is of no tenant that the reader may see."""
    tenant = visit.tenant
    return None if tenant is None else view_of(visit.query, tenant)
