"""Entries are told in one line each, whatever they are about; what callers sent is taken for no more than it is."""

from __future__ import annotations

import pytest

from aegis_gateway.domain.record_search import EntryFilter
from aegis_gateway.entrypoints.record_words import KIND_WORDS, line_of, links_of, who_of

REFUSED = {
    "effect": "deny",
    "agent": "bot",
    "tool": "chat",
    "model": "gpt",
    "reasons": [{"code": "denied_by_policy", "message": "never\nagain", "subject": "no"}],
    "config_version": 3,
    "run": "run_abcdefghijklmnopqrst",
    "legs": [{"budget": "day/1"}],
    "arguments": {"summary": {"agent": "clerk", "budget": "plenty"}},
}


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        ("decision", REFUSED, "bot was refused, chat on gpt: never again (no)"),
        ("decision", {}, "None asked, None on nothing that is configured"),
        (
            "settlement",
            {"cost_nano_usd": "30", "evidence": "usage", "overrun": True},
            "came to $0.00000003, more than was reserved, on the word of usage",
        ),
        (
            "configuration",
            {"config_version": 4, "actor": "ana", "back_to": 2, "note": "too much"},
            "configuration 4 was applied, back to 2, by ana: too much",
        ),
        (
            "key",
            {"act": "revoke", "key": "key_1", "agent": "bot", "actor": "ana"},
            "key key_1 was revoked (bot), by ana",
        ),
        (
            "budget_change",
            {
                "act": "increase",
                "approver": "ben",
                "reason": "x",
                "changes": [{"budget": "day", "limit_before": "1", "limit_after": "2", "unit": "usd"}],
            },
            "limit increase: day 1 → 2 usd, by ben: x",
        ),
        (
            "run",
            {"event": "ended", "for": "bot", "actor": "ana", "below": 2},
            "ana ended a run of bot, and 2 below it",
        ),
        (
            "outcome",
            {"event": "replaced", "agent": "bot", "run": "run_a", "result": "success", "name": "refund"},
            "bot reported anew that a run came to success: refund",
        ),
        (
            "review",
            {"act": "review", "actor": "ana", "note": "as planned"},
            "spending was reviewed, by ana: as planned",
        ),
        ("of tomorrow", {"v": 1, "colour": "red", "parts": 3}, "colour red, parts 3"),
        ("decision", None, "what stands here can’t be read"),
    ],
)
def test_in_one_line(kind: str, said: dict[str, object] | None, words: str) -> None:
    """Each kind in words of its own; one that nobody knows by its fields."""
    assert words == line_of(kind, said)


def test_every_kind_is_told_whatever_it_lacks() -> None:
    """Nothing is missed so badly that there is no line; none is longer than a line."""
    for kind in KIND_WORDS:
        assert len(line_of(kind, {"act": "a" * 500, "reason": "b" * 500})) <= 200


def test_whose_and_about_what() -> None:
    """The agent's where it called, else the actor's; what has a page is led to, each once."""
    assert ("bot", "ana", "") == (
        who_of("decision", REFUSED),
        who_of("key", {"actor": "ana"}),
        who_of("settlement", {}),
    )
    links = {(each.kind, each.address) for each in links_of("acme", "call/1", REFUSED)}
    assert {
        ("call", "/calls/acme/call%2F1"),
        ("budget", "/budgets/acme/day%2F1"),
        ("configuration", "/policies/versions/3?tenant=acme"),
        ("rule", "/policies/acme/no"),
        ("agent", "/calls?tenant=acme&agent=bot&since=30d"),
    } < links
    assert [] == links_of("acme", None, None)


def test_arguments_are_no_subjects() -> None:
    """An argument that is named as a field of the gateway's is none."""

    def fits(**wanted: str) -> bool:
        return EntryFilter(**wanted).fits("decision", "c", b"", lambda _: REFUSED)  # type: ignore[arg-type]  # of texts

    assert (True, False) == (fits(agent="bot"), fits(agent="clerk"))
    assert (True, False) == (fits(budget="day/1"), fits(budget="plenty"))
    assert (True, False) == (fits(who="bot"), fits(who="clerk"))
    assert (True, True, False) == (fits(rule="no"), fits(kind="decision"), fits(kind="key"))
