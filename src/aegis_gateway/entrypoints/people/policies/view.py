"""Which rules somebody wants to see, as the address says it: whose, of which period, effect, mode, with which words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args
from urllib.parse import quote, urlencode

import msgspec

from aegis_gateway.entrypoints.people.overview.periods import Range, range_of

Mode = Literal["enforce", "shadow", "gone"]
MODES: tuple[Mode, ...] = get_args(Mode)
MODE_WORDS: dict[Mode, str] = {"enforce": "enforced", "shadow": "in shadow", "gone": "no longer in force"}
EFFECT_WORDS = {
    "permit": "permits",
    "deny": "refuses",
    "require_approval": "asks a person",
    "throttle": "throttles",
    "cap": "caps",
    "downgrade": "downgrades",
    "redact": "redacts",
}

_TEXT_MAX = 128


class PoliciesView(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. Empty texts leave nothing out."""

    tenant: str
    range: Range = "7d"
    effect: str = ""
    mode: str = ""
    text: str = ""

    @property
    def is_filtered(self) -> bool:
        """Whether some rules are left out."""
        return bool(self.effect or self.mode or self.text)

    def address(self, path: str = "/policies", **other: object) -> str:
        """The address of this view, or of one that differs in something."""
        view = msgspec.structs.replace(self, **other)
        pairs = [("tenant", view.tenant), ("range", view.range)]
        pairs += [(each, getattr(view, each)) for each in ("effect", "mode") if getattr(view, each)]
        if view.text:
            pairs.append(("q", view.text))
        return f"{path}?{urlencode(pairs)}"

    def of(self, rule: str, range_: str | None = None) -> str:
        """The address of one rule's page, in the same period or another."""
        return f"/policies/{quote(self.tenant, safe='')}/{quote(rule, safe='')}?range={range_ or self.range}"


def view_of(query: Mapping[str, str], tenant: str) -> PoliciesView:
    """What an address asks for. What it doesn't say, or says wrongly, is as it is at first."""
    effect, mode = query.get("effect", ""), query.get("mode", "")
    return PoliciesView(
        tenant=tenant,
        range=range_of(query),
        effect=effect if effect in EFFECT_WORDS else "",
        mode=mode if mode in MODES else "",
        text=query.get("q", "").strip()[:_TEXT_MAX],
    )
