"""Policies on calls from the record, which lacks some of their arguments: what is certain, and what nobody can say.

Rule 1: an expression that doesn't touch what is missing comes to the same without it. So policies are evaluated
        without: one that errs and mentions what is missing is undecided; one that doesn't err never touched it.
Rule 2: where it is known that an argument was there, `has` is true of it, whatever its value. Where it is not, or where
        a record is looked at as a whole that it is missing from, the policy is undecided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

import cedarpy
import msgspec
from cedarpy import pst

from aegis_gateway.adapters.cedar import ANSWERS_REMEMBERED_MAX, CedarPolicies, CompiledPolicies, Question
from aegis_gateway.adapters.cedar_sight import Key, Sight
from aegis_gateway.adapters.cedar_slices import Slice, policy_set
from aegis_gateway.adapters.cedar_tree import Use, context_uses, path_of
from aegis_gateway.domain.decision import Undecided
from aegis_gateway.domain.judge import Evaluation, PolicyFault, PolicyRequest, Unrecorded
from aegis_gateway.domain.registry import Registry

Missing: TypeAlias = "tuple[tuple[str, Unrecorded], ...]"
"""Names of arguments, and what is known of each."""

_ARGUMENTS = "args"
_NOTHING = Sight(())


class _Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """A slice's policies for calls that lack some arguments, and which of them they mention; `never` are those that
    nothing can be said of.
    """

    policies: cedarpy.PolicySet
    mentions: dict[str, tuple[str, ...]]
    never: frozenset[str]


class RecordedPolicies(CedarPolicies):
    """One tenant's policies, which can also be asked about calls that lack some of their arguments."""

    def __init__(self, registry: Registry, compiled: CompiledPolicies) -> None:
        """Judge the agents of a registry by policies."""
        super().__init__(registry, compiled)
        self._doubts: dict[tuple[Question, Missing], _Doubt | None] = {}
        self._doubtful: dict[tuple[Question, Missing, Key | None], Evaluation] = {}

    def looks_of(
        self, agent: str, action: str, resource_type: Literal["Model", "Connector"], resource: str
    ) -> Sight:
        """What those policies look at that can match a question."""
        prepared = self._prepared_for((agent, action, resource_type, resource))
        return _NOTHING if prepared is None else prepared[0].sight

    def evaluate(self, request: PolicyRequest) -> Evaluation:
        """Evaluate every policy that can match; those that the record can't decide are told apart."""
        arguments = cast("Mapping[str, object]", request.context[_ARGUMENTS])
        missing = tuple((name, value) for name, value in arguments.items() if isinstance(value, Unrecorded))
        if not missing:
            return super().evaluate(request)
        known = {name: value for name, value in arguments.items() if not isinstance(value, Unrecorded)}
        request = msgspec.structs.replace(request, context={**request.context, _ARGUMENTS: known})
        question = (request.agent, request.action, request.resource_type, request.resource)
        prepared = self._prepared_for(question)
        if prepared is None:
            return Evaluation()
        whole, entities = prepared
        if (question, missing) not in self._doubts:
            self._doubts[question, missing] = _doubt(whole, missing)
        doubt = self._doubts[question, missing]
        if doubt is None:
            return super().evaluate(request)
        key = (question, missing, whole.sight.of(request.context))
        answer = self._doubtful.get(key)
        if answer is None:
            answer = self._told(self._ask(request, whole, doubt.policies, entities), doubt)
            if key[2] is not None:
                if len(self._doubtful) >= ANSWERS_REMEMBERED_MAX:
                    self._doubtful.clear()
                self._doubtful[key] = answer
        return answer

    def _told(self, answer: Evaluation, doubt: _Doubt) -> Evaluation:
        """What is certain of an answer, and what is not."""

        def is_open(fault: PolicyFault) -> bool:
            return fault.policy in doubt.mentions

        undecided = doubt.never | {fault.policy for fault in answer.faults if is_open(fault)}
        return msgspec.structs.replace(
            answer,
            matched=tuple(policy for policy in answer.matched if policy.id not in undecided),
            faults=tuple(fault for fault in answer.faults if not is_open(fault)),
            undecided=tuple(
                (self.rules[name], Undecided(rule=name, missing=doubt.mentions[name]))
                for name in sorted(undecided)
            ),
        )


def _doubt(whole: Slice, missing: Missing) -> _Doubt | None:
    """A slice for calls that lack arguments; None where none of its policies mentions any of them."""
    mentions: dict[str, tuple[str, ...]] = {}
    never: set[str] = set()
    for name, template in whole.templates.items():
        uses = [use for clause in template.clauses for use in context_uses(clause)]
        mentioned = tuple(argument for argument, _ in missing if any(_touches(use, argument) for use in uses))
        if mentioned:
            mentions[name] = mentioned
        if any(_is_beyond(use, *each) for use in uses for each in missing):
            never.add(name)
    if not mentions:
        return None
    there = frozenset(argument for argument, known in missing if known is Unrecorded.VALUE)
    templates = {name: cast(pst.Template, _granted(each, there)) for name, each in whole.templates.items()}
    return _Doubt(
        policies=policy_set(templates),
        mentions=mentions,
        never=frozenset(never),
    )


def _touches(use: Use, argument: str) -> bool:
    """Whether a use depends on an argument: it looks at it or below it, or at a whole that it is part of."""
    path, asks = use
    whole = (_ARGUMENTS, argument)
    return path[:2] == whole or (not asks and path == whole[: len(path)])


def _is_beyond(use: Use, argument: str, known: Unrecorded) -> bool:
    """Whether a use depends on an argument in a way that evaluating without it doesn't tell."""
    path, asks = use
    whole = (_ARGUMENTS, argument)
    if asks:
        return path[:2] == whole and (len(path) > len(whole) or known is Unrecorded.PRESENCE)
    return len(path) < len(whole) and path == whole[: len(path)]


def _granted(node: object, there: frozenset[str]) -> object:
    """A tree in which `context.args has NAME` is true of the arguments that are known to be there."""
    if isinstance(node, pst.HasAttr) and (base := path_of(node.base)) is not None:
        path = (*base, *node.attrs)
        if len(path) == 3 and path[:2] == ("context", _ARGUMENTS) and path[2] in there:
            return pst.BoolLit(value=True)
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        changed = {
            field.name: _granted(getattr(node, field.name), there) for field in dataclasses.fields(node)
        }
        return dataclasses.replace(node, **changed)
    if isinstance(node, tuple):
        return tuple(_granted(each, there) for each in node)
    if isinstance(node, pst.FrozenMap):
        return pst.FrozenMap({name: _granted(each, there) for name, each in node.items()})
    return node
