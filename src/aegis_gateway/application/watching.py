"""Taking a version back by itself when its calls are refused, or fail, more than they should.

Rule 1: what is gone back to was in force just before, or is beside the canary, and is as it was signed.
Rule 2: a version that goes back to another is never taken back by itself, so nothing flaps.
Rule 3: whichever ledger process sees it first does it, under the lock; the others find that it is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from aegis_gateway.application.configured_limits import note_limits
from aegis_gateway.application.operators import Act, Operator
from aegis_gateway.application.ports import RegistryStore, Signatures
from aegis_gateway.application.version_in_force import Registries
from aegis_gateway.application.versions import signed, verify
from aegis_gateway.domain.budget_family import Reconfigured, reconfigured
from aegis_gateway.domain.config_version import ConfigVersion, Watch
from aegis_gateway.domain.errors import ConfigurationError, VersionForged
from aegis_gateway.domain.watch import Jump, Side, jump

ACTOR = "aegis"
"""Who it is in the record that goes back by itself."""

_log = logging.getLogger("aegis.watch")


class Figures(Protocol):
    """What is known of versions and of how calls fared under them. May block."""

    def newest_version(self) -> int:
        """The newest version's number; 0 where there is none."""

    def versions(self, until: int, limit: int) -> list[ConfigVersion]:
        """The versions up to one, the newest first."""

    def sides(self, tenant: str, since_ns: int, until_ns: int, limit: int) -> dict[int, Side]:
        """How the last calls decided in a stretch of time fared, by version."""


CALLS_LOOKED_AT_MAX = 20_000
"""How many of a tenant's last calls a look takes in: enough to tell, and read in milliseconds."""


class Watching:
    """Looks after the newest version, for as long as it is to be watched."""

    def __init__(
        self,
        store: RegistryStore,
        figures: Figures,
        signatures: Callable[[], Signatures],
        registries: Registries,
    ) -> None:
        """Watch one store's versions. `signatures` and `registries` are asked only when it comes to it."""
        self._store = store
        self._figures = figures
        self._signatures = signatures
        self._registries = registries
        self._newest: ConfigVersion | None = None
        self._other: ConfigVersion | None = None
        self._given_up = 0

    def look(self, now_ns: int) -> ConfigVersion | None:
        """Look once; the version that was gone back to, if it came to that.

        Raises:
            LedgerUnavailable: the store cannot be read or written.
        """
        self._take_note()
        newest, other = self._newest, self._other
        if newest is None or other is None or newest.watch is None or newest.version == self._given_up:
            return None
        watch = newest.watch
        if newest.canary is None and now_ns - newest.applied_ns > watch.within_ns:
            return None
        for tenant, tried, beside in self._sides(newest, other, watch, now_ns):
            found = jump(watch, tried, beside)
            if found is not None:
                return self._go_back(newest, other, found, tenant, tried, beside)
        return None

    def _take_note(self) -> None:
        """Read the newest version and the one before it, if they are others than the last time."""
        number = self._figures.newest_version()
        if self._newest is not None and self._newest.version == number:
            return
        versions = self._figures.versions(number, 1)
        self._newest, self._other = versions[0] if versions else None, None
        newest = self._newest
        if newest is None or newest.watch is None or newest.back_to is not None:
            return
        before = newest.canary.beside if newest.canary is not None else number - 1
        while before > 0 and self._other is None:
            found = self._figures.versions(before, 1)
            if not found:
                return
            # What was a canary was never in force for all.
            self._other = found[0] if found[0].canary is None else None
            before = found[0].version - 1

    def _sides(
        self, newest: ConfigVersion, other: ConfigVersion, watch: Watch, now_ns: int
    ) -> list[tuple[str | None, Side, Side]]:
        """How calls fared under the newest version and the other: in each tenant, and in all together."""
        since_ns = max(newest.applied_ns, now_ns - watch.within_ns)
        found: list[tuple[str | None, Side, Side]] = []
        for tenant in sorted(self._store.epochs()):
            now = self._figures.sides(tenant, since_ns, now_ns, CALLS_LOOKED_AT_MAX)
            if newest.canary is None:
                begin_ns = newest.applied_ns - watch.within_ns
                then = self._figures.sides(tenant, begin_ns, newest.applied_ns, CALLS_LOOKED_AT_MAX)
            else:
                then = now
            found.append((tenant, now.get(newest.version, Side()), then.get(other.version, Side())))
        tried, beside = Side(), Side()
        for _, one, another in found:
            tried, beside = tried + one, beside + another
        return [*found, (None, tried, beside)]

    def _go_back(
        self,
        newest: ConfigVersion,
        other: ConfigVersion,
        found: Jump,
        tenant: str | None,
        tried: Side,
        beside: Side,
    ) -> ConfigVersion | None:
        try:
            signatures = self._signatures()
            verify(newest, signatures)
            verify(other, signatures)
            limits = self._limits(newest, other)
            affected = sorted(self._store.epochs())
            with self._store.change(affected) as change:
                latest = change.latest_config()
                if latest is None or latest.version != newest.version:
                    return None
                back = signed(
                    ConfigVersion(
                        version=latest.version + 1,
                        files=other.files,
                        applied_by=ACTOR,
                        applied_ns=change.now_ns,
                        note=f"by itself: {found}" + (f" in {tenant}" if tenant is not None else ""),
                        previous=latest.bundle_digest,
                        back_to=other.version,
                        watch=other.watch,
                    ),
                    signatures,
                )
                change.save_config(back)
                act = Act(permission="roll_back", change=change, operator=Operator(name=ACTOR, behind=()))
                known = {tenant: each for tenant, each in limits.items() if tenant in change.heads}
                note_limits(act, known, back.version, by=ACTOR, reason=back.note)
                act.record(
                    affected,
                    "configuration",
                    {
                        "config_version": back.version,
                        "files_sha256": back.digest,
                        "bundle_sha256": back.bundle_digest,
                        "note": back.note,
                        "back_to": other.version,
                        **({"ends_canary": newest.version} if newest.canary is not None else {}),
                        "figures": {
                            "of": found.of,
                            "tenant": tenant,
                            "tried": _figures(newest, tried),
                            "beside" if newest.canary is not None else "before": _figures(other, beside),
                        },
                    },
                )
        except (VersionForged, ConfigurationError) as fault:
            # It won't get better. What was not durable, by contrast, is tried again at the next look.
            _log.error(
                "configuration %d should be taken back (%s), and cannot: %s", newest.version, found, fault
            )
            self._given_up = newest.version
            return None
        _log.warning("configuration %d was taken back: %s", newest.version, found)
        return back

    def _limits(self, newest: ConfigVersion, other: ConfigVersion) -> dict[str, Reconfigured]:
        """The limits that are other ones once it is gone back; a canary's were never in force for all."""
        if newest.canary is not None:
            return {}
        before, after = self._registries(newest), self._registries(other)
        return {
            tenant: reconfigured(registry.budgets, after[tenant].budgets)
            for tenant, registry in before.items()
            if tenant in after
        }


def _figures(version: ConfigVersion, side: Side) -> dict[str, object]:
    figures = {name: value for name, value in msgspec.structs.asdict(side).items() if name != "cost_nano_usd"}
    return {"config_version": version.version, **figures, "cost_nano_usd": str(side.cost_nano_usd)}
