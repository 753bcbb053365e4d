"""Notices are passed on, and delivered, on every store: each once, whoever does it and whatever fails."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping

import apsw
import psycopg
import pytest

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.application.delivering import Delivering
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.passing import Passing
from aegis_gateway.application.people import People
from aegis_gateway.application.ports import Changes, Store
from aegis_gateway.application.redelivering import Redelivering
from aegis_gateway.application.untaken import is_first
from aegis_gateway.domain.absence import Absence
from aegis_gateway.domain.channel import Channel, NotifyRule
from aegis_gateway.domain.delivery import LEASE_NS, PAUSE_NS, TRIES_MAX, Delivery, NotSent, Outcome, Sent
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.notice import Notice, NoticeKind
from aegis_gateway.domain.people import Grant, Role
from aegis_gateway.domain.registry import Budget, Registry
from tests.ledgers import NOON_NS, SECOND_NS, Database, TurnableClock

PAGES = "https://aegis.example"
WAIT_S = 10.0

OPS = Channel(id="ops", kind="slack", place="C012")
HOOK = Channel(id="hook", kind="webhook", address="https://hooks.example/")
MAIL = Channel(id="mail", kind="email", recipients=("fin@acme.example", "ana@acme.example"))


def registry(*rules: NotifyRule, channels: tuple[Channel, ...] = (OPS, HOOK, MAIL)) -> Registry:
    """A tenant with a budget, and who is told of what."""
    day = Budget(
        id="day", owner="ana@acme.example", deputy=None, quantity="usd", limit=1, period="daily", zone="UTC"
    )
    return Registry(
        tenant="acme",
        name="Acme",
        zone="UTC",
        budgets={"day": day},
        channels={channel.id: channel for channel in channels},
        notify=rules,
        teams={},
        projects={},
        agents={},
        connectors={},
        models={},
        quantities={},
        rates={},
    )


def notify(
    store: Store,
    sequence: int,
    kind: NoticeKind = "budget_exhausted",
    subject: str = "budget:day",
    **more: object,
) -> None:
    """Write a notice."""
    body: dict[str, object] = {"limit_nano_usd": "20000000000", **more}
    if subject.startswith("approval:"):
        body = {"approval": subject.partition(":")[2], "about": "pay", "state": "granted"}
    notice = Notice(
        tenant="acme", sequence=sequence, kind=kind, subject=subject, at_ns=NOON_NS + sequence, body=body
    )
    with store.lock(["acme"]) as locked:
        locked.write(Changes(notices=[notice]))


class Receiver:
    """A channel's other side: answers what it is told to, and keeps what it got."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.got: list[tuple[str, str]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_asked = threading.Event()

    def send(self, delivery: Delivery, before: tuple[str, ...]) -> Outcome:
        """Answer the next thing, or that it was sent."""
        self.is_asked.set()
        assert self.may_answer.wait(WAIT_S)
        self.got.append((delivery.id, " ".join(before)))
        return self.outcomes.pop(0) if self.outcomes else Sent(reference=f"C012/{len(self.got)}")


def deliver(work: Delivering) -> None:
    """Until nothing is under way any more."""
    while work():
        pass


def passing(store: Store, *rules: NotifyRule) -> Passing:
    """What passes notices on by some rules."""
    return Passing(store, lambda: {"acme": registry(*rules)}, PAGES)


def delivering(store: Store, receivers: Mapping[str, Receiver]) -> Delivering:
    """What sends to some receivers; retries are spread as far as they may."""
    return Delivering(store, lambda _tenant, channel: receivers.get(channel), lambda: 1.0)


def states(store: Store) -> list[tuple[str, str, str, int]]:
    """All deliveries: channel, recipient, state, tries."""
    rows = store.rows(
        "select channel, recipient, state, tries from delivery order by sequence, channel, recipient"
    )
    return [tuple(row) for row in rows]


EVERYTHING = NotifyRule(to=("ops", "hook"))


