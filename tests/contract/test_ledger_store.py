"""The ledger on every store: what is answered is on disk, and nothing else is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import apsw
import msgspec
import psycopg
import pytest

from aegis_gateway.adapters.balances import StoredBalances
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    Command,
    Dispatch,
    Expire,
    Failed,
    Lose,
    Moved,
    Release,
    Reply,
    Settle,
    Stale,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import (
    CallMove,
    CallRow,
    Changes,
    EntryRow,
    Head,
    LockedTenants,
    StandingRow,
    Store,
)
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.domain.ledger import TRANSITIONS, Leg, Standing
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.rate import Turns
from aegis_gateway.domain.window import Window
from tests.ledgers import (
    ATTRIBUTION,
    DAY_NS,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    SECOND_NS,
    Database,
    TurnableClock,
    admission,
    budget,
    cost,
    create_tenants,
    quote,
    rate,
)

WINDOW = Window(label="2026-11", starts_ns=NOON_NS - DAY_NS, ends_ns=NOON_NS + DAY_NS)
LEG = Leg(budget="month", scope="", window="2026-11", quantity="usd", amount=100)
CALL = CallRow(
    call="call_1",
    tenant="acme",
    state="dispatched",
    effect="allow",
    reason_code="permitted",
    reason="policy `p` permits this",
    agent="bot",
    team="lending",
    project=None,
    cost_centre="CC-1",
    environment="production",
    connector="openai",
    tool="chat",
    model="m",
    key="key_1",
    run="run_1",
    parent=None,
    policy_version="p1",
    config_version=3,
    expected_nano_usd=50,
    maximum_nano_usd=2**63 - 1,
    cost_nano_usd=None,
    overrun=False,
    legs=(LEG, msgspec.structs.replace(LEG, budget="day", scope='{"agent":"bot"}', amount=0)),
    salt=b"\x00\xff'\\",
    boot="boot_0123456789abcdef",
    decided_ns=NOON_NS,
    expires_ns=NOON_NS + 1,
    settled_ns=None,
    sequence=1,
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)

Fault = (apsw.Error, psycopg.Error)


def standing_row(pending: int, posted: int = 0, window: Window = WINDOW) -> StandingRow:
    """A balance of the budget `month`."""
    return StandingRow(
        tenant="acme",
        budget="month",
        scope="",
        window=window,
        quantity="usd",
        standing=Standing(pending=pending, posted=posted),
    )


def standings(store: Store) -> list[tuple[str, int, int]]:
    """All balances, as anybody reads them."""
    rows = store.query(
        'select budget, pending, posted from standing order by tenant, budget, scope, "window"'
    )
    return [(row["budget"], row["pending"], row["posted"]) for row in rows]


def state_of(store: Store, call: str) -> str:
    """A call's state, as anybody reads it."""
    (row,) = store.query("select state from call where call = ?", (call,))
    return str(row["state"])


def admitted(reply: Reply) -> Admitted:
    """A decision."""
    assert isinstance(reply, Admitted), reply
    return reply


def moved(reply: Reply) -> Moved:
    """A transition."""
    assert isinstance(reply, Moved), reply
    return reply


def failed(reply: Reply) -> Failed:
    """A failure."""
    assert isinstance(reply, Failed), reply
    return reply


def in_threads(*works: Callable[[], None]) -> None:
    """Run works at the same time, and hand on what they raise."""
    faults: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


