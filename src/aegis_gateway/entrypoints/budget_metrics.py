"""What the steward tells telemetry of budgets, whenever metrics are sent; `/metrics` says the same.

Rule: budgets are read once for all metrics of one sending, and not again within `FRESH_S`, however often is sent.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.entrypoints.in_force import InForce

if TYPE_CHECKING:
    from aegis_gateway.application.metering import BudgetSeen

FRESH_S = 10.0


class BudgetMetrics:
    """All budgets of all tenants, but for those that are made on the fly."""

    def __init__(self, settings: Settings, in_force: InForce) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._in_force = in_force
        self._reading = threading.Lock()
        self._read_at: float | None = None
        self._seen: list[BudgetSeen] = []

    def __call__(self) -> list[BudgetSeen]:
        """Read them, or give what was read just before.

        Raises:
            AegisError: the store can't be read.
        """
        with self._reading:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at >= FRESH_S:
                self._seen, self._read_at = self._read(), now
            return self._seen

    def _read(self) -> list[BudgetSeen]:
        # Here: most stewards tell nobody, and it takes the loader of all that is in force.
        from aegis_gateway.adapters.metrics_reports import MetricsReports

        views = self._in_force()
        with contextlib.closing(open_store(self._settings.store, read_only=True)) as store:
            reports, now_ns = MetricsReports(store.query), store.clock_ns()
            return [each.seen for view in views.values() for each in reports.budgets(view.registry, now_ns)]
