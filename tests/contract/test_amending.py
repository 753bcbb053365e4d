"""What people do to limits while a configuration is in force, on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest

from aegis_gateway.application.ports import Changes, StandingRow, Store
from aegis_gateway.domain.errors import AegisError, ConfigurationError
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.limits import CarryOver, carried, opened
from aegis_gateway.domain.notice import Notice
from tests.amendments import MONTH, Treasury, like_month
from tests.houses import grant, refused
from tests.ledgers import DAY_NS, HOUR_NS, Database, TurnableClock

OTHER = like_month("other")


@pytest.fixture
def bank(store: Store) -> Treasury:
    """Two budgets of one owner, counted alike."""
    return Treasury(store, MONTH, OTHER)


def wrong(act: Callable[[], object]) -> str:
    """What is said of an act that can't be done."""
    with pytest.raises(ConfigurationError) as told:
        act()
    return str(told.value)


def spend(bank: Treasury, name: str, amount: int) -> None:
    """Have so much of a budget spent in its current window."""
    budget = bank.registry.budgets[name]
    row = StandingRow(
        tenant="acme",
        budget=name,
        scope="",
        window=budget.window(bank.store.clock_ns()),
        quantity="usd",
        standing=Standing(posted=amount),
    )
    with bank.store.change(["acme"]) as change:
        change.write(Changes(standings=[row]))


def notices(store: Store) -> list[Notice]:
    """What people are to hear of."""
    rows = store.query("select tenant, sequence, kind, subject, at_ns, body from notice order by sequence")
    return [Notice(**{**row, "body": msgspec.json.decode(row["body"])}) for row in rows]


def test_a_limit_is_raised_for_a_while(bank: Treasury, clock: TurnableClock) -> None:
    """From now to the nanosecond that was said; the epoch is raised, and record and people are told."""
    epoch, until_ns = bank.store.epochs()["acme"], clock.now_ns() + HOUR_NS
    made = bank.changes().increase("month", 500, ends_ns=until_ns, reason="quarter end")
    assert (1_000, 1_500, "fin", "fin") == (
        made.limit_before,
        made.limit_after,
        made.asked_by,
        made.approver,
    )
    assert [1_500, 1_500, 1_000] == [
        bank.limits(at_ns)["month"] for at_ns in (clock.now_ns(), until_ns - 1, until_ns)
    ]
    assert epoch + 1 == bank.store.epochs()["acme"]
    (entry,) = bank.entries(kind="budget_change")
    assert ("increase", "fin", made.sequence) == (entry["act"], entry["actor"], entry["seq"])
    (notice,) = notices(bank.store)
    assert ("limit_changed", "budget:month", made.sequence) == (notice.kind, notice.subject, notice.sequence)


def test_who_may_raise_a_limit(bank: Treasury) -> None:
    """Whoever may change limits, and no owner their own; where two people are needed, nobody alone."""
    assert "finops" in refused(lambda: bank.changes("own").increase("month", 5, ends_ns=None, reason="more"))
    bank.changes("ana").increase("month", 5, ends_ns=None, reason="more")
    bank.configure(MONTH, OTHER, four_eyes=True)
    assert "`aegis budget ask month AMOUNT`" in refused(
        lambda: bank.changes("ana").increase("month", 5, ends_ns=None, reason="more")
    )
    assert 1_005 == bank.limits()["month"]


def test_what_is_no_increase(bank: Treasury, clock: TurnableClock) -> None:
    """Nothing, less, one that is over, without a reason, of a budget that there isn't, or beyond all numbers."""
    raise_by = bank.changes().increase
    for amount in (0, -5):
        assert "above 0" in wrong(lambda of=amount: raise_by("month", of, ends_ns=None, reason="r"))  # type: ignore[misc]
    assert "is over" in wrong(lambda: raise_by("month", 5, ends_ns=clock.now_ns(), reason="r"))
    assert "reason" in wrong(lambda: raise_by("month", 5, ends_ns=None, reason=" "))
    assert "no budget `moth`" in wrong(lambda: raise_by("moth", 5, ends_ns=None, reason="r"))
    assert "too large" in wrong(lambda: raise_by("month", 2**63 - 1, ends_ns=None, reason="r"))
    assert {"month": 1_000, "other": 1_000} == bank.limits()


