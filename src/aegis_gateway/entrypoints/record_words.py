"""An entry of the record in one line of words, and where what it is about can be looked at; for commands and pages.

Rule: words are made of what the entry says, and of nothing else; a kind without words of its own is told by its fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from aegis_gateway.application.runs import recorded_run
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.rule_name import OF_POLICIES

Said = Mapping[str, Any]

KIND_WORDS = {
    "decision": "decision",
    "dispatch": "sent",
    "settlement": "settlement",
    "release": "given back",
    "expire": "ran out",
    "doubt": "in doubt",
    "run": "run",
    "outcome": "outcome",
    "configuration": "configuration",
    "proposal": "proposal",
    "approval": "approval",
    "person": "person",
    "agent": "agent",
    "key": "key",
    "budget_change": "budget change",
    "threshold": "threshold",
    "incident": "incident",
    "notification": "notification",
    "review": "review",
}
"""The kinds of entries."""

_EFFECTS = {
    "allow": "was allowed",
    "deny": "was refused",
    "throttle": "was throttled",
    "require_approval": "has to wait for a person’s word",
}
_TEXT_MAX = 200
_SKIPPED = ("v", "type", "tenant", "seq", "time", "call", "actor", "files_sha256", "bundle_sha256")


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry is about, and the address of its page."""

    kind: str
    name: str
    address: str


def line_of(kind: str, said: Said | None) -> str:
    """What an entry says, in one line."""
    if said is None:
        return "what stands here can’t be read"
    tell = _LINES.get(kind)
    return _bounded(tell(said) if tell is not None else _by_fields(said))


def who_of(kind: str, said: Said | None) -> str:
    """Whose act it is: a person, or the agent that called; empty where it is the gateway’s own."""
    if said is None:
        return ""
    if kind == "decision":
        return str(said.get("agent", ""))
    return str(said.get("actor") or said.get("asked_by") or "")


def links_of(tenant: str, call: str | None, said: Said | None) -> list[Link]:
    """What an entry is about that has a page, each once."""
    found = {(each.kind, each.name): each for each in _links(tenant, call, said or {})}
    return list(found.values())


def _links(tenant: str, call: str | None, said: Said) -> Iterator[Link]:
    def link(kind: str, name: object, path: str) -> Link:
        return Link(kind=kind, name=str(name), address=path)

    own = quote(tenant, safe="")
    if call is not None:
        yield link("call", call, f"/calls/{own}/{quote(call, safe='')}")
    if said.get("run"):
        run = recorded_run(str(said["run"]))
        yield link("run", said["run"], f"/runs/{own}/{quote(run.number, safe='')}")
    for leg in said.get("legs") or ():
        if isinstance(leg, dict) and leg.get("budget"):
            yield link("budget", leg["budget"], f"/budgets/{own}/{quote(str(leg['budget']), safe='')}")
    for change in said.get("changes") or ():
        if isinstance(change, dict) and change.get("budget"):
            yield link("budget", change["budget"], f"/budgets/{own}/{quote(str(change['budget']), safe='')}")
    if isinstance(said.get("budget"), str) and said["budget"]:
        yield link("budget", said["budget"], f"/budgets/{own}/{quote(said['budget'], safe='')}")
    if isinstance(said.get("config_version"), int):
        number = said["config_version"]
        yield link("configuration", number, f"/policies/versions/{number}?{urlencode({'tenant': tenant})}")
    for reason in said.get("reasons") or ():
        if reason.get("code") in OF_POLICIES:
            yield link("rule", reason["subject"], f"/policies/{own}/{quote(reason['subject'], safe='')}")
    for finding in said.get("shadow") or ():
        if ":" not in finding["rule"]:
            yield link("rule", finding["rule"], f"/policies/{own}/{quote(finding['rule'], safe='')}")
    approval = said.get("approval")
    name = approval.get("id") if isinstance(approval, dict) else approval
    if isinstance(name, str) and name:
        yield link("approval", name, f"/approvals/{own}/{quote(name, safe='')}")
    if isinstance(said.get("incident"), str):
        yield link("incident", said["incident"], f"/incidents/{own}/{quote(said['incident'], safe='')}")
    if isinstance(said.get("proposal"), int):
        yield link("proposal", said["proposal"], f"/policies/proposals/{said['proposal']}")
    if isinstance(said.get("agent"), str):
        calls = urlencode({"tenant": tenant, "agent": said["agent"], "since": "30d"})
        yield link("agent", said["agent"], f"/calls?{calls}")


def _decision(said: Said) -> str:
    what = (
        f"{said.get('tool')} on {said.get('model') or said.get('connector') or 'nothing that is configured'}"
    )
    first: Said = next(iter(said.get("reasons") or ()), {})
    why = f": {first.get('message', '')}" if first else ""
    rule = f" ({first['subject']})" if first.get("subject") else ""
    return f"{said.get('agent')} {_EFFECTS.get(str(said.get('effect')), 'asked')}, {what}{why}{rule}"


