"""What is in force, for the steward: read once for all its jobs when the first one asks, and again when it changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.settings import Settings

if TYPE_CHECKING:
    from aegis_gateway.bootstrap import DirectoryLoader

_HAS_WORD = (
    "select 1 as found from config_version"
    " where (version = (select max(version) from config_version)"
    " or version = (select beside from config_version order by version desc limit 1))"
    " and bundle like ? limit 1"
)


def has_word(store: Store, word: str) -> bool:
    """Whether what is in force, or the canary beside it, can have what a word of the configuration means.

    A quick look, so that a job about what nobody has configured need not read and verify the whole.
    """
    return bool(store.query(_HAS_WORD, (f"%{word}%",)))


class InForce:
    """All tenants' views, as a gateway worker has them. May be asked by several threads at once."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._reading = threading.Lock()
        self._loader: DirectoryLoader | None = None
        self._epochs: dict[str, int] | None = None
        self._views: Mapping[str, TenantView] = {}

    def __call__(self) -> Mapping[str, TenantView]:
        """By tenant, as they are in force now.

        Raises:
            AegisError: they can't be read, or what is in force is forged.
        """
        with self._reading:
            if self._loader is None:
                # Here: it takes a second, and most of the time nobody has anything to do.
                from aegis_gateway.bootstrap import DirectoryLoader

                self._loader = DirectoryLoader(self._settings)
            epochs = self._loader.epochs()
            if epochs != self._epochs:
                self._views, self._epochs = self._loader().tenants, epochs
            return self._views
