"""When a version is taken back by itself: how its calls fare, against those before it, or beside it."""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.config_version import Watch
from aegis_gateway.domain.share import WHOLE, share_text


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """How calls fared under one version. `errors` were sent, or were to be, and came to nothing or are in doubt."""

    calls: int = 0
    refused: int = 0
    errors: int = 0
    cost_nano_usd: int = 0
    agents: int = 0

    @property
    def refused_share(self) -> int:
        """The share that was refused, in ten-thousandths."""
        return self.refused * WHOLE // self.calls if self.calls else 0

    @property
    def errors_share(self) -> int:
        """The share that failed, in ten-thousandths."""
        return self.errors * WHOLE // self.calls if self.calls else 0

    def __add__(self, other: Side) -> Side:
        """Both together. Agents are told apart by tenant."""
        return Side(
            calls=self.calls + other.calls,
            refused=self.refused + other.refused,
            errors=self.errors + other.errors,
            cost_nano_usd=self.cost_nano_usd + other.cost_nano_usd,
            agents=self.agents + other.agents,
        )


class Jump(msgspec.Struct, frozen=True, kw_only=True):
    """What went up too far, from which share to which, in ten-thousandths."""

    of: str
    before: int
    after: int

    def __str__(self) -> str:
        """`refusals went up from 0.50% to 12.00%`."""
        return f"{self.of} went up from {share_text(self.before)} to {share_text(self.after)}"


def jump(watch: Watch, tried: Side, other: Side) -> Jump | None:
    """What of a version's calls went up too far. Without calls to compare with, from nothing."""
    if tried.calls < watch.of_at_least:
        return None
    for of, limit, before, after in (
        ("refusals", watch.refusals_up_by, other.refused_share, tried.refused_share),
        ("errors", watch.errors_up_by, other.errors_share, tried.errors_share),
    ):
        if limit is not None and after - before > limit:
            return Jump(of=of, before=before, after=after)
    return None
