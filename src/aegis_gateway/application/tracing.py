"""What a call's telemetry is told, by whoever decides, settles and hears of answers. Where there is none, nobody asks.

Rule 1: an observer never keeps a call and never fails one: it takes what it is told without waiting for anything.
Rule 2: it is told no arguments, prompts, answers, keys or secrets.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from aegis_gateway.application.commands import Admit, Admitted, Moved
from aegis_gateway.application.metering import Metering
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.registry import Registry

SEND_LAST_S = 2.0
"""How long a process that ends goes on sending its last spans and metrics. With what else it does then it is less than
the ledger process waits for it.
"""


class Trace(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A place in a trace, as it stands in headers: W3C `traceparent` and `tracestate`, which may be empty."""

    parent: str
    state: str = ""


class SpanNote(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a settlement has to know of its call's span that is made elsewhere or later: its place in the trace, what
    the call is measured by, and when it began, in nanoseconds since 1970. It goes through callers, sealed.
    """

    trace: Trace | None
    measured_by: dict[str, str]
    attributes: dict[str, str]
    began_ns: int


class CallAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the ledger is asked to decide, under the registry that it was judged by.

    `mcp` is what the door says of a message of that protocol, by the names of the conventions.
    """

    command: Admit
    registry: Registry
    mcp: dict[str, str]


class DecisionTold(CallAsked, frozen=True, kw_only=True):
    """A decision that is on disk."""

    admitted: Admitted


class AnswerOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's answer says of itself: the model that made it, and its own id, as the provider names them."""

    model: str | None = None
    id: str | None = None


class CallSpan(Protocol):
    """One call's span, from when it came until what became of it is known.

    A call that is never asked about (its caller is unknown, or it makes no sense) has none.
    """

    @property
    def trace(self) -> Trace | None:
        """The span's own place in its trace: the parent of what the call leads to. Where no spans are sent it is the
        caller's, if it said one.
        """

    @property
    def note(self) -> SpanNote | None:
        """What a settlement elsewhere has to know of it, once it is decided."""

    def asked(self, asked: CallAsked) -> None:
        """The ledger is about to be asked; what it is asked last counts."""

    def decided(self, admitted: Admitted) -> None:
        """The call is decided; one that isn't allowed is at its end with that."""

    def undecided(self, why: str) -> None:
        """Nobody decided it, and nothing was sent; `why` is a code."""

    def repeated(self, first: str) -> None:
        """Nothing was decided: its caller's name for it is that of the call `first`, whose answer it gets."""

    def answered(self, origin: AnswerOrigin) -> None:
        """The model's answer has come, or begins to."""

    def handed_over(self) -> None:
        """Whoever asked does by themselves what was allowed: the span ends, and the settlement is one of its own."""

    def settled(self, evidence: Evidence, moved: Moved, took_ns: int) -> None:
        """What the call cost is on disk; writing it took so long."""

    def lost(self, why: str, code: str = "in_doubt") -> None:
        """The call is in doubt, or what became of it could not be written yet, or it never came to be sent."""


class Observer(Protocol):
    """What makes spans and metrics of calls and of people's answers."""

    @property
    def metering(self) -> Metering:
        """What makes metrics beside those of single calls' spans."""

    def begin(self, trace: Trace | None) -> CallSpan:
        """A call has come, within its caller's trace if it says one."""

    def resumed(self, call: str, note: SpanNote) -> CallSpan:
        """A call is about to be settled that was decided elsewhere or handed over."""

    def approval_ended(self, approval: Approval, ended_ns: int) -> None:
        """A request for a person's word was decided, or is over without that."""

    def close(self, within_s: float) -> None:
        """Send what is left, for so long at most."""
