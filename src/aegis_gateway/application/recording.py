"""Where entries and notices are written: in a batch of the ledger, or in a transaction about the registry.

What both of them do (ask people for their word) is written once, against this.
"""

from __future__ import annotations

from typing import Protocol

from aegis_gateway.application.ports import Changes, EntryRow, Head, RegistryChange
from aegis_gateway.domain.entry import ENTRY_VERSION, canonical, time_text

REASON_CHARACTERS_MAX = 1_000
"""So much of what somebody gives as a reason is kept."""


class Recording(Protocol):
    """A transaction that holds some tenants, and writes into their records."""

    def now_ns(self, tenant: str) -> int:
        """The clock of a tenant: read under the lock, and never behind what was told before."""

    def next_sequence(self, tenant: str) -> int:
        """The place of a tenant's next entry."""

    def enter(self, tenant: str, call: str | None, entry_type: str, record: dict[str, object]) -> int:
        """Add an entry at that place, and tell the place."""

    def add(self, changes: Changes) -> None:
        """Write notices and approvals with the rest."""


class RegistryRecording:
    """A transaction about the registry as one. Its entries raise the tenants' epochs only where that is asked for."""

    def __init__(self, change: RegistryChange, actor: str, *, raises_epoch: bool = False) -> None:
        """`actor` is whoever acts, as entries name them."""
        self._change = change
        self._actor = actor
        self._raise = int(raises_epoch)

    def now_ns(self, tenant: str) -> int:
        """The clock of a tenant."""
        return max(self._change.now_ns, self._change.heads[tenant].last_ns)

    def next_sequence(self, tenant: str) -> int:
        """The place of its next entry."""
        return self._change.heads[tenant].next_sequence

    def enter(self, tenant: str, call: str | None, entry_type: str, record: dict[str, object]) -> int:
        """Add an entry."""
        head, now_ns = self._change.heads[tenant], self.now_ns(tenant)
        written = canonical(
            {
                "v": ENTRY_VERSION,
                "type": entry_type,
                "tenant": tenant,
                "seq": head.next_sequence,
                "time": time_text(now_ns),
                "call": call,
                "actor": self._actor,
                **record,
            }
        )
        entry = EntryRow(
            tenant=tenant,
            sequence=head.next_sequence,
            call=call,
            type=entry_type,
            at_ns=now_ns,
            body=written,
        )
        self._change.write(Changes(entries=[entry]))
        self._change.save_head(
            Head(
                tenant=tenant,
                next_sequence=head.next_sequence + 1,
                epoch=head.epoch + self._raise,
                last_ns=now_ns,
            )
        )
        return head.next_sequence

    def add(self, changes: Changes) -> None:
        """Write them at once."""
        self._change.write(changes)
