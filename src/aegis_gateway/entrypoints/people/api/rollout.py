"""How far the rollout is, for programs in the name of a person who may read it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from aegis_gateway.entrypoints.people.api.operations import PROBLEMS, Asks, Tenant
from aegis_gateway.entrypoints.people.words import iso
from aegis_gateway.entrypoints.rollout import Rollouts, rollout_record


class RolloutMeasure(BaseModel):
    """How far something is; money in nano-USD."""

    words: str
    unit: str
    numerator: int
    denominator: int
    percent: int


class RolloutNext(BaseModel):
    """What to do next: in words, what to write into the configuration before, if anything, and the command."""

    words: str
    write: str
    command: str


class RolloutStep(BaseModel):
    """One of the five steps."""

    id: str
    title: str
    when: str
    done: bool
    done_when: str
    measures: list[RolloutMeasure]
    missing: list[str]
    missing_count: int
    next: RolloutNext | None


class RolloutState(BaseModel):
    """How far a tenant is."""

    tenant: str
    at: str
    done: int
    of: int
    next_step: str | None
    next_review: str | None
    steps: list[RolloutStep]


def router(rollouts: Rollouts) -> APIRouter:
    """The operation; `rollouts` tells how far tenants are."""
    found = APIRouter(prefix="/api/v1", responses=PROBLEMS)

    @found.get("/rollout", tags=["Rollout"], response_model=RolloutState, summary="How far the rollout is")
    def show_rollout(asks: Asks, tenant: Tenant = None) -> dict[str, Any]:
        """Tell how far each of the five steps is, what is missing by name, and the next command of each."""
        name = asks.tenant(tenant)
        with asks.office.store() as store:
            return rollout_record(rollouts(store, asks.office.tenants()[name]), iso)

    return found
