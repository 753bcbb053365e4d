"""What a change of the configuration widens, raises or disarms, and what it narrows.

Rule 1: what can't be told counts as widening: a setting that no table here knows, a condition that is another.
Rule 2: each change is judged against what is in force, alone; so whatever was taken away counts as widening when it
        limited something, and whatever comes back counts by what it lets through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.registry import Registry

Direction = Literal["widening", "narrowing", "neutral"]

Judged = tuple[Direction, str]
"""Which way something goes, and why: words that go on after its name."""

Compare = Callable[[Any, Any], Judged]
"""Judges one setting by its value before and after."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One change: what it is of, which way it goes, and why."""

    tenant: str
    what: str
    direction: Direction
    reason: str

    def __str__(self) -> str:
        """`budget lending-day: limit is higher`."""
        return f"{self.what}: {self.reason}"


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """All that a change of the configuration does."""

    findings: tuple[Finding, ...] = ()

    @property
    def level(self) -> Direction:
        """Widening if anything is, else narrowing if anything is."""
        directions = {finding.direction for finding in self.findings}
        return (
            "widening"
            if "widening" in directions
            else "narrowing"
            if "narrowing" in directions
            else "neutral"
        )

    @property
    def widened(self) -> tuple[str, ...]:
        """The tenants in which something widens."""
        return tuple(sorted({each.tenant for each in self.findings if each.direction == "widening"}))

    @property
    def tenants(self) -> tuple[str, ...]:
        """The tenants in which anything changes."""
        return tuple(sorted({each.tenant for each in self.findings}))


class Appraisal(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of the configuration is, as found out before: on which version (0: none), what it does, and in
    which tenants it wants two people if it widens anything there, by what is in force before it.
    """

    based_on: int = 0
    risk: Risk = Risk()
    four_eyes: tuple[str, ...] = ()

    @property
    def asking(self) -> tuple[str, ...]:
        """The tenants where a second person's word is needed."""
        return tuple(tenant for tenant in self.risk.widened if tenant in self.four_eyes)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What widens there."""
        return tuple(
            f"{finding.tenant}: {finding}"
            for finding in self.risk.findings
            if finding.direction == "widening" and finding.tenant in self.asking
        )


class PolicyBody(msgspec.Struct, frozen=True, kw_only=True):
    """A policy, and what it is about: its scope and conditions, written so that the same are equal."""

    policy: Policy
    condition: str


class Stance(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides in one tenant: its registry with imported agents, its policies, and which agents have keys."""

    registry: Registry
    policies: Mapping[str, PolicyBody]
    keyed: frozenset[str] = frozenset()


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """How things of one kind are judged: when one comes, when one goes, and setting by setting.

    Settings that are not in the table can't be told. Things in shadow limit nothing, whatever their settings; so to be
    put in shadow is to go. `values` are a thing's settings.
    """

    noun: str
    added: Judged
    removed: Judged
    settings: Mapping[str, Compare] = {}
    values: Callable[[Any], Mapping[str, Any]] = msgspec.structs.asdict

    def judge(self, old: Any, new: Any) -> Iterator[Judged]:
        """Judge one thing by what it was and what it is; None where it isn't there."""
        was, acts = _acts(old), _acts(new)
        if was and acts:
            yield from compared(self.values(old), self.values(new), self.settings)
        elif was:
            yield self.removed if new is None else (self.removed[0], "is put in shadow")
        elif acts:
            yield self.added if old is None else (self.added[0], "is no longer in shadow")
        elif old != new:
            yield "neutral", "is in shadow, and changes nothing"

    def findings(self, tenant: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Finding]:
        """Judge all things of the kind, by id."""
        for name in sorted(old.keys() | new.keys()):
            for direction, reason in self.judge(old.get(name), new.get(name)):
                yield Finding(tenant=tenant, what=f"{self.noun} {name}", direction=direction, reason=reason)


def _acts(thing: Any) -> bool:
    return thing is not None and getattr(thing, "mode", "enforce") == "enforce"


def compared(
    old: Mapping[str, Any], new: Mapping[str, Any], settings: Mapping[str, Compare]
) -> Iterator[Judged]:
    """Two values, setting by setting."""
    for name, after in new.items():
        if old[name] != after:
            direction, words = settings.get(name, unclear)(old[name], after)
            yield direction, f"{name.replace('_', ' ')} {words}"


def unclear(_old: Any, _new: Any) -> Judged:
    """It can't be told."""
    return "widening", "is another; how far can't be told"


def neutral(_old: Any, _new: Any) -> Judged:
    """It decides nothing."""
    return "neutral", "is another"


def more_widens(old: Any, new: Any) -> Judged:
    """A limit; none at all is the highest."""
    if new is None or (old is not None and new > old):
        return "widening", "is gone" if new is None else "is higher"
    return "narrowing", "is lower" if old is not None else "is new"


def less_widens(old: Any, new: Any) -> Judged:
    """A least."""
    direction, words = more_widens(new, old)
    return direction, {"is higher": "is lower", "is lower": "is higher"}.get(words, "is another")


def turned_off_widens(old: Any, new: Any) -> Judged:
    """Something that holds calls back."""
    return ("narrowing", "is on") if new and not old else ("widening", "is off")


def turned_on_widens(old: Any, new: Any) -> Judged:
    """Something that lets calls through."""
    if old and new:
        return unclear(old, new)
    return ("widening", "is on") if new else ("narrowing", "is off")
