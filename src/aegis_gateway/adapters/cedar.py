"""Policies in Cedar, by cedarpy.

Rule 1: every policy is rewritten to a `permit` whose id is its `@id`; its effect and its words stay with Aegis
        (`domain.judge` says why), so one evaluation returns every match, by name.
Rule 2: only values of declared types reach Cedar, written here; nothing a caller sends is parsed as a Cedar value.
Rule 3: an evaluation depends on nothing but the request and, of its context, on what some policy mentions. So only
        that is handed over, and the same question is answered from memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import cedarpy
import msgspec
from cedarpy import pst

from aegis_gateway.adapters.cedar_lint import line_of
from aegis_gateway.adapters.cedar_tree import children, path_of
from aegis_gateway.domain.errors import CallError, ConfigurationError, Problem
from aegis_gateway.domain.judge import Evaluation, Policy, PolicyEffect, PolicyFault, PolicyRequest
from aegis_gateway.domain.registry import Agent, Registry

ANNOTATIONS = ("id", "reason", "effect", "mode", "max_output_tokens", "model")
MODES = ("enforce", "shadow")
EFFECTS = ("deny", "cap", "downgrade")
_CAP = re.compile(r"[1-9][0-9]{0,7}")

_ANNOTATIONS_TEXT = ", ".join(f"@{name}" for name in ANNOTATIONS)

ANSWERS_REMEMBERED_MAX = 16_384

Mentioned: TypeAlias = "dict[str, Mentioned] | None"
"""A tree of the attributes that policies mention; None is: all from here on."""

_LONG_MAX = 2**63 - 1
_DECIMAL_PLACES = 4

_encode = msgspec.json.Encoder().encode


class CedarPolicies:
    """One tenant's compiled policies and entities, at one version."""

    def __init__(self, registry: Registry, files: Iterable[tuple[str, str]]) -> None:
        """Compile policy files, given as path and text.

        Raises:
            ConfigurationError: a file that Cedar does not parse, or an annotation, effect or id that is wrong.
        """
        texts = sorted(files)
        self._rules, self._policy_set, self._mentioned = _compile(texts)
        self._answers: dict[tuple[str, str, str, bytes], Evaluation] = {}
        self._registry = registry
        self._base = cedarpy.Entities.from_json_str(json.dumps(_base_entities(registry)))
        self._entities: dict[str, cedarpy.Entities] = {}
        digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        self._version = digest[:12]

    @property
    def version(self) -> str:
        """The first twelve hexadecimal digits of the SHA-256 of the files."""
        return self._version

    def __len__(self) -> int:
        """How many policies there are."""
        return len(self._rules)

    @property
    def in_shadow(self) -> tuple[Policy, ...]:
        """The policies that don't act, by id."""
        return tuple(rule for _, rule in sorted(self._rules.items()) if rule.mode == "shadow")

    def evaluate(self, request: PolicyRequest) -> Evaluation:
        """Evaluate every policy on a request, in one call; matches and faults sorted by id."""
        context = _encode(_cedar_record(_mentioned_part(request.context, self._mentioned), "context"))
        question = (request.agent, request.action, request.resource, context)
        answer = self._answers.get(question)
        if answer is None:
            if len(self._answers) >= ANSWERS_REMEMBERED_MAX:
                self._answers.clear()
            answer = self._answers[question] = self._ask(request, context)
        return answer

    def _ask(self, request: PolicyRequest, context: bytes) -> Evaluation:
        answer = cedarpy.is_authorized(
            {
                "principal": {"type": "Agent", "id": request.agent},
                "action": {"type": "Action", "id": request.action},
                "resource": {"type": request.resource_type, "id": request.resource},
                "context": context.decode(),
            },
            self._policy_set,
            self._entities_of(request.agent),
        )
        if answer.decision is cedarpy.Decision.NoDecision:
            faults = tuple(
                PolicyFault(policy="", message=message) for message in answer.diagnostics.errors
            ) or (PolicyFault(policy="", message="the policies gave no decision"),)
            return Evaluation(faults=faults)
        return Evaluation(
            matched=tuple(self._rules[name] for name in sorted(answer.diagnostics.reasons)),
            faults=tuple(self._fault(message) for message in sorted(answer.diagnostics.errors)),
        )

    def _fault(self, message: str) -> PolicyFault:
        """Cedar says: error while evaluating policy `NAME`: WHAT. A fault of nobody knows what refuses."""
        _, _, rest = message.partition("policy `")
        name, found, what = rest.partition("`: ")
        rule = self._rules.get(name)
        if not found or rule is None:
            return PolicyFault(policy="", message=message)
        return PolicyFault(policy=name, message=what, mode=rule.mode)

    def _entities_of(self, agent_id: str) -> cedarpy.Entities:
        entities = self._entities.get(agent_id)
        if entities is None:
            agent = self._registry.agents[agent_id]
            delta = json.dumps([_agent_entity(agent, self._registry.tenant)])
            entities = self._entities[agent_id] = self._base.with_added_json_str(delta)
        return entities


