"""What telemetry says of calls; how often the exporters complain; and that nothing of it fails a call."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from aegis_gateway.adapters.telemetry.attributes import reason_text, settlement_attributes
from aegis_gateway.adapters.telemetry.losses import Losses, WatchedMeters
from aegis_gateway.adapters.telemetry.meters import Meters
from aegis_gateway.adapters.telemetry.otlp import Seldom
from aegis_gateway.adapters.telemetry.pace_meters import BUDGETS_MAX, PaceMeters
from aegis_gateway.adapters.telemetry.spans import OtelObserver
from aegis_gateway.application.metering import BudgetSeen
from aegis_gateway.application.tracing import CallAsked
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import ChargeLine, charge_line


def line(kind: str, quantity: int) -> ChargeLine:
    """A line at two nano-dollars a token."""
    return charge_line(kind, quantity, "token", UnitPrice(nano_usd=2), "v1")


def test_tokens_of_every_kind_are_counted_where_the_conventions_want_them() -> None:
    """Input has the cached ones in it, output the thought ones; each kind is told apart besides; the sums are exact."""
    lines = tuple(
        line(kind, quantity)
        for kind, quantity in (
            *(("input", 100), ("cache_read", 30), ("cache_write", 7), ("cache_write_1h", 3)),
            *(("output", 50), ("reasoning", 20), ("web_search", 2)),
        )
    )
    found = settlement_attributes(Evidence(source="usage", lines=lines), 424, overrun=False)
    expected = {
        "gen_ai.usage.input_tokens": 140,
        "gen_ai.usage.output_tokens": 70,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.cache_creation.input_tokens": 10,
        "gen_ai.usage.reasoning.output_tokens": 20,
        "llm.token_count.total": 210,
        "aegis.cost.nano_usd": 424,
        "aegis.cost.usd": "0.000000424",
        "gen_ai.usage.cost": 4.24e-07,
        "llm.cost.prompt": 2.8e-07,
        "llm.cost.completion": 1.4e-07,
    }
    assert expected == {name: found.get(name) for name in expected}


def test_what_nobody_reported_is_absent() -> None:
    """An estimate has a cost and no tokens; what isn't settled has neither."""
    evidence = Evidence(source="estimate", lines=(line("maximum", 1),))
    found = settlement_attributes(evidence, 2, overrun=True)
    assert (2, True) == (found["aegis.cost.nano_usd"], found["aegis.overrun"])
    assert not [name for name in found if "token" in name]
    assert not [name for name in settlement_attributes(evidence, None, overrun=False) if "cost" in name]


@pytest.mark.parametrize(
    ("code", "expected"),
    [("denied_by_policy", "said"), ("approved", "approved"), ("unknown_tool", "unknown_tool")],
)
def test_words_that_may_be_somebody_elses_are_not_told(code: str, expected: str) -> None:
    """What policies and budgets say is told; what quotes a request or a person is told by its code."""
    assert expected == reason_text(Reason(code=code, message="said"))  # type: ignore[arg-type]  # one of the codes


def test_a_mistake_in_what_is_told_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """It is in the log, and whoever tells goes on."""
    meters = Meters(MeterProvider(shutdown_on_exit=False), "test")
    observer = OtelObserver(TracerProvider(shutdown_on_exit=False), meters, lambda: None)
    span = observer.begin(None)
    with caplog.at_level(logging.ERROR, logger="aegis.telemetry"):
        span.asked(CallAsked(command=None, registry=None, mcp={}))  # type: ignore[arg-type]  # the mistake
        span.decided(None)  # type: ignore[arg-type]  # and another
        span.handed_over()
        span.lost("in doubt")
    assert span.note is None
    assert ["a call's span or metrics could not be made"] == [record.message for record in caplog.records]


def test_spans_that_are_lost_are_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """How many since the last line and why; what isn't said yet is at the end. The SDK's own metric has them all."""
    now_s = [100.0]
    losses = Losses(lambda: now_s[0])
    reader = InMemoryMetricReader()
    meters = WatchedMeters(MeterProvider([reader], shutdown_on_exit=False), losses)
    counter = meters.get_meter("opentelemetry-sdk").create_counter("otel.sdk.processor.span.processed")
    with caplog.at_level(logging.WARNING, logger="aegis.telemetry"):
        for at_s, count, why in (
            (100.0, 1, "queue_full"),
            (110.0, 700, "queue_full"),
            (120.0, 5, None),
            (159.0, 512, "ConnectionError"),
            (160.0, 1_000, "queue_full"),
            (161.0, 3, "queue_full"),
        ):
            now_s[0] = at_s
            counter.add(count, {} if why is None else {"error.type": why})
        losses.close()
        losses.close()
    told = [
        record.getMessage().partition(";")[0].removeprefix("spans were lost: ") for record in caplog.records
    ]
    assert ["1 (queue full)", "512 (ConnectionError), 1,700 (queue full)", "3 (queue full)"] == told
    found = reader.get_metrics_data()
    assert found is not None
    points = found.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert 2_221 == sum(getattr(point, "value", 0) for point in points)


def test_a_receiver_that_is_down_is_complained_of_once_a_minute() -> None:
    """Whatever the words: each try has other ones."""
    now_s = [100.0]
    seldom = Seldom(lambda: now_s[0])
    record = logging.makeLogRecord({"msg": "down"})
    said = []
    for at_s in (100.0, 101.0, 159.9, 160.0, 161.0):
        now_s[0] = at_s
        said.append(seldom.filter(record))
    assert [True, False, False, True, False] == said


def test_budgets_are_told_within_a_bound_the_fullest_first() -> None:
    """Whenever metrics are sent, as they are then; a question that fails costs these metrics alone."""
    reader = InMemoryMetricReader()
    meters = PaceMeters(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))
    told = [
        BudgetSeen(tenant="acme", budget=f"b{number}", scope="", utilization=number / 2_000, burn_rate=None)
        for number in range(BUDGETS_MAX + 500)
    ]
    failing = [False]

    def read() -> list[BudgetSeen]:
        if failing[0]:
            raise LedgerUnavailable("the database cannot be read")
        return told

    meters.watch_budgets(read)
    meters.timed("added", ("acme", "models", "allow"), 1_500_000)
    meters.counted("upstream_error", ("acme", "openai", "timeout"))
    used = _points(reader)["aegis.budget.utilization"]
    assert BUDGETS_MAX == len(used)
    assert (500 / 2_000, 1_499 / 2_000) == (min(used.values()), max(used.values()))
    del told[1:]
    assert {("b0", "", "acme"): 0.0} == _points(reader)["aegis.budget.utilization"]
    failing[0] = True
    found = _points(reader)
    assert {("allow", "models", "acme"): 1.5e-3} == found["aegis.call.added.duration"]
    assert {("openai", "acme", "timeout"): 1} == found["aegis.upstream.errors"]
    assert "aegis.budget.utilization" not in found


def _points(reader: InMemoryMetricReader) -> dict[str, dict[tuple[str, ...], float]]:
    """Values, or histograms' sums, by the values of their attributes in the order of those names."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: {
            tuple(str(value) for _, value in sorted((point.attributes or {}).items())): float(
                getattr(point, "value", getattr(point, "sum", 0.0))
            )
            for point in metric.data.data_points
        }
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
