"""What people do to limits while a configuration is in force: raise one, move money, split it, take that back.

Rule 1: each act is one transaction under the tenant's head; what must be kept is looked at there (`amending.py`).
Rule 2: a limit is raised by who may change limits, where two people are needed by a request that another grants. What
        stays within one owner's budgets (a move, a split, a lowering) is that owner's, or the deputy's, to do.
Rule 3: what was taken back is not taken back twice: who says so again is told of the first time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from aegis_gateway.application.adapting import proposal_under, put_in_force, reason_of, withdraw_request
from aegis_gateway.application.amending import Amending, InForce, Wish, Word
from aegis_gateway.application.operators import Act, Caller, Operators
from aegis_gateway.application.ports import RegistryChange, RegistryStore
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX, RegistryRecording
from aegis_gateway.domain.adaptation_turn import Use
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.budget_family import are_counted_alike
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.limit_change import changed
from aegis_gateway.domain.people import person_of
from aegis_gateway.domain.registry import Budget


class BudgetChanges:
    """The use cases about limits of one tenant, in the name of a caller."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller, in_force: InForce) -> None:
        """`pepper` is the installation's secret that tokens are hashed under; `in_force` is looked at again."""
        self._operators = Operators(store, pepper, caller)
        self._in_force = in_force
        self._tenant = in_force.registry.tenant

    def increase(
        self, budget: str, amount: int, *, ends_ns: int | None, reason: str, starts_ns: int = 0
    ) -> BudgetChange:
        """Raise a limit, until an instant or for good.

        Raises:
            ConfigurationError: there is no such budget, it would pass its parent's limit, or is over before it begins.
            NotPermitted: who asks may not, or two people are needed.
        """
        with self._act() as (act, amending):
            amending.budget(budget)
            act.require([self._tenant])
            self._refuse_alone(budget)
            _refuse_nothing(amount)
            wish = Wish(budget=budget, kind="increase", amount=amount, starts_ns=starts_ns, ends_ns=ends_ns)
            (made,) = amending.carry_out([wish], _word(act, reason))
            return made

    def move(
        self,
        giver: str,
        taker: str,
        amount: int,
        *,
        reason: str,
        ends_ns: int | None = None,
        lasts: bool = False,
    ) -> tuple[BudgetChange, ...]:
        """Take from one budget's limit and give it to another's: until the window ends, an instant, or for good.

        Raises:
            ConfigurationError: they are not one owner's, not within the same parent or not counted alike, or so much
                isn't left.
            NotPermitted: who asks may not.
        """
        with self._act() as (act, amending):
            pair = amending.budget(giver), amending.budget(taker)
            self._require(act, pair)
            _refuse_nothing(amount)
            _refuse_other_family(*pair)
            if ends_ns is None and not lasts:
                if pair[0].length_ns:
                    raise ConfigurationError(
                        f"`{giver}` has a rolling window, which has no end; say until when, or that it lasts"
                    )
                ends_ns = pair[0].window(amending.now_ns).ends_ns
            wishes = [
                Wish(budget=giver, kind="move_out", amount=-amount, ends_ns=ends_ns),
                Wish(budget=taker, kind="move_in", amount=amount, ends_ns=ends_ns),
            ]
            _refuse_spent(amending, wishes)
            return amending.carry_out(wishes, _word(act, reason))

    def split(
        self, parent: str, limits: Mapping[str, int], *, ends_ns: int | None, reason: str
    ) -> tuple[BudgetChange, ...]:
        """Give budgets within another one the limits that are said, until an instant or for good.

        Raises:
            ConfigurationError: one is not within the parent, or they would add up to more than that, or one would fall
                below what is spent of it, or nothing would change.
            NotPermitted: who asks may not.
        """
        with self._act() as (act, amending):
            self._require(act, [amending.budget(parent)])
            wishes = []
            for name, limit in limits.items():
                child = amending.budget(name)
                if child.within != parent or child.unit != amending.budget(parent).unit:
                    raise ConfigurationError(
                        f"`{name}` is not within `{parent}`; write `within: {parent}` at it in aegis.yaml"
                    )
                _refuse_split_balances(child)
                amount = limit - changed(child.limit, child.changes, amending.now_ns)
                if amount:
                    wishes.append(Wish(budget=name, kind="split", amount=amount, ends_ns=ends_ns))
            if not wishes:
                raise ConfigurationError(f"the budgets within `{parent}` have these limits already")
            _refuse_spent(amending, wishes)
            return amending.carry_out(wishes, _word(act, reason))

    def adapt(self, budget: str, use: Use) -> BudgetChange:
        """Change a limit that follows use to what is proposed in the present turn.

        Raises:
            ConfigurationError: its limit doesn't follow use, or nothing is proposed; the message says why.
            NotPermitted: who asks may not, or two people are needed.
        """
        with self._act() as (act, amending):
            act.require([self._tenant])
            found = proposal_under(act.change, amending, self._in_force, budget, use)
            if not found.changes:
                raise ConfigurationError(f"the limit of `{budget}` stays as it is: {reason_of(found)}")
            if (
                found.applies == "approval"
                and found.limit > found.present
                and self._in_force.registry.four_eyes
            ):
                raise NotPermitted(
                    f"two people are needed to raise a limit in `{self._tenant}`; the proposal asks for somebody's "
                    "word: `aegis approvals`"
                )
            made = put_in_force(amending, found, _word(act, reason_of(found)))
            recording = RegistryRecording(act.change, act.operator.name)
            withdraw_request(act.change, recording, self._tenant, amending.budget(budget), act.operator.name)
            return made

    def roll_back(self, number: int, reason: str) -> tuple[BudgetChange, ...]:
        """Take a change back, with all that was done in one act with it. What took it back, if that was done before.

        Raises:
            ConfigurationError: there is no such change, it is over, or what it gave is spent.
            NotPermitted: who asks may not, or two people are needed.
        """
        with self._act() as (act, amending):
            made = act.change.budget_changes_with(self._tenant, number)
            if not made:
                raise ConfigurationError(f"there is no change `{number}`; `aegis budget history` lists them")
            undoing, is_in_force = _last(act.change, made)
            if not is_in_force:
                return tuple(undoing)
            wishes = [_taken_back(each, amending) for each in undoing]
            budgets = [amending.budget(wish.budget) for wish in wishes]
            match _root(act.change, made).kind:
                case "split" if all(each.within for each in budgets):
                    self._require(act, [amending.budget(each.within) for each in budgets if each.within])
                    _refuse_spent(amending, wishes)
                case "move_in" | "move_out":
                    self._require(act, budgets)
                    _refuse_spent(amending, wishes)
                case _ if any(wish.amount > 0 for wish in wishes):
                    act.require([self._tenant])
                    self._refuse_alone(budgets[0].id)
                case _:
                    self._require(act, budgets)
            return amending.carry_out(wishes, _word(act, reason))

    @contextmanager
    def _act(self) -> Iterator[tuple[Act, Amending]]:
        with self._operators.act("budgets", [self._tenant]) as act:
            if self._tenant not in act.change.heads:
                raise ConfigurationError(
                    f"there is no tenant `{self._tenant}`; `aegis apply DIR` makes those of its file"
                )
            recording = RegistryRecording(act.change, act.operator.name)
            yield act, Amending(act.change, recording, self._in_force)

    def _require(self, act: Act, budgets: Iterable[Budget]) -> None:
        """Go on only with who owns all of some budgets, or stands in for who does, or may change any limit."""
        person, people = act.operator.person, act.change.people()
        if person is not None and all(
            person.id in (person_of(each.owner, people), person_of(each.deputy, people)) for each in budgets
        ):
            return
        act.require([self._tenant])

    def _refuse_alone(self, budget: str) -> None:
        if self._in_force.registry.four_eyes:
            raise NotPermitted(
                f"two people are needed to raise a limit in `{self._tenant}`; ask for it, and another agrees: "
                f"`aegis budget ask {budget} AMOUNT`"
            )


