"""Key figures, for programs in the name of a person who may read them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.figures import Part, figures_record, key_figures
from aegis_gateway.entrypoints.people.api.operations import PROBLEMS, Asks, Tenant
from aegis_gateway.entrypoints.people.words import iso

_DAY_NS = 86_400 * 1_000_000_000
_PERIOD_NS = 30 * _DAY_NS


class KeyFigure(BaseModel):
    """One figure, with what it is made of."""

    id: str
    name: str
    unit: Annotated[str, Field(description="`nano_usd`, `share`, `calls` or `nanoseconds`.")]
    value: Annotated[float | int | None, Field(description="Null where there is nothing to divide by.")]
    group: Annotated[
        str, Field(description="`spending`, `work`, `control`, or `not spent`, which stands apart.")
    ]
    numerator: int
    denominator: Annotated[int | None, Field(description="Null where it is a sum.")]
    numerator_unit: str
    denominator_unit: str | None
    formula: str
    source: str


class KeyFigureList(BaseModel):
    """The figures of a period, in whole hours; besides, budgets, what rules did and would have done, parts of it."""

    tenant: str
    since: str
    until: str
    figures: list[KeyFigure]
    budgets: list[dict[str, Any]]
    violations: list[dict[str, Any]]
    shadow: list[dict[str, Any]]
    violators: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]
    by: str | None = None
    parts: list[dict[str, Any]] = []


router = APIRouter(prefix="/api/v1", responses=PROBLEMS)


@router.get("/kpi", tags=["Figures"], response_model=KeyFigureList, summary="Key figures of a period")
def show_key_figures(
    asks: Asks,
    tenant: Tenant = None,
    since: Annotated[AwareDatetime | None, Query(description="From when; 30 days before `until`.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Until when; now.")] = None,
    by: Annotated[Part | None, Query(description="Break spending down by this.")] = None,
) -> dict[str, Any]:
    """Tell what spending is measured by, each figure with numerator, denominator, formula and source."""
    name = asks.tenant(tenant)
    registry = asks.office.tenants()[name].registry
    now_ns = asks.office.now_ns()
    until_ns = now_ns if until is None else int(until.timestamp()) * 1_000_000_000
    since_ns = until_ns - _PERIOD_NS if since is None else int(since.timestamp()) * 1_000_000_000
    if not 0 <= since_ns < until_ns < 2**62:
        raise CallError("`since` has to be before `until`, and both after 1970", field="since", status=422)
    with asks.office.store() as store:
        found = key_figures(store.query, registry, since_ns, until_ns, now_ns, by)
    return figures_record(found, iso)
