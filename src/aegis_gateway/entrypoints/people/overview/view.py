"""What somebody wants to see of spending, as the address says it: whose, of which period, by what, of what alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args
from urllib.parse import urlencode

import msgspec

from aegis_gateway.adapters.usage_reports import Dimension
from aegis_gateway.entrypoints.people.overview.periods import RANGES, Range

Grouping = Literal["team", "agent", "model", "tool", "project", "cost_centre", "environment"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
GROUPING_WORDS: dict[Grouping, str] = {
    "team": "team",
    "agent": "agent",
    "model": "model",
    "tool": "tool",
    "project": "project",
    "cost_centre": "cost centre",
    "environment": "environment",
}

_VALUE_MAX = 256
_DRILLED: tuple[Grouping, ...] = ("team", "agent", "model", "tool")
"""In which order one goes into it: whose it is, who it was, what was called."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. `of` are the values that calls must have, by dimension."""

    tenant: str
    range: Range = "7d"
    by: Grouping = "team"
    of: tuple[tuple[Grouping, str], ...] = ()

    @property
    def where(self) -> dict[Dimension, str]:
        """Which calls alone are looked at."""
        return {dimension: value for dimension, value in self.of}  # noqa: C416  # a mapping's keys are of one type

    def address(self, path: str = "/", **other: object) -> str:
        """The address of this view, or of one that differs in something."""
        view = msgspec.structs.replace(self, **other)
        pairs = [("tenant", view.tenant), ("range", view.range), ("by", view.by), *view.of]
        return f"{path}?{urlencode(pairs)}"

    def into(self, value: str) -> str | None:
        """The address of what one row is made of: its calls alone, by the next grouping; None where there is none."""
        of = (*(each for each in self.of if each[0] != self.by), (self.by, value))
        after = _DRILLED[_DRILLED.index(self.by) + 1 :] if self.by in _DRILLED else _DRILLED
        following = next((each for each in after if each not in dict(of)), None)
        return None if following is None else self.address(by=following, of=of)

    def without(self, dimension: Grouping) -> str:
        """The address of the same, of all values of a dimension; grouped by it, as before one went into it."""
        return self.address(by=dimension, of=tuple(each for each in self.of if each[0] != dimension))


def view_of(query: Mapping[str, str], tenant: str) -> View:
    """What an address asks for. What it doesn't say, or says wrongly, is as it is at first."""
    # No store has a NUL in a text, and PostgreSQL refuses to be asked for one.
    of = tuple((each, query[each][:_VALUE_MAX].replace("\0", "")) for each in GROUPINGS if each in query)
    asked = next((each for each in GROUPINGS if each == query.get("by")), None)
    free = [each for each in _DRILLED if each not in dict(of)]
    return View(
        tenant=tenant,
        range=next((each for each in RANGES if each == query.get("range")), "7d"),
        by=asked or (free[0] if free else "tool"),
        of=of,
    )