def _settlement(said: Said) -> str:
    whose = said.get("actor") or said.get("evidence")
    over = ", more than was reserved" if said.get("overrun") else ""
    return f"came to {_usd(said.get('cost_nano_usd'))}{over}, on the word of {whose}"


def _configuration(said: Said) -> str:
    back = f", back to {said['back_to']}" if said.get("back_to") is not None else ""
    canary = " as a canary" if said.get("canary") else ""
    author = f", proposed by {said['author']}" if said.get("author") else ""
    note = f": {said['note']}" if said.get("note") else ""
    return f"configuration {said.get('config_version')} was applied{canary}{back}, by {said.get('actor')}{author}{note}"


def _run(said: Said) -> str:
    whose = said.get("for") or said.get("agent")
    event = said.get("event")
    if event == "ended":
        return f"{said.get('actor')} ended a run of {whose}, and {said.get('below', 0)} below it"
    why = next((each.get("message") for each in said.get("reasons") or ()), "")
    return f"a run of {whose} was {event}" + (f": {why}" if event == "refused" and why else "")


def _outcome(said: Said) -> str:
    again = " anew" if said.get("event") == "replaced" else ""
    name = f": {said['name']}" if said.get("name") else ""
    return (
        f"{said.get('agent')} reported{again} that a run came to {said.get('result') or 'nothing yet'}{name}"
    )


def _agent(said: Said) -> str:
    agent = said.get("agent")
    name = agent.get("id") if isinstance(agent, dict) else agent
    return f"agent {name} was registered or changed, by {said.get('actor')}"


_ACTS = {
    "add": "was added",
    "grant": "was granted",
    "withdraw": "was withdrawn",
    "suspend": "was suspended",
    "resume": "was let back",
    "issue_token": "was issued a token",
    "issue_link": "was given a link to sign in",
    "revoke_token": "had a token revoked",
    "away": "is away",
    "back": "is back",
    "issue": "was issued",
    "rotate": "was rotated",
    "revoke": "was revoked",
    "throttle": "was throttled",
    "adopt": "was adopted",
    "hold": "was held",
    "restore": "was restored",
    "would_hold": "would have been held",
    "propose": "was made",
    "emergency": "was put in force at once",
    "approve": "was approved",
    "refuse": "was refused",
    "review": "was reviewed",
    "request": "wants a word",
    "use": "was used",
    "expire": "ran out",
    "lapse": "lapsed",
    "escalate": "was put before others",
    "open": "was opened",
    "close": "was closed",
    "retry": "was tried again",
    "test": "was tested",
}


def _act(what: str, *about: str) -> Any:
    def tell(said: Said) -> str:
        named = [f"{said[each]}" for each in about if said.get(each) not in (None, "")]
        act = str(said.get("act", "changed"))
        done = _ACTS.get(act, act.replace("_", " "))
        more = f" ({', '.join(named[1:])})" if named[1:] else ""
        by = f", by {said['actor']}" if said.get("actor") else ""
        why = said.get("reason") or said.get("note")
        return f"{' '.join((what, *named[:1]))} {done}{more}{by}{f': {why}' if why else ''}"

    return tell


def _budget_change(said: Said) -> str:
    changes = "; ".join(
        f"{each.get('budget')} {each.get('limit_before')} → {each.get('limit_after')} {each.get('unit')}"
        for each in said.get("changes") or ()
    )
    by = said.get("approver") or said.get("actor")
    return f"limit {str(said.get('act')).replace('_', ' ')}: {changes}, by {by}" + (
        f": {said['reason']}" if said.get("reason") else ""
    )


def _threshold(said: Said) -> str:
    return (
        f"budget {said.get('budget')} {said.get('act')} its threshold {said.get('threshold') or ''}".rstrip()
    )


_LINES: dict[str, Any] = {
    "decision": _decision,
    "settlement": _settlement,
    "dispatch": lambda said: "was sent",  # noqa: ARG005  # of one form with the others
    "release": lambda said: f"was given back: {said.get('reason', '')}",
    "expire": lambda said: f"ran out: {said.get('reason', '')}",
    "doubt": lambda said: f"is in doubt: {said.get('reason', '')}",
    "configuration": _configuration,
    "run": _run,
    "outcome": _outcome,
    "agent": _agent,
    "budget_change": _budget_change,
    "threshold": _threshold,
    "key": _act("key", "key", "agent", "budget", "scope"),
    "person": _act("person", "person", "role", "tenant", "token"),
    "proposal": _act("proposal", "proposal"),
    "approval": _act("approval", "approval", "about"),
    "incident": _act("incident", "incident", "subject"),
    "notification": _act("notification", "channel"),
    "review": lambda said: f"spending was reviewed, by {said.get('actor')}: {said.get('note', '')}",
}


def _by_fields(said: Said) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in said.items()
        if name not in _SKIPPED and isinstance(value, str | int) and value != ""
    )


def _bounded(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _TEXT_MAX else f"{words[: _TEXT_MAX - 1]}…"


def _usd(amount: object) -> str:
    return usd_text(int(str(amount))) if str(amount or "").lstrip("-").isdigit() else "nothing that is known"
