"""Versions of the configuration as one reader sees them, what differs between two, and going back to one.

Rule: going back takes the way of `aegis rollback`, in the reader's name: who may, and where two people are needed, is
      asked in the transaction.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.application.versions import KEY_ID_CHARACTERS, verify
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError, VersionForged
from aegis_gateway.domain.people import may
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.watch import Side
from aegis_gateway.entrypoints.cli.configuration import Plan, put_in_force
from aegis_gateway.entrypoints.cli.session import Session
from aegis_gateway.entrypoints.cli.versions import rollback_plan
from aegis_gateway.entrypoints.people.policies.comparison import Comparison, compared
from aegis_gateway.entrypoints.people.policies.versions import AppliedVersions
from aegis_gateway.entrypoints.people.reader import Reader

LISTED_MAX = 25
CALLS_COUNTED_MAX = 50_000
"""So many of a tenant's last calls are counted by version."""
_INSTANT_MAX_NS = 2**63 - 1


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One version: what stands of it now (`state`), how it came to be (`how`), what is wrong with it, and how the calls
    fared that it decided. `until_ns` is when the next one was applied.
    """

    version: ConfigVersion
    state: str
    how: str
    wrong: str
    side: Side | None = None
    until_ns: int | None = None

    @property
    def key(self) -> str:
        """By which key it was signed, as people compare it."""
        return self.version.signed_by[:KEY_ID_CHARACTERS]


class VersionsDesk:
    """The versions, on a store, for one reader."""

    def __init__(self, store: Store, settings: Settings, versions: AppliedVersions, reader: Reader) -> None:
        """Look up nothing yet."""
        self._reports = Reports(store.query)
        self._store = store
        self._versions = versions
        self._reader = reader
        self.session = Session(settings, store, reader.caller)

    def may_read(self, tenant: str) -> bool:
        """Whether the reader may see a tenant."""
        return may(self._reader.person, "read", tenant)

    def listed(self, tenant: str, until: int) -> list[Listed]:
        """Versions from one on back, the newest first, with one more than is shown where there are more."""
        found = self._reports.versions(until=until, limit=LISTED_MAX + 2)
        after = self._reports.version(found[0].version + 1) if found else None
        sides = self._sides(tenant, found[: LISTED_MAX + 1], after)
        listed = []
        for place, version in enumerate(found[: LISTED_MAX + 1]):
            before = found[place + 1] if place + 1 < len(found) else None
            listed.append(
                Listed(
                    version=version,
                    state=self._state(version),
                    how=_how(version, before),
                    wrong=self._wrong(version, before),
                    side=sides.get(version.version),
                    until_ns=after.applied_ns if after is not None else None,
                )
            )
            after = version
        return listed

    def one(self, tenant: str, number: int) -> Listed | None:
        """One version; None where there is none of that number."""
        return next(
            (each for each in self.listed(tenant, number)[:1] if each.version.version == number), None
        )

    def compared(self, version: ConfigVersion, against: int) -> Comparison:
        """What a version has that another has not.

        Raises:
            ConfigurationError: there is no such other, or the files of one can't be understood any more.
            VersionForged: one is not as it was signed.
        """
        old = self.loaded(against) if against else None
        return compared(
            old[1] if old is not None else None,
            self._checked(version),
            old[0].files if old is not None else {},
            version.files,
            self.may_read,
        )

    def proposals(self) -> list[Proposal]:
        """What waits for a second person, of tenants that the reader may see."""
        found = self._reports.proposals(LISTED_MAX, only_waiting=True)
        return [each for each in found if any(map(self.may_read, each.tenants))]

    @property
    def current(self) -> int:
        """The number of the version that decides, or is tried; 0 where there is none."""
        newest = self.session.state.canary or self.session.state.config
        return newest.version if newest is not None else 0

    @property
    def in_force(self) -> int:
        """The number of the version that decides for all but a canary's agents; 0 where there is none."""
        config = self.session.state.config
        return config.version if config is not None else 0

    def may_roll_back(self) -> bool:
        """Whether the reader may go back to a version somewhere, as it looks."""
        return any(may(self._reader.person, "roll_back", tenant) for tenant in self.session.state.tenants)

    def plan(self, version: ConfigVersion) -> Plan:
        """What going back to a version would change in what is in force now.

        Raises:
            VersionForged: it is not as it was signed.
            ConfigurationError: its files can't be in force any more.
        """
        return rollback_plan(self.session, version)

    def seen(self, plan: Plan) -> list[str]:
        """What of a plan the reader may see, thing by thing."""
        return [
            f"{each.tenant or 'all tenants'}: {each}"
            for each in plan.changes
            if each.tenant is None or self.may_read(each.tenant)
        ]

    def roll_back(self, version: ConfigVersion, based_on: int, note: str) -> ConfigVersion | Proposal:
        """Go back to a version, or propose it; `based_on` is the version that the reader was shown to decide.

        Raises:
            ConfigurationError: another one does by now, or the version can't be in force any more.
            VersionForged: it is not as it was signed.
            NotPermitted: the reader may not.
        """
        if based_on != self.current:
            raise ConfigurationError(
                "another version was put in force meanwhile; look at what would change now"
            )
        plan = self.plan(version)
        canary = self.session.state.canary
        if not plan.is_new and canary is None:
            raise ConfigurationError(f"version {version.version} is in force, or the same as it")
        ends = canary.version if canary is not None else None
        return put_in_force(self.session, plan, note, version.version, ends=ends)

    def loaded(self, number: int) -> tuple[ConfigVersion, Configuration]:
        """A version and what its files mean, verified.

        Raises:
            ConfigurationError: there is none of that number, or its files can't be understood any more.
            VersionForged: it is not as it was signed.
        """
        version = self._reports.version(number)
        if version is None:
            raise ConfigurationError(f"there is no version {number} to compare with")
        return version, self._checked(version)

    def _checked(self, version: ConfigVersion) -> Configuration:
        verify(version, self.session.signatures)
        return self._versions.configuration(version)

    def _sides(
        self, tenant: str, versions: list[ConfigVersion], after: ConfigVersion | None
    ) -> dict[int, Side]:
        if not versions or not self.may_read(tenant):
            return {}
        until_ns = _INSTANT_MAX_NS if after is None else after.applied_ns
        return self._reports.sides(tenant, versions[-1].applied_ns, until_ns, CALLS_COUNTED_MAX)

    def _state(self, version: ConfigVersion) -> str:
        state = self.session.state
        if state.config is not None and version.version == state.config.version:
            return "in force"
        return "canary" if state.canary is not None and version.version == state.canary.version else ""

    def _wrong(self, version: ConfigVersion, before: ConfigVersion | None) -> str:
        try:
            verify(version, self.session.signatures)
        except VersionForged as fault:
            return f"{fault}"
        if version.version == 1:
            return "" if not version.previous else "it follows a version that is not there"
        if before is None or before.version != version.version - 1:
            return f"version {version.version - 1}, which was applied before it, is not there"
        if version.previous != before.bundle_digest:
            return "it follows another version than the one that is stored before it"
        return ""


def _how(version: ConfigVersion, before: ConfigVersion | None) -> str:
    """How a version came to be, where that isn't by a directory that was applied."""
    canary = version.canary
    if canary is not None:
        whom = ", ".join(canary.agents) if canary.agents else f"{canary.share / 100:g} % of agents"
        return f"canary for {whom}, beside version {canary.beside}"
    if version.back_to is not None:
        return f"back to version {version.back_to}"
    if before is not None and before.canary is not None:
        is_same = before.files == version.files
        return f"canary {before.version} {'promoted' if is_same else 'ended'}"
    return ""
