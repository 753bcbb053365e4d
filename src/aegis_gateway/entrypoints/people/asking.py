"""Asking for more of a budget, for somebody who came by the API.

Rule: a tenant that its person may not read is told as one that isn't there, unless something in it is theirs.
"""

from __future__ import annotations

from aegis_gateway.adapters.budget_use import expected_of
from aegis_gateway.application.asks import Asks, Wanted
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.amounts import amount_of
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.errors import CallError, ConfigurationError, NotPermitted
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.reader import Reader


def more_asked_for(
    office: Office,
    store: Store,
    reader: Reader,
    tenant: str,
    budget: str,
    amount: str,
    ends_ns: int | None,
    reason: str,
) -> Approval:
    """Ask in a reader's name; the request as it waits.

    Raises:
        CallError: it can't be asked for; the status says in which way.
        NotPermitted: who asks may not.
    """
    registry = office.tenants()[tenant].registry
    unseen = CallError(f"there is no budget `{budget[:64]}` that you may see", field="budget", status=404)
    if budget not in registry.budgets:
        raise unseen
    try:
        units = amount_of(amount, registry.budgets[budget], registry)
    except ConfigurationError as fault:
        raise CallError(f"{fault}", field="amount", status=422) from None
    if not reason.strip():
        raise CallError("say why: whoever is asked is told it", field="reason", status=422)
    office.registries.prepare(store)
    expected = expected_of(store.query, tenant, registry.budgets[budget], store.clock_ns())
    wanted = Wanted(budget=budget, amount=units, ends_ns=ends_ns, reason=reason, expected=expected)
    asks = Asks(store, office.pepper, reader.caller, office.registries)
    try:
        return asks.ask(tenant, wanted)
    except NotPermitted:
        if tenant not in office.readable(reader.person):
            raise unseen from None
        raise
    except ConfigurationError as fault:
        raise CallError(f"{fault}", status=409) from None
