"""`python -m aegis_gateway.demo.gateway DIRECTORY`: the demo's gateway, until its standard input closes.

Rule: whoever started it holds the other end of that pipe, so however they end (even by `kill -9`) it ends too,
in order, and takes its data directory with it.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading

from aegis_gateway.configuration.settings import read_settings
from aegis_gateway.entrypoints.supervisor import Supervisor


def main() -> None:
    """Serve what the environment says, then remove the directory."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    supervisor = Supervisor(read_settings())
    threading.Thread(target=_stop_when_left, daemon=True).start()
    supervisor.run()
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def _stop_when_left() -> None:
    """Ask to stop once nobody holds the other end of standard input. It carries nothing; reading waits."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
