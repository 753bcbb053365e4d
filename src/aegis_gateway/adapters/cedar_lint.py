"""Lint: what is wrong with policies that Cedar parses, by file and line, and what was meant.

Rule 1: Cedar's own validator checks types and names against the tenant's schema. It accepts some that can't be meant:
        a misspelt name after `has`, an entity that there is not, constants compared with each other. Those are looked
        for here.
Rule 2: agents may be imported and are not known here, so any agent's name is taken for one.
Rule 3: policies that all tenants share have to make sense for one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cedarpy
from cedarpy import pst

from aegis_gateway.adapters.cedar_schema import schema_of
from aegis_gateway.adapters.cedar_tree import nodes, path_of
from aegis_gateway.domain.approval_route import APPROVERS
from aegis_gateway.domain.errors import Problem
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.spelling import did_you_mean

_NAMES_LISTED_MAX = 12
_POLICY = re.compile(r"^for policy `[^`]*`, ")
_NO_ATTRIBUTE = re.compile(
    r'attribute `([^`]+)` (?:in context for Action::"([^"]+)"|on entity type `([^`]+)`) not found'
)
_OPTIONAL = re.compile(r"access to optional attribute `([^`]+)`(?: in context for| on entity type `([^`]+)`)")
_NO_ACTION = re.compile(r'unrecognized action `Action::"([^"]*)"`')
_NO_TYPE = re.compile(r"unrecognized entity type `([^`]+)`")
_NO_MATCH = "unable to find an applicable action"
_DECIMAL = re.compile(r"expected Long but saw decimal|the types (Long and decimal|decimal and Long) are not")

Found = tuple[str, str]
"""A mistake's words, and the text that it is to be looked for by."""


def lint(registries: Mapping[str, Registry], path: str, text: str) -> list[Problem]:
    """What is wrong with one file of policies that hold for some tenants; nothing where Cedar can't read it."""
    try:
        templates = cedarpy.policies_to_pst(text).static_policies
    except ValueError:
        return []  # told when it is compiled
    found: dict[str, list[list[Found]]] = {name: [] for name in templates}
    for registry in registries.values():
        for name, mistakes in _Linter(registry, templates).mistakes(text).items():
            found[name].append(mistakes)
    problems = []
    for name, template in templates.items():
        policy = template.annotations.get("id", "")
        for words, token in min(found[name], key=len, default=[]):
            line = line_of(text, policy, token)
            problems.append(Problem(file=path, line=line, message=f"policy `{policy}`: {words}"))
    return problems


def line_of(text: str, policy: str, token: str = "") -> int | None:
    """The line on which a policy says something, or else begins; None where it isn't found."""
    begin = re.search(rf'@id\s*\(\s*"{re.escape(policy)}"\s*\)', text)
    if begin is None:
        return None
    following = re.compile(r"@id\s*\(").search(text, begin.end())
    end = following.start() if following else len(text)
    place = (
        re.compile(rf"(?<![\w-]){re.escape(token)}(?![\w-])").search(text, begin.end(), end)
        if token
        else None
    )
    return text.count("\n", 0, place.start() if place else begin.start()) + 1


