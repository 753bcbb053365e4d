"""Saving the addresses of pages under a name, opening them to others, and forgetting them.

Rule 1: a view is its person's: nobody else renames, changes or deletes it.
Rule 2: it is shared with a tenant in which its person has a role, and names no other one.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.people import Person, may
from aegis_gateway.domain.saved_view import (
    ADDRESS_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    VIEWS_MAX,
    SavedView,
    names_of,
    view_address,
    view_name,
)


class SavedViews:
    """The use cases, for one person."""

    def __init__(self, store: RegistryStore, person: Person, tenants: Collection[str]) -> None:
        """`tenants` are all that there are."""
        self._store = store
        self._person = person
        self._tenants = tenants

    def save(self, name: str, address: str, shared_with: str, new_id: str) -> SavedView:
        """Keep an address under a name; under one that the person has already, it takes the place of what was there.

        Raises:
            ConfigurationError: it is no name or no address, or the person has too many.
            NotPermitted: it can't be shared with that tenant.
        """
        kept_name, kept_address = _name(name), view_address(address)
        if kept_address is None:
            raise ConfigurationError(
                f"a view is the address of a page here, of up to {ADDRESS_CHARACTERS_MAX:,} characters"
            )
        self._check_sharing(kept_address, shared_with)
        with self._store.change([]) as change:
            own = change.saved_views(self._person.id)
            same = next((each for each in own if each.name == kept_name), None)
            if same is None and len(own) >= VIEWS_MAX:
                raise ConfigurationError(
                    f"you have {VIEWS_MAX} saved views already; delete one before you save another"
                )
            view = SavedView(
                id=new_id if same is None else same.id,
                person=self._person.id,
                name=kept_name,
                address=kept_address,
                shared_with=shared_with,
                saved_ns=change.now_ns,
            )
            change.save_view(view)
        return view

    def rename(self, view: str, name: str) -> SavedView:
        """Give one of the person's another name.

        Raises:
            ConfigurationError: it is no name, or another view has it.
            NotPermitted: the person has no such view.
        """
        kept_name = _name(name)
        with self._store.change([]) as change:
            own = change.saved_views(self._person.id)
            found = _own(own, view)
            if any(each.name == kept_name and each.id != view for each in own):
                raise ConfigurationError(f"you have a view named `{kept_name}` already")
            renamed = msgspec.structs.replace(found, name=kept_name)
            change.save_view(renamed)
        return renamed

    def share(self, view: str, shared_with: str) -> SavedView:
        """Open one of the person's to all who may see a tenant, or to nobody else.

        Raises:
            NotPermitted: the person has no such view, or can't share it with that tenant.
        """
        with self._store.change([]) as change:
            found = _own(change.saved_views(self._person.id), view)
            self._check_sharing(found.address, shared_with)
            shared = msgspec.structs.replace(found, shared_with=shared_with)
            change.save_view(shared)
        return shared

    def delete(self, view: str) -> None:
        """Forget one of the person's.

        Raises:
            NotPermitted: the person has no such view.
        """
        with self._store.change([]) as change:
            _own(change.saved_views(self._person.id), view)
            change.delete_view(view)

    def _check_sharing(self, address: str, shared_with: str) -> None:
        if not shared_with:
            return
        if shared_with not in self._tenants or not may(self._person, "read", shared_with):
            raise NotPermitted(f"you have no role in a tenant `{shared_with}`")
        others = names_of(address) & (set(self._tenants) - {shared_with})
        if others:
            raise NotPermitted(
                f"this is a view of `{min(others)}`, which can't be shared with those of `{shared_with}`"
            )


def _own(views: list[SavedView], view: str) -> SavedView:
    found = next((each for each in views if each.id == view), None)
    if found is None:
        raise NotPermitted("you have no such saved view; it may have been deleted")
    return found


def _name(text: str) -> str:
    name = view_name(text)
    if name is None:
        raise ConfigurationError(f"a view's name has 1 to {NAME_CHARACTERS_MAX} characters")
    return name
