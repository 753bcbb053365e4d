"""What the doors ask of the ledger, and what it answers: values, made to cross a process boundary.

They travel as arrays, without their fields' names: both ends are of one version, started together.

Core use cases are `Admit`, `Dispatch`, `Settle` and `Release`; every door is built on these and has no other
way in.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.approval import ApprovalState
from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.decision import Effect, Reason, Shadow, Verdict
from aegis_gateway.domain.ledger import Evidence, Standing, State
from aegis_gateway.domain.measure import Measure
from aegis_gateway.domain.outcome import Report
from aegis_gateway.domain.quote import Quote
from aegis_gateway.domain.rate import RateClaim
from aegis_gateway.domain.replication import RunClaim

NEVER_ANSWERED = "it was not known whether its admission was committed; nobody was told to send it"


class Attribution(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Whom a call is put down to, and what it is a call of. Copied into the record as it stood at the decision.

    `saved_nano_usd` is how much less it is expected to cost than the model that it was asked of. `asked_by` is the
    agent that asked, with a key of its own, where that is another one.
    """

    agent: str
    team: str
    cost_centre: str
    owner: str
    purpose: str
    environment: str
    key: str
    connector: str
    tool: str
    project: str | None = None
    model: str | None = None
    region: str = ""
    run: str | None = None
    parent: str | None = None
    retry: int = 0
    customer: str | None = None
    downgraded_from: str | None = None
    saved_nano_usd: int = 0
    depth: int = 0
    asked_by: str | None = None


class ArgumentsRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Arguments as the record keeps them: never in the clear.

    `digest` is SHA-256 over `salt` and the canonical arguments; `hmac` is keyed by tenant, so that equal calls
    can be recognised without being readable; `summary` is redacted.
    """

    salt: bytes
    digest: str
    hmac: str
    summary: dict[str, object]


class CallName(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A caller's own name for a call, a keyed digest of its idempotency key; and what tells its request from others."""

    name: str
    request: bytes


