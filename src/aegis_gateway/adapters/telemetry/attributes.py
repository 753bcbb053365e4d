"""What spans and metrics say of a call, by the names of the conventions and by ours.

Rule 1: values come from the registry, the decision and the bill, never from a request: no prompts, arguments, answers
        or keys; what a caller made up (a model or tool that there is not) is called `unknown`.
Rule 2: what a metric is told apart by is bounded by what is configured: no calls, runs or customers.
Rule 3: money is an exact integer (`…nano_usd`) and decimal text; the doubles that conventions want stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from aegis_gateway.application.commands import Admit, Admitted, Attribution
from aegis_gateway.application.runs import recorded_run
from aegis_gateway.application.tracing import AnswerOrigin, CallAsked, DecisionTold
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.decision import Effect, Reason, ReasonCode
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import NANO_PER_USD, usd_decimal_text
from aegis_gateway.domain.price import INPUT_KINDS, OUTPUT_KINDS, ChargeLine, Kind
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.registry import UNREGISTERED, Registry
from aegis_gateway.domain.tools import MODEL_TOOLS

Value = str | int | float | bool | tuple[str, ...]
Attributes = dict[str, Value]

UNKNOWN = "unknown"
UNDECIDED: Literal["undecided"] = "undecided"
REPEATED: Literal["repeated"] = "repeated"
"""What stands for the decision of a call that nobody decided, or that gets the answer of another."""
OPERATION = "gen_ai.operation.name"
EXECUTE_TOOL = "execute_tool"
ASKED_OF_MODELS = {"chat": "chat", "embed": "embeddings", "count-tokens": "count_tokens"}
PROVIDERS = {
    "azure": "azure.ai.openai", "google": "gcp.gemini", "gemini": "gcp.gemini", "mistral": "mistral_ai",
    "x-ai": "x_ai", "aws": "aws.bedrock",
}  # fmt: skip
"""Providers whose name in the conventions isn't the one that we know them by."""

_MADE_HERE: tuple[ReasonCode, ...] = (
    "permitted", "proxied", "denied_by_policy", "no_permit", "unknown_price", "budget_exhausted", "budget_measure",
    "too_many_instances", "too_deep", "too_many_runs", "run_ended", "rate_limited", "key_not_valid",
    "clock_fell_back", "capped", "downgraded", "throttled", "redacted", "approval_required", "too_many_approvals",
)  # fmt: skip
"""The reasons whose sentences are made of what is configured, and of numbers. Others may quote requests or people."""
_PARTS: tuple[tuple[tuple[Kind, ...], *tuple[str, ...]], ...] = (
    (("cache_read", "cache_read_audio", "cache_read_image"),
     "gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read"),
    (("cache_write", "cache_write_1h"),
     "gen_ai.usage.cache_creation.input_tokens", "llm.token_count.prompt_details.cache_write"),
    (("input_audio", "cache_read_audio"),
     "gen_ai.usage.audio.input_tokens", "llm.token_count.prompt_details.audio"),
    (("input_image", "cache_read_image"), "gen_ai.usage.image.input_tokens"),
    (("input_video",), "gen_ai.usage.video.input_tokens"),
    (("output_audio",), "gen_ai.usage.audio.output_tokens", "llm.token_count.completion_details.audio"),
    (("reasoning",), "gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning"),
)  # fmt: skip
"""Parts of the tokens in and out, where there are any: which kinds they are, and the names that they are told by."""
_OPEN_INFERENCE = {"chat": "LLM", "embeddings": "EMBEDDING", EXECUTE_TOOL: "TOOL"}
"""What Phoenix takes a span for, by its operation."""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A span's name, whether the gateway calls something for it, and by what its call is measured."""

    name: str
    is_model: bool
    is_mcp: bool
    measured_by: dict[str, str]


def named(asked: CallAsked, decision: Effect | Literal["undecided", "repeated"]) -> Named:
    """What a call's span is called."""
    who, registry = asked.command.attribution, asked.registry
    connector = registry.connectors.get(who.connector)
    measured_by = {
        "aegis.tenant": asked.command.tenant,
        "aegis.team": who.team,
        "aegis.cost_centre": who.cost_centre,
        "gen_ai.agent.id": UNREGISTERED if who.team == UNREGISTERED else who.agent,
        "aegis.decision": decision,
    }
    if who.tool in MODEL_TOOLS:
        operation = ASKED_OF_MODELS.get(who.tool, who.tool)
        model = who.model if who.model in registry.models else None
        if connector is not None:
            provider = connector.provider or connector.kind
            measured_by["gen_ai.provider.name"] = PROVIDERS.get(provider, provider)
        measured_by |= {OPERATION: operation, "gen_ai.request.model": model or UNKNOWN}
        return Named(
            name=f"{operation} {model or UNKNOWN}", is_model=True, is_mcp=False, measured_by=measured_by
        )
    tool = tool_name(who.connector, who.tool, registry)
    measured_by |= {OPERATION: EXECUTE_TOOL, "gen_ai.tool.name": tool}
    method = asked.mcp.get("mcp.method.name")
    return Named(
        name=f"{method or EXECUTE_TOOL} {tool}",
        is_model=False,
        is_mcp=method is not None,
        measured_by=measured_by,
    )