@pytest.mark.parametrize("who", ["own", "dep", "fin"])
def test_an_owner_moves_money(bank: Treasury, who: str, clock: TurnableClock) -> None:
    """What one budget gives another has, until their window ends; owner and deputy need no role for that."""
    spend(bank, "month", 600)
    out, into = bank.changes(who).move("month", "other", 400, reason="slow month")
    assert {"month": 600, "other": 1_400} == bank.limits()
    ends_ns = MONTH.window(clock.now_ns()).ends_ns
    assert [ends_ns, ends_ns, out.sequence] == [out.ends_ns, into.ends_ns, into.sequence]
    assert {"month": 1_000, "other": 1_000} == bank.limits(ends_ns)


def test_an_owner_is_named_by_their_address(bank: Treasury) -> None:
    """An owner's address is that of the person who is registered under it, however it is written."""
    bank.configure(*(like_month(name, owner="Own@acme.example", deputy="Dep") for name in ("month", "other")))
    bank.changes("own").move("month", "other", 100, reason="r")
    bank.changes("dep").move("other", "month", 50, reason="r")
    bank.add_apart("own@acme.example", grant("viewer"))
    assert "finops" in refused(lambda: bank.changes("own").move("month", "other", 1, reason="r"))
    bank.changes("own@acme.example").move("month", "other", 50, reason="r")
    assert {"month": 900, "other": 1_100} == bank.limits()


def test_what_is_spent_is_not_moved(bank: Treasury) -> None:
    """Nor what was only lent: after the loan's end the giver would be below nothing."""
    spend(bank, "month", 600)
    move = bank.changes("own").move
    assert "not left of `month`" in wrong(lambda: move("month", "other", 401, reason="r"))
    bank.changes().increase("month", 5_000, ends_ns=bank.store.clock_ns() + HOUR_NS, reason="r")
    assert "below nothing" in wrong(lambda: move("month", "other", 1_001, lasts=True, reason="r"))
    assert {"month": 6_000, "other": 1_000} == bank.limits()


def test_between_whom_money_is_moved(bank: Treasury) -> None:
    """One owner's, within the same parent, counted alike, with one balance each; by those who may."""
    bank.configure(
        MONTH,
        OTHER,
        like_month("theirs", owner="vic"),
        like_month("child", within="theirs"),
        like_month("day", period="daily"),
        like_month("shadow", mode="shadow"),
        like_month("tokens", quantity="tokens"),
        like_month("each", per=("agent",)),
    )
    told = {
        name: wrong(lambda to=name: bank.changes().move("month", to, 1, reason="r"))  # type: ignore[misc]
        for name in bank.registry.budgets
        if name != "other"
    }
    assert {
        "month": "can't give to itself",
        "theirs": "of one owner",
        "child": "not within the same",
        "day": "don't count the same",
        "shadow": "don't count the same",
        "tokens": "don't count the same",
        "each": "a limit for each agent",
    } == {
        name: next(part for part in (
            "can't give to itself", "of one owner", "not within the same", "don't count the same",
            "a limit for each agent",
        ) if part in words)
        for name, words in told.items()
    }  # fmt: skip
    assert "finops" in refused(lambda: bank.changes("vic").move("month", "other", 1, reason="r"))


