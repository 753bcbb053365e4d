"""Amending: what is done to limits in one transaction, with its entry and its notice.

Rule 1: limits are read under the tenant's lock, and what must be kept is looked at there: no limit falls below what has
        been promised, no children above their parent, nobody gives what is spent.
Rule 2: all of it is done or nothing is: before anything was written, it was looked at in whole.
Rule 3: the tenant's epoch is raised, so the very next call is decided by the limit that is then in force.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from aegis_gateway.application.ports import Changes, RegistryChange, StandingRow
from aegis_gateway.application.recording import Recording
from aegis_gateway.domain.budget_change import BudgetChange, ChangeKind
from aegis_gateway.domain.budget_family import add_changes, over_parents, with_changes
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.limit_change import FOREVER_NS, LimitChange, changed, lowest
from aegis_gateway.domain.limits import lasting_limit, limit_of, noted, opened, taken_under, wants_notes
from aegis_gateway.domain.money import NANO_USD_MAX
from aegis_gateway.domain.notice import Notice
from aegis_gateway.domain.registry import Budget, Registry
from aegis_gateway.domain.rolling import rolled
from aegis_gateway.domain.window import Window

ENTRY = "budget_change"
"""The type of the entries about what is done to limits."""


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as the configuration in force has it, with its version; `newest` is that or the canary beside it."""

    registry: Registry
    version: int
    newest: int


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done to one budget's limit: so much more or less, from now or later, until then or for good."""

    budget: str
    kind: ChangeKind
    amount: int
    ends_ns: int | None
    starts_ns: int = 0
    undoes: int | None = None


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """Whose wish something is, whose word it has, and why; `approval` is the id of the request that was granted."""

    asked_by: str
    approver: str
    reason: str
    approval: str = ""


