"""What differs between two configurations, as far as a reader may see: in words, and as lines of files.

Rule: of the main file, in which all tenants stand, a reader who may not see them all is shown those of theirs alone;
      of files that hold for all tenants, and so may name any of them, that they differ, without a line of them.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
import yaml

from aegis_gateway.configuration.difference import difference
from aegis_gateway.configuration.load import MAIN_FILE, Configuration
from aegis_gateway.entrypoints.people.policies.history import DiffLine, diff_lines
from aegis_gateway.entrypoints.people.policies.sources import LOADER, value_of

_OF_TENANT = re.compile(r"policies/([A-Za-z0-9][A-Za-z0-9._-]*)/[^/]+")

MayRead = Callable[[str], bool]


class FileDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How one file, or a tenant's part of the main one, differs."""

    path: str
    lines: tuple[DiffLine, ...]

    @property
    def counts(self) -> str:
        """`+3 −1`."""
        signs = [line.sign for line in self.lines]
        return f"+{signs.count('+')} −{signs.count('-')}"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What differs: `changes` in words by tenant (empty: all tenants), `files` line by line.

    `is_partial`: there is more, of tenants that the reader may not see.
    """

    changes: tuple[tuple[str, tuple[str, ...]], ...]
    files: tuple[FileDiff, ...]
    is_partial: bool

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not self.changes and not self.files and not self.is_partial


def compared(
    old: Configuration | None,
    new: Configuration,
    old_files: Mapping[str, str],
    new_files: Mapping[str, str],
    may_read: MayRead,
) -> Comparison:
    """Compare two configurations for a reader."""
    tenants = {*(old.registries if old is not None else ()), *new.registries}
    sees_all = all(map(may_read, tenants))
    found: dict[str, list[str]] = {}
    is_partial = False
    for change in difference(old, new):
        if change.tenant is None or may_read(change.tenant):
            found.setdefault(change.tenant or "", []).append(f"{change}")
        else:
            is_partial = True
    shown = [tenant for tenant in sorted(tenants) if may_read(tenant)]
    files = tuple(_files(old_files, new_files, may_read, None if sees_all else shown))
    is_partial |= not sees_all and any(map(_is_shared, _differing(old_files, new_files)))
    return Comparison(
        changes=tuple((tenant, tuple(words)) for tenant, words in found.items()),
        files=files,
        is_partial=is_partial,
    )


def _files(
    old: Mapping[str, str], new: Mapping[str, str], may_read: MayRead, only: Iterable[str] | None
) -> Iterator[FileDiff]:
    for path in _differing(old, new):
        place = _OF_TENANT.fullmatch(path)
        before, now = old.get(path, ""), new.get(path, "")
        if (place is not None and not may_read(place[1])) or (only is not None and _is_shared(path)):
            continue
        if path != MAIN_FILE or only is None:
            yield FileDiff(path=path, lines=tuple(diff_lines(before, now)))
            continue
        for tenant in only:
            mine, yours = part_of(before, tenant), part_of(now, tenant)
            if mine != yours:
                yield FileDiff(path=f"{path}, tenant {tenant}", lines=tuple(diff_lines(mine, yours)))


def _differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The files that differ, the main one first."""
    paths = sorted({*old, *new}, key=lambda each: (each != MAIN_FILE, each))
    return [each for each in paths if old.get(each, "") != new.get(each, "")]


def _is_shared(path: str) -> bool:
    return path != MAIN_FILE and _OF_TENANT.fullmatch(path) is None


def part_of(text: str, tenant: str) -> str:
    """What the main file says under one tenant."""
    node = value_of(yaml.compose(text, LOADER), "tenants") if text.strip() else None
    if not isinstance(node, yaml.MappingNode):
        return ""
    for key, value in node.value:
        if key.value == tenant:
            begin = key.start_mark
            return textwrap.dedent(" " * begin.column + text[begin.index : value.end_mark.index]).rstrip()
    return ""
