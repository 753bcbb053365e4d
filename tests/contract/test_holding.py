"""Keys that a budget's threshold holds, on every store: held once, restored when it holds no more, whoever does it."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway import bootstrap
from aegis_gateway.adapters.holds import passed_balances, tenants_with_held_keys
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.holding import hold_and_restore
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.application.words import ask_for_words, word_given
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.registry import Key
from tests.gateways import configuration
from tests.ledgers import (
    DAY_NS,
    HOUR_NS,
    NOON_NS,
    TurnableClock,
    admission,
    budget,
    cost,
    on_exhaustion,
    quote,
)

ENDS_NS = NOON_NS + 12 * HOUR_NS + 7 * DAY_NS


def loaded(on_exhaustion: str) -> TenantView:
    """The tenant `acme` with a month's budget of two agents, and one that lives elsewhere."""
    budgets = {"month": f"limit: 0.000001, period: monthly, on_exhaustion: {{{on_exhaustion}}}"}
    budgets["other"] = "limit: 1.00, period: monthly"
    files = configuration(
        "http://127.0.0.1:9", agents=("bot", "twin", "else"), budgets=budgets, agent_budgets={"else": "other"}
    )
    return bootstrap.unstored_view(bootstrap.configuration(files), "acme")


def prepared(store: Store, ledger: Ledger, *acts: str, claim: BudgetClaim | None = None) -> None:
    """Keys of all three, and a budget that is exhausted."""
    with store.change(["acme"]) as change:
        for agent in ("bot", "twin", "else"):
            key = Key(id=f"key_{agent}", agent=agent, hash=agent.encode(), hint=agent, issued_ns=1)
            change.save_key("acme", key)
    claim = claim or budget("month", 1_000, thresholds=(on_exhaustion(*acts),))  # type: ignore[arg-type]
    ledger.process([admission("c1", budgets=(claim,), quoted=quote(1_000))])
    ledger.process([Settle(call="c1", tenant="acme", evidence=cost(1_000))])


def look(store: Store, view: TenantView, now_ns: int) -> None:
    """What the steward does again and again."""
    view = msgspec.structs.replace(view, epoch=store.epochs()["acme"])
    read = store.query
    hold_and_restore(
        store, {"acme": view}, lambda: passed_balances(read), lambda: tenants_with_held_keys(read), now_ns
    )


def held(store: Store) -> dict[str, list[str]]:
    """Which keys are held, and by what."""
    keys = {each.id: each for each in store.state().tenants["acme"].keys}
    return {name: [hold.rule for hold in key.holds] for name, key in keys.items() if key.holds}


def acts(store: Store) -> list[tuple[str, str]]:
    """What was done to keys, by the record."""
    rows = store.query("select body from entry where type = 'key' order by sequence")
    return [(body["key"], body["act"]) for row in rows for body in [msgspec.json.decode(row["body"])]]


def test_keys_are_held_once_and_come_back_with_the_next_window(
    store: Store, ledger: Ledger, clock: TurnableClock
) -> None:
    """All keys whose calls count on the balance, no others; a second look changes nothing; each step is told."""
    view = loaded("do: [revoke_keys]")
    prepared(store, ledger, "revoke_keys")
    epoch = store.epochs()["acme"]
    look(store, view, clock.now_ns())
    look(store, view, clock.now_ns())
    rule = "budget:month@exhausted"
    assert {"key_bot": [rule], "key_twin": [rule]} == held(store)
    assert [("key_bot", "hold"), ("key_twin", "hold")] == sorted(acts(store))
    assert epoch + 1 == store.epochs()["acme"]
    keys = {each.id: each for each in store.state().tenants["acme"].keys}
    assert [False, True, True] == [
        keys["key_bot"].is_valid(ENDS_NS - 1), keys["key_bot"].is_valid(ENDS_NS), keys["key_else"].is_valid(1)
    ]  # fmt: skip
    clock.at_ns = ENDS_NS
    look(store, view, clock.now_ns())
    assert {} == held(store)
    assert ["key_held", "key_held", "key_restored", "key_restored"] == [
        row["kind"]
        for row in store.query("select kind from notice where subject like 'key:%' order by sequence")
    ]


def test_what_never_restores_stays_held(store: Store, ledger: Ledger, clock: TurnableClock) -> None:
    """After the window, until somebody issues another key."""
    view = loaded("do: [revoke_keys], restore: never")
    prepared(store, ledger, "revoke_keys")
    look(store, view, clock.now_ns())
    clock.at_ns = ENDS_NS
    look(store, view, clock.now_ns())
    assert ["key_bot", "key_twin"] == sorted(held(store))


def test_a_throttled_key_may_be_used_now_and_then(store: Store, ledger: Ledger, clock: TurnableClock) -> None:
    """It is valid, and its hold says how often."""
    view = loaded("do: [throttle_keys: {limit: 2, every: 1m}]")
    prepared(store, ledger, "throttle_keys")
    look(store, view, clock.now_ns())
    keys = {each.id: each for each in store.state().tenants["acme"].keys}
    assert keys["key_bot"].is_valid(clock.now_ns())
    assert [2] == [hold.limit for hold in keys["key_bot"].holds]


@pytest.mark.parametrize("is_granted", [True, False])
def test_what_waits_for_a_word_is_asked_about_once_and_holds_from_a_yes_on(
    store: Store, ledger: Ledger, clock: TurnableClock, is_granted: bool
) -> None:
    """One request, however often it is looked; a yes holds the keys at the next look, a no doesn't in this window."""
    view = loaded("do: [revoke_keys], waits_for_word: true")
    claim = budget("month", 1_000, thresholds=(on_exhaustion("revoke_keys", waits_for_word=True),))
    prepared(store, ledger, "revoke_keys", claim=claim)
    for _ in range(2):
        ask_for_words(store, {"acme": view}, passed_balances(store.query), clock.now_ns())
    (row,) = store.query("select approval, kind, about from approval")
    assert ("measure", "budget:month@exhausted") == (row["kind"], row["about"])
    look(store, view, clock.now_ns())
    assert {} == held(store)
    answers = Approvals(store, b"pepper", Caller(local_name="ann"), {"measure": word_given})
    answers.answer("acme", row["approval"], "grant" if is_granted else "refuse", "as agreed")
    look(store, view, clock.now_ns())
    assert (["key_bot", "key_twin"] if is_granted else []) == sorted(held(store))