def _compile(texts: list[tuple[str, str]]) -> tuple[dict[str, Policy], cedarpy.PolicySet, Mentioned]:
    rules: dict[str, Policy] = {}
    templates: dict[str, pst.Template] = {}
    problems: list[Problem] = []
    for path, text in texts:
        try:
            parsed = cedarpy.policies_to_pst(text)
        except ValueError as fault:
            message = f"this is not Cedar: {fault}; see the Cedar policy language reference"
            problems.append(Problem(file=path, message=message))
            continue
        for template in parsed.static_policies.values():
            problem = _annotation_problem(template, rules)
            if problem:
                line = line_of(text, template.annotations.get("id", ""))
                problems.append(Problem(file=path, line=line, message=problem))
                continue
            name = template.annotations["id"]
            rules[name] = _policy(name, template)
            templates[name] = dataclasses.replace(template, id=name, effect="permit")
        if parsed.templates:
            message = "templates (`?principal`, `?resource`) are not supported; name the entity"
            problems.append(Problem(file=path, message=message))
    if problems:
        raise ConfigurationError(problems=tuple(problems))
    nodes = pst.PolicySet(templates={}, static_policies=pst.FrozenMap(templates), template_links=())
    mentioned = {
        path
        for template in templates.values()
        for clause in template.clauses
        for path in _context_paths(clause)
    }
    return rules, cedarpy.PolicySet.from_pst(nodes), _tree(mentioned)


def _policy(name: str, template: pst.Template) -> Policy:
    annotations = template.annotations
    cap = annotations.get("max_output_tokens")
    effect: PolicyEffect = "permit" if template.effect == "permit" else "deny"
    if cap is not None:
        effect = "cap"
    elif "model" in annotations:
        effect = "downgrade"
    return Policy(
        id=name,
        effect=effect,
        reason=annotations.get("reason", ""),
        mode="shadow" if annotations.get("mode") == "shadow" else "enforce",
        output_tokens_max=None if cap is None else int(cap),
        model=annotations.get("model"),
    )


def _context_paths(node: object) -> Iterator[tuple[str, ...]]:
    """The paths below `context` that an expression can look at; () where it looks at the whole of it."""
    path = path_of(node)
    if path is None and isinstance(node, pst.HasAttr) and (base := path_of(node.base)) is not None:
        path = (*base, *node.attrs)
    if path is not None and path[0] == "context":
        yield path[1:]
        return
    for child in children(node):
        yield from _context_paths(child)


def _tree(paths: Iterable[tuple[str, ...]]) -> Mentioned:
    """Paths as a tree; where a path ends, all below it is mentioned."""
    tree: dict[str, Mentioned] = {}
    for path in sorted(paths):
        if not path:
            return None
        step = tree
        for name in path[:-1]:
            below = step.setdefault(name, {})
            if below is None:
                break
            step = below
        else:
            step[path[-1]] = None
    return tree


def _mentioned_part(context: Mapping[str, object], mentioned: Mentioned) -> Mapping[str, object]:
    """What of a context the policies can look at. Records stay, even empty: that they are there can matter."""
    if mentioned is None:
        return context
    return {
        name: _mentioned_part(value, mentioned[name]) if isinstance(value, Mapping) else value
        for name, value in context.items()
        if name in mentioned
    }


