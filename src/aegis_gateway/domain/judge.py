"""`judge`: what the policies say of a call. Pure; before any lock; without live balances.

Every policy is evaluated as a `permit` and all matches come back (a native `forbid` that carries another effect
would be released by an approval that nobody permitted; and an erring `forbid` would be skipped). What they mean
together is decided here, in a fixed order, on matches sorted by id, so that the same call, facts and version
give the same decision to the byte.

Policies in shadow are evaluated with the others and change nothing; each is told of where it would have.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

import msgspec

from aegis_gateway.domain.decision import (
    Mode,
    Reason,
    ReasonCode,
    Shadow,
    Throttle,
    Undecided,
    Verdict,
)
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.redaction import (
    NO_REDACTIONS,
    SIDES,
    Redaction,
    RedactionKind,
    Redactions,
    Side,
    all_of,
)
from aegis_gateway.domain.rule_name import NO_PERMIT

PolicyEffect = Literal["permit", "deny", "cap", "downgrade", "throttle", "redact", "require_approval"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy as the combination sees it: its effect, the words its author gave it, and whether it acts.

    A `cap` has `output_tokens_max`, `cost_max_nano_usd` or both, a `downgrade` the `model` to call instead, a
    `throttle` the `limit` on how often in `period_ns`, for each `per`, a `redact` the `kinds` and `fields` that it
    takes out, and on which `sides`. A `require_approval` may name the group whose word it wants (`approvers`).
    """

    id: str
    effect: PolicyEffect
    reason: str = ""
    mode: Mode = "enforce"
    output_tokens_max: int | None = None
    model: str | None = None
    cost_max_nano_usd: int | None = None
    limit: int = 0
    period_ns: int = 0
    per: str = "agent"
    kinds: tuple[RedactionKind, ...] = ()
    fields: tuple[str, ...] = ()
    sides: tuple[Side, ...] = SIDES
    approvers: str = ""


