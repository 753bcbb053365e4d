"""The ledger: commands in batches, each batch one transaction under the locked heads of its tenants.

Rule 1: what is answered is on disk. A batch whose transaction failed is done again call by call, so that one bad
        call cannot refuse its neighbours; a call that fails alone has changed nothing.
Rule 2: an admission whose commit may or may not have happened is never answered with a decision; it is taken back
        as never sent as soon as the store answers again.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis_gateway.application.batch import Batch
from aegis_gateway.application.books import Windows
from aegis_gateway.application.commands import Admit, Admitted, Command, Expire, Failed, Lose, Reply, Withdraw
from aegis_gateway.application.ports import LedgerStore
from aegis_gateway.domain.errors import LedgerUnavailable

_BATCH_FAULTS = (LedgerUnavailable, ValueError, OverflowError)
"""What makes a transaction fail as a whole: the store, or one command whose values cannot be written."""


RUNS_FORGOTTEN_AT_ONCE = 2_048
REQUESTS_FORGOTTEN_AT_ONCE = 8_192


class Ledger:
    """Decides and records, on one store. Not thread-safe: one process, one ledger, one batch at a time."""

    def __init__(self, store: LedgerStore, batch: type[Batch] = Batch) -> None:
        """Work on a store. `batch` is how a transaction is worked off, which tests plant faults in."""
        self._store = store
        self._batch = batch
        self._windows = Windows()
        self._unanswered: dict[tuple[str, str], int] = {}

    def process(self, commands: Sequence[Command]) -> list[Reply]:
        """Carry out a batch and answer each command, in order. Never raises: what failed is answered so."""
        attempt = _Attempt()
        if len(commands) > 1:
            try:
                return self._commit(commands, attempt)
            except _BATCH_FAULTS:
                pass  # done again below, call by call: what failed has changed nothing, or its answer is not known
        return [self._alone(command, attempt) for command in commands]

    def sweep(self, limit: int = 256) -> int:
        """Tidy up: expire reservations whose time has passed, put orphans in doubt, withdraw unknown commits.

        Returns how many calls there were to tidy.

        Raises:
            LedgerUnavailable: the store cannot be read; nothing was tidied.
        """
        expired, orphans = self._store.expired(limit), self._store.orphans(limit)
        withdrawn, self._unanswered = self._unanswered, {}
        commands: list[Command] = [
            Withdraw(call=call, tenant=tenant, not_before=sequence)
            for (tenant, call), sequence in withdrawn.items()
        ]
        commands += [Expire(call=call, tenant=tenant) for tenant, call in expired]
        commands += [
            Lose(call=call, tenant=tenant, reason="the gateway process that sent it is gone")
            for tenant, call in orphans
        ]
        replies = self.process(commands) if commands else []
        for key, reply in zip(withdrawn, replies, strict=False):
            if isinstance(reply, Failed) and reply.kind == "unavailable":
                self._unanswered[key] = withdrawn[key]
        # Last: nothing that counts waits for it, or fails with it.
        self._store.forget_old_answers(limit)
        self._store.forget_old_runs(RUNS_FORGOTTEN_AT_ONCE)
        self._store.forget_old_requests(REQUESTS_FORGOTTEN_AT_ONCE)
        return len(commands)

    def _alone(self, command: Command, before: _Attempt) -> Reply:
        """Carry out one command. `before` is the attempt that failed with it and others, if there was one."""
        attempt = _Attempt()
        try:
            reply = self._commit([command], attempt, before=before)[0]
        except _BATCH_FAULTS as fault:
            reply = Failed(call=command.call, kind="unavailable", message=str(fault))
        if isinstance(command, Admit):
            places = {**attempt.places, **before.places}
            if isinstance(reply, Failed) and reply.kind == "unavailable" and command.tenant in places:
                self._unanswered[command.tenant, command.call] = places[command.tenant]
            elif isinstance(reply, Admitted):
                before.answered.add(command.call)
                self._unanswered.pop((command.tenant, command.call), None)
        return reply

    def _commit(
        self, commands: Sequence[Command], attempt: _Attempt, before: _Attempt | None = None
    ) -> list[Reply]:
        """One transaction.

        Without an attempt before it, admissions' ids are taken to be new: one that is not fails it as a whole.
        """
        with self._store.lock(sorted({command.tenant for command in commands})) as locked:
            attempt.places = {tenant: head.next_sequence for tenant, head in locked.heads.items()}
            batch = self._batch(locked, commands, self._store.boot, self._windows, are_new=before is None)
            replies = [
                _not_known(command)
                if before is not None and _was_committed(command, batch, before)
                else batch.carry_out(command)
                for command in commands
            ]
            locked.write(batch.changes())
        return replies


class _Attempt:
    """A transaction that may fail: where the tenants' records ended when it held them.

    `answered` are calls that were decided after it: whoever asks for one of them again was not in doubt.
    """

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.answered: set[str] = set()


def _was_committed(command: Command, batch: Batch, before: _Attempt) -> bool:
    """Whether the attempt before was committed after all, and this admission with it."""
    place = before.places.get(command.tenant)
    if place is None or command.call in before.answered:
        return False
    return isinstance(command, Admit) and batch.decided_since(command.call, place)


def _not_known(command: Command) -> Failed:
    return Failed(
        call=command.call, kind="unavailable", message="it was not known whether the decision was committed"
    )