class TestTransactions:
    """`lock`: all or nothing, one at a time."""

    def test_commit_is_seen_by_a_second_connection(self, store: Store, reader: Store) -> None:
        """Nothing is seen before the block is left, everything after."""
        with store.lock(["acme"]) as locked:
            locked.write(Changes(standings=[standing_row(7)]))
            locked.standings([("acme", ("month", "", "2026-11"))])
            assert [] == standings(reader)
        assert [("month", 7, 0)] == standings(reader)

    def test_rollback_leaves_nothing(self, store: Store, reader: Store) -> None:
        """An exception in the block takes back all that was written in it."""

        def stumble(locked: LockedTenants) -> None:
            locked.write(Changes(standings=[standing_row(7)], calls=[CALL]))
            raise KeyError

        with pytest.raises(KeyError), store.lock(["acme"]) as locked:
            stumble(locked)
        assert [] == standings(reader)
        assert [] == reader.query("select call from call")

    def test_what_the_database_refuses_leaves_nothing(self, store: Store, reader: Store) -> None:
        """A negative pending balance is refused, with all that was written beside it; the store goes on."""
        with pytest.raises(LedgerUnavailable), store.lock(["acme"]) as locked:
            locked.write(Changes(calls=[CALL], standings=[standing_row(-1)]))
        assert [] == reader.query("select call from call")
        with store.lock(["acme"]) as locked:
            locked.write(Changes(standings=[standing_row(1)]))
        assert [("month", 1, 0)] == standings(reader)

    def test_a_lock_excludes(self, database: Database, store: Store, clock: TurnableClock) -> None:
        """Two that count on the same head under its lock lose no count."""
        rounds = 50

        def count() -> None:
            mine = database.open(clock, keep=False)
            for _ in range(rounds):
                with mine.lock(["acme"]) as locked:
                    head = locked.heads["acme"]
                    locked.write(Changes(heads=[raised(head)]))

        in_threads(count, count)
        with store.lock(["acme"]) as locked:
            assert 2 * rounds + 1 == locked.heads["acme"].next_sequence

    def test_locks_in_either_order_do_not_wait_for_each_other(
        self, database: Database, store: Store, clock: TurnableClock
    ) -> None:
        """Tenants are locked in order of id, whatever the order they are asked for in."""

        def count(tenants: list[str]) -> Callable[[], None]:
            def work() -> None:
                mine = database.open(clock, keep=False)
                for _ in range(50):
                    with mine.lock(tenants) as locked:
                        locked.write(Changes(heads=[raised(head) for head in locked.heads.values()]))

            return work

        in_threads(count(["acme", "zeta"]), count(["zeta", "acme"]))
        with store.lock(["acme", "zeta"]) as locked:
            assert {"acme": 101, "zeta": 101} == {
                tenant: head.next_sequence for tenant, head in locked.heads.items()
            }

    def test_an_unknown_tenant_is_absent(self, store: Store) -> None:
        """The heads that are there are locked; the other is not made up."""
        with store.lock(["nobody", "acme"]) as locked:
            assert ["acme"] == list(locked.heads)

    def test_whoever_opens_a_window_fixes_its_bounds(self, store: Store) -> None:
        """A later write changes the balance and leaves the bounds."""
        with store.lock(["acme"]) as locked:
            locked.write(Changes(standings=[standing_row(1)]))
        with store.lock(["acme"]) as locked:
            other = Window(label="2026-11", starts_ns=0, ends_ns=1)
            locked.write(Changes(standings=[standing_row(2, window=other)]))
        rows = store.query("select starts_ns, ends_ns, pending from standing")
        assert [{"starts_ns": WINDOW.starts_ns, "ends_ns": WINDOW.ends_ns, "pending": 2}] == rows


def raised(head: Head) -> Head:
    """A head with one place more taken."""
    return msgspec.structs.replace(head, next_sequence=head.next_sequence + 1)


