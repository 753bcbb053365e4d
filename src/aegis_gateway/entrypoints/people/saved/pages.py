"""Saving a view, and renaming, sharing or deleting one: forms, each of which leads back to where one was."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from starlette.responses import Response

from aegis_gateway.application.saved_views import SavedViews
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.saved_view import names_of, view_address
from aegis_gateway.entrypoints.people.saved.menu import page_to_save
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence

_ID_BYTES = 10


def save_view(visit: Visit) -> Response:
    """Keep an address under a name, and stay there."""
    address, shared_with = visit.field("address"), visit.field("shared_with")
    kept = view_address(address)
    if kept is None or page_to_save(urlsplit(kept).path) is None:
        return _refused(visit, 400, "only the address of a page here can be saved")
    if shared_with and shared_with not in names_of(kept):
        # For everybody it is a view of this tenant, whichever is their first.
        kept += f"{'&' if '?' in kept else '?'}{urlencode({'tenant': shared_with})}"
    try:
        with visit.office.store() as store:
            new_id = f"view_{visit.office.random_bytes(_ID_BYTES).hex()}"
            views = SavedViews(store, visit.person, visit.office.tenants())
            saved = views.save(visit.field("name"), kept, shared_with, new_id)
    except (ConfigurationError, NotPermitted) as fault:
        return _refused(visit, 403 if isinstance(fault, NotPermitted) else 400, f"{fault}")
    return redirect(saved.address)


def change_view(visit: Visit) -> Response:
    """Rename one, share it or not, or delete it."""
    view = visit.at["view"]
    try:
        with visit.office.store() as store:
            views = SavedViews(store, visit.person, visit.office.tenants())
            match visit.field("act"):
                case "rename":
                    views.rename(view, visit.field("name"))
                case "share":
                    views.share(view, visit.field("shared_with"))
                case "delete":
                    views.delete(view)
                case _:
                    return _refused(visit, 400, "say whether to rename, to share or to delete it")
    except (ConfigurationError, NotPermitted) as fault:
        return _refused(visit, 403 if isinstance(fault, NotPermitted) else 400, f"{fault}")
    return redirect("/settings#views")


def _refused(visit: Visit, status: int, words: str) -> Response:
    return visit.failure(
        status, "The view was not saved" if not visit.at else "Nothing was changed", sentence(words)
    )
