"""Limits that follow use stay within their bounds, whatever is spent and whatever people and versions do meanwhile."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_gateway.domain.adaptation import ProposedLimit, UsedWindow
from aegis_gateway.domain.adaptation_turn import Lately, Use, proposal, turn_now
from aegis_gateway.domain.adapts import Adapts
from aegis_gateway.domain.budget_change import BudgetChange, ChangeKind, StoredLimitChange, with_change
from aegis_gateway.domain.budget_family import over_parents, reconfigured, with_changes
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.limit_change import LimitChange, changed, lasting
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Budget
from tests.adaptations import Follower, adapting
from tests.amendments import like_month
from tests.ledgers import DAY_NS, HOUR_NS, NOON_NS, TurnableClock, create_tenants, sqlite_database
from tests.years import FIRST, YEAR, year

DOLLAR = 1_000_000_000
ADAPTS = Adapts(every="daily", floor=40 * DOLLAR, ceiling=400 * DOLLAR, applies="automatic")


def check_bounds(found: ProposedLimit, adapts: Adapts) -> None:
    """What is applied is no further from the present limit than may be, and within floor and ceiling; a limit that was
    set beyond one of them comes back towards it.
    """
    step = found.present * adapts.most_change // 10_000
    assert found.limit <= found.present + step
    assert found.limit >= found.present - step or found.present > adapts.ceiling
    if found.limit > found.present:
        assert found.limit <= adapts.ceiling
    else:
        assert found.limit >= adapts.floor


class House:
    """A parent, a child that follows use, and a sibling, with all that is done to their limits; nothing is stored."""

    def __init__(self) -> None:
        day = Budget(
            id="day",
            owner="own",
            deputy=None,
            quantity="usd",
            limit=100 * DOLLAR,
            period="daily",
            zone="UTC",
            within="house",
            adapts=ADAPTS,
        )
        replace = msgspec.structs.replace
        self.configured = {
            "house": replace(day, id="house", within=None, adapts=None, limit=500 * DOLLAR),
            "day": day,
            "sibling": replace(day, id="sibling", adapts=None, limit=150 * DOLLAR),
        }
        self.stored: dict[str, list[StoredLimitChange]] = {}
        self.history: list[BudgetChange] = []
        self.has_incident = False
        self.applied: list[ProposedLimit] = []

    @property
    def budgets(self) -> dict[str, Budget]:
        """With what was done to them."""
        return with_changes(self.configured, [each for of in self.stored.values() for each in of])

    def add(self, budget: str, kind: ChangeKind, amount: int, now_ns: int, **what: int | None) -> bool:
        """Change a limit, if its family bears it."""
        before = self.budgets
        change = LimitChange(amount=amount, starts_ns=now_ns, ends_ns=what.get("ends_ns"))
        after = msgspec.structs.replace(before[budget], changes=(*before[budget].changes, change))
        if over_parents(before, {**before, budget: after}, now_ns):
            return False
        made = BudgetChange(
            tenant="acme",
            number=len(self.history) + 1,
            budget=budget,
            kind=kind,
            amount=amount,
            unit="usd",
            configured=before[budget].limit,
            limit_before=changed(before[budget].limit, before[budget].changes, now_ns),
            limit_after=changed(before[budget].limit, after.changes, now_ns),
            starts_ns=now_ns,
            ends_ns=what.get("ends_ns"),
            at_ns=now_ns,
            sequence=len(self.history) + 1,
            asked_by="fin",
            approver="fin",
            reason="r",
            config_version=1,
            undoes=what.get("undoes"),
        )
        self._keep(made)
        return True

    def _keep(self, made: BudgetChange) -> None:
        self.history.append(made)
        self.stored[made.budget] = with_change(self.stored.get(made.budget, ()), made)

    def configure(self, budgets: Mapping[str, Budget], now_ns: int) -> None:
        """Put a version in force."""
        for old, new in reconfigured(self.configured, budgets):
            assert new is not None
            change = self.history[-1] if self.history else None
            number = change.number + 1 if change else 1
            self._keep(
                BudgetChange(
                    tenant="acme",
                    number=number,
                    budget=old.id,
                    kind="configured",
                    amount=new.limit - old.limit,
                    unit="usd",
                    configured=new.limit,
                    limit_before=old.limit,
                    limit_after=new.limit,
                    starts_ns=now_ns,
                    ends_ns=None,
                    at_ns=now_ns,
                    sequence=number,
                    asked_by="ana",
                    approver="ana",
                    reason="",
                    config_version=2,
                )
            )
        self.configured = dict(budgets)

    def lately(self, since_ns: int) -> Lately:
        """What was done to the child for good."""
        for_good = [each for each in self.history if each.budget == "day" and each.ends_ns is None]
        last = for_good[-1] if for_good else None
        undone = None if last is None or last.undoes is None else self.history[last.undoes - 1]
        return Lately(
            changes=tuple(each for each in for_good if each is last or each.at_ns >= since_ns),
            took_back=undone is not None and undone.kind == "adaptive",
            has_incident=self.has_incident,
        )

    def look(self, used: Sequence[UsedWindow], in_use: int, now_ns: int) -> None:
        """A turn comes, and the limit is adapted, as often as the steward looks."""
        since_ns = turn_now(self.configured["day"], now_ns).starts_ns
        for _ in range(2):
            budgets = self.budgets
            found = proposal(
                budgets,
                "day",
                BUILT_IN_QUANTITIES["usd"],
                Use(windows=used, now=in_use),
                self.lately(since_ns),
                now_ns,
                has_canary=False,
            )
            if found.changes:
                check_bounds(found, ADAPTS)
                assert not self.has_incident
                assert self.add("day", "adaptive", found.limit - found.present, now_ns), "the family bears it"
                self.applied.append(found)
        adapted = [each for each in self.history if each.kind == "adaptive" and each.at_ns >= since_ns]
        assert len(adapted) <= 1, "once in a turn"


def happen(house: House, chance: random.Random, now_ns: int) -> None:
    """What people and versions do now and then."""
    ends_ns = now_ns + chance.choice((1, 20, 60)) * HOUR_NS
    match chance.randrange(40):
        case 0:
            house.add("day", "increase", chance.randrange(200) * DOLLAR, now_ns)
        case 1:
            house.add("day", "increase", chance.randrange(200) * DOLLAR, now_ns, ends_ns=ends_ns)
        case 2:
            for_good = [each for each in house.history if each.kind == "adaptive"]
            if for_good and all(each.undoes != for_good[-1].number for each in house.history):
                last = for_good[-1]
                house.add("day", "roll_back", -last.amount, now_ns, undoes=last.number)
        case 3:
            limit = chance.choice((30, 80, 200, 450)) * DOLLAR
            day = msgspec.structs.replace(house.configured["day"], limit=limit)
            house.configure({**house.configured, "day": day}, now_ns)
        case 4:
            house.add("house", "move_out", -chance.randrange(200) * DOLLAR, now_ns, ends_ns=ends_ns)
        case 5:
            house.add("sibling", "increase", chance.randrange(100) * DOLLAR, now_ns, ends_ns=ends_ns)
        case 6:
            house.add("day", "move_out", -chance.randrange(90) * DOLLAR, now_ns, ends_ns=ends_ns)
        case 7 | 8:
            house.has_incident = not house.has_incident


@pytest.mark.parametrize("seed", range(6))
def test_a_made_up_year(seed: int) -> None:
    """Day by day, with raises, moves, rollbacks, incidents and versions between: it never leaves its bounds."""
    spent, chance, house = year(seed), random.Random(seed), House()
    used: list[UsedWindow] = []
    for day in range(YEAR // 24):
        first = FIRST + 24 * day
        now_ns = first * HOUR_NS + chance.randrange(10) * HOUR_NS
        happen(house, chance, now_ns)
        house.look(used, chance.choice((0, 0, 90 * DOLLAR)), now_ns)
        budget = house.budgets["day"]
        wanted = sum(spent.get(hour, 0) for hour in range(first, first + 24))
        limit = changed(budget.limit, budget.changes, now_ns)
        used.insert(
            0,
            UsedWindow(
                window=budget.window(now_ns), used=min(wanted, limit), cut_short=wanted > limit and limit > 0
            ),
        )
    assert 20 < len(house.applied)
    assert {"most_change"} < {each.bound for each in house.applied}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "spend",
                "turn",
                "turn",
                "turn",
                "raise",
                "for a while",
                "move",
                "incident",
                "roll back",
                "version",
            )
        ),
        st.integers(0, 3_000),
    ),
    min_size=5,
    max_size=30,
)


class Stretch:
    """Some days of a real store, step by step."""

    def __init__(self, bank: Follower, clock: TurnableClock) -> None:
        self.bank, self.clock = bank, clock
        self.has_incident = False
        self.seen = 0

    def take(self, step: str, number: int) -> None:
        """Do one thing, whether or not it may be done; then a steward looks, twice."""
        acts: dict[str, Callable[[], object]] = {
            "spend": lambda: self.bank.spend_now("day", number),
            "turn": lambda: self._turn(number),
            "raise": lambda: self.bank.changes().increase("day", number, ends_ns=None, reason="r"),
            "for a while": lambda: self.bank.changes().increase(
                "day", number, ends_ns=self.clock.now_ns() + number * HOUR_NS // 40, reason="r"
            ),
            "move": lambda: self.bank.changes("own").move("day", "other", number, reason="r"),
            "incident": self._incident,
            "roll back": lambda: self.bank.changes().roll_back(1 + number % 12, "r"),
            "version": lambda: self.bank.configure(*house(limit=100 + number)),
        }
        with suppress(ConfigurationError):  # it may not be done, and then nothing was
            acts[step]()
        for _ in range(2):
            self.look()

    def _turn(self, number: int) -> None:
        self.bank.spend_now("day", min(number, max(0, self.bank.limits()["day"])))
        self.clock.turn(DAY_NS)

    def _incident(self) -> None:
        if not self.has_incident:
            self.has_incident = True
            self.bank.open_incident("day")

    def look(self) -> None:
        """The steward looks; what it did is within all bounds."""
        before, now_ns = self.bank.seen().registry.budgets, self.clock.now_ns()
        present = lasting(before["day"].limit, before["day"].changes, now_ns)
        found = self.bank.proposed()
        self.bank.steward()
        after = self.bank.seen().registry.budgets
        limit = lasting(after["day"].limit, after["day"].changes, now_ns)
        adapted = self.bank.store.rows(
            "select at_ns from budget_change where kind = 'adaptive' order by number"
        )
        if limit != present:
            assert (present, limit) == (found.present, found.limit)
            adapts = after["day"].adapts
            assert adapts is not None
            check_bounds(found, adapts)
            assert not self.has_incident
            assert () == over_parents(before, after, now_ns)
            assert len(adapted) == self.seen + 1
        self.seen = len(adapted)
        days = [(at_ns - NOON_NS + 12 * HOUR_NS) // DAY_NS for (at_ns,) in adapted]
        assert len(days) == len(set(days)), "once in a turn"


def house(limit: int = 1_000) -> tuple[Budget, ...]:
    """A parent, a child that follows use, and a sibling that it can give to."""
    return (
        like_month("house", limit=4_000, period="daily"),
        adapting(within="house", limit=limit),
        adapting("other", within="house", adapts=None),
    )


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_a_stretch_of_a_real_store(steps: list[tuple[str, int]]) -> None:
    """What is spent, turns, raises, moves, incidents, rollbacks and versions in any order; the steward after each."""
    with tempfile.TemporaryDirectory() as name, sqlite_database(Path(name)) as database:
        clock = TurnableClock()
        store = database.open(clock)
        create_tenants(store, "acme")
        bank = Follower(store, *house())
        bank.spend("day", *(1_800, 900, 1_400, 2_000, 1_100))
        stretch = Stretch(bank, clock)
        for step, number in steps:
            stretch.take(step, number)