def test_a_notice_goes_where_the_rules_say(store: Store) -> None:
    """To each place once, however many rules name it; and it is taken as passed on."""
    notify(store, 1)
    notify(store, 2, "key_held", "agent:bot")
    by_mail = NotifyRule(what=("budget_exhausted",), budgets=("day",), to=("mail", "owner", "ops"))
    passed = passing(store, by_mail, NotifyRule(what=("budget_exhausted",), to=("ops",)))
    assert not passed()
    assert not passed()
    assert [
        ("mail", "ana@acme.example", "waiting", 0),
        ("mail", "fin@acme.example", "waiting", 0),
        ("ops", "", "waiting", 0),
    ] == states(store)
    assert [] == store.rows("select 1 from notice where passed_ns is null")


def test_a_notice_that_cannot_be_put_in_words_holds_up_no_other(store: Store) -> None:
    """People are told that there is one, and of those after it; here a time is none."""
    notify(store, 1, until_ns="9" * 30)
    notify(store, 2)
    passing(store, NotifyRule(to=("hook",)))()
    told = [
        json.loads(message) for (message,) in store.rows("select message from delivery order by sequence")
    ]
    assert ["budget exhausted: budget:day", "Budget day is exhausted"] == [each["title"] for each in told]
    assert [] == store.rows("select 1 from notice where passed_ns is null")


def test_what_is_sent_is_sent_once(store: Store) -> None:
    """It is there, with what the channel calls it, and isn't sent again."""
    notify(store, 1)
    passing(store, EVERYTHING)()
    receivers = {"ops": Receiver(), "hook": Receiver()}
    work = delivering(store, receivers)
    deliver(work)
    deliver(work)
    assert [("hook", "", "sent", 1), ("ops", "", "sent", 1)] == states(store)
    assert [1, 1] == [len(receiver.got) for receiver in receivers.values()]
    assert [("C012/1",), ("C012/1",)] == store.rows("select reference from delivery")


def test_what_fails_is_tried_again_with_the_same_id(store: Store, clock: TurnableClock) -> None:
    """After a pause that grows, and no sooner than the other side asks for."""
    notify(store, 1)
    passing(store, NotifyRule(to=("hook",)))()
    busy = NotSent(fault="busy", retry_after_ns=600 * SECOND_NS)
    hook = Receiver(NotSent(fault="down"), busy)
    work = delivering(store, {"hook": hook})
    deliver(work)
    assert [("hook", "", "waiting", 1)] == states(store)
    clock.turn(PAUSE_NS - 1)
    deliver(work)
    assert 1 == len(hook.got)
    clock.turn(1)
    deliver(work)
    clock.turn(599 * SECOND_NS)
    deliver(work)
    assert (2, [("busy",)]) == (len(hook.got), store.rows("select fault from delivery"))
    clock.turn(SECOND_NS)
    deliver(work)
    assert [("hook", "", "sent", 3)] == states(store)
    assert 1 == len({name for name, _ in hook.got})


def test_what_can_never_be_sent_is_dead(store: Store, clock: TurnableClock) -> None:
    """At once where the other side says so, and after so many tries; with the reason, and until a person says so."""
    notify(store, 1)
    passing(store, EVERYTHING)()
    never = Receiver(NotSent(fault="the other side answered 400", is_final=True))
    down = Receiver(*[NotSent(fault="down")] * TRIES_MAX)
    work = delivering(store, {"hook": never, "ops": down})
    for _ in range(TRIES_MAX):
        deliver(work)
        clock.turn(3 * 3_600 * SECOND_NS)
    assert [("hook", "", "dead", 1), ("ops", "", "dead", TRIES_MAX)] == states(store)
    assert ["down", "the other side answered 400"] == sorted(
        fault for (fault,) in store.rows("select fault from delivery")
    )


def test_a_channel_that_is_gone(store: Store) -> None:
    """What was to go there is dead, and says why."""
    notify(store, 1)
    passing(store, NotifyRule(to=("hook",)))()
    deliver(delivering(store, {}))
    assert [("there is no channel `hook` any more",)] == store.rows("select fault from delivery")


