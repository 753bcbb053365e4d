"""Limits that a version configures anew: where lasting changes of them end, as their history tells."""

from __future__ import annotations

from collections.abc import Mapping

from aegis_gateway.application.operators import Act
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.budget_family import Reconfigured, with_changes
from aegis_gateway.domain.limit_change import changed
from aegis_gateway.domain.registry import Budget


def note_limits(act: Act, limits: Mapping[str, Reconfigured], version: int, *, by: str, reason: str) -> None:
    """Write down which limits a version that goes in force for all configures anew, before its entries are written.

    `limits` are those of each tenant.
    """
    change = act.change
    for tenant, configured in limits.items():
        if not configured:
            continue
        now_ns = max(change.now_ns, change.heads[tenant].last_ns)
        stored = change.limit_changes(tenant)
        number = change.next_budget_change(tenant)
        rows = []
        for place, (old, new) in enumerate(configured):
            before = with_changes({old.id: old}, stored)[old.id]
            after = None if new is None else with_changes({new.id: new}, stored)[new.id]
            rows.append(
                BudgetChange(
                    tenant=tenant,
                    number=number + place,
                    budget=old.id,
                    kind="configured",
                    amount=_limit(new) - old.limit,
                    unit=(new or old).unit,
                    configured=_limit(new),
                    limit_before=changed(before.limit, before.changes, now_ns),
                    limit_after=0 if after is None else changed(after.limit, after.changes, now_ns),
                    starts_ns=now_ns,
                    ends_ns=None,
                    at_ns=now_ns,
                    sequence=change.heads[tenant].next_sequence,
                    asked_by=by,
                    approver=act.operator.name,
                    reason=reason,
                    config_version=version,
                )
            )
        change.save_budget_changes(rows)


def _limit(budget: Budget | None) -> int:
    """What a budget that is gone bears: nothing is said of it any more."""
    return 0 if budget is None else budget.limit
