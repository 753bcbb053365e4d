"""What agents report of their runs, and what it adds up to, on every store."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec

from aegis_gateway.adapters.outcome_reports import OutcomeReports
from aegis_gateway.application.commands import (
    Command,
    Failed,
    OpenRun,
    Reply,
    Settle,
    TellOutcome,
    Told,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, LateCost, OutcomeSumRow, Store
from aegis_gateway.application.runs import Delegator, KnownRun, Runs
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import NANO_USD_MAX, UnitPrice
from aegis_gateway.domain.outcome import CHANGES_MAX, OutcomeKey, OutcomeSum, Report
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.replication import RUN_LIFETIME_NS, RunClaim
from tests.ledgers import ATTRIBUTION, DAY_NS, HOUR_NS, NOON_NS, TurnableClock, admission, cost, quote

_NUMBERS = itertools.count(1)
RUNS = Runs(b"pepper", lambda size: next(_NUMBERS).to_bytes(size, "big"))
DENIED = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="no policy permits this"),))


def minted() -> KnownRun:
    """A run that a call opens."""
    return RUNS.read(RUNS.mint("acme", "bot", "key_1"), "acme", "bot", "key_1")


def opened(at_ns: int = NOON_NS) -> KnownRun:
    """A run that was opened as such."""
    return RUNS.open("acme", "bot", "key_1", at_ns)


def delegated(above: KnownRun, at_ns: int = NOON_NS) -> KnownRun:
    """A run in another one's tree."""
    by = Delegator(agent="bot", key="key_1")
    return RUNS.delegate("acme", above, by, "helper", parent=None, depth=1, now_ns=at_ns)


def claim(run: KnownRun) -> RunClaim:
    """A run as it is claimed."""
    return RunClaim(
        number=run.number, run=run.id, agent="bot", owner="ann", is_kept=True, root=run.root, above=run.above,
        opened_ns=run.opened_ns,
    )  # fmt: skip


def opening(run: KnownRun) -> Command:
    """An opening of a run."""
    return OpenRun(
        call=run.id,
        tenant="acme",
        epoch=1,
        claim=claim(run),
        by=ATTRIBUTION,
        policy_version="p",
        config_version=1,
    )


def ask(name: str, run: KnownRun, **more: Any) -> Command:
    """A call in a run; the first of one that it opens."""
    made = admission(name, quoted=quote(100, 60), **more)
    who = msgspec.structs.replace(made.attribution, run=run.id)
    asked: dict[str, object] = {} if run.is_opened else {"opens_run": True}
    return msgspec.structs.replace(made, attribution=who, asked=asked)


def settle(**costs: int) -> list[Command]:
    """What calls came to."""
    return [Settle(call=name, tenant="acme", evidence=cost(amount)) for name, amount in costs.items()]


def tell(run: KnownRun, result: Any, **more: Any) -> TellOutcome:
    """A report."""
    return TellOutcome(
        call=run.id, tenant="acme", number=run.number, report=Report(result=result, **more), by=ATTRIBUTION,
        is_root=not run.root, opened_ns=run.opened_ns,
    )  # fmt: skip


def answer(ledger: Ledger, *commands: Command) -> Reply:
    """The last one's answer."""
    return ledger.process(list(commands))[-1]


def told(ledger: Ledger, *commands: Command) -> str:
    """What became of a report."""
    reply = answer(ledger, *commands)
    assert isinstance(reply, Told), reply
    return reply.state


def sums(store: Store, span: str = "hour") -> dict[tuple[int, str], tuple[int, ...]]:
    """Trees, begun, transactions, cost, claimed: by how many hours or days after noon, and result; no empty ones."""
    rows = store.query("select * from outcome_sum where span = ?", (span,))
    start, length = (NOON_NS, HOUR_NS) if span == "hour" else (NOON_NS - NOON_NS % DAY_NS, DAY_NS)
    found = {
        ((row["start_ns"] - start) // length, row["result"]): tuple(
            int(row[name]) for name in OutcomeSum.__struct_fields__
        )
        for row in rows
    }
    return {key: values for key, values in found.items() if any(values)}


def entries(store: Store) -> list[dict[str, Any]]:
    """What the record says of outcomes."""
    rows = store.query("select body from entry where type = 'outcome' order by sequence")
    return [json.loads(bytes(row["body"])) for row in rows]