def test_a_channel_that_hangs_holds_up_no_other(store: Store) -> None:
    """While one is waited for, others get theirs, and the one that hangs is asked for nothing else."""
    for sequence in (1, 2):
        notify(store, sequence)
    passing(store, EVERYTHING)()
    receivers = {"ops": Receiver(), "hook": Receiver()}
    receivers["hook"].may_answer.clear()
    work = delivering(store, receivers)
    while len(receivers["ops"].got) < 2:
        assert work()
    assert receivers["hook"].is_asked.is_set()
    assert [] == receivers["hook"].got
    receivers["hook"].may_answer.set()
    deliver(work)
    assert {"sent"} == {state for _, _, state, _ in states(store)}


def test_two_stewards_send_different_ones(store: Store, database: Database, clock: TurnableClock) -> None:
    """What one has taken, another leaves alone, unless the one is gone for a minute."""
    notify(store, 1)
    other = database.open(clock, keep=False)
    passing(store, NotifyRule(to=("hook",)))()
    passing(other, NotifyRule(to=("hook",)))()
    first, second = Receiver(), Receiver()
    first.may_answer.clear()
    one, two = delivering(store, {"hook": first}), delivering(other, {"hook": second})
    assert one()
    assert first.is_asked.wait(WAIT_S)
    assert not two()
    clock.turn(LEASE_NS)
    deliver(two)
    assert ([], 1) == (first.got, len(second.got))
    first.may_answer.set()
    deliver(one)
    assert first.got[0][0] == second.got[0][0]


def test_what_became_of_a_request_takes_its_place(store: Store, clock: TurnableClock) -> None:
    """Where it was told, though nobody asked for more; after it, and not before, in the message's place."""
    notify(store, 1, "approval_requested", "approval:apr_1")
    rule = NotifyRule(what=("approval_requested",), to=("ops", "hook"))
    passing(store, rule)()
    ops = Receiver(NotSent(fault="down"))
    work = delivering(store, {"ops": ops, "hook": Receiver()})
    deliver(work)
    notify(store, 2, "approval_decided", "approval:apr_1")
    passing(store, rule)()
    deliver(work)
    assert [("hook", "", "sent", 1), ("ops", "", "waiting", 1), ("ops", "", "waiting", 0)] == states(store)
    clock.turn(2 * PAUSE_NS)
    deliver(work)
    assert ["", "", "C012/2"] == [reference for _, reference in ops.got]
    assert {"sent"} == {state for _, _, state, _ in states(store)}


def test_an_escalated_request_is_told_again_and_ended_once(store: Store) -> None:
    """Nobody is pinged by a changed message, so it is one of its own; its end takes the place of both."""
    rule = NotifyRule(
        what=("approval_requested", "approval_escalated", "approval_decided"), to=("ops", "hook")
    )
    kinds: tuple[NoticeKind, ...] = ("approval_requested", "approval_escalated", "approval_decided")
    receivers = {"ops": Receiver(), "hook": Receiver()}
    work = delivering(store, receivers)
    for sequence, kind in enumerate(kinds, 1):
        notify(store, sequence, kind, "approval:apr_1")
        passing(store, rule, rule)()
        deliver(work)
    assert ["", "", "C012/2 C012/1"] == [reference for _, reference in receivers["ops"].got]
    assert 3 == len({name for name, _ in receivers["hook"].got})


def test_what_is_sent_late_takes_the_place_of_nothing_newer(store: Store) -> None:
    """A message that is tried again after what became of its request was told is one of its own."""
    notify(store, 1, "approval_requested", "approval:apr_1")
    rule = NotifyRule(to=("ops",))
    passing(store, rule)()
    ops = Receiver(NotSent(fault="no", is_final=True))
    work = delivering(store, {"ops": ops})
    deliver(work)
    notify(store, 2, "approval_decided", "approval:apr_1")
    passing(store, rule)()
    deliver(work)
    assert 1 == local(store).retry_dead("acme")
    deliver(work)
    notify(store, 3, "approval_decided", "approval:apr_1")
    passing(store, rule)()
    deliver(work)
    assert ["", "", "", "C012/2 C012/3"] == [reference for _, reference in ops.got]