class Amending:
    """A transaction that holds a tenant, in which limits are changed."""

    def __init__(self, change: RegistryChange, recording: Recording, in_force: InForce) -> None:
        """Read what was done to limits so far.

        Raises:
            ConfigurationError: another configuration is in force by now.
        """
        latest = change.latest_config()
        if latest is None or latest.version != in_force.newest:
            raise ConfigurationError(
                "another configuration was put in force meanwhile; look at it and try again"
            )
        self._change = change
        self._recording = recording
        self._version = in_force.version
        self.tenant = in_force.registry.tenant
        self.now_ns = recording.now_ns(self.tenant)
        self.budgets = with_changes(in_force.registry.budgets, change.limit_changes(self.tenant))

    def budget(self, name: str) -> Budget:
        """A budget with what was done to its limit.

        Raises:
            ConfigurationError: there is none of that name.
        """
        found = self.budgets.get(name)
        if found is None:
            raise ConfigurationError(f"there is no budget `{name}`; `aegis budget` lists them")
        return found

    def left(self, budget: Budget, amount: int) -> int | None:
        """What would be left of a budget's current window without an amount of its limit, in the ledger's unit.

        None where a budget is split, and there is more than one balance.
        """
        without = LimitChange(amount=-amount, starts_ns=self.now_ns)
        stands = self.stands(msgspec.structs.replace(budget, changes=(*budget.changes, without)))
        if stands is None:
            return None
        standing, limit = stands
        return standing.available(limit)

    def stands(self, budget: Budget) -> tuple[Standing, int] | None:
        """The balance of a budget's current window and what the window bears, in the ledger's unit.

        None where a budget is split, and there is more than one balance.
        """
        if budget.per:
            return None
        standing = self._standing(budget)
        if wants_notes(budget):
            standing = noted(budget, budget.window(self.now_ns), standing, self.now_ns)
        return standing, limit_of(budget, standing, self.now_ns)

    def is_superseded(self, change: BudgetChange) -> bool:
        """Whether a version has put an end to a lasting change since."""
        if change.ends_ns is not None:
            return False
        configured = self._change.last_configured(self.tenant, change.budget)
        return change.number < configured or change.configured != self.budget(change.budget).limit

    def check(self, wishes: Sequence[Wish]) -> dict[str, Budget]:
        """Look at it in whole; the budgets as they would be.

        Raises:
            ConfigurationError: something that must be kept would not be.
        """
        added: dict[str, list[LimitChange]] = defaultdict(list)
        for wish in self._begun(wishes):
            added[wish.budget].append(
                LimitChange(amount=wish.amount, starts_ns=wish.starts_ns, ends_ns=wish.ends_ns)
            )
        after = add_changes(self.budgets, added)
        for wish in self._begun(wishes):
            self._refuse_time(wish)
            self._refuse_limit(wish, after[wish.budget])
        self._refuse_over_parents(after)
        return after

    def carry_out(self, wishes: Sequence[Wish], word: Word) -> tuple[BudgetChange, ...]:
        """Do it, all of it.

        Raises:
            ConfigurationError: something that must be kept would not be; nothing was done.
        """
        after = self.check(wishes)
        wishes = self._begun(wishes)
        sequence = self._recording.next_sequence(self.tenant)
        number = self._change.next_budget_change(self.tenant)
        made = tuple(
            self._made(wish, number + place, after, sequence, word) for place, wish in enumerate(wishes)
        )
        self._change.save_budget_changes(made)
        self._note_what_is_carried_over(after, {wish.budget for wish in wishes})
        self._recording.enter(self.tenant, None, ENTRY, _record(made))
        notice = Notice(
            tenant=self.tenant,
            sequence=sequence,
            kind="limit_changed",
            subject=f"budget:{made[0].budget}",
            at_ns=self.now_ns,
            body=_told(made, after),
        )
        self._recording.add(Changes(notices=[notice]))
        head = self._change.heads[self.tenant]
        self._change.save_head(msgspec.structs.replace(head, epoch=head.epoch + 1))
        self.budgets = after
        return made

    def _begun(self, wishes: Sequence[Wish]) -> list[Wish]:
        """What is to be done, beginning now at the earliest."""
        return [msgspec.structs.replace(wish, starts_ns=max(wish.starts_ns, self.now_ns)) for wish in wishes]

    def _standing(self, budget: Budget) -> Standing:
        """The balance of a budget that isn't split, in its current window, as it stands or as a call would open it."""
        window = budget.window(self.now_ns)
        found = self._found(budget, window)
        if found is None:
            return opened(budget, window, self._window_before(budget, window), self.now_ns)
        return rolled(found, budget.length_ns, self.now_ns) if budget.length_ns else found

    def _found(self, budget: Budget, window: Window) -> Standing | None:
        key = (self.tenant, (budget.id, "", window.label))
        return self._change.standings([key]).get(key)

    def _window_before(self, budget: Budget, window: Window) -> tuple[Window, Standing | None] | None:
        """The window before, and its balance, where it says what this one begins with."""
        if budget.carry_over is None:
            return None
        before = budget.window(window.starts_ns - 1)
        standing = self._found(budget, before)
        if standing is None and not self._change.used([(self.tenant, budget.id, "")]):
            return None
        return before, standing

    def _refuse_time(self, wish: Wish) -> None:
        if wish.ends_ns is not None and wish.ends_ns <= wish.starts_ns:
            raise ConfigurationError(
                f"`{wish.budget}`: {time_text(wish.ends_ns)} is over by then; say a later end"
            )
        if wish.ends_ns is not None and wish.ends_ns > FOREVER_NS:
            raise ConfigurationError(f"`{wish.budget}`: nobody will see such an end; say that it lasts")

    def _refuse_limit(self, wish: Wish, after: Budget) -> None:
        least = lowest(after.limit, after.changes, wish.starts_ns, wish.ends_ns)
        if wish.amount < 0 and least < 0:
            raise ConfigurationError(
                f"the limit of `{wish.budget}` would fall below nothing, for what was added to it ends before; "
                "take off less, or for a shorter time"
            )
        if (
            wish.amount > 0
            and after.limit + sum(max(0, each.amount) for each in after.changes) > NANO_USD_MAX
        ):
            raise ConfigurationError(f"the limit of `{wish.budget}` would be too large; add less")

    def _refuse_over_parents(self, after: Mapping[str, Budget]) -> None:
        for over in over_parents(self.budgets, after, self.now_ns):
            when = "" if over.at_ns <= self.now_ns else f" from {time_text(over.at_ns)} on"
            raise ConfigurationError(
                f"the budgets within `{over.parent}` would add up to more than its limit{when}; "
                f"move money between them, or ask for more for that one first: `aegis budget ask {over.parent} AMOUNT`"
            )

    def _made(
        self, wish: Wish, number: int, after: Mapping[str, Budget], sequence: int, word: Word
    ) -> BudgetChange:
        before = self.budgets[wish.budget]
        return BudgetChange(
            tenant=self.tenant,
            number=number,
            budget=wish.budget,
            kind=wish.kind,
            amount=wish.amount,
            unit=before.unit,
            configured=before.limit,
            limit_before=changed(before.limit, before.changes, wish.starts_ns),
            limit_after=changed(before.limit, after[wish.budget].changes, wish.starts_ns),
            starts_ns=wish.starts_ns,
            ends_ns=wish.ends_ns,
            at_ns=self.now_ns,
            sequence=sequence,
            asked_by=word.asked_by,
            approver=word.approver,
            reason=word.reason,
            config_version=self._version,
            approval=word.approval,
            undoes=wish.undoes,
        )

    def _note_what_is_carried_over(self, after: Mapping[str, Budget], touched: Iterable[str]) -> None:
        """What a window leaves to the next is told by its notes, and no call may come to write them any more."""
        rows = []
        for name in touched:
            budget = after[name]
            if budget.carry_over is not None and not budget.per:
                window = budget.window(self.now_ns)
                standing = noted(budget, window, self._standing(budget), self.now_ns)
                lasting = lasting_limit(budget, window, standing, self.now_ns)
                rows.append(
                    StandingRow(
                        tenant=self.tenant,
                        budget=name,
                        scope="",
                        window=window,
                        quantity=budget.quantity,
                        standing=taken_under(lasting, standing),
                    )
                )
        if rows:
            self._change.write(Changes(standings=rows))


