"""The registries in force, for what serves no calls: read when they are asked for, and again when they changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from aegis_gateway import bootstrap
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.registry import Registry


class RegistriesInForce:
    """All tenants' registries. May be asked by several threads at once."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._reading = threading.Lock()
        self._loader: bootstrap.DirectoryLoader | None = None
        self._epochs: dict[str, int] | None = None
        self._registries: dict[str, Registry] = {}

    def __call__(self) -> Mapping[str, Registry]:
        """By tenant, as they are in force now.

        Raises:
            AegisError: they can't be read, or what is in force is forged.
        """
        with self._reading:
            if self._loader is None:
                self._loader = bootstrap.DirectoryLoader(self._settings)
            epochs = self._loader.epochs()
            if epochs != self._epochs:
                copy = self._loader()
                self._registries = {tenant: view.registry for tenant, view in copy.tenants.items()}
                self._epochs = epochs
            return self._registries
