"""What pages there are, in groups, as every page lists them: who adds a page adds a line here."""

from __future__ import annotations

from typing import Literal

import msgspec

COUNTED_MOST = 99
"""Of what waits, so much is said as a number."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page in the menu. `key` opens it after `g`; `sections` begin the paths that belong to it besides its own.
    `has_views`: its address says what is looked at, so it can be saved. `counts` is what of `Attention` stands beside
    it, and `counted` says what the number is of.
    """

    name: str
    address: str
    key: str
    sections: tuple[str, ...] = ()
    has_views: bool = True
    counts: Literal["", "approvals", "incidents"] = ""
    counted: str = ""

    def has(self, path: str) -> bool:
        """Whether a path is this page's, or of something that one comes to from it."""
        if self.address == "/":
            return path == "/"
        return path.split("/")[1] in (self.address.split("/")[1], *self.sections)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Pages that belong together."""

    name: str
    pages: tuple[Page, ...]


GROUPS = (
    Group(
        name="Money",
        pages=(
            Page(name="Overview", address="/", key="o"),
            Page(name="Budgets", address="/budgets", key="b"),
            Page(name="Key figures", address="/kpi", key="k"),
            Page(name="Report", address="/report", key="m"),
        ),
    ),
    Group(
        name="Traffic",
        pages=(
            Page(name="Calls", address="/calls", key="c", sections=("runs",)),
            Page(name="Agents", address="/agents", key="g"),
        ),
    ),
    Group(
        name="People",
        pages=(
            Page(name="Approvals", address="/approvals", key="a", counts="approvals", counted="waiting"),
            Page(name="Incidents", address="/incidents", key="i", counts="incidents", counted="open"),
            Page(name="Notifications", address="/notifications", key="n"),
        ),
    ),
    Group(
        name="Rules",
        pages=(
            Page(name="Policies", address="/policies", key="p"),
            Page(name="Shadow", address="/shadow", key="s"),
            Page(name="Record", address="/audit", key="e"),
        ),
    ),
    Group(
        name="Gateway",
        pages=(
            Page(name="Rollout", address="/rollout", key="r"),
            Page(name="API", address="/api/docs", key="d", has_views=False),
            Page(name="Settings", address="/settings", key=",", has_views=False),
        ),
    ),
)


def page_of(path: str) -> Page | None:
    """The page that a path is of; None where it is of none in the menu."""
    return next((page for group in GROUPS for page in group.pages if page.has(path)), None)
