"""Envoys for tests: the real one, run from the examples' own files, in front of a gateway and an upstream.

    with EnvoyedGateway(files) as gateway, Envoy("envoy.yaml", gateway, upstream.base_url) as envoy:
        answer = through(envoy, "POST", "/v1/payments", {...}, key=gateway.key())

Of an example's file only the places are another's: ports, where Aegis and the upstream are, the connector's name.
"""

from __future__ import annotations

import asyncio
import copy
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import yaml
from pyreqwest.client import ClientBuilder

from tests.clients import ROOT, python_of
from tests.gateways import (
    HOST,
    WAIT_S,
    Answer,
    Files,
    Gateway,
    ScriptedUpstream,
    answer_with,
    die_with_parent,
    take_port,
    until,
)

EXAMPLES = ROOT / "examples" / "envoy"
TOKEN = "envoy-token-of-the-tests-0123456789-canary"
AUTHORITY = "payments.internal"
CONNECTOR = "api"

_START_S = 20.0


OPERATIONS = """\
          pay:
            method: POST
            path: /v1/payments
            arguments:
              amount: {type: number, from: body.amount, shown: true}
              reference: {type: string, from: body.reference, required: false}
            price: {per_call: 0.25}
            counts: {paid_out: body.amount}
          search:
            method: POST
            path: /v1/search
            arguments: {rows: {type: integer, from: body.rows}}
            price: {per_unit: 0.0001, unit: row, units: response.usage.rows, max_units: 100}
            counts: {rows: {from: response.usage.rows, max: 100}}
          person:
            method: GET
            path: /v1/people/{name}
            arguments:
              name: {type: string, from: path.name}
              wish: {type: string, from: query.wish, required: false}
            price: {per_call: 0.01}
          status: {method: GET, path: "/v1/status/{code}", price: {per_call: 0.10}}
          slow: {method: GET, path: /v1/slow, price: {per_call: 0.10}}
          broken: {method: GET, path: /v1/broken, price: {per_call: 0.10}}
          big: {method: GET, path: /v1/big, price: {per_call: 0.10}}
          echo: {method: GET, path: /v1/echo, price: {per_call: 0.10}}
          drop: {method: DELETE, path: "/v1/people/{name}", price: {per_call: 0.10}}
"""
"""What `ScriptedApi` does, as a connector's operations."""

LEAKED = "123-45-6789"
BIG = 11 * 1024 * 1024
"""More bytes than the example's Envoy holds."""


class ScriptedApi(ScriptedUpstream):
    """An API that answers as its paths say. What is slow waits until `go_on` is set."""

    def __init__(self) -> None:
        """Answer by paths."""
        self.go_on = threading.Event()
        super().__init__(self._by_path)

    def _by_path(self, request: bytes, connection: socket.socket) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        method, target, _ = head.decode().split(" ", 2)
        path = target.partition("?")[0]
        if path == "/v1/payments":
            # In chunks it is one: its length, itself, and the last, which is empty.
            paid = body.split(b"\r\n")[1] if b"chunked" in head else body
            answer_with(paid, status="201 Created")(request, connection)
        elif path == "/v1/search":
            rows = json.loads(body)["rows"]
            usage = {} if rows < 0 else {"usage": {"rows": rows}}
            answer_with(json.dumps({"found": "nothing", **usage}).encode())(request, connection)
        elif path.startswith("/v1/people/") and method == "DELETE":
            connection.sendall(b"HTTP/1.1 204 No Content\r\nset-cookie: a=b\r\nconnection: close\r\n\r\n")
        elif path == "/v1/people/in-chunks":
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
            connection.sendall(head + b"4\r\n123-\r\n7\r\n45-6789\r\n0\r\n\r\n")
        elif path.startswith("/v1/people/"):
            person = json.dumps({"name": "Ann", "ssn": LEAKED}).encode()
            more = f"content-type: application/json\r\nx-about: ssn {LEAKED}\r\n"
            answer_with(person, headers=more)(request, connection)
        elif path.startswith("/v1/status/"):
            answer_with(b'{"said":true}', status=f"{path.rpartition('/')[2]} So")(request, connection)
        elif path == "/v1/echo":
            more = f"content-type: application/octet-stream\r\nx-echo: {_credential(head.decode())}\r\n"
            answer_with(head, headers=more)(request, connection)
        elif path == "/v1/big":
            answer_with(b"x" * BIG)(request, connection)
        elif path == "/v1/broken":
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        else:
            self.go_on.wait(WAIT_S)
            answer_with(b"{}")(request, connection)

    def heads(self) -> list[str]:
        """The heads of all requests, in lower case."""
        return [request.partition(b"\r\n\r\n")[0].decode().lower() for request in self.requests]


