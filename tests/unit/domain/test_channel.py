"""Where a notice goes: each place once, whatever names it."""

from __future__ import annotations

from aegis_gateway.domain.channel import Channel, NotifyRule, Subject, Target, places_of, targets
from aegis_gateway.domain.notice import NoticeKind

OPS = Channel(id="ops", kind="slack", place="C012")
MAIL = Channel(id="mail", kind="email", recipients=("fin@acme.example", "ana@acme.example"))
CHANNELS = {channel.id: channel for channel in (OPS, MAIL)}
DAY = Subject(budget="day", agent="bot", team="desk", owner="ana@acme.example")


def told(*rules: NotifyRule, kind: NoticeKind = "incident", about: Subject = DAY) -> list[tuple[str, str]]:
    """The places that are told of something, by channel and recipient."""
    return [(target.channel, target.recipient) for target in targets(rules, CHANNELS, kind, about)]


def test_each_place_once() -> None:
    """Two rules that name a channel, and an owner who is among a channel's recipients, are one place each."""
    rules = (
        NotifyRule(to=("mail", "owner", "ops")),
        NotifyRule(what=("incident",), budgets=("day",), to=("ops", "owner")),
    )
    assert [("mail", "fin@acme.example"), ("mail", "ana@acme.example"), ("ops", "")] == told(*rules)


def test_what_a_rule_is_for() -> None:
    """All kinds that it names, about any of the budgets, and of the agents, and of the teams; none named is all."""
    rule = NotifyRule(what=("incident", "key_held"), budgets=("day", "week"), teams=("desk",), to=("ops",))
    assert [("ops", "")] == told(rule)
    assert [] == told(rule, kind="limit_changed")
    assert [] == told(rule, about=Subject(budget="day", team="other"))
    assert [] == told(rule, about=Subject(team="desk"))
    assert [] == told(NotifyRule(agents=("other",), to=("ops",)))
    assert [("ops", "")] == told(NotifyRule(to=("ops",)), about=Subject())


def test_an_owner_is_told_by_mail() -> None:
    """Where there is a channel for that, and the owner is an address; a channel that is gone is told of nothing."""
    rule = NotifyRule(to=("owner", "gone"))
    assert [("mail", "ana@acme.example")] == told(rule)
    assert [] == told(rule, about=Subject(owner="the desk"))
    assert [] == told(rule, about=Subject())
    assert () == targets([rule], {"ops": OPS}, "incident", DAY)


def test_places_of_a_channel() -> None:
    """Each recipient of mails is one; another channel is one itself."""
    assert (Target(channel="ops"),) == places_of(OPS)
    assert ["fin@acme.example", "ana@acme.example"] == [each.recipient for each in places_of(MAIL)]
