"""Which calls somebody wants to see, as the address says it: whose, how decided, how they stand, since when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from aegis_gateway.adapters.reports import CallFilter, CallReport
from aegis_gateway.entrypoints.people.since import since_ns, since_of, since_words

EFFECT_WORDS = {
    "allow": "allowed",
    "deny": "refused",
    "throttle": "throttled",
    "require_approval": "asks a person",
}
STATE_WORDS = {
    "refused": "refused",
    "reserved": "reserved",
    "dispatched": "under way",
    "in_doubt": "in doubt",
    "settled": "settled",
    "released": "given back",
    "expired": "ran out",
}
ERROR_WORDS = {
    "timeout": "too late",
    "connection": "not reached or broken off",
    "5xx": "errors of theirs",
    "429": "too many requests",
}
REFUSED_WORDS = {
    "overload": "overload",
    "unavailable": "ledger not available",
    "failed": "the gateway failed",
    "not_identified": "unknown key",
    "not_understood": "not understood",
}

_TEXTS = ("agent", "effect", "state", "rule")
_FIRST = "24h"
_AGENT_CHARACTERS_MAX = 255
_RULE_CHARACTERS_MAX = 300
_VERSION = re.compile(r"[0-9]{1,9}")
_PLACE = re.compile(r"([0-9]{1,19})-([0-9]{1,18})")
_INSTANT_MAX_NS = 2**63 - 1


class CallsView(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. `behind` is the place of the call that this page begins behind; None is the first page."""

    tenant: str
    agent: str = ""
    effect: str = ""
    state: str = ""
    rule: str = ""
    version: int | None = None
    since: str = _FIRST
    behind: tuple[int, int] | None = None

    def wanted(self, now_ns: int) -> CallFilter:
        """Which calls these are, at an instant."""
        return CallFilter(
            agent=self.agent or None,
            effect=self.effect or None,
            state=self.state or None,
            rule=self.rule or None,
            config_version=self.version,
            since_ns=since_ns(self.since, now_ns),
        )

    @property
    def is_filtered(self) -> bool:
        """Whether some calls of the period are left out."""
        return bool(self.agent or self.effect or self.state or self.rule or self.version is not None)

    @property
    def period(self) -> str:
        """The period in words."""
        return since_words(self.since)

    def address(self, path: str = "/calls", **other: object) -> str:
        """The address of this view, or of one that differs in something; it begins at the newest unless told."""
        view = msgspec.structs.replace(self, **{"behind": None, **other})
        pairs = [("tenant", view.tenant)]
        pairs += [(each, getattr(view, each)) for each in _TEXTS if getattr(view, each)]
        if view.version is not None:
            pairs.append(("version", str(view.version)))
        pairs.append(("since", view.since))
        if view.behind is not None:
            pairs.append(("behind", f"{view.behind[0]}-{view.behind[1]}"))
        return f"{path}?{urlencode(pairs)}"

    def here(self) -> str:
        """The address of this very page."""
        return self.address(behind=self.behind)

    def after(self, last: CallReport) -> str:
        """The address of the page that goes on behind a call."""
        return self.address(behind=(last.decided_ns, last.sequence))


def view_of(query: Mapping[str, str], tenant: str) -> CallsView:
    """What an address asks for. What it doesn't say, or says wrongly, is as it is at first."""
    effect, state = query.get("effect", ""), query.get("state", "")
    return CallsView(
        tenant=tenant,
        agent=query.get("agent", "").strip()[:_AGENT_CHARACTERS_MAX],
        effect=effect if effect in EFFECT_WORDS else "",
        state=state if state in STATE_WORDS else "",
        rule=query.get("rule", "").strip().replace("\0", "")[:_RULE_CHARACTERS_MAX],
        version=_version(query.get("version", "")),
        since=since_of(query.get("since", ""), _FIRST),
        behind=_place(query.get("behind", "")),
    )


def _version(text: str) -> int | None:
    return int(text) if _VERSION.fullmatch(text) and text.isascii() else None


def _place(text: str) -> tuple[int, int] | None:
    found = _PLACE.fullmatch(text)
    if found is None or not found[0].isascii() or int(found[1]) > _INSTANT_MAX_NS:
        return None
    return int(found[1]), int(found[2])
