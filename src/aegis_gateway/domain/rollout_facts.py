"""What is known of a tenant when it is asked how far its rollout is: facts, read elsewhere, with nothing judged yet."""

from __future__ import annotations

from typing import Literal

import msgspec

from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.review import Review

PERIOD_DAYS = 30
"""So many days back calls and spending are looked at."""

TESTED_DAYS = 91
"""So long a channel's test holds: a quarter."""

_DAY_NS = 86_400 * 1_000_000_000

Dashboard = Literal["metrics", "telemetry"]


class RegisteredAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent: which of its tags are missing, how often it called lately, and whether a key of it is valid."""

    id: str
    missing: tuple[str, ...]
    calls: int
    has_key: bool


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """A caller without a key of ours, and what it came to lately, in nano-USD."""

    name: str
    calls: int
    nano_usd: int


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What holds calls back: a policy, budget, rate or bound. `since_ns` is when it was put in shadow as it is now, if
    that can be told.
    """

    name: str
    kind: str
    mode: Mode
    since_ns: int | None = None


class MoneyBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget of money, and whether anybody is told before it is empty."""

    id: str
    mode: Mode
    tells: bool


class AlertChannel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel: when a test of it was last sent, and to whom it has to be sent, if the channel doesn't say."""

    id: str
    tested_ns: int | None
    wants_recipient: bool = False


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A team that new agents may be put down to."""

    id: str
    owner: str
    cost_centre: str


class RolloutFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one tenant; spending is that of the last days (`PERIOD_DAYS`), in nano-USD.

    `url` is where the gateway is found, `model` one that can be called with a plain question; `seen` says when a
    dashboard last asked. A tenant that is not configured yet has an empty name.
    """

    tenant: str
    now_ns: int
    url: str
    teams: tuple[Team, ...] = ()
    agents: tuple[RegisteredAgent, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    model: str = ""
    calls: int = 0
    spent_nano_usd: int = 0
    attributed_nano_usd: int = 0
    in_proxy: bool = False
    takes_strangers: bool = False
    rules: tuple[Rule, ...] = ()
    shadow_for_ns: int = 0
    budgets: tuple[MoneyBudget, ...] = ()
    channels: tuple[AlertChannel, ...] = ()
    notifies: bool = False
    seen: dict[Dashboard, int] = {}
    has_people: bool = False
    review: Review | None = None


def is_fresh(at_ns: int | None, days: int, now_ns: int) -> bool:
    """Whether something was so many days ago or later."""
    return at_ns is not None and now_ns - at_ns < days * _DAY_NS
