"""The small parts of the pages: words, briefs, attempts, stores in turn, proofs."""

from __future__ import annotations

import threading
from typing import cast

import msgspec
import pytest

from aegis_gateway.adapters.attention import Attention
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.approval import Approval, Asking, waiting
from aegis_gateway.domain.approval_route import Group, Route, Want
from aegis_gateway.domain.errors import AegisError, LedgerUnavailable, NotPermitted
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.people import Grant, Person
from aegis_gateway.entrypoints.people.approvals.brief import Background, brief_of, flat, state_now, title_of
from aegis_gateway.entrypoints.people.approvals.desk import groups_of
from aegis_gateway.entrypoints.people.attempts import Attempts
from aegis_gateway.entrypoints.people.cookies import cookies_of, csrf_of, is_csrf_of, set_cookie
from aegis_gateway.entrypoints.people.door import is_for_people
from aegis_gateway.entrypoints.people.pool import StorePool
from aegis_gateway.entrypoints.people.rendering import Templates
from aegis_gateway.entrypoints.people.visits import own_path
from aegis_gateway.entrypoints.people.words import plural, relative, span

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
BEN = Person(id="ben", name="Ben", added_ns=0, grants=(Grant(role="approver", tenant="acme"),))
ASKING = Asking(
    tenant="acme",
    kind="call",
    requester="bot",
    about="api.pay",
    policies=("big",),
    maximum_nano_usd=250_000_000,
)


def asked(sequence: int = 1, **more: object) -> Approval:
    """A request, made at 0."""
    return waiting(msgspec.structs.replace(ASKING, **more), sequence, 0)


@pytest.mark.parametrize(
    ("amount_nano_usd", "text"),
    [(0, "$0.00"), (41_100_000_000, "$41.10"), (128_000, "$0.000128"), (-1_500_000_000, "-$1.50")],
)
def test_money(amount_nano_usd: int, text: str) -> None:
    """At the precision that matters there."""
    assert text == usd_short(amount_nano_usd)


def test_spans_and_instants() -> None:
    """In the largest unit, and the next where that tells more; nothing that changes each second."""
    assert ["0 s", "59 s", "3 h 12 min", "12 h", "2 d 1 h"] == [
        span(seconds * SECOND_NS) for seconds in (0, 59, 11_520, 43_900, 176_400)
    ]
    assert ["just now", "in a minute", "2 min ago", "in 4 h"] == [
        relative(at_s * SECOND_NS, 1_000 * SECOND_NS) for at_s in (1_000, 1_059, 880, 15_400)
    ]
    assert ["1 call", "2 calls", "1,000 calls"] == [plural(number, "call") for number in (1, 2, 1_000)]


def test_arguments_by_their_paths() -> None:
    """Whatever is in them; what is empty is told as that."""
    value: object = {"a": {"b": [1, {"c": "x"}]}, "d": None, "e": [], "f": True}
    assert {"a.b[0]": "1", "a.b[1].c": "x", "d": "null", "e": "[]", "f": "true"} == flat(value)
    assert {} == flat({}) == flat(None)


def test_what_changed_and_what_stands_out() -> None:
    """Against the last request like it: what is other, new, gone; numbers that are many times what they were."""
    before = asked(facts={"arguments": {"amount": "10", "to": "Contoso", "old": "x"}})
    now = asked(
        2,
        facts={"arguments": {"amount": "500", "to": "Contoso", "new": "y"}, "risk": ["`day` is nearly used"]},
    )
    brief = brief_of(now, Background(before=before), BEN, ("ben",), 1)
    assert [("amount", "10"), ("to", None), ("new", "")] == [
        (each.name, each.before) for each in brief.arguments
    ]
    assert ("old",) == brief.gone
    assert (
        "Day is nearly used.",
        "amount is 50 times what it was in the last request (10).",
        "bot has not called api.pay in the last 7 days.",
    ) == brief.stands_out
    first = brief_of(now, Background(), BEN, ("ben",), 1)
    assert {None} == {each.before for each in first.arguments}


@pytest.mark.parametrize("value", ["1e40", "9" * 200, "1e999999", "-1e999999", "NaN", "sNaN", "Infinity"])
def test_numbers_beyond_all_measure_hide_no_request(value: str) -> None:
    """An agent that writes such a number asks for something that can be read all the same."""
    for now, then in ((value, "1"), (value, "1e-999999"), ("2", value)):
        before = asked(1, facts={"arguments": {"note": then}})
        after = asked(2, facts={"arguments": {"note": now}})
        brief = brief_of(after, Background(before=before), BEN, ("ben",), 0)
        assert [now] == [argument.value for argument in brief.arguments]


def test_an_argument_turns_nothing_around_it() -> None:
    """Signs that turn the order of text are shown on a page: a payee reads as what it is, and so does what follows."""
    facts = {"arguments": {"to": "x\u202eevil\u2066", "a\x1bb": "<i>\u200f", "lines": "one\r\ntwo"}}
    shown = Templates().render(
        "approvals/inbox.html",
        {
            **{"person": BEN, "path": "/approvals", "csrf": "", "now_ns": 0, "is_part": False, "seen": ""},
            "attention": Attention(),
            **{"mine": [brief_of(asked(facts=facts), Background(), BEN, ("ben",), 0)], "others": []},
            **{"tenants": ["acme"], "tenant": None, "total": lambda _: None},
        },
    )
    assert not {"\u202e", "\u2066", "\u200f", "\x1b"} & set(shown)
    assert all(each in shown for each in ("x\ufffdevil\ufffd", "a\ufffdb", "&lt;i&gt;\ufffd", "one\ntwo"))


