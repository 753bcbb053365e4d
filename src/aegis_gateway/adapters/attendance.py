"""Who is there and who is away, as a store has it: reads only."""

from __future__ import annotations

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.deputies import Attendance, attendance_of

_SOMEBODY_AWAY = "select 1 from absence where from_ns <= ? and until_ns > ? limit 1"


def read_attendance(store: Store, now_ns: int) -> Attendance:
    """Everybody, and who is away at an instant."""
    people = {person.id: person for person in Reports(store.query).people()}
    return attendance_of(people, DeliveryReports(store.rows).absences(), now_ns)


def may_be_away(store: Store, now_ns: int) -> bool:
    """Whether an absence was recorded that holds at an instant, unless another one followed."""
    return bool(store.rows(_SOMEBODY_AWAY, (now_ns, now_ns)))
