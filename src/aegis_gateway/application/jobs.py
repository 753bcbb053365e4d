"""Jobs: what the steward does beside the calls, each again and again.

Rule 1: a job keeps nothing in memory that matters. What it has done is in the store, so that it can end at any place,
        be done by another steward, and be done twice without harm.
Rule 2: a job that finds nothing to do reads a row or two, writes nothing, and has imported nothing for it: every
        gateway runs all of them.
Rule 3: what it does to money is a transaction under the tenant's lock, like anybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec

from aegis_gateway.application.ports import Store


class Work(Protocol):
    """What a job does in one turn."""

    def __call__(self) -> bool:
        """Do what there is to do; whether there is more, to be done at once."""


@runtime_checkable
class Finishing(Protocol):
    """A job's work that has something under way between two turns."""

    def finish(self, within_s: float) -> None:
        """Bring it to its end, because the process ends."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One of the steward's jobs: its name in the log, how long it rests when there is nothing to do, and how it begins.

    `begin` gets a store of the job's own; it is called again, with another one, after the job failed.
    """

    name: str
    period_s: float
    begin: Callable[[Store], Work]


FAILED_PAUSE_S = 0.5
FAILED_PAUSE_MAX_S = 60.0


def pause_after(failures: int, period_s: float) -> float:
    """How long a job rests that has failed so many times in a row: twice as long each time, a minute at most."""
    if not failures:
        return period_s
    return max(period_s, min(FAILED_PAUSE_S * 2.0 ** min(failures - 1, 16), FAILED_PAUSE_MAX_S))
