"""Keys that a budget's threshold holds, on every store: held once, restored when it holds no more, whoever does it."""

from __future__ import annotations

import os

import msgspec
import pytest

from aegis_gateway import bootstrap
from aegis_gateway.adapters.holds import passed_balances, tenants_with_held_keys, words_asked
from aegis_gateway.adapters.signing import Ed25519Signatures, new_private_key
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.holding import hold_and_restore
from aegis_gateway.application.key_holds import KeyHolds
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.application.words import ask_for_words, withdraw_words, word_given
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.people import Grant, Person
from aegis_gateway.domain.registry import Key, Throttle
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


def loaded(on_exhaustion: str, more: str = "", approvals: str = "") -> TenantView:
    """The tenant `acme` with a month's budget of two agents, and one that lives elsewhere."""
    budgets = {"month": f"limit: 0.000001, period: monthly{more}, on_exhaustion: {{{on_exhaustion}}}"}
    budgets["other"] = "limit: 1.00, period: monthly"
    files = configuration(
        "http://127.0.0.1:9", agents=("bot", "twin", "else"), budgets=budgets, agent_budgets={"else": "other"}
    )
    if approvals:
        start, tenant, rest = files["aegis.yaml"].partition("  acme:\n")
        files = {**files, "aegis.yaml": f"{start}{tenant}    approvals: {approvals}\n{rest}"}
    return bootstrap.unstored_view(bootstrap.configuration(files), "acme")


def prepared(store: Store, ledger: Ledger, *acts: str, claim: BudgetClaim | None = None) -> None:
    """Keys of all three, and a budget that is exhausted."""
    with store.change(["acme"]) as change:
        for agent in ("bot", "twin", "else"):
            key = Key(
                id=f"key_{agent}", agent=agent, hash=agent.encode(), hint=f"aegis_live_{agent}", issued_ns=1
            )
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


def by_hand(store: Store) -> KeyHolds:
    """What somebody does to keys."""
    return KeyHolds(store, b"pepper", Caller(local_name="ann"))


def administration(store: Store) -> Administration:
    """What operators do."""
    signatures = Ed25519Signatures(new_private_key(), "tests")
    return Administration(store, b"pepper", signatures, os.urandom, Caller(local_name="ann"))


def key_of(store: Store, name: str) -> Key:
    """A key as it is kept."""
    return next(each for each in store.state().tenants["acme"].keys if each.id == name)


def test_a_request_about_a_threshold_that_is_undone_is_withdrawn(
    store: Store, ledger: Ledger, clock: TurnableClock
) -> None:
    """While it waits it is left alone; once the window has turned nobody can answer it, and nothing is held."""
    view = loaded("do: [revoke_keys], waits_for_word: true")
    claim = budget("month", 1_000, thresholds=(on_exhaustion("revoke_keys", waits_for_word=True),))
    prepared(store, ledger, "revoke_keys", claim=claim)

    def steward() -> list[str]:
        ask_for_words(store, {"acme": view}, passed_balances(store.query), clock.now_ns())
        look(store, view, clock.now_ns())
        withdraw_words(store, words_asked(store.query), passed_balances(store.query))
        return [row["state"] for row in store.query("select state from approval order by sequence")]

    assert [["waiting"], ["waiting"]] == [steward(), steward()]
    clock.at_ns = ENDS_NS
    assert [["withdrawn"], ["withdrawn"]] == [steward(), steward()]
    (row,) = store.query("select approval from approval")
    with pytest.raises(NotPermitted, match="is withdrawn"):
        Approvals(store, b"pepper", Caller(local_name="ann"), {"measure": word_given}).grant(
            "acme", row["approval"]
        )
    assert {} == held(store)


ROUTED = (
    "{routes: [{budget: month, ask: [finance], needs: 2}, {ask: [others]}],"
    " groups: {finance: [fin, max], others: [oz]}}"
)


@pytest.mark.parametrize(
    ("people", "approvals", "asked", "later"),
    [
        (
            {"ann": "viewer", "dep": "viewer", "apo": "approver"},
            "",
            [("owners of month", ["ann", "dep"])],
            ["approvers"],
        ),
        ({"dep": "viewer", "apo": "approver"}, "", [("owners of month", ["dep"])], ["approvers"]),
        ({"apo": "approver"}, "", [("approvers", [])], []),
        ({"ann": "viewer"}, ROUTED, [("finance", ["fin", "max"])], []),
        ({"ann": ""}, "{routes: [{ask: [o]}], groups: {o: [oz]}}", [("approvers", [])], []),
    ],
    ids=[
        "owner and deputy first",
        "the deputy alone",
        "nobody of them",
        "the tenant's route",
        "no role in the tenant",
    ],
)
def test_a_word_on_a_threshold_is_asked_of_whoever_answers_for_the_budget(
    store: Store,
    ledger: Ledger,
    clock: TurnableClock,
    people: dict[str, str],
    approvals: str,
    asked: list[tuple[str, list[str]]],
    later: list[str],
) -> None:
    """First its owner and deputy, if they have a role here, later besides whoever may approve; or whom the tenant's
    route of the budget names. A route that names no budget is about calls.
    """
    view = loaded(
        "do: [revoke_keys], waits_for_word: true",
        ", owner: ann@example.com, deputy: dep@example.com",
        approvals,
    )
    claim = budget("month", 1_000, thresholds=(on_exhaustion("revoke_keys", waits_for_word=True),))
    prepared(store, ledger, "revoke_keys", claim=claim)
    with store.change([]) as change:
        change.hold_people()
        for name, role in people.items():
            grants = (Grant(role=role, tenant="acme"),) if role else ()  # type: ignore[arg-type]
            change.save_person(Person(id=name, name=name, added_ns=1, grants=grants))
    ask_for_words(store, {"acme": view}, passed_balances(store.query), clock.now_ns())
    (row,) = store.query("select document from approval")
    route = msgspec.json.decode(row["document"], type=Approval).route
    assert asked == [(group.name, list(group.people)) for group in route.asked(0)]
    assert later == [group.name for group in route.asked(1)][len(asked) :]


