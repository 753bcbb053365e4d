"""Policies on calls of which something isn't known: what is certain, and what nobody can say.

Rule 1: an expression that doesn't touch what is missing comes to the same without it. So policies are evaluated
        without: one that errs and mentions what is missing is undecided; one that doesn't err never touched it.
Rule 2: where it is known that a value is there, `has` is true of it, whatever it is. Where it is not, or where a record
        is looked at as a whole that it is missing from, the missing value itself is looked at instead, which errs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

import cedarpy
import msgspec
from cedarpy import pst

from aegis_gateway.adapters.cedar_slices import policy_set
from aegis_gateway.adapters.cedar_tree import Use, context_use, context_uses, fields_of
from aegis_gateway.domain.decision import Undecided
from aegis_gateway.domain.judge import Evaluation, Policy, PolicyFault, Unknown

Path: TypeAlias = "tuple[str, ...]"
"""Names below `context`."""

Missing: TypeAlias = "tuple[tuple[Path, Unknown], ...]"
"""What is missing, and what is known of each."""

_ARGUMENTS = "args."


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Policies for calls of which something is missing, and what of that they mention."""

    policies: cedarpy.PolicySet
    mentions: dict[str, tuple[Path, ...]]

    def told(self, answer: Evaluation, rules: Mapping[str, Policy]) -> Evaluation:
        """What is certain of an answer of these policies, and what is not."""

        def is_open(fault: PolicyFault) -> bool:
            return fault.policy in self.mentions

        undecided = {fault.policy for fault in answer.faults if is_open(fault)}
        return msgspec.structs.replace(
            answer,
            faults=tuple(fault for fault in answer.faults if not is_open(fault)),
            undecided=tuple(
                (rules[name], Undecided(rule=name, missing=tuple(map(_told, self.mentions[name]))))
                for name in sorted(undecided)
            ),
        )


def doubt_of(
    templates: Mapping[str, pst.Template],
    missing: Missing,
    known_uses: Mapping[str, Iterable[Use]] | None = None,
) -> Doubt | None:
    """Policies for calls of which something is missing; None where none of them mentions any of it.

    `known_uses` is what they look at, where that was found out before.
    """
    mentions: dict[str, tuple[Path, ...]] = {}
    told = dict(templates)
    for name, template in templates.items():
        uses = frozenset(uses_of(template) if known_uses is None else known_uses[name])
        mentioned = tuple(path for path, _ in missing if any(_touches(use, path) for use in uses))
        if mentioned:
            mentions[name] = mentioned
        if any(_instead(use, missing) is not None for use in uses):
            told[name] = cast(pst.Template, _rewritten(template, missing))
    if not mentions:
        return None
    return Doubt(policies=policy_set(told), mentions=mentions)


def parted(context: Mapping[str, object]) -> tuple[dict[str, object], Missing]:
    """A context without what isn't known of it, and what that is."""
    missing: list[tuple[Path, Unknown]] = []
    return _known(context, (), missing), tuple(missing)


def uses_of(template: pst.Template) -> Iterator[Use]:
    """All that a policy's conditions look at."""
    for clause in template.clauses:
        yield from context_uses(clause)


def _known(
    record: Mapping[str, object], above: Path, missing: list[tuple[Path, Unknown]]
) -> dict[str, object]:
    known: dict[str, object] = {}
    for name, value in record.items():
        if isinstance(value, Unknown):
            missing.append(((*above, name), value))
        else:
            known[name] = _known(value, (*above, name), missing) if isinstance(value, dict) else value
    return known


def _told(path: Path) -> str:
    """What is missing, as people are told: an argument by its name alone."""
    return ".".join(path).removeprefix(_ARGUMENTS)


def _touches(use: Use, whole: Path) -> bool:
    """Whether a use depends on what stands at a path: it looks at it or below it, or at a whole that it is part of."""
    path, asks = use
    return path[: len(whole)] == whole or (not asks and path == whole[: len(path)])


def _is_beyond(use: Use, whole: Path, known: Unknown) -> bool:
    """Whether a use depends on what is missing at a path in a way that evaluating without it doesn't tell."""
    path, asks = use
    if asks:
        return path[: len(whole)] == whole and (len(path) > len(whole) or known is Unknown.PRESENCE)
    return len(path) < len(whole) and path == whole[: len(path)]


def _instead(use: Use, missing: Missing) -> object | None:
    """What to look at in place of a use that evaluating without what is missing would tell wrongly; None where it
    wouldn't.
    """
    path, asks = use
    for whole, known in missing:
        if _is_beyond(use, whole, known):
            node: pst.Expr = pst.Var(name="context")
            for name in whole:
                node = pst.GetAttr(base=node, attr=name)
            return node
    is_there = asks and any(path == whole and known is Unknown.VALUE for whole, known in missing)
    return pst.BoolLit(value=True) if is_there else None


def _rewritten(node: object, missing: Missing) -> object:
    """A tree without the uses that would be told wrongly."""
    use = context_use(node)
    if use is not None:
        instead = _instead(use, missing)
        return node if instead is None else instead
    if fields := fields_of(node):
        values = {name: getattr(node, name) for name in fields}
        changed = {name: new for name, old in values.items() if (new := _rewritten(old, missing)) is not old}
        return dataclasses.replace(cast(Any, node), **changed) if changed else node
    if isinstance(node, tuple):
        items = tuple(_rewritten(each, missing) for each in node)
        return items if any(new is not old for new, old in zip(items, node, strict=True)) else node
    if isinstance(node, pst.FrozenMap):
        return pst.FrozenMap({name: _rewritten(each, missing) for name, each in node.items()})
    return node
