"""What the annotations of a policy say: its id, its words, its effect, whether it acts.

Rule: names and values come from closed lists. A misspelt annotation that changed nothing would be a policy that its
author believes in and that isn't there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from typing import get_args

import msgspec
from cedarpy import pst

from aegis_gateway.domain.duration import duration_ns
from aegis_gateway.domain.errors import MoneyError
from aegis_gateway.domain.judge import Policy, PolicyEffect
from aegis_gateway.domain.money import nano_usd
from aegis_gateway.domain.redaction import KINDS, SIDES

MODES = ("enforce", "shadow")
PER = ("agent", "team", "project", "tenant", "key", "connector", "tool", "model")
"""What a throttle may be for each of."""

_NUMBER = re.compile(r"[1-9][0-9]{0,7}")
_GROUP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FIELD = re.compile(r"[A-Za-z0-9_-]*[A-Za-z0-9][A-Za-z0-9_-]*")


class _Annotation(msgspec.Struct, frozen=True):
    """An annotation that belongs to one effect: the policy's field that it sets, how it is read (None: that's none of
    these), what it is, and an example.
    """

    effect: PolicyEffect
    field: str
    read: Callable[[str], object]
    what: str
    example: str


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _name(text: str) -> str | None:
    return text if _GROUP.fullmatch(text) else None


def _dollars(text: str) -> int | None:
    try:
        amount = nano_usd(text)
    except MoneyError:
        return None
    return amount if amount > 0 else None


def _listed(text: str, choice: Container[str] | None = None) -> tuple[str, ...] | None:
    """Words with spaces or commas between them, each once, of a closed list or names of fields."""
    words = tuple(dict.fromkeys(text.replace(",", " ").split()))
    fit = all(word in choice if choice is not None else _FIELD.fullmatch(word) for word in words)
    return words if words and fit else None


_OWN = {
    "model": _Annotation(
        "downgrade", "model", lambda text: text or None, "model", "the-model-to-call-instead"
    ),
    "max_output_tokens": _Annotation("cap", "output_tokens_max", _number, "number of tokens", "500"),
    "max_cost_usd": _Annotation("cap", "cost_max_nano_usd", _dollars, "amount of dollars", "0.50"),
    "limit": _Annotation("throttle", "limit", _number, "number of calls", "5"),
    "every": _Annotation("throttle", "period_ns", duration_ns, "length of time", "1s"),
    "per": _Annotation(
        "throttle", "per", lambda text: text if text in PER else None, "kind of caller", "agent"
    ),
    "kinds": _Annotation(
        "redact", "kinds", lambda text: _listed(text, KINDS), "list of kinds of values", "ssn email"
    ),
    "fields": _Annotation("redact", "fields", _listed, "list of fields' names", "patient_name"),
    "approvers": _Annotation("require_approval", "approvers", _name, "name of a group", "finance"),
    "in": _Annotation("redact", "sides", lambda text: _listed(text, SIDES), "part of a call", "arguments"),
}
_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "downgrade": (("model",),),
    "cap": (("max_output_tokens", "max_cost_usd"),),
    "throttle": (("limit",), ("every",)),
    "redact": (("kinds", "fields"),),
}
"""What an effect can't do without; of each group one is enough."""
_CHOICES: dict[str, tuple[str, ...]] = {"per": PER, "kinds": KINDS, "in": SIDES}

ANNOTATIONS = ("id", "reason", "effect", "mode", *_OWN)
EFFECTS: tuple[PolicyEffect, ...] = tuple(each for each in get_args(PolicyEffect) if each != "permit")


def policy_of(template: pst.Template) -> Policy:
    """A policy as the combination sees it; its annotations are in order."""
    annotations = template.annotations
    own = {each.field: each.read(annotations[name]) for name, each in _OWN.items() if name in annotations}
    policy = {
        "id": annotations["id"],
        "effect": "permit" if template.effect == "permit" else annotations.get("effect", "deny"),
        "reason": annotations.get("reason", ""),
        "mode": annotations.get("mode", "enforce"),
        **own,
    }
    return msgspec.convert(policy, Policy)


def annotation_problem(template: pst.Template, known: Container[str]) -> str | None:
    """What is wrong with a policy's annotations, and what to write instead."""
    annotations = template.annotations
    name = annotations.get("id")
    if not name:
        return f'a {template.effect} has no id; write @id("a-name") before it'
    if name in known:
        return f"policy id `{name}` is used twice; ids name policies in the record, so each needs its own"
    problem = _general_problem(annotations, template.effect) or _own_problem(annotations)
    return f"policy `{name}`: {problem}" if problem else None


def _general_problem(annotations: Mapping[str, str], written: str) -> str | None:
    for annotation in annotations:
        if annotation not in ANNOTATIONS:
            names = ", ".join(f"@{each}" for each in ANNOTATIONS)
            return f"there is no annotation `@{annotation}`; there are {names}"
    mode = annotations.get("mode")
    if mode is not None and mode not in MODES:
        return f'there is no mode `{mode}`; write @mode("shadow"), or leave it out to enforce it'
    effect = annotations.get("effect")
    if effect is not None and written == "permit":
        return "a permit has no @effect; leave it out, or write forbid"
    if effect is not None and effect not in EFFECTS:
        effects = ", ".join(f'"{each}"' for each in EFFECTS)
        return f"there is no effect `{effect}`; write one of {effects}"
    return None


def _own_problem(annotations: Mapping[str, str]) -> str | None:
    effect = annotations.get("effect", "deny")
    for group in _NEEDED.get(effect, ()):
        if not any(name in annotations for name in group):
            wanted = " or ".join(_written(name) for name in group)
            return f'@effect("{effect}") needs {wanted} beside it'
    for name, own in _OWN.items():
        if name not in annotations:
            continue
        if own.effect != effect:
            return f'@{name} belongs to @effect("{own.effect}"); write it beside, or leave @{name} out'
        if own.read(annotations[name]) is None:
            choice = f" (of {', '.join(_CHOICES[name])})" if name in _CHOICES else ""
            return f"`{annotations[name]}` is no {own.what}; write {_written(name)}{choice}"
    return None


def _written(name: str) -> str:
    return f'@{name}("{_OWN[name].example}")'
