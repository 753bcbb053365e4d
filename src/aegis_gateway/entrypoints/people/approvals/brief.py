"""A request for a person's word, as people read it: who wants what, how much, what stands out, what a no means.

Pure: requests, registry and balances come in, a `Brief` goes out, which pages and the control API show.

Rule: nothing is guessed. What stands out is compared with what is on record, and says with what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import BudgetStanding, CallReport
from aegis_gateway.application.approvals import UNATTENDED
from aegis_gateway.domain.approval import Approval, ApprovalState, refusal_to_answer
from aegis_gateway.domain.deputies import Attendance, Missing, is_unattended, missing, word_of
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.people import Person
from aegis_gateway.domain.registry import Agent, Quantity
from aegis_gateway.entrypoints.people.words import plural, span, utc

ARGUMENTS, POLICIES, RISK = "arguments", "policies", "risk"
_TOLD_ELSEWHERE = frozenset(
    (
        *(
            ARGUMENTS,
            POLICIES,
            RISK,
            "agent",
            "team",
            "owner",
            "purpose",
            "budgets",
            "changed",
            "tool",
            "model",
        ),
        *("expected_nano_usd", "maximum_nano_usd", "amount", "until", "until_ns", "why", "moves"),
    )
)
"""Facts that have a place of their own on a page."""
_VALUE_CHARACTERS_MAX = 2_000
_TIMES_STANDS_OUT = 2
_FULL_PERCENT = 90

STATE_WORDS: dict[ApprovalState, str] = {
    "waiting": "waits",
    "granted": "approved",
    "refused": "refused",
    "expired": "expired",
    "withdrawn": "withdrawn",
    "used": "approved and used",
    "lapsed": "approved, not used in time",
}


class ArgumentBrief(msgspec.Struct, frozen=True, kw_only=True):
    """One argument; `before` is what it was in the last request like this, None where it was the same."""

    name: str
    value: str
    before: str | None = None


class BudgetBrief(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that the call would count on, as it stands now; `asked` of it are what the call can come to at most.

    Amounts are in the quantity's smallest unit. The last four are for its bar, in thousandths of the limit.
    """

    budget: str
    scope: str
    owner: str
    quantity: Quantity
    limit: int
    spent: int
    reserved: int
    asked: int
    ends_ns: int | None

    @property
    def left(self) -> int:
        """What is left of it now."""
        return self.limit - self.spent - self.reserved

    @property
    def left_after(self) -> int:
        """What is left of it if the call is made and costs all that it can."""
        return self.left - self.asked

    @property
    def bar(self) -> tuple[int, int, int]:
        """How wide what is spent, what is reserved and what is asked are, in thousandths; together 1,000 at most."""
        parts: list[int] = []
        for amount in (self.spent, self.reserved, self.asked):
            share = 1_000 * max(0, amount) // self.limit if self.limit > 0 else 1_000
            parts.append(min(share, 1_000 - sum(parts)))
        return parts[0], parts[1], parts[2]


