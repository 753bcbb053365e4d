"""How fast it is, what fails, and how full budgets are, as metrics. Labels are those of `/metrics`, and as bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from aegis_gateway.application.metering import BudgetSeen
from aegis_gateway.domain.pace import BOUNDS_NS, LABELS, Measure

BUDGETS_MAX = 1_000
"""So many are told, the fullest first: the SDK would add up what is beyond 2,000."""

_NS = 1_000_000_000
_HISTOGRAMS: dict[Measure, tuple[str, str]] = {
    "added": ("aegis.call.added.duration", "what the gateway adds to a call"),
    "upstream": ("aegis.call.upstream.duration", "what a call's upstream takes"),
    "whole": ("aegis.call.duration", "calls as a whole, until what became of them is on disk"),
}
_COUNTERS: dict[Measure, tuple[str, str, str]] = {
    "upstream_error": ("aegis.upstream.errors", "{call}", "calls whose upstream failed"),
    "refused": ("aegis.requests.refused", "{request}", "requests answered without a decision"),
    "settlement": ("aegis.settlements", "{call}", "calls settled, put in doubt, or not settled at once"),
}
_NAMES = {
    "tenant": "aegis.tenant",
    "door": "aegis.door",
    "effect": "aegis.decision",
    "connector": "aegis.connector",
    "kind": "error.type",
    "why": "error.type",
    "how": "aegis.settlement",
}


class PaceMeters:
    """The instruments of one process."""

    def __init__(self, meter: Meter) -> None:
        """Make those that are told; those that are asked for are made when somebody can say."""
        self._meter = meter
        self._histograms = {
            measure: meter.create_histogram(
                name,
                unit="s",
                description=words,
                explicit_bucket_boundaries_advisory=[bound / _NS for bound in BOUNDS_NS[measure]],
            )
            for measure, (name, words) in _HISTOGRAMS.items()
        }
        self._counters = {
            measure: meter.create_counter(name, unit=unit, description=words)
            for measure, (name, unit, words) in _COUNTERS.items()
        }

    def timed(self, measure: Measure, labels: tuple[str, ...], took_ns: int) -> None:
        """Something took so long."""
        self._histograms[measure].record(took_ns / _NS, _attributes(measure, labels))

    def counted(self, measure: Measure, labels: tuple[str, ...]) -> None:
        """Something happened."""
        self._counters[measure].add(1, _attributes(measure, labels))

    def watch_under_way(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Ask this for the requests that are under way, by door, whenever metrics are sent."""

        def observe(_options: CallbackOptions) -> Iterator[Observation]:
            # A copy: requests come and go meanwhile.
            for door, number in dict(read()).items():
                yield Observation(number, {"aegis.door": door})

        self._meter.create_observable_gauge(
            "aegis.requests.under_way", [observe], unit="{request}", description="requests not answered yet"
        )

    def watch_budgets(self, read: Callable[[], Iterable[BudgetSeen]]) -> None:
        """Ask this for all budgets whenever metrics are sent."""

        def fullest(_options: CallbackOptions) -> Iterator[Observation]:
            told = [each for each in read() if each.utilization is not None]
            told.sort(key=lambda each: each.utilization or 0.0, reverse=True)
            for each in told[:BUDGETS_MAX]:
                yield Observation(
                    each.utilization or 0.0, {**_budget(each), "aegis.budget.scope": each.scope}
                )

        def fastest(_options: CallbackOptions) -> Iterator[Observation]:
            told = [each for each in read() if each.burn_rate is not None]
            told.sort(key=lambda each: each.burn_rate or 0.0, reverse=True)
            for each in told[:BUDGETS_MAX]:
                yield Observation(each.burn_rate or 0.0, _budget(each))

        self._meter.create_observable_gauge(
            "aegis.budget.utilization",
            [fullest],
            unit="1",
            description="spent and reserved of a budget, as a share of its limit",
        )
        self._meter.create_observable_gauge(
            "aegis.budget.burn_rate",
            [fastest],
            unit="1",
            description="the last whole hour against an even spending over the window; 1 uses the budget up",
        )


def _budget(seen: BudgetSeen) -> dict[str, str]:
    return {"aegis.tenant": seen.tenant, "aegis.budget": seen.budget}


def _attributes(measure: Measure, labels: tuple[str, ...]) -> dict[str, str]:
    return {_NAMES[name]: value for name, value in zip(LABELS[measure], labels, strict=True)}
