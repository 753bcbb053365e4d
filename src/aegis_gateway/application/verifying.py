"""Checks a stretch of a tenant's record: entry by entry, against calls, charges, sums, and the versions that decided.

Rule 1: it is read in pieces, so a record of any length is checked in the same memory; nothing is locked, and calls may
        go on being made: what is compared is read in one statement.
Rule 2: what is told is what was found. Everything is looked at, and the first faults are told in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from aegis_gateway.domain.record_check import Check, Fault, Kept, content, faults_of

PIECE = 1_000
TOLD_MAX = 100
"""So many faults are told in full; of more, how many there are."""
_MESSAGE_CHARACTERS_MAX = 1_000

_EVER_NS = 2**62
_LEAVE = {
    "settlement": "settled",
    "release": "released",
    "expire": "expired",
    "doubt": "in_doubt",
    "dispatch": "dispatched",
}
"""In which state a call's entries leave it: by the first of these kinds that there is one of."""
_ABOUT_CALLS = ("decision", *_LEAVE)

Said = dict[str, Any]


class CallState(msgspec.Struct, frozen=True, kw_only=True):
    """A call's row beside the kinds of its entries, as of one moment. `legs` as they are stored, decoded."""

    row: dict[str, Any]
    legs: list[list[Any]]
    kinds: Mapping[str, int]


class HourSum(msgspec.Struct, frozen=True, kw_only=True):
    """An hour, or a day, whose sums aren't what its calls come to: how many calls and how much are too many."""

    span: str
    start_ns: int
    calls: int
    cost: int


class RecordReading(Protocol):
    """What is read of a record, in the order of its numbers. Instants are nanoseconds since 1970."""

    def newest(self, tenant: str) -> int:
        """The number of the last entry that was ever written; 0 where there is none."""

    def stretch(self, tenant: str, after: int, until: int, limit: int) -> list[Kept]:
        """Entries behind one number, up to another."""

    def states(self, tenant: str, after: int, until: int) -> dict[str, CallState]:
        """The calls that a stretch is about."""

    def charges(self, tenant: str, after: int, until: int) -> dict[str, list[dict[str, Any]]]:
        """The charge lines of calls that were settled in a stretch, in order."""

    def undecided(self, tenant: str, after_ns: int, until_ns: int) -> Iterator[tuple[str, int]]:
        """Calls that say that they were decided behind one instant, up to another, and whose decision isn't in the
        record; and the number under which it should be.
        """

    def entry(self, tenant: str, sequence: int) -> Kept | None:
        """One entry."""

    def wrong_sums(self, tenant: str, since_ns: int, until_ns: int) -> list[HourSum]:
        """The hours and days of a period whose sums aren't what its calls come to."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, from which number to which, and what was found."""

    tenant: str
    first: int
    last: int
    entries: int
    calls: int
    settlements: int
    versions: int
    faults: tuple[Fault, ...]
    counts: Mapping[str, int]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts


WhatIsWrong = Callable[[int], str]
"""What is wrong with a version of the configuration, by number; empty where it is as it was signed."""
ArePolicies = Callable[[int, str, str], bool | None]
"""Whether the policies of a version in a tenant are known by a name; None where that can't be told."""


