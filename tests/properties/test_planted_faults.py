"""The machine finds what it is there for: each fault that is planted in a ledger is found, in few examples.

A machine that passes shows nothing until it is known to fail. Faults of the store are planted behind its port,
faults of the ledger in a subclass of its batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from aegis_gateway.application.batch import Batch
from aegis_gateway.application.commands import Admit, Look, Reply
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import (
    CallMove,
    CallRow,
    Changes,
    Head,
    LedgerStore,
    LockedTenants,
    NamedCall,
    NameKey,
    StandingRow,
    TreeSoFar,
    UsedKey,
)
from aegis_gateway.domain.admit import RateKey, StandingKey, Standings
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.ledger import Evidence, Standing
from aegis_gateway.domain.outcome import Outcome
from aegis_gateway.domain.rate import Turns
from aegis_gateway.domain.replication import Run
from aegis_gateway.domain.window import Window
from tests.ledgers import DAY_NS, sqlite_database
from tests.properties.ledger_machine import Gateway, machine_on

StandingsByKey = dict[tuple[str, StandingKey], Standing]

SEARCH = settings(
    max_examples=2_000,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # what is found need not be made small
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


# -- faults of the store ---------------------------------------------------------------------------------------


class FaultyLocked:
    """A transaction, as it is; each fault changes one thing about it."""

    def __init__(self, inner: LockedTenants) -> None:
        self.inner = inner
        self.seen: StandingsByKey = {}

    @property
    def heads(self) -> Mapping[str, Head]:
        return self.inner.heads

    @property
    def now_ns(self) -> int:
        return self.inner.now_ns

    def calls(self, ids: Collection[str]) -> dict[str, CallRow]:
        return self.inner.calls(ids)

    def standings(self, keys: Collection[tuple[str, StandingKey]]) -> StandingsByKey:
        standings = self.inner.standings(keys)
        self.seen = dict(standings)
        return standings

    def used(self, keys: Collection[UsedKey]) -> set[UsedKey]:
        return self.inner.used(keys)

    def arrivals(self, keys: Collection[tuple[str, RateKey]]) -> dict[tuple[str, RateKey], Turns]:
        return self.inner.arrivals(keys)

    def named_calls(self, keys: Collection[NameKey]) -> dict[NameKey, NamedCall]:
        return self.inner.named_calls(keys)

    def runs(self, numbers: Collection[tuple[str, str]]) -> dict[tuple[str, str], Run]:
        return self.inner.runs(numbers)

    def open_runs(self, tenant: str, owner: str, now_ns: int, limit: int) -> list[str]:
        return self.inner.open_runs(tenant, owner, now_ns, limit)

    def runs_below(self, tenant: str, numbers: Collection[str]) -> list[Run]:
        return self.inner.runs_below(tenant, numbers)

    def outcomes(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
        return self.inner.outcomes(keys)

    def tree_so_far(self, tenant: str, number: str) -> TreeSoFar:
        return self.inner.tree_so_far(tenant, number)

    def latest_approvals(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Approval]:
        return self.inner.latest_approvals(keys)

    def open_approvals(self, tenant: str, requester: str, limit: int) -> list[Approval]:
        return self.inner.open_approvals(tenant, requester, limit)

    def last_approval(self, tenant: str, requester: str, about: str) -> Approval | None:
        return self.inner.last_approval(tenant, requester, about)

    def write(self, changes: Changes) -> None:
        self.inner.write(changes)


class NeverReleases(FaultyLocked):
    """A settlement posts what was spent and leaves the reservation where it is."""

    def write(self, changes: Changes) -> None:
        if any(move.state == "settled" for move in changes.moves):
            changes.standings = [self._held(row) for row in changes.standings]
        super().write(changes)

    def _held(self, row: StandingRow) -> StandingRow:
        before = self.seen.get((row.tenant, (row.budget, row.scope, row.window.label)), Standing())
        return replace(row, standing=replace(row.standing, pending=max(before.pending, row.standing.pending)))


class ForgetsTheClock(FaultyLocked):
    """The last clock is not kept, so time goes back with the machine's."""

    @property
    def heads(self) -> Mapping[str, Head]:
        return {tenant: replace(head, last_ns=0) for tenant, head in self.inner.heads.items()}


class ForgetsLateCosts(FaultyLocked):
    """What settles after its run was reported on is no part of what the run cost."""

    def write(self, changes: Changes) -> None:
        changes.late_costs = []
        super().write(changes)


class KeepsWhatWasReplaced(FaultyLocked):
    """A report that replaces another is added to the sums, and the other stays in them."""

    def write(self, changes: Changes) -> None:
        changes.outcome_sums = [row for row in changes.outcome_sums if row.sums.trees > 0]
        super().write(changes)


class LosesAnEntry(FaultyLocked):
    """A call that is put in doubt is not entered."""

    def write(self, changes: Changes) -> None:
        changes.entries = [entry for entry in changes.entries if entry.type != "doubt"]
        super().write(changes)