def _word(act: Act, reason: str) -> Word:
    if not reason.strip():
        raise ConfigurationError("say why, so that whoever reads the history knows; give a reason")
    return Word(
        asked_by=act.operator.name, approver=act.operator.name, reason=reason.strip()[:REASON_CHARACTERS_MAX]
    )


def _refuse_nothing(amount: int) -> None:
    if amount <= 0:
        raise ConfigurationError("the amount is not above 0; say how much")


def _refuse_split_balances(budget: Budget) -> None:
    if budget.per:
        raise ConfigurationError(
            f"`{budget.id}` has a limit for each {' and '.join(budget.per)}, so no one sum of it can be moved; "
            "name another budget"
        )


def _refuse_other_family(giver: Budget, taker: Budget) -> None:
    if giver.id == taker.id:
        raise ConfigurationError(f"`{giver.id}` can't give to itself; name another budget")
    for budget in (giver, taker):
        _refuse_split_balances(budget)
    if giver.owner.casefold() != taker.owner.casefold():
        raise ConfigurationError(
            f"`{giver.id}` is {giver.owner}'s and `{taker.id}` is {taker.owner}'s; money is moved between budgets of "
            f"one owner; to have more, ask for it: `aegis budget ask {taker.id} AMOUNT`"
        )
    if giver.within != taker.within:
        raise ConfigurationError(
            f"`{giver.id}` and `{taker.id}` are not within the same budget; move between those that are"
        )
    if not are_counted_alike(giver, taker):
        raise ConfigurationError(
            f"`{giver.id}` and `{taker.id}` don't count the same in the same windows, so a sum of one is none of the "
            "other; move between budgets that do"
        )


