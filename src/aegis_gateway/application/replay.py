"""Replay: what a changed configuration would have done to recorded traffic.

Rule 1: what is told of a call is how its decision would differ from the recorded one. Where the version in force, run
        over the same calls, already decides so, it is not the change that does it, and it is told apart.
Rule 2: the same calls give the same report: nothing of it comes from a clock, and everything is sorted.
Rule 3: limits are what they were at each call: configured by the version that is run, with what had been done to them.
Rule 4: calls are read as they stand in the record, one after the other; what is kept grows with balances, calls under
        way and different findings, never with the number of calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

from aegis_gateway.application.recorded import (
    RecordedDecision,
    RecordedSettlement,
    decision_of,
    settlement_of,
)
from aegis_gateway.application.rerun import UNCHANGED, Outcome, Rerun
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.rule_name import rule_of

EXAMPLES_MAX = 3
FORGET_EVERY = 65_536
"""After how many entries what no call can look at any more is forgotten."""

RecordedEntry = tuple[int, int, str, str, bytes]
"""An entry: its place, when, its type, the call that it is about, its canonical bytes."""

Kind = Literal["refused", "throttled", "asked", "allowed", "model", "output_limit", "reason"]
"""How a decision differs: an allowed call is refused, throttled or put before a person; a call that wasn't is allowed;
another model is called, with another output limit; a refused call is refused for another reason.
"""
DENIALS: tuple[Kind, ...] = ("refused", "throttled", "asked")
_DENIAL_OF: dict[str, Kind] = {"deny": "refused", "throttle": "throttled", "require_approval": "asked"}


class Traffic(Protocol):
    """The record of one tenant, to be read in order."""

    def first_since(self, instant_ns: int) -> tuple[int, int] | None:
        """Place and time of the first call that was decided at an instant or later."""

    def entries(self, first: int) -> Iterator[RecordedEntry]:
        """All entries about calls from a place on, up to where the record ended when it was begun to be read."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one agent whose decision differs in the same way, because of the same rule.

    `nano_usd` is what they cost (open ones: at most) where they would be refused, what they were expected to cost where
    they would be allowed, and how much less is expected where less would be called.
    """

    kind: Kind
    rule: str
    code: str
    agent: str
    was_code: str
    was_rule: str
    calls: int
    nano_usd: int
    examples: tuple[str, ...]


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that could not be decided on some calls, and the arguments of which tools the record lacks for it."""

    rule: str
    calls: int
    missing: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found. `changes` are the change's own; `already` is what the version in force does alike.

    `in_force` is where that, replayed, differs from the record, with `other_versions`: on calls that were decided under
    another version. `as_recorded` are calls that were taken as they were, by their codes.
    """

    tenant: str
    calls: int
    first_sequence: int
    last_sequence: int
    first_ns: int
    last_ns: int
    changes: tuple[Change, ...] = ()
    already: tuple[Change, ...] = ()
    undecided_calls: int = 0
    undecided: tuple[Open, ...] = ()
    in_force: tuple[Change, ...] = ()
    in_force_undecided_calls: int = 0
    other_versions: int = 0
    as_recorded: tuple[tuple[str, int], ...] = ()

    @property
    def new_denials(self) -> int:
        """How many calls that were allowed the change would not let pass."""
        return sum(change.calls for change in self.changes if change.kind in DENIALS)


class _Group:
    """Calls that differ alike, while they are counted."""

    def __init__(self) -> None:
        self.calls = 0
        self.nano_usd = 0
        self.examples: list[str] = []

    def add(self, call: str) -> None:
        self.calls += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(call)


class _Tally:
    """Differences, grouped. What calls cost is added when the record says so."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Kind, str, str, str, str, str], _Group] = {}
        self._waiting: dict[str, tuple[_Group, int]] = {}

    def add(self, decision: RecordedDecision, was: Outcome, now: Outcome, kind: Kind) -> None:
        key = (kind, now.rule, now.code, decision.agent, was.code, was.rule)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        group.add(decision.call)
        quote = decision.quote
        if kind == "allowed":
            group.nano_usd += now.expected_nano_usd
        elif kind in ("model", "output_limit") and quote is not None:
            group.nano_usd += quote.expected.get(USD, 0) - now.expected_nano_usd
        elif kind in DENIALS:
            most = 0 if quote is None else quote.maximum.get(USD, quote.expected.get(USD, 0))
            self._waiting[decision.call] = (group, most)

    def cost(self, call: str, nano_usd: int) -> None:
        """Note what a call came to."""
        waiting = self._waiting.pop(call, None)
        if waiting is not None:
            waiting[0].nano_usd += nano_usd

    def changes(self) -> tuple[Change, ...]:
        """All that was found, the dearest first. What is still open counts at its maximum."""
        for group, most in self._waiting.values():
            group.nano_usd += most
        self._waiting.clear()
        found = [
            Change(
                kind=kind,
                rule=rule,
                code=code,
                agent=agent,
                was_code=was_code,
                was_rule=was_rule,
                calls=group.calls,
                nano_usd=group.nano_usd,
                examples=tuple(group.examples),
            )
            for (kind, rule, code, agent, was_code, was_rule), group in self._groups.items()
        ]
        return tuple(
            sorted(
                found,
                key=lambda each: (
                    each.kind,
                    each.rule,
                    -each.nano_usd,
                    each.agent,
                    each.code,
                    each.was_code,
                    each.was_rule,
                ),
            )
        )


