"""The strip of alerts: which thresholds of budgets were passed, and which budgets were found empty, newest first."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from aegis_gateway.adapters.reports import Query

ALERTS_SHOWN = 6
_LOOKED_AT = 500
"""So many of the newest notices are looked at: those of a day in which nobody is told of more."""

_NOTICES = """
select kind, subject, at_ns, body from (
    select kind, subject, at_ns, body from notice where tenant = ? order by sequence desc limit ?
) as newest
 where kind in ('threshold_passed', 'budget_exhausted') and at_ns >= ?
 order by at_ns desc
"""
"""By the end of the primary key of the tenant."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One of them: what happened to which balance, when, and where the budget is."""

    words: str
    at_ns: int
    address: str
    is_empty: bool


class _Told(msgspec.Struct):
    threshold: str = ""
    scope: str = ""


def alerts_since(query: Query, tenant: str, since_ns: int) -> list[Alert]:
    """Those since an instant."""
    found = []
    for row in query(_NOTICES, (tenant, _LOOKED_AT, since_ns)):
        told = msgspec.json.decode(row["body"], type=_Told, strict=False)
        budget = row["subject"].partition(":")[2]
        is_empty = row["kind"] == "budget_exhausted"
        name = f"{budget} {told.scope}".rstrip()
        found.append(
            Alert(
                words=f"{name} is exhausted" if is_empty else f"{name} {_passed(told.threshold)}",
                at_ns=row["at_ns"],
                address=f"/budgets/{quote(tenant, safe='')}/{quote(budget, safe='')}"
                + (f"?scope={quote(told.scope, safe='')}" if told.scope else ""),
                is_empty=is_empty,
            )
        )
    return found


def _passed(threshold: str) -> str:
    """What was passed, by the id of a threshold: `80`, `80-forecast`, `amount-5`."""
    share, _, _ = threshold.partition("-forecast")
    at = (
        share.removeprefix("amount-")
        if share.startswith("amount-")
        else f"{share} %"
        if share
        else "a threshold"
    )
    return f"is expected to pass {at}" if threshold.endswith("-forecast") else f"passed {at}"
