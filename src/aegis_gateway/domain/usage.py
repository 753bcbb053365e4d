"""What was called and spent, added up by hour, day and fortnight: what pages, figures and exports are read from.

Rule 1: a call counts in the hour, and in the day, in which it was decided, however late it settles, as it does in the
        windows of its budgets. All are UTC; other days are made of hours.
Rule 2: what stands here is a sum of what stands in the ledger, written with it. It decides nothing.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.money import NANO_USD_MAX

DAY_NS = 24 * HOUR_NS

FORTNIGHT_NS = 14 * DAY_NS

Span = Literal["fortnight", "day", "hour"]
SPANS: dict[Span, int] = {"hour": HOUR_NS, "day": DAY_NS, "fortnight": FORTNIGHT_NS}
"""How long what is added up lasts, in nanoseconds. All are counted since 1970, so that each is made of whole ones
before it. A year is some twenty-five fortnights, and the days at its ends.
"""


class UsageKey(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Which calls are added up together: those of one agent, of one thing, with one outcome.

    `code` and `rule` say why it was refused, throttled or put before a person, and are empty where it was let through.
    A call that opens no run of its own, or that no model is called by, has an empty text there.
    """

    agent: str
    team: str
    project: str
    cost_centre: str
    environment: str
    connector: str
    tool: str
    model: str
    effect: str
    code: str = ""
    rule: str = ""


class ShadowKey(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Which findings of rules in shadow are added up together: what one rule would have done to one agent's calls."""

    agent: str
    team: str
    rule: str
    would: str


class ShadowSum(msgspec.Struct, array_like=True):
    """How many calls those were, and what they can have come to at most, in nano-USD."""

    calls: int = 0
    maximum: int = 0


class RuleKey(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Which acts of rules are added up together: what one rule did, as the code of a reason says it."""

    rule: str
    did: str


class RuleSum(msgspec.Struct, array_like=True):
    """How many calls those were, what they were expected to cost, and what those cost that it let through.

    Money in nano-USD.
    """

    calls: int = 0
    expected: int = 0
    cost: int = 0


class UsageSum(msgspec.Struct, array_like=True):
    """What they come to. Money in nano-USD.

    `transactions` are the trees of runs that were begun; `settled_calls` have their final cost, which `cost` adds up,
    and `overruns` of them came to more than they had reserved. `expected` is what all calls were expected to cost, so
    of refused ones, what wasn't spent. `saved` is how much less than the model that was asked for another one was
    expected to cost, of calls that were let through. `unpriced` are calls whose price nobody knew. `repeats` are calls
    whose same request had been settled within a day before (`domain/reuse.py`), and `repeated` is what those came to.
    """

    calls: int = 0
    transactions: int = 0
    settled_calls: int = 0
    overruns: int = 0
    unpriced: int = 0
    cost: int = 0
    expected: int = 0
    saved: int = 0
    tokens: int = 0
    output_tokens: int = 0
    repeats: int = 0
    repeated: int = 0


S = TypeVar("S", UsageSum, ShadowSum, RuleSum)


def together(one: S, other: S) -> S:
    """Two sums as one, within 64 bits."""
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return type(one)(*(min(mine + others, NANO_USD_MAX) for mine, others in pairs))