class _Undecided:
    """Policies that could not be decided, while they are counted."""

    def __init__(self) -> None:
        self.calls = 0
        self._groups: dict[str, tuple[_Group, set[tuple[str, str]]]] = {}

    def add(self, decision: RecordedDecision, outcome: Outcome) -> None:
        self.calls += 1
        for each in outcome.undecided:
            group, missing = self._groups.setdefault(each.rule, (_Group(), set()))
            group.add(decision.call)
            missing.update((decision.tool, argument) for argument in each.missing)

    def found(self) -> tuple[Open, ...]:
        return tuple(
            Open(
                rule=rule,
                calls=group.calls,
                missing=tuple(sorted(missing)),
                examples=tuple(group.examples),
            )
            for rule, (group, missing) in sorted(self._groups.items())
        )


class Replay:
    """One run of a changed configuration, beside the version in force, over one tenant's record."""

    def __init__(self, changed: Rerun, in_force: Rerun | None) -> None:
        """`in_force` is left out where nothing is changed: then it would do the same."""
        self._changed = changed
        self._in_force = in_force
        self._reruns = [changed] if in_force is None else [changed, in_force]
        self._version = (in_force or changed).view.config_version
        self._changes, self._already, self._drift = _Tally(), _Tally(), _Tally()
        self._undecided, self._undecided_in_force = _Undecided(), _Undecided()
        self._as_recorded: Counter[str] = Counter()
        self._other_versions = 0

    def over(
        self, traffic: Traffic, since_ns: int, until_ns: int, forget_every: int = FORGET_EVERY
    ) -> Report | None:
        """Run over all calls of a stretch of time; None where there are none."""
        start = traffic.first_since(since_ns)
        if start is None or start[1] >= until_ns:
            return None
        first, first_ns = start
        before = traffic.first_since(min(rerun.begin(first_ns) for rerun in self._reruns))
        assert before is not None, "there is a first call"
        calls, last, last_ns = 0, first, first_ns
        for number, (sequence, at_ns, kind, call, body) in enumerate(traffic.entries(before[0]), start=1):
            for rerun in self._reruns:
                rerun.come_to(sequence)
            if kind != "decision":
                self._follow(kind, call, body, at_ns)
            elif at_ns < until_ns:
                decision = decision_of(body)
                if sequence < first:
                    self._open(decision, body, at_ns)
                else:
                    calls, last, last_ns = calls + 1, sequence, at_ns
                    self._decide(decision, body, at_ns)
            if number % forget_every == 0:
                for rerun in self._reruns:
                    rerun.forget(at_ns)
        return Report(
            tenant=self._changed.view.registry.tenant,
            calls=calls,
            first_sequence=first,
            last_sequence=last,
            first_ns=first_ns,
            last_ns=last_ns,
            changes=self._changes.changes(),
            already=self._already.changes(),
            undecided_calls=self._undecided.calls,
            undecided=self._undecided.found(),
            in_force=self._drift.changes(),
            in_force_undecided_calls=self._undecided_in_force.calls,
            other_versions=self._other_versions,
            as_recorded=tuple(sorted(self._as_recorded.items())),
        )

    def _open(self, decision: RecordedDecision, body: bytes, at_ns: int) -> None:
        for rerun in self._reruns:
            rerun.open(decision, body, at_ns)

    def _decide(self, decision: RecordedDecision, body: bytes, at_ns: int) -> None:
        reason = _why_as_recorded(decision)
        if reason is not None:
            self._as_recorded[reason] += 1
            self._open(decision, body, at_ns)
            return
        now = self._changed.decide(decision, at_ns)
        before = now if self._in_force is None else self._in_force.decide(decision, at_ns)
        if now is UNCHANGED and before is UNCHANGED:
            return
        was = _recorded(decision)
        if before.undecided:
            self._undecided_in_force.add(decision, before)
        else:
            kind = _difference(was, before)
            if kind is not None:
                self._drift.add(decision, was, before, kind)
                self._other_versions += decision.config_version != self._version
        if now.undecided:
            self._undecided.add(decision, now)
            return
        kind = _difference(was, now)
        if kind is not None:
            is_new = now is not before and (before.undecided or _difference(before, now) is not None)
            (self._changes if is_new else self._already).add(decision, was, now, kind)

    def _follow(self, kind: str, call: str, body: bytes, at_ns: int) -> None:
        """What became of a call afterwards."""
        if kind == "settlement":
            settlement = settlement_of(body)
            for rerun in self._reruns:
                rerun.settle(call, settlement, body, at_ns)
            self._cost(call, settlement)
        elif kind in ("release", "expire"):
            for rerun in self._reruns:
                rerun.release(call, at_ns, expired=kind == "expire")
            self._cost(call, None)

    def _cost(self, call: str, settlement: RecordedSettlement | None) -> None:
        nano_usd = 0 if settlement is None else settlement.cost_nano_usd
        for tally in (self._changes, self._already, self._drift):
            tally.cost(call, nano_usd)


