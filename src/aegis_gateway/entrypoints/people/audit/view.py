"""What somebody looks for in the record, as the address says it: by whom, about what, of which kind, when, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from aegis_gateway.domain.moment import ns_of
from aegis_gateway.domain.record_search import SUBJECTS, EntryFilter
from aegis_gateway.entrypoints.people.since import since_ns, since_of, since_words
from aegis_gateway.entrypoints.record_words import KIND_WORDS

ABOUT_WORDS = {
    "agent": "agent",
    "budget": "budget",
    "call": "call",
    "rule": "rule",
    "version": "configuration",
    "key": "key",
    "run": "run",
}
SEQUENCE_MAX = 2**62

_ABOUT = (*SUBJECTS, "call")
_TEXT_MAX = 300
_NUMBER = re.compile(r"[0-9]{1,18}")


class AuditView(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. Empty texts leave nothing out; `about` are values that entries must have, by what they are.

    `begin` and `end` are instants as ISO 8601 has them, in UTC unless told; where there is one, `since` doesn't count.
    `below` is the number that the page begins below.
    """

    tenant: str
    kind: str = ""
    who: str = ""
    about: tuple[tuple[str, str], ...] = ()
    words: str = ""
    since: str = "7d"
    begin: str = ""
    end: str = ""
    below: int | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether some entries of the period are left out."""
        return bool(self.kind or self.who or self.about or self.words)

    @property
    def first_about(self) -> tuple[str, str]:
        """What the form shows of what entries must be about."""
        return self.about[0] if self.about else ("", "")

    @property
    def period(self) -> str:
        """The period in words."""
        if self.begin or self.end:
            return (
                f"{'from ' + self.begin if self.begin else 'from the beginning'} to {self.end or 'now'}, UTC"
            )
        return since_words(self.since)

    def wanted(self, now_ns: int) -> EntryFilter:
        """Which entries these are, at an instant."""
        about = dict(self.about)
        from_ns, until_ns = since_ns(self.since, now_ns), None
        if self.begin or self.end:
            from_ns, until_ns = _instant(self.begin), _instant(self.end)
        version = about.get("version", "")
        return EntryFilter(
            kind=self.kind or None,
            who=self.who or None,
            words=self.words or None,
            version=int(version) if version else None,
            since_ns=from_ns,
            until_ns=until_ns,
            **{name: about[name] for name in _ABOUT if name != "version" and about.get(name)},
        )

    def address(self, path: str = "/audit", **other: object) -> str:
        """The address of this view, or of one that differs in something; it begins at the newest unless told."""
        view = msgspec.structs.replace(self, **{"below": None, **other})
        pairs = [("tenant", view.tenant)]
        pairs += [(name, getattr(view, name)) for name in ("kind", "who") if getattr(view, name)]
        pairs += view.about
        if view.words:
            pairs.append(("q", view.words))
        if view.begin or view.end:
            pairs += [(name, text) for name, text in (("from", view.begin), ("to", view.end)) if text]
        else:
            pairs.append(("since", view.since))
        if view.below is not None:
            pairs.append(("below", str(view.below)))
        return f"{path}?{urlencode(pairs)}"

    def here(self) -> str:
        """The address of this very page."""
        return self.address(below=self.below)


def view_of(query: Mapping[str, str], tenant: str) -> AuditView:
    """What an address asks for. What it doesn't say, or says wrongly, is as it is at first."""

    def text(name: str) -> str:
        return query.get(name, "").strip().replace("\0", "")[:_TEXT_MAX]

    about = {name: text(name) for name in _ABOUT if text(name)}
    if text("about") in _ABOUT and text("of"):
        about = {text("about"): text("of")}
    if not _NUMBER.fullmatch(about.get("version", "1")) or len(about.get("version", "")) > 9:
        about.pop("version")
    begin, end, below = text("from"), text("to"), text("below")
    return AuditView(
        tenant=tenant,
        kind=text("kind") if text("kind") in KIND_WORDS else "",
        who=text("who"),
        about=tuple(about.items()),
        words=text("q"),
        since=since_of(text("since"), "7d"),
        begin=begin if _instant(begin) is not None else "",
        end=end if _instant(end) is not None else "",
        below=int(below) if _NUMBER.fullmatch(below) and below.isascii() else None,
    )


def _instant(text: str) -> int | None:
    """An instant in nanoseconds since 1970; None where a text is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ns_of(found if found.tzinfo is not None else found.replace(tzinfo=UTC))
