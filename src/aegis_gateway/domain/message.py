"""Messages: what people are told, in no channel's form yet.

Rule: a message is made of a notice alone (and of what things are called), once, when it is passed on: every channel and
      every try tells the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import msgspec

from aegis_gateway.domain.legible import legible
from aegis_gateway.domain.moment import minute_text
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.notice import Notice, NoticeKind

Tone = Literal["plain", "good", "attention", "warning"]

FACTS_MAX = 24
FACT_CHARACTERS_MAX = 400

_NANO_USD = "_nano_usd"
_NS = "_ns"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Where there is more, or where something can be done."""

    label: str
    url: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What can be answered where the channel takes answers: a request for a person's word."""

    tenant: str
    approval: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What people are told: a title, a sentence or two, facts by name, links; `ask` where their word is wanted.

    `data` are the facts as programs read them, in smallest units.
    """

    title: str
    text: str = ""
    tone: Tone = "plain"
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()
    ask: Ask | None = None
    tenant: str = ""
    at_ns: int = 0
    data: dict[str, object] = {}


_TITLES: dict[NoticeKind, tuple[str, Tone]] = {
    "approval_requested": ("Approval wanted: {about}", "attention"),
    "approval_escalated": ("Approval still wanted: {about}", "warning"),
    "approval_decided": ("Approval {state}: {about}", "good"),
    "approval_expired": ("Approval {state}: {about}", "plain"),
    "threshold_passed": ("Budget {budget} has passed {threshold}", "attention"),
    "threshold_undone": ("Budget {budget} is below {threshold} again", "good"),
    "budget_exhausted": ("Budget {budget} is exhausted", "warning"),
    "limit_changed": ("The limit of budget {budget} has changed", "plain"),
    "key_held": ("A key of {agent} is held", "warning"),
    "key_restored": ("A key of {agent} works again", "good"),
    "keys_in_shadow": ("In shadow: budget {budget} {would}", "plain"),
    "incident": ("Incident: {about}", "warning"),
}

_WAYS = {"slack": " in Slack", "page": " on the page", "cli": " by command", "api": " by the API"}

_TITLES_OF_ASKS: dict[NoticeKind, str] = {
    "approval_requested": "{requester} asks for {amount} more for budget {about} {until}",
    "approval_escalated": "Still asked: {amount} more for budget {about} {until}, by {requester}",
    "approval_decided": "{amount} more for budget {about} {until}: {state}",
    "approval_expired": "{amount} more for budget {about} {until}: {state}",
}
"""Titles of requests for more of a budget."""

_AS_GIVEN = ("arguments", "changed")
"""Facts in an agent's own words: their names have no units of ours, and their values are told as they are."""

_SAID = ("about", "state", "approval", "group", "asked", "answers", "away", "facts", "kind", "level", "link")
"""What of a notice's body is not a fact by itself: it stands elsewhere in the message."""


def message_of(notice: Notice, tenant_name: str, pages_url: str) -> Message:
    """The message that a notice is."""
    body = notice.body
    words, tone = _words(notice)
    if notice.kind == "approval_decided" and body.get("state") == "refused":
        tone = "warning"
    _, _, name = notice.subject.partition(":")
    named = _Named(
        {"about": name, "budget": name, "agent": name, "state": "decided", "threshold": "a threshold"}
    )
    named |= {key: _text(key, value) for key, value in body.items() if isinstance(value, str | int)}
    named |= _asked_for(body)
    facts = [("tenant", tenant_name), *_facts(body)]
    return Message(
        title=_short(words.format_map(named)),
        text=_answers(body) or _wish(notice),
        tone=tone,
        facts=_bounded(facts),
        links=tuple(_links(notice, pages_url)),
        ask=_ask(notice),
        tenant=notice.tenant,
        at_ns=notice.at_ns,
        data={"subject": notice.subject, "sequence": notice.sequence, **body},
    )


def bare_message(notice: Notice, tenant_name: str, pages_url: str) -> Message:
    """What can be told of any notice: that there is one, of what, and where to look."""
    return Message(
        title=_short(f"{notice.kind.replace('_', ' ')}: {notice.subject}"),
        text="What it says can't be shown here; the record has it.",
        facts=(("tenant", tenant_name), ("record", str(notice.sequence))),
        links=tuple(_links(notice, pages_url)),
        ask=_ask(notice),
        tenant=notice.tenant,
        at_ns=notice.at_ns,
        data={"subject": notice.subject, "sequence": notice.sequence},
    )


def _words(notice: Notice) -> tuple[str, Tone]:
    """The title of a notice, with what stands in braces yet to be named."""
    words, tone = _TITLES[notice.kind]
    if notice.body.get("kind") == "increase":
        words = _TITLES_OF_ASKS.get(notice.kind, words)
    return words, tone


