"""Which agents somebody wants to see, as the address says it: whose, how they stand, in which order, from which on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args
from urllib.parse import urlencode

import msgspec

from aegis_gateway.domain.agent_state import AGENT_STATES
from aegis_gateway.entrypoints.agents.roster import AgentLine

Order = Literal[
    "agent", "team", "owner", "today", "month", "30d", "calls", "refused", "last", "keys", "state"
]
ORDERS: tuple[Order, ...] = get_args(Order)
LISTED_MAX = 50

_WORDS_MAX = 128
_PAGES_MAX = 1_000_000
_TEXTS = ("q", "team", "owner", "state")

_BY: dict[Order, Callable[[AgentLine], tuple[int | str, ...]]] = {
    "agent": lambda each: (each.id,),
    "team": lambda each: (each.team, each.id),
    "owner": lambda each: (each.owner, each.id),
    "today": lambda each: (-each.today, -each.lately, each.id),
    "month": lambda each: (-each.month, -each.lately, each.id),
    "30d": lambda each: (-each.lately, -each.calls, each.id),
    "calls": lambda each: (-each.calls, each.id),
    "refused": lambda each: (-each.refused, each.id),
    "last": lambda each: (-(each.last_ns or 0), each.id),
    "keys": lambda each: (-each.valid_keys, -each.keys, each.id),
    "state": lambda each: (AGENT_STATES.index(each.state), each.id),
}
"""Numbers the greatest first, words from A on."""


class AgentsView(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. `page` counts from 1."""

    tenant: str
    q: str = ""
    team: str = ""
    owner: str = ""
    state: str = ""
    sort: Order = "30d"
    page: int = 1

    @property
    def is_filtered(self) -> bool:
        """Whether some agents are left out."""
        return bool(self.q or self.team or self.owner or self.state)

    def of(self, lines: Iterable[AgentLine]) -> list[AgentLine]:
        """Those that are meant, in the order that is meant."""
        return sorted((each for each in lines if self._has(each)), key=_BY[self.sort])

    def address(self, path: str = "/agents", **other: object) -> str:
        """The address of this view, or of one that differs in something; it begins with the first page unless told."""
        view = msgspec.structs.replace(self, **{"page": 1, **other})
        pairs = [("tenant", view.tenant)]
        pairs += [(each, getattr(view, each)) for each in _TEXTS if getattr(view, each)]
        pairs.append(("sort", view.sort))
        if view.page > 1:
            pairs.append(("page", f"{view.page}"))
        return f"{path}?{urlencode(pairs)}"

    def here(self) -> str:
        """The address of this very page."""
        return self.address(page=self.page)

    def _has(self, each: AgentLine) -> bool:
        agent = each.agent
        texts = [each.id, each.owner, each.team]
        if agent is not None:
            texts += [agent.purpose, agent.external_id or "", agent.project or ""]
        return (
            (not self.team or each.team == self.team)
            and (not self.owner or each.owner == self.owner)
            and (not self.state or each.state == self.state)
            and (not self.q or any(self.q.casefold() in text.casefold() for text in texts))
        )


def view_of(query: Mapping[str, str], tenant: str) -> AgentsView:
    """What an address asks for. What it doesn't say, or says wrongly, is as it is at first."""
    texts = {each: query.get(each, "").strip()[:_WORDS_MAX] for each in _TEXTS}
    if texts["state"] not in AGENT_STATES:
        texts["state"] = ""
    sort, page = query.get("sort", ""), query.get("page", "")
    number = int(page) if page.isascii() and page.isdigit() and len(page) <= len(str(_PAGES_MAX)) else 1
    return AgentsView(
        tenant=tenant,
        sort=sort if sort in ORDERS else "30d",
        page=max(1, number),
        **texts,
    )
