"""Budget changes: what is done to a limit while a configuration is in force, who did it, why, and until when.

Rule 1: a change is never changed. What takes it back is another one (`roll_back`), which may be taken back in turn; of
        each there is one at most, so what is done twice is done once.
Rule 2: what was done in one act (both sides of a move, all parts of a split) stands at one place of the record, and is
        taken back as one.
Rule 3: a lasting change is made to a configured limit. A version that configures another (`configured` says so) puts an
        end to it; going back to the old limit later does not bring it back. What ends by itself goes on until then.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def with_change(stored: Sequence[StoredLimitChange], change: BudgetChange) -> list[StoredLimitChange]:
    """What still matters of changes of a budget's limit once there is another one.

    What lasts and has begun is one sum for each limit that it was made to, what is over is forgotten, and what lasted
    ends where a version has configured another limit.
    """
    kept = [each for each in stored if each.change.ends_ns is not None and each.change.ends_ns > change.at_ns]
    if change.kind == "configured":
        return kept
    lasting = [each for each in stored if each.change.ends_ns is None]
    added = StoredLimitChange(
        budget=change.budget, unit=change.unit, configured=change.configured, change=change.added
    )
    if change.ends_ns is not None:
        return [*lasting, *kept, added]
    return [*_summed([*lasting, added], change.at_ns), *kept]


def _summed(lasting: Sequence[StoredLimitChange], now_ns: int) -> list[StoredLimitChange]:
    """What lasts, where it has begun one sum for each limit that it was made to."""
    found: dict[tuple[str, int], StoredLimitChange] = {}
    later = []
    for each in lasting:
        if each.change.starts_ns > now_ns:
            later.append(each)
            continue
        key = (each.unit, each.configured)
        before = found[key].change if key in found else LimitChange(amount=0, starts_ns=0)
        total = LimitChange(
            amount=before.amount + each.change.amount,
            starts_ns=max(before.starts_ns, each.change.starts_ns),
        )
        found[key] = msgspec.structs.replace(each, change=total)
    return [*found.values(), *later]
