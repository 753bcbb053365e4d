"""One call in full, for programs in the name of a person who may read it: what `aegis call --json` prints."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.ledger import State
from aegis_gateway.entrypoints.call_account import read_account, trace_link
from aegis_gateway.entrypoints.cli.calls import call_record
from aegis_gateway.entrypoints.people.api.operations import PROBLEMS, Asks, Tenant


class CallFull(BaseModel):
    """A call, with its entries in the record; whatever else is known of it stands beside these."""

    model_config = ConfigDict(extra="allow")

    tenant: str
    call: str
    agent: str
    tool: str
    model: str | None
    effect: Annotated[str, Field(description="How it was decided: `allow`, `deny`, `throttle`…")]
    state: Annotated[State, Field(description="What became of it.")]
    reason: str
    run: str | None
    expected_nano_usd: int | None
    maximum_nano_usd: Annotated[
        int | None, Field(description="The most it could cost; null where nobody knows.")
    ]
    cost_nano_usd: Annotated[int | None, Field(description="What it cost; null until that is known.")]
    trace_id: Annotated[str | None, Field(description="Its trace, in hexadecimal.")] = None
    span_id: Annotated[
        str | None, Field(description="Its span there; its caller's where the gateway makes none.")
    ] = None
    trace_url: Annotated[str | None, Field(description="Where that is shown (`AEGIS_TRACE_URL`).")] = None
    entries: Annotated[list[dict[str, Any]], Field(description="What the record says of it, in order.")]
    attempts: Annotated[
        list[str], Field(description="The attempts of its client at the same request, itself among them.")
    ]


_ID = "The call's id, as `Aegis-Decision-Id` says it."

router = APIRouter(prefix="/api/v1", responses=PROBLEMS)


@router.get("/calls/{call}", tags=["Calls"], response_model=CallFull, summary="Show one call")
def show_call(
    asks: Asks,
    call: Annotated[str, Path(description=_ID, max_length=128, pattern="^[A-Za-z0-9_]+$")],
    tenant: Tenant = None,
) -> dict[str, Any]:
    """Show one call with all that the record says of it."""
    name = asks.tenant(tenant)
    with asks.office.store() as store:
        account = read_account(Reports(store.query), name, call)
    if account is None:
        raise CallError(f"there is no call `{call[:64]}` in `{name}`", field="call", status=404)
    return {
        "tenant": name,
        **call_record(account.call),
        "trace_url": trace_link(account.call, asks.office.trace_url),
        "entries": [record for _, record in account.entries],
        "attempts": [each.call for each in account.attempts],
    }
