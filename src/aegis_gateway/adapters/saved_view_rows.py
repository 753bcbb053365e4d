"""Saved views as rows: SQL that both stores understand as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from aegis_gateway.adapters.people_rows import person_row
from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.people import may
from aegis_gateway.domain.saved_view import SavedView

SHARED_LISTED_MAX = 100
"""So many of others are listed for each tenant."""

_FIELDS = ("view", "person", "name", "address", "shared_with", "saved_ns")
_COLUMNS = ", ".join(f"saved_view.{field}" for field in _FIELDS)
_PERSON = "person.person, person.name, person.grants, person.added_ns, person.suspended_ns"

_HOLD = "select person from person where person = ?"
_OF_PERSON = f"select {_COLUMNS} from saved_view where person = ? order by name"  # noqa: S608 - names of columns
_SHARED = (
    f"select {_COLUMNS}, {_PERSON} from saved_view join person on person.person = saved_view.person"  # noqa: S608 - names of columns
    " where saved_view.shared_with = ? and saved_view.person <> ? order by saved_view.name limit ?"
)
_WRITE = (
    f"insert into saved_view ({', '.join(_FIELDS)}) values (?, ?, ?, ?, ?, ?)"  # noqa: S608 - names of columns
    " on conflict (view) do update set name = excluded.name, address = excluded.address,"
    " shared_with = excluded.shared_with, saved_ns = excluded.saved_ns"
)


class SavedViewReports:
    """What is read of them from outside a transaction."""

    def __init__(self, rows: Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]]) -> None:
        """`rows` is a store's way to read rows."""
        self._rows = rows

    def of_person(self, person: str) -> list[SavedView]:
        """A person's own, by name."""
        return [_view(row) for row in self._rows(_OF_PERSON, (person,))]

    def shared(self, person: str, tenants: Collection[str]) -> list[SavedView]:
        """Those that others share in some tenants, as long as these may see the tenant themselves."""
        found = []
        for tenant in tenants:
            for row in self._rows(_SHARED, (tenant, person, SHARED_LISTED_MAX)):
                if may(person_row(row[len(_FIELDS) :]), "read", tenant):
                    found.append(_view(row[: len(_FIELDS)]))
        return found


class SavedViewRows(Statements):
    """Saved views in a transaction."""

    def saved_views(self, person: str) -> list[SavedView]:
        """A person's, by name; nobody else changes them until the end."""
        list(self._rows(_HOLD + self._locked, (person,)))
        return [_view(row) for row in self._rows(_OF_PERSON, (person,))]

    def save_view(self, view: SavedView) -> None:
        """Write one, new or changed."""
        values = (view.id, view.person, view.name, view.address, view.shared_with, view.saved_ns)
        self._do(_WRITE, values)

    def delete_view(self, name: str) -> None:
        """Delete one."""
        self._do("delete from saved_view where view = ?", (name,))


def _view(row: tuple[Any, ...]) -> SavedView:
    view, person, name, address, shared_with, saved_ns = row
    return SavedView(
        id=view, person=person, name=name, address=address, shared_with=shared_with, saved_ns=saved_ns
    )
