"""What the gateway decided, and what became of it, in the words that it uses itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from aegis_sdk.errors import (
    AlreadyDone,
    ApprovalRequired,
    BudgetExhausted,
    Denied,
    RateLimited,
    Refused,
    TooManyRuns,
)
from aegis_sdk.tracing import Trace

_BUDGET_CODES = frozenset(("budget_exhausted", "too_many_instances"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why: a stable code for programs, a sentence for people, what it is about, and when trying again may help."""

    code: str
    message: str
    subject: str = ""
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A request for a person's word: how it stands (`waiting`, `granted`, `refused`, `expired`, `used`…), and why.

    `expires_at` is until when somebody may answer, in ISO 8601; `status_url` where it is told, at the gateway.
    """

    id: str
    state: str
    status_url: str = ""
    expires_at: str = ""
    reason: str = ""

    @property
    def waits(self) -> bool:
        """Whether nobody has decided yet."""
        return self.state == "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision. What is allowed holds its maximum until it is settled or released.

    `arguments` are what the tool has to be run with: those that were sent, or, where policies redact (`is_redacted`),
    those without what is to go. `state` and `cost_usd` are told of a call that was decided before, by its name.
    `approval` is the request for a person's word that it is about.
    """

    id: str
    effect: str
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_redacted: bool = False
    reasons: tuple[Reason, ...] = ()
    run: str | None = None
    policy_version: str = ""
    expected_usd: Decimal | None = None
    maximum_usd: Decimal | None = None
    token: str | None = field(default=None, repr=False)
    name: str | None = None
    state: str | None = None
    cost_usd: Decimal | None = None
    approval: Approval | None = None

    @property
    def allowed(self) -> bool:
        """Whether the tool may be run now."""
        return self.effect == "allow" and self.token is not None

    @property
    def why(self) -> str:
        """The decision in a sentence."""
        if self.effect == "allow":
            return f"call `{self.id}` of `{self.tool}` is {self.state or 'allowed'}"
        words = "; ".join(reason.message for reason in self.reasons) or "no reason was given"
        return f"`{self.tool}` is refused ({self.effect}): {words}"

    def check(self) -> Decision:
        """Itself, if the tool may be run.

        Raises:
            Refused: it may not; the class says in which way.
        """
        if self.allowed:
            return self
        raise self.refusal()

    def refusal(self) -> Refused:
        """The error that a decision is which lets nothing be run."""
        return self._kind()(self)

    def _kind(self) -> type[Refused]:
        if self.effect == "allow":
            return AlreadyDone
        if self.effect == "require_approval":
            return ApprovalRequired
        codes = {reason.code for reason in self.reasons}
        if "too_many_runs" in codes:
            return TooManyRuns
        if self.effect == "throttle" or "rate_limited" in codes:
            return RateLimited
        return BudgetExhausted if codes & _BUDGET_CODES else Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A call that is settled: at what cost, and whether that is more than was reserved for it (`overrun`)."""

    id: str
    state: str
    cost_usd: Decimal | None = None
    overrun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """A run that was opened for an agent: below the call `parent`, in the tree that began with `root`, so deep in it.

    `expires` is when it can't be used any more, in ISO 8601.
    """

    id: str
    agent: str
    root: str
    depth: int = 0
    parent: str | None = None
    expires: str = ""


Money: TypeAlias = Decimal | int | float | str
"""An amount of dollars; a float is taken as the decimal that Python writes for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What became of a run: `success`, `partial`, `failure` or `cancelled`; None while it goes on.

    `name` says what the work was, `value_usd` what it is claimed to be worth. `transactions` is how many it finished in
    all, or their names; one, if it isn't told.
    """

    outcome: str | None
    name: str = ""
    note: str = ""
    value_usd: Money | None = None
    transactions: int | Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """What an agent wants to do: a tool (`CONNECTOR.OPERATION`) with its arguments; of which run, for whom.

    `name` is the caller's own for the call: the same again is the same decision, not another one. `trace` is the place
    in a trace that it is made at: that of the code that makes it, if left out.
    """

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    name: str | None = None
    trace: Trace | None = field(default=None, repr=False)