def tool_name(connector: str, tool: str, registry: Registry) -> str:
    """A tool's name as it is configured; what nobody configured has none of its caller's making."""
    found = registry.connectors.get(connector)
    if found is None:
        return UNKNOWN
    is_declared = any(tool == f"{connector}.{operation.id}" for operation in found.operations)
    return tool if is_declared else f"{connector}.?"


def call_attributes(asked: CallAsked, named_: Named) -> Attributes:
    """What a span says of its call however it is decided: whose it is, of what, under which versions."""
    command, registry = asked.command, asked.registry
    who = command.attribution
    found: dict[str, Value | None] = {
        **named_.measured_by,
        **asked.mcp,
        "gen_ai.agent.id": who.agent,
        "gen_ai.tool.type": None if named_.is_model else "function",
        "gen_ai.request.model": named_.measured_by.get("gen_ai.request.model"),
        "aegis.call.id": command.call,
        "aegis.connector": who.connector if who.connector in registry.connectors else None,
        "aegis.owner": who.owner,
        "aegis.purpose": who.purpose,
        "aegis.environment": who.environment,
        "aegis.project": who.project,
        "aegis.region": who.region or None,
        "aegis.run.id": who.run,
        "aegis.parent.id": who.parent,
        "aegis.depth": who.depth,
        "aegis.asked_by": who.asked_by,
        "aegis.downgraded_from": who.downgraded_from if who.downgraded_from in registry.models else None,
        "aegis.policy.version": command.policy_version,
        "aegis.config.version": command.config_version,
        "openinference.span.kind": _OPEN_INFERENCE.get(named_.measured_by[OPERATION]),
        "llm.model_name": named_.measured_by.get("gen_ai.request.model"),
        "agent_id": who.agent,
        "parent_agent_id": _parent_agent(who),
        "policy_version": command.policy_version,
        "tool_name": named_.measured_by.get("gen_ai.tool.name", who.tool),
    }
    return {name: value for name, value in found.items() if value is not None}


def _parent_agent(who: Attribution) -> str | None:
    """The agent that asked for the call, or else the one that delegated its run."""
    if who.asked_by is not None or who.run is None:
        return who.asked_by
    delegators = recorded_run(who.run).delegators
    return delegators[-1].agent if delegators else None


def decision_attributes(told: DecisionTold, named_: Named) -> Attributes:
    """What a span says of its call once that is decided."""
    admitted = told.admitted
    reasons = tuple(map(reason_text, admitted.reasons))
    found: dict[str, Value | None] = {
        "aegis.reason.codes": tuple(reason.code for reason in admitted.reasons),
        "aegis.reasons": reasons,
        "aegis.wait_ms": admitted.wait_ns // 1_000_000 or None,
        "aegis.shadow": tuple(f"{each.rule}: {each.would}" for each in told.command.verdict.shadow) or None,
        "aegis.record.sequence": admitted.sequence,
        "decision": admitted.effect,
        "decision_reason": "; ".join(reasons),
        **_estimated(told.command, admitted),
        **_approval(admitted),
    }
    return call_attributes(told, named_) | {name: value for name, value in found.items() if value is not None}


def answer_attributes(origin: AnswerOrigin) -> Attributes:
    """What a span says of who made a model's answer, as the provider names it."""
    found = {"gen_ai.response.model": origin.model, "gen_ai.response.id": origin.id}
    return {name: value for name, value in found.items() if value is not None}


def whose(asked: CallAsked, named_: Named) -> dict[str, str]:
    """What a settlement that has a span of its own says of its call, so that its cost can be put down to somebody."""
    who = asked.command.attribution
    found = {
        "aegis.owner": who.owner,
        "aegis.purpose": who.purpose,
        "aegis.run.id": who.run,
        "agent_id": who.agent,
        "tool_name": named_.measured_by.get("gen_ai.tool.name", who.tool),
    }
    return {name: value for name, value in found.items() if value is not None}


def _estimated(command: Admit, admitted: Admitted) -> Attributes:
    found: Attributes = {}
    quote = command.quote
    if quote is not None and USD in quote.expected:
        found["aegis.cost.estimated_nano_usd"] = quote.expected[USD]
        found["estimated_cost"] = _dollars(quote.expected[USD])
    if USD in admitted.maximum:
        found["aegis.cost.maximum_nano_usd"] = admitted.maximum[USD]
    return found