def test_a_key_that_somebody_restored_is_not_held_again_by_the_same_passing(
    store: Store, ledger: Ledger, clock: TurnableClock
) -> None:
    """It stays restored while the threshold stands, however often it is looked; the other key stays held; the next
    passing, in the next window, holds both.
    """
    view = loaded("do: [revoke_keys]")
    prepared(store, ledger, "revoke_keys")
    look(store, view, clock.now_ns())
    epoch = store.epochs()["acme"]
    (restored,) = by_hand(store).restore("acme", "key_bot", "the month's end can't wait")
    assert ["budget:month@exhausted"] == [hold.rule for hold in restored.lifted]
    assert epoch < store.epochs()["acme"]
    for _ in range(3):
        look(store, view, clock.now_ns())
    assert key_of(store, "key_bot").is_valid(clock.now_ns())
    assert not key_of(store, "key_twin").is_valid(clock.now_ns())
    assert [("key_bot", "hold"), ("key_twin", "hold"), ("key_bot", "restore")] == acts(store)
    (entry,) = [
        msgspec.json.decode(row["body"])
        for row in store.query("select body from entry where type = 'key'")
        if b'"restore"' in bytes(row["body"])
    ]
    assert ("local:ann", "the month's end can't wait") == (entry["actor"], entry["because"])
    with pytest.raises(ConfigurationError, match="nothing holds `key_bot`"):
        by_hand(store).restore("acme", "key_bot")
    clock.at_ns = ENDS_NS
    look(store, view, clock.now_ns())
    assert {} == held(store)
    claim = budget("month", 1_000, thresholds=(on_exhaustion("revoke_keys"),))
    ledger.process([admission("c2", budgets=(claim,), quoted=quote(1_000), epoch=store.epochs()["acme"])])
    ledger.process([Settle(call="c2", tenant="acme", evidence=cost(1_000))])
    look(store, view, clock.now_ns())
    assert ["key_bot", "key_twin"] == sorted(held(store))


def test_a_passing_that_nobody_looked_at_between_is_another(
    store: Store, ledger: Ledger, clock: TurnableClock
) -> None:
    """Undone by a raised limit and passed again before the steward looks: it holds what was restored before."""
    view = loaded("do: [revoke_keys]")
    prepared(store, ledger, "revoke_keys")
    look(store, view, clock.now_ns())
    by_hand(store).restore("acme", "key_bot")
    clock.turn(1)
    raised = budget("month", 2_000, thresholds=(on_exhaustion("revoke_keys"),))
    ledger.process([admission("c2", budgets=(raised,), quoted=quote(1_000), epoch=store.epochs()["acme"])])
    ledger.process([Settle(call="c2", tenant="acme", evidence=cost(1_000))])
    for _ in range(2):
        look(store, view, clock.now_ns())
        assert ["key_bot", "key_twin"] == sorted(held(store))
        assert not key_of(store, "key_bot").is_valid(clock.now_ns())


def test_what_never_restores_by_itself_is_restored_by_a_person(
    store: Store, ledger: Ledger, clock: TurnableClock
) -> None:
    """In the same window and after it."""
    view = loaded("do: [revoke_keys], restore: never")
    prepared(store, ledger, "revoke_keys")
    look(store, view, clock.now_ns())
    by_hand(store).restore("acme", "key_bot")
    look(store, view, clock.now_ns())
    assert key_of(store, "key_bot").is_valid(clock.now_ns())
    clock.at_ns = ENDS_NS
    look(store, view, clock.now_ns())
    assert ["key_twin"] == sorted(held(store))
    by_hand(store).restore("acme", "twin")
    look(store, view, clock.now_ns())
    assert {} == held(store)


