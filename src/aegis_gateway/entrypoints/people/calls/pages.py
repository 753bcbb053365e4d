"""The pages of calls: those of a tenant as they come, the same as a file, and one of them in full.

Rule: a page is as many calls as it shows, read along an index from where the one before ended, however many there are.
"""

from __future__ import annotations

from starlette.responses import Response

from aegis_gateway.adapters.pace_reports import PaceReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.runs import recorded_run
from aegis_gateway.entrypoints.call_account import (
    charges,
    cost_text,
    facts,
    held,
    read_account,
    reasons,
    steps,
    sums,
    trace_link,
)
from aegis_gateway.entrypoints.pace_account import MINUTES, duration_text, rate_text, read_pace
from aegis_gateway.entrypoints.people.calls.export import CALL_COLUMNS, call_rows
from aegis_gateway.entrypoints.people.calls.view import (
    EFFECT_WORDS,
    ERROR_WORDS,
    REFUSED_WORDS,
    STATE_WORDS,
    CallsView,
    view_of,
)
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.since import since_choices
from aegis_gateway.entrypoints.people.tables import FILE_ROWS_MAX, table_file
from aegis_gateway.entrypoints.people.visits import Visit

LISTED_MAX = 50

_MINUTE_NS = 60 * 1_000_000_000


def show_all(visit: Visit) -> Response:
    """A tenant's calls, the newest first, and how many were decided how just now."""
    view = _view(visit)
    if view is None:
        return visit.without_tenant()
    with visit.office.store() as store:
        reports, now_ns = Reports(store.query), store.clock_ns()
        found = reports.calls(view.tenant, view.wanted(now_ns), LISTED_MAX + 1, behind=view.behind)
        effects = reports.effects(view.tenant, now_ns - _MINUTE_NS)
        under_way = reports.open_calls(view.tenant)
        is_whole = len(visit.readable) == len(visit.office.tenants())
        pace = read_pace(PaceReports(store.query), view.tenant, now_ns, is_whole=is_whole)
    listed = found[:LISTED_MAX]
    return living(
        visit,
        "calls/all.html",
        view=view,
        tenants=visit.readable,
        agents=sorted(visit.office.tenants()[view.tenant].registry.agents),
        calls=listed,
        following=view.after(listed[-1]) if len(found) > LISTED_MAX else None,
        effects=effects,
        open_calls=under_way,
        pace=pace,
        pace_minutes=MINUTES,
        rate=rate_text,
        duration=duration_text,
        error_words=ERROR_WORDS,
        refused_words=REFUSED_WORDS,
        effect_words=EFFECT_WORDS,
        state_words=STATE_WORDS,
        since_words=since_choices(view.since),
        cost_text=cost_text,
        exported_max=FILE_ROWS_MAX,
    )


def export_table(visit: Visit) -> Response:
    """The same calls as a file, from the newest on."""
    view = _view(visit)
    if view is None:
        return visit.without_tenant()
    with visit.office.store() as store:
        found = Reports(store.query).calls(view.tenant, view.wanted(store.clock_ns()), FILE_ROWS_MAX)
    return table_file(visit, f"{view.tenant}-calls-{view.since}", CALL_COLUMNS, call_rows(found))


def show_one(visit: Visit) -> Response:
    """One call in full."""
    tenant, name = visit.at["tenant"], visit.at["call"]
    if tenant not in visit.readable:
        return _no_call(visit)
    with visit.office.store() as store:
        reports = Reports(store.query)
        account = read_account(reports, tenant, name)
        if account is None:
            return _no_call(visit)
        hint = reports.key_hint(tenant, account.call.api_key)
    return living(
        visit,
        "calls/one.html",
        tenant=tenant,
        call=account.call,
        account=account,
        reasons=reasons(account),
        facts=facts(account),
        hint=hint,
        run_number=recorded_run(account.call.run or "").number,
        approval=account.decision.get("approval"),
        trace_at=trace_link(account.call, visit.office.trace_url),
        sums=list(sums(account)),
        charges=charges(account),
        held=held(account),
        steps=list(steps(account)),
        effect_words=EFFECT_WORDS,
        state_words=STATE_WORDS,
    )


def _view(visit: Visit) -> CallsView | None:
    """What is asked for; None where it is of no tenant that the reader may see."""
    tenant = visit.tenant
    return None if tenant is None else view_of(visit.query, tenant)


def _no_call(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such call",
        "The address may have been cut when it was copied, or it is a call of a tenant that you may not see.",
    )