class Verifying:
    """One verification. It keeps only counts, the first faults, and what it knows of versions."""

    def __init__(
        self, record: RecordReading, tenant: str, wrong_with: WhatIsWrong, are_policies: ArePolicies
    ) -> None:
        """Check nothing yet."""
        self._record = record
        self._tenant = tenant
        self._wrong_with = wrong_with
        self._are_policies = are_policies
        self._faults: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._versions: set[int] = set()
        self._pairs: set[tuple[int, str]] = set()
        self._calls = self._settlements = 0

    def run(self, first: int = 1, last: int | None = None) -> Verified:
        """Check the entries from one number to another, or to the last that was written when this began."""
        newest = self._record.newest(self._tenant)
        until = newest if last is None else min(last, newest)
        before = self._record.entry(self._tenant, first - 1) if first > 1 else None
        begin_ns: int | None = None
        seen_ns, expected, entries = -1, first, 0
        while piece := self._record.stretch(self._tenant, expected - 1, until, PIECE):
            if begin_ns is None:
                begin_ns = 0 if first <= 1 else piece[0].at_ns
                seen_ns = begin_ns - 1
            for kept in piece:
                self._number(expected, kept.sequence)
                expected = kept.sequence + 1
                self._one(kept, before)
                before = kept
            entries += len(piece)
            self._calls_of(piece)
            self._decided(seen_ns, piece[-1].at_ns, first, until)
            seen_ns = piece[-1].at_ns
        if until >= first:
            self._number(expected, until + 1)
        if until == newest and entries:
            self._decided(seen_ns, _EVER_NS, first, until)
        if begin_ns is not None:
            self._sums(begin_ns, _EVER_NS if until == newest else seen_ns + 1)
        return Verified(
            tenant=self._tenant,
            first=first,
            last=until,
            entries=entries,
            calls=self._calls,
            settlements=self._settlements,
            versions=len(self._versions),
            faults=tuple(sorted(self._faults, key=_place)),
            counts=dict(self._counts),
        )

    def _tell(self, check: Check, sequence: int | None, words: str) -> None:
        self._counts[check] += 1
        if len(self._faults) < TOLD_MAX:
            self._faults.append(Fault(check=check, sequence=sequence, words=words))

    def _number(self, expected: int, found: int) -> None:
        if found > expected:
            missing = f"{expected}" if found == expected + 1 else f"{expected} to {found - 1}"
            self._tell("numbering", expected, f"there is no entry {missing}")

    def _one(self, kept: Kept, before: Kept | None) -> None:
        said = content(kept.body)
        for fault in faults_of(kept, said):
            self._tell(fault.check, fault.sequence, fault.words)
        if before is not None and kept.at_ns < before.at_ns:
            self._tell(
                "order", kept.sequence, f"it is older than entry {before.sequence}, which stands before it"
            )
        version = said.get("config_version") if said is not None else None
        if isinstance(version, int) and kept.type != "proposal":
            self._version(kept, version, said or {})

    def _version(self, kept: Kept, version: int, said: Said) -> None:
        if version not in self._versions:
            self._versions.add(version)
            wrong = self._wrong_with(version)
            if wrong:
                self._tell("version", kept.sequence, wrong)
        policies = said.get("policy_version")
        if kept.type == "decision" and isinstance(policies, str) and (version, policies) not in self._pairs:
            self._pairs.add((version, policies))
            if self._are_policies(version, self._tenant, policies) is False:
                words = f"it says policies `{policies}`, and those of configuration {version} are others"
                self._tell("policies", kept.sequence, words)

    def _calls_of(self, piece: list[Kept]) -> None:
        """What the entries of a piece say of calls, beside what the calls' rows say."""
        after, last = piece[0].sequence - 1, piece[-1].sequence
        states = self._record.states(self._tenant, after, last)
        charges = self._record.charges(self._tenant, after, last)
        for kept in piece:
            if kept.call is None or kept.type not in _ABOUT_CALLS:
                continue
            self._calls += kept.type == "decision"
            self._settlements += kept.type == "settlement"
            state, said = states.get(kept.call), content(kept.body)
            if state is None:
                self._tell("call", kept.sequence, f"there is no call `{kept.call}`, which it is about")
                continue
            if said is None:
                continue  # told already
            for words in _contradictions(kept, said, state):
                self._tell("call", kept.sequence, words)
            if kept.type == "decision" or not after < state.row["sequence"] <= last:
                for words in _wrong_state(state):
                    self._tell("call", kept.sequence, words)
            if kept.type == "settlement":
                for words in _wrong_charges(said, charges.get(kept.call, [])):
                    self._tell("charges", kept.sequence, words)

    def _decided(self, after_ns: int, until_ns: int, first: int, until: int) -> None:
        """Calls whose rows say that they were decided in a stretch of time, and of which the record says nothing."""
        for call, sequence in self._record.undecided(self._tenant, after_ns, until_ns):
            words = f"call `{call}` was decided, says its row, as number {sequence}; the record has no such decision"
            self._tell("call", sequence if first <= sequence <= until else None, words)

    def _sums(self, since_ns: int, until_ns: int) -> None:
        for wrong in self._record.wrong_sums(self._tenant, since_ns, until_ns):
            calls = f"{abs(wrong.calls)} calls {'more' if wrong.calls > 0 else 'less'}" if wrong.calls else ""
            nanos = (
                f"{abs(wrong.cost)} nano-dollars {'more' if wrong.cost > 0 else 'less'}" if wrong.cost else ""
            )
            self._tell(
                "sums",
                None,
                f"the sums of the {wrong.span} from {wrong.start_ns // 1_000_000_000} (Unix time) say "
                f"{' and '.join(filter(None, (calls, nanos)))} than its calls come to",
            )