def test_a_person_holds_the_keys_of_an_agent_until_a_time(
    store: Store, ledger: Ledger, clock: TurnableClock
) -> None:
    """No threshold lets them go; at the time they are valid at once, and the steward writes that down."""
    view = loaded("do: [notify]")
    prepared(store, ledger, "notify")
    until_ns = clock.now_ns() + HOUR_NS
    by_hand(store).hold("acme", "bot", reason="odd calls at night", owners={"bot": "ben"}, until_ns=until_ns)
    look(store, view, clock.now_ns())
    assert {"key_bot": ["by-hand"]} == held(store)
    key = key_of(store, "key_bot")
    assert [False, True] == [key.is_valid(until_ns - 1), key.is_valid(until_ns)]
    clock.at_ns = until_ns
    look(store, view, clock.now_ns())
    assert {} == held(store)
    rows = store.query("select kind, body from notice where subject = 'key:key_bot' order by sequence")
    assert [("key_held", "odd calls at night", "ben"), ("key_restored", "odd calls at night", "ben")] == [
        (row["kind"], body["reason"], body["owner"])
        for row in rows
        for body in [msgspec.json.decode(row["body"])]
    ]


def test_a_key_is_throttled_by_hand_until_it_is_restored(store: Store, ledger: Ledger) -> None:
    """It is valid, and its hold says how often; holding it anew replaces that."""
    prepared(store, ledger, "notify")
    hands, owners = by_hand(store), {"bot": "ben"}
    hands.hold(
        "acme", "key_bot", reason="too fast", owners=owners, throttle=Throttle(limit=2, period_ns=HOUR_NS)
    )
    assert (True, [2]) == (
        key_of(store, "key_bot").is_valid(NOON_NS),
        [hold.limit for hold in key_of(store, "key_bot").holds],
    )
    hands.hold("acme", "key_bot", reason="still too fast", owners=owners)
    assert [0] == [hold.limit for hold in key_of(store, "key_bot").holds]
    hands.restore("acme", "key_bot")
    assert () == key_of(store, "key_bot").holds
    with pytest.raises(ConfigurationError, match="is over"):
        hands.hold("acme", "key_bot", reason="late", owners=owners, until_ns=NOON_NS)
    with pytest.raises(ConfigurationError, match="no key `nobody`"):
        hands.hold("acme", "nobody", reason="odd", owners=owners)


def test_another_key_does_not_slip_the_hold(store: Store, ledger: Ledger, clock: TurnableClock) -> None:
    """A rotated key is held as the old one is, or restored as it is; one issued to a held agent is held."""
    view = loaded("do: [revoke_keys]")
    prepared(store, ledger, "revoke_keys")
    look(store, view, clock.now_ns())
    keys = administration(store)
    rotated = keys.rotate_key("acme", "key_bot", HOUR_NS).key
    assert ["budget:month@exhausted"] == [hold.rule for hold in rotated.holds]
    assert not rotated.is_valid(clock.now_ns())
    by_hand(store).restore("acme", rotated.id)
    again = keys.rotate_key("acme", rotated.id, 0).key
    look(store, view, clock.now_ns())
    assert key_of(store, again.id).is_valid(clock.now_ns())
    by_hand(store).hold("acme", "else", reason="leaked", owners={})
    issued = keys.issue_key("acme", "else").key
    assert not issued.is_valid(clock.now_ns())
    keys.revoke_key("acme", issued.id)
    keys.revoke_key("acme", "key_else")
    look(store, view, clock.now_ns())
    assert not keys.issue_key("acme", "else").key.is_valid(clock.now_ns()), "whatever became of the others"
    by_hand(store).restore("acme", "else")
    assert keys.issue_key("acme", "else").key.is_valid(clock.now_ns())


@pytest.mark.parametrize("act", ["revoke_keys", "throttle_keys: {limit: 2, every: 1m}"])
def test_what_a_budget_in_shadow_would_do_to_keys_is_told_once(
    store: Store, ledger: Ledger, clock: TurnableClock, act: str
) -> None:
    """One notice for all keys, one entry; no key is held, and none is when the window turns."""
    view = loaded(f"do: [{act}]", ", mode: shadow, match: {tenant: acme}")
    kind = act.partition(":")[0]
    claim = budget("month", 1_000, thresholds=(on_exhaustion(kind),), mode="shadow")  # type: ignore[arg-type]
    prepared(store, ledger, kind, claim=claim)
    for _ in range(3):
        look(store, view, clock.now_ns())
    (row,) = store.query("select subject, body from notice where kind = 'keys_in_shadow'")
    what = "revoked" if kind == "revoke_keys" else "throttled"
    body = msgspec.json.decode(row["body"])
    told = f"would have {what} the keys of bot, else, twin"
    assert ("budget:month", told, "shadow") == (row["subject"], body["would"], body["mode"])
    assert all(key.is_valid(clock.now_ns()) for key in store.state().tenants["acme"].keys)
    assert [] == store.query("select kind from notice where subject like 'key:%'")
    clock.at_ns = ENDS_NS
    look(store, view, clock.now_ns())
    assert [] == store.query("select kind from notice where subject like 'key:%'")
    assert 1 == len(store.query("select 1 as one from entry where type = 'key'"))
