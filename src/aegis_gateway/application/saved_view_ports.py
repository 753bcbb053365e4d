"""What saving views needs of a transaction."""

from __future__ import annotations

from typing import Protocol

from aegis_gateway.domain.saved_view import SavedView


class SavedViewChange(Protocol):
    """People's saved views, in a transaction that need not hold any tenant."""

    def saved_views(self, person: str) -> list[SavedView]:
        """A person's, by name; nobody else changes them until the end."""

    def save_view(self, view: SavedView) -> None:
        """Write one, new or changed."""

    def delete_view(self, name: str) -> None:
        """Delete one."""
