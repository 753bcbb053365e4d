"""Runs under the lock: which of them are open, what a call or an opening is refused for, what becomes of them.

Rule: they are looked at where there is a claim on them, and nowhere else. A call of a run that is open needs one row;
how many are open is asked for only where one more would be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from aegis_gateway.application.commands import Admit, Command, EndRun, OpenRun
from aegis_gateway.application.ports import LockedTenants
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.replication import Run, RunClaim, called, ended, run_ended, run_refusal


class OpenRuns:
    """The runs that one transaction is about. `now` is each tenant's."""

    def __init__(self, locked: LockedTenants, commands: Sequence[Command], now: Mapping[str, int]) -> None:
        """Read what the commands need of them."""
        self._now = now
        self._changed: dict[tuple[str, str], Run] = {}
        self._runs: dict[tuple[str, str], Run] = {}
        self._open: dict[tuple[str, str], set[str]] = {}
        claims = [
            (command.tenant, claim)
            for command in commands
            if command.tenant in now and (claim := _claim_of(command)) is not None
        ]
        if not claims:
            return
        numbers = {
            (tenant, number) for tenant, claim in claims for number in (claim.number, claim.above) if number
        }
        self._runs.update(locked.runs(numbers))
        ending: dict[str, set[str]] = defaultdict(set)
        for command in commands:
            if isinstance(command, EndRun) and command.tenant in now:
                ending[command.tenant].add(command.claim.number)
        for tenant, level in ending.items():
            seen = set(level)
            while level:
                # Level by level, so it costs as much as there is to end, however large the tree is.
                below = locked.runs_below(tenant, level)
                for run in below:
                    self._runs.setdefault((tenant, run.number), run)
                level = {run.number for run in below} - seen
                seen |= level
        limits: dict[tuple[str, str], int] = {}
        for tenant, claim in claims:
            known = self._runs.get((tenant, claim.number))
            if claim.runs_max is not None and (known is None or not known.is_open(now[tenant])):
                key = (tenant, claim.owner)
                limits[key] = max(limits.get(key, 0), claim.runs_max)
        kept = Counter((run.tenant, run.owner) for run in self._runs.values()) if limits else Counter()
        for (tenant, owner), most in limits.items():
            # As many more as may be ended in this very transaction: then it is still known that there are too many.
            limit = most + len(commands) + kept[tenant, owner]
            self._open[tenant, owner] = set(locked.open_runs(tenant, owner, now[tenant], limit))

    @property
    def changed(self) -> list[Run]:
        """What is to be written."""
        return list(self._changed.values())

    def known(self, tenant: str, number: str) -> Run | None:
        """A run, if it is kept."""
        return self._runs.get((tenant, number))

    def refusal(self, tenant: str, claim: RunClaim) -> Reason | None:
        """Why nothing may be called in a run: it is ended, or one more would be open than its owner may have."""
        run = self._runs.get((tenant, claim.number))
        return run_refusal(claim, run, self._others(tenant, claim), self._now[tenant])

    def refusal_to_open(self, tenant: str, claim: RunClaim) -> Reason | None:
        """Why a run may not be opened: what it would be delegated in is ended, or there would be one too many."""
        above = self._runs.get((tenant, claim.above)) if claim.above else None
        if above is not None and above.ended_ns is not None:
            return run_ended(above.run)
        # What is opened now needn't have been there before.
        new = msgspec.structs.replace(claim, is_kept=False)
        return run_refusal(new, None, self._others(tenant, claim), self._now[tenant])

    def call(self, tenant: str, claim: RunClaim) -> None:
        """Note that something is called in a run, or that it is opened."""
        self._put(called(claim, tenant, self._runs.get((tenant, claim.number)), self._now[tenant]))

    def end(self, tenant: str, claim: RunClaim) -> list[Run]:
        """End a run and what was delegated in it; returns those that were not ended before, itself first."""
        now_ns = self._now[tenant]
        known = self._runs.get((tenant, claim.number))
        run = called(claim, tenant, None, now_ns) if known is None else known
        if run.ended_ns is not None:
            return []
        below: dict[str, list[Run]] = defaultdict(list)
        for each in self._runs.values():
            if each.tenant == tenant and each.ended_ns is None and each.above:
                below[each.above].append(each)
        over = [run]
        for each in over:  # it grows by what is below each
            over += below.pop(each.number, ())
        for each in over:
            self._put(ended(each, now_ns))
        return over

    def _others(self, tenant: str, claim: RunClaim) -> int:
        """How many other runs count for an owner; nobody asks where it doesn't matter."""
        counted = self._open.get((tenant, claim.owner), ())
        return len(counted) - (claim.number in counted)

    def _put(self, run: Run) -> None:
        key = (run.tenant, run.number)
        self._runs[key] = self._changed[key] = run
        counted = self._open.get((run.tenant, run.owner))
        if counted is not None and run.is_open(self._now[run.tenant]):
            counted.add(run.number)
        elif counted is not None:
            counted.discard(run.number)


def _claim_of(command: Command) -> RunClaim | None:
    match command:
        case Admit():
            return command.run
        case OpenRun() | EndRun():
            return command.claim
        case _:
            return None
