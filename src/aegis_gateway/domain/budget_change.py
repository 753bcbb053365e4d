"""Budget changes: what is done to a limit while a configuration is in force, who did it, why, and until when.

Rule 1: a change is never changed. What takes it back is another one (`roll_back`), which may be taken back in turn; of
        each there is one at most, so what is done twice is done once.
Rule 2: what was done in one act (both sides of a move, all parts of a split) stands at one place of the record, and is
        taken back as one.
Rule 3: a lasting change is made to a configured limit. A version that configures another (`configured` says so) puts an
        end to it; going back to the old limit later does not bring it back. What ends by itself goes on until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from aegis_gateway.domain.limit_change import LimitChange

ChangeKind = Literal["increase", "move_out", "move_in", "split", "adaptive", "roll_back", "configured"]
CHANGE_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)


class BudgetChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one budget's limit, as the ledger keeps it.

    `amount` is what is added, in the smallest unit of `unit` (the budget's quantity, or its currency); it acts from
    `starts_ns` until `ends_ns`, or for good. `configured` is the limit that it is made to, `limit_before` and
    `limit_after` are what was in force just before it begins, and from then on. `sequence` is the place of its entry,
    `asked_by` whose wish it is and `approver` whose word; `undoes` is the number of what it takes back.

    One of kind `configured` adds nothing by itself: a version has configured another limit.
    """

    tenant: str
    number: int
    budget: str
    kind: ChangeKind
    amount: int
    unit: str
    configured: int
    limit_before: int
    limit_after: int
    starts_ns: int
    ends_ns: int | None
    at_ns: int
    sequence: int
    asked_by: str
    approver: str
    reason: str
    config_version: int
    approval: str = ""
    undoes: int | None = None

    @property
    def added(self) -> LimitChange:
        """What it adds to the limit."""
        return LimitChange(amount=self.amount, starts_ns=self.starts_ns, ends_ns=self.ends_ns)


class StoredLimitChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker needs of changes that still matter: of a budget, in which unit, to which configured limit."""

    budget: str
    unit: str
    configured: int
    change: LimitChange

    def holds_for(self, unit: str, configured: int) -> bool:
        """Whether it says anything of a limit that is configured so: amounts of another unit mean nothing, and a
        lasting change is of the limit that it was made to.
        """
        return self.unit == unit and (self.change.ends_ns is not None or self.configured == configured)


def unsuperseded(changes: Iterable[BudgetChange]) -> tuple[StoredLimitChange, ...]:
    """What changes add and added, those that are over too, but for lasting ones that a version has put an end to."""
    known = sorted(changes, key=lambda change: change.number)
    configured_at = {change.budget: change.number for change in known if change.kind == "configured"}
    return tuple(
        StoredLimitChange(budget=each.budget, unit=each.unit, configured=each.configured, change=each.added)
        for each in known
        if each.kind != "configured"
        and (each.ends_ns is not None or each.number > configured_at.get(each.budget, 0))
    )