def _credential(head: str) -> str:
    lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    return lines.get("authorization", "")


class EnvoyedGateway(Gateway):
    """A gateway that Envoys may ask, over HTTP and by gRPC."""

    def __init__(
        self, files: Files, *, workers: int = 1, environment: Mapping[str, str] | None = None
    ) -> None:
        """Besides what it is asked over HTTP it takes a port of its own for gRPC."""
        super().__init__(files, workers=workers, environment=environment)
        self._grpc_guard: socket.socket | None = None
        self.grpc_port = 0

    def __enter__(self) -> EnvoyedGateway:
        self._grpc_guard = take_port()
        self.grpc_port = self._grpc_guard.getsockname()[1]
        self.environment |= {
            "AEGIS_GRPC_PORT": str(self.grpc_port),
            "AEGIS_ENVOY_TOKEN": "env:TEST_ENVOY_TOKEN",
            "TEST_ENVOY_TOKEN": TOKEN,
        }
        super().__enter__()
        return self

    def close(self) -> None:
        """End whatever still runs, and give the ports back."""
        super().close()
        if self._grpc_guard is not None:
            self._grpc_guard.close()


Change = Callable[[dict[str, Any]], None]


class Envoy:
    """An Envoy that runs an example's file. Its listeners are at `ports`, by their names."""

    def __init__(
        self, example: str, gateway: EnvoyedGateway, upstream: str, *, change: Change | None = None
    ) -> None:
        """`upstream` is where calls go; `change` makes another configuration of the example's, with more listeners."""
        self._configuration = yaml.safe_load((EXAMPLES / example).read_text())
        if change is not None:
            change(self._configuration)
        self._gateway = gateway
        self._upstream = upstream
        self._directory = Path()
        self._guards: dict[str, socket.socket] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.ports: dict[str, int] = {}

    def __enter__(self) -> Envoy:
        self._directory = Path(tempfile.mkdtemp(prefix="aegis-envoy-"))
        try:
            self._start()
            until(self._is_ready, "Envoy does not start", wait_s=_START_S)
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        self._guards["admin"] = take_port()
        _place(self._configuration, self._guards, self._gateway, self._upstream)
        self.ports = {name: guard.getsockname()[1] for name, guard in self._guards.items()}
        file = self._directory / "envoy.json"
        file.write_text(json.dumps(self._configuration))
        # The interpreter's own `envoy` is a script that starts this.
        (binary,) = (python_of("envoy").parents[1] / "lib").glob("python*/site-packages/envoy/_bin/envoy")
        arguments = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "warn"]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary, "-c", file, *arguments],
                env={**os.environ, "AEGIS_ENVOY_TOKEN": TOKEN},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log())
        self.close()

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and remove what it was given."""
        self.kill()
        for guard in self._guards.values():
            guard.close()
        shutil.rmtree(self._directory)

    def log(self) -> str:
        """All that it has said."""
        return (self._directory / "log").read_text(errors="replace")

    def _is_ready(self) -> bool:
        assert self._process is not None, "Envoy was not started"
        assert self._process.poll() is None, f"Envoy did not start:\n{self.log()}"
        try:
            return answered(self.ports["admin"], "GET", "/ready").status == 200
        except (OSError, http.client.HTTPException):
            return False


def over_http2(envoy: Envoy, listener: str, method: str, path: str, body: bytes, key: str) -> Answer:
    """One request over HTTP/2, whose body nothing but its frames tells of."""

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async def sent() -> Answer:
        port = envoy.ports[listener]
        builder = ClientBuilder().no_proxy().http2_prior_knowledge().resolve(AUTHORITY, HOST, port)
        async with builder.timeout(timedelta(seconds=WAIT_S)).build() as client:
            request = client.request(method, f"http://{AUTHORITY}:{port}{path}").headers(
                [("authorization", f"Bearer {key}"), ("content-type", "application/json")]
            )
            answer = await request.body_stream(pieces()).build().send()
            content = bytes(await answer.bytes())
        return Answer(status=answer.status, headers=dict(answer.headers.items()), body=content)

    return asyncio.run(sent())


def through(
    envoy: Envoy,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None,
    listener: str = "agents",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request of an agent's through an Envoy, with the agent's own key."""
    given = {"host": AUTHORITY}
    if body is not None:
        given["content-type"] = "application/json"
    if key is not None:
        given["authorization"] = f"Bearer {key}"
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return answered(envoy.ports[listener], method, path, data, {**given, **(headers or {})})


