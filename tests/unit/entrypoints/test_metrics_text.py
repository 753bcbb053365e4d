from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from aegis_gateway.entrypoints.people.metrics.text import SAMPLES_AT_ONCE, text_of


class Many(Collector):
    """More samples than are written at once, and a metric without any."""

    def collect(self) -> Iterator[Metric]:
        """Each kind that there is."""
        counter = CounterMetricFamily("aegis_calls", "# HELP of calls.", labels=("agent",))
        gauge = GaugeMetricFamily("aegis_used", "Used.", labels=("agent",))
        histogram = HistogramMetricFamily("aegis_took_seconds", "Took.", labels=("agent",))
        for number in range(SAMPLES_AT_ONCE + 7):
            name = f"a\n# TYPE {number}"
            counter.add_metric((name,), number)
            gauge.add_metric((name,), number / 3)
            histogram.add_metric((name,), [("0.1", 1.0), ("+Inf", 2.0)], 0.3)
        yield from (counter, gauge, histogram, GaugeMetricFamily("aegis_none", "None.", labels=("agent",)))


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_what_is_written_in_parts_is_what_is_written_at_once(accept: str) -> None:
    """In either format, with a breath after each part."""
    encode, _ = choose_encoder(accept)
    whole = CollectorRegistry()
    whole.register(Many())
    breaths: list[None] = []
    assert encode(whole).decode() == text_of(encode, [Many()], lambda: breaths.append(None)).decode()
    parts = [SAMPLES_AT_ONCE + 7, SAMPLES_AT_ONCE + 7, 4 * (SAMPLES_AT_ONCE + 7), 1]
    assert sum(-(-each // SAMPLES_AT_ONCE) for each in parts) == len(breaths)