class _Linter:
    """Looks at one file's policies as one tenant's."""

    def __init__(self, registry: Registry, templates: Mapping[str, pst.Template]) -> None:
        self._templates = templates
        mentioned = {
            path[2]
            for template in templates.values()
            for path in _paths(template.clauses)
            if path[:2] == ("principal", "tags") and len(path) > 2
        }
        self._schema = schema_of(registry, mentioned)
        self._types: dict[str, Any] = self._schema[""]["entityTypes"]
        self._actions: dict[str, Any] = self._schema[""]["actions"]
        self._approvers = {APPROVERS.name, *registry.approvals.groups}
        self._ids = {
            "Tenant": {registry.tenant},
            "Team": set(registry.teams),
            "Project": set(registry.projects),
            "Connector": set(registry.connectors),
            "Model": set(registry.models),
        }

    def mistakes(self, text: str) -> dict[str, list[Found]]:
        """The mistakes by policy, as Cedar numbers them in the text."""
        found: dict[str, list[Found]] = {name: [] for name in self._templates}
        for error in cedarpy.validate_policies(text, json.dumps(self._schema)).errors:
            if error.policy_id in found:
                found[error.policy_id].append(self._said(_POLICY.sub("", error.error)))
        for name, template in self._templates.items():
            found[name] += self._ours(template)
            if len(found[name]) > 1:  # that it can't match follows from what it names
                found[name] = [mistake for mistake in found[name] if mistake[0] != _NEVER] or found[name][:1]
            found[name] = list(dict.fromkeys(found[name]))
        return found

    def _said(self, error: str) -> Found:
        """A validator's error in our words."""
        if match := _NO_ATTRIBUTE.search(error):
            path, action, kind = match.groups()
            *above, name = path.split(".")
            if action is not None:
                known = _below(self._context(action), above)
                return f"there is no `context.{path}` for `{action}`; {_instead(name, known)}", name
            known = _below(self._types[kind]["shape"], above) if kind in self._types else set()
            return f"{kind} has no `{path}`; {_instead(name, known)}", name
        if match := _OPTIONAL.search(error):
            path, kind = match.groups()
            *above, name = path.split(".")
            base = ".".join(
                ("context" if kind is None else "principal" if kind == "Agent" else "resource", *above)
            )
            return f"`{base}.{name}` may be missing; write `{base} has {name} && …` before it", name
        if match := _NO_ACTION.search(error):
            return f"there is no action `{match[1]}`; {_instead(match[1], self._actions)}", match[1]
        if match := _NO_TYPE.search(error):
            return f"there is no type `{match[1]}`; {_instead(match[1], [*self._types, 'Action'])}", match[1]
        if _DECIMAL.search(error):
            return (
                'a number that has decimals is compared as a whole one; write .greaterThan(decimal("5000.0"))',
                "",
            )
        if error.startswith(_NO_MATCH):
            return _NEVER, ""
        return error, ""

    def _ours(self, template: pst.Template) -> Iterator[Found]:
        """What the validator lets pass."""
        for entity in _entities(template):
            ids = self._ids.get(entity.type.basename)
            if ids is not None and entity.id not in ids:
                kind = entity.type.basename.lower()
                yield f"there is no {kind} `{entity.id}`; {_instead(entity.id, ids)}", entity.id
        for path in _asked_for(template.clauses):
            known_names = self._known_below(template, path[:-1])
            if known_names is not None and path[-1] not in known_names:
                asked = ".".join(path[:-1])
                yield f"`{asked}` never has `{path[-1]}`; {_instead(path[-1], known_names)}", path[-1]
        model = template.annotations.get("model")
        if model is not None and model not in self._ids["Model"]:
            yield f"there is no model `{model}`; {_instead(model, self._ids['Model'])}", model
        group = template.annotations.get("approvers")
        if group is not None and group not in self._approvers:
            yield f"there is no group `{group}` under `approvals`; {_instead(group, self._approvers)}", group
        if "max_output_tokens" in template.annotations:
            named = [each.id for each in _entities(template.action) if each.id in self._actions]
            without = [name for name in named or self._actions if not self._has_output(name)]
            if without:
                words = f"caps an answer's tokens, and `{without[0]}` has none"
                yield f'{words}; name actions that have, as in action == Action::"chat"', ""
        for clause in template.clauses:
            if not all(_has_variable(node) for node in (clause, *_comparisons(clause))):
                yield (
                    "a condition of constants alone is always the same; compare with something of the call",
                    "",
                )

    def _known_below(self, template: pst.Template, path: tuple[str, ...]) -> set[str] | None:
        """The names that there can be below a path; None where that isn't known."""
        match path[0]:
            case "context":
                named = [each.id for each in _entities(template.action)]
                records = [self._context(name) for name in named or self._actions if name in self._actions]
            case "principal":
                records = [self._types["Agent"]["shape"]]
            case "resource":
                records = [self._types[kind]["shape"] for kind in ("Connector", "Model")]
            case _:
                return None
        return set().union(*(_below(record, path[1:]) for record in records))

    def _has_output(self, action: str) -> bool:
        return "max_output_tokens" in _below(self._context(action), ["args"])

    def _context(self, action: str) -> dict[str, Any]:
        record: dict[str, Any] = self._actions[action]["appliesTo"]["context"]
        return record


_NEVER = "can never match: nothing that its `action` names is done by its `principal` to its `resource`"


def _below(record: Mapping[str, Any], path: Iterable[str]) -> set[str]:
    """The names of a record's attributes at a path below it; none where there is no record."""
    for name in path:
        record = record.get("attributes", {}).get(name, {})
    return set(record.get("attributes", {}))


def _instead(written: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = did_you_mean(written, names)
    if close is not None:
        return f"did you mean `{close}`?"
    listed = ", ".join(f"`{name}`" for name in names[:_NAMES_LISTED_MAX])
    return (
        f"there is {listed}" + (" and more" if len(names) > _NAMES_LISTED_MAX else "")
        if names
        else "there is none"
    )


def _entities(node: object) -> Iterator[pst.EntityUid]:
    return (each for each in nodes(node) if isinstance(each, pst.EntityUid))


def _comparisons(node: object) -> Iterator[pst.BinaryOp]:
    return (each for each in nodes(node) if isinstance(each, pst.BinaryOp) and each.op not in ("and", "or"))


def _has_variable(node: object) -> bool:
    return any(isinstance(each, pst.Var) for each in nodes(node))


def _paths(node: object) -> Iterator[tuple[str, ...]]:
    """All paths that are looked at or asked for: (`principal`, `tags`, `channel`)."""
    yield from _asked_for(node)
    for each in nodes(node):
        path = path_of(each)
        if path is not None:
            yield path


def _asked_for(node: object) -> Iterator[tuple[str, ...]]:
    """The paths that `has` asks for, each step of one."""
    for each in nodes(node):
        if isinstance(each, pst.HasAttr) and (base := path_of(each.base)) is not None:
            for length in range(1, len(each.attrs) + 1):
                yield (*base, *each.attrs[:length])
