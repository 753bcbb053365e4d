"""How rules came to be what they are: since which version each stands as it does, and what it was before."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.entrypoints.people.policies.sources import RuleSource

Sources = Mapping[str, RuleSource]


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """The first version in which a rule stands as it does now. `or_before`: nobody looked further back."""

    version: int
    applied_ns: int
    or_before: bool


class DiffLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a difference: `+` came, `-` went, a space stayed, `@` stands for lines that are left out."""

    sign: Literal["+", "-", " ", "@"]
    text: str


class RuleChange(msgspec.Struct, frozen=True, kw_only=True):
    """What one version did to a rule: `added`, `changed`, `removed`; and the lines that differ."""

    version: ConfigVersion
    kind: Literal["added", "changed", "removed"]
    lines: tuple[DiffLine, ...]


def since_when(versions: Iterable[tuple[ConfigVersion, Sources]]) -> dict[str, Since]:
    """For each rule of the newest version, since when it is as it is; versions from the newest on."""
    found: dict[str, Since] = {}
    standing: dict[str, str] | None = None
    for version, sources in versions:
        if standing is None:
            standing = {name: each.text for name, each in sources.items()}
        standing = {
            name: text for name, text in standing.items() if name in sources and sources[name].text == text
        }
        if not standing:
            break
        for name in standing:
            found[name] = Since(
                version=version.version, applied_ns=version.applied_ns, or_before=version.version > 1
            )
    # One that is no longer among those that stand was told from those without it.
    return {
        name: since if name in (standing or {}) else msgspec.structs.replace(since, or_before=False)
        for name, since in found.items()
    }


def changes_of(rule: str, versions: Iterable[tuple[ConfigVersion, Sources]]) -> list[RuleChange]:
    """What versions did to one rule, the newest first; versions from the newest on.

    Of the oldest one that is known it can't be told whether it added the rule, unless it is the first.
    """
    found: list[RuleChange] = []
    after: tuple[ConfigVersion, str | None] | None = None
    for version, sources in versions:
        own = sources[rule].text if rule in sources else None
        if after is not None and after[1] != own:
            found.append(_change(after[0], own, after[1]))
        after = (version, own)
    if after is not None and after[1] is not None and after[0].version == 1:
        found.append(_change(after[0], None, after[1]))
    return found


def _change(version: ConfigVersion, before: str | None, now: str | None) -> RuleChange:
    kind: Literal["added", "changed", "removed"] = "changed"
    if before is None:
        kind = "added"
    elif now is None:
        kind = "removed"
    return RuleChange(version=version, kind=kind, lines=tuple(diff_lines(before or "", now or "")))


def diff_lines(before: str, now: str, around: int = 3) -> list[DiffLine]:
    """The lines that differ between two texts, with some around them."""
    found: list[DiffLine] = []
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), n=around, lineterm="")
    for place, line in enumerate(lines):
        if place < 2:
            continue  # the names of files, of which there are none
        if line.startswith("@@"):
            if found:
                found.append(DiffLine(sign="@", text=""))
            continue
        sign: Literal["+", "-", " "] = "+" if line[0] == "+" else "-" if line[0] == "-" else " "
        found.append(DiffLine(sign=sign, text=line[1:]))
    return found
