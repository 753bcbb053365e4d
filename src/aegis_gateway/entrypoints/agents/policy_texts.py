"""Policies in words and in Cedar, as they are in force, for those who are told that one refused them.

Rule: a policy that holds for all tenants may name any of them; its text is shown to who may see them all.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.application.versions import verify
from aegis_gateway.bootstrap import PolicyOrigin
from aegis_gateway.configuration.load import MAIN_FILE
from aegis_gateway.configuration.settings import Settings


def is_shared(file: str, tenant: str) -> bool:
    """Whether what stands in a file of a configuration holds for all tenants, not for one alone."""
    return file != MAIN_FILE and not file.startswith(f"policies/{tenant}/")


class PolicyText(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that refused something: its words, where it is written, and its text where that may be shown."""

    id: str
    message: str
    place: str
    cedar: str
    is_rule: bool


class PolicyTexts:
    """Those of the version in force; read once for each version. May be asked by several threads at once."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._reading = threading.Lock()
        self._version = 0
        self._found: dict[str, Mapping[str, PolicyOrigin]] = {}

    def of(self, store: Store, tenant: str, version: int, *, sees_shared: bool) -> dict[str, PolicyText]:
        """A tenant's policies by id, as of a version.

        Raises:
            VersionForged: it is not as it was signed.
        """
        return {
            name: PolicyText(
                id=name,
                message=each.message,
                place=f"{each.file}:{each.line}",
                cedar=each.cedar.strip() if sees_shared or not is_shared(each.file, tenant) else "",
                is_rule=each.is_rule,
            )
            for name, each in self._read(store, tenant, version).items()
        }

    def _read(self, store: Store, tenant: str, version: int) -> Mapping[str, PolicyOrigin]:
        with self._reading:
            if version != self._version:
                self._version, self._found = version, {}
            if tenant not in self._found:
                found = Reports(store.query).version(version)
                if found is None:
                    return {}
                verify(found, bootstrap.signatures(self._settings))
                loaded = bootstrap.configuration(found.files)
                origins = bootstrap.policy_origins(loaded, tenant) if tenant in loaded.registries else []
                self._found[tenant] = {each.id: each for each in origins}
            return self._found[tenant]