def test_moves_at_once_make_no_money(database: Database, clock: TurnableClock) -> None:
    """Three processes move in a ring, as much as they can: the sum stays, and no limit is ever below nothing."""
    first = database.open(clock)
    with first.change(["acme"]) as change:
        change.create_tenant("acme")
    names = ("month", "other", "third")
    bank = Treasury(first, *(like_month(name) for name in names))
    stores = [first, *(database.open(clock, keep=False) for _ in range(2))]
    movers = [bank.changes("own", store) for store in stores]
    told: list[str] = []

    def move(turn: int) -> None:
        for step in range(6):
            giver, taker = names[(turn + step) % 3], names[(turn + step + 1) % 3]
            try:
                movers[turn].move(giver, taker, 400 + 50 * turn, reason="r")
                told.append("moved")
            except AegisError as fault:
                told.append(str(fault))

    threads = [threading.Thread(target=move, args=(turn,)) for turn in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (18, True) == (len(told), "moved" in told)
    assert [] == [
        each for each in told if each != "moved" and "not left of" not in each and "nothing" not in each
    ]
    assert 3_000 == sum(bank.limits().values())
    assert 0 <= min(bank.limits().values())


def test_a_limit_is_split_among_children(bank: Treasury) -> None:
    """Each has what is said, together no more than the parent; the parent's owner has the say."""
    children = (
        like_month("a", within="month", limit=300, owner="a"),
        like_month("b", within="month", limit=300),
    )
    bank.configure(MONTH, OTHER, *children)
    made = bank.changes("own").split("month", {"a": 600, "b": 400}, ends_ns=None, reason="r")
    assert ["a", "b"] == [each.budget for each in made]
    assert {"month": 1_000, "other": 1_000, "a": 600, "b": 400} == bank.limits()
    split = bank.changes("own").split
    assert "add up to more" in wrong(lambda: split("month", {"a": 601}, ends_ns=None, reason="r"))
    assert "already" in wrong(lambda: split("month", {"a": 600}, ends_ns=None, reason="r"))
    assert "not within `month`" in wrong(lambda: split("month", {"other": 1}, ends_ns=None, reason="r"))
    spend(bank, "a", 500)
    assert "not left of `a`" in wrong(lambda: split("month", {"a": 499}, ends_ns=None, reason="r"))
    assert "not left of `a`" in wrong(lambda: bank.changes("own").roll_back(made[1].number, "r"))
    spend(bank, "a", 300)
    bank.changes("own").roll_back(made[1].number, "r")
    assert (300, 300) == (bank.limits()["a"], bank.limits()["b"])


def test_children_never_add_up_above_their_parent(bank: Treasury, clock: TurnableClock) -> None:
    """Now and later: not by a raise of a child, nor by the end of one of the parent, nor by taking that back."""
    bank.configure(MONTH, *(like_month(name, within="month", limit=500) for name in ("a", "b")))
    until_ns = clock.now_ns() + DAY_NS
    raise_by = bank.changes().increase
    assert "add up to more than its limit;" in wrong(lambda: raise_by("a", 1, ends_ns=None, reason="r"))
    above = raise_by("month", 100, ends_ns=until_ns, reason="r")
    assert "more than its limit from " in wrong(lambda: raise_by("a", 100, ends_ns=None, reason="r"))
    raise_by("a", 100, ends_ns=until_ns, reason="r")
    assert "within `month` would" in wrong(lambda: bank.changes().roll_back(above.number, "r"))
    assert {"month": 1_100, "a": 600, "b": 500} == bank.limits()
    # What adds up to more already, because it is configured so, may be made better, and not worse.
    bank.configure(MONTH, *(like_month(name, within="month", limit=900) for name in ("a", "b")))
    split = bank.changes("own").split
    split("month", {"a": 300}, ends_ns=None, reason="r")
    assert "would add up" in wrong(lambda: split("month", {"a": 301}, ends_ns=None, reason="r"))


def test_what_was_done_is_taken_back(bank: Treasury) -> None:
    """In one step; said twice it is done once; and what took it back is taken back in turn."""
    made = bank.changes().increase("month", 500, ends_ns=None, reason="r")
    (back,) = bank.changes("own").roll_back(made.number, "not needed")
    assert (1_000, made.number) == (bank.limits()["month"], back.undoes)
    assert (back,) == bank.changes("own").roll_back(made.number, "again")
    assert "finops" in refused(lambda: bank.changes("own").roll_back(back.number, "needed after all"))
    (again,) = bank.changes().roll_back(back.number, "needed after all")
    assert 1_500 == bank.limits()["month"]
    assert (again,) == bank.changes().roll_back(back.number, "again")
    (last,) = bank.changes().roll_back(made.number, "and gone")
    assert (1_000, again.number) == (bank.limits()["month"], last.undoes)
    assert "no change `77`" in wrong(lambda: bank.changes().roll_back(77, "r"))


def test_a_split_outlives_its_family(bank: Treasury) -> None:
    """Of budgets that are within none any more, it is taken back by whoever may raise limits, and by nobody else."""
    bank.configure(MONTH, *(like_month(name, limit=400, within="month", owner="x") for name in ("a", "b")))
    (first, _) = bank.changes("own").split("month", {"a": 500, "b": 300}, ends_ns=None, reason="r")
    bank.configure(MONTH, *(like_month(name, limit=400, owner="x") for name in ("a", "b")))
    assert "may not change budgets' limits" in refused(
        lambda: bank.changes("vic").roll_back(first.number, "r")
    )
    assert "may not change budgets' limits" in refused(
        lambda: bank.changes("own").roll_back(first.number, "r")
    )
    bank.changes("fin").roll_back(first.number, "r")
    assert {"month": 1_000, "a": 400, "b": 400} == bank.limits()


def test_both_sides_of_a_move_come_back_unless_spent(bank: Treasury) -> None:
    """Whichever of them is named; what the taker has spent of it stays where it is."""
    out, into = bank.changes("own").move("month", "other", 400, reason="r")
    spend(bank, "other", 1_001)
    assert "not left of `other`" in wrong(lambda: bank.changes("own").roll_back(out.number, "r"))
    spend(bank, "other", 1_000)
    bank.changes("own").roll_back(into.number, "r")
    assert {"month": 1_000, "other": 1_000} == bank.limits()


def test_what_is_over_is_not_taken_back(bank: Treasury, clock: TurnableClock) -> None:
    """It is over by itself; and what a version put an end to is the version's."""
    gone = bank.changes().increase("month", 500, ends_ns=clock.now_ns() + 1, reason="r")
    lasting = bank.changes().increase("month", 500, ends_ns=None, reason="r")
    clock.turn(1)
    assert "is over" in wrong(lambda: bank.changes().roll_back(gone.number, "r"))
    bank.configure(like_month("month", limit=2_000), OTHER)
    assert "configured `month` anew" in wrong(lambda: bank.changes().roll_back(lasting.number, "r"))
    assert "that of a version" in wrong(lambda: bank.changes().roll_back(lasting.number + 1, "r"))


def test_a_version_ends_lasting_changes_of_limits_that_it_configures(
    bank: Treasury, clock: TurnableClock
) -> None:
    """For good, even where the old limit comes back; of other limits, and what ends by itself, nothing."""
    until_ns = clock.now_ns() + HOUR_NS
    for name in ("month", "other"):
        bank.changes().increase(name, 500, ends_ns=None, reason="r")
    bank.changes().increase("month", 7, ends_ns=until_ns, reason="r")
    bank.configure(like_month("month", limit=1_500), OTHER)
    assert {"month": 1_507, "other": 1_500} == bank.limits()
    bank.configure(MONTH, OTHER)
    assert {"month": 1_007, "other": 1_500} == bank.limits()
    bank.configure(OTHER)
    bank.configure(MONTH, OTHER)
    rows = bank.store.query(
        "select kind, limit_before, limit_after, config_version from budget_change"
        " where budget = 'month' and number > 3 order by number"
    )
    assert [
        ("configured", 1_507, 1_507, 2),
        ("configured", 1_507, 1_007, 3),
        ("configured", 1_007, 0, 4),
    ] == [tuple(row.values()) for row in rows]


def test_what_was_read_before_another_version_does_nothing(bank: Treasury) -> None:
    """Whoever acts on limits that are configured otherwise by now is told to look again."""
    stale = bank.changes()
    bank.configure(like_month("month", limit=2_000), OTHER)
    assert "another configuration" in wrong(lambda: stale.increase("month", 5, ends_ns=None, reason="r"))


def test_what_is_moved_is_not_carried_over_too(bank: Treasury) -> None:
    """A window that gave half of its limit leaves half, though nobody called; what the taker got is nobody's after."""
    keeps = CarryOver(most=10_000)
    giver, taker = like_month("month", carry_over=keeps), like_month("other", carry_over=keeps)
    bank.configure(giver, taker)
    bank.changes("own").move("month", "other", 500, reason="r")
    now_ns = bank.store.clock_ns()
    window = giver.window(now_ns)
    following = giver.window(window.ends_ns)
    keys = [("acme", (name, "", window.label)) for name in ("month", "other")]
    with bank.store.change(["acme"]) as change:
        stood = change.standings(keys)
    assert [500, 1_000] == [
        carried(
            budget, opened(budget, following, (window, stood[key]), following.starts_ns), following.starts_ns
        )
        for budget, key in zip((giver, taker), keys, strict=True)
    ]
