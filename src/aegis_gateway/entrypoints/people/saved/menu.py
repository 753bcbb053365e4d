"""The menu of saved views: a person's own, those that others share with them, and where they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from aegis_gateway.adapters.saved_view_rows import SavedViewReports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.people import Person
from aegis_gateway.domain.saved_view import NAME_CHARACTERS_MAX, SavedView, names_of, view_address
from aegis_gateway.entrypoints.people.navigation import Page, page_of


class ViewsMenu(msgspec.Struct, frozen=True, kw_only=True):
    """What the menu shows. `here` is the address of this page, None where it is none to save; `tenant` is the one that
    it could be shared with.
    """

    own: tuple[SavedView, ...]
    shared: tuple[SavedView, ...]
    here: str | None
    title: str
    tenant: str
    name_max: int = NAME_CHARACTERS_MAX


def views_menu(
    store: Store, person: Person, readable: Sequence[str], path: str, query: Mapping[str, str]
) -> ViewsMenu:
    """The menu on the page of an address, for somebody who may see some tenants."""
    reports = SavedViewReports(store.rows)
    own, shared = reports.of_person(person.id), reports.shared(person.id, readable)
    page = page_to_save(path)
    here = None if page is None else view_address(f"{path}?{urlencode(query)}" if query else path)
    named = names_of(here or "/") & set(readable)
    return ViewsMenu(
        own=tuple(own),
        shared=tuple(shared),
        here=here,
        title="" if page is None else page.name,
        tenant=min(named) if named else next(iter(readable), ""),
    )


def page_to_save(path: str) -> Page | None:
    """The page that a path is of, if its address says what is looked at; not a file, and not one about oneself."""
    if path.endswith((".csv", ".xlsx")):
        return None
    page = page_of(path)
    return page if page is not None and page.has_views else None
