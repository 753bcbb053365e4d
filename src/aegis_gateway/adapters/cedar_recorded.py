"""Policies on calls from the record, which lacks some of their arguments; `cedar_doubt` says what is certain."""

from __future__ import annotations

from typing import Literal

import msgspec

from aegis_gateway.adapters.cedar import ANSWERS_REMEMBERED_MAX, CedarPolicies, CompiledPolicies, Question
from aegis_gateway.adapters.cedar_doubt import Doubt, Missing, doubt_of, parted
from aegis_gateway.adapters.cedar_question import asked
from aegis_gateway.adapters.cedar_sight import Key, Sight
from aegis_gateway.domain.judge import Evaluation, PolicyRequest
from aegis_gateway.domain.registry import Registry

_NOTHING = Sight(())


class RecordedPolicies(CedarPolicies):
    """One tenant's policies, which can also be asked about calls that lack some of their arguments."""

    def __init__(self, registry: Registry, compiled: CompiledPolicies) -> None:
        """Judge the agents of a registry by policies."""
        super().__init__(registry, compiled)
        self._doubts: dict[tuple[Question, Missing], Doubt | None] = {}
        self._doubtful: dict[tuple[Question, Missing, Key | None], Evaluation] = {}

    def looks_of(
        self, agent: str, action: str, resource_type: Literal["Model", "Connector"], resource: str
    ) -> Sight:
        """What those policies look at that can match a question."""
        prepared = self._prepared_for((agent, action, resource_type, resource))
        return _NOTHING if prepared is None else prepared[0].sight

    def evaluate(self, request: PolicyRequest) -> Evaluation:
        """Evaluate every policy that can match; those that the record can't decide are told apart."""
        known, missing = parted(request.context)
        if not missing:
            return super().evaluate(request)
        request = msgspec.structs.replace(request, context=known)
        question = (request.agent, request.action, request.resource_type, request.resource)
        prepared = self._prepared_for(question)
        if prepared is None:
            return Evaluation()
        whole, entities = prepared
        if (question, missing) not in self._doubts:
            self._doubts[question, missing] = doubt_of(whole.templates, missing)
        doubt = self._doubts[question, missing]
        if doubt is None:
            return super().evaluate(request)
        key = (question, missing, whole.sight.of(request.context))
        answer = self._doubtful.get(key)
        if answer is None:
            found = asked(request, doubt.policies, entities, whole.mentioned, self.rules)
            answer = doubt.told(found, self.rules)
            if key[2] is not None:
                if len(self._doubtful) >= ANSWERS_REMEMBERED_MAX:
                    self._doubtful.clear()
                self._doubtful[key] = answer
        return answer