class PolicyBrief(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that asks, and its author's words."""

    policy: str
    words: str


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """What is known besides the request itself.

    `before` is the request of the same agent about the same thing before this one, `calls` its last calls of it, the
    newest first, since `calls_since`; `group` are requests that are told together with it, and wait.
    """

    agent: Agent | None = None
    before: Approval | None = None
    calls: tuple[CallReport, ...] = ()
    calls_days: int = 7
    standings: tuple[BudgetStanding, ...] = ()
    quantities: Mapping[str, Quantity] = {}
    group: tuple[Approval, ...] = ()
    many_tenants: bool = False
    attendance: Attendance = Attendance(people={}, away={})


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """All that a page shows of a request. `may_not` is why whoever looks may not answer it; empty if they may.

    `away` are those who are asked and away, `in_stead_of` for whom of them the reader's word counts; `unattended` says
    why nobody can grant it as it stands, if nobody can.
    """

    approval: Approval
    state: ApprovalState
    state_words: str
    title: str
    agent: Agent | None
    arguments: tuple[ArgumentBrief, ...]
    gone: tuple[str, ...]
    compared: Approval | None
    facts: tuple[tuple[str, str], ...]
    policies: tuple[PolicyBrief, ...]
    stands_out: tuple[str, ...]
    budgets: tuple[BudgetBrief, ...]
    if_yes: str
    if_no: str
    asked: str
    group: tuple[Approval, ...]
    may_not: str
    many_tenants: bool
    away: tuple[Missing, ...] = ()
    in_stead_of: tuple[str, ...] = ()
    unattended: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether an answer still counts."""
        return self.state == "waiting"

    @property
    def group_maximum_nano_usd(self) -> int | None:
        """What all that are told together can come to at most; None where one has no maximum."""
        return _total(each.maximum_nano_usd for each in self.group)


def brief_of(
    approval: Approval, background: Background, reader: Person, behind: tuple[str, ...], now_ns: int
) -> Brief:
    """A request as somebody reads it now."""
    state = state_now(approval, now_ns)
    before = background.before
    arguments, gone = _arguments(approval, before)
    budgets = tuple(_budget(each, approval, background.quantities) for each in background.standings)
    attendance, is_waiting = background.attendance, state == "waiting"
    word = word_of(approval, reader, attendance)
    may_not = refusal_to_answer(approval, reader.id, behind, word.meets, word.why_none) if is_waiting else ""
    is_stuck = is_waiting and is_unattended(approval, attendance)
    return Brief(
        approval=approval,
        state=state,
        state_words=STATE_WORDS[state],
        title=title_of(approval),
        agent=background.agent,
        arguments=arguments,
        gone=gone,
        compared=before if isinstance(_given(before), dict) else None,
        facts=_other_facts(approval.facts),
        policies=_policies(approval),
        stands_out=tuple(_stands_out(approval, background, arguments, budgets)),
        budgets=budgets,
        if_yes=_if_yes(approval),
        if_no=_if_no(approval),
        asked=", ".join(group.name for group in approval.route.asked(approval.level)),
        group=background.group,
        may_not=may_not,
        many_tenants=background.many_tenants,
        away=missing(approval, attendance) if is_waiting else (),
        in_stead_of=word.in_stead_of if is_waiting and not may_not else (),
        unattended=UNATTENDED if is_stuck else "",
    )


def state_now(approval: Approval, now_ns: int) -> ApprovalState:
    """How a request stands at an instant, also where nobody has written down yet that its time is over."""
    match approval.due(now_ns):
        case "expire":
            return "expired"
        case "lapse":
            return "lapsed"
        case _:
            return approval.state


def title_of(approval: Approval) -> str:
    """What is asked, in a few words."""
    match approval.kind:
        case "call":
            tool, _, model = approval.about.partition(":")
            return f"{approval.requester} wants to call {model or tool}"
        case "increase":
            return f"{approval.requester} asks for {_more(approval)}"
        case "limit":
            return f"A new limit is proposed for {approval.about}"
        case "measure":
            return f"{approval.about} has reached a threshold that wants a person’s word"


def _more(approval: Approval) -> str:
    """What is asked for: `$250.00 more on loan-day, until 29 Nov 2026, 14:05:09 UTC`."""
    facts = approval.facts
    until = f"until {utc(int(str(facts['until_ns'])))}" if "until_ns" in facts else "for good"
    return f"{facts.get('amount', '')} more on {approval.about}, {until}"


def total_maximum(approvals: Iterable[Approval]) -> int | None:
    """What some can come to together; None where one has no maximum."""
    return _total(each.maximum_nano_usd for each in approvals)


def _total(amounts: Iterable[int | None]) -> int | None:
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _given(approval: Approval | None) -> object:
    return approval.facts.get(ARGUMENTS) if approval is not None else None


def _arguments(
    approval: Approval, before: Approval | None
) -> tuple[tuple[ArgumentBrief, ...], tuple[str, ...]]:
    """The arguments as they were recorded (redacted), with what they were before; and those that are gone since."""
    now, then = flat(_given(approval)), flat(_given(before))
    is_compared = isinstance(_given(before), dict)
    arguments = tuple(
        ArgumentBrief(
            name=name,
            value=value,
            before=then.get(name, "") if is_compared and then.get(name) != value else None,
        )
        for name, value in now.items()
    )
    return arguments, tuple(name for name in then if name not in now)


def flat(value: object, path: str = "") -> dict[str, str]:
    """Arguments by their paths, as `items[0].price`; each as a text."""
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= flat(inner, f"{path}.{name}" if path else str(name))
        return found or ({path: "{}"} if path else {})
    if isinstance(value, list):
        found = {}
        for place, inner in enumerate(value):
            found |= flat(inner, f"{path}[{place}]")
        return found or ({path: "[]"} if path else {})
    if value is None:
        return {path or "value": "null"} if path else {}
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return {path or "value": text[:_VALUE_CHARACTERS_MAX]}


def _policies(approval: Approval) -> tuple[PolicyBrief, ...]:
    """The policies that ask, in their authors' words as they were then."""
    told = approval.facts.get(POLICIES)
    words = {
        str(each.get("id")): str(each.get("words") or "")
        for each in (told if isinstance(told, list) else [])
        if isinstance(each, dict)
    }
    return tuple(PolicyBrief(policy=name, words=words.get(name, "")) for name in approval.policies)


def _other_facts(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What else there is to know, as it was recorded."""
    rest = {name: value for name, value in facts.items() if name not in _TOLD_ELSEWHERE}
    return tuple((path.replace("_", " "), text) for path, text in flat(rest).items())


def _budget(standing: BudgetStanding, approval: Approval, quantities: Mapping[str, Quantity]) -> BudgetBrief:
    budget = standing.budget
    quantity = quantities[budget.quantity]
    counts_cost = budget.quantity == "usd" and approval.kind == "call"
    return BudgetBrief(
        budget=budget.id,
        scope=standing.scope,
        owner=budget.owner,
        quantity=quantity,
        limit=standing.limit,
        spent=standing.spent,
        reserved=standing.reserved,
        asked=(approval.maximum_nano_usd or 0) if counts_cost else 0,
        ends_ns=None if budget.period in ("once", "rolling") else standing.window.ends_ns,
    )


def _stands_out(
    approval: Approval,
    background: Background,
    arguments: Iterable[ArgumentBrief],
    budgets: Iterable[BudgetBrief],
) -> Iterable[str]:
    """What is unusual, in sentences: what was noted when it was asked, and what is known by now."""
    noted = approval.facts.get(RISK)
    for risk in noted if isinstance(noted, list) else []:
        words = str(risk).replace("`", "")
        yield f"{words[:1].upper()}{words[1:]}."
    for each in budgets:
        if each.left_after < 0:
            yield f"It may cost more than budget {each.budget} has left, and would then be refused after all."
        elif each.limit > 0 and 100 * (each.limit - each.left_after) // each.limit >= _FULL_PERCENT:
            percent = 100 * (each.limit - each.left_after) // each.limit
            yield f"Budget {each.budget} would then be used to {percent} %."
    for argument in arguments:
        times = _times(argument.value, argument.before)
        if times is not None:
            yield f"{argument.name} is {times} times what it was in the last request ({argument.before})."
    if approval.kind == "call":
        yield from _against_calls(approval, background)
    if len(background.group) > 1:
        yield f"{len(background.group)} requests like this wait at once."


def _against_calls(approval: Approval, background: Background) -> Iterable[str]:
    days = f"the last {background.calls_days} days"
    if not background.calls:
        yield f"{approval.requester} has not called {approval.about} in {days}."
        return
    costs = [
        cost
        for call in background.calls
        if call.effect == "allow" and (cost := call.counted_nano_usd) is not None
    ]
    maximum = approval.maximum_nano_usd
    if costs and maximum is not None and maximum > max(costs) > 0:
        yield (
            f"At most {usd_short(maximum)} is more than any of its {plural(len(costs), 'call')} of it "
            f"in {days} ({usd_short(max(costs))} at most)."
        )
    refused = sum(call.effect == "deny" for call in background.calls)
    if refused:
        yield f"{plural(refused, 'such call')} of it {'was' if refused == 1 else 'were'} refused in {days}."


def _times(value: str, before: str | None) -> str | None:
    """How many times a number is what it was, where that is a lot."""
    if not before:
        return None
    try:
        now, then = Decimal(value), Decimal(before)
        if not (now.is_finite() and then.is_finite()) or then <= 0 or now < _TIMES_STANDS_OUT * then:
            return None
        return f"{(now / then).quantize(Decimal(1)):,}"
    except ArithmeticError:  # it is no number, or one beyond all that can be compared
        return None


def _if_yes(approval: Approval) -> str:
    valid = span(approval.route.valid_for_ns)
    match approval.kind:
        case "call":
            bound = (
                f", at no more than {usd_short(approval.maximum_nano_usd)}"
                if approval.maximum_nano_usd
                else ""
            )
            return (
                f"{approval.requester} may make exactly this call, once, within {valid}{bound}. "
                "Budgets, rates and policies are asked again then."
            )
        case "measure":
            return "What was held is let go on, until the next threshold."
        case "increase":
            return f"The limit is raised at once: {_more(approval)}. The very next call is decided by it."
        case "limit":
            return "The new limit holds from now on, for as long as it says."


def _if_no(approval: Approval) -> str:
    match approval.kind:
        case "call":
            return (
                f"The call isn’t made, and {approval.requester} is told so, with your reason. Nothing is charged: "
                "nothing is reserved while it waits. Without an answer the same happens at the deadline."
            )
        case "measure":
            return "It stays held. Without an answer it does so too."
        case "increase" | "limit":
            return "The limit stays as it is. Without an answer it does so too."