class TestRows:
    """What is written is what is read."""

    def test_calls(self, store: Store) -> None:
        """A call comes back field by field, and a move changes only what it is about."""
        self.write(store, Changes(calls=[CALL]))
        assert {"call_1": CALL} == self.read(store, lambda locked: locked.calls(["call_1", "call_2"]))
        move = CallMove(
            call="call_1", tenant="acme", state="settled", cost_nano_usd=2**63 - 1, overrun=True, settled_ns=5
        )
        self.write(store, Changes(moves=[move]))
        settled = msgspec.structs.replace(
            CALL, state="settled", cost_nano_usd=2**63 - 1, overrun=True, settled_ns=5
        )
        assert {"call_1": settled} == self.read(store, lambda locked: locked.calls(["call_1"]))

    def test_standings(self, store: Store) -> None:
        """Balances come back by key, posted ones also below zero; unopened ones are absent."""
        self.write(store, Changes(standings=[standing_row(2**63 - 1, -(2**63))]))
        key, other = ("acme", ("month", "", "2026-11")), ("acme", ("month", "x", "2026-11"))
        expected = {key: Standing(pending=2**63 - 1, posted=-(2**63))}
        assert expected == self.read(store, lambda locked: locked.standings([key, other]))

    def test_arrivals(self, store: Store) -> None:
        """Free turns come back by key, as they were last written; also to who reads balances from outside."""
        keys = [("acme", ("burst", "")), ("zeta", ("burst", ""))]
        for turns in (Turns(5), Turns(2**63 - 1, ((1, 2), (7, 2**62))), Turns(9)):
            self.write(store, Changes(arrivals=[("acme", ("burst", ""), turns)]))
            assert {keys[0]: turns} == self.read(store, lambda locked: locked.arrivals(keys))
            seen = StoredBalances(store.query).read("acme", (), [("burst", "")], None, 0)
            assert {("burst", ""): turns} == seen.arrivals

    def test_charges_and_entries(self, store: Store) -> None:
        """A bill keeps its lines in order, an entry its bytes as they are."""
        lines = (
            charge_line("input", 10, "token", UnitPrice(nano_usd=3, per=7), "c1"),
            charge_line("output", 0, "token", UnitPrice(nano_usd=600), "c1"),
        )
        body = bytes(range(256)) * 255 + b"x" * 255
        entry = EntryRow(tenant="acme", sequence=1, call="call_1", type="decision", at_ns=NOON_NS, body=body)
        nothing = EntryRow(tenant="acme", sequence=2, call=None, type="key", at_ns=NOON_NS, body=b"")
        self.write(
            store, Changes(calls=[CALL], charges=[("acme", "call_1", lines)], entries=[entry, nothing])
        )
        bill = store.query("select line, kind, quantity, unit_price_nano_usd, per, nano_usd from charge_line")
        assert [(1, "input", 10, 3, 7, 5), (2, "output", 0, 600, 1, 0)] == [
            tuple(row.values()) for row in bill
        ]
        entries = store.query("select sequence, call, body from entry order by sequence")
        assert [(1, "call_1", body), (2, None, b"")] == [
            (row["sequence"], row["call"], bytes(row["body"])) for row in entries
        ]

    def test_reports_take_values(self, store: Store) -> None:
        """`?` stands for a value, except in quotes; a percent sign is only a percent sign."""
        rows = store.query(
            "select '?%' as mark, tenant from tenant_head where tenant like 'a%' and tenant = ?", ("acme",)
        )
        assert [{"mark": "?%", "tenant": "acme"}] == rows

    @pytest.mark.parametrize("table", ["entry", "charge_line"])
    @pytest.mark.parametrize("change", ["update {} set tenant = tenant", "delete from {}"])
    def test_the_record_is_append_only(
        self, ledger: Ledger, store: Store, database: Database, table: str, change: str
    ) -> None:
        """Entries and charge lines refuse to be changed and to be deleted."""
        ledger.process([admission("call_1"), Settle(call="call_1", tenant="acme", evidence=cost(10))])
        before = store.query(f"select * from {table}")
        with pytest.raises(Fault, match="append-only"):
            database.execute(change.format(table))
        assert before == store.query(f"select * from {table}")
        assert [] != before

    def write(self, store: Store, changes: Changes) -> None:
        """Write in a transaction of its own."""
        with store.lock(["acme", "zeta"]) as locked:
            locked.write(changes)

    def read(self, store: Store, read: Callable[[LockedTenants], Any]) -> Any:
        """Read in a transaction of its own."""
        with store.lock(["acme", "zeta"]) as locked:
            return read(locked)


