"""A call judged: described as its door understood it, evaluated, and made what policies ask of it.

Rule: what is judged last is what is priced, reserved, recorded and sent; what can't be made what policies ask for is
      refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import msgspec

from aegis_gateway.application.directory import TenantView
from aegis_gateway.domain.decision import Reason, Shadow, Verdict, refusal, would_deny
from aegis_gateway.domain.judge import PolicyRequest, judge, least
from aegis_gateway.domain.measure import Measure, downgraded, with_measures
from aegis_gateway.domain.moment import moment
from aegis_gateway.domain.money import usd_rounded_up, usd_text
from aegis_gateway.domain.quote import USD, ModelShape, Quote, capped, capped_cost
from aegis_gateway.domain.redaction import NO_REDACTIONS, Counts, Redactions, all_of, told
from aegis_gateway.domain.registry import Agent, ConnectorKind, Registry
from aegis_gateway.domain.replication import too_deep

D_co = TypeVar("D_co", bound="Described", covariant=True)
D = TypeVar("D", bound="Described")

POLICY_DECIMALS = 4
"""Cedar's decimals have four places: costs are rounded up to them for policies to compare."""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A call as its door understood it, before anything is decided.

    `arguments` are the typed values that policies see; `canonical` the canonical bytes the record's digest is
    of; `summary` what the record shows. `quote` may be the reason why there is none. `also` are further tools that
    the call would use on the way (a web search that the provider makes): each is judged like the call itself.
    `stays_in_regions`: its tenant says where its data may be. A call of a model has the `shape` that it is priced
    by, and the `kinds` of connectors whose models could be called instead. `redacted` is what was taken out of it.
    """

    connector: str
    tool: str
    also: tuple[str, ...] = ()
    quote: Quote | Reason
    arguments: dict[str, object]
    canonical: bytes
    summary: dict[str, object]
    model: str | None = None
    region: str = ""
    stays_in_regions: bool = False
    shape: ModelShape | None = None
    kinds: tuple[ConnectorKind, ...] = ()
    redacted: Counts = {}


Describe: TypeAlias = Callable[[TenantView, str | None, Redactions], D]
"""How a door describes a call under a registry: as it was asked, or as one of another model; whole, or without what is
to be redacted. Its quote is the reason if that can't be done.
"""


MeasuresOf: TypeAlias = Callable[[Described], tuple[Measure, ...]]
"""Which measures of budgets are taken to hold for a call, as it is described."""


def no_measures(_described: Described) -> tuple[Measure, ...]:
    """None: no budget has passed anything."""
    return ()


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What of a call's circumstances policies see: when, in which run, for which call and customer, and how much of its
    budgets is used, as the last threshold that one of them has passed, in percent.

    Beside that, what budgets for each run count the run under (`run_scope`), and the owner for whom it counts, where
    that isn't the agent's own.
    """

    now_ns: int
    run: str = ""
    parent: str | None = None
    depth: int = 0
    customer: str | None = None
    utilisation: int = 0
    run_scope: str = ""
    owner: str = ""


