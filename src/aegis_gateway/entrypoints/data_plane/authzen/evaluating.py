"""Evaluations: a yes for a tool is a decision like others, reserved and recorded; without `reserve`, and for models,
it is what would be decided if the call were made now.

Rule 1: a yes that nobody settles counts at its maximum. Its enforcement point settles it by the token that it gets.
Rule 2: models' calls come through the gateway and are decided there, so evaluations of them record and hold nothing.
Rule 3: an asker asks about itself, or about the agents that its registration says; for another one it is 403.
"""

from __future__ import annotations

import asyncio

from aegis_gateway.application.call_context import CallContext, Leaves
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.directory import KnownKey
from aegis_gateway.application.estimates import Estimates
from aegis_gateway.application.judgement import Describe, Described
from aegis_gateway.application.tracing import Trace
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.domain.registry import Agent
from aegis_gateway.entrypoints.data_plane.authzen.access_requests import AccessRequests
from aegis_gateway.entrypoints.data_plane.authzen.answers import (
    CUSTOM,
    Answer,
    decision_answer,
    estimate_answer,
    fault_answer,
    needs_obligation,
    refusal_answer,
    unfulfilled_answer,
)
from aegis_gateway.entrypoints.data_plane.authzen.denials import approval_of
from aegis_gateway.entrypoints.data_plane.authzen.mapping import AGENT, Target, action_on, agent_of, target_of
from aegis_gateway.entrypoints.data_plane.authzen.requests import (
    Batch,
    Entity,
    Evaluation,
    Ours,
    arguments_of,
    read,
)
from aegis_gateway.entrypoints.data_plane.estimates import EstimateRequest, description
from aegis_gateway.entrypoints.data_plane.tool_decisions import (
    ToolDecisions,
    ToolRequest,
    described_tool,
)

_BLANK = " "
_ADDRESS = "POST /access/v1/evaluation"