def test_a_tree_counts_with_all_its_costs_where_it_was_begun(
    ledger: Ledger, store: Store, clock: TurnableClock
) -> None:
    """What was settled before the report, what settles later, and what was delegated; each once, to the nano-dollar."""
    run = minted()
    below = delegated(run)
    ledger.process([ask("a", run), ask("b", run), opening(below), ask("c", below), ask("other", minted())])
    ledger.process(settle(a=10, other=100))
    clock.turn(HOUR_NS)
    assert "recorded" == told(ledger, tell(run, "success", name="loan 7", value_nano_usd=5_000))
    assert {(0, "success"): (1, 1, 1, 10, 5_000)} == sums(store)
    clock.turn(DAY_NS)
    ledger.process([ask("later", run), *settle(b=20, c=3)])
    ledger.process([*settle(later=7), *settle(a=10)])
    assert {(0, "success"): (1, 1, 1, 40, 5_000)} == sums(store) == sums(store, "day")
    assert [("loan 7", 40)] == [
        (row["name"], int(row["cost"])) for row in store.query("select name, cost from outcome")
    ]


def test_calls_that_settle_beside_a_report_count_once(ledger: Ledger, store: Store) -> None:
    """Before and after it, in its very transaction."""
    run = minted()
    ledger.process([ask("a", run), ask("b", run), ask("c", run)])
    ledger.process(settle(a=1))
    ledger.process([*settle(b=20), tell(run, "failure"), *settle(c=300)])
    assert {(0, "failure"): (1, 1, 1, 321, 0)} == sums(store)


def test_another_report_replaces_the_one_before(ledger: Ledger, store: Store) -> None:
    """As a whole; the record keeps both. The same again changes nothing, and has no entry."""
    run = minted()
    ledger.process([ask("a", run), *settle(a=0)])
    ledger.process([ask("b", run)])
    ledger.process(settle(b=50))
    assert "recorded" == told(ledger, tell(run, "success", value_nano_usd=9, transactions=3))
    assert "same" == told(ledger, tell(run, "success", value_nano_usd=9, transactions=3))
    assert {(0, "success"): (1, 1, 3, 50, 9)} == sums(store)
    assert "replaced" == told(ledger, tell(run, "failure", note="the bank said no"))
    assert {(0, "failure"): (1, 1, 1, 50, 0)} == sums(store) == sums(store, "day")
    assert "replaced" == told(ledger, tell(run, "success"), tell(run, "partial"), tell(run, "failure"))
    assert {(0, "failure"): (1, 1, 1, 50, 0)} == sums(store)
    assert ["success", "failure", "success", "partial", "failure"] == [
        each["result"] for each in entries(store)
    ]
    second = entries(store)[1]
    assert ("replaced", run.id, "the bank said no") == (second["event"], second["run"], second["note"])
    assert {"result": "success", "value_nano_usd": "9", "transactions": 3} == second["before"]


def test_transactions_are_what_is_reported(ledger: Ledger, store: Store) -> None:
    """A run that goes on tells how many so far, or their names; nothing at all is a number too."""
    run = opened()
    ledger.process([opening(run), ask("a", run)])
    told(ledger, tell(run, "", transactions=2, names=("x", "y")))
    assert {(0, ""): (1, 1, 2, 0, 0)} == sums(store)
    ledger.process(settle(a=8))
    told(ledger, tell(run, "cancelled", transactions=0))
    assert {(0, "cancelled"): (1, 1, 0, 8, 0)} == sums(store)
    rows = store.query("select sum(transactions) as begun from usage_sum where span = 'hour'")
    assert 1 == int(rows[0]["begun"]), "what was begun is not changed by what is reported"


def test_a_delegated_run_counts_with_its_tree_only(ledger: Ledger, store: Store) -> None:
    """What its agent reports of it is kept, and counts nowhere."""
    run = opened()
    below = delegated(run)
    ledger.process([opening(run), opening(below), ask("a", below)])
    reply = answer(ledger, tell(below, "failure", value_nano_usd=1))
    assert isinstance(reply, Told)
    assert not reply.is_counted
    ledger.process(settle(a=4))
    assert {} == sums(store)
    told(ledger, tell(run, "success"))
    assert {(0, "success"): (1, 1, 1, 4, 0)} == sums(store)


def test_work_of_which_nothing_was_let_through_is_no_transaction(ledger: Ledger, store: Store) -> None:
    """It has an outcome all the same, at the hour of its first call, and costs nothing."""
    run = minted()
    ledger.process([ask("a", run, verdict=DENIED)])
    told(ledger, tell(run, "failure"))
    assert {(0, "failure"): (1, 0, 1, 0, 0)} == sums(store)


