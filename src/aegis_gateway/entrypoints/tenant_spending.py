"""What a whole tenant spends, hour by hour, and what its day or month will come to: as of a budget of all its calls."""

from __future__ import annotations

from functools import cached_property
from zoneinfo import ZoneInfo

from aegis_gateway.adapters.budget_use import forecast_of
from aegis_gateway.adapters.reports import BudgetStanding, Query
from aegis_gateway.adapters.usage_reports import UsageReports
from aegis_gateway.domain.forecast import Forecast
from aegis_gateway.domain.hourly import HOUR_NS, HourlyUse
from aegis_gateway.domain.registry import Budget, Registry
from aegis_gateway.domain.usage import DAY_NS
from aegis_gateway.domain.window import Period

_LOOKED_BACK_NS = 70 * DAY_NS
"""As far back as what is usual is looked for, and a few weeks more to tell how wrong forecasts were."""


class TenantSpending:
    """The spending of one tenant, as of an instant."""

    def __init__(self, query: Query, registry: Registry, now_ns: int) -> None:
        """Look up nothing yet."""
        self._usage = UsageReports(query)
        self._registry = registry
        self._now_ns = now_ns

    def forecast(self, period: Period, spent: int) -> Forecast:
        """What the present day, month… will come to, of which so much is spent."""
        everything = Budget(
            id="", owner="", deputy=None, quantity="usd", limit=0, period=period, zone=self._registry.zone
        )
        window = everything.window(self._now_ns)
        standing = BudgetStanding(
            budget=everything, scope="", window=window, reserved=0, spent=spent, limit=spent
        )
        return forecast_of(self._use, standing, self._now_ns)

    @cached_property
    def _use(self) -> HourlyUse:
        """What was spent in each hour lately."""
        now_ns = self._now_ns
        since_ns = now_ns - _LOOKED_BACK_NS
        tenant = self._registry.tenant
        costs = self._usage.by_time(tenant, since_ns - since_ns % HOUR_NS, now_ns + HOUR_NS, "hour")
        hours = {start_ns // HOUR_NS: cost for start_ns, cost in costs.items()}
        return HourlyUse(hours, min(hours, default=now_ns // HOUR_NS), ZoneInfo(self._registry.zone))
