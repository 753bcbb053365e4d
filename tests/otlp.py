"""A real OTLP receiver, over HTTP and gRPC: what it gets is decoded with the protocol's own messages.

with OtlpReceiver() as receiver, Gateway(files, environment=receiver.environment()) as gateway:
    ...
    span = receiver.span("chat gpt-4o-mini")
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.gateways import HOST, until

SOON = {
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
}
"""Batches are sent at once, so that tests don't wait for them."""


class ReceivedSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A span as it came; ids in hexadecimal, times in nanoseconds."""

    name: str
    trace: str
    id: str
    parent: str
    state: str
    kind: int
    is_error: bool
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    resource: dict[str, Any]


class ReceivedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a metric: a counter's value, or a histogram's count and sum."""

    metric: str
    value: float
    count: int
    is_delta: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class OtlpReceiver:
    """Listens on both protocols. `before` is called with each request before it is answered."""

    def __init__(self, before: Callable[[], object] | None = None) -> None:
        """Nothing has come yet."""
        self.spans: list[ReceivedSpan] = []
        self.points: list[ReceivedPoint] = []
        self.bytes_: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._before = before
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer((HOST, 0), self._handler())
        self._http.daemon_threads = True
        self._serving = threading.Thread(target=self._http.serve_forever)
        self._grpc: subprocess.Popen[str] | None = None
        self._grpc_port = 0

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._grpc is not None:
            self._grpc.communicate()
        self._http.shutdown()
        self._http.server_close()
        self._serving.join()

    def environment(self, protocol: str = "http/protobuf", **more: str) -> dict[str, str]:
        """What a gateway has to be told to send here."""
        port = self._http.server_address[1]
        if protocol == "grpc":
            port = self._by_grpc(f"http://{HOST}:{port}")
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            **SOON,
            **more,
        }

    def _by_grpc(self, url: str) -> int:
        if self._grpc is None:
            command = [sys.executable, "-m", "tests.otlp_by_grpc", url]
            self._grpc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self._grpc.stdout is not None, "it is a pipe"
            self._grpc_port = int(self._grpc.stdout.readline())
        return self._grpc_port

    def span(self, name: str, **attributes: object) -> ReceivedSpan:
        """The last span of that name with these attributes (dots as `__`), once it has come."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}

        def found() -> list[ReceivedSpan]:
            return [
                span
                for span in list(self.spans)
                if span.name == name and wanted.items() <= span.attributes.items()
            ]

        until(lambda: bool(found()), f"no span `{name}` came with {wanted}: {[s.name for s in self.spans]}")
        return found()[-1]

    def point(self, metric: str, **attributes: object) -> ReceivedPoint:
        """The last point of a metric with these attributes (dots as `__`), once it has come."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}

        def found() -> list[ReceivedPoint]:
            return [
                point
                for point in list(self.points)
                if point.metric == metric and wanted.items() <= point.attributes.items()
            ]

        until(lambda: bool(found()), f"no point of `{metric}` came with {wanted}")
        return found()[-1]

    def take(self, message: Any) -> None:
        """Keep what came."""
        with self._lock:
            self.bytes_.append(message.SerializeToString())
            for each in getattr(message, "resource_spans", ()):
                resource = _values(each.resource.attributes)
                self.spans += [_span(span, resource) for scope in each.scope_spans for span in scope.spans]
            for each in getattr(message, "resource_metrics", ()):
                resource = _values(each.resource.attributes)
                for scope in each.scope_metrics:
                    for metric in scope.metrics:
                        self.points += _points(metric, resource)

    def wait(self) -> None:
        """Do what the test wants done before a request is answered."""
        if self._before is not None:
            self._before()

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                receiver.wait()
                request: Any = (
                    trace_service_pb2.ExportTraceServiceRequest()
                    if self.path == "/v1/traces"
                    else metrics_service_pb2.ExportMetricsServiceRequest()
                )
                request.ParseFromString(body)
                receiver.take(request)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_values: object) -> None:
                """Say nothing."""

        return Handler


def _span(span: Any, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        state=span.trace_state,
        kind=span.kind,
        is_error=span.status.code == 2,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        resource=resource,
    )


def _points(metric: Any, resource: dict[str, Any]) -> list[ReceivedPoint]:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    found = []
    for point in data.data_points:
        is_histogram = kind == "histogram"
        value = point.sum if is_histogram else getattr(point, point.WhichOneof("value"))
        found.append(
            ReceivedPoint(
                metric=metric.name,
                value=value,
                count=point.count if is_histogram else 0,
                is_delta=getattr(data, "aggregation_temporality", 0) == 1,
                attributes=_values(point.attributes),
                resource=resource,
            )
        )
    return found


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind is not None else None
