"""`aegis up`: the ledger process, which also starts, watches and stops the processes beside it: the gateway workers,
the steward, and that of the pages.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from aegis_gateway import bootstrap
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.entrypoints.collector import calm_collector
from aegis_gateway.entrypoints.data_plane.envoy.access import envoy_access
from aegis_gateway.entrypoints.visited import Visited
from aegis_gateway.entrypoints.writer import Writer

DRAIN_S = 25.0
RESPAWN_INTERVAL_S = 0.5
PAGES_AFTER_S = 20.0
"""How long after the start the process of the pages is started if nobody has come to see any: not while the gateway
itself begins, and before somebody has to wait for it."""
PAGES_NICENESS = 5
_SIGNALS_MAX = 64

_log = logging.getLogger("aegis.supervisor")


class Supervisor:
    """One ledger process, its workers, its steward and its pages."""

    def __init__(self, settings: Settings) -> None:
        """Open the store and keep its ledger.

        Raises:
            StoreError: the store cannot be opened, or another process keeps its ledger.
            ConfigurationError: the pepper cannot be read, or Envoys can't be served or telemetry sent as the settings
                want it.
        """
        bootstrap.pepper(settings)
        envoy_access(settings, bootstrap.reference_secrets())
        bootstrap.check_telemetry(settings)
        _allow_many_files()
        self._settings = settings
        self._folder = tempfile.TemporaryDirectory(prefix="aegis-")
        self._socket = Path(self._folder.name) / "ledger.sock"
        try:
            store = bootstrap.ledger_store(settings)
            self._writer = Writer(store, self._socket, bootstrap.watching(settings, store))
            self._pages_socket = Path(self._folder.name) / "pages.sock"
            self._pages = Visited(self._pages_socket, self._writer, self._start_pages, PAGES_AFTER_S)
        except BaseException:
            self._folder.cleanup()
            raise
        self._workers: list[subprocess.Popen[bytes]] = []
        self._steward: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._started_at = 0.0

    def run(self) -> None:
        """Serve until a signal asks to stop; then let the workers finish and commit what they still settle."""
        with _signals_on_a_socket() as signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            signal.signal(signal.SIGCHLD, _take_note)
            self._writer.watch(signals, lambda: signals.recv(_SIGNALS_MAX))
            self._start_missing()
            calm_collector()
            self._writer.run(self._keep_running)
            self._drain()

    def _drain(self) -> None:
        self._pages.turn_away()
        pages = [] if self._pages.process is None else [self._pages.process]
        others = [*self._workers, *(() if self._steward is None else (self._steward,))]
        children = [*others, *pages]
        for child in children:
            child.terminate()
        deadline = time.monotonic() + DRAIN_S
        while self._writer.has_workers and time.monotonic() < deadline:
            self._writer.turn(0.1)
            if all(other.poll() is not None for other in others):
                for each in pages:
                    each.kill()  # nobody is there any more whom it could answer, and it may hang
        for child in children:
            child.kill()
            child.wait()
        self._writer.close()
        self._folder.cleanup()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _keep_running(self) -> bool:
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        if self._steward is not None and self._steward.poll() is not None:
            self._steward = None
        missing = self._steward is None or len(self._workers) < self._settings.workers
        if missing and not self._stopping and time.monotonic() - self._started_at >= RESPAWN_INTERVAL_S:
            _log.warning("a gateway worker or the steward ended; starting another")
            try:
                self._start_missing()
            except OSError as fault:  # no memory, or too many processes or files: those that are there go on
                _log.warning("it can't be started: %s", fault)
        if not self._stopping:
            self._pages.tend()
        return not self._stopping

    def _start_missing(self) -> None:
        self._started_at = time.monotonic()
        while len(self._workers) < self._settings.workers:
            self._workers.append(self._start("worker", str(self._pages_socket)))
        if self._steward is None:
            self._steward = self._start("steward")

    def _start_pages(self, listener: int) -> subprocess.Popen[bytes]:
        process = self._start("pages", str(listener), files=(listener,))
        # From here, as most of what it takes at first is to read its modules.
        with contextlib.suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, PAGES_NICENESS)
        return process

    def _start(self, process: str, *arguments: str, files: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "AEGIS_STORE": self._settings.store,
            "AEGIS_PEPPER": self._settings.pepper,
            "AEGIS_SIGNING_KEY": self._settings.signing_key,
            "AEGIS_HOST": self._settings.host,
            "AEGIS_PORT": str(self._settings.port),
            "AEGIS_ENVOY_TOKEN": self._settings.envoy_token or "",
            "AEGIS_GRPC_PORT": str(self._settings.grpc_port or ""),
        }
        command = [sys.executable, "-m", f"aegis_gateway.entrypoints.{process}", str(self._socket)]
        return subprocess.Popen(
            [*command, *arguments], env=environment, stdin=subprocess.DEVNULL, pass_fds=files
        )


def _allow_many_files() -> None:
    """Let this process and its workers open as many files as the system allows: a caller is two sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems state a limit that they then refuse
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def _signals_on_a_socket() -> Iterator[socket.socket]:
    """A socket that can be read when a signal came, so that whoever waits for sockets wakes up."""
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(-1)


def _take_note(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that a worker ended has woken the loop, which looks after it."""
