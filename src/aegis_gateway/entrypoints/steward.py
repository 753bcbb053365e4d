"""The steward: a process beside the gateway workers, for what takes longer than the ledger's lock may be held.

Rule 1: it lives no longer than the ledger process, as workers do: when their socket closes it ends at once.
Rule 2: each job has a thread and a store of its own. One that fails or hangs holds up no other; it is begun anew, after
        a pause that grows.
Rule 3: calls come first. It runs at a lower priority than they do, and nothing of it is on their way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.jobs import Finishing, Job, pause_after
from aegis_gateway.application.ports import Store
from aegis_gateway.application.tracing import SEND_LAST_S, Observer
from aegis_gateway.configuration.settings import Settings, read_settings
from aegis_gateway.domain.errors import AegisError, DiskFailed
from aegis_gateway.entrypoints.budget_metrics import BudgetMetrics
from aegis_gateway.entrypoints.child import keep_log
from aegis_gateway.entrypoints.in_force import InForce
from aegis_gateway.entrypoints.jobs import jobs

DRAIN_S = 18.0
FINISH_S = 15.0
NICENESS = 5

_log = logging.getLogger("aegis.steward")


class Steward:
    """Runs jobs until it is told to stop."""

    def __init__(
        self, jobs: Iterable[Job], open_store: Callable[[], Store], on_lost_disk: Callable[[], None]
    ) -> None:
        """`open_store` opens one for each job; `on_lost_disk` has to end the process."""
        self._open = open_store
        self._on_lost_disk = on_lost_disk
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_at, args=(job,), name=job.name, daemon=True) for job in jobs
        ]

    def start(self) -> None:
        """Begin all jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> bool:
        """Let each job end what it is at; whether all did in time."""
        self._stopping.set()
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _keep_at(self, job: Job) -> None:
        failures = 0

        def succeeded() -> None:
            nonlocal failures
            failures = 0

        while not self._stopping.is_set():
            try:
                self._work(job, succeeded)
            except DiskFailed as fault:
                _log.critical("%s: %s", job.name, fault)
                self._on_lost_disk()
                return
            except AegisError as fault:
                failures += 1
                _log.warning("%s has to wait: %s", job.name, fault)
            except Exception:  # whatever it is, the other jobs go on, and this one is tried again
                failures += 1
                _log.exception("%s failed", job.name)
            if failures:
                self._stopping.wait(pause_after(failures, job.period_s))

    def _work(self, job: Job, succeeded: Callable[[], None]) -> None:
        """Do a job's work, turn by turn, until there is to be an end."""
        with contextlib.closing(self._open()) as store:
            work = job.begin(store)
            is_stopping = False
            while not is_stopping:
                has_more = work()
                succeeded()
                is_stopping = self._stopping.wait(0.0 if has_more else job.period_s)
            if isinstance(work, Finishing):
                work.finish(FINISH_S)


def serve(socket_path: Path) -> None:
    """Run until the ledger process ends or a signal asks to stop; then finish what is under way."""
    settings = read_settings()
    os.nice(NICENESS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ledger:
        ledger.connect(str(socket_path))
        asked, asking = socket.socketpair()
        with asked, asking:
            asking.setblocking(False)
            signal.set_wakeup_fd(asking.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _take_note)
            threading.Thread(target=_end_with, args=(ledger,), daemon=True).start()
            observer, in_force = _observer(settings), InForce(settings)
            if observer is not None:
                observer.metering.watch_budgets(BudgetMetrics(settings, in_force))
            steward = Steward(
                jobs(settings, observer, in_force), lambda: open_store(settings.store), lambda: os._exit(70)
            )
            steward.start()
            _wait_for(asked)
            signal.set_wakeup_fd(-1)
            is_done = steward.stop(DRAIN_S)
            if observer is not None:
                observer.close(SEND_LAST_S)
            # Threads that did not end are in the middle of a job, which may end anywhere.
            os._exit(0 if is_done else 1)


def _observer(settings: Settings) -> Observer | None:
    """What makes telemetry, where there is any; nothing is loaded for it else."""
    if not settings.telemetry:
        return None
    from aegis_gateway.bootstrap import observer

    return observer(settings)


def _wait_for(asked: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_READ)
        while not selector.select():
            pass


def _end_with(ledger: socket.socket) -> None:
    """End at once when the ledger process does: it says nothing on this socket while it lives."""
    with contextlib.suppress(OSError):
        while ledger.recv(1024):
            pass
    os._exit(70)


def _take_note(_number: int, _frame: object) -> None:
    """Do nothing: that a signal came is told by the socket that wakes up."""


def main() -> None:
    """Run a steward: the ledger's socket is the one argument, everything else is in the environment."""
    keep_log()
    try:
        serve(Path(sys.argv[1]))
    except (AegisError, OSError) as fault:
        _log.error("cannot serve: %s", fault)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