class Evaluating:
    """Answers evaluations."""

    def __init__(
        self, calls: Calls, decisions: ToolDecisions, estimates: Estimates, access: AccessRequests | None
    ) -> None:
        """Decide by `decisions`; say by `estimates` what would be decided, and by `access` how to ask a person."""
        self._access = access
        self._calls = calls
        self._decisions = decisions
        self._estimates = estimates

    async def evaluate(
        self,
        key: str | None,
        asked: Evaluation,
        base_url: str,
        trace: Trace | None = None,
        leaves: Leaves | None = None,
    ) -> Answer:
        """Answer one; `base_url` is where the asker reaches this gateway, `trace` its place in a trace. `leaves` waits
        until it has left.

        Raises:
            NotIdentified: the asker is unknown.
            CallError: the call cannot be understood, or the asker may not ask for that subject (403).
            LedgerUnavailable: the decision could not be made durable.
        """
        known, agent = await self._subject(key, asked.subject)
        if agent is None:
            who = f"subject `{asked.subject.type[:64]}` `{asked.subject.id[:128]}`"
            return refusal_answer(
                "unknown_subject", f"{who} is no agent here; subjects are of type `{AGENT}`"
            )
        resource, ours = asked.resource, asked.around.aegis
        target = target_of(known.view.registry, resource.type, resource.id, asked.action.name)
        context = CallContext(
            run=ours.run,
            parent=ours.parent,
            customer=ours.customer,
            idempotency_key=ours.name,
            address=_ADDRESS,
            subject=agent.id,
            approval=_approval(known, asked),
            trace=trace,
            door="authzen",
            leaves=leaves,
        )
        decision = None
        if target.model is not None:
            answer = await self._model(key, target, ours, context)
        else:
            arguments = arguments_of(asked.around, asked.action.properties, resource.properties)
            if ours.reserve:
                request = ToolRequest(tool=target.action, arguments=arguments, context=context)
                decision = await self._decisions.decide(key, request)
                answer = decision_answer(decision, base_url)
                if decision.decided is not None and self._access is not None:
                    answer["context"] |= self._access.context_of(known, asked, decision.decided, base_url)
            else:
                describe = described_as(target, arguments)
                answer = estimate_answer(await self._estimates.estimate(key, describe, context))
        supported = asked.around.obligations_supported
        if needs_obligation(answer) and supported is not None and CUSTOM not in supported:
            if decision is not None and decision.decided is not None and decision.token is not None:
                # It was decided for this request alone, so nobody runs it.
                await self._decisions.release(key, decision.decided.call, decision.token)
            return unfulfilled_answer(answer)
        return answer

    async def _subject(self, key: str | None, subject: Entity) -> tuple[KnownKey, Agent | None]:
        """Who asks, and about which agent; None where there is none.

        Raises:
            CallError: the asker may not ask for it.
        """
        known = await self._calls.callers.identify(key)
        try:
            agent = subject_of(known, subject.type, subject.id)
        except CallError:
            agent = None
        if agent is None:
            # What is not so by this copy may be so by now: look before saying no.
            known = await self._calls.callers.caller(key)
            agent = subject_of(known, subject.type, subject.id)
        return known, agent

    async def evaluate_all(
        self,
        key: str | None,
        batch: Batch,
        base_url: str,
        trace: Trace | None = None,
        leaves: Leaves | None = None,
    ) -> Answer:
        """Answer many, each by itself; in order, and until the first no or yes, where only that is wanted.

        Raises:
            NotIdentified: the asker is unknown.
        """
        await self._calls.callers.identify(key)

        async def one(raw: bytes) -> Answer:
            try:
                return await self.evaluate(key, read(Evaluation, raw), base_url, trace, leaves)
            except AegisError as fault:
                return fault_answer(fault)

        if batch.semantic == "execute_all":
            return {"evaluations": await asyncio.gather(*map(one, batch.evaluations))}
        last = batch.semantic == "permit_on_first_permit"
        answers: list[Answer] = []
        for raw in batch.evaluations:
            answers.append(await one(raw))
            if answers[-1]["decision"] is last:
                break
        return {"evaluations": answers}

    async def _model(self, key: str | None, target: Target, ours: Ours, context: CallContext) -> Answer:
        """What would be decided of a call of a model: of the request that is given, or of a prompt, or of a blank."""
        given = bytes(ours.request)
        prompt = ours.prompt if given or ours.prompt is not None else _BLANK
        request = EstimateRequest(
            model=target.model,
            request=ours.request,
            prompt=prompt,
            max_output_tokens=ours.max_output_tokens,
            api="embeddings" if target.action == "embed" else None,
        )
        view = (await self._calls.callers.identify(key)).view
        model = view.registry.models.get(target.model or "")
        if model is not None and target.action != action_on(model):
            words = f"`{target.action[:64]}` is not done to model `{model.id}`; `{action_on(model)}` is"
            return refusal_answer("unknown_tool", words)
        estimate = await self._estimates.estimate(key, description(view, request), context)
        return estimate_answer(estimate)


def subject_of(known: KnownKey, kind: str, name: str) -> Agent | None:
    """The agent that a subject is; None where there is none, for who may ask for all.

    Raises:
        CallError: the asker may not ask for it, whether there is one or not.
    """
    asker = known.agent
    if asker is not None and kind == AGENT and name == asker.id:
        return asker
    found = agent_of(known.view.registry, kind, name)
    if asker is not None and asker.may_ask_for(name if found is None else found.id):
        return found
    raise CallError(
        f"agent `{known.key.agent}` may not ask for subject `{name[:128]}`; it may for itself, as `{AGENT}`, "
        "and for those that its `asks_for` names",
        status=403,
        field="subject",
    )


def _approval(known: KnownKey, asked: Evaluation) -> str | None:
    """The approval that an evaluation says it stands on; one that was never given out is none for any call."""
    given = asked.around.approval
    return None if given is None else approval_of(known.view, given.id) or given.id


def described_as(target: Target, arguments: bytes) -> Describe[Described]:
    """How a tool's call is described that is only asked about."""
    return lambda view, _model, redactions: described_tool(view, target.action, arguments, redactions)


def may_reach(calls: Calls, known: KnownKey, agent: Agent, target: Target) -> bool:
    """Whether an agent may do something under some arguments."""
    view = calls.directory.copy.view_of(known.view.registry.tenant, agent.id) or known.view
    reach = calls.callers.reach_of(view, agent)
    return reach.tool(target.action) if target.model is None else reach.model(target.action, target.model)
