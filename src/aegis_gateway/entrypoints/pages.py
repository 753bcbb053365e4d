"""The process of the pages: answers what people ask the gateway workers, with an interpreter of its own.

Rule 1: it lives no longer than the ledger process, as workers do: when their socket closes it ends at once.
Rule 2: calls come first. It is started with a lower priority than they have, and nothing of it is on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from pathlib import Path

import uvloop

from aegis_gateway import bootstrap
from aegis_gateway.adapters.ledger_client import LedgerClient
from aegis_gateway.application.pace import Paced
from aegis_gateway.configuration.settings import read_settings
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.entrypoints.child import end_unless, keep_log
from aegis_gateway.entrypoints.people.app import bound_threads, build
from aegis_gateway.entrypoints.people.bridge import Workers

DRAIN_S = 22.0
"""A little more than workers take to have their last answers."""
NOTHING_COUNTED = Paced(rows=(), under_way={})


async def serve(ledger_path: Path, listener: socket.socket) -> None:
    """Serve until the ledger process ends or a signal asks to stop; then until the workers have gone."""
    settings = read_settings()
    stopping = asyncio.Event()
    ledger = await LedgerClient.connect(ledger_path, on_lost=lambda: end_unless(stopping))
    directory = bootstrap.directory(settings)
    bound_threads()
    application = build(settings, lambda: directory.copy.tenants, lambda: ledger.pace(NOTHING_COUNTED))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    watching = asyncio.create_task(directory.keep_watch(lambda _: None))
    workers = Workers(application.app)
    server = await loop.create_unix_server(workers.meet, sock=listener)
    await stopping.wait()
    application.hang_up()
    server.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(workers.are_gone.wait(), DRAIN_S)
    watching.cancel()
    ledger.close()


def main() -> None:
    """Run it: the ledger's socket, and the number of the file on which workers are listened to, are the arguments."""
    keep_log()
    try:
        uvloop.run(serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
    except (AegisError, OSError) as fault:
        logging.getLogger("aegis.pages").error("cannot serve: %s", fault)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
