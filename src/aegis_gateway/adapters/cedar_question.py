"""A question to Cedar, and its answer in the words of `domain.judge`."""

from __future__ import annotations

from collections.abc import Mapping

import cedarpy
import msgspec

from aegis_gateway.adapters.cedar_slices import Mentioned, mentioned_part
from aegis_gateway.adapters.cedar_values import cedar_record
from aegis_gateway.domain.judge import Evaluation, Policy, PolicyFault, PolicyRequest

_encode = msgspec.json.Encoder().encode


def asked(
    request: PolicyRequest,
    policies: cedarpy.PolicySet,
    entities: cedarpy.Entities,
    mentioned: Mentioned,
    rules: Mapping[str, Policy],
) -> Evaluation:
    """Ask Cedar about all that some policies see of a call: `mentioned` is what they look at, `rules` what they are."""
    context = cedar_record(mentioned_part(request.context, mentioned), "context")
    answer = cedarpy.is_authorized(
        {
            "principal": {"type": "Agent", "id": request.agent},
            "action": {"type": "Action", "id": request.action},
            "resource": {"type": request.resource_type, "id": request.resource},
            "context": _encode(context).decode(),
        },
        policies,
        entities,
    )
    if answer.decision is cedarpy.Decision.NoDecision:
        faults = tuple(PolicyFault(policy="", message=message) for message in answer.diagnostics.errors) or (
            PolicyFault(policy="", message="the policies gave no decision"),
        )
        return Evaluation(faults=faults)
    return Evaluation(
        saw_utilisation=mentioned is None or "budget" in mentioned,
        matched=tuple(rules[name] for name in sorted(answer.diagnostics.reasons)),
        faults=tuple(_fault(message, rules) for message in sorted(answer.diagnostics.errors)),
    )


def _fault(message: str, rules: Mapping[str, Policy]) -> PolicyFault:
    """Cedar says: error while evaluating policy `NAME`: WHAT. A fault of nobody knows what refuses."""
    _, _, rest = message.partition("policy `")
    name, found, what = rest.partition("`: ")
    rule = rules.get(name)
    if not found or rule is None:
        return PolicyFault(policy="", message=message)
    return PolicyFault(policy=name, message=what, mode=rule.mode)
