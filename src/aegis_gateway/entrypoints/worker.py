"""A gateway worker: one process, one event loop, the doors on a port shared with its siblings.

Rule 1: a worker lives no longer than the ledger process: when their socket closes it ends at once, because
        nothing it forwarded from then on would be accounted for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from aegis_gateway import bootstrap
from aegis_gateway.adapters.ledger_client import LedgerClient
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Running
from aegis_gateway.application.directory import DirectoryCopy
from aegis_gateway.application.estimates import Estimates
from aegis_gateway.application.pace import Pace
from aegis_gateway.application.tracing import SEND_LAST_S
from aegis_gateway.configuration.settings import Settings, read_settings
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.entrypoints.child import end_unless, keep_log
from aegis_gateway.entrypoints.collector import calm_collector
from aegis_gateway.entrypoints.data_plane.app import DataPlane
from aegis_gateway.entrypoints.data_plane.authzen.access_requests import AccessRequests
from aegis_gateway.entrypoints.data_plane.envoy.access import EnvoyAccess, envoy_access
from aegis_gateway.entrypoints.data_plane.idempotency import Idempotency
from aegis_gateway.entrypoints.data_plane.mcp.door import McpDoor
from aegis_gateway.entrypoints.data_plane.mcp.origins import Origins
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecisions
from aegis_gateway.entrypoints.people.door import PeopleDoor

if TYPE_CHECKING:
    from aegis_gateway.entrypoints.data_plane.envoy.server import EnvoyServer

BACKLOG = 2_048
BACKPRESSURE = 8_192
DRAIN_S = 20.0
SEND_OFF_S = 1.0
TELL_PACE_S = 1.0


async def serve(socket_path: Path, pages_path: Path) -> None:
    """Serve until the ledger process ends or a signal asks to stop; then finish what is under way."""
    settings = read_settings()
    stopping = asyncio.Event()
    ledger = await LedgerClient.connect(socket_path, on_lost=lambda: end_unless(stopping))
    observer = bootstrap.observer(settings)
    calls = bootstrap.calls(settings, ledger, observer)
    idempotency = Idempotency(
        calls, bootstrap.named_calls(settings), bootstrap.sealer(settings), bootstrap.system_clock()
    )
    decisions = ToolDecisions(calls, bootstrap.sealer(settings), bootstrap.reports(settings))
    estimates = Estimates(calls, bootstrap.balances(settings))
    upstream, secrets = bootstrap.upstream(), bootstrap.reference_secrets()
    mcp = McpDoor(
        calls,
        upstream,
        secrets,
        bootstrap.sealer(settings),
        bootstrap.system_clock(),
        Origins(settings.host, settings.hosts),
        settings.pages_url,
    )
    access = envoy_access(settings, secrets)
    people = PeopleDoor(pages_path, lambda: ledger.tell(calls.pace.take()))
    requests = None
    if calls.approvals is not None:
        requests = AccessRequests(
            calls.approvals, bootstrap.sealer(settings), bootstrap.system_clock(), settings.pages_url
        )
    data_plane = DataPlane(
        calls, upstream, secrets, idempotency, decisions, estimates, mcp, access, people, requests
    )
    envoys = await _envoy_server(settings, data_plane, calls, access)
    server = Server(
        data_plane,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=BACKPRESSURE,
        http1_settings=HTTP1Settings(header_read_timeout=settings.keep_alive_s * 1_000),
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    calm_collector()
    data_plane.pressure.watch(loop, ledger)
    started_ns = time.time_ns()
    watching = asyncio.create_task(
        calls.directory.keep_watch(lambda copy: ledger.tell(_running(copy, started_ns)))
    )
    telling = asyncio.create_task(_tell_pace(calls.pace, ledger))
    serving = asyncio.create_task(server.serve())
    await stopping.wait()
    parting = asyncio.create_task(envoys.stop(DRAIN_S)) if envoys is not None else None
    server.stop()  # type: ignore[no-untyped-call]  # granian's embedded server is not annotated
    calls.hang_up()
    mcp.hang_up()
    people.hang_up()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(data_plane.idle.wait(), DRAIN_S)
    # The last answers are given, but not yet all sent: cancelling at once would cut them off.
    await asyncio.wait({serving}, timeout=SEND_OFF_S)
    if parting is not None:
        await parting
    serving.cancel()
    watching.cancel()
    telling.cancel()
    await mcp.close()
    if observer is not None:
        await asyncio.to_thread(observer.close, SEND_LAST_S)
    ledger.tell(calls.pace.take())
    ledger.close()


async def _envoy_server(
    settings: Settings, data_plane: DataPlane, calls: Calls, access: EnvoyAccess | None
) -> EnvoyServer | None:
    """This worker's part of the gRPC port, listening; None where there is none."""
    if settings.grpc_port is None or access is None:
        return None
    # What serves it is an extra, which need not be installed.
    from aegis_gateway.entrypoints.data_plane.envoy.server import EnvoyServer

    envoys = EnvoyServer(data_plane, calls, bootstrap.reference_secrets(), access)
    await envoys.start(settings.host, settings.grpc_port)
    return envoys


async def _tell_pace(pace: Pace, ledger: LedgerClient) -> None:
    """Tell what was counted, as long as there is something to tell."""
    told: dict[str, int] = {}
    while True:
        await asyncio.sleep(TELL_PACE_S)
        paced = pace.take()
        if paced.rows or paced.under_way != told:
            ledger.tell(paced)
            told = paced.under_way


def _running(copy: DirectoryCopy, started_ns: int) -> Running:
    """What this process runs, for `aegis doctor`."""
    return Running(
        process=f"{socket.gethostname()}/{os.getpid()}",
        version=copy.version,
        digest=copy.digest,
        started_ns=started_ns,
        canary=copy.canary,
        warning=copy.warning,
    )


def main() -> None:
    """Run a worker: the ledger's and the pages' sockets are the arguments, everything else is in the environment."""
    keep_log()
    try:
        uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
    except AegisError as fault:
        logging.getLogger("aegis.worker").error("cannot serve: %s", fault)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
