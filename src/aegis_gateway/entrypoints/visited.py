"""A process that the ledger process starts when somebody comes to the socket that it is to listen on.

Nobody who comes is turned away meanwhile: the ledger process listens, so they wait in the socket's queue, also for the
one that is started where another has died.

Rule: where one after another ends soon after its start, starts become rare, as each takes a processor for a second or
      two, and whoever comes between them is told at once that nobody is there.
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
AGAIN_MOST_S = 10.0
"""How long after an end the next start is at most, however many there were."""
SOON_S = 30.0
"""What lived for less has ended soon after its start."""
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
        self._listener.setblocking(False)
        self._started_at = 0.0
        self._start_at = time.monotonic() + after_s
        self._soon_ended = 0
        self._waits = False
        self.process: subprocess.Popen[bytes] | None = None
        self._wait(self._begin)

    def tend(self) -> None:
        """Start it if it is time, or if it has ended."""
        if self.process is not None and self.process.poll() is not None:
            self._end(time.monotonic() - self._started_at)
        if self.process is None and time.monotonic() >= self._start_at:
            self._begin()

    def turn_away(self) -> None:
        """Start it no more, and let nobody come."""
        self._wait_no_more()
        self._listener.close()

    def _begin(self) -> None:
        self._wait_no_more()
        self._started_at = time.monotonic()
        self._start_at = self._started_at + AGAIN_AFTER_S
        try:
            self.process = self._start(self._listener.fileno())
        except OSError as fault:  # no memory, or too many processes: the ledger goes on without
            _log.warning("the process of the pages can't be started: %s", fault)
            self._end(0.0)

    def _end(self, lived_s: float) -> None:
        """Take note of an end, and of when there is to be another start."""
        self.process = None
        self._soon_ended = self._soon_ended + 1 if lived_s < SOON_S else 0
        if self._soon_ended < 2:
            _log.warning("the process of the pages ended; starting another")
            return
        pause_s = min(AGAIN_AFTER_S * 2 ** min(self._soon_ended - 1, 16), AGAIN_MOST_S)
        _log.warning(
            "the process of the pages ended soon after its start again; the next try is in %g s", pause_s
        )
        self._start_at = time.monotonic() + pause_s
        self._wait(self._send_away)

    def _send_away(self) -> None:
        """Hang up on all who came."""
        try:
            while True:
                self._listener.accept()[0].close()
        except BlockingIOError:
            return
        except OSError:  # there is not even a file for it: they wait for the next start
            self._wait_no_more()

    def _wait(self, act: Callable[[], None]) -> None:
        self._waits = True
        self._writer.watch(self._listener, act)

    def _wait_no_more(self) -> None:
        if self._waits:
            self._waits = False
            self._writer.watch_no_more(self._listener)