def _annotation_problem(template: pst.Template, known: Mapping[str, Policy]) -> str | None:
    """What is wrong with a policy's annotations, and what to write instead."""
    annotations = template.annotations
    name = annotations.get("id")
    if not name:
        return f'a {template.effect} has no id; write @id("a-name") before it'
    if name in known:
        return f"policy id `{name}` is used twice; ids name policies in the record, so each needs its own"
    for annotation in annotations:
        if annotation not in ANNOTATIONS:
            return f"policy `{name}`: there is no annotation `@{annotation}`; there are {_ANNOTATIONS_TEXT}"
    mode = annotations.get("mode")
    if mode is not None and mode not in MODES:
        return f'policy `{name}`: there is no mode `{mode}`; write @mode("shadow"), or leave it out to enforce it'
    effect = annotations.get("effect")
    if effect is not None and template.effect == "permit":
        return f"policy `{name}`: a permit has no @effect; leave it out, or write forbid"
    if effect is not None and effect not in EFFECTS:
        return f'policy `{name}`: there is no effect `{effect}`; write @effect("deny"), "cap" or "downgrade"'
    if (effect == "downgrade") != bool(annotations.get("model")):
        return f'policy `{name}`: @effect("downgrade") and @model("the-model-to-call-instead") go together'
    cap = annotations.get("max_output_tokens")
    if effect == "cap" and cap is None:
        return f'policy `{name}`: a cap needs its tokens; write @max_output_tokens("500")'
    if effect != "cap" and cap is not None:
        return f'policy `{name}`: @max_output_tokens is for a cap; write @effect("cap") beside it'
    if cap is not None and not _CAP.fullmatch(cap):
        return f'policy `{name}`: `{cap}` is no number of tokens; write @max_output_tokens("500")'
    return None


def _cedar_record(values: Mapping[str, object], path: str) -> dict[str, object]:
    return {name: _cedar_value(value, f"{path}.{name}") for name, value in values.items()}


def _cedar_value(value: object, path: str) -> object:
    """A value as Cedar's JSON has it: integers are longs, decimals have at most four decimals.

    Raises:
        CallError: the value does not fit, with its path.
    """
    match value:
        case bool() | str():
            return value
        case int():
            if abs(value) > _LONG_MAX:
                raise CallError(f"`{path}` does not fit into 64 bits", field=path)
            return value
        case Decimal():
            return {"__extn": {"fn": "decimal", "arg": _decimal_text(value, path)}}
        case Mapping():
            return _cedar_record(value, path)
        case list() | tuple():
            return [_cedar_value(item, path) for item in value]
        case _:
            raise CallError(f"`{path}` has no type that a policy can see", field=path)


def _decimal_text(value: Decimal, path: str) -> str:
    if not value.is_finite() or value.adjusted() > 14:
        raise CallError(f"`{path}` is too large for a policy to compare", field=path)
    text = f"{value:.{_DECIMAL_PLACES}f}"
    if Decimal(text) != value:
        raise CallError(f"`{path}` has more than {_DECIMAL_PLACES} decimals", field=path)
    return text


def _base_entities(registry: Registry) -> list[dict[str, Any]]:
    """All entities but the agents: tenant, teams, projects, connectors, models."""
    tenant = {"type": "Tenant", "id": registry.tenant}
    entities = [_entity("Tenant", registry.tenant, {"name": registry.name})]
    entities += [
        _entity("Team", team.id, {"cost_centre": team.cost_centre, "owner": team.owner}, tenant)
        for team in registry.teams.values()
    ]
    entities += [
        _entity("Project", project.id, {}, {"type": "Team", "id": project.team})
        for project in registry.projects.values()
    ]
    entities += [
        _entity("Connector", connector.id, _attributes(connector.region, connector.tags, connector.kind))
        for connector in registry.connectors.values()
    ]
    for model in registry.models.values():
        connector = registry.connectors[model.connector]
        attributes = _attributes(connector.region, connector.tags, connector.kind)
        entities.append(_entity("Model", model.id, attributes, {"type": "Connector", "id": connector.id}))
    return entities


def _agent_entity(agent: Agent, tenant: str) -> dict[str, Any]:
    parents = [{"type": "Team", "id": agent.team}, {"type": "Tenant", "id": tenant}]
    if agent.project:
        parents.append({"type": "Project", "id": agent.project})
    attributes = {
        "owner": agent.owner,
        "team": agent.team,
        "cost_centre": agent.cost_centre,
        "purpose": agent.purpose,
        "environment": agent.environment,
        "tags": dict(agent.tags),
    }
    return _entity("Agent", agent.id, attributes, *parents)


def _attributes(region: str, tags: Mapping[str, str], kind: str) -> dict[str, object]:
    return {"region": region, "tags": dict(tags), "kind": kind}


def _entity(
    kind: str, name: str, attributes: Mapping[str, object], *parents: dict[str, str]
) -> dict[str, Any]:
    return {"uid": {"type": kind, "id": name}, "attrs": dict(attributes), "parents": list(parents)}