class TestDecisions:
    """Commands, and what they leave behind."""

    def test_sequences_have_no_gaps(self, ledger: Ledger, store: Store) -> None:
        """Allowed, refused and moved calls of two tenants take one place each, in the order answered."""
        denied = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="no"),))
        replies = ledger.process(
            [
                admission("a1"),
                admission("z1", tenant="zeta"),
                admission("a2", verdict=denied),
                Settle(call="a1", tenant="acme", evidence=cost(1)),
                Settle(call="nothing", tenant="acme", evidence=cost(1)),
                admission("a3", epoch=2),
                admission("a4", budgets=(budget(limit=1),)),
            ]
        )
        assert [1, 1, 2, 3, 4] == [r.sequence for r in replies if isinstance(r, Admitted | Moved)]
        rows = store.query("select tenant, sequence, type from entry order by tenant, sequence")
        assert [
            ("acme", 1, "decision"),
            ("acme", 2, "decision"),
            ("acme", 3, "settlement"),
            ("acme", 4, "decision"),
            ("zeta", 1, "decision"),
        ] == [tuple(row.values()) for row in rows]
        heads = store.query("select next_sequence from tenant_head order by tenant")
        assert [5, 2] == [row["next_sequence"] for row in heads]

    def test_a_refused_call_consumes_nothing(self, ledger: Ledger, store: Store) -> None:
        """A call that its second budget refuses takes neither from the first nor from its rate."""
        refused = admission("c1", budgets=(budget(), budget("day", 99)), rates=(rate(limit=1),))
        assert "budget_exhausted" == admitted(ledger.process([refused])[0]).reasons[0].code
        assert [] == standings(store)
        assert [] == store.query("select rate from rate_arrival")
        fits = admission("c2", rates=(rate(limit=1),))
        throttled = admission("c3", rates=(rate(limit=1),))
        effects = [admitted(reply).effect for reply in ledger.process([fits, throttled])]
        assert ["allow", "throttle"] == effects
        assert [("month", 100, 0)] == standings(store)

    def test_a_call_is_decided_with_what_the_one_before_left(self, ledger: Ledger, store: Store) -> None:
        """In one batch, a budget for two and a half calls lets two through."""
        batch = [admission(f"c{number}", budgets=(budget(limit=250),)) for number in range(4)]
        replies = [admitted(reply) for reply in ledger.process(batch)]
        assert ["allow", "allow", "deny", "deny"] == [reply.effect for reply in replies]
        assert [(100,), (200,)] == [tuple(b.pending for b in reply.balances) for reply in replies[:2]]
        assert [("month", 200, 0)] == standings(store)

    def test_a_budget_for_ten_lets_ten_through_two_ledgers(
        self, database: Database, store: Store, clock: TurnableClock
    ) -> None:
        """Two ledgers on one database that admit at the same time pass no more than the budget bears."""
        effects: list[str] = []

        def admit(name: str) -> Callable[[], None]:
            def work() -> None:
                mine = Ledger(database.open(clock, keep=False))
                for start in range(0, 60, 4):
                    batch = [admission(f"{name}{start + number}") for number in range(4)]
                    effects.extend(admitted(reply).effect for reply in mine.process(batch))

            return work

        in_threads(admit("one"), admit("two"))
        assert 10 == effects.count("allow")
        assert 120 == len(effects)
        assert [("month", 1_000, 0)] == standings(store)

    def test_the_same_settlement_twice_is_one_charge(self, ledger: Ledger, store: Store) -> None:
        """Whether in one batch or in two; another amount is refused."""
        settle = Settle(call="c1", tenant="acme", evidence=cost(30, 12))
        ledger.process([admission("c1")])
        replies = [moved(reply) for reply in ledger.process([settle, settle])] + [
            moved(ledger.process([settle])[0])
        ]
        assert {("settled", 42, False)} == {(r.state, r.cost_nano_usd, r.overrun) for r in replies}
        other = ledger.process([Settle(call="c1", tenant="acme", evidence=cost(41))])[0]
        assert "illegal_transition" == failed(other).kind
        assert [("month", 0, 42)] == standings(store)
        assert [{"total": 42}] == store.query("select sum(nano_usd) as total from charge_line")

    def test_an_overrun_is_booked_truthfully(self, ledger: Ledger, store: Store) -> None:
        """A settlement above the reservation is posted as it is, and said so."""
        ledger.process([admission("c1", budgets=(budget(limit=100),))])
        reply = moved(ledger.process([Settle(call="c1", tenant="acme", evidence=cost(150))])[0])
        assert (True, 150) == (reply.overrun, reply.cost_nano_usd)
        assert [("month", 0, 150)] == standings(store)
        assert [{"overrun": 1}] == store.query("select overrun from call")

    def test_a_late_settlement_goes_to_the_window_of_its_admission(
        self, ledger: Ledger, store: Store, clock: TurnableClock
    ) -> None:
        """However late it is, and whatever window is open by then."""
        daily = (budget("day", period="daily"),)
        ledger.process([admission("c1", budgets=daily)])
        clock.turn(40 * DAY_NS)
        ledger.process([admission("c2", budgets=daily), Settle(call="c1", tenant="acme", evidence=cost(60))])
        rows = store.query('select "window", pending, posted from standing order by "window"')
        assert [("2026-11-23", 0, 60), ("2027-01-02", 100, 0)] == [tuple(row.values()) for row in rows]

    def test_unknown_calls_and_tenants_are_answers(self, ledger: Ledger) -> None:
        """Also a call of another tenant is unknown."""
        ledger.process([admission("c1")])
        replies = ledger.process(
            [
                Settle(call="c2", tenant="acme", evidence=cost(1)),
                Settle(call="c1", tenant="zeta", evidence=cost(1)),
                Release(call="c1", tenant="nobody"),
                admission("c3", tenant="nobody"),
            ]
        )
        assert ["unknown_call"] * 4 == [failed(reply).kind for reply in replies]

    @pytest.mark.parametrize(
        "state", ["refused", "reserved", "dispatched", "in_doubt", "settled", "released", "expired"]
    )
    def test_illegal_transitions_are_answers(
        self, ledger: Ledger, store: Store, clock: TurnableClock, state: str
    ) -> None:
        """From each state, what the table doesn't have is refused and changes nothing."""
        bring_to(ledger, clock, state)
        assert state == state_of(store, "c1")
        before = (standings(store), store.query("select sequence from entry"))
        for event, command in events("c1").items():
            if (state, event) not in TRANSITIONS:
                reply = ledger.process([command])[0]
                assert "illegal_transition" == failed(reply).kind
                assert state == state_of(store, "c1")
        assert before == (standings(store), store.query("select sequence from entry"))

    def test_a_call_is_decided_once(self, ledger: Ledger, store: Store) -> None:
        """A second admission under the same id is refused, in the same batch or later, and takes nothing."""
        replies = ledger.process([admission("c1"), admission("c1")]) + ledger.process([admission("c1")])
        assert ["Admitted", "Failed", "Failed"] == [type(reply).__name__ for reply in replies]
        assert [("month", 100, 0)] == standings(store)

    def test_a_changed_registry_sends_calls_back(self, ledger: Ledger, store: Store) -> None:
        """An admission judged under another epoch is not decided; other tenants' are."""
        with store.change(["acme"]) as change:
            change.save_head(msgspec.structs.replace(change.heads["acme"], epoch=2))
        assert {"acme": 2, "zeta": 1} == store.epochs()
        replies = ledger.process([admission("c1"), admission("c2", epoch=2), admission("c3", tenant="zeta")])
        assert Stale(call="c1", epoch=2) == replies[0]
        assert ["c2", "c3"] == [admitted(reply).call for reply in replies[1:]]
        assert ["c2", "c3"] == [row["call"] for row in store.query("select call from call order by call")]

    def test_what_policies_took_for_used_is_looked_at_under_the_lock(
        self, ledger: Ledger, store: Store
    ) -> None:
        """A call that was judged by another utilisation is not decided, whatever was judged; the truth comes back."""
        half = budget(limit=200)
        refused = Verdict(effect="deny", reasons=PERMITTED.reasons)
        assert (
            Stale(call="c0", epoch=1, utilisation=0, measures=())
            == (ledger.process([admission("c0", budgets=(half,), utilisation=50)])[0])
        )
        first, second, third, fourth = ledger.process(
            [
                admission("c1", budgets=(half,), utilisation=0),
                admission("c2", budgets=(half,), utilisation=0),
                admission("c3", budgets=(half,), utilisation=0, verdict=refused),
                admission("c4", budgets=(half,), utilisation=50),
            ]
        )
        assert "allow" == admitted(first).effect
        assert [Stale(call=call, epoch=1, utilisation=50, measures=()) for call in ("c2", "c3")] == [
            second,
            third,
        ]
        assert "allow" == admitted(fourth).effect
        assert [("c1",), ("c4",)] == [
            (row["call"],) for row in store.query("select call from call order by call")
        ]
        decision = json.loads(store.query("select body from entry where call = 'c4'")[0]["body"])
        assert 50 == decision["utilisation"]

    def test_asking_holds_nothing(self, ledger: Ledger, store: Store) -> None:
        """What a person has to agree to is recorded as such; what budgets would refuse is refused."""
        asks = (Reason(code="approval_required", subject="ask", message="a person has to agree"),)
        asking = msgspec.structs.replace(PERMITTED, asks=asks)
        small = budget(limit=10)
        asked, refused = ledger.process(
            [admission("c1", verdict=asking), admission("c2", verdict=asking, budgets=(small,))]
        )
        assert ("require_approval", asks, "refused") == (
            admitted(asked).effect,
            admitted(asked).reasons,
            admitted(asked).state,
        )
        assert ("deny", "budget_exhausted") == (admitted(refused).effect, admitted(refused).reasons[0].code)
        assert [] == standings(store)

    def test_sweep_expires_what_waited_too_long(
        self, ledger: Ledger, store: Store, clock: TurnableClock
    ) -> None:
        """Only what was reserved and whose time has passed; its money comes back."""
        ledger.process(
            [
                admission("short", reserve_for_ns=SECOND_NS),
                admission("long", reserve_for_ns=HOUR_NS),
                admission("sent"),
            ]
        )
        assert 0 == ledger.sweep()
        clock.turn(SECOND_NS)
        assert 1 == ledger.sweep()
        assert ["expired", "reserved", "dispatched"] == [
            state_of(store, call) for call in ("short", "long", "sent")
        ]
        assert [("month", 200, 0)] == standings(store)

    def test_a_reservation_that_ran_out_is_not_sent(
        self, ledger: Ledger, store: Store, clock: TurnableClock
    ) -> None:
        """Dispatching it expires it instead."""
        ledger.process([admission("c1", reserve_for_ns=SECOND_NS)])
        clock.turn(SECOND_NS)
        assert "expired" == moved(ledger.process([Dispatch(call="c1", tenant="acme")])[0]).state
        assert [("month", 0, 0)] == standings(store)

    def test_a_clock_that_falls_back(self, ledger: Ledger, clock: TurnableClock, store: Store) -> None:
        """By up to five seconds time stands still; further, calls are refused until it has caught up."""
        ledger.process([admission("c1")])
        clock.turn(-5 * SECOND_NS)
        ledger.process([admission("c2")])
        assert [{"decided_ns": NOON_NS}] == store.query("select decided_ns from call where call = 'c2'")
        clock.turn(-1)
        assert "clock_fell_back" == admitted(ledger.process([admission("c3")])[0]).reasons[0].code
        clock.turn(1)
        assert "allow" == admitted(ledger.process([admission("c4")])[0]).effect


