"""What gateways measured in the last minutes, as rows: written every few seconds.

Rule: it is for looking, so it may be lost. Nothing is decided by it, and nothing in it is kept for long.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.pace import PaceRow, by_tenant

KEPT_NS = 15 * 60 * 1_000_000_000
"""How long it is kept."""

_OLD = "delete from pace where at_ns < ?"
_SAVE = "insert into pace (tenant, at_ns, boot, counts) values (?, ?, ?, ?) on conflict do nothing"

_encode = msgspec.msgpack.Encoder().encode


class PaceRows(Statements):
    """Counts in a transaction, whose time is `now_ns`."""

    now_ns: int

    def save_pace(self, boot: str, rows: Collection[PaceRow]) -> None:
        """Write what one opening's workers counted in the last seconds. What is older than pages tell of goes."""
        self._do(_OLD, (self.now_ns - KEPT_NS,))
        for tenant, theirs in by_tenant(rows):
            self._do(_SAVE, (tenant, self.now_ns, boot, _encode(theirs)))
