"""The record as it is read again: what entries say of a call, and the arguments that policies saw of it.

Rule: an argument is what the record says of it, or it is said that the record doesn't have it; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from aegis_gateway.application.asked import Asked
from aegis_gateway.domain.decision import Effect
from aegis_gateway.domain.judge import Unknown
from aegis_gateway.domain.registry import Argument
from aegis_gateway.domain.tools import MODEL_TOOLS

_HIDDEN = re.compile(r"\([0-9]+ characters\)")
"""How the record writes a text that it doesn't show; one that looks so by chance counts as not shown."""
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_OPERATION = "operation"
"""What a summary has beside arguments."""

DeclaredThen = Callable[[int, str], frozenset[str]]
"""The arguments that a version of the configuration declared of a tool."""


class RecordedReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was decided."""

    code: str
    subject: str
    message: str


class RecordedQuote(msgspec.Struct, frozen=True, kw_only=True):
    """What a call was expected to come to, and can come to at most as it was sent."""

    expected: dict[str, int]
    maximum: dict[str, int]
    price_source: str = ""
    price_version: str = ""


class RecordedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """What a call held of a balance."""

    budget: str
    scope: str
    window: str
    quantity: str
    amount: int


class RecordedArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What the record shows of a call's arguments."""

    summary: dict[str, Any]


class RecordedDowngrade(msgspec.Struct, frozen=True, kw_only=True, rename={"model": "from"}):
    """The model that a call was asked of, where another one's was made of it."""

    model: str


class RecordedApproval(msgspec.Struct, frozen=True, kw_only=True):
    """The request for a person's word that a call was about, and the policies that asked."""

    state: str
    policies: tuple[str, ...] = ()


class RecordedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision's entry says, as far as the call can be decided anew from it."""

    call: str
    effect: Effect
    reasons: msgspec.Raw
    config_version: int
    agent: str
    key: str
    connector: str
    tool: str
    arguments: RecordedArguments
    model: str | None = None
    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    depth: int = 0
    quote: RecordedQuote | None = None
    output_tokens: int | None = None
    downgrade: RecordedDowngrade | None = None
    asked: Asked | None = None
    redacted: dict[str, int] = {}
    approval: RecordedApproval | None = None

    def was_agreed_to(self, policies: Collection[str]) -> bool:
        """Whether a person agreed to it, where these policies ask for that."""
        approval = self.approval
        return approval is not None and approval.state == "used" and set(policies) <= set(approval.policies)

    @property
    def sent_output_tokens(self) -> int | None:
        """The output limit that an allowed call was sent with: the caller's own, where it was sent as it was asked."""
        asked = self.asked
        if asked is not None and asked.proxied:
            return asked.shape.output_tokens if asked.shape is not None else None
        return self.output_tokens

    @property
    def reason(self) -> RecordedReason:
        """The first reason, which the decision is put down to."""
        return _reasons_of(self.reasons)[0]


class RecordedLegs(msgspec.Struct, frozen=True, kw_only=True):
    """What a call held of balances."""

    legs: list[RecordedLeg] = []


class RecordedLine(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what a bill has a line for."""

    kind: str
    quantity: int


class RecordedSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """What a call came to."""

    evidence: str
    cost_nano_usd: int
    actual: dict[str, int] = {}


class RecordedCharges(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything a call was charged for."""

    charges: list[RecordedLine] = []


decision_of = msgspec.json.Decoder(RecordedDecision, strict=False).decode
"""Reads a decision's entry; amounts, which are strings there, become integers."""

legs_of = msgspec.json.Decoder(RecordedLegs, strict=False).decode
"""Reads what a decision's entry says of balances, which is seldom needed."""

_reasons_of = msgspec.json.Decoder(list[RecordedReason]).decode

settlement_of = msgspec.json.Decoder(RecordedSettlement, strict=False).decode
"""Reads a settlement's entry."""

charges_of = msgspec.json.Decoder(RecordedCharges, strict=False).decode
"""Reads the lines of a settlement's entry, which are seldom needed."""


def arguments_of(
    decision: RecordedDecision, declared: tuple[Argument, ...], then: DeclaredThen
) -> dict[str, object]:
    """A call's arguments as policies would see them that know those declared now; what isn't recorded is said."""
    summary = decision.arguments.summary
    if decision.tool in MODEL_TOOLS:
        return {argument.name: summary[argument.name] for argument in declared if argument.name in summary}
    values: dict[str, object] = {}
    for argument in declared:
        name = argument.name
        found = summary.get(name)
        if name == _OPERATION or (found is None and not _was_left_out(decision, name, then)):
            values[name] = Unknown.PRESENCE
        elif found is not None:
            values[name] = _typed(argument, found, is_redacted=bool(decision.redacted))
    return values


def _was_left_out(decision: RecordedDecision, name: str, then: DeclaredThen) -> bool:
    """Whether a call was made without an argument that there was; one that there wasn't may have been in its body."""
    if _OPERATION not in decision.arguments.summary:  # nothing of the arguments is shown
        return False
    return name in then(decision.config_version, decision.tool)


def _typed(argument: Argument, found: object, *, is_redacted: bool) -> object:
    """A value of an argument's type from what the record shows of it; a text may be what is left of it."""
    if argument.type == "boolean":
        return found if isinstance(found, bool) else Unknown.VALUE
    if not isinstance(found, str) or _HIDDEN.fullmatch(found):
        return Unknown.VALUE
    match argument.type:
        case "string":
            return Unknown.VALUE if is_redacted else found
        case "integer":
            return int(found) if _INTEGER.fullmatch(found) else Unknown.VALUE
        case "number":
            try:
                return Decimal(found)
            except InvalidOperation:
                return Unknown.VALUE
