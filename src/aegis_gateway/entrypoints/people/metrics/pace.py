"""The metrics of how fast calls go and what fails: of this gateway, all its workers, since it began.

Rule 1: unlike the ledger's they are each gateway's own, so who scrapes several adds them up.
Rule 2: what has no tenant (refusals before anybody is known, what is under way) is told to who may read all tenants.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from aegis_gateway.application.pace import PaceTold
from aegis_gateway.domain.pace import BOUNDS_NS, LABELS, Measure, PaceRow, of_tenant

_NS = 1_000_000_000
_HISTOGRAMS: dict[Measure, tuple[str, str]] = {
    "added": (
        "aegis_added_duration_seconds",
        "What the gateway adds to a call: until its decision is on disk, and from its answer until its cost is.",
    ),
    "upstream": ("aegis_upstream_duration_seconds", "How long upstreams took for calls that were sent."),
    "whole": (
        "aegis_call_duration_seconds",
        "Calls as a whole, from when they were read until what became of them is on disk.",
    ),
}
_COUNTERS: dict[Measure, tuple[str, str]] = {
    "upstream_error": (
        "aegis_upstream_errors",
        "Calls whose upstream failed: timeout, connection, 5xx, 429.",
    ),
    "refused": ("aegis_refused_requests", "Requests that were answered without deciding, by why."),
    "settlement": ("aegis_settlements", "Calls that were settled or put in doubt, or could not be at once."),
}


class PaceMetrics(Collector):
    """What a gateway's workers counted, of some tenants."""

    def __init__(self, told: PaceTold, tenants: frozenset[str], *, is_whole: bool) -> None:
        """`is_whole`: these are all tenants that there are."""
        self._told = told
        self._tenants = tenants
        self._is_whole = is_whole

    def collect(self) -> Iterator[Metric]:
        """All families."""
        counts = {
            measure: CounterMetricFamily(name, words, labels=LABELS[measure])
            for measure, (name, words) in _COUNTERS.items()
        }
        durations = {
            measure: HistogramMetricFamily(name, words, labels=LABELS[measure])
            for measure, (name, words) in _HISTOGRAMS.items()
        }
        for row in filter(self._is_told, self._told.rows):
            if row.measure in durations:
                durations[row.measure].add_metric(row.labels, _buckets(row), row.numbers[0] / _NS)
            else:
                counts[row.measure].add_metric(row.labels, row.numbers[0])
        yield from durations.values()
        yield from counts.values()
        if self._is_whole:
            yield self._under_way()

    def _is_told(self, row: PaceRow) -> bool:
        tenant = of_tenant(row)
        return self._is_whole if tenant is None else tenant in self._tenants

    def _under_way(self) -> Metric:
        family = GaugeMetricFamily(
            "aegis_requests_under_way", "Requests that are not answered yet.", labels=("door",)
        )
        for door, number in self._told.under_way.items():
            family.add_metric((door,), number)
        return family


def _buckets(row: PaceRow) -> list[tuple[str, float]]:
    """Each bound in seconds, with how many durations are at most as long."""
    below, found = 0, []
    bounds = [*(repr(bound / _NS) for bound in BOUNDS_NS[row.measure]), "+Inf"]
    for bound, number in zip(bounds, row.numbers[1:], strict=True):
        below += number
        found.append((bound, float(below)))
    return found