def _why_as_recorded(decision: RecordedDecision) -> str | None:
    """Why a call can't be decided anew: it was refused before any policy saw it, or its entry doesn't say enough."""
    is_recorded = decision.asked is not None and decision.quote is not None
    if decision.effect == "allow":
        return None if is_recorded else "not_recorded"
    code = decision.reason.code
    return code if code == "clock_fell_back" or not is_recorded else None


def _recorded(decision: RecordedDecision) -> Outcome:
    """What was decided."""
    if decision.effect == "allow":
        return Outcome(effect="allow", model=decision.model, output_tokens=decision.sent_output_tokens)
    first = decision.reason
    return Outcome(
        effect=decision.effect, code=first.code, rule=rule_of(first.code, first.subject, first.message)
    )


def _difference(was: Outcome, now: Outcome) -> Kind | None:
    """How a decision differs from another."""
    if now is UNCHANGED and was.allows:
        return None
    if was.allows and now.allows:
        if was.model != now.model:
            return "model"
        return "output_limit" if was.output_tokens != now.output_tokens else None
    if was.allows:
        return _DENIAL_OF[now.effect]
    if now.allows:
        return "allowed"
    is_same = (was.effect, was.code, was.rule) == (now.effect, now.code, now.rule)
    return None if is_same else "reason"