def _record(made: Sequence[BudgetChange]) -> dict[str, object]:
    first = made[0]
    record: dict[str, object] = {
        "act": first.kind,
        "changes": [
            {
                "number": each.number,
                "budget": each.budget,
                "amount": str(each.amount),
                "unit": each.unit,
                "limit_before": str(each.limit_before),
                "limit_after": str(each.limit_after),
                "starts": time_text(each.starts_ns),
                "ends": None if each.ends_ns is None else time_text(each.ends_ns),
                **({} if each.undoes is None else {"undoes": each.undoes}),
            }
            for each in made
        ],
        "reason": first.reason,
        "asked_by": first.asked_by,
        "approver": first.approver,
        "config_version": first.config_version,
    }
    if first.approval:
        record["approval"] = first.approval
    return record


def _told(made: Sequence[BudgetChange], budgets: Mapping[str, Budget]) -> dict[str, object]:
    return {
        "kind": made[0].kind,
        "reason": made[0].reason,
        "asked_by": made[0].asked_by,
        "approver": made[0].approver,
        "changes": [
            {
                "number": each.number,
                "budget": each.budget,
                "owner": budgets[each.budget].owner,
                "deputy": budgets[each.budget].deputy,
                "unit": each.unit,
                "amount": each.amount,
                "limit_before": each.limit_before,
                "limit_after": each.limit_after,
                "starts_ns": each.starts_ns,
                "ends_ns": each.ends_ns,
            }
            for each in made
        ],
    }
