"""Holds: keys that a budget's threshold holds back, until its window turns or somebody lifts it.

Rule: a held key isn't revoked. Who is held by several is held until the last of them ends.
"""

from __future__ import annotations

import msgspec


class Hold(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Why a key is held: the threshold (`rule`) of a balance, and since when; who may be asked.

    A throttled one (`limit` calls in `period_ns`) may be used that often. It `restores` by itself when the threshold
    holds no more, at the latest at `until_ns`.
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

    def holds(self, now_ns: int) -> bool:
        """Whether nothing may be called with the key."""
        return not self.limit and (self.until_ns is None or now_ns < self.until_ns)