def local(store: Store, token: str | None = None) -> Redelivering:
    """What people do about deliveries, as whoever is at the machine, or with a token."""
    return Redelivering(store, b"pepper", Caller(local_name="test", token=token))


def test_what_was_given_up_is_tried_again(store: Store, clock: TurnableClock) -> None:
    """One of them, or all of a channel: at once, with all tries before it, under the same id; it is on the record."""
    notify(store, 1)
    notify(store, 2)
    passing(store, EVERYTHING)()
    never = NotSent(fault="the other side answered 400", is_final=True)
    receivers = {"ops": Receiver(never, never), "hook": Receiver(never, never)}
    work = delivering(store, receivers)
    deliver(work)
    reports = DeliveryReports(store.rows)
    assert (4, 0) == (reports.count("acme", "dead"), reports.count("acme", "sent"))
    assert 2 == len(reports.deliveries("acme", 10, "dead", "hook"))
    first = reports.deliveries("acme", 10, channel="ops")[-1]
    again = local(store).retry("acme", first.id)
    assert ("waiting", 0, clock.now_ns(), first.fault) == (
        again.state,
        again.tries,
        again.next_ns,
        again.fault,
    )
    assert (2, 0) == (local(store).retry_dead("acme", "hook"), local(store).retry_dead("acme", "hook"))
    deliver(work)
    assert (1, 3) == (reports.count("acme", "dead"), reports.count("acme", "sent"))
    assert receivers["hook"].got[:2] == receivers["hook"].got[2:], (
        "under the same ids, each as its own message"
    )
    with pytest.raises(NotPermitted, match="was sent"):
        local(store).retry("acme", first.id)
    with pytest.raises(ConfigurationError, match="no delivery `dlv_0`"):
        local(store).retry("acme", "dlv_0")
    bodies = [json.loads(body) for (body,) in store.rows("select body from entry order by sequence")]
    acts = [
        (each["actor"], each["act"], len(each["deliveries"]))
        for each in bodies
        if each["type"] == "notification"
    ]
    assert [("local:test", "retry", 1), ("local:test", "retry", 2)] == acts


def test_what_waits_is_tried_at_once(store: Store, clock: TurnableClock) -> None:
    """Instead of when its pause is over; but nothing is begun twice that is under way."""
    notify(store, 1)
    passing(store, NotifyRule(to=("hook",)))()
    hook = Receiver(NotSent(fault="down", retry_after_ns=600 * SECOND_NS))
    work = delivering(store, {"hook": hook})
    deliver(work)
    (waits,) = DeliveryReports(store.rows).deliveries("acme", 10)
    local(store).retry("acme", waits.id)
    hook.may_answer.clear()
    assert work()
    local(store).retry("acme", waits.id)
    other = Receiver()
    assert not delivering(store, {"hook": other})()
    hook.may_answer.set()
    deliver(work)
    assert ([], [("hook", "", "sent", 1)]) == (other.got, states(store))


def test_who_may_have_something_sent_again(store: Store) -> None:
    """Those whose role says so, once there are people; others are told which role that is, and nothing is done."""
    notify(store, 1)
    passing(store, NotifyRule(to=("hook",)))()
    never = Receiver(NotSent(fault="no", is_final=True))
    deliver(delivering(store, {"hook": never}))
    ana = registered(store, "ana", Grant(role="admin", tenant="*"))
    roles: dict[str, Role] = {"fin": "finops", "vi": "viewer", "ben": "approver"}
    tokens = {
        person: registered(store, person, Grant(role=role, tenant="acme"), ana)
        for person, role in roles.items()
    }
    with pytest.raises(NotPermitted, match="token"):
        local(store).retry_dead("acme")
    for person in ("vi", "ben"):
        with pytest.raises(NotPermitted, match="admin or finops"):
            local(store, tokens[person]).retry_dead("acme")
    assert [("hook", "", "dead", 1)] == states(store)
    assert 1 == local(store, tokens["fin"]).retry_dead("acme")