class ApprovalClaim(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Whose word a call wants that policies ask about, and how it is found again.

    `fingerprint` is a keyed digest of agent, connector, tool, customer and arguments; `behind` may not answer. An agent
    may have `open_max` requests that wait, and from the `group_after`th on those that are alike are told together.
    `given` is the approval that the caller names, if it names one; `traceparent` the call's place in a trace, if it has
    one. `moves` is the money that the call moves beside what it costs, in words.
    """

    fingerprint: str
    route: Route
    behind: tuple[str, ...] = ()
    open_max: int = 20
    group_after: int = 3
    given: str | None = None
    traceparent: str = ""
    moves: tuple[str, ...] = ()


class ApprovalNote(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The request for a person's word that a decision is about: how it stands, by when somebody answers, who did and
    why; and which `policies` asked.
    """

    id: str
    state: ApprovalState
    deadline_ns: int
    by: tuple[str, ...] = ()
    reason: str = ""
    policies: tuple[str, ...] = ()


class Admit(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Record a judged call and, if it was permitted, take it into its rates and budgets.

    `epoch` is the tenant's epoch that the call was judged under; another one in the ledger sends it back.
    `utilisation` is what the policies took for used of its budgets, where they looked; another one sends it back too.
    `measures` are those of its budgets by which it was judged, `watched` budgets that it was asked against and doesn't
    count on any more; others that hold send it back.
    `asked` is what else they saw of it, for the record.
    `redacted` is how many values were taken out of its arguments, by kind.
    `run` is there where the ledger has to look at the call's run.
    `approval` is there where policies ask for a person's word.
    `beside_version` decides for other agents, while one of the two is a canary.
    `traceparent` is the call's place in a trace, if it has one.
    `request` tells its request from others, where its answer could be used again (`domain/reuse.py`).
    An immediate call is committed as `dispatched`; one that will wait (`reserve_for_ns`) as `reserved`.
    """

    call: str
    tenant: str
    epoch: int
    attribution: Attribution
    verdict: Verdict
    arguments: ArgumentsRecord
    policy_version: str
    config_version: int
    quote: Quote | None = None
    rates: tuple[RateClaim, ...] = ()
    budgets: tuple[BudgetClaim, ...] = ()
    reserve_for_ns: int | None = None
    name: CallName | None = None
    utilisation: int | None = None
    asked: dict[str, object] | None = None
    beside_version: int | None = None
    redacted: dict[str, int] = {}
    run: RunClaim | None = None
    approval: ApprovalClaim | None = None
    measures: tuple[Measure, ...] = ()
    watched: tuple[BudgetClaim, ...] = ()
    traceparent: str | None = None
    request: int | None = None


class Dispatch(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Win a reserved call for sending: after this commit its first byte may leave."""

    call: str
    tenant: str


class Settle(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Replace a call's reservation by what the evidence says it cost."""

    call: str
    tenant: str
    evidence: Evidence


class TakenTurn(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The turn of a rate that a call has taken, on the rate's line of theoretical arrival times."""

    rate: str
    scope: str
    begins_ns: int
    ends_ns: int


class Release(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Give back what a reserved call holds, and the `turns` that it was told it has; it was never sent.

    `reason` is recorded.
    """

    call: str
    tenant: str
    reason: str = ""
    turns: tuple[TakenTurn, ...] = ()


class Lose(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Put a dispatched call in doubt: whoever sent it is gone. It keeps counting at its maximum."""

    call: str
    tenant: str
    reason: str = ""


class Expire(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Let a reserved call whose time has passed go; the ledger decides whether it has."""

    call: str
    tenant: str


class Withdraw(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Take back a commit that was never known of, if it happened: an admission that nobody was told of, or a dispatch
    after which nothing was sent.

    A decision at an earlier place of the record than `not_before` is another one, and stays. `reason` is recorded.
    """

    call: str
    tenant: str
    not_before: int
    reason: str = NEVER_ANSWERED


class Keep(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Keep a named call's answer, encrypted, or note that there is none to keep.

    Only a settled call's is kept. An answer that says to try again (`may_repeat`) frees the name, if the call was
    settled at nothing.
    """

    call: str
    tenant: str
    answer: bytes | None = None
    may_repeat: bool = False


class OpenRun(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Open a run, whose id `call` is, and record it; or record why it isn't, where there are `reasons`.

    `by` opens it, for itself or for the agent of the `claim`; `rates` are those of new runs. `shadow` is what would
    have kept it from being opened.
    """

    call: str
    tenant: str
    epoch: int
    claim: RunClaim
    by: Attribution
    policy_version: str
    config_version: int
    rates: tuple[RateClaim, ...] = ()
    reasons: tuple[Reason, ...] = ()
    shadow: tuple[Shadow, ...] = ()


class EndRun(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """End a run, whose id `call` is, and what was delegated in it. `actor` is who does so: an agent, or a person."""

    call: str
    tenant: str
    claim: RunClaim
    actor: str


class TellOutcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Record what an agent says became of a run, whose id `call` is and whose `number` it begins with.

    `by` reports it. `is_root`: a tree of runs began with it. `opened_ns` is when it was opened as such, 0 if by a call.
    """

    call: str
    tenant: str
    number: str
    report: Report
    by: Attribution
    is_root: bool = True
    opened_ns: int = 0


class Look(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Look at the thresholds of one balance, whose window ends at `ends_ns`, besides all calls. `call` names the look.

    `claim` is its budget as it is configured at the `epoch`; None where there is none any more. `expected` is what its
    window is expected to come to, where a forecast says so, `words` whether people agreed to what some would do.
    """

    call: str
    tenant: str
    epoch: int
    budget: str
    scope: str
    window: str
    quantity: str
    ends_ns: int
    claim: BudgetClaim | None = None
    expected: int | None = None
    words: dict[str, bool] = {}


Command = (
    Admit
    | Dispatch
    | Settle
    | Release
    | Lose
    | Expire
    | Withdraw
    | Keep
    | OpenRun
    | EndRun
    | TellOutcome
    | Look
)


class Admitted(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A decision that is on disk. `balances` are those of the call's budgets after it, in the order asked.

    A call that has to wait is reserved, has `turns`, and must win its dispatch after `wait_ns`. `approval` is the
    request for a person's word that it waits for, was let through by or is refused for.
    """

    call: str
    effect: Effect
    reasons: tuple[Reason, ...]
    sequence: int
    state: State
    output_tokens: int | None = None
    maximum: dict[str, int] = {}
    balances: tuple[Standing, ...] = ()
    wait_ns: int = 0
    approval: ApprovalNote | None = None
    turns: tuple[TakenTurn, ...] = ()


class Stale(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """The tenant's configuration, agents or keys have changed: judge again under this epoch or a later one.

    Or more or less of its budgets is used than the policies took for it: judge again with this `utilisation`.
    Or other measures of its budgets hold than it was judged by: judge again with these.
    """

    call: str
    epoch: int
    utilisation: int | None = None
    measures: tuple[Measure, ...] | None = None


class Known(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """The caller's name for the call is that of another, `first`; nothing was decided. `is_same`: so is the request."""

    call: str
    first: str
    is_same: bool


class Moved(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A call's transition that is on disk. `balances` are those of its legs, in their order. `again`: it was so."""

    call: str
    state: State
    sequence: int
    cost_nano_usd: int | None = None
    overrun: bool = False
    balances: tuple[Standing, ...] = ()
    again: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """Nothing was changed. `unavailable`: nothing can be made durable now, so nothing may be forwarded."""

    call: str
    kind: Literal["unavailable", "unknown_call", "illegal_transition"]
    message: str


class Kept(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """What was to be kept of an answer is on disk; or the call has no open name, and nothing was changed."""

    call: str


class Opened(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A run was opened, or wasn't, for `reasons`; that is on disk."""

    call: str
    effect: Effect
    reasons: tuple[Reason, ...] = ()


class Ended(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A run is ended, and so many with it that were delegated in it; that is on disk."""

    call: str
    below: int


class Told(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """What became of a run is on disk: for the first time, in place of something else, or as it was told before.

    `is_counted`: a tree of runs began with it, so it counts in sums.
    """

    call: str
    state: Literal["recorded", "replaced", "same"]
    is_counted: bool


class Seen(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """A balance's thresholds were looked at; what has turned is on disk."""

    call: str


class Running(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """What a gateway process runs, told now and then without being asked; nobody answers.

    `process` is its machine's name and its number there, `digest` that of the bundle of `version`; `canary` is the
    version of one that is under way, and `warning` says why what it runs is not the newest.
    """

    process: str
    version: int
    digest: str
    started_ns: int
    canary: int | None = None
    warning: str = ""


Reply = Admitted | Stale | Known | Moved | Kept | Opened | Ended | Told | Seen | Failed