def _approval(admitted: Admitted) -> Attributes:
    note = admitted.approval
    if note is None:
        return {}
    return {"aegis.approval.id": note.id, "aegis.approval.state": note.state, "approval_id": note.id}


def reason_text(reason: Reason) -> str:
    """A reason in words, or its code alone where its words may be somebody else's."""
    return reason.message if reason.code in _MADE_HERE else reason.code


def tokens_of(evidence: Evidence) -> tuple[int, int] | None:
    """How many tokens went in and came out, by the bill; None where it doesn't say."""
    units = {line.kind: line.quantity for line in evidence.lines}
    if evidence.source != "usage" or not units.keys() & {*INPUT_KINDS, *OUTPUT_KINDS}:
        return None
    return _sum(units, INPUT_KINDS), _sum(units, OUTPUT_KINDS)


def settlement_attributes(evidence: Evidence, cost_nano_usd: int | None, *, overrun: bool) -> Attributes:
    """What a span says of what its call came to. `cost_nano_usd` is None where it isn't settled by that."""
    found: Attributes = {"aegis.settlement.source": evidence.source, "aegis.overrun": overrun}
    if cost_nano_usd is not None:
        found |= _cost(evidence.lines, cost_nano_usd)
    tokens = tokens_of(evidence)
    if tokens is not None:
        found |= _tokens(evidence.lines, *tokens)
    return found


def _cost(lines: Iterable[ChargeLine], cost_nano_usd: int) -> Attributes:
    lines = tuple(lines)
    input_, output = (
        _dollars(sum(line.nano_usd for line in lines if line.kind in kinds))
        for kinds in (INPUT_KINDS, OUTPUT_KINDS)
    )
    total = _dollars(cost_nano_usd)
    details = {line.kind: _dollars(line.nano_usd) for line in lines} | {"total": total}
    source: Literal["provider", "local"] = (
        "provider" if any(line.kind == "stated" for line in lines) else "local"
    )
    found: Attributes = {
        "aegis.cost.nano_usd": cost_nano_usd,
        "aegis.cost.usd": usd_decimal_text(cost_nano_usd),
        "gen_ai.usage.cost.amount": total,
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": source,
        "gen_ai.usage.cost": total,
        "langfuse.observation.cost_details": msgspec.json.encode(details).decode(),
        "llm.cost.total": total,
        "cost_per_call": total,
    }
    if any(line.kind in (*INPUT_KINDS, *OUTPUT_KINDS) for line in lines):
        found |= {"llm.cost.prompt": input_, "llm.cost.completion": output}
    return found


def _tokens(lines: Iterable[ChargeLine], input_: int, output: int) -> Attributes:
    units = {line.kind: line.quantity for line in lines}
    found: Attributes = {
        "gen_ai.usage.input_tokens": input_,
        "gen_ai.usage.output_tokens": output,
        "llm.token_count.prompt": input_,
        "llm.token_count.completion": output,
        "llm.token_count.total": input_ + output,
    }
    for kinds, *names in _PARTS:
        if count := _sum(units, kinds):
            found |= dict.fromkeys(names, count)
    return found


def approval_attributes(approval: Approval) -> Attributes:
    """What a span says of a request for a person's word that is over, without what people said, who may quote."""
    return {
        "aegis.tenant": approval.tenant,
        "aegis.approval.id": approval.id,
        "aegis.approval.kind": approval.kind,
        "aegis.approval.state": approval.state,
        "aegis.approval.requester": approval.requester,
        "aegis.approval.answers": len(approval.answers),
        "aegis.approval.by": tuple(answer.by for answer in approval.answers),
        "aegis.approval.via": tuple(sorted({answer.via for answer in approval.answers} - {""})),
        "aegis.approval.policies": approval.policies,
        "aegis.approval.level": approval.level,
        "aegis.policy.version": approval.policy_version,
        "approval_id": approval.id,
        "agent_id": approval.requester,
        "decision": approval.state,
        "policy_version": approval.policy_version,
        **(
            {}
            if approval.expected_nano_usd is None
            else {
                "aegis.cost.estimated_nano_usd": approval.expected_nano_usd,
                "estimated_cost": _dollars(approval.expected_nano_usd),
            }
        ),
    }


def _dollars(nano_usd: int) -> float:
    """An amount as the double that conventions want: the exact one stands beside it."""
    return nano_usd / NANO_PER_USD


def _sum(units: dict[str, int], kinds: Iterable[str]) -> int:
    return sum(units.get(kind, 0) for kind in kinds)
