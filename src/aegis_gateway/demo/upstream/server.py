"""``python -m aegis_gateway.demo.upstream.server``: the upstream on loopback, in one process, until killed.

It prints one line of JSON, ``{"base_url": …, "pid": …}``, once its port is taken; ``GET /healthz`` answers
once it serves. It keeps nothing worth saving, so no signal is handled: kill it in any way to stop it.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import socket
import sys
import time

import uvloop
from granian.constants import HTTPModes
from granian.server.embed import Server

from aegis_gateway.demo.upstream.app import Upstream
from aegis_gateway.demo.upstream.parent import die_with_parent

HOST = "127.0.0.1"

CONNECTIONS_MAX = 8_192
"""Connections open at once, idle ones included; granian's default of 128 lets idle ones block everyone."""


def main() -> None:
    """Serve as the command line says."""
    options = _options()
    # The charges that are kept are garbage to nobody: look for cycles rarely, not every 700 objects.
    gc.set_threshold(50_000, 20, 100)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        upstream = Upstream(apps=options.app, keys=options.key, seed=options.seed, clock=time.time)
        guard = _take_port(options.port)
    except ValueError as wrong:
        sys.exit(f"the upstream can't start: {wrong}")
    except OSError as wrong:
        sys.exit(f"the upstream can't take port `{options.port}`: {wrong.strerror}; choose another by --port")
    uvloop.run(_serve(upstream, guard, detached=options.detached))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A fake upstream on loopback that keeps its own bill.")
    parser.add_argument("--port", type=int, default=8701, help="0 lets the system choose (default: 8701)")
    parser.add_argument("--app", choices=("provider", "payments", "both"), default="both")
    parser.add_argument("--key", action="append", required=True, help="an accepted API key; may be repeated")
    parser.add_argument("--seed", type=int, default=7, help="decides the lengths of answers (default: 7)")
    parser.add_argument("--detached", action="store_true", help="live on when the parent process dies")
    return parser.parse_args()


def _take_port(port: int) -> socket.socket:
    """Bind ``port`` and keep it, without listening.

    granian binds with SO_REUSEPORT on Linux, where a second server on a port in use would silently take half
    of its connections. This socket is bound without it, so that fails, and allows it only afterwards.
    """
    guard = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Connections of an earlier server that are still closing don't keep the port.
    guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    guard.bind((HOST, port))
    if sys.platform == "linux":
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return guard


async def _serve(upstream: Upstream, guard: socket.socket, *, detached: bool) -> None:
    port: int = guard.getsockname()[1]
    if sys.platform != "linux":
        guard.close()  # elsewhere granian couldn't bind beside it
    watch = None if detached else asyncio.create_task(die_with_parent())
    server = Server(
        upstream,
        address=HOST,
        port=port,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1_024,
        backpressure=CONNECTIONS_MAX,
        log_enabled=False,
    )
    print(json.dumps({"base_url": f"http://{HOST}:{port}", "pid": os.getpid()}), flush=True)
    await server.serve()
    if watch is not None:
        watch.cancel()


if __name__ == "__main__":
    main()