def _bounded(facts: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """As many as there is room for, and in the place of the last how many are left out."""
    if len(facts) <= FACTS_MAX:
        return tuple(facts)
    kept = facts[: FACTS_MAX - 1]
    return (*kept, ("not shown here", f"{len(facts) - len(kept)} more; see the request"))


class _Named(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return key


def _asked_for(body: Mapping[str, object]) -> dict[str, str]:
    """How much more is asked for, and until when, where that is what a notice is about."""
    facts = body.get("facts")
    if body.get("kind") != "increase" or not isinstance(facts, Mapping):
        return {}
    until = f"until {_text('until_ns', facts['until_ns'])}" if "until_ns" in facts else "for good"
    return {"amount": str(facts.get("amount")), "until": until}


def _wish(notice: Notice) -> str:
    """Why more is asked for, and how the budget stands."""
    facts = notice.body.get("facts")
    if notice.body.get("kind") != "increase" or _ask(notice) is None or not isinstance(facts, Mapping):
        return ""
    stands = [f"{facts[name]} {name}" for name in ("spent", "reserved", "left") if name in facts]
    if "forecast" in facts:
        stands.append(f"forecast: {facts['forecast']}")
    limit = f"limit {facts.get('limit')}"
    return _short(f"{facts.get('why')}; {', '.join((limit, *stands))}")


def _ask(notice: Notice) -> Ask | None:
    approval = notice.body.get("approval")
    if notice.kind not in ("approval_requested", "approval_escalated") or not isinstance(approval, str):
        return None
    return Ask(tenant=notice.tenant, approval=approval)


def _links(notice: Notice, pages_url: str) -> Iterator[Link]:
    approval = notice.body.get("approval")
    if isinstance(approval, str):
        label = "Open the request" if _ask(notice) else "See what became of it"
        yield Link(label=label, url=f"{pages_url}/approvals/{notice.tenant}/{approval}")


def _answers(body: Mapping[str, object]) -> str:
    """Who said what about a request for somebody's word."""
    answers = body.get("answers")
    said = []
    for answer in answers if isinstance(answers, list | tuple) else ():
        if isinstance(answer, Mapping):
            word = "approved" if answer.get("answer") == "grant" else "refused"
            reason = f": {answer['reason']}" if answer.get("reason") else ""
            way = _WAYS.get(str(answer.get("via")), "")
            said.append(f"{answer.get('by')} {word}{_in_stead(answer)}{way}{reason}")
    return _short("; ".join(said))


def _in_stead(answer: Mapping[str, object]) -> str:
    people = answer.get("in_stead_of")
    return f" in the stead of {' and '.join(map(str, people))}" if isinstance(people, list) and people else ""


def _facts(body: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    told = {name: value for name, value in body.items() if name not in _SAID}
    more = body.get("facts")
    if isinstance(more, Mapping):
        told |= more
    # The agent's own words come last: however many there are, they leave out nothing of ours.
    for name in [name for name in told if name not in _AS_GIVEN]:
        value = told[name]
        if name in _IN_WORDS and isinstance(value, list | tuple):
            value = [_IN_WORDS[name](each) if isinstance(each, Mapping) else each for each in value]
        yield from _fact(name, value)
    for name in [name for name in told if name in _AS_GIVEN]:
        yield from _given(name, told[name])


def _budget(budget: Mapping[str, object]) -> str:
    """What is left of a budget, where that is money: its amounts have no unit in their names."""
    left, limit = _number(budget.get("left")), _number(budget.get("limit"))
    if budget.get("quantity") != "usd" or left is None or limit is None:
        return str(budget.get("budget"))
    return f"{budget.get('budget')} {usd_text(left)} of {usd_text(limit)} left"


def _policy(policy: Mapping[str, object]) -> str:
    return str(policy.get("words") or policy.get("id"))


_IN_WORDS: dict[str, Callable[[Mapping[str, object]], str]] = {"budgets": _budget, "policies": _policy}
"""Facts that are lists of things, each of which has words of its own."""


def _fact(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for inner, found in value.items():
            yield from _fact(f"{name} {inner}", found)
    elif isinstance(value, list | tuple):
        if value:
            yield _label(name), _short(", ".join(_text(name, each) for each in value))
    elif value is not None and value != "":
        yield _label(name), _short(_text(name, value))


def _given(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for inner, found in value.items():
            if found is not None and found != "":
                yield _short(f"{name} {inner}"), _short(_as_given(found))


def _as_given(value: object) -> str:
    if isinstance(value, Mapping) and value.keys() == {"was", "is"}:
        return f"was {_as_given(value['was'])}, is {_as_given(value['is'])}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _label(name: str) -> str:
    return name.removesuffix(_NANO_USD).removesuffix(_NS).replace("_", " ")


def _text(name: str, value: object) -> str:
    """A value as people write it; the unit is told by the name's end. Amounts may be texts, as entries have them."""
    if name.endswith((_NANO_USD, _NS)) and (number := _number(value)) is not None:
        return usd_text(number) if name.endswith(_NANO_USD) else minute_text(number)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(str(key), each)}" for key, each in value.items())
    return str(value)


def _number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    return None


def _short(text: str) -> str:
    clean = legible(" ".join(text.split()))
    return clean if len(clean) <= FACT_CHARACTERS_MAX else f"{clean[: FACT_CHARACTERS_MAX - 1]}…"
