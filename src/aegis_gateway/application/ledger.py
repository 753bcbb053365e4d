"""The ledger: commands in batches, each batch one transaction under the locked heads of its tenants.

Rule 1: what is answered is on disk. A batch whose transaction failed is done again call by call, so that one bad
        call cannot refuse its neighbours; a call that fails alone has changed nothing.
Rule 2: an admission whose commit may or may not have happened is never answered with a decision; it is taken back
        as never sent as soon as the store answers again.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis_gateway.application.batch import Batch, Windows
from aegis_gateway.application.commands import Admit, Command, Expire, Failed, Lose, Reply, Settle
from aegis_gateway.application.ports import LedgerStore
from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.domain.ledger import Evidence

_BATCH_FAULTS = (LedgerUnavailable, ValueError, OverflowError)
"""What makes a transaction fail as a whole: the store, or one command whose values cannot be written."""

_NEVER_ANSWERED = "it is not known whether its admission was committed; nobody was told to send it"


class Ledger:
    """Decides and records, on one store. Not thread-safe: one process, one ledger, one batch at a time."""

    def __init__(self, store: LedgerStore) -> None:
        """Work on a store."""
        self._store = store
        self._windows = Windows()
        self._unanswered: list[tuple[str, str]] = []

    def process(self, commands: Sequence[Command]) -> list[Reply]:
        """Carry out a batch and answer each command, in order. Never raises: what failed is answered so."""
        if len(commands) > 1:
            try:
                return self._commit(commands)
            except _BATCH_FAULTS:
                pass  # done again below, call by call: what failed has changed nothing
        return [self._alone(command) for command in commands]

    def sweep(self, limit: int = 256) -> int:
        """Tidy up: expire reservations whose time has passed, put orphans in doubt, withdraw unknown commits.

        Returns how many calls there were to tidy.

        Raises:
            LedgerUnavailable: the store cannot be read; nothing was tidied.
        """
        expired, orphans = self._store.expired(limit), self._store.orphans(limit)
        withdrawn, self._unanswered = self._unanswered, []
        commands: list[Command] = [
            Settle(call=call, tenant=tenant, evidence=Evidence(source="not_sent", note=_NEVER_ANSWERED))
            for tenant, call in withdrawn
        ]
        commands += [Expire(call=call, tenant=tenant) for tenant, call in expired]
        commands += [
            Lose(call=call, tenant=tenant, reason="the gateway process that sent it is gone")
            for tenant, call in orphans
        ]
        replies = self.process(commands) if commands else []
        self._unanswered += [
            call for call, reply in zip(withdrawn, replies, strict=False) if _is_unavailable(reply)
        ]
        return len(commands)

    def _alone(self, command: Command) -> Reply:
        try:
            return self._commit([command], are_new=False)[0]
        except _BATCH_FAULTS as fault:
            if isinstance(command, Admit):
                # Its commit may have happened all the same. Nobody was told to send, so it can be taken back.
                self._unanswered.append((command.tenant, command.call))
            return Failed(call=command.call, kind="unavailable", message=str(fault))

    def _commit(self, commands: Sequence[Command], *, are_new: bool = True) -> list[Reply]:
        """One transaction. `are_new`: take it that admissions' ids are new, and fail as a whole if one is not."""
        with self._store.lock(sorted({command.tenant for command in commands})) as locked:
            batch = Batch(locked, commands, self._store.boot, self._windows, are_new=are_new)
            replies = [batch.carry_out(command) for command in commands]
            locked.write(batch.changes())
        return replies


def _is_unavailable(reply: Reply) -> bool:
    return isinstance(reply, Failed) and reply.kind == "unavailable"
