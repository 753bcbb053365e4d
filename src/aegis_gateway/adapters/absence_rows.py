"""Absences as rows, which are never changed."""

from __future__ import annotations

from typing import Any

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.absence import Absence

ABSENCES = (
    "select person, from_ns, until_ns, deputy, recorded_ns, recorded_by from absence"
    " order by recorded_ns, number"
)
_INSERT = (
    "insert into absence (number, person, from_ns, until_ns, deputy, recorded_ns, recorded_by)"
    " select coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ? from absence"
)


def absence_row(row: tuple[Any, ...]) -> Absence:
    """An absence from the row of `ABSENCES`."""
    return Absence(**dict(zip(Absence.__struct_fields__, row, strict=True)))


class AbsenceRows(Statements):
    """Absences in a transaction; people are held (`hold_people`) while one is written."""

    def absences(self) -> list[Absence]:
        """All that were recorded, in the order in which that was done."""
        return [absence_row(row) for row in self._rows(ABSENCES, ())]

    def save_absence(self, absence: Absence) -> None:
        """Record one."""
        values = (absence.person, absence.from_ns, absence.until_ns, absence.deputy)
        self._do(_INSERT, (*values, absence.recorded_ns, absence.by))