class TestHostileValues:
    """What nobody should ask, and what cannot be written."""

    @pytest.mark.parametrize(
        "impossible",
        [
            pytest.param(
                admission("bad", quoted=quote(2**63), budgets=(budget(limit=2**64),)), id="beyond 64 bits"
            ),
            pytest.param(
                admission("bad", quoted=quote(2**70), budgets=(budget(limit=2**71),)), id="far beyond"
            ),
            pytest.param(admission("bad\ud800"), id="not text"),
            pytest.param(
                admission("bad", attribution=msgspec.structs.replace(ATTRIBUTION, purpose="x" * 65_535)),
                id="entry too long",
            ),
        ],
    )
    def test_one_impossible_command_does_not_refuse_its_neighbours(
        self, ledger: Ledger, store: Store, impossible: Admit
    ) -> None:
        """It fails alone, and changes nothing."""
        replies = ledger.process([admission("c1"), impossible, admission("c2")])
        assert ["Admitted", "Failed", "Admitted"] == [type(reply).__name__ for reply in replies]
        assert [("month", 200, 0)] == standings(store)
        assert [1, 2] == [
            row["sequence"] for row in store.query("select sequence from entry order by sequence")
        ]

    def test_a_balance_never_leaves_64_bits(self, ledger: Ledger, store: Store) -> None:
        """A settlement that would carry it there fills it: what it holds for others is settled all the same."""
        ledger.process([admission("c1"), Settle(call="c1", tenant="acme", evidence=cost(2**63 - 1))])
        ledger.process([admission("c2", budgets=(budget(limit=2**63 - 1, name="other"),))])
        ledger.process([admission("c3", budgets=(budget(limit=2**64),))])
        reply = ledger.process([Settle(call="c3", tenant="acme", evidence=cost(1))])[0]
        assert ("settled", 1) == (moved(reply).state, moved(reply).cost_nano_usd)
        assert ("month", 0, 2**63 - 1) in standings(store)

    @pytest.mark.parametrize(
        "text",
        [
            "'; drop table call; --",
            '"quoted" \\ {back} $1 %s %(x)s ? :name @v',
            "\\x00 \\u0000 \\N \t\r\n\x7f\x01",
            "🦈 naïve Ω 日本語 \u202e\u2028\ufeff",
            "null",
            "[]",
            "x" * 1_000,
            "",
        ],
    )
    def test_any_text_comes_back_as_it_is(self, ledger: Ledger, store: Store, text: str) -> None:
        """In every text of a call, of its budgets and of its rates: no text is anything but text."""
        create_tenants(store, text)
        numbers = ("retry", "saved_nano_usd", "depth")
        texts = [name for name in msgspec.structs.asdict(ATTRIBUTION) if name not in numbers]
        who = msgspec.structs.replace(ATTRIBUTION, **dict.fromkeys(texts, text))
        call = admission(
            text,
            tenant=text,
            attribution=who,
            budgets=(budget(text, scope=text), budget("other", scope=text)),
            rates=(rate(text, scope=text),),
        )
        assert "allow" == admitted(ledger.process([call])[0]).effect
        settle = Settle(call=text, tenant=text, evidence=cost(7))
        assert "settled" == moved(ledger.process([settle, admission("next")])[0]).state
        with store.lock([text]) as locked:
            row = locked.calls([text])[text]
            (leg, _) = row.legs
            arrivals = locked.arrivals([(text, (text, text))])
            balances = locked.standings([(text, (text, text, leg.window))])
        assert [text] * 12 == [
            row.call, row.tenant, row.agent, row.team, row.project, row.cost_centre, row.environment,
            row.connector, row.tool, row.model, row.key, row.run,
        ]  # fmt: skip
        assert (text, text) == (leg.budget, leg.scope)
        assert [Standing(posted=7)] == list(balances.values())
        assert 1 == len(arrivals)

    def test_a_nul_is_kept_or_clearly_refused(self, ledger: Ledger, store: Store) -> None:
        """SQLite keeps it; PostgreSQL knows no such text, so the call fails alone and changes nothing."""
        replies = ledger.process([admission("a\0b"), admission("c1")])
        assert "allow" == admitted(replies[1]).effect
        kept = [row["call"] for row in store.query("select call from call order by call")]
        if isinstance(replies[0], Admitted):
            assert ["a\0b", "c1"] == kept
        else:
            assert "unavailable" == failed(replies[0]).kind
            assert "nul" in failed(replies[0]).message.lower()
            assert ["c1"] == kept
            assert [("month", 100, 0)] == standings(store)


def events(call: str) -> dict[str, Command]:
    """A command for each event."""
    return {
        "dispatch": Dispatch(call=call, tenant="acme"),
        "settle": Settle(call=call, tenant="acme", evidence=cost(77)),
        "release": Release(call=call, tenant="acme"),
        "expire": Expire(call=call, tenant="acme"),
        "lose": Lose(call=call, tenant="acme"),
    }


def bring_to(ledger: Ledger, clock: TurnableClock, state: str) -> None:
    """Bring the call `c1` to a state."""
    if state == "refused":
        ledger.process([admission("c1", budgets=(budget(limit=0),))])
        return
    waits = state in ("reserved", "released", "expired")
    ledger.process([admission("c1", reserve_for_ns=SECOND_NS if waits else None)])
    if state == "expired":
        clock.turn(SECOND_NS)
    steps: dict[str, Command] = {
        "released": Release(call="c1", tenant="acme"),
        "expired": Expire(call="c1", tenant="acme"),
        "in_doubt": Lose(call="c1", tenant="acme"),
        "settled": Settle(call="c1", tenant="acme", evidence=cost(5)),
    }
    if state in steps:
        ledger.process([steps[state]])
