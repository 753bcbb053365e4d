"""What people are told of a notice, in words."""

from __future__ import annotations

import pytest

from aegis_gateway.domain.message import FACT_CHARACTERS_MAX, FACTS_MAX, Ask, Link, Message, message_of
from aegis_gateway.domain.notice import NOTICE_KINDS, Notice, NoticeKind

PAGES = "https://aegis.example"


def message(kind: NoticeKind, subject: str = "budget:day", /, **body: object) -> Message:
    """The message that a notice is."""
    notice = Notice(tenant="acme", sequence=7, kind=kind, subject=subject, at_ns=5, body=body)
    return message_of(notice, "Acme Bank", PAGES)


def test_amounts_and_instants_are_written_for_people() -> None:
    """By what their names end with, whether numbers or texts; programs get them as they were."""
    told = message(
        "budget_exhausted",
        limit_nano_usd="20000000000",
        used={"spent_nano_usd": 20_010_000_000, "rows": 12},
        until_ns=1_795_435_200_000_000_000,
        is_hard=True,
        teams=["desk", "risk"],
        nothing=None,
        empty="",
    )
    assert "Budget day is exhausted" == told.title
    assert {
        "tenant": "Acme Bank",
        "limit": "$20.00",
        "used spent": "$20.01",
        "used rows": "12",
        "until": "2026-11-23 12:00 UTC",
        "is hard": "yes",
        "teams": "desk, risk",
    } == dict(told.facts)
    assert ("budget:day", 7, "20000000000") == (
        told.data["subject"],
        told.data["sequence"],
        told.data["limit_nano_usd"],
    )


@pytest.mark.parametrize("kind", NOTICE_KINDS)
def test_every_kind_has_a_title(kind: NoticeKind) -> None:
    """With all that it can say, and with nothing to go by: never a blank or a brace."""
    for body in (
        {},
        {"about": "api.pay", "budget": "day", "threshold": "80%", "agent": "bot", "state": "granted"},
    ):
        title = message(kind, **body).title
        assert title
        assert not {"{", "}"} & set(title)


def test_only_what_waits_for_a_word_asks_for_it() -> None:
    """A request has its link and asks; what became of one has its link alone; all else has neither."""
    link = f"{PAGES}/approvals/acme/apr_1"
    for kind in ("approval_requested", "approval_escalated"):
        asked = message(kind, "approval:apr_1", approval="apr_1", about="api.pay")
        assert (Ask(tenant="acme", approval="apr_1"), (Link(label="Open the request", url=link),)) == (
            asked.ask,
            asked.links,
        )
    answers = [{"by": "ana", "answer": "refuse", "reason": "too dear"}, {"by": "ben", "answer": "grant"}]
    ended = message("approval_decided", "approval:apr_1", approval="apr_1", state="refused", answers=answers)
    assert (None, "warning", "ana refused: too dear; ben approved") == (ended.ask, ended.tone, ended.text)
    assert [link] == [each.url for each in ended.links]
    assert (None, ()) == (message("incident").ask, message("incident").links)


def test_what_is_long_is_cut_and_what_is_odd_stays_text() -> None:
    """Facts are bounded in number and length, and stand on one line; braces are no names of ours."""
    many = {f"fact{n}": "x\n" * FACT_CHARACTERS_MAX for n in range(FACTS_MAX + 5)}
    told = message("incident", about="{budget.__class__} {0} \x00", **many)
    assert FACTS_MAX == len(told.facts)
    assert {FACT_CHARACTERS_MAX} == {len(value) for name, value in told.facts[1:-1]}
    assert ("not shown here", "7 more; see the request") == told.facts[-1]
    assert not any("\n" in value for _, value in told.facts)
    assert told.title.startswith("Incident: {budget.__class__} {0}")


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("approval_requested", "bo asks for $250.00 more for budget loan-day until 2026-11-23 18:00 UTC"),
        (
            "approval_escalated",
            "Still asked: $250.00 more for budget loan-day until 2026-11-23 18:00 UTC, by bo",
        ),
        ("approval_decided", "$250.00 more for budget loan-day until 2026-11-23 18:00 UTC: granted"),
        ("approval_expired", "$250.00 more for budget loan-day until 2026-11-23 18:00 UTC: granted"),
    ],
)
def test_who_asks_for_more(kind: NoticeKind, title: str) -> None:
    """Is told in dollars, with why and how the budget stands."""
    facts = {
        "amount": "$250.00",
        "until_ns": "1795456800000000000",
        "why": "quarter end",
        "limit": "$1,000.00",
        "spent": "$990.00",
        "reserved": "$0.00",
        "left": "$10.00",
        "forecast": "$1,200.00 by the end of the window",
    }
    told = message(
        kind,
        "approval:apr_1",
        approval="apr_1",
        kind="increase",
        state="granted",
        requester="bo",
        about="loan-day",
        facts=facts,
        answers=[],
    )
    assert title == told.title
    is_asked = kind in ("approval_requested", "approval_escalated")
    words = (
        "quarter end; limit $1,000.00, $990.00 spent, $0.00 reserved, $10.00 left, "
        "forecast: $1,200.00 by the end of the window"
    )
    assert (words if is_asked else "") == told.text
