"""`judge`: what the policies say of a call. Pure; before any lock; without live balances.

Every policy is evaluated as a `permit` and all matches come back (a native `forbid` that carries another effect
would be released by an approval that nobody permitted; and an erring `forbid` would be skipped). What they mean
together is decided here, in a fixed order, on matches sorted by id, so that the same call, facts and version
give the same decision to the byte.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from aegis_gateway.domain.decision import Reason, Verdict

PolicyEffect = Literal["permit", "deny"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy as the combination sees it: its effect and the words its author gave it."""

    id: str
    effect: PolicyEffect
    reason: str = ""


class PolicyFault(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that could not be evaluated on a call, and the evaluator's words."""

    policy: str
    message: str


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All policies that matched a call, and all that erred on it, each sorted by id."""

    matched: tuple[Policy, ...] = ()
    faults: tuple[PolicyFault, ...] = ()


class PolicyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call as policies see it: who (`agent`), does what (`action`), to what, in which context.

    `context` holds only values typed by the tool's declared arguments; decimals are `Decimal`.
    """

    agent: str
    action: str
    resource_type: Literal["Model", "Connector"]
    resource: str
    context: dict[str, object]


class Policies(Protocol):
    """A compiled set of policies, at one version."""

    @property
    def version(self) -> str:
        """The version, as it stands in each decision."""

    def evaluate(self, request: PolicyRequest) -> Evaluation:
        """Evaluate every policy that could match, in one go."""


def judge(request: PolicyRequest, policies: Policies) -> Verdict:
    """Combine what the policies say: errors refuse, then denials, then the want of a permit."""
    evaluation = policies.evaluate(request)
    if evaluation.faults:
        return Verdict(effect="deny", reasons=tuple(_fault(fault) for fault in evaluation.faults))
    denials = [policy for policy in evaluation.matched if policy.effect == "deny"]
    if denials:
        return Verdict(effect="deny", reasons=tuple(_denial(policy) for policy in denials))
    permits = [policy for policy in evaluation.matched if policy.effect == "permit"]
    if not permits:
        return Verdict(effect="deny", reasons=(_no_permit(request),))
    return Verdict(effect="allow", reasons=tuple(_permit(policy) for policy in permits))


def _fault(fault: PolicyFault) -> Reason:
    return Reason(
        code="policy_error",
        subject=fault.policy,
        message=f"policy `{fault.policy}` could not be evaluated, and a policy that errs refuses: {fault.message}",
    )


def _denial(policy: Policy) -> Reason:
    return Reason(
        code="denied_by_policy",
        subject=policy.id,
        message=policy.reason or f"policy `{policy.id}` denies this",
    )


def _permit(policy: Policy) -> Reason:
    return Reason(
        code="permitted", subject=policy.id, message=policy.reason or f"policy `{policy.id}` permits this"
    )


def _no_permit(request: PolicyRequest) -> Reason:
    return Reason(
        code="no_permit",
        subject=request.action,
        message=f"no policy permits agent `{request.agent}` to do `{request.action}` "
        f"on {request.resource_type.lower()} `{request.resource}`",
    )
