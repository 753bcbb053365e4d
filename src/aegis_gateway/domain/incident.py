"""Incidents: what somebody has to look at, until it is closed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from aegis_gateway.domain.people import person_of

IncidentKind = Literal["threshold_passed", "budget_exhausted"]
Severity = Literal["low", "medium", "high"]


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One of a tenant's, named by the place of its entry in the record.

    `subject` is what it is about, as `budget:ID@80`; `facts` are ready to be written as JSON, amounts as texts.
    """

    tenant: str
    id: str
    kind: IncidentKind
    subject: str
    severity: Severity
    opened_ns: int
    facts: dict[str, object] = {}
    closed_ns: int | None = None

    def is_owned_by(self, person: str, people: Collection[str]) -> bool:
        """Whether somebody, of those who are registered, owns what it is about."""
        return person_of(str(self.facts.get("owner", "")), people) == person
