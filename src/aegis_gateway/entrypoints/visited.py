"""A process that the ledger process starts when somebody comes to the socket that it is to listen on.

Nobody who comes is turned away meanwhile: the ledger process listens, so they wait in the socket's queue, also for the
one that is started where another has died.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from aegis_gateway.entrypoints.writer import Writer

AGAIN_AFTER_S = 0.5
"""How soon after a start there may be another."""
_QUEUE = 64

_log = logging.getLogger("aegis.supervisor")


class Visited:
    """One such process. `start` starts it, given the number of the file on which it is to listen."""

    def __init__(
        self, path: Path, writer: Writer, start: Callable[[int], subprocess.Popen[bytes]], after_s: float
    ) -> None:
        """Listen at `path`, and start the process after so long even if nobody comes."""
        self._writer = writer
        self._start = start
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(_QUEUE)
        self._start_at = time.monotonic() + after_s
        self._waits = True
        self.process: subprocess.Popen[bytes] | None = None
        writer.watch(self._listener, self._begin)

    def tend(self) -> None:
        """Start it if it is time, or if it has ended."""
        if self.process is not None and self.process.poll() is not None:
            _log.warning("the process of the pages ended; starting another")
            self.process = None
        if self.process is None and time.monotonic() >= self._start_at:
            self._begin()

    def turn_away(self) -> None:
        """Start it no more, and let nobody come."""
        self._wait_no_more()
        self._listener.close()

    def _begin(self) -> None:
        self._wait_no_more()
        self._start_at = time.monotonic() + AGAIN_AFTER_S
        self.process = self._start(self._listener.fileno())

    def _wait_no_more(self) -> None:
        if self._waits:
            self._waits = False
            self._writer.watch_no_more(self._listener)