def registered(store: Store, person: str, grant: Grant, token: str | None = None) -> str:
    """Register somebody, and give them a token."""
    caller = Caller(local_name="test", token=token)
    people = People(store, b"pepper", os.urandom, caller, has_four_eyes=False)
    people.add(person, person.title(), [grant])
    secret = people.issue_token(person).secret
    assert secret is not None
    return secret


def test_a_channel_is_tried_out(store: Store) -> None:
    """Each place of it gets one message, with an id of its own; what the other side says is told, and all is noted."""
    mail = Receiver(Sent(), NotSent(fault="the mail server answered 550: who", is_final=True))
    done = local(store).test("acme", MAIL, lambda delivery: mail.send(delivery, ()))
    assert [("fin@acme.example", Sent), ("ana@acme.example", NotSent)] == [
        (each.target.recipient, type(each.outcome)) for each in done
    ]
    assert 2 == len({name for name, _ in mail.got})

    def fails(_delivery: Delivery) -> Outcome:
        raise ConfigurationError("`env:HOOK` is not set")

    (failed,) = local(store).test("acme", HOOK, fails)
    assert NotSent(fault="`env:HOOK` is not set") == failed.outcome
    assert [] == states(store)
    entries = store.rows("select body from entry where type = 'notification' order by sequence")
    noted = [json.loads(bytes(body)) for (body,) in entries]
    assert ["test", "tried", "test", "tried"] == [each["act"] for each in noted]
    assert [(1, 1), (0, 1)] == [(each["sent"], each["failed"]) for each in noted[1::2]]


def test_what_has_come_before_is_told(store: Store, clock: TurnableClock) -> None:
    """Something with a name comes for the first time once, until it is forgotten."""
    with store.change([]) as change:
        told = [change.is_first_interaction(name, change.now_ns, SECOND_NS) for name in ("a", "b", "a")]
    assert [True, True, False] == told
    clock.turn(2 * SECOND_NS)
    with store.change([]) as change:
        assert change.is_first_interaction("a", change.now_ns, SECOND_NS)


def test_of_many_at_once_one_comes_first(store: Store, database: Database, clock: TurnableClock) -> None:
    """Whoever asks, on connections of their own."""
    others = [database.open(clock, keep=False) for _ in range(4)]
    told: list[bool] = []
    ready = threading.Barrier(len(others))

    def ask(other: Store) -> None:
        ready.wait(WAIT_S)
        told.append(is_first(other, "a"))

    asking = [threading.Thread(target=ask, args=(other,)) for other in others]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert [False, False, False, True] == sorted(told)
    assert not is_first(store, "a")


def test_absences_and_digests_are_never_changed(store: Store, database: Database) -> None:
    """They come back in the order in which they were recorded, and the database refuses to change them."""
    absences = [
        Absence(person="ana", from_ns=1, until_ns=9, deputy=deputy, recorded_ns=at, by="local:test")
        for deputy, at in (("ben", 5), (None, 5), ("cleo", 4))
    ]
    with store.change([]) as change:
        change.hold_people()
        for absence in absences:
            change.save_absence(absence)
        change.save_digest("acme", "week", 1, 2)
    with store.change([]) as change:
        assert [absences[2], absences[0], absences[1]] == change.absences()
        assert (True, False) == (change.has_digest("acme", "week", 1), change.has_digest("acme", "week", 2))
    assert [absences[2], absences[0], absences[1]] == DeliveryReports(store.rows).absences()
    for sql in ("update absence set until_ns = 0", "delete from absence", "delete from digest"):
        with pytest.raises((apsw.ConstraintError, psycopg.errors.RaiseException)):
            database.execute(sql)