class ChargesRefusals(FaultyLocked):
    """A rate is used up by calls that were refused for something else."""

    def write(self, changes: Changes) -> None:
        for call in changes.calls:
            if call.reason_code == "budget_exhausted":
                changes.arrivals.append((call.tenant, ("burst", "x"), Turns(call.decided_ns)))
        super().write(changes)


class KeepsTurns(FaultyLocked):
    """What is released gives back its money, and not its turns."""

    def write(self, changes: Changes) -> None:
        if any(move.state == "released" for move in changes.moves):
            changes.arrivals = []
        super().write(changes)


class ForgetsWhatIsPassed(FaultyLocked):
    """A balance is written with the thresholds that it was read with."""

    def write(self, changes: Changes) -> None:
        changes.standings = [self._forgotten(row) for row in changes.standings]
        super().write(changes)

    def _forgotten(self, row: StandingRow) -> StandingRow:
        before = self.seen.get((row.tenant, (row.budget, row.scope, row.window.label)))
        notes = row.standing.notes
        if before is None or before.notes is None or notes is None:
            return row
        return replace(
            row, standing=replace(row.standing, notes=replace(notes, watched=before.notes.watched))
        )


class FaultyStore:
    """A store whose transactions are faulty."""

    def __init__(self, inner: LedgerStore, locked: Callable[[LockedTenants], LockedTenants]) -> None:
        self.inner = inner
        self.locked = locked

    @property
    def boot(self) -> str:
        return self.inner.boot

    @contextmanager
    def lock(self, tenants: Any) -> Iterator[LockedTenants]:
        with self.inner.lock(tenants) as locked:
            yield self.locked(locked)

    def expired(self, limit: int) -> list[tuple[str, str]]:
        return self.inner.expired(limit)

    def orphans(self, limit: int) -> list[tuple[str, str]]:
        return self.inner.orphans(limit)

    def forget_old_answers(self, limit: int) -> None:
        self.inner.forget_old_answers(limit)

    def forget_old_runs(self, limit: int) -> None:
        self.inner.forget_old_runs(limit)

    def forget_old_requests(self, limit: int) -> None:
        self.inner.forget_old_requests(limit)


class Pretender(FaultyStore):
    """Every fifth commit for the same tenants is only pretended: it is answered, and is not on disk.

    Tenants are of one example each, so that the same example again meets the same fault.
    """

    def __init__(self, inner: LedgerStore) -> None:
        super().__init__(inner, lambda locked: locked)
        self.commits: Counter[tuple[str, ...]] = Counter()

    @contextmanager
    def lock(self, tenants: Any) -> Iterator[LockedTenants]:
        key = tuple(sorted(tenants))
        self.commits[key] += 1
        try:
            with self.inner.lock(tenants) as locked:
                yield locked
                if self.commits[key] % 5 == 0:
                    raise _Forgotten
        except _Forgotten:
            pass


class _Forgotten(Exception):
    pass


def releases_at_restart(store: LedgerStore) -> LedgerStore:
    """A start that gives back what was dispatched before, as if it had never been sent."""
    for tenant, name in store.orphans(1_000):
        with store.lock([tenant]) as locked:
            (call,) = locked.calls([name]).values()
            rows = []
            for leg in call.legs:
                key = (tenant, (leg.budget, leg.scope, leg.window))
                rows.append(
                    StandingRow(
                        tenant=tenant,
                        budget=leg.budget,
                        scope=leg.scope,
                        window=Window(label=leg.window, starts_ns=0, ends_ns=0),
                        quantity=leg.quantity,
                        standing=locked.standings([key])[key].release(leg.amount),
                    )
                )
            locked.write(
                Changes(moves=[CallMove(call=name, tenant=tenant, state="released")], standings=rows)
            )
    return store


# -- faults of the ledger --------------------------------------------------------------------------------------


class IgnoresPending(Batch):
    """Admission looks at what is posted only: what is on its way doesn't count."""

    def _standings_for(self, command: Admit, windows: tuple[Window, ...]) -> Standings:
        standings = super()._standings_for(command, windows)
        balances = {key: replace(balance, pending=0) for key, balance in standings.balances.items()}
        return replace(standings, balances=balances)


class ReadsOnce(Batch):
    """Every call of a batch is decided with the balances that the batch began with."""

    def __init__(self, locked: LockedTenants, *args: Any, **options: Any) -> None:
        super().__init__(locked, *args, **options)
        self._at_first = dict(self._books.standings)

    def _standings_for(self, command: Admit, windows: tuple[Window, ...]) -> Standings:
        now, self._books.standings = self._books.standings, self._at_first
        standings = super()._standings_for(command, windows)
        self._books.standings = now
        return standings


class ExpiresWhatWasSent(Batch):
    """Time alone frees what was dispatched."""

    def _expire(self, row: CallRow) -> Reply:
        if row.state == "dispatched":
            row = replace(row, state="reserved", expires_ns=0)
        return super()._expire(row)


