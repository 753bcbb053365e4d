"""Rejudging: what the policies of one configuration say of recorded calls, and what each would be as it would be sent.

Rule: it is `judgement_of` that judges, given a call as its door would describe it. A verdict is remembered for all
calls that its policies can't tell apart (the same agent, tool and resource, and the same key of what they look at),
unless it lowers the call or depends on how much of its budgets is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, Protocol

import msgspec

from aegis_gateway.application.asked import Asked
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.judgement import (
    Circumstances,
    Described,
    MeasuresOf,
    judgement_of,
    no_measures,
    policy_context,
)
from aegis_gateway.application.recorded import DeclaredThen, RecordedDecision, arguments_of
from aegis_gateway.application.runs import KnownRun, recorded_run
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.judge import Policies
from aegis_gateway.domain.measure import Measure
from aegis_gateway.domain.quote import Quote, quote_model, quote_proxied
from aegis_gateway.domain.redaction import Redactions
from aegis_gateway.domain.registry import UNREGISTERED, Agent, Argument, Connector, Key, Model, stranger
from aegis_gateway.domain.replication import too_deep
from aegis_gateway.domain.tools import UNLISTED_TOOL, tools_of

VERDICTS_REMEMBERED_MAX = 65_536
_BY_POLICIES = ("denied_by_policy", "no_permit", "policy_error")
_ARGUMENTS = frozenset(("args",))


class Looks(Protocol):
    """What the policies that can match a call look at of its context."""

    @property
    def heads(self) -> frozenset[str]:
        """The names in the context that they look at, or below."""

    def of(self, context: Mapping[str, object]) -> tuple[object, ...] | None:
        """A key that contexts share of which they say the same; None where there is none."""


class LookingPolicies(Policies, Protocol):
    """Policies that say what they look at."""

    def looks_of(
        self, agent: str, action: str, resource_type: Literal["Model", "Connector"], resource: str
    ) -> Looks:
        """What those look at that can match a question."""


class Rejudged(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict of a recorded call, and the call as it would be sent; as it was `asked`, if it is another model's now.

    `measures` are those of budgets by which it was judged.
    """

    connector: str
    model: str | None
    verdict: Verdict
    quote: Quote | None
    asked: Described | None = None
    measures: tuple[Measure, ...] = ()


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What is common to the calls of one tool by one agent: where they go, and what policies look at of them."""

    connector: str
    declared: tuple[Argument, ...]
    looks: Looks
    sees_arguments_only: bool


class Rejudging:
    """One configuration's word on the recorded calls of a tenant."""

    def __init__(
        self, view: TenantView, policies: LookingPolicies, keys: Mapping[str, Key], then: DeclaredThen
    ) -> None:
        """`policies` take the place of the view's; `then` says what was declared when a call was made."""
        self.view = msgspec.structs.replace(view, policies=policies)
        self.is_proxied = view.registry.proxy is not None
        self._policies = policies
        self._keys = keys
        self._then = then
        self._tools = tools_of(view.registry)
        self._kinds: dict[tuple[str, str, str, str | None], _Kind | None] = {}
        self._verdicts: dict[tuple[object, ...], Verdict] = {}

    def judge(
        self,
        decision: RecordedDecision,
        agent: Agent,
        used: int,
        measures_of: MeasuresOf | None = None,
    ) -> Rejudged:
        """Judge a call, with so much of its budgets used, and measures of theirs, where some may hold.

        Raises:
            CallError: policies can't look at it.
        """
        asked, recorded = decision.asked, decision.quote
        assert asked is not None, "only what was judged is judged anew"
        assert recorded is not None, "what was judged was quoted"
        if measures_of is not None:
            return self._judged(decision, asked, agent, used, measures_of)
        if decision.downgrade is not None or asked.also or asked.proxied is not self.is_proxied:
            return self._judged(decision, asked, agent, used)
        if self.view.registry.replication is not None and self._is_too_deep(decision, agent):
            return self._judged(decision, asked, agent, used)
        kind = (agent.id, decision.tool, decision.connector, decision.model)
        if kind not in self._kinds:
            if len(self._kinds) >= VERDICTS_REMEMBERED_MAX:
                self._kinds.clear()
            self._kinds[kind] = self._kind_of(agent, decision, asked)
        known = self._kinds[kind]
        if known is None:
            return self._judged(decision, asked, agent, used)
        quote = asked.quote(
            recorded.expected, recorded.maximum, recorded.price_source, recorded.price_version
        )
        arguments = arguments_of(decision, known.declared, self._then)
        if known.sees_arguments_only:
            seen = known.looks.of({"args": arguments})
        else:
            circumstances = self._circumstances(decision, asked, used)
            seen = known.looks.of(policy_context(agent, arguments, quote, self.view.registry, circumstances))
        if seen is None:
            return self._judged(decision, asked, agent, used)
        key = (kind, seen)
        verdict = self._verdicts.get(key)
        if verdict is None:
            judged = self._judged(decision, asked, agent, used)
            if judged.model == decision.model and _is_plain(judged.verdict):
                if len(self._verdicts) >= VERDICTS_REMEMBERED_MAX:
                    self._verdicts.clear()
                self._verdicts[key] = judged.verdict
            return judged
        return Rejudged(connector=known.connector, model=decision.model, verdict=verdict, quote=quote)

    def _kind_of(self, agent: Agent, decision: RecordedDecision, asked: Asked) -> _Kind | None:
        """What is common to an agent's calls of a tool; None where there is no such tool any more."""
        model, connector = self._place(decision.connector, decision.model, asked)
        declared = self._declared(decision.tool)
        if connector is None or declared is None:
            return None
        if model is None:
            looks = self._policies.looks_of(agent.id, decision.tool, "Connector", connector.id)
        else:
            looks = self._policies.looks_of(agent.id, decision.tool, "Model", model.id)
        return _Kind(
            connector=connector.id,
            declared=declared,
            looks=looks,
            sees_arguments_only=looks.heads <= _ARGUMENTS,
        )

    def _judged(
        self,
        decision: RecordedDecision,
        asked: Asked,
        agent: Agent,
        used: int,
        measures_of: MeasuresOf = no_measures,
    ) -> Rejudged:
        describe = partial(self._described, decision)
        circumstances = self._circumstances(decision, asked, used)
        judgement = judgement_of(self.view, agent, describe, circumstances, measures_of)
        return Rejudged(
            connector=judgement.described.connector,
            model=judgement.described.model,
            verdict=judgement.verdict,
            quote=judgement.quote,
            asked=None if judgement.downgraded_from is None else judgement.asked,
            measures=judgement.measures,
        )

    def _is_too_deep(self, decision: RecordedDecision, agent: Agent) -> bool:
        owner = self._owner(recorded_run(decision.run or "")) or agent.owner
        return too_deep(self.view.registry.replication, owner, decision.depth) is not None

    def _owner(self, run: KnownRun) -> str:
        """For whom a run counts, where that isn't its agent's owner."""
        first = self.view.registry.agents.get(run.delegators[0].agent) if run.delegators else None
        return first.owner if first is not None else ""

    def delegators(self, run: KnownRun) -> tuple[tuple[Agent, Key], ...]:
        """Who delegated a run, as far as they are still registered."""
        nobody = Key(id="", agent="", hash=b"", hint="", issued_ns=0)
        return tuple(
            (
                agent,
                self._keys.get(each.key) or msgspec.structs.replace(nobody, id=each.key, agent=each.agent),
            )
            for each in run.delegators
            if (agent := self.view.registry.agents.get(each.agent)) is not None
        )

    def _circumstances(self, decision: RecordedDecision, asked: Asked, used: int) -> Circumstances:
        run = recorded_run(decision.run or "")
        return Circumstances(
            now_ns=asked.judged_ns,
            run=decision.run or "",
            parent=decision.parent,
            depth=decision.depth,
            customer=decision.customer,
            utilisation=used,
            run_scope=run.scope,
            owner=self._owner(run),
        )

    def _place(
        self, connector: str, model: str | None, asked: Asked
    ) -> tuple[Model | None, Connector | None]:
        """The model that is called, if it is one, and what it is called by."""
        registry = self.view.registry
        if model is None:
            return None, registry.connectors.get(connector)
        known = registry.models.get(model) or self.view.unlisted(model, asked.kinds)
        return known, None if known is None else registry.connectors[known.connector]

    def _described(
        self, decision: RecordedDecision, _view: TenantView, instead: str | None, _redactions: Redactions
    ) -> Described:
        """A call as its door would describe it, as it was asked or as one of another model.

        What would be redacted of it isn't recorded; its price is taken for the same without it.
        """
        asked, quote = decision.asked, decision.quote
        assert asked is not None, "only what was judged is judged anew"
        assert quote is not None, "what was judged was quoted"
        model = decision.model if decision.downgrade is None else decision.downgrade.model
        if instead is not None:
            model = instead
        known, connector = self._place(decision.connector, model, asked)
        declared = self._declared(decision.tool)
        quoted: Quote | Reason
        if connector is None or declared is None:
            quoted = Reason(
                code="unknown_tool", subject=model or decision.tool, message="it is not configured"
            )
        elif known is not None and asked.kinds and connector.kind not in asked.kinds:
            quoted = Reason(code="unknown_tool", subject=known.id, message="it is of another API")
        elif known is not None and asked.shape is not None and self._is_priced_anew(asked, instead):
            quote_anew = quote_proxied if self.is_proxied else quote_model
            quoted = quote_anew(known, asked.shape)
        else:
            quoted = asked.quote(quote.expected, quote.maximum, quote.price_source, quote.price_version)
        return Described(
            connector="" if connector is None else connector.id,
            tool=decision.tool,
            also=asked.also,
            quote=quoted,
            arguments=arguments_of(decision, declared or (), self._then),
            canonical=b"",
            summary={},
            model=model,
            region="" if connector is None else connector.region,
            shape=asked.shape,
            kinds=asked.kinds,
        )

    def _declared(self, tool: str) -> tuple[Argument, ...] | None:
        """A tool's arguments; None where there is no such tool. Where everything passes, there is any."""
        declared = self._tools.get(tool)
        return () if declared is None and self.is_proxied and tool.endswith(UNLISTED_TOOL) else declared

    def _is_priced_anew(self, asked: Asked, instead: str | None) -> bool:
        """Whether a call's recorded quote is not the one that it would have: another model's, or in another mode."""
        return instead is not None or asked.proxied != self.is_proxied

    def agent(self, decision: RecordedDecision) -> Agent | None:
        """Whose call it is; a caller without a key is a stranger, where strangers are taken."""
        registry = self.view.registry
        agent = registry.agents.get(decision.agent)
        if agent is None and registry.takes_strangers and decision.agent.startswith(f"{UNREGISTERED}/"):
            return stranger(self.key(decision))
        return agent

    def key(self, decision: RecordedDecision) -> Key:
        """The key that a call was made with."""
        known = self._keys.get(decision.key)
        return known or Key(id=decision.key, agent=decision.agent, hash=b"", hint="", issued_ns=0)


def _is_plain(verdict: Verdict) -> bool:
    """Whether a verdict is the policies' alone, and leaves the call as it is."""
    lowers = (verdict.model, verdict.output_tokens_max, verdict.cost_max_nano_usd) != (None, None, None)
    if lowers or verdict.redactions or verdict.saw_utilisation or verdict.undecided:
        return False
    return verdict.permits or verdict.reasons[0].code in _BY_POLICIES
