"""How long calls take in this process, and what fails: told by doors and by `Calls`, sent on in bulk.

Rule 1: a call pays some integers for it, never a wait or a message of its own.
Rule 2: what the gateway *adds* is the whole of a call without its upstream and without a wait that a rate demands.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from aegis_gateway.application.metering import Metering
from aegis_gateway.domain.errors import AegisError, CallError, UpstreamFault
from aegis_gateway.domain.pace import Measure, PaceRow, PaceSums

Settled = Literal["settled", "in_doubt", "late"]
Refused = Literal["overload", "unavailable", "failed", "not_identified", "not_understood"]

_SERVER_ERROR = 500
_TOO_MANY = 429


class Paced(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """What a worker counted since it last told, and how many requests it has under way at which door now."""

    rows: tuple[PaceRow, ...]
    under_way: dict[str, int]


class AskPace(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Asks the ledger process for what all workers counted. It concerns no call and no tenant."""

    call: str = ""
    tenant: str = ""


class PaceTold(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """What all workers of a gateway counted since it began, and what they have under way."""

    call: str
    rows: tuple[PaceRow, ...]
    under_way: dict[str, int]


class ReadPace(Protocol):
    """Where the counts of all workers are asked for."""

    async def __call__(self) -> PaceTold:
        """All counts, those of this worker up to now.

        Raises:
            LedgerUnavailable: nobody can say.
        """


class Pace:
    """The counts of one process that aren't told yet."""

    def __init__(
        self, clock_ns: Callable[[], int] = time.monotonic_ns, metering: Metering | None = None
    ) -> None:
        """Start with none; the clock is only compared with itself. `metering` is told of each, where there is any."""
        self.clock_ns = clock_ns
        self.sums = PaceSums()
        self.under_way: Counter[str] = Counter()
        self._metering = metering
        if metering is not None:
            metering.watch_under_way(lambda: self.under_way)

    def begin(self, door: str, read_ns: int = 0) -> CallTimer:
        """A call is there, which took so long to read, the time left out in which it came in."""
        return CallTimer(self, door, read_ns)

    def refused(self, door: str, why: Refused) -> None:
        """The gateway answered a request without deciding about a call."""
        self.count("refused", (door, why))

    def undecided(self, door: str, fault: AegisError) -> None:
        """Nothing could be decided about a request. Once for each fault, however many see it pass."""
        if fault.is_counted:
            return
        fault.is_counted = True
        if not isinstance(fault, CallError):
            # The ledger, the store or the configuration.
            self.refused(door, "unavailable")
        else:
            self.refused(door, "not_understood" if fault.is_identified else "not_identified")

    def settlement(self, tenant: str, how: Settled) -> None:
        """What became of a call is on disk, or is not yet."""
        self.count("settlement", (tenant, how))

    def count(self, measure: Measure, labels: tuple[str, ...]) -> None:
        """Something happened."""
        self.sums.count(measure, labels)
        if self._metering is not None:
            self._metering.counted(measure, labels)

    def time(self, measure: Measure, labels: tuple[str, ...], took_ns: int) -> None:
        """Something took so long."""
        self.sums.time(measure, labels, took_ns)
        if self._metering is not None:
            self._metering.timed(measure, labels, took_ns)

    def take(self) -> Paced:
        """What is to be told."""
        return Paced(rows=self.sums.take(), under_way=dict(+self.under_way))


class CallTimer:
    """The stopwatch of one call. It is over once; what comes after isn't counted twice."""

    __slots__ = (
        "_answered_ns", "_began_ns", "_connector", "_door", "_forwards", "_has_failed", "_is_over", "_pace", "_sent_ns",
        "_tenant", "_waited_ns",
    )  # fmt: skip

    def __init__(self, pace: Pace, door: str, read_ns: int) -> None:
        """It runs from when the request was there."""
        self._pace = pace
        self._door = door
        self._began_ns = pace.clock_ns() - read_ns
        self._tenant = self._connector = ""
        self._sent_ns = self._answered_ns = self._waited_ns = 0
        self._is_over = self._has_failed = False
        self._forwards = True

    def decided(self, tenant: str, connector: str, effect: str) -> None:
        """The decision is on disk; one that isn't to allow is the end."""
        self._tenant, self._connector = tenant, connector
        self._sent_ns = self._pace.clock_ns()
        if effect != "allow":
            self._end(effect, self._sent_ns, upstream_ns=None)

    def waited(self) -> None:
        """It has waited for a rate's next turn, and is sent now."""
        now_ns = self._pace.clock_ns()
        self._waited_ns, self._sent_ns = now_ns - self._sent_ns, now_ns

    def handed_over(self) -> None:
        """Whoever asked does it by themselves."""
        self._end("allow", self._pace.clock_ns(), upstream_ns=None)

    def forwards_nothing(self) -> None:
        """It is sent by whoever asked, and settled at once."""
        self._forwards = False

    def answered(self) -> None:
        """The upstream has done its part, unless it was said before; from now on it is the gateway's time again."""
        self._answered_ns = self._answered_ns or self._pace.clock_ns()

    def ended(self) -> None:
        """What became of it is on disk, or was tried to be put there."""
        now_ns = self._pace.clock_ns()
        upstream_ns = (self._answered_ns or now_ns) - self._sent_ns if self._forwards else None
        self._end("allow", now_ns, upstream_ns=upstream_ns)

    def upstream_answered(self, status: int) -> None:
        """The upstream's answer has this HTTP status, which may be a failure of its own."""
        if status >= _SERVER_ERROR:
            self._failed("5xx")
        elif status == _TOO_MANY:
            self._failed("429")

    def upstream_failed(self, fault: UpstreamFault) -> None:
        """The upstream did not answer, or not to the end."""
        self._failed("timeout" if fault.timed_out else "connection")

    def _failed(self, kind: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._pace.count("upstream_error", (self._tenant, self._connector, kind))

    def _end(self, effect: str, now_ns: int, upstream_ns: int | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        pace, labels = self._pace, (self._tenant, self._door, effect)
        whole_ns = now_ns - self._began_ns
        pace.time("whole", labels, whole_ns)
        pace.time("added", labels, max(0, whole_ns - self._waited_ns - (upstream_ns or 0)))
        if upstream_ns is not None:
            pace.time("upstream", (self._tenant, self._door, self._connector), max(0, upstream_ns))
