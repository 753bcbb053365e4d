"""The page of key figures, the work behind them, and their tables as files. The address says what is looked at."""

from __future__ import annotations

from starlette.responses import Response

from aegis_gateway.adapters.outcome_reports import OutcomeReports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.figures import KeyFigures, key_figures
from aegis_gateway.entrypoints.people.kpi.desk import STEP_MARKS, FiguresDesk
from aegis_gateway.entrypoints.people.kpi.export import TABLES, Table, table_of, work_table
from aegis_gateway.entrypoints.people.kpi.view import (
    PART_WORDS,
    RANGE_WORDS_OF_FIGURES,
    RESULT_WORDS,
    FiguresView,
    result_of,
    view_of,
)
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.tables import FILE_ROWS_MAX, table_file
from aegis_gateway.entrypoints.people.visits import Visit

PARTS_SHOWN = 100
WORK_SHOWN = 100


def show_figures(visit: Visit) -> Response:
    """All figures of a period, with their formulas; what they are made of; budgets, rules and work behind them."""
    tenant = visit.tenant
    if tenant is None:
        return visit.without_tenant()
    view, registry = view_of(visit.query, tenant), visit.office.tenants()[tenant].registry
    with visit.office.store() as store:
        now_ns = store.clock_ns()
        found = _read(store, registry, view, now_ns)
    desk = FiguresDesk(view, found, now_ns)
    parts = desk.parts()
    return living(
        visit,
        "kpi/page.html",
        registry=registry,
        tenants=visit.readable,
        view=view,
        found=found,
        sections=desk.groups(),
        parts=parts[:PARTS_SHOWN],
        parts_unlisted=max(0, len(parts) - PARTS_SHOWN),
        work=desk.work(),
        budgets=desk.budgets(),
        violators=desk.violators(),
        ranges=list(RANGE_WORDS_OF_FIGURES.items()),
        groupings=list(PART_WORDS.items()),
        result_words=RESULT_WORDS,
        step_marks=STEP_MARKS,
    )


def show_work(visit: Visit) -> Response:
    """The trees of runs that came to something, the newest first: each with what it cost and what is claimed of it."""
    tenant = visit.tenant
    if tenant is None:
        return visit.without_tenant()
    view, result = view_of(visit.query, tenant), result_of(visit.query)
    registry = visit.office.tenants()[tenant].registry
    with visit.office.store() as store:
        since_ns, until_ns = view.period(registry.zone, store.clock_ns())
        found = OutcomeReports(store.query).told(tenant, result, since_ns, until_ns, WORK_SHOWN + 1)
    return visit.page(
        "kpi/work.html",
        registry=registry,
        view=view,
        result=result,
        results=[(each, words, view.work(each)) for each, words in RESULT_WORDS.items()],
        since_ns=since_ns,
        found=found[:WORK_SHOWN],
        is_cut=len(found) > WORK_SHOWN,
    )


def export_table(visit: Visit) -> Response:
    """One of the page's tables, whole."""
    tenant = visit.tenant
    if tenant is None:
        return visit.no_tenant()
    view, registry = view_of(visit.query, tenant), visit.office.tenants()[tenant].registry
    name: Table = next((each for each in TABLES if each == visit.query.get("table")), "figures")
    with visit.office.store() as store:
        now_ns = store.clock_ns()
        desk = FiguresDesk(view, found := _read(store, registry, view, now_ns), now_ns)
    columns, rows = table_of(name, view, desk, found)
    return table_file(visit, f"{tenant}-{view.range}-{name}", columns, rows)


def export_work(visit: Visit) -> Response:
    """The work of a period that came to something, up to ten thousand trees."""
    tenant = visit.tenant
    if tenant is None:
        return visit.no_tenant()
    view, result = view_of(visit.query, tenant), result_of(visit.query)
    registry = visit.office.tenants()[tenant].registry
    with visit.office.store() as store:
        since_ns, until_ns = view.period(registry.zone, store.clock_ns())
        found = OutcomeReports(store.query).told(tenant, result, since_ns, until_ns, FILE_ROWS_MAX)
    columns, rows = work_table(found)
    return table_file(visit, f"{tenant}-{view.range}-work-{result or 'open'}", columns, rows)


def _read(store: Store, registry: Registry, view: FiguresView, now_ns: int) -> KeyFigures:
    since_ns, until_ns = view.period(registry.zone, now_ns)
    return key_figures(store.query, registry, since_ns, until_ns, now_ns, view.by)
