"""Rolling windows, balances that are made when they are used, calls that wait: on both stores."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.application.batch import WAITED_AND_NOT_SENT_NS
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    CallName,
    Command,
    Dispatch,
    Expire,
    Failed,
    Known,
    Moved,
    Release,
    Settle,
    TakenTurn,
    Withdraw,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.limit_change import LimitChange
from tests.ledgers import HOUR_NS, SECOND_NS, TurnableClock, admission, budget, cost, quote, rate


def rolling(limit: int, length_ns: int = HOUR_NS) -> BudgetClaim:
    """A rolling budget."""
    return msgspec.structs.replace(budget("hour", limit, period="rolling"), length_ns=length_ns)


def for_run(run: str, instances_max: int = 2, limit: int = 1_000) -> BudgetClaim:
    """A budget's balance of one run."""
    claim = budget("each-run", limit, scope=run, period="once")
    return msgspec.structs.replace(claim, instances_max=instances_max, instances_of="bot")


def balance(store: Store, name: str, scope: str = "") -> tuple[int, int]:
    """A balance as it stands on disk: pending and posted."""
    (row,) = store.query("select pending, posted from standing where budget = ? and scope = ?", (name, scope))
    return row["pending"], row["posted"]


def admit(ledger: Ledger, name: str, *budgets: BudgetClaim, maximum: int = 100) -> Admitted:
    """Ask for a call."""
    (reply,) = ledger.process([admission(name, quoted=quote(maximum), budgets=budgets)])
    assert isinstance(reply, Admitted)
    return reply