def test_a_run_is_reported_on_for_a_month(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """Then what was delegated in it may be forgotten, so what it cost would not be known."""
    run, late = minted(), minted()
    ledger.process([ask("a", run), ask("b", late)])
    clock.turn(RUN_LIFETIME_NS - 1)
    told(ledger, tell(run, "success"))
    clock.turn(1)
    assert "same" == told(ledger, tell(run, "success"))
    for command in (tell(late, "success"), tell(run, "failure")):
        reply = answer(ledger, command)
        assert isinstance(reply, Failed)
        assert "more than 30 days ago" in reply.message
    assert {(0, "success"): (1, 1, 1, 0, 0)} == sums(store)


def test_an_agent_cant_fill_the_record(ledger: Ledger, store: Store) -> None:
    """What is reported of a run may be changed so often, and then no more."""
    run = minted()
    ledger.process([ask("a", run)])
    replies = ledger.process([tell(run, "", transactions=count) for count in range(CHANGES_MAX + 2)])
    assert ["replaced", None] == [getattr(reply, "state", None) for reply in replies[-2:]]
    assert {(0, ""): (1, 1, CHANGES_MAX, 0, 0)} == sums(store)


def test_sums_stay_within_64_bits(ledger: Ledger, store: Store) -> None:
    """What is full keeps nobody from settling or reporting."""
    run = minted()
    lines = (charge_line("call", NANO_USD_MAX, "call", UnitPrice(nano_usd=1), "c1"),)
    ledger.process([ask("a", run), ask("b", run), ask("c", run)])
    full = Evidence(source="usage", lines=lines)
    for call in ("a", "b"):
        reply = answer(ledger, Settle(call=call, tenant="acme", evidence=full))
        assert "settled" == getattr(reply, "state", None)
    told(ledger, tell(run, "success"))
    ledger.process([Settle(call="c", tenant="acme", evidence=full)])
    assert {(0, "success"): (1, 1, 1, NANO_USD_MAX, 0)} == sums(store)
    key = OutcomeKey(agent="bot", team="t", project="", cost_centre="c", environment="e", result="success")
    for amount in (NANO_USD_MAX, NANO_USD_MAX, -NANO_USD_MAX, -5):
        row = OutcomeSumRow(
            tenant="acme",
            span="hour",
            start_ns=0,
            key=key,
            sums=OutcomeSum(trees=1, cost=amount, claimed=amount),
        )
        with store.lock(["acme"]) as locked:
            locked.write(
                Changes(outcome_sums=[row], late_costs=[LateCost(tenant="acme", run="none", cost=1)])
            )
    rows = store.query("select trees, cost, claimed from outcome_sum where start_ns = 0")
    assert [(4, 0, 0)] == [tuple(int(value) for value in row.values()) for row in rows]


def test_what_is_told_of_work(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """By result in a period, the newest first, with what it cost; of one run, counted or not; of all there ever was."""
    first, second = minted(), opened(NOON_NS + HOUR_NS)
    below = delegated(second)
    ledger.process([ask("a", first), *settle(a=10)])
    ledger.process(settle(a=10))
    clock.turn(HOUR_NS)
    ledger.process([opening(second), opening(below), ask("b", second)])
    told(ledger, tell(first, "success", name="one", value_nano_usd=5))
    told(
        ledger,
        tell(second, "partial"),
        tell(second, "success", name="two", transactions=4),
        tell(below, "failure"),
    )
    ledger.process(settle(b=20))
    reports = OutcomeReports(store.query)
    found = reports.told("acme", "success", NOON_NS, NOON_NS + DAY_NS, 10)
    assert [("two", 20, 1, 4), ("one", 10, 0, None)] == [
        (each.name, each.cost, each.changes, each.transactions) for each in found
    ]
    assert ["two"] == [each.name for each in reports.told("acme", "success", NOON_NS, NOON_NS + DAY_NS, 1)]
    assert ["one"] == [each.name for each in reports.told("acme", "success", NOON_NS, NOON_NS + HOUR_NS, 9)]
    assert [] == reports.told("acme", "failure", NOON_NS, NOON_NS + DAY_NS, 10), "it counts with its tree"
    assert [] == reports.told("globex", "success", NOON_NS, NOON_NS + DAY_NS, 10)
    alone = reports.of_run("acme", below.number)
    assert alone is not None
    assert "failure" == alone.result
    assert reports.of_run("acme", "0" * 20) is None
    assert {"success": OutcomeSum(trees=2, begun=2, transactions=5, cost=30, claimed=5)} == {
        key.result: sums for key, sums in reports.ever("acme") if sums.trees
    }
