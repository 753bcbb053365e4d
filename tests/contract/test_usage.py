"""What is called and spent, added up by hour and by day, on every store."""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.application.commands import Command, Lose, OpenRun, Release, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, ShadowSumRow, Store, UsageRow
from aegis_gateway.domain.decision import Reason, Shadow, Verdict
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import NANO_USD_MAX, UnitPrice
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.quote import TOKENS
from aegis_gateway.domain.replication import RunClaim
from aegis_gateway.domain.usage import DAY_NS, ShadowKey, ShadowSum, Span, UsageKey, UsageSum
from tests.ledgers import (
    ATTRIBUTION,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
    rate,
)

NOON = NOON_NS // HOUR_NS
TIGHT = (budget("tight", 250, period="daily"),)


def sums(
    store: Store, *columns: str, span: Span = "hour", where: str = "calls > 0"
) -> dict[Any, tuple[int, ...]]:
    """Some sums, by how many hours or days after noon, and by effect, code and rule."""
    rows = store.query(
        f"select start_ns, effect, code, rule, {', '.join(columns)} from usage_sum where span = ? and {where}",
        (span,),
    )
    start = NOON_NS if span == "hour" else NOON_NS - NOON_NS % DAY_NS
    length = HOUR_NS if span == "hour" else DAY_NS
    found: dict[Any, tuple[int, ...]] = {}
    for row in rows:
        key = ((row["start_ns"] - start) // length, row["effect"], row["code"], row["rule"])
        assert key not in found, "calls of one kind have one row"
        found[key] = tuple(int(row[column]) for column in columns)
    return found


def ask(*names: str, **settings: Any) -> list[Command]:
    """Calls that may come to 100 each, and are expected to come to 60."""
    return [admission(name, quoted=quote(100, 60), **settings) for name in names]


def settle(**costs: int) -> list[Command]:
    """What calls came to."""
    return [Settle(call=name, tenant="acme", evidence=cost(amount)) for name, amount in costs.items()]


def test_calls_count_where_they_were_decided(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """However late they settle; what is told again, is open, in doubt or was let go costs nothing."""
    ledger.process(ask("a", "b", "open", "lost"))
    ledger.process(ask("gone", reserve_for_ns=HOUR_NS))
    clock.turn(HOUR_NS)
    ledger.process(
        [*ask("c"), *settle(a=10), Lose(call="lost", tenant="acme"), Release(call="gone", tenant="acme")]
    )
    clock.turn(DAY_NS)
    ledger.process([*settle(b=20, c=130), *settle(a=10)])
    assert {(0, "allow", "", ""): (5, 2, 0, 30, 300), (1, "allow", "", ""): (1, 1, 1, 130, 60)} == sums(
        store, "calls", "settled_calls", "overruns", "cost", "expected"
    )
    assert {(0, "allow", "", ""): (6, 3, 1, 160, 360)} == sums(
        store, "calls", "settled_calls", "overruns", "cost", "expected", span="day"
    )


def test_hours_of_one_day_in_one_batch(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """Each has its sum, and the day one of both."""
    ledger.process(ask("a"))
    clock.turn(HOUR_NS)
    ledger.process([*ask("b"), *settle(a=10, b=20)])
    assert {(0, "allow", "", ""): (1, 10), (1, "allow", "", ""): (1, 20)} == sums(store, "calls", "cost")
    assert {(0, "allow", "", ""): (2, 30)} == sums(store, "calls", "cost", span="day")


def test_a_refusal_counts_once_by_its_rule(ledger: Ledger, store: Store) -> None:
    """At what it would have cost; by policy, budget or rate, and as calls without a price."""
    said = Reason(code="denied_by_policy", message="policy `no` denies this", subject="no")
    ledger.process(ask("fits", "fits too", "over", budgets=TIGHT))
    ledger.process(ask("denied", verdict=Verdict(effect="deny", reasons=(said,))))
    ledger.process(ask("quick", "quick too", rates=(rate(limit=1),)))
    unknown = Verdict(effect="deny", reasons=(Reason(code="unknown_price", message="no price", subject="m"),))
    ledger.process([msgspec.structs.replace(ask("odd", verdict=unknown)[0], quote=None)])
    assert {
        (0, "allow", "", ""): (3, 180, 0),
        (0, "deny", "budget_exhausted", "budget:tight"): (1, 60, 0),
        (0, "deny", "denied_by_policy", "no"): (1, 60, 0),
        (0, "throttle", "rate_limited", "rate:burst"): (1, 60, 0),
        (0, "deny", "unknown_price", "m"): (1, 0, 1),
    } == sums(store, "calls", "expected", "unpriced")


def test_tokens_are_those_of_the_bill(ledger: Ledger, store: Store) -> None:
    """Or what the answer says of them, where nothing is charged for them; a tool's units are none."""
    price = UnitPrice(nano_usd=1)
    lines = (
        charge_line("input", 7, "token", price, "c1"),
        charge_line("output", 3, "token", price, "c1"),
        charge_line("reasoning", 2, "token", price, "c1"),
        charge_line("web_search", 1, "call", price, "c1"),
    )
    rows = (charge_line("units", 9, "row", price, "c1"),)
    ledger.process(ask("billed", "told", "tool"))
    ledger.process(
        [
            Settle(call="billed", tenant="acme", evidence=Evidence(source="usage", lines=lines)),
            Settle(call="told", tenant="acme", evidence=Evidence(source="usage", actual={TOKENS: 40})),
            Settle(call="tool", tenant="acme", evidence=Evidence(source="usage", lines=rows)),
        ]
    )
    assert {(0, "allow", "", ""): (52, 5, 22)} == sums(store, "tokens", "output_tokens", "cost")


def test_a_tree_of_runs_is_one_transaction(ledger: Ledger, store: Store) -> None:
    """Begun by a call of its own or opened as such; not what goes on in it or is delegated, nor a refusal."""
    opens = {"opens_run": True}
    first, refused, later = ask("first", budgets=TIGHT), ask("x", "y", "z", budgets=TIGHT), ask("later")
    ledger.process([msgspec.structs.replace(each, asked=opens) for each in (*first, *refused)])
    ledger.process(later)
    for number, root in (("1", ""), ("2", "1")):
        claim = RunClaim(
            number=number, run=f"run_{number}", agent="bot", owner="ana", is_kept=True, root=root
        )
        ledger.process(
            [
                OpenRun(
                    call=f"open_{number}", tenant="acme", epoch=1, claim=claim, by=ATTRIBUTION, policy_version="p",
                    config_version=1,
                )
            ]
        )  # fmt: skip
    rows = store.query("select sum(transactions) as all_of_them from usage_sum where span = 'day'")
    assert 2 + 1 == int(rows[0]["all_of_them"])


def test_findings_in_shadow_are_added_up_apart(ledger: Ledger, store: Store) -> None:
    """By rule, agent and what it would have done."""
    would = (Shadow(rule="no", would="deny"), Shadow(rule="slow", would="throttle"))
    verdict = msgspec.structs.replace(PERMITTED, shadow=would)
    ledger.process(ask("a", "b", verdict=verdict))
    rows = store.query("select span, agent, rule, would, calls, maximum from shadow_sum order by span, rule")
    assert [
        (span, ATTRIBUTION.agent, rule, act, 2, 200)
        for span in ("day", "fortnight", "hour")
        for rule, act in (("no", "deny"), ("slow", "throttle"))
    ] == [tuple(row.values()) for row in rows]


def test_sums_stay_within_64_bits(store: Store) -> None:
    """What is full keeps nobody from settling."""
    key = UsageKey(agent="bot", team="t", project="", cost_centre="c", environment="e", connector="p", tool="chat",
                   model="m", effect="allow")  # fmt: skip
    shadow = ShadowKey(agent="bot", team="t", rule="no", would="deny")
    for _ in range(2):
        with store.lock(["acme"]) as locked:
            locked.write(
                Changes(
                    usage=[
                        UsageRow(
                            tenant="acme", span="hour", start_ns=NOON_NS, key=key,
                            sums=UsageSum(calls=1, cost=NANO_USD_MAX - 1),
                        )
                    ],
                    shadow_sums=[
                        ShadowSumRow(
                            tenant="acme", span="hour", start_ns=NOON_NS, key=shadow,
                            sums=ShadowSum(calls=1, maximum=NANO_USD_MAX),
                        )
                    ],
                )
            )  # fmt: skip
    assert {(0, "allow", "", ""): (2, NANO_USD_MAX)} == sums(store, "calls", "cost")
    assert [(2, NANO_USD_MAX)] == [
        (int(row["calls"]), int(row["maximum"]))
        for row in store.query("select calls, maximum from shadow_sum")
    ]


def requested(request: int | None, *names: str) -> list[Command]:
    """Calls whose request is told from others by a number."""
    return [msgspec.structs.replace(each, request=request) for each in ask(*names, budgets=())]


def repeats(store: Store, span: Span = "hour") -> tuple[int, int]:
    """How many calls are repeats, and what those came to."""
    (row,) = store.query(
        "select sum(repeats) as repeats, sum(repeated) as repeated from usage_sum where span = ?", (span,)
    )
    return int(row["repeats"]), int(row["repeated"])


def test_what_was_settled_within_a_day_is_a_repeat(
    ledger: Ledger, store: Store, clock: TurnableClock
) -> None:
    """The same request, at its cost; not another one, one without a number, one that cost nothing, or the first."""
    ledger.process([*requested(7, "a", "b", "free"), *requested(8, "other"), *requested(None, "x", "y")])
    ledger.process(settle(a=10, other=20, x=1, y=1))
    assert (0, 0) == repeats(store)
    clock.turn(DAY_NS)
    ledger.process([*settle(b=30, free=0), *requested(7, "c")])
    assert (1, 30) == repeats(store) == repeats(store, "day")
    clock.turn(DAY_NS + 1)
    ledger.process(settle(c=50))
    assert (1, 30) == repeats(store), "the last one was settled more than a day ago"
    ledger.process([*settle(c=50), *requested(7, "d"), *settle(d=5)])
    assert (2, 35) == repeats(store) == repeats(store, "day")


def test_repeats_in_one_transaction_count_too(ledger: Ledger, store: Store) -> None:
    """Of those that settle together the first one is none; each counts with its agent, in the hour of its decision."""
    ledger.process(requested(7, "a", "b", "c"))
    ledger.process(settle(a=1, b=20, c=300))
    assert (2, 320) == repeats(store) == repeats(store, "day")
    other = msgspec.structs.replace(ATTRIBUTION, agent="other")
    ledger.process([msgspec.structs.replace(each, attribution=other) for each in requested(7, "d")])
    ledger.process(settle(d=4))
    rows = store.query("select agent, repeats, repeated from usage_sum where span = 'hour' order by agent")
    assert [("bot", 2, 320), ("other", 1, 4)] == [tuple(row.values()) for row in rows]


def test_old_requests_are_forgotten(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """When their day and the next are over; not before."""
    ledger.process([*requested(7, "a"), *settle(a=10)])
    for days, kept in ((1, 1), (1, 0)):
        clock.turn(days * DAY_NS)
        ledger.sweep()
        assert kept == len(store.query("select 1 as one from request_settled"))
