"""The page of a run: the tree of what was called in it and below it, with what each part of it cost."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.responses import Response

from aegis_gateway.adapters.outcome_reports import OutcomeReports
from aegis_gateway.adapters.reports import CallReport, Reports
from aegis_gateway.application.runs import KnownRun, recorded_run
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.replication import Run
from aegis_gateway.domain.trace_place import TracePlace
from aegis_gateway.entrypoints.call_account import cost_text, trace_link
from aegis_gateway.entrypoints.people.calls.view import EFFECT_WORDS, STATE_WORDS
from aegis_gateway.entrypoints.people.kpi.view import RESULT_WORDS
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.runs.export import RUN_COLUMNS, run_rows
from aegis_gateway.entrypoints.people.runs.tree import RunNode, delegate, run_node
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit

CALLS_MAX = 1_000
RUNS_MAX = 100
TRACES_MAX = 5
"""So many traces of a run are named; its calls lead to all of them."""

_NUMBER = re.compile(r"[0-9a-f]{20}")


class _Reading:
    """Reads a run and what was delegated in it, up to so many calls in all."""

    def __init__(self, reports: Reports, registry: Registry) -> None:
        self._reports = reports
        self._tenant = registry.tenant
        self._mcp = frozenset(each.id for each in registry.connectors.values() if each.kind == "mcp")
        self.left = CALLS_MAX
        self.is_cut = False

    def node(self, number: str, run: Run | None) -> tuple[RunNode, KnownRun] | None:
        """One run, and what its id says; None where nothing is known of it."""
        found = self._reports.calls_of_run(self._tenant, number, self.left + 1)
        self.is_cut |= len(found) > self.left
        calls = found[: self.left]
        self.left -= len(calls)
        if run is None and not calls:
            return None
        attempts = self._reports.attempts_of_run(self._tenant, number)
        known = recorded_run(run.run if run is not None else calls[0].run or "")
        return run_node(run, number, calls, attempts, self._mcp), known

    def tree(self, number: str) -> tuple[RunNode, KnownRun] | None:
        """The run with all below it."""
        found = self.node(number, self._reports.run(self._tenant, number))
        if found is None:
            return None
        top, known = found
        runs = self._reports.runs_of_tree(self._tenant, known.tree, RUNS_MAX + 1)
        self.is_cut |= len(runs) > RUNS_MAX
        below = []
        for each in _inside(number, runs[:RUNS_MAX]):
            read = self.node(each.number, each)
            if read is not None:
                below.append((read[0], each.above, read[1].parent))
        return delegate(top, below), known


def show_one(visit: Visit) -> Response:
    """One run, by its number or its whole id."""
    found = _read(visit)
    if found is None:
        return _none(visit)
    reading, top, known = found
    with visit.office.store() as store:
        reported = OutcomeReports(store.query).of_run(visit.at["tenant"], top.number)
    return living(
        visit,
        "runs/one.html",
        tenant=visit.at["tenant"],
        top=top,
        sums=top.sums,
        known=known,
        reported=reported,
        result_words=RESULT_WORDS,
        is_cut=reading.is_cut,
        traces=_traces(top),
        traces_max=TRACES_MAX,
        trace_at=lambda call: trace_link(call, visit.office.trace_url),
        calls_max=CALLS_MAX,
        runs_max=RUNS_MAX,
        cost_text=cost_text,
        effect_words=EFFECT_WORDS,
        state_words=STATE_WORDS,
    )


def _traces(top: RunNode) -> list[tuple[TracePlace, CallReport]]:
    """The traces that its calls are in, the first first, each with a call of it that somebody kept, if there is one."""
    found: dict[str, tuple[TracePlace, CallReport]] = {}
    for each in sorted(top.every_call, key=lambda call: call.sequence):
        place = each.place
        if place is not None and (place.trace not in found or not found[place.trace][0].is_sampled):
            found[place.trace] = (place, each)
    return list(found.values())


def export_one(visit: Visit) -> Response:
    """Its tree as a file, a row for each call."""
    found = _read(visit)
    if found is None:
        return _none(visit)
    _, top, _ = found
    return table_file(visit, f"{visit.at['tenant']}-run-{top.number}", RUN_COLUMNS, run_rows(top))


def _read(visit: Visit) -> tuple[_Reading, RunNode, KnownRun] | None:
    """The run of an address; None where the reader may not see it, or nothing was called in it."""
    tenant = visit.at["tenant"]
    number = recorded_run(visit.at["run"]).number
    if tenant not in visit.readable or not _NUMBER.fullmatch(number):
        return None
    with visit.office.store() as store:
        reading = _Reading(Reports(store.query), visit.office.tenants()[tenant].registry)
        found = reading.tree(number)
    return None if found is None else (reading, *found)


def _inside(number: str, runs: Sequence[Run]) -> list[Run]:
    """The runs of a tree that were delegated in one of them, or below that."""
    inside = {number}
    while found := {each.number for each in runs if each.above in inside} - inside:
        inside |= found
    return [each for each in runs if each.number in inside and each.number != number]


def _none(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such run",
        "The address may have been cut when it was copied, nothing was called in it, or it is a run of a tenant "
        "that you may not see.",
    )