class PolicyFault(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that could not be evaluated on a call, and the evaluator's words."""

    policy: str
    message: str
    mode: Mode = "enforce"


class Unknown(enum.Enum):
    """What stands for a value of a context that isn't known: what it is, or even whether it is there."""

    VALUE = enum.auto()
    PRESENCE = enum.auto()


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All policies that matched a call, and all that erred on it, each sorted by id.

    `saw_utilisation`: some of them look at how much of its budgets is used. `undecided` are policies that look at
    what isn't known of the call, and at what: each may match, or err, or neither.
    """

    matched: tuple[Policy, ...] = ()
    faults: tuple[PolicyFault, ...] = ()
    saw_utilisation: bool = False
    undecided: tuple[tuple[Policy, Undecided], ...] = ()


class PolicyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call as policies see it: who (`agent`), does what (`action`), to what, in which context.

    `context` holds only values typed by the tool's declared arguments; decimals are `Decimal`.
    """

    agent: str
    action: str
    resource_type: Literal["Model", "Connector"]
    resource: str
    context: dict[str, object]


class Evaluates(Protocol):
    """What evaluates policies."""

    def evaluate(self, request: PolicyRequest) -> Evaluation:
        """Evaluate every policy that could match, in one go."""


class Policies(Evaluates, Protocol):
    """A compiled set of policies, at one version."""

    @property
    def version(self) -> str:
        """The version, as it stands in each decision."""

    @property
    def rules(self) -> Mapping[str, Policy]:
        """The policies, by id."""

    def reach(self, agent: str, context: Mapping[str, object]) -> Reach:
        """What an agent may call, by what is known of all its calls' contexts (`Unknown` stands for what isn't)."""


class Reach(Protocol):
    """What an agent may call under some arguments: what no policy refuses whatever they are, and some may permit.

    Each policy is looked at for itself, so it may be more than the agent can really do, never less.
    """

    def tool(self, name: str) -> bool:
        """Whether it may call a tool, by its name (`CONNECTOR.OPERATION`)."""

    def model(self, action: str, name: str) -> bool:
        """Whether it may do something to a model (`chat`, `embed`…)."""


def judge(request: PolicyRequest, policies: Evaluates, *, proxied: bool = False) -> Verdict:
    """Combine what the policies say: errors refuse, then denials, then the want of a permit.

    Downgrades to different models can't both be fulfilled, and refuse. The lowest caps hold, and every throttle; what
    any policy redacts is redacted, and where one asks for a person's agreement, all that do have to be answered. Where
    everything is `proxied`, all policies are in shadow, and so is the want of a permit.
    """
    evaluation = policies.evaluate(request)
    if proxied:
        return _proxied(request, evaluation)
    verdict = _enforced(request, evaluation)
    shadow = _shadow(request, evaluation, verdict)
    redacts = [each for each in evaluation.matched if each.effect == "redact" and each.mode == "enforce"]
    redactions = all_of(map(_redactions, redacts)) if redacts else NO_REDACTIONS
    if not (shadow or evaluation.saw_utilisation or evaluation.undecided or redactions):
        return verdict
    return msgspec.structs.replace(
        verdict,
        shadow=shadow,
        saw_utilisation=evaluation.saw_utilisation,
        undecided=_undecided(evaluation, verdict),
        redactions=redactions,
    )


def _proxied(request: PolicyRequest, evaluation: Evaluation) -> Verdict:
    """Everything passes, and each policy is told of where it would have acted."""
    quiet = Evaluation(
        matched=tuple(msgspec.structs.replace(policy, mode="shadow") for policy in evaluation.matched),
        faults=tuple(msgspec.structs.replace(fault, mode="shadow") for fault in evaluation.faults),
    )
    passed = Reason(
        code="proxied", message="everything passes here, and is recorded: the tenant is in proxy mode"
    )
    verdict = Verdict(
        effect="allow",
        reasons=(passed,),
        throttles=tuple(_throttle(policy) for policy in quiet.matched if policy.effect == "throttle"),
        saw_utilisation=evaluation.saw_utilisation,
    )
    shadow = _shadow(request, quiet, verdict)
    if not any(policy.effect == "permit" for policy in evaluation.matched):
        shadow = (*shadow, Shadow(rule=NO_PERMIT, would="deny"))
    return msgspec.structs.replace(verdict, shadow=shadow)


def may_permit(request: PolicyRequest, evaluation: Evaluation) -> bool:
    """Whether a call would be permitted if each policy that is undecided came out as it is best for the call."""
    hoped = [policy for policy, _ in evaluation.undecided if policy.effect == "permit"]
    matched = [policy for policy in (*evaluation.matched, *hoped) if policy.mode == "enforce"]
    return not _refusals(request, evaluation.faults, matched)


def _refusals(
    request: PolicyRequest, faults: Iterable[PolicyFault], matched: list[Policy]
) -> tuple[Reason, ...]:
    """Why enforced policies refuse; nothing where they don't."""
    faults = [fault for fault in faults if fault.mode == "enforce"]
    if faults:
        return tuple(_fault(fault) for fault in faults)
    denials = [policy for policy in matched if policy.effect == "deny"]
    if denials:
        return tuple(_denial(policy) for policy in denials)
    if not any(policy.effect == "permit" for policy in matched):
        return (_no_permit(request),)
    downgrades = [policy for policy in matched if policy.model is not None]
    if len({policy.model for policy in downgrades}) > 1:
        return (_conflict(downgrades),)
    return ()


def _enforced(request: PolicyRequest, evaluation: Evaluation) -> Verdict:
    matched = [policy for policy in evaluation.matched if policy.mode == "enforce"]
    refusals = _refusals(request, evaluation.faults, matched)
    if refusals:
        return Verdict(effect="deny", reasons=refusals)
    permits = [policy for policy in matched if policy.effect == "permit"]
    downgrades = [policy for policy in matched if policy.model is not None]
    caps = [policy for policy in matched if policy.effect == "cap"]
    throttles = [policy for policy in evaluation.matched if policy.effect == "throttle"]
    redacts = [policy for policy in matched if policy.effect == "redact"]
    return Verdict(
        effect="allow",
        reasons=(
            *(_permit(policy) for policy in permits),
            *(_cap(policy) for policy in caps),
            *(_throttled(policy) for policy in throttles if policy.mode == "enforce"),
            *(_downgrade(policy) for policy in downgrades),
            *(_redacted(policy) for policy in redacts),
        ),
        model=next((policy.model for policy in downgrades), None),
        output_tokens_max=least(policy.output_tokens_max for policy in caps),
        cost_max_nano_usd=least(policy.cost_max_nano_usd for policy in caps),
        throttles=tuple(_throttle(policy) for policy in throttles),
        asks=tuple(_asks(policy) for policy in matched if policy.effect == "require_approval"),
        approvers=tuple((policy.id, policy.approvers) for policy in matched if policy.approvers),
    )


def _undecided(evaluation: Evaluation, verdict: Verdict) -> tuple[Undecided, ...]:
    """The policies that could change a verdict, were it known what they make of the call.

    None can where it is refused whatever they say: denials and errors stand, and only a permit helps for want of one.
    """
    acting = [each for each in evaluation.undecided if each[0].mode == "enforce"]
    if not verdict.permits:
        wants_permit = verdict.reasons[0].code == "no_permit"
        if not wants_permit or all(policy.effect != "permit" for policy, _ in acting):
            return ()
    return tuple(undecided for _, undecided in acting)


def least(limits: Iterable[int | None]) -> int | None:
    """The lowest of some limits, where there is one."""
    return min((limit for limit in limits if limit is not None), default=None)


def _shadow(request: PolicyRequest, evaluation: Evaluation, verdict: Verdict) -> tuple[Shadow, ...]:
    """What each rule in shadow, judged alone, would have changed. A permit only where the want of one refused."""
    found = [
        Shadow(rule=fault.policy, would="error", message=fault.message)
        for fault in evaluation.faults
        if fault.mode == "shadow"
    ]
    for policy in evaluation.matched:
        if policy.mode == "shadow":
            if policy.effect == "deny" and verdict.permits:
                found.append(Shadow(rule=policy.id, would="deny"))
            elif policy.effect == "cap" and verdict.permits:
                found.append(
                    Shadow(
                        rule=policy.id,
                        would="cap",
                        output_tokens_max=policy.output_tokens_max,
                        cost_max_nano_usd=policy.cost_max_nano_usd,
                    )
                )
            elif policy.effect == "require_approval" and verdict.permits and not verdict.asks:
                found.append(Shadow(rule=policy.id, would="require_approval"))
            elif policy.effect == "downgrade" and verdict.permits:
                if policy.model not in (verdict.model, request.resource):
                    found.append(Shadow(rule=policy.id, would="downgrade"))
            elif policy.effect == "redact" and verdict.permits:
                found.append(Shadow(rule=policy.id, would="redact", redactions=_redactions(policy)))
            elif policy.effect == "permit" and verdict.reasons[0].code == "no_permit":
                found.append(Shadow(rule=policy.id, would="allow"))
    return tuple(sorted(found, key=lambda each: each.rule))


def _fault(fault: PolicyFault) -> Reason:
    return Reason(
        code="policy_error",
        subject=fault.policy,
        message=f"policy `{fault.policy}` could not be evaluated, and a policy that errs refuses: {fault.message}",
    )


def _by(policy: Policy, code: ReasonCode, otherwise: str) -> Reason:
    """What a policy did, in its author's words if it has some."""
    return Reason(code=code, subject=policy.id, message=policy.reason or f"policy `{policy.id}` {otherwise}")


def _denial(policy: Policy) -> Reason:
    return _by(policy, "denied_by_policy", "denies this")


def _permit(policy: Policy) -> Reason:
    return _by(policy, "permitted", "permits this")


def _cap(policy: Policy) -> Reason:
    caps = []
    if policy.output_tokens_max is not None:
        caps.append(f"the answer at {policy.output_tokens_max} tokens")
    if policy.cost_max_nano_usd is not None:
        caps.append(f"the cost at {usd_text(policy.cost_max_nano_usd)}")
    return _by(policy, "capped", f"caps {' and '.join(caps)}")


def _throttle(policy: Policy) -> Throttle:
    return Throttle(
        policy=policy.id, limit=policy.limit, period_ns=policy.period_ns, per=policy.per, mode=policy.mode
    )


def _throttled(policy: Policy) -> Reason:
    return _by(
        policy, "throttled", f"lets {policy.limit} such calls through in {duration_text(policy.period_ns)}"
    )


def _asks(policy: Policy) -> Reason:
    return _by(policy, "approval_required", "wants a person to agree to this")


def _downgrade(policy: Policy) -> Reason:
    return _by(policy, "downgraded", f"has model `{policy.model}` called instead")


def _redactions(policy: Policy) -> Redactions:
    taken = Redaction(kinds=tuple(sorted(set(policy.kinds))), fields=tuple(sorted(set(policy.fields))))
    return Redactions(**dict.fromkeys(policy.sides, taken))


def _redacted(policy: Policy) -> Reason:
    what = ", ".join((*policy.kinds, *(f"`{field}`" for field in policy.fields)))
    return _by(policy, "redacted", f"redacts {what} in the {' and the '.join(policy.sides)}")


def _conflict(downgrades: list[Policy]) -> Reason:
    asked = ", ".join(f"`{policy.id}` for `{policy.model}`" for policy in downgrades)
    return Reason(
        code="obligation_unfulfilled",
        subject=downgrades[0].id,
        message=f"policies ask for different models instead, {asked}; only one can be called",
    )


def _no_permit(request: PolicyRequest) -> Reason:
    return Reason(
        code="no_permit",
        subject=request.action,
        message=f"no policy permits agent `{request.agent}` to do `{request.action}` "
        f"on {request.resource_type.lower()} `{request.resource}`",
    )
