"""Holds: keys that a budget's threshold or a person holds back, until its window turns, a time comes or somebody
lifts it.

Rule 1: a held key isn't revoked. Who is held by several is held until the last of them ends.
Rule 2: what a person has lifted stays noted with the key, so that the threshold doesn't hold it again for the same
        passing; and so does what is only told of, because the budget is in shadow.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.entry import time_text

BY_HAND = "by-hand"
"""The rule of a hold that a person made."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Why a key is held: the threshold (`rule`) of a balance, and since when; who may be asked.

    A throttled one (`limit` calls in `period_ns`) may be used that often. It `restores` by itself when the threshold
    holds no more, at the latest at `until_ns`. One that a person made names them (`by`) and the `reason`; its `scope`
    is the agent, where all keys of the agent are held. `lifted_ns` is when a person restored the key.
    """

    rule: str
    scope: str
    window: str
    since_ns: int
    owner: str
    until_ns: int | None = None
    restores: bool = True
    limit: int = 0
    period_ns: int = 0
    by: str = ""
    reason: str = ""
    lifted_ns: int | None = None
    mode: Mode = "enforce"

    @property
    def acts(self) -> bool:
        """Whether it does anything to the key: nobody has lifted it, and it isn't in shadow."""
        return self.lifted_ns is None and self.mode == "enforce"

    def is_over(self, now_ns: int) -> bool:
        """Whether its time is over."""
        return self.until_ns is not None and now_ns >= self.until_ns

    def holds(self, now_ns: int) -> bool:
        """Whether nothing may be called with the key."""
        return self.acts and not self.limit and not self.is_over(now_ns)

    @property
    def words(self) -> str:
        """By what a key is held and until when, for whoever calls with it; a person's reason isn't theirs to hear."""
        if self.by:
            until = "somebody restores it" if self.until_ns is None else time_text(self.until_ns)
            return f"by `{self.by}` until {until}; ask them, or the agent's owner"
        until = "its next window" if self.restores else "somebody restores it"
        return f"by `{self.rule}` until {until}; ask the budget's owner {self.owner}"
