"""Policies for people: each with its own text, where it stands, and whom and what it is about in words."""

from __future__ import annotations

import re

import cedarpy
import msgspec
from cedarpy import pst

from aegis_gateway.adapters.cedar_annotations import policy_of
from aegis_gateway.domain.judge import Policy

_END = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|(;)', re.DOTALL)
"""A text or a comment, which may have any sign in it; or else the end of a policy."""


class PolicyText(msgspec.Struct, frozen=True, kw_only=True):
    """A policy, its text with the comments before it, the line on which it begins, and its scope in words."""

    policy: Policy
    text: str
    line: int
    who: str
    what: str


def policy_texts(text: str) -> list[PolicyText]:
    """The policies of a file's text, which has been compiled, in order."""
    found = []
    begin = 0
    for end in (match.end() for match in _END.finditer(text) if match[1]):
        own = text[begin:end]
        blank = len(own) - len(own.lstrip())
        for template in cedarpy.policies_to_pst(own).static_policies.values():
            comments = re.match(r"(?:\s*//[^\n]*\n)*\s*", own)
            skipped = comments.end() if comments else 0
            found.append(
                PolicyText(
                    policy=policy_of(template),
                    text=own[blank:],
                    line=text.count("\n", 0, begin + skipped) + 1,
                    who=_named(template.principal) or "everybody",
                    what=", ".join(filter(None, (_actions(template.action), _named(template.resource))))
                    or "everything",
                )
            )
        begin = end
    return found


def _actions(scope: pst.ActionConstraint) -> str:
    match scope:
        case pst.ActionEq():
            return f"tool {scope.entity.id}"
        case pst.ActionIn():
            return f"tool {' or '.join(each.id for each in scope.entities)}"
        case _:
            return ""


def _named(scope: pst.PrincipalOrResourceConstraint) -> str:
    """`team treasury`, `any model in connector openai`."""
    kind = getattr(scope, "entity_type", None)
    entity = getattr(scope, "entity", None)
    words = [f"any {kind.basename.lower()}"] if isinstance(kind, pst.EntityType) else []
    if isinstance(entity, pst.EntityUid):
        words.append(f"{entity.type.basename.lower()} {entity.id}")
    return " in ".join(words)