class Judgement(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """A call as it is to be sent, what the policies say of it, and its quote, where it has one.

    `downgraded_from` is the model that was asked for, where it is another one's call now; `asked` is the call as it was
    asked for. `measures` are those of budgets by which it was judged.
    """

    asked: D_co
    described: D_co
    verdict: Verdict
    quote: Quote | None = None
    downgraded_from: str | None = None
    saved_nano_usd: int = 0
    watched: tuple[Shadow, ...] = ()
    measures: tuple[Measure, ...] = ()


def judgement_of(
    view: TenantView,
    agent: Agent,
    describe: Describe[D],
    circumstances: Circumstances,
    measures_of: MeasuresOf = no_measures,
) -> Judgement[D]:
    """Describe a call, judge it, and make of it what policies ask: lowered, another model's, without what they redact.

    Raises:
        CallError: the call cannot be understood.
    """
    lowered = _lowered_judgement(view, agent, describe, circumstances, measures_of)
    judgement = _in_shadow_redacted(view, describe, _redacted(view, describe, lowered))
    return _bounded_in_depth(view, agent, judgement, circumstances)


def _bounded_in_depth(
    view: TenantView, agent: Agent, judgement: Judgement[D], circumstances: Circumstances
) -> Judgement[D]:
    """What becomes of a call that policies permit and that is deeper than its owner's may be."""
    registry, verdict = view.registry, judgement.verdict
    reason = too_deep(registry.replication, circumstances.owner or agent.owner, circumstances.depth)
    if reason is None or not verdict.permits:
        return judgement
    if registry.replication_mode == "enforce":
        refused = msgspec.structs.replace(refusal(reason), redactions=verdict.redactions)
        return msgspec.structs.replace(judgement, verdict=refused)
    shadow = (*verdict.shadow, would_deny(reason))
    verdict = msgspec.structs.replace(verdict, shadow=shadow)
    return msgspec.structs.replace(judgement, verdict=verdict)


def _lowered_judgement(
    view: TenantView,
    agent: Agent,
    describe: Describe[D],
    circumstances: Circumstances,
    measures_of: MeasuresOf,
) -> Judgement[D]:
    """A call as it is to be sent, but for what is to be redacted. One that becomes another model's is judged again."""
    described = describe(view, None, NO_REDACTIONS)
    if isinstance(described.quote, Reason):
        return Judgement(asked=described, described=described, verdict=refusal(described.quote))
    measures = measures_of(described)
    first, quote = judged(agent, described, described.quote, view, circumstances, measures)
    model = first.model
    if model in (None, described.model) and first.permits and measures:
        first = _with_downgrade(first, _downgrade(view, describe, described, described.quote, measures))
        model = first.model
    if model is None or model == described.model:
        return Judgement(asked=described, described=described, verdict=first, quote=quote, measures=measures)
    lower = describe(view, model, NO_REDACTIONS)
    if lower.model != model or isinstance(lower.quote, Reason):
        why = lower.quote.message if isinstance(lower.quote, Reason) else f"`{described.tool}` is of no model"
        words = f"a policy has model `{model}` called instead, and that can't be: {why}"
        refused = _unfulfilled(described, words, first.redactions)
        return Judgement(
            asked=described, described=described, verdict=refused, quote=quote, measures=measures
        )
    lower_measures = measures_of(lower)
    second, lower_quote = judged(agent, lower, lower.quote, view, circumstances, lower_measures)
    if second.model not in (None, model):
        words = f"policies ask for `{model}`, and then for `{second.model}` instead"
        refused = _unfulfilled(described, words, first.redactions)
        return Judgement(
            asked=described, described=described, verdict=refused, quote=quote, measures=measures
        )
    if second.permits:
        asked = tuple(reason for reason in first.reasons if reason.code == "downgraded")
        shadow = {(each.rule, each.would): each for each in (*first.shadow, *second.shadow)}
        second = msgspec.structs.replace(
            second,
            reasons=tuple(dict.fromkeys((*second.reasons, *asked))),
            shadow=tuple(shadow.values()),
            undecided=tuple(dict.fromkeys((*first.undecided, *second.undecided))),
        )
    return Judgement(
        asked=described,
        described=lower,
        verdict=msgspec.structs.replace(second, redactions=all_of((first.redactions, second.redactions))),
        quote=lower_quote,
        downgraded_from=described.model,
        saved_nano_usd=quote.expected.get(USD, 0) - lower_quote.expected.get(USD, 0),
        measures=tuple(dict.fromkeys((*measures, *lower_measures))),
    )


def _downgrade(
    view: TenantView, describe: Describe[D], described: D, quote: Quote, measures: tuple[Measure, ...]
) -> Measure | None:
    """The measure by which a call is another model's: the cheapest of those that can be called for it and are cheaper.

    Others are none of its: a budget's calls of tools, or of models that cost less already, go on as they are.
    """
    found: tuple[int, Measure] | None = None
    least_nano_usd = quote.expected.get(USD)
    for each in measures:
        if each.kind != "downgrade" or each.mode != "enforce" or each.model == described.model:
            continue
        if described.model is None or least_nano_usd is None:
            continue
        lower = describe(view, each.model, NO_REDACTIONS)
        if lower.model != each.model or isinstance(lower.quote, Reason):
            continue
        cost = lower.quote.expected.get(USD)
        if cost is not None and cost < (least_nano_usd if found is None else found[0]):
            found = cost, each
    return None if found is None else found[1]


def _with_downgrade(verdict: Verdict, measure: Measure | None) -> Verdict:
    if measure is None:
        return verdict
    reasons = (*verdict.reasons, downgraded(measure))
    return msgspec.structs.replace(verdict, reasons=reasons, model=measure.model)


def _redacted(view: TenantView, describe: Describe[D], judgement: Judgement[D]) -> Judgement[D]:
    """The call without what policies redact, quoted again. A refused one is redacted too: its record shows of it."""
    verdict, whole = judgement.verdict, judgement.described
    if not verdict.redactions:
        return judgement
    sent = describe(view, _model_instead(judgement), verdict.redactions)
    if isinstance(sent.quote, Reason):
        if verdict.permits:
            verdict = _unfulfilled(whole, sent.quote.message)
        shown = msgspec.structs.replace(whole, summary={})
        return msgspec.structs.replace(judgement, described=shown, verdict=verdict)
    new_quote = sent.quote
    # What tells a call from others is what was asked.
    sent = msgspec.structs.replace(sent, canonical=whole.canonical)
    if not verdict.permits:
        return msgspec.structs.replace(judgement, described=sent)
    quote = _lowered(sent, new_quote, verdict.output_tokens_max, verdict.cost_max_nano_usd)
    if isinstance(quote, str):
        return msgspec.structs.replace(judgement, described=sent, verdict=_unfulfilled(sent, quote))
    if sent.redacted:
        what = f"redacted in the arguments: {told(sent.redacted)}"
        reason = Reason(code="redacted", subject="arguments", message=what)
        verdict = msgspec.structs.replace(verdict, reasons=(*verdict.reasons, reason))
    return msgspec.structs.replace(judgement, described=sent, verdict=verdict, quote=quote)


def _in_shadow_redacted(view: TenantView, describe: Describe[D], judgement: Judgement[D]) -> Judgement[D]:
    """What redactions in shadow would have found, each alone. What they would find in the response is seen later."""
    verdict = judgement.verdict
    if not any(each.would == "redact" for each in verdict.shadow):
        return judgement
    kept: list[Shadow] = []
    watched: list[Shadow] = []
    for each in verdict.shadow:
        if each.would != "redact":
            kept.append(each)
            continue
        alone = describe(view, _model_instead(judgement), each.redactions)
        if isinstance(alone.quote, Reason):
            kept.append(Shadow(rule=each.rule, would="deny", message=alone.quote.message))
        elif alone.redacted:
            kept.append(Shadow(rule=each.rule, would="redact", message=told(alone.redacted)))
        elif each.redactions.response:
            watched.append(each)
    verdict = msgspec.structs.replace(verdict, shadow=tuple(kept))
    return msgspec.structs.replace(judgement, verdict=verdict, watched=tuple(watched))


def _model_instead(judgement: Judgement[Described]) -> str | None:
    return judgement.described.model if judgement.downgraded_from is not None else None


def _unfulfilled(described: Described, message: str, redactions: Redactions = NO_REDACTIONS) -> Verdict:
    refused = refusal(Reason(code="obligation_unfulfilled", subject=described.tool, message=message))
    return msgspec.structs.replace(refused, redactions=redactions) if redactions else refused


def judged(
    agent: Agent,
    described: Described,
    quote: Quote,
    view: TenantView,
    circumstances: Circumstances,
    measures: tuple[Measure, ...] = (),
) -> tuple[Verdict, Quote]:
    """What policies and budgets' measures say of a call, and the quote of it as it is to be sent: lowered, if capped.

    What cannot be lowered as they ask is refused.
    """
    context = policy_context(agent, described.arguments, quote, view.registry, circumstances)
    verdict = _judged(agent, described, context, view)
    if measures:
        verdict = with_measures(verdict, measures)
    lower = _lowered(described, quote, verdict.output_tokens_max, verdict.cost_max_nano_usd)
    if isinstance(lower, str):
        return _unfulfilled(described, lower, verdict.redactions), quote
    if verdict.shadow:
        shadow = tuple(
            each for each in verdict.shadow if each.would != "cap" or _lowers(described, lower, each)
        )
        verdict = msgspec.structs.replace(verdict, shadow=shadow)
    return verdict, lower


def _lowered(
    described: Described, quote: Quote, tokens: int | None, cost_nano_usd: int | None
) -> Quote | str:
    """The quote of a call that is lowered to a policy's caps, or why it can't be."""
    if tokens is not None:
        shorter = capped(quote, tokens)
        if shorter is None:
            return f"a policy caps the answer's tokens, and `{described.tool}` has no limit to lower"
        quote = shorter
    if cost_nano_usd is not None:
        cheaper = capped_cost(quote, cost_nano_usd)
        if cheaper is None:
            most = usd_text(quote.maximum[USD]) if USD in quote.maximum else "more than anything bounds"
            cap = usd_text(cost_nano_usd)
            return (
                f"a policy caps the cost at {cap}, and the call may cost {most} and can't be lowered so far"
            )
        quote = cheaper
    return quote


def _lowers(described: Described, quote: Quote, cap: Shadow) -> bool:
    """Whether a cap in shadow would have changed a call: lowered it, or refused it for want of a way to."""
    return _lowered(described, quote, cap.output_tokens_max, cap.cost_max_nano_usd) != quote


def _judged(agent: Agent, described: Described, context: dict[str, object], view: TenantView) -> Verdict:
    """What the policies say of a call, and then of each tool that it would use on the way: all must be permitted."""
    policies, proxied = view.policies, view.registry.proxy is not None
    if not described.also:
        return judge(_policy_request(agent, described, described.tool, context), policies, proxied=proxied)
    tools = (described.tool, *described.also)
    reasons: tuple[Reason, ...] = ()
    shadow: dict[tuple[str, str], Shadow] = {}
    permitted: list[Verdict] = []
    models: set[str] = set()
    redactions = NO_REDACTIONS
    for tool in tools:
        verdict = judge(_policy_request(agent, described, tool, context), policies, proxied=proxied)
        # Another permit helps only if nothing is left that may want one, anything else only if nothing denies.
        redactions = all_of((redactions, verdict.redactions))
        found = {(each.rule, each.would): each for each in verdict.shadow}
        shadow |= {key: each for key, each in found.items() if each.would != "allow" or tool == tools[-1]}
        if not verdict.permits:
            left = tuple(each for each in shadow.values() if each.would in ("allow", "error"))
            return Verdict(
                effect=verdict.effect,
                reasons=verdict.reasons,
                shadow=left,
                undecided=verdict.undecided,
                redactions=redactions,
            )
        reasons += verdict.reasons
        permitted.append(verdict)
        if verdict.model is not None:
            models.add(verdict.model)
    if len(models) > 1:
        asked = " and ".join(f"`{model}`" for model in sorted(models))
        return _unfulfilled(
            described, f"policies ask for {asked} instead; only one can be called", redactions
        )
    return Verdict(
        effect="allow",
        reasons=reasons,
        shadow=tuple(shadow.values()),
        output_tokens_max=least(each.output_tokens_max for each in permitted),
        cost_max_nano_usd=least(each.cost_max_nano_usd for each in permitted),
        model=next(iter(models), None),
        throttles=tuple(dict.fromkeys(throttle for each in permitted for throttle in each.throttles)),
        asks=tuple(dict.fromkeys(reason for each in permitted for reason in each.asks)),
        approvers=tuple(dict.fromkeys(named for each in permitted for named in each.approvers)),
        saw_utilisation=any(each.saw_utilisation for each in permitted),
        undecided=tuple(dict.fromkeys(each for verdict in permitted for each in verdict.undecided)),
        redactions=redactions,
    )


def policy_context(
    agent: Agent,
    arguments: dict[str, object],
    quote: Quote,
    registry: Registry,
    circumstances: Circumstances,
) -> dict[str, object]:
    """All that policies may look at of a call, beside who calls what."""
    cost: dict[str, object] = {"expected_usd": usd_rounded_up(quote.expected.get(USD, 0), POLICY_DECIMALS)}
    if USD in quote.maximum:
        cost["maximum_usd"] = usd_rounded_up(quote.maximum[USD], POLICY_DECIMALS)
    context: dict[str, object] = {
        "args": arguments,
        "environment": agent.environment,
        "cost": cost,
        "time": moment(registry.zone, circumstances.now_ns, registry.business_hours),
        "run": circumstances.run,
        "depth": circumstances.depth,
        "budget": {"utilisation": circumstances.utilisation},
    }
    if circumstances.parent is not None:
        context["parent"] = circumstances.parent
    if circumstances.customer is not None:
        context["customer"] = circumstances.customer
    return context


def _policy_request(
    agent: Agent, described: Described, action: str, context: dict[str, object]
) -> PolicyRequest:
    return PolicyRequest(
        agent=agent.id,
        action=action,
        resource_type="Model" if described.model is not None else "Connector",
        resource=described.model if described.model is not None else described.connector,
        context=context,
    )
