"""The steward's jobs: each on its own, whatever the others do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.adapters.sqlite.store import SqliteStore
from aegis_gateway.application.jobs import FAILED_PAUSE_MAX_S, Job, Work, pause_after
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.errors import DiskFailed, LedgerUnavailable
from aegis_gateway.entrypoints.steward import Steward

WAIT_S = 10.0


@contextmanager
def running(tmp_path: Path, *jobs: Job, on_lost_disk: Callable[[], None] = lambda: None) -> Iterator[Steward]:
    """A steward at work on a SQLite file."""
    steward = Steward(jobs, lambda: SqliteStore(tmp_path / "aegis.db", SystemClock()), on_lost_disk)
    steward.start()
    try:
        yield steward
    finally:
        assert steward.stop(WAIT_S)


def job(name: str, work: Callable[[Store], bool], period_s: float = 0.001) -> Job:
    """A job that does one thing."""

    def begin(store: Store) -> Work:
        return lambda: work(store)

    return Job(name=name, period_s=period_s, begin=begin)


def test_one_that_fails_and_one_that_hangs_hold_up_no_other(tmp_path: Path) -> None:
    """The failing one is tried again, on another store; the third goes on all the while."""
    stores: list[Store] = []
    failed_twice, hung, done = threading.Event(), threading.Event(), threading.Event()
    turns = []

    def fail(store: Store) -> bool:
        stores.append(store)
        if len(stores) == 2:
            failed_twice.set()
        raise (LedgerUnavailable("down") if len(stores) == 1 else ValueError("wrong"))

    def hang(_store: Store) -> bool:
        hung.set()
        return done.wait(WAIT_S) and False

    def count(_store: Store) -> bool:
        turns.append(1)
        return False

    with running(tmp_path, job("fails", fail), job("hangs", hang), job("counts", count)):
        assert hung.wait(WAIT_S)
        assert failed_twice.wait(WAIT_S)
        done.set()
    assert stores[0] is not stores[1]
    assert len(turns) > 2


def test_what_has_more_to_do_does_not_rest(tmp_path: Path) -> None:
    """It is called again at once, and rests for its period when there is nothing more."""
    turns: list[int] = []
    rests = threading.Event()

    def work(_store: Store) -> bool:
        turns.append(1)
        if len(turns) == 3:
            rests.set()
        return len(turns) < 3

    with running(tmp_path, job("has more", work, period_s=3600.0)):
        assert rests.wait(WAIT_S)
    assert 3 == len(turns)


def test_a_disk_that_lost_something_ends_the_process(tmp_path: Path) -> None:
    """What is on it isn't known to this process any more, so it doesn't try again."""
    lost = threading.Event()

    def work(_store: Store) -> bool:
        raise DiskFailed("gone")

    with running(tmp_path, job("writes", work), on_lost_disk=lost.set):
        assert lost.wait(WAIT_S)


@pytest.mark.parametrize(
    ("failures", "period_s", "pause_s"),
    [(0, 0.2, 0.2), (1, 0.2, 0.5), (3, 0.2, 2.0), (3, 30.0, 30.0), (40, 0.2, FAILED_PAUSE_MAX_S)],
)
def test_pauses_grow(failures: int, period_s: float, pause_s: float) -> None:
    """Twice as long with each failure, a minute at most, and never shorter than the job's own rest."""
    assert pause_s == pause_after(failures, period_s)
