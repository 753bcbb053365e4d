"""Rules in shadow as one reader sees them, what enforcing one would change, and how that is done in their name.

Rule: a reader sees the rules of tenants that they may read, and no trace of others.
"""

from __future__ import annotations

from aegis_gateway.adapters.shadow_figures import shadow_figures
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.people import may
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.shadow_digest import ShadowFigures
from aegis_gateway.domain.window import Window
from aegis_gateway.entrypoints.cli.session import Session
from aegis_gateway.entrypoints.enforcing import Enforcement, enforce, enforcement_of
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.reader import Reader

LOOKED_BACK_DAYS = 7
_DAY_NS = 86_400 * 1_000_000_000


class ShadowDesk:
    """The rules in shadow that one reader may see, on a store."""

    def __init__(self, office: Office, settings: Settings, store: Store, reader: Reader) -> None:
        """Look up nothing yet."""
        self._office = office
        self._store = store
        self._reader = reader
        self._session = Session(settings, store, reader.caller)
        self.readable = office.readable(reader.person)

    def figures(self, tenant: str) -> ShadowFigures:
        """What a tenant's rules in shadow would have done in the last days."""
        view, now_ns = self._office.tenants()[tenant], self._store.clock_ns()
        window = Window(label="", starts_ns=now_ns - LOOKED_BACK_DAYS * _DAY_NS, ends_ns=now_ns + 1)
        rules = view.policies.rules
        policies = [policy for _, policy in sorted(rules.items())]
        return shadow_figures(self._store, view.registry, policies, window)

    def may_apply(self, tenant: str) -> bool:
        """Whether the reader may put a configuration in force there, or propose it, as it looks."""
        return may(self._reader.person, "apply", tenant)

    def enforcement(self, tenant: str, rule: str) -> Enforcement:
        """What enforcing a rule would change.

        Raises:
            ConfigurationError: it can't be done from here, or not as things are; the message says what to do.
            NotPermitted: what is in force can't be told to be as it was signed.
        """
        return enforcement_of(self._session, tenant, rule)

    def enforce(self, asked: Enforcement, based_on: int) -> ConfigVersion | Proposal:
        """Enforce a rule, or propose it; `based_on` is the version that the reader was shown.

        Raises:
            ConfigurationError: another version is in force by now, its tests fail, or it is too early.
            NotPermitted: the reader may not.
        """
        if asked.based_on != based_on:
            raise ConfigurationError(
                "another version was put in force meanwhile; look at what would change now"
            )
        return enforce(self._session, asked, f"enforce {asked.rule}, on the page of rules in shadow")
