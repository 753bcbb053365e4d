"""What the steward tells telemetry of budgets, whenever metrics are sent; `/metrics` says the same."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.entrypoints.in_force import InForce

if TYPE_CHECKING:
    from aegis_gateway.application.metering import BudgetSeen


def budgets_seen(settings: Settings, in_force: InForce) -> list[BudgetSeen]:
    """All budgets of all tenants, but for those that are made on the fly.

    Raises:
        AegisError: the store can't be read.
    """
    from aegis_gateway.adapters.metrics_reports import MetricsReports

    views = in_force()
    with contextlib.closing(open_store(settings.store, read_only=True)) as store:
        reports, now_ns = MetricsReports(store.query), store.clock_ns()
        return [each.seen for view in views.values() for each in reports.budgets(view.registry, now_ns)]
