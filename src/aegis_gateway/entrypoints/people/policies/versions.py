"""Configurations that were applied, verified before anything of them is shown as one.

Rule: a version is shown for what it is only where it is, to the byte, what was signed; it is verified each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.versions import is_intact
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.entrypoints.people.policies.sources import RuleSource, rule_sources

LOOKED_BACK = 100
_LOADED_MAX = 8
_READ_MAX = 256

K = TypeVar("K")
T = TypeVar("T")


class _Kept(Generic[K, T]):
    """What was made, by what it was made of; the oldest goes. For any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[K, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], T]) -> T:
        with self._lock:
            found = self._made.get(key)
        if found is None:
            found = make()
            with self._lock:
                self._made[key] = found
                while len(self._made) > self._most:
                    self._made.popitem(last=False)
        return found


class AppliedVersions:
    """Versions of one installation; what they were loaded to is kept for the next who asks. For any thread."""

    def __init__(self, settings: Settings) -> None:
        """Load nothing yet."""
        self._settings = settings
        self._loaded: _Kept[str, Configuration] = _Kept(_LOADED_MAX)
        self._sources: _Kept[tuple[str, str], dict[str, RuleSource]] = _Kept(_READ_MAX)

    def is_intact(self, version: ConfigVersion) -> bool:
        """Whether it is what was signed, by a key that is trusted here."""
        return is_intact(version, bootstrap.signatures(self._settings))

    def configuration(self, version: ConfigVersion) -> Configuration:
        """What its files mean.

        Raises:
            ConfigurationError: they can't be understood any more.
        """
        return self._loaded.get(version.digest, lambda: bootstrap.configuration(version.files))

    def sources(self, version: ConfigVersion, tenant: str) -> dict[str, RuleSource]:
        """The rules of a tenant in it, as they were written."""
        return self._sources.get((version.digest, tenant), lambda: rule_sources(version.files, tenant))

    def lasting(self, reports: Reports, until: int, most: int = LOOKED_BACK) -> Iterator[ConfigVersion]:
        """Intact versions for everybody, from one back to the first, so many at most; canaries are left out."""
        signatures = bootstrap.signatures(self._settings)
        for each in reports.versions(until=until, limit=most):
            if each.canary is None and is_intact(each, signatures):
                yield each