def answered(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=WAIT_S)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(status=answer.status, headers=names, body=answer.read())
    finally:
        connection.close()


def variant(configuration: dict[str, Any], name: str, of: str = "agents") -> tuple[Any, Any]:
    """One more listener, like one that is there: the settings of its filter that asks Aegis, and its route."""
    listeners = configuration["static_resources"]["listeners"]
    (found,) = (listener for listener in listeners if listener["name"] == of)
    listeners.append({**copy.deepcopy(found), "name": name})
    return _filter_of(listeners[-1]), _route_of(listeners[-1])


def also_asks(configuration: dict[str, Any], name: str, example: str, *, of: str, first: bool) -> None:
    """One more listener, like one that is there, with the filter and route of another example's besides."""
    other = yaml.safe_load((EXAMPLES / example).read_text())["static_resources"]["listeners"][0]
    _, route = variant(configuration, name, of=of)
    added = _manager_of(other)["http_filters"][0]
    route["typed_per_filter_config"] |= _route_of(other)["typed_per_filter_config"]
    filters = _manager_of(configuration["static_resources"]["listeners"][-1])["http_filters"]
    filters.insert(0 if first else 1, added)


def _manager_of(listener: dict[str, Any]) -> Any:
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def _filter_of(listener: dict[str, Any]) -> Any:
    return _manager_of(listener)["http_filters"][0]["typed_config"]


def _route_of(listener: dict[str, Any]) -> Any:
    return _manager_of(listener)["route_config"]["virtual_hosts"][0]["routes"][0]


def _place(
    configuration: dict[str, Any],
    guards: dict[str, socket.socket],
    gateway: EnvoyedGateway,
    upstream: str,
) -> None:
    """Put an example's configuration where the tests are."""
    configuration["admin"]["address"] = _address(guards["admin"].getsockname()[1])
    place = urlsplit(upstream)
    assert place.port is not None, "an upstream of the tests has a port"
    ports = {"aegis": gateway.grpc_port, "aegis-grpc": gateway.grpc_port}
    ports |= {"aegis-http": gateway.settings.port, "payments": place.port}
    for cluster in configuration["static_resources"]["clusters"]:
        cluster.pop("transport_socket", None)
        cluster.pop("type", None)
        if cluster["name"] in ports:
            (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
            endpoint["endpoint"]["address"] = _address(ports[cluster["name"]])
    for listener in configuration["static_resources"]["listeners"]:
        guard = guards[listener["name"]] = take_port()
        listener["address"] = _address(guard.getsockname()[1])
        for settings in _route_of(listener).get("typed_per_filter_config", {}).values():
            if "overrides" in settings:
                settings["overrides"]["grpc_initial_metadata"][0]["value"] = CONNECTOR
            else:
                settings["check_settings"]["context_extensions"]["aegis-connector"] = CONNECTOR
        asking = _filter_of(listener)
        if "http_service" in asking:
            asking["http_service"]["path_prefix"] = f"/ext_authz/{CONNECTOR}"


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}
