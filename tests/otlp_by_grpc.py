"""OTLP over gRPC, in a process of its own: gRPC and a test process that starts others by `fork` don't go together.

    python -m tests.otlp_by_grpc http://127.0.0.1:4318

Requests are decoded as what they are and passed on to a receiver over HTTP, whose answer is waited for. The port is the
first line that it prints; it ends when its standard input does.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

_http = build_opener(ProxyHandler({}))


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/traces"

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        _pass_on(self._url, request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/metrics"

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        _pass_on(self._url, request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _pass_on(url: str, request: Any) -> None:
    with _http.open(Request(url, data=request.SerializeToString(), method="POST")) as answer:
        answer.read()


def main() -> None:
    """Serve until nobody holds the standard input."""
    server = grpc.server(ThreadPoolExecutor(4))
    port = server.add_insecure_port("127.0.0.1:0")
    # What is generated has no types.
    add_traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add_metrics: Any = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
    add_traces(_Traces(sys.argv[1]), server)
    add_metrics(_Metrics(sys.argv[1]), server)
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
