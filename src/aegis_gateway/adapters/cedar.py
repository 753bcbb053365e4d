"""Policies in Cedar, by cedarpy.

Rule 1: every policy is rewritten to a `permit` whose id is its `@id`; its effect and its words stay with Aegis
        (`domain.judge` says why), so one evaluation returns every match, by name.
Rule 2: only values of declared types reach Cedar (`cedar_values`); nothing a caller sends is parsed as a Cedar value.
Rule 3: an evaluation depends on nothing but the policies that can match (`cedar_slices`), the entities concerned
        (`cedar_entities`), and what those policies mention of the context. What they can't tell apart
        (`cedar_sight`) is answered from memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property

import cedarpy
from cedarpy import pst

from aegis_gateway.adapters.cedar_annotations import annotation_problem, policy_of
from aegis_gateway.adapters.cedar_entities import Entities, uid
from aegis_gateway.adapters.cedar_lint import line_of
from aegis_gateway.adapters.cedar_question import asked
from aegis_gateway.adapters.cedar_sight import Key
from aegis_gateway.adapters.cedar_slices import Slice, Slices
from aegis_gateway.adapters.cedar_visibility import BulkPolicies, CedarReach, Visibility
from aegis_gateway.domain.errors import ConfigurationError, Problem
from aegis_gateway.domain.judge import Evaluation, Policy, PolicyRequest
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.risk import PolicyBody

ANSWERS_REMEMBERED_MAX = 16_384
QUESTIONS_REMEMBERED_MAX = 16_384

Files = tuple[tuple[str, str], ...]
"""Files of policies: path and text."""

Question = tuple[str, str, str, str]
"""Who does what to which type of thing, and which: all that a slice depends on."""

_NOTHING = Evaluation()


class CompiledPolicies:
    """Files of policies, compiled together: one tenant's, at one version. They know nobody's registry."""

    def __init__(self, files: Files, parse: Callable[[str], pst.PolicySet] = cedarpy.policies_to_pst) -> None:
        """Compile files; `parse` is how a text is parsed.

        Raises:
            ConfigurationError: a file that Cedar does not parse, or an annotation, effect or id that is wrong.
        """
        texts = sorted(files)
        self.rules, templates = _compile(texts, parse)
        self.slices = Slices(templates)
        self.version = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]

    @cached_property
    def bulk(self) -> BulkPolicies:
        """The same, to be asked about many tools at once."""
        return BulkPolicies(self.slices, self.rules)


class PolicyCompiler:
    """Compiles tenants' policies time and again: not the same file, nor the same set of files, twice."""

    def __init__(self) -> None:
        """Nothing was compiled yet."""
        self._parsed: dict[str, pst.PolicySet] = {}

    def compile(self, files: Mapping[str, Files]) -> dict[str, CompiledPolicies]:
        """Compile the files of each tenant.

        Raises:
            ConfigurationError: a file that Cedar does not parse, or an annotation, effect or id that is wrong.
        """
        before, self._parsed = self._parsed, {}

        def parse(text: str) -> pst.PolicySet:
            if text not in self._parsed:
                self._parsed[text] = before.get(text) or cedarpy.policies_to_pst(text)
            return self._parsed[text]

        compiled: dict[Files, CompiledPolicies] = {}
        for each in files.values():
            if each not in compiled:
                compiled[each] = CompiledPolicies(each, parse)
        return {tenant: compiled[each] for tenant, each in files.items()}


class CedarPolicies:
    """One tenant's policies over its registry, at one version."""

    def __init__(self, registry: Registry, compiled: CompiledPolicies) -> None:
        """Judge the agents of a registry by policies."""
        self._compiled = compiled
        self._registry = registry
        self._entities = Entities(registry)
        self._asked: dict[Question, tuple[Slice, cedarpy.Entities] | None] = {}
        self._answers: dict[tuple[Question, Key | None], Evaluation] = {}
        self._visibility: Visibility | None = None

    @property
    def version(self) -> str:
        """The first twelve hexadecimal digits of the SHA-256 of the files."""
        return self._compiled.version

    def evaluate(self, request: PolicyRequest) -> Evaluation:
        """Evaluate every policy that can match a request, in one call; matches and faults sorted by id."""
        question = (request.agent, request.action, request.resource_type, request.resource)
        prepared = self._prepared_for(question)
        if prepared is None:
            return _NOTHING
        policies, entities = prepared
        key = (question, policies.sight.of(request.context))
        answer = self._answers.get(key)
        if answer is None:
            answer = asked(request, policies.policies, entities, policies.mentioned, self.rules)
            if key[1] is not None:
                if len(self._answers) >= ANSWERS_REMEMBERED_MAX:
                    self._answers.clear()
                self._answers[key] = answer
        return answer

    def reach(self, agent: str, context: Mapping[str, object]) -> CedarReach:
        """What an agent may call, by what is known of all its calls' contexts."""
        if self._visibility is None:
            self._visibility = Visibility(self._registry, self._entities, self._compiled.bulk)
        return self._visibility.of(agent, context)

    @property
    def rules(self) -> Mapping[str, Policy]:
        """The policies, by id."""
        return self._compiled.rules

    def _prepared_for(self, question: Question) -> tuple[Slice, cedarpy.Entities] | None:
        """What a question needs to be answered, made once; None where no policy can match it."""
        if question not in self._asked:
            if len(self._asked) >= QUESTIONS_REMEMBERED_MAX:
                self._asked.clear()
            self._asked[question] = self._prepared(question)
        return self._asked[question]

    def _prepared(self, question: Question) -> tuple[Slice, cedarpy.Entities] | None:
        agent, action, resource_type, resource = question
        principal, called = uid("Agent", agent), uid(resource_type, resource)
        policies = self._compiled.slices.of(
            self._entities.line_of(principal), uid("Action", action), self._entities.line_of(called)
        )
        if policies is None:
            return None
        return policies, self._entities.handle((principal, called, *policies.named))


def policy_bodies(files: Files) -> dict[str, PolicyBody]:
    """Files' policies by id, each with what it is about; they must compile."""
    rules, templates = _compile(sorted(files), cedarpy.policies_to_pst)
    return {
        name: PolicyBody(policy=rules[name], condition=repr((*_scope(template), template.clauses)))
        for name, template in templates.items()
    }


def _scope(template: pst.Template) -> tuple[object, object, object]:
    return template.principal, template.action, template.resource


def _compile(
    texts: list[tuple[str, str]], parse: Callable[[str], pst.PolicySet]
) -> tuple[dict[str, Policy], dict[str, pst.Template]]:
    rules: dict[str, Policy] = {}
    templates: dict[str, pst.Template] = {}
    problems: list[Problem] = []
    for path, text in texts:
        try:
            found = parse(text)
        except ValueError as fault:
            message = f"this is not Cedar: {fault}; see the Cedar policy language reference"
            problems.append(Problem(file=path, message=message))
            continue
        for template in found.static_policies.values():
            problem = annotation_problem(template, rules)
            if problem:
                line = line_of(text, template.annotations.get("id", ""))
                problems.append(Problem(file=path, line=line, message=problem))
                continue
            name = template.annotations["id"]
            rules[name] = policy_of(template)
            templates[name] = template
        if found.templates:
            message = "templates (`?principal`, `?resource`) are not supported; name the entity"
            problems.append(Problem(file=path, message=message))
    if problems:
        raise ConfigurationError(problems=tuple(problems))
    return rules, templates
