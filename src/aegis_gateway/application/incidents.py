"""Incidents: somebody has looked, and says that it is over.

Rule: an incident is closed once, by who may change limits, or whose budget it is; the record has who and why.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.application.operators import Caller, Operators
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX, RegistryRecording
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.incident import Incident

ENTRY = "incident"
"""The type of the entries about incidents; that one was opened stands in the entry that it is named by."""


class Incidents:
    """The use cases, in the name of one caller."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller) -> None:
        """`pepper` is the installation's secret that tokens are hashed under."""
        self._operators = Operators(store, pepper, caller)

    def close(self, tenant: str, name: str, reason: str) -> Incident:
        """Close an incident; one that is closed stays as it is.

        Raises:
            ConfigurationError: there is none of that name, or no reason.
            NotPermitted: who calls may not.
        """
        if not reason.strip():
            raise ConfigurationError(
                "say what came of it, so that whoever reads the record knows; give a reason"
            )
        with self._operators.act("budgets", [tenant]) as act:
            found = act.change.incident(tenant, name) if tenant in act.change.heads else None
            if found is None:
                raise ConfigurationError(
                    f"there is no incident `{name}`; `aegis incidents` lists those that are open"
                )
            person = act.operator.person
            if person is None or not found.is_owned_by(person.id, act.change.people()):
                act.require([tenant])
            if found.closed_ns is not None:
                return found
            recording = RegistryRecording(act.change, act.operator.name)
            now_ns = recording.now_ns(tenant)
            act.change.close_incident(tenant, name, now_ns)
            record: dict[str, object] = {
                "act": "close",
                "incident": name,
                "subject": found.subject,
                "reason": reason.strip()[:REASON_CHARACTERS_MAX],
            }
            recording.enter(tenant, None, ENTRY, record)
            return msgspec.structs.replace(found, closed_ns=now_ns)
