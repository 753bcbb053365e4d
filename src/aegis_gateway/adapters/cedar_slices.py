"""Slices: of all policies, those that can match a question. What an evaluation costs doesn't grow with the rest.

Rule 1: a policy whose scope (`principal`, `action`, `resource`) does not hold for a question neither matches nor errs,
        whatever its conditions say: Cedar looks at the scope first. So it can be left out.
Rule 2: a slice is made when its question is first asked, and compiled once for all questions that it is the same for.
Rule 3: it hands over only what of the context its policies mention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import TypeAlias

import cedarpy
import msgspec
from cedarpy import pst

from aegis_gateway.adapters.cedar_sight import Sight
from aegis_gateway.adapters.cedar_tree import context_uses, nodes

Mentioned: TypeAlias = "dict[str, Mentioned] | None"
"""A tree of the attributes that policies mention; None is: all from here on."""

ScopeKey = tuple[pst.EntityUid | None, pst.EntityUid | None, pst.EntityUid | None]
"""The entities that a scope names for principal, action and resource; None where any will do, or any of a type."""

Line = tuple[pst.EntityUid, ...]
"""An entity and all that it is in, itself first."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Policies, compiled together; what they mention of the context, what their answers depend on of it, and the
    entities that they name.
    """

    templates: Mapping[str, pst.Template]
    policies: cedarpy.PolicySet
    mentioned: Mentioned
    sight: Sight
    named: tuple[pst.EntityUid, ...]


class Slices:
    """All policies of a tenant, by scope."""

    def __init__(self, templates: Mapping[str, pst.Template]) -> None:
        """Policies by id. Each counts as a `permit`, whatever it was written as."""
        self._templates = templates
        self._by_scope: dict[ScopeKey, list[str]] = {}
        for name, template in templates.items():
            for action in _actions(template.action):
                key = (_entity(template.principal), action, _entity(template.resource))
                self._by_scope.setdefault(key, []).append(name)
        by_action: dict[str, list[str]] = {}
        for (_, action, _), names in self._by_scope.items():
            if action is not None:
                by_action.setdefault(action.id, []).extend(names)
        self._by_action = {action: tuple(sorted(names)) for action, names in by_action.items()}
        self._compiled: dict[tuple[str, ...], Slice] = {}

    def of(self, principal: Line, action: pst.EntityUid, resource: Line) -> Slice | None:
        """The slice for a question; None where no policy can match it."""
        names = tuple(sorted(self._names(principal, (None, action), resource)))
        if not names:
            return None
        found = self._compiled.get(names)
        if found is None:
            found = self._compiled[names] = _slice(
                {name: replace(self._templates[name], id=name, effect="permit") for name in names}
            )
        return found

    @property
    def templates(self) -> Mapping[str, pst.Template]:
        """All policies, by id."""
        return self._templates

    def of_action(self, action: str) -> tuple[str, ...]:
        """The ids of policies whose scope names an action."""
        return self._by_action.get(action, ())

    def of_any_action(self, principal: Line, resource: Line) -> Iterator[str]:
        """The ids of policies whose scope holds for caller and resource, whatever is done."""
        return self._names(principal, (None,), resource)

    def holds(self, name: str, principal: Line, resource: Line) -> bool:
        """Whether a policy's scope holds for caller and resource."""
        template = self._templates[name]
        return _holds(template.principal, principal) and _holds(template.resource, resource)

    def _names(
        self, principal: Line, actions: tuple[pst.EntityUid | None, ...], resource: Line
    ) -> Iterator[str]:
        for key in product((None, *principal), actions, (None, *resource)):
            for name in self._by_scope.get(key, ()):
                if self.holds(name, principal, resource):
                    yield name


def _slice(templates: Mapping[str, pst.Template]) -> Slice:
    clauses = [clause for template in templates.values() for clause in template.clauses]
    return Slice(
        templates=templates,
        policies=policy_set(templates),
        sight=Sight(clauses),
        mentioned=mentioned_tree({path for clause in clauses for path, _ in context_uses(clause)}),
        named=tuple(
            dict.fromkeys(
                each for clause in clauses for each in nodes(clause) if isinstance(each, pst.EntityUid)
            )
        ),
    )


def policy_set(templates: Mapping[str, pst.Template]) -> cedarpy.PolicySet:
    """Policies, compiled together."""
    policies = pst.PolicySet(templates={}, static_policies=pst.FrozenMap(templates), template_links=())
    return cedarpy.PolicySet.from_pst(policies)


def _actions(scope: pst.ActionConstraint) -> tuple[pst.EntityUid | None, ...]:
    """The actions that a scope names, which are in nothing; None where any will do."""
    match scope:
        case pst.ActionEq():
            return (scope.entity,)
        case pst.ActionIn():
            return tuple(dict.fromkeys(scope.entities))
        case _:
            return (None,)


def _entity(scope: pst.PrincipalOrResourceConstraint) -> pst.EntityUid | None:
    entity = getattr(scope, "entity", None)
    return entity if isinstance(entity, pst.EntityUid) else None


def _holds(scope: pst.PrincipalOrResourceConstraint, line: Line) -> bool:
    match scope:
        case pst.ScopeEq():
            return scope.entity == line[0]
        case pst.ScopeIs():
            return scope.entity_type == line[0].type
        case pst.ScopeIsIn():
            return scope.entity_type == line[0].type and scope.entity in line
        case pst.ScopeIn():
            return scope.entity in line
        case _:
            return True


def mentioned_part(context: Mapping[str, object], mentioned: Mentioned) -> Mapping[str, object]:
    """What of a context policies can look at. Records stay, even empty: that they are there can matter."""
    if mentioned is None:
        return context
    return {
        name: mentioned_part(value, mentioned[name]) if isinstance(value, Mapping) else value
        for name, value in context.items()
        if name in mentioned
    }


def mentioned_tree(paths: Iterable[tuple[str, ...]]) -> Mentioned:
    """Paths as a tree; where a path ends, all below it is mentioned."""
    tree: dict[str, Mentioned] = {}
    for path in sorted(set(paths)):
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