def _refuse_spent(amending: Amending, wishes: Sequence[Wish]) -> None:
    """Nobody gives what is spent or reserved: else it would be spent twice."""
    for wish in wishes:
        if wish.amount < 0:
            left = amending.left(amending.budget(wish.budget), -wish.amount)
            if left is None or left < 0:
                raise ConfigurationError(
                    f"so much is not left of `{wish.budget}` in its window; `aegis budget {wish.budget}` shows what is"
                )


def _last(change: RegistryChange, made: list[BudgetChange]) -> tuple[list[BudgetChange], bool]:
    """The last act that took back another, and so on from these; and whether these are in force by that."""
    is_in_force = True
    while True:
        undoing = change.budget_change_undoing(made[0].tenant, made[0].number)
        if undoing is None:
            return made, is_in_force
        made, is_in_force = change.budget_changes_with(undoing.tenant, undoing.number), not is_in_force


def _root(change: RegistryChange, made: list[BudgetChange]) -> BudgetChange:
    """What it all began with: not what took something back."""
    first = made[0]
    while first.undoes is not None:
        first = change.budget_changes_with(first.tenant, first.undoes)[0]
    return first


def _taken_back(change: BudgetChange, amending: Amending) -> Wish:
    budget = amending.budget(change.budget)
    if change.kind == "configured":
        raise ConfigurationError(
            f"change {change.number} is that of a version; `aegis rollback` goes back to an earlier one"
        )
    if change.ends_ns is not None and change.ends_ns <= amending.now_ns:
        raise ConfigurationError(f"change {change.number} is over; there is nothing to take back")
    if budget.unit != change.unit or amending.is_superseded(change):
        raise ConfigurationError(
            f"a version has configured `{change.budget}` anew since change {change.number}, which ended it"
        )
    return Wish(
        budget=change.budget,
        kind="roll_back",
        amount=-change.amount,
        starts_ns=change.starts_ns,
        ends_ns=change.ends_ns,
        undoes=change.number,
    )
