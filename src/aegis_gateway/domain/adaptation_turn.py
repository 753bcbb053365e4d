"""One turn of an adaptive limit: what may be done to it now, given what was done to it lately.

Rule 1: in each turn (a day or a week) it is changed once at most. What people or versions did to it in the turn stands
        until the next one, which goes on from there.
Rule 2: it is the lasting limit that follows use; what was added or moved for a while comes on top of it, and ends as
        was said.
Rule 3: who took such a change back is asked before the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from aegis_gateway.domain.adaptation import Held, ProposedLimit, UsedWindow, proposed_limit, turn_of
from aegis_gateway.domain.adapts import Adapts
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.budget_family import room_above, room_within
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.limit_change import changed, lasting, lowest
from aegis_gateway.domain.registry import Budget, Quantity
from aegis_gateway.domain.window import Window


class Lately(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a budget's limit for good: the last of it, and all since an instant, in order.

    `took_back`: the last of it took an adaptive change back. `has_incident`: one of the budget's is open.
    """

    changes: tuple[BudgetChange, ...] = ()
    took_back: bool = False
    has_incident: bool = False


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What was used in windows that are over, and what of the present one is spent or reserved."""

    windows: Sequence[UsedWindow] = ()
    now: int = 0


def adapts_of(budget: Budget) -> Adapts:
    """How a budget's limit follows use.

    Raises:
        ConfigurationError: it doesn't.
    """
    if budget.adapts is None:
        raise ConfigurationError(
            f"the limit of `{budget.id}` doesn't follow use; write `adapts` at it in aegis.yaml"
        )
    return budget.adapts


def turn_now(budget: Budget, now_ns: int) -> Window:
    """The turn that an instant falls into.

    Raises:
        ConfigurationError: the budget's limit doesn't follow use.
    """
    return turn_of(budget, adapts_of(budget), now_ns)


def proposal(
    budgets: Mapping[str, Budget],
    name: str,
    quantity: Quantity,
    use: Use,
    lately: Lately,
    now_ns: int,
    *,
    has_canary: bool,
) -> ProposedLimit:
    """What a budget's lasting limit should be in the present turn; `budgets` are as they are, with their changes.

    `lately` is since the turn began.

    Raises:
        ConfigurationError: the budget's limit doesn't follow use.
    """
    budget = budgets[name]
    adapts, turn = adapts_of(budget), turn_now(budget, now_ns)
    present = lasting(budget.limit, budget.changes, now_ns)
    room = room_within(budget, budgets, now_ns)
    found = proposed_limit(
        budget,
        adapts,
        quantity,
        use.windows,
        now_ns,
        present=present,
        parent_limit=None if room is None else present + room,
        promised=_promised(budget, budgets, present, use.now, now_ns),
        has_incident=lately.has_incident,
    )
    why = _why_held([each for each in lately.changes if each.at_ns >= turn.starts_ns], has_canary=has_canary)
    if why is not None:
        return msgspec.structs.replace(found, limit=present, bound=None, held=why[0], reasons=(why[1],))
    if lately.took_back and found.changes:
        reason = "the last such change was taken back, so a person has to say if there may be another"
        found = msgspec.structs.replace(found, applies="approval", reasons=(*found.reasons, reason))
    return found


def _why_held(in_turn: Sequence[BudgetChange], *, has_canary: bool) -> tuple[Held, str] | None:
    """Why a limit stays as it is for now, whatever was used."""
    if has_canary:
        return "canary", "a version is tried beside the one in force, and limits stay as they are meanwhile"
    if any(each.kind == "adaptive" for each in in_turn):
        return "done", "it was adapted in this turn already; the next turn looks again"
    if in_turn:
        last = in_turn[-1]
        by = "a version" if last.kind == "configured" else last.asked_by
        return "set_by_hand", f"{by} has set it in this turn, which stands until the next"
    return None


def _promised(budget: Budget, budgets: Mapping[str, Budget], present: int, in_use: int, now_ns: int) -> int:
    """The least that a lasting limit may be lowered to now."""
    least = [
        # Of the limit that holds now, what is spent or reserved stays.
        present + in_use - changed(budget.limit, budget.changes, now_ns),
        # What is moved out of it for a while, or will be, is taken off what is left.
        present - lowest(budget.limit, budget.changes, now_ns, None),
    ]
    room = room_above(budget, budgets, now_ns)
    if room is not None:
        least.append(present - room)
    return max(least)
