"""Spans that nobody gets, said in the log: a receiver that is down can't be told of them as a metric.

Rule: one line a minute at most, with how many there were since the last one, and why.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry import metrics
from opentelemetry.util.types import Attributes

SAID_AGAIN_S = 60.0

_DROPPED, _EXPORTED = "otel.sdk.processor.span.processed", "otel.sdk.exporter.span.exported"
_QUEUED, _IN_FLIGHT = "otel.sdk.processor.span.queue.size", "otel.sdk.exporter.span.inflight"
_log = logging.getLogger("aegis.telemetry")


class Losses:
    """How many spans were lost since that was said last. `waiting` tell how many are still to be sent."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """None yet."""
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._lost: Counter[str] = Counter()
        self._said_s: float | None = None
        self.waiting: list[Callable[[], int]] = []

    def add(self, count: int, why: str) -> None:
        """So many more."""
        with self._lock:
            self._lost[why] += count
            now_s = self._clock_s()
            if self._said_s is None or now_s - self._said_s >= SAID_AGAIN_S:
                self._said_s = now_s
                self._say()

    def close(self) -> None:
        """Say what isn't said yet, and what nobody sends any more: the process ends."""
        with self._lock:
            if waiting := sum(count() for count in self.waiting):
                self._lost["not sent before the end"] += waiting
            self._say()

    def _say(self) -> None:
        if self._lost:
            why = ", ".join(f"{count:,} ({why})" for why, count in sorted(self._lost.items()))
            _log.warning("spans were lost: %s; no call was kept by that, and its cost is in the ledger", why)
            self._lost.clear()


class WatchedMeters(metrics.MeterProvider):
    """Meters for the SDK's own use, by which it counts the spans that it drops: these are heard of here as well."""

    def __init__(self, meters: metrics.MeterProvider, losses: Losses) -> None:
        """Hand everything on to `meters`."""
        self._meters = meters
        self._losses = losses

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes | None = None,
    ) -> metrics.Meter:
        """A meter whose counters of spans are watched."""
        return _WatchedMeter(self._meters.get_meter(name, version, schema_url, attributes), self._losses)


class _WatchedMeter(metrics.Meter):
    def __init__(self, meter: metrics.Meter, losses: Losses) -> None:
        super().__init__(meter.name, meter.version, meter.schema_url)
        self._meter = meter
        self._losses = losses

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        counter = self._meter.create_counter(name, unit, description)
        if name not in (_DROPPED, _EXPORTED):
            return counter
        return _WatchedCounter(counter, self._losses)

    def create_up_down_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> metrics.UpDownCounter:
        counter = self._meter.create_up_down_counter(name, unit, description)
        if name != _IN_FLIGHT:
            return counter
        watched = _WatchedSum(counter)
        self._losses.waiting.append(lambda: watched.sum)
        return watched

    def create_observable_counter(
        self, name: str, callbacks: Sequence[Any] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableCounter:
        return self._meter.create_observable_counter(name, callbacks, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        return self._meter.create_histogram(
            name, unit, description, explicit_bucket_boundaries_advisory=explicit_bucket_boundaries_advisory
        )

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[Any] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableGauge:
        return self._meter.create_observable_gauge(name, callbacks, unit, description)

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[Any] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableUpDownCounter:
        if name == _QUEUED:
            self._losses.waiting += [_observed(callback) for callback in callbacks or ()]
        return self._meter.create_observable_up_down_counter(name, callbacks, unit, description)


def _observed(
    callback: Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]],
) -> Callable[[], int]:
    return lambda: int(sum(each.value for each in callback(metrics.CallbackOptions())))


class _WatchedSum(metrics.UpDownCounter):
    def __init__(self, counter: metrics.UpDownCounter) -> None:
        self._counter = counter
        self.sum = 0

    def add(self, amount: int | float, attributes: Attributes | None = None, context: Any = None) -> None:
        self._counter.add(amount, attributes, context)
        self.sum += int(amount)


class _WatchedCounter(metrics.Counter):
    def __init__(self, counter: metrics.Counter, losses: Losses) -> None:
        self._counter = counter
        self._losses = losses

    def add(self, amount: int | float, attributes: Attributes | None = None, context: Any = None) -> None:
        self._counter.add(amount, attributes, context)
        why = (attributes or {}).get("error.type")
        if why is not None:
            self._losses.add(int(amount), str(why).replace("_", " "))