class ChargesTwice(Batch):
    """The same settlement again is another charge."""

    def _settle(self, row: CallRow, evidence: Evidence) -> Reply:
        if row.state == "settled":
            row = replace(row, state="dispatched", legs=tuple(replace(leg, amount=0) for leg in row.legs))
        return super()._settle(row, evidence)


class ClipsOverruns(Batch):
    """What a call came to is booked up to its maximum; the provider bills it all the same."""

    def _settle(self, row: CallRow, evidence: Evidence) -> Reply:
        most = row.maximum_nano_usd
        if row.state != "settled" and most is not None and evidence.cost_nano_usd > most:
            evidence = replace(evidence, lines=(replace(evidence.lines[0], nano_usd=most),))
        return super()._settle(row, evidence)


class PassesTwice(Batch):
    """What a settlement passes is told twice."""

    def _settle(self, row: CallRow, evidence: Evidence) -> Reply:
        reply = super()._settle(row, evidence)
        self._books.turns = self._books.turns * 2
        return reply


class MissesOnSettlement(Batch):
    """A settlement posts, and doesn't look at what that reaches."""

    def _settle(self, row: CallRow, evidence: Evidence) -> Reply:
        before = {key: standing.notes for key, standing in self._books.standings.items()}
        reply = super()._settle(row, evidence)
        for key in {each[:2] for each in self._books.turns}:
            notes, was = self._books.standings[key].notes, before[key]
            assert notes is not None
            assert was is not None
            notes = replace(notes, watched=was.watched)
            self._books.standings[key] = replace(self._books.standings[key], notes=notes)
        self._books.turns = []
        return reply


class KeepsOverTheEnd(Batch):
    """What was passed in a window holds on when it is over."""

    def _look(self, command: Look) -> Reply:
        return super()._look(replace(command, ends_ns=command.ends_ns + 400 * DAY_NS))


class KeepsUnderARaisedLimit(Batch):
    """What was passed under a lower limit holds on under a higher one."""

    def _standings_for(self, command: Admit, windows: tuple[Window, ...]) -> Standings:
        before = dict(self._books.standings)
        standings = super()._standings_for(command, windows)
        for each in [each for each in self._books.turns if each[3].why == "limit"]:
            self._books.turns.remove(each)
            key = each[:2]
            self._books.standings[key] = replace(self._books.standings[key], notes=before[key].notes)
        return standings


class TellsNobodyOfExhaustion(Batch):
    """A call is refused for want of money, and what is to be done then isn't."""

    def _admit(self, command: Admit) -> Reply:
        reply = super()._admit(command)
        self._books.turns = [each for each in self._books.turns if each[3].why != "refused"]
        return reply


def in_transactions(locked: type[FaultyLocked]) -> Callable[[LedgerStore], LedgerStore]:
    """A fault of transactions."""
    return lambda store: FaultyStore(store, locked)


@pytest.mark.parametrize(
    "fault",
    [
        in_transactions(each)
        for each in (
            NeverReleases,
            ForgetsTheClock,
            LosesAnEntry,
            ForgetsLateCosts,
            KeepsWhatWasReplaced,
            ChargesRefusals,
            KeepsTurns,
            ForgetsWhatIsPassed,
        )
    ]
    + [Pretender, releases_at_restart],
    ids=[
        "never releases",
        "forgets the clock",
        "loses an entry",
        "forgets late costs",
        "keeps what was replaced",
        "charges refusals",
        "keeps turns",
        "forgets what is passed",
        "pretends",
        "releases at restart",
    ],
)
def test_a_faulty_store_is_found(tmp_path: Path, fault: Callable[[LedgerStore], LedgerStore]) -> None:
    """The machine fails with it."""
    with sqlite_database(tmp_path) as database:
        machine = machine_on(Gateway(database, wrap=fault))
        with pytest.raises(AssertionError):
            run_state_machine_as_test(machine, settings=SEARCH)


@pytest.mark.parametrize(
    "fault",
    [
        IgnoresPending,
        ReadsOnce,
        ExpiresWhatWasSent,
        ChargesTwice,
        ClipsOverruns,
        PassesTwice,
        MissesOnSettlement,
        KeepsOverTheEnd,
        KeepsUnderARaisedLimit,
        TellsNobodyOfExhaustion,
    ],
)
def test_a_faulty_ledger_is_found(tmp_path: Path, fault: type[Batch]) -> None:
    """The machine fails with it."""
    with sqlite_database(tmp_path) as database:
        machine = machine_on(Gateway(database, make_ledger=partial(Ledger, batch=fault)))
        with pytest.raises(AssertionError):
            run_state_machine_as_test(machine, settings=SEARCH)


def test_no_fault_is_found_where_there_is_none(tmp_path: Path) -> None:
    """The same search through the same seams, with nothing planted in them, passes."""
    with sqlite_database(tmp_path) as database:
        gateway = Gateway(database, wrap=in_transactions(FaultyLocked), make_ledger=Ledger)
        run_state_machine_as_test(machine_on(gateway), settings=settings(SEARCH, max_examples=50))
