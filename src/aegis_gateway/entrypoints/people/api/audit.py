"""The record, for programs in the name of a person who may read it: looked for, one entry, and verified."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, Field

from aegis_gateway import bootstrap
from aegis_gateway.adapters.record_reports import RecordReports
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.moment import ns_of
from aegis_gateway.domain.record_search import EntryFilter
from aegis_gateway.entrypoints.people.api.operations import PROBLEMS, Asks, Tenant
from aegis_gateway.entrypoints.people.audit.pages import VERIFIED_MAX
from aegis_gateway.entrypoints.record_words import KIND_WORDS
from aegis_gateway.entrypoints.verification import entry_record, verified, verified_record

_NUMBER_MAX = 2**62
_ID_MAX = 300


class Entry(BaseModel):
    """One entry; `sha256` is the digest of its exact bytes."""

    sequence: int
    at: str
    type: str
    call: str | None
    who: str | None
    words: str
    sha256: str
    entry: Annotated[dict[str, Any] | None, Field(description="Its content, as it was written.")]


class EntryList(BaseModel):
    """Entries, the newest first; `below` goes on behind them, and is null where there are no more."""

    tenant: str
    entries: list[Entry]
    below: int | None


class Verification(BaseModel):
    """What was checked of a stretch of the record, and what was found."""

    tenant: str
    first: int
    last: int
    entries: int
    calls: int
    settlements: int
    versions: int
    took_ms: int
    is_sound: bool
    checks: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    proves: str
    does_not_prove: str


def _text(description: str) -> Any:
    return Query(description=description, max_length=_ID_MAX)


def router(settings: Settings) -> APIRouter:
    """The operations, on an installation."""
    found = APIRouter(prefix="/api/v1/audit", responses=PROBLEMS, tags=["Record"])

    @found.get("", response_model=EntryList, summary="Search the record")
    def search_record(
        asks: Asks,
        tenant: Tenant = None,
        kind: Annotated[str | None, _text(f"One of {', '.join(KIND_WORDS)}.")] = None,
        who: Annotated[str | None, _text("Whose act: a person, an agent or a key.")] = None,
        agent: Annotated[str | None, _text("About this agent.")] = None,
        budget: Annotated[str | None, _text("About this budget.")] = None,
        call: Annotated[str | None, _text("About this call.")] = None,
        rule: Annotated[str | None, _text("Of this rule: a policy's id, `budget:ID`, `rate:ID`.")] = None,
        version: Annotated[int | None, Query(ge=1, le=2**31, description="Of this configuration.")] = None,
        key: Annotated[str | None, _text("About this key.")] = None,
        words: Annotated[str | None, _text("With this text, in capitals or not (A to Z).")] = None,
        since: Annotated[AwareDatetime | None, Query(description="From when.")] = None,
        until: Annotated[AwareDatetime | None, Query(description="Until when.")] = None,
        below: Annotated[int | None, Query(ge=1, le=_NUMBER_MAX, description="Below this number.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """Search a tenant's record, the newest entry first; all that is asked must hold."""
        name = asks.tenant(tenant)
        wanted = EntryFilter(
            kind=kind, who=who, agent=agent, budget=budget, call=call, rule=rule, version=version, key=key, words=words,
            since_ns=_instant(since, "since"), until_ns=_instant(until, "until"),
        )  # fmt: skip
        with asks.office.store() as store:
            listed = RecordReports(store.query).search(name, wanted, below or _NUMBER_MAX, limit)
        return {
            "tenant": name,
            "entries": [entry_record(each) for each in listed.entries],
            "below": None if listed.is_done else listed.looked_to,
        }

    @found.get("/verification", response_model=Verification, summary="Verify a stretch of the record")
    def verify_record(
        asks: Asks,
        tenant: Tenant = None,
        first: Annotated[
            int, Query(alias="from", ge=1, le=_NUMBER_MAX, description="From this number on.")
        ] = 1,
        last: Annotated[
            int | None, Query(alias="to", ge=1, le=_NUMBER_MAX, description="Up to this one, or the last.")
        ] = None,
    ) -> dict[str, Any]:
        """Check that a stretch, of 2,000 entries at most, is whole; that calls, charges, sums and versions agree."""
        name = asks.tenant(tenant)
        with asks.office.store() as store:
            until = min(first + VERIFIED_MAX - 1, last or _NUMBER_MAX)
            begun = time.monotonic_ns()
            told = verified(store, bootstrap.signatures(settings), name, first, until)
            return verified_record(told, (time.monotonic_ns() - begun) // 1_000_000)

    @found.get("/{sequence}", response_model=Entry, summary="Show one entry")
    def show_entry(
        asks: Asks, sequence: Annotated[int, Path(ge=1, le=_NUMBER_MAX)], tenant: Tenant = None
    ) -> dict[str, Any]:
        """Show one entry of a tenant's record."""
        name = asks.tenant(tenant)
        with asks.office.store() as store:
            kept = RecordReports(store.query).entry(name, sequence)
        if kept is None:
            raise CallError(f"there is no entry {sequence} in the record of `{name}`", status=404)
        return entry_record(kept)

    return found


def _instant(moment: AwareDatetime | None, field: str) -> int | None:
    if moment is None:
        return None
    found_ns = ns_of(moment)
    if found_ns is None:
        raise CallError("write a time between 1970 and 2262", field=field, status=422)
    return found_ns
