"""What metrics of telemetry are told beside single calls' spans: how fast it is, what fails, and how full budgets are.

Rule: what is told waits for nobody and fails nothing; what is asked for is asked by threads of the metrics' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from aegis_gateway.domain.pace import Measure


class BudgetSeen(msgspec.Struct, frozen=True, kw_only=True):
    """How full a budget is in its window: spent and reserved, as a share of its limit; and how fast it is spent against
    an even spending. None where that makes no sense.
    """

    tenant: str
    budget: str
    scope: str
    utilization: float | None
    burn_rate: float | None


class Metering(Protocol):
    """What makes metrics, in one process."""

    def timed(self, measure: Measure, labels: tuple[str, ...], took_ns: int) -> None:
        """Something took so long."""

    def counted(self, measure: Measure, labels: tuple[str, ...]) -> None:
        """Something happened."""

    def watch_under_way(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Ask this for the requests that are under way, by door, whenever metrics are sent."""

    def watch_budgets(self, read: Callable[[], Iterable[BudgetSeen]]) -> None:
        """Ask this for all budgets whenever metrics are sent."""
