"""What people do to an agent's keys on its page: the very acts of `aegis key hold`, `restore` and `revoke`.

Rule: a form names a key of the agent whose page it is on, or that agent for all of them; nothing else is touched.
"""

from __future__ import annotations

from typing import Self

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.key_holds import KeyHolds
from aegis_gateway.application.ports import Store
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.duration import duration_ns
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.agents.account import AgentAccount
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.visits import Visit

_FIELD_MAX = 128


class KeyForm(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants done: `act` to a key or an agent of that `name`, for a `reason`, for as long as `lasts`."""

    act: str = ""
    name: str = ""
    reason: str = ""
    lasts: str = ""

    @classmethod
    def of(cls, visit: Visit) -> Self:
        """The form of a visit."""
        return cls(
            act=visit.field("act")[:_FIELD_MAX],
            name=visit.field("name")[:_FIELD_MAX],
            reason=" ".join(visit.field("reason").split()),
            lasts=visit.field("lasts")[:_FIELD_MAX],
        )


def act_on_keys(
    visit: Visit, store: Store, settings: Settings, registry: Registry, account: AgentAccount, form: KeyForm
) -> None:
    """Do it, in the reader's name.

    Raises:
        ConfigurationError: there is no such key, nothing to do, or the form isn't filled in; the message says what.
        NotPermitted: the reader may not.
    """
    tenant, caller, pepper = registry.tenant, reader_of(visit).caller, visit.office.pepper
    keys = {each.key.id for each in account.keys}
    if form.name not in {*keys, account.id}:
        raise ConfigurationError(
            "there is no such key of this agent; reload the page, and see those that there are"
        )
    if not form.reason and form.act != "restore":
        raise ConfigurationError("say why: it stands in the record with your name")
    if len(form.reason) > REASON_CHARACTERS_MAX:
        raise ConfigurationError(f"the reason is too long; {REASON_CHARACTERS_MAX:,} characters are kept")
    if form.act == "hold":
        lasts_ns = duration_ns(form.lasts) if form.lasts else None
        if form.lasts and not lasts_ns:
            raise ConfigurationError(
                f"`{form.lasts}` is no span of time; write it as in 30m, 2h or 7d, or leave it empty"
            )
        owners = {agent.id: agent.owner for agent in registry.agents.values()}
        until_ns = None if lasts_ns is None else store.clock_ns() + lasts_ns
        KeyHolds(store, pepper, caller).hold(
            tenant, form.name, reason=form.reason, owners=owners, until_ns=until_ns
        )
    elif form.act == "restore":
        KeyHolds(store, pepper, caller).restore(tenant, form.name, form.reason)
    elif form.act == "revoke" and form.name in keys:
        signatures = bootstrap.signatures(settings)
        Administration(store, pepper, signatures, visit.office.random_bytes, caller).revoke_key(
            tenant, form.name, form.reason
        )
    else:
        raise ConfigurationError("a key is held, restored or revoked; reload the page and try again")
