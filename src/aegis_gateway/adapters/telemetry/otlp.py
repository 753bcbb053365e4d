"""What sends spans and metrics, as the standard variables say (`OTEL_*`), which the official exporters read themselves.

Rule 1: a receiver that is down, slow or hangs keeps nobody: what ends is queued within a bound
        (`OTEL_BSP_MAX_QUEUE_SIZE`), sent by threads of its own, and dropped and counted where it is too much.
Rule 2: nothing of it is imported where there is no telemetry.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Literal

from opentelemetry.metrics import MeterProvider as AnyMeters
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NoOpTracerProvider

from aegis_gateway.adapters.telemetry.losses import Losses, WatchedMeters
from aegis_gateway.adapters.telemetry.meters import Meters
from aegis_gateway.adapters.telemetry.spans import SCOPE, OtelObserver

OtlpProtocol = Literal["http/protobuf", "grpc"]

_EXPORTERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk._shared_internal",
)
_SAID_AGAIN_S = 60.0
_COUNT_WHAT_IS_DROPPED = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"


def otlp_observer(traces: OtlpProtocol | None, metrics: OtlpProtocol | None) -> OtelObserver:
    """An observer that sends spans and metrics by these protocols; what is None isn't sent."""
    os.environ.setdefault(_COUNT_WHAT_IS_DROPPED, "true")
    for name in _EXPORTERS:
        logging.getLogger(name).addFilter(Seldom(time.monotonic))
    resource = _resource()
    readers = [] if metrics is None else [PeriodicExportingMetricReader(_metric_exporter(metrics))]
    meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    if traces is None:
        return OtelObserver(NoOpTracerProvider(), Meters(meters, SCOPE), meters.shutdown)
    losses = Losses(time.monotonic)
    watched = WatchedMeters(meters, losses)
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False, meter_provider=meters)
    exporter = _span_exporter(traces, watched)
    tracers.add_span_processor(BatchSpanProcessor(exporter, meter_provider=watched))

    def close() -> None:
        _all_at_once(tracers.shutdown, meters.shutdown)

    return OtelObserver(tracers, Meters(meters, SCOPE), close, losses.close)


class Seldom(logging.Filter):
    """Lets one line a minute into the log: the exporters say of each try that a receiver is down."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._clock_s = clock_s
        self._said_s: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the signature is the logging module's
        """Whether it is said."""
        now_s = self._clock_s()
        if self._said_s is not None and now_s - self._said_s < _SAID_AGAIN_S:
            return False
        self._said_s = now_s
        return True


def _all_at_once(*acts: Callable[[], object]) -> None:
    """Do all, none of them waiting for another."""
    threads = [threading.Thread(target=act, daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _resource() -> Resource:
    """This process, as its telemetry is told from that of others: each worker counts by itself."""
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else _named_in(os.environ)
    return Resource.create(
        {
            **named,
            "service.version": importlib.metadata.version("aegis-gateway"),
            "service.instance.id": str(uuid.uuid4()),
        }
    )


def _named_in(environment: os._Environ[str]) -> dict[str, str]:
    is_named = "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if is_named else {"service.name": SCOPE}


def _span_exporter(protocol: OtlpProtocol, meters: AnyMeters) -> SpanExporter:
    # Each protocol's exporter brings a client of its own, which the other one doesn't need.
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as ByGrpc

        return ByGrpc(meter_provider=meters)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as ByHttp

    return ByHttp(meter_provider=meters)


def _metric_exporter(protocol: OtlpProtocol) -> MetricExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as ByGrpc

        return ByGrpc()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as ByHttp

    return ByHttp()
