"""The version in force as it is in a transaction, for those who change what it says meanwhile.

Rule: what decides is read, and verified, under the lock that it is changed under: it can't be another by the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aegis_gateway.application.amending import InForce
from aegis_gateway.application.ports import RegistryChange
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.registry import Registry


class Registries(Protocol):
    """Tenants as versions have them."""

    def __call__(self, version: ConfigVersion) -> Mapping[str, Registry]:
        """All tenants of a version, which is verified each time.

        Raises:
            VersionForged: it is not as it was signed.
        """


def in_force_now(change: RegistryChange, tenant: str, registries: Registries) -> InForce:
    """A tenant that is held, as the configuration in force has it.

    Raises:
        ConfigurationError: there is none, or the tenant is not in it any more.
        VersionForged: it, or the canary beside it, is not as it was signed.
    """
    config, canary = change.configs_in_force()
    if config is None:
        raise ConfigurationError("no configuration is in force yet; `aegis apply DIR` applies one")
    newest = config
    if canary is not None:
        registries(canary)
        newest = canary
    registry = registries(config).get(tenant)
    if registry is None:
        raise ConfigurationError(
            f"tenant `{tenant}` is not in the configuration any more; only its record is left"
        )
    return InForce(registry=registry, version=config.version, newest=newest.version)
