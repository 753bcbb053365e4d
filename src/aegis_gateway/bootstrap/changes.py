"""What is put in force, or taken back, by the word of people and by the watch on the newest version."""

from __future__ import annotations

from collections.abc import Mapping

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.rows import versions_in_force
from aegis_gateway.application.approvals import Outcomes
from aegis_gateway.application.ports import Store
from aegis_gateway.application.versions import verify
from aegis_gateway.application.watching import Watching
from aegis_gateway.bootstrap.configurations import registries
from aegis_gateway.bootstrap.installation import signatures
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.registry import Registry

_VERSIONS_KEPT = 4


def watching(settings: Settings, database: Store) -> Watching:
    """What takes a version back by itself, on the ledger process's own store."""
    return Watching(database, Reports(database.query), lambda: signatures(settings), registries)


class VerifiedRegistries:
    """Tenants as versions have them: each version is verified whenever it is asked for, and loaded once."""

    def __init__(self, settings: Settings) -> None:
        """Load nothing yet."""
        self._settings = settings
        self._loaded: dict[str, Mapping[str, Registry]] = {}

    def __call__(self, version: ConfigVersion) -> Mapping[str, Registry]:
        """All tenants of a version.

        Raises:
            VersionForged: it is not as it was signed.
        """
        verify(version, signatures(self._settings))
        found = self._loaded.get(version.bundle_digest)
        if found is None:
            found = registries(version)
            kept = list(self._loaded.items())[-_VERSIONS_KEPT + 1 :]
            self._loaded = {**dict(kept), version.bundle_digest: found}
        return found

    def prepare(self, database: Store) -> None:
        """Load what is in force, so that nobody waits for it under a lock.

        Raises:
            VersionForged: it is not as it was signed.
        """
        for version in versions_in_force(database.rows):
            self(version)


def approval_outcomes(registries: VerifiedRegistries) -> Outcomes:
    """What is done when a request for a person's word is decided that isn't about a call, by its kind."""
    from aegis_gateway.application.adapting import limit_given
    from aegis_gateway.application.asked_increases import AskedIncreases
    from aegis_gateway.application.words import word_given

    return {
        "measure": word_given,
        "increase": AskedIncreases(registries),
        "limit": limit_given(registries),
    }


def outcomes_of(registries: VerifiedRegistries, database: Store, tenant: str, approval: str) -> Outcomes:
    """The same for one who is about to answer a request, with what that needs at hand before anything is held.

    Raises:
        VersionForged: what is in force is needed, and is not as it was signed.
    """
    asked = ApprovalReports(database.rows).approval(tenant, approval)
    if asked is not None and asked.kind in ("increase", "limit"):
        registries.prepare(database)
    return approval_outcomes(registries)