def test_a_rolling_budget(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """What was spent counts for its length, and is free again after it; what is pending counts until it settles."""
    assert "allow" == admit(ledger, "a", rolling(150)).effect
    ledger.process([Settle(call="a", tenant="acme", evidence=cost(90))])
    assert (0, 90) == balance(store, "hour")
    assert "deny" == admit(ledger, "b", rolling(150)).effect
    clock.turn(HOUR_NS - SECOND_NS)
    assert "deny" == admit(ledger, "c", rolling(150)).effect
    clock.turn(61 * SECOND_NS)
    assert "allow" == admit(ledger, "d", rolling(150)).effect
    assert (100, 0) == balance(store, "hour")


def test_a_late_settlement_in_a_rolling_budget(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """It is put down to when its call was admitted: later than the window's length it counts no more."""
    admit(ledger, "early", rolling(1_000))
    clock.turn(HOUR_NS // 2)
    admit(ledger, "later", rolling(1_000))
    ledger.process([Settle(call="early", tenant="acme", evidence=cost(70))])
    assert (100, 70) == balance(store, "hour")
    clock.turn(2 * HOUR_NS)
    ledger.process([Settle(call="later", tenant="acme", evidence=cost(50))])
    assert (0, 0) == balance(store, "hour")


def test_balances_are_made_when_they_are_used(ledger: Ledger, store: Store) -> None:
    """A refusal makes none; an agent opens so many in a day, also within one batch, and goes on with those it has."""
    assert "deny" == admit(ledger, "dear", for_run("r0", limit=10)).effect
    assert [] == store.query("select 1 from standing where budget = 'each-run'")
    replies = ledger.process([admission(f"c{n}", budgets=(for_run(f"r{n}"),)) for n in (1, 2, 3)])
    assert ["allow", "allow", "deny"] == [reply.effect for reply in replies if isinstance(reply, Admitted)]
    refused = replies[2]
    assert isinstance(refused, Admitted)
    assert "too_many_instances" == refused.reasons[0].code
    assert "allow" == admit(ledger, "again", for_run("r2")).effect
    assert 2 == balance(store, "each-run#instances", "bot")[1]


def test_the_next_day_more_may_be_opened(ledger: Ledger, clock: TurnableClock) -> None:
    """The count is of a day; other agents have their own."""
    for run in ("r1", "r2"):
        admit(ledger, run, for_run(run))
    other = msgspec.structs.replace(for_run("r3"), instances_of="other")
    assert "allow" == admit(ledger, "of-another", other).effect
    assert "deny" == admit(ledger, "too-many", for_run("r4")).effect
    clock.turn(24 * HOUR_NS)
    assert "allow" == admit(ledger, "next-day", for_run("r4")).effect


def waiting(name: str, delay_s: int) -> Admit:
    """A call under a rate of one in ten seconds, that may wait so long."""
    claim = msgspec.structs.replace(rate("pace", 1, 10 * SECOND_NS), delay_ns=delay_s * SECOND_NS)
    return admission(name, budgets=(budget(limit=10_000),), rates=(claim,))


def test_calls_that_wait(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """Each is told how long; it is reserved, and is sent only if it wins its dispatch in time."""
    replies = ledger.process([waiting(name, 25) for name in ("now", "soon", "later", "never")])
    found = [(r.effect, r.state, r.wait_ns // SECOND_NS) for r in replies if isinstance(r, Admitted)]
    expected = [
        ("allow", "dispatched", 0),
        ("allow", "reserved", 10),
        ("allow", "reserved", 20),
        ("throttle", "refused", 0),
    ]
    assert expected == found
    assert (300, 0) == balance(store, "month")
    clock.turn(10 * SECOND_NS)
    (moved,) = ledger.process([Dispatch(call="soon", tenant="acme")])
    assert isinstance(moved, Moved)
    assert "dispatched" == moved.state
    clock.turn(10 * SECOND_NS + WAITED_AND_NOT_SENT_NS)
    (moved,) = ledger.process([Dispatch(call="later", tenant="acme")])
    assert isinstance(moved, Moved)
    assert "expired" == moved.state
    assert (200, 0) == balance(store, "month")


def test_who_waits_and_is_gone_gives_back(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """A reservation is released, or runs out by itself."""
    ledger.process([waiting(name, 25) for name in ("now", "soon", "later")])
    ledger.process([Release(call="soon", tenant="acme", reason="the caller left")])
    assert (200, 0) == balance(store, "month")
    ledger.process([Expire(call="later", tenant="acme")])
    assert (200, 0) == balance(store, "month")
    clock.turn(20 * SECOND_NS + WAITED_AND_NOT_SENT_NS)
    ledger.sweep()
    assert (100, 0) == balance(store, "month")


def turns_of(reply: object) -> tuple[TakenTurn, ...]:
    """The turns that a call was told that it has."""
    assert isinstance(reply, Admitted)
    assert reply.turns
    return reply.turns


def told(ledger: Ledger, *commands: Command) -> list[tuple[str, str, int]]:
    """What the ledger says of calls: effect, state, and how many seconds each is to wait."""
    replies = ledger.process(commands)
    assert all(isinstance(reply, Admitted) for reply in replies)
    return [(r.effect, r.state, r.wait_ns // SECOND_NS) for r in replies if isinstance(r, Admitted)]


def test_a_turn_that_is_given_back_is_the_next_callers(
    ledger: Ledger, store: Store, clock: TurnableClock
) -> None:
    """Also after a restart; those who wait keep theirs. With the last in the line, all behind it is free as well."""
    now, soon, later = ledger.process([waiting(name, 25) for name in ("now", "soon", "later")])
    assert isinstance(now, Admitted)
    assert () == now.turns
    assert [("throttle", "refused", 0)] == told(ledger, waiting("many", 25))
    clock.turn(SECOND_NS)
    ledger.process([Release(call="soon", tenant="acme", reason="left", turns=turns_of(soon))])
    assert [("allow", "reserved", 9)] == told(Ledger(store), waiting("next", 25))
    assert [("throttle", "refused", 0)] == told(ledger, waiting("too-many", 25))
    ledger.process([Release(call="later", tenant="acme", reason="left", turns=turns_of(later))])
    assert [("allow", "reserved", 19), ("throttle", "refused", 0)] == told(
        ledger, waiting("last", 25), waiting("none", 25)
    )
    clock.turn(9 * SECOND_NS)
    (moved,) = ledger.process([Dispatch(call="next", tenant="acme")])
    assert isinstance(moved, Moved)
    assert "dispatched" == moved.state


def test_a_turn_is_given_back_and_taken_in_one_batch(ledger: Ledger, store: Store) -> None:
    """Who asks right behind who leaves has its turn, its money and its name."""
    name = CallName(name="n", request=b"r")
    claim = msgspec.structs.replace(rate("pace", 1, 10 * SECOND_NS), delay_ns=15 * SECOND_NS)

    def named(call: str) -> Admit:
        return msgspec.structs.replace(
            admission(call, budgets=(budget(limit=200),), rates=(claim,)), name=name
        )

    ledger.process([admission("now", budgets=(budget(limit=200),), rates=(claim,))])
    (soon,) = ledger.process([named("soon")])
    known, _, again = ledger.process(
        [
            named("known"),
            Release(call="soon", tenant="acme", reason="left", turns=turns_of(soon)),
            named("again"),
        ]
    )
    assert isinstance(known, Known)
    assert "soon" == known.first
    assert isinstance(again, Admitted)
    assert ("allow", turns_of(soon)) == (again.effect, again.turns)
    assert (200, 0) == balance(store, "month")


def test_what_was_sent_gives_nothing_back(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """Whoever comes first decides: what has won its dispatch can't be released any more, and keeps turn and money."""
    _, soon = ledger.process([waiting(name, 15) for name in ("now", "soon")])
    clock.turn(10 * SECOND_NS)
    release = Release(call="soon", tenant="acme", reason="left", turns=turns_of(soon))
    _, refused = ledger.process([Dispatch(call="soon", tenant="acme"), release])
    assert isinstance(refused, Failed)
    assert "illegal_transition" == refused.kind
    assert (200, 0) == balance(store, "month")
    assert [("allow", "reserved", 10)] == told(ledger, waiting("next", 15))
    (row,) = store.query("select state from call where call = ?", ("soon",))
    assert "dispatched" == row["state"]


def test_what_was_given_back_is_not_sent(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """The other way round, the dispatch is refused; given back twice, it was given back once."""
    _, soon = ledger.process([waiting(name, 15) for name in ("now", "soon")])
    clock.turn(10 * SECOND_NS)
    release = Release(call="soon", tenant="acme", reason="left", turns=turns_of(soon))
    _, sent, twice = ledger.process([release, Dispatch(call="soon", tenant="acme"), release])
    for refused in (sent, twice):
        assert isinstance(refused, Failed)
        assert "illegal_transition" == refused.kind
    assert (100, 0) == balance(store, "month")
    assert [("allow", "dispatched", 0), ("allow", "reserved", 10)] == told(
        ledger, waiting("next", 15), waiting("after", 15)
    )


@pytest.mark.parametrize("has_won", [False, True])
def test_a_dispatch_that_nobody_knows_of(
    ledger: Ledger, store: Store, clock: TurnableClock, *, has_won: bool
) -> None:
    """Taken back as never sent it costs nothing, whether it had won or not; again it is the same."""
    _, soon = ledger.process([waiting(name, 15) for name in ("now", "soon")])
    assert isinstance(soon, Admitted)
    clock.turn(10 * SECOND_NS)
    if has_won:
        ledger.process([Dispatch(call="soon", tenant="acme")])
    withdraw = Withdraw(call="soon", tenant="acme", not_before=soon.sequence, reason="nobody knew")
    for again in (False, True):
        (moved,) = ledger.process([withdraw])
        assert isinstance(moved, Moved)
        assert ("settled" if has_won else "released", 0, again) == (
            moved.state,
            moved.cost_nano_usd,
            moved.again,
        )
    assert (100, 0) == balance(store, "month")
    (entry,) = store.query("select body from entry where call = ? order by sequence desc limit 1", ("soon",))
    assert b"nobody knew" in bytes(entry["body"])


@pytest.mark.parametrize("limit", [50, 5_000])
def test_a_changed_limit_acts_at_once(ledger: Ledger, limit: int) -> None:
    """The next call is decided by the limit that it brings, whatever it was before."""
    admit(ledger, "a", budget(limit=1_000), maximum=100)
    assert ("allow" if limit > 200 else "deny") == admit(ledger, "b", budget(limit=limit), maximum=100).effect


def test_an_increase_that_ends(ledger: Ledger, clock: TurnableClock) -> None:
    """The ledger decides by its clock under the lock: with it until the last nanosecond, without it from then on."""
    until_ns = clock.now_ns() + SECOND_NS
    more = LimitChange(amount=100, starts_ns=clock.now_ns(), ends_ns=until_ns)
    month = msgspec.structs.replace(budget("month", 150), changes=(more,))
    assert "deny" == admit(ledger, "without", budget("month", 150), maximum=151).effect
    assert "allow" == admit(ledger, "first", month).effect
    clock.turn(SECOND_NS - 1)
    assert "allow" == admit(ledger, "last", month).effect
    ledger.process([Settle(call="last", tenant="acme", evidence=cost(10))])
    clock.turn(1)
    assert "deny" == admit(ledger, "after", month).effect