def test_titles() -> None:
    """Name the model where there is one: how it is called says little."""
    titles = [
        title_of(each)
        for each in (
            asked(),
            asked(about="chat:gpt-4.1"),
            asked(
                kind="increase", requester="ben", about="day", facts={"amount": "$5.00", "until": "for good"}
            ),
            asked(kind="limit", about="day"),
            asked(kind="measure", about="day"),
        )
    ]
    assert [
        "bot wants to call api.pay",
        "bot wants to call gpt-4.1",
        "ben asks for $5.00 more on day, for good",
        "A new limit is proposed for day",
        "day has reached a threshold that wants a person’s word",
    ] == titles


def test_who_may_not_answer() -> None:
    """Is told before they try; nobody is told so of what is over."""
    mine = asked(behind=("ben",))
    assert "stands behind" in brief_of(mine, Background(), BEN, ("ben",), 1).may_not
    others = asked(route=Route(wants=(Want(groups=(Group(name="finance"),)),)))
    assert "not among those" in brief_of(others, Background(), BEN, ("ben",), 1).may_not
    assert "" == brief_of(asked(), Background(), BEN, ("ben",), 1).may_not
    over = brief_of(mine, Background(), BEN, ("ben",), 5 * HOUR_NS)
    assert ("expired", "", False) == (over.state, over.may_not, over.is_waiting)


def test_time_passes_on_a_page_too() -> None:
    """A request whose time is over is shown so, whether or not that was written down."""
    made = asked()
    granted = msgspec.structs.replace(made, state="granted", valid_until_ns=HOUR_NS)
    assert ["waiting", "expired"] == [state_now(made, at) for at in (1, 4 * HOUR_NS)]
    assert ["granted", "lapsed"] == [state_now(granted, at) for at in (1, HOUR_NS)]


def test_what_is_told_together_is_listed_together() -> None:
    """In the order of the first of them."""
    one, two, three = asked(1), asked(2), asked(3)
    grouped = [msgspec.structs.replace(each, group=two.id) for each in (two, three)]
    assert [[two.id, three.id], [one.id]] == [
        [each.id for each in group] for group in groups_of([grouped[0], one, grouped[1]])
    ]


def test_attempts_are_bounded_by_address_and_time() -> None:
    """Each address by itself; the oldest failure goes first."""
    now_ns = 0
    attempts = Attempts(lambda: now_ns, attempts=2, window_ns=10 * SECOND_NS)
    attempts.fail("a")
    assert 0 == attempts.wait_s("a")
    now_ns = SECOND_NS
    attempts.fail("a")
    assert (9, 0) == (attempts.wait_s("a"), attempts.wait_s("b"))
    now_ns = 10 * SECOND_NS
    assert 0 == attempts.wait_s("a")


class Closable:
    """As much of a store as a pool knows."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        """Be closed."""
        self.is_closed = True


def test_stores_in_turn() -> None:
    """One is used again unless it failed; who waits too long for one is told so; a refusal is no failure of a store."""
    opened: list[Closable] = []

    def open_store() -> Store:
        opened.append(Closable())
        return cast(Store, opened[-1])

    pool = StorePool(open_store, size=1, patience_s=0.01)
    with pool.lease() as store, pytest.raises(LedgerUnavailable, match="busy"), pool.lease():
        pass

    def refuse(fault: AegisError) -> None:
        with pool.lease() as again:
            assert store is again
            raise fault

    with pytest.raises(NotPermitted):
        refuse(NotPermitted("no"))
    with pytest.raises(LedgerUnavailable):
        refuse(LedgerUnavailable("lost"))
    assert [True] == [each.is_closed for each in opened]
    with pool.lease():
        assert 2 == len(opened)


def test_proofs_and_cookies() -> None:
    """A proof is of one secret under one pepper; a cookie's header that can't be read says nothing."""
    proof = csrf_of("secret", b"p" * 32)
    assert is_csrf_of(proof, "secret", b"p" * 32)
    for given, secret, pepper in ((proof, "other", b"p"), ("", "secret", b"p"), ("ü", "secret", b"p")):
        assert not is_csrf_of(given, secret, pepper * 32)
    assert {"a": "1", "b": "2"} == cookies_of("a=1; b=2")
    assert {} == cookies_of("\x00=;,=")
    assert "a=1; Path=/; HttpOnly; SameSite=Lax; Max-Age=5; Secure" == set_cookie(
        "a", "1", secure=True, seconds=5
    )


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/approvals?x=1", "/approvals?x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nb", "/"),
        ("https://evil.example", "/"),
        ("/" + "a" * 3_000, "/"),
    ],
)
def test_paths_to_come_back_to(given: str, path: str) -> None:
    """Are here."""
    assert path == own_path(given)


def test_whose_paths() -> None:
    """People's are told by whole segments."""
    assert [True, True, True, False, False, False] == [
        is_for_people(path)
        for path in ("/", "/approvals/x", "/api/v1/budgets", "/apix", "/v1/models", "/mcp")
    ]


def test_threads_share_a_pool() -> None:
    """No two have the same store at once."""
    held: set[int] = set()
    lock = threading.Lock()
    pool = StorePool(lambda: cast(Store, Closable()), size=3)
    clashes: list[int] = []

    def use() -> None:
        for _ in range(200):
            with pool.lease() as store:
                with lock:
                    if id(store) in held:
                        clashes.append(1)
                    held.add(id(store))
                with lock:
                    held.discard(id(store))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == clashes
