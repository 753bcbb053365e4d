"""The report of a month, for programs in the name of a person who may read it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from aegis_gateway.domain.errors import CallError, ConfigurationError
from aegis_gateway.entrypoints.months import month_of
from aegis_gateway.entrypoints.people.api.operations import PROBLEMS, Asks, Tenant
from aegis_gateway.entrypoints.people.words import iso
from aegis_gateway.entrypoints.reporting import report_of, report_record
from aegis_gateway.entrypoints.rollout import Rollouts


class MonthReport(BaseModel):
    """The report. Amounts are nano-USD; `compared_with` is the month before, or as much of it as there is of this."""

    tenant: str
    month: str
    is_over: bool
    at: str
    zone: str
    since: str
    until: str
    compared_with: dict[str, str]
    calls: int
    spent_nano_usd: int
    spent: str
    before_nano_usd: int
    month_before_nano_usd: int
    change_nano_usd: int
    expected_nano_usd: int | None
    expected_low_nano_usd: int | None
    expected_high_nano_usd: int | None
    budgets: list[dict[str, Any]]
    budgets_split: int
    figures: list[dict[str, Any]]
    savings: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    risks: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    days: list[dict[str, Any]]


def router(rollouts: Rollouts) -> APIRouter:
    """The operation; `rollouts` tells how far tenants are, for the decisions that are wanted."""
    found = APIRouter(prefix="/api/v1", responses=PROBLEMS)

    @found.get("/report", tags=["Figures"], response_model=MonthReport, summary="The report of a month")
    def show_report(
        asks: Asks,
        tenant: Tenant = None,
        month: Annotated[str, Query(description="As `2026-11`; the present one.", max_length=20)] = "",
    ) -> dict[str, Any]:
        """Tell what was planned, spent and is expected, what changed, what was saved, what is at risk."""
        view = asks.office.tenants()[asks.tenant(tenant)]
        with asks.office.store() as store:
            try:
                which = month_of(month, view.registry.zone, store.clock_ns())
            except ConfigurationError as fault:
                raise CallError(f"{fault}", field="month", status=422) from None
            rules = view.policies.rules.values()
            return report_record(report_of(store, view.registry, rules, rollouts(store, view), which), iso)

    return found
