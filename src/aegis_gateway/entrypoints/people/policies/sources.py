"""Rules as their authors wrote them, cut out of a configuration's files: policies in Cedar, and rules in YAML.

Rule: only what is about one rule is cut out, so that whoever may see a tenant sees nothing of another's.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

import msgspec
import yaml

from aegis_gateway.adapters.cedar_listing import PolicyText, policy_texts
from aegis_gateway.configuration.load import MAIN_FILE, RULES

_POLICIES = re.compile(r"policies/(?:([A-Za-z0-9][A-Za-z0-9._-]*)/)?[A-Za-z0-9][A-Za-z0-9._-]*\.cedar")
_TEXTS_KEPT = 64
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads what was read once already; the one in C where there is one."""


class RuleSource(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's own text, and where it begins."""

    id: str
    language: Literal["Cedar", "YAML"]
    file: str
    line: int
    text: str


def rule_sources(files: Mapping[str, str], tenant: str) -> dict[str, RuleSource]:
    """The rules that hold in a tenant by id, from files that have been compiled once."""
    found: dict[str, RuleSource] = {}
    for path, text in sorted(files.items()):
        place = _POLICIES.fullmatch(path)
        if place is not None and place[1] in (None, tenant):
            for each in _policies(text):
                own = _without_preface(each.text)
                found[each.policy.id] = RuleSource(
                    id=each.policy.id, language="Cedar", file=path, line=each.line, text=own
                )
    return found | {each.id: each for each in _written_in_yaml(files.get(MAIN_FILE, ""), tenant)}


@lru_cache(maxsize=_TEXTS_KEPT)
def _policies(text: str) -> tuple[PolicyText, ...]:
    """The policies of a file; most versions leave most files as they were."""
    return tuple(policy_texts(text))


def _without_preface(text: str) -> str:
    """A policy with the comment right above it, without what its file begins with."""
    comments = re.match(r"(?:\s*//[^\n]*\n)*", text)
    head = comments[0] if comments else ""
    own = text[len(head) :]
    # What an empty line separates from the policy is about the file.
    if own.startswith("\n"):
        return own.strip("\n")
    return (head.rpartition("\n\n")[2] + own).strip("\n")


def _written_in_yaml(text: str, tenant: str) -> Iterator[RuleSource]:
    node = yaml.compose(text, LOADER)
    for name in ("tenants", tenant, RULES):
        node = value_of(node, name)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        begin, end = key.start_mark, value.end_mark
        block = " " * begin.column + text[begin.index : end.index]
        lines = textwrap.dedent(block).splitlines()
        while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            lines.pop()
        yield RuleSource(
            id=str(key.value), language="YAML", file=MAIN_FILE, line=begin.line + 1, text="\n".join(lines)
        )


def value_of(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """What stands under a name of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)
