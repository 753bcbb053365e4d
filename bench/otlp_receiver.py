"""A receiver of telemetry as a process of its own: one port takes what comes and counts it, one takes it and hangs.

`GET /spans` tells how many spans have come; they are decoded then, so that it costs the measured rounds nothing. It
prints its two ports when it is ready.
"""

from __future__ import annotations

import gzip
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_HOST = "127.0.0.1"


class Receiver(BaseHTTPRequestHandler):
    """Answers each request at once, and keeps the bodies of those with spans."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes] = []  # noqa: RUF012 - of all connections: there is one receiver in a process

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            is_gzip = self.headers.get("content-encoding") == "gzip"
            self.bodies.append(gzip.decompress(body) if is_gzip else body)
        self._answer(b"")

    def do_GET(self) -> None:
        spans = 0
        for body in list(self.bodies):
            message = ExportTraceServiceRequest.FromString(body)
            spans += sum(len(scope.spans) for each in message.resource_spans for scope in each.scope_spans)
        self._answer(str(spans).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_values: object) -> None:
        """Say nothing."""


def main() -> None:
    """Listen until the process is ended."""
    server = ThreadingHTTPServer((_HOST, 0), Receiver)
    mute = socket.create_server((_HOST, 0), backlog=64)
    held: list[socket.socket] = []

    def hold() -> None:
        while True:
            held.append(mute.accept()[0])

    threading.Thread(target=hold, daemon=True).start()
    print(server.server_address[1], mute.getsockname()[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