def _place(fault: Fault) -> tuple[bool, int]:
    return fault.sequence is None, fault.sequence or 0


def _contradictions(kept: Kept, said: Said, state: CallState) -> Iterator[str]:
    """Where a call's row says something else than one of its entries."""
    row = state.row
    if kept.type == "decision":
        yield from _of_decision(kept, said, state)
    elif kept.type == "settlement":
        yield from _differ(
            {
                "cost_nano_usd": (said.get("cost_nano_usd"), _text(row["cost_nano_usd"])),
                "overrun": (said.get("overrun"), bool(row["overrun"])),
                "settled": (kept.at_ns, row["settled_ns"]),
            }
        )


def _wrong_state(state: CallState) -> Iterator[str]:
    """Where a call's row has it in another state than its entries leave it in."""
    kinds, row = state.kinds, state.row
    left = next((came for kind, came in _LEAVE.items() if kinds.get(kind)), "")
    # What was let through and nothing more is reserved, or was sent at once.
    fitting = {left} if left else {"reserved", "dispatched"} if row["effect"] == "allow" else {"refused"}
    if row["state"] not in fitting:
        yield f"the call is `{row['state']}`, and its entries leave it `{' or '.join(sorted(fitting))}`"


def _of_decision(kept: Kept, said: Said, state: CallState) -> Iterator[str]:
    row = state.row
    reasons = said.get("reasons") or [{"code": "", "message": ""}]
    quote = said.get("quote") or {"expected": {}, "maximum": {}}
    pairs: dict[str, tuple[object, object]] = {
        name: (said.get(name), row[name])
        for name in (
            "effect", "agent", "team", "project", "cost_centre", "environment", "connector", "tool", "model", "run",
            "parent", "policy_version", "config_version",
        )
    }  # fmt: skip
    pairs |= {
        "key": (said.get("key"), row["api_key"]),
        "reason": (reasons[0].get("code"), row["reason_code"]),
        "message": (reasons[0].get("message"), row["reason"][:_MESSAGE_CHARACTERS_MAX]),
        "expected": (quote["expected"].get("usd"), _text(row["expected_nano_usd"])),
        "number": (kept.sequence, row["sequence"]),
        "time": (kept.at_ns, row["decided_ns"]),
    }
    if row["maximum_nano_usd"] is not None:
        pairs["maximum"] = (quote["maximum"].get("usd"), _text(row["maximum_nano_usd"]))
    yield from _differ(pairs)
    legs = [
        [leg.get("budget"), leg.get("scope"), leg.get("window"), leg.get("quantity"), leg.get("amount")]
        for leg in said.get("legs", ())
    ]
    if legs != [[*leg[:4], str(leg[4])] for leg in state.legs]:
        yield "what budgets hold for the call isn't what was decided"


def _wrong_charges(said: Said, rows: list[dict[str, Any]]) -> Iterator[str]:
    lines = [
        [
            line.get(name)
            for name in (
                "kind", "quantity", "unit", "unit_price_nano_usd", "per", "price_source", "price_version", "nano_usd",
            )
        ]
        for line in said.get("charges", ())
    ]  # fmt: skip
    kept = [
        [
            row["kind"],
            str(row["quantity"]),
            row["unit"],
            str(row["unit_price_nano_usd"]),
            str(row["per"]),
            row["price_source"],
            row["price_version"],
            str(row["nano_usd"]),
        ]
        for row in rows
    ]
    if lines != kept:
        yield "the lines of its bill aren't those that are kept"
    total = sum(int(line[-1]) for line in lines)
    if str(total) != said.get("cost_nano_usd"):
        yield f"the lines of its bill come to {total} nano-dollars, and it says {said.get('cost_nano_usd')}"


def _differ(pairs: Mapping[str, tuple[object, object]]) -> Iterator[str]:
    for name, (entry, row) in pairs.items():
        if entry != row:
            yield f"it says {name} `{entry}`, and the call's row `{row}`"


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
