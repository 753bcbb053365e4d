"""Increases that somebody asked for, when another person agrees: put in force in the transaction of the answer.

Rule: what was agreed to is so much on top of the limit that was shown. If that is another by now, or doesn't bear it
      any more, nothing is raised, and the answer says what to do.
"""

from __future__ import annotations

from aegis_gateway.application.amending import Amending, Wish, Word
from aegis_gateway.application.approvals import Hindrance
from aegis_gateway.application.asks import IncreaseTerms, terms_of
from aegis_gateway.application.ports import RegistryChange
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.application.version_in_force import Registries, in_force_now
from aegis_gateway.domain.amounts import limit_text
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.limit_change import LimitChange, changed
from aegis_gateway.domain.registry import Registry


class AskedIncreases:
    """The outcome of requests of kind `increase`."""

    def __init__(self, registries: Registries) -> None:
        """`registries` are tenants by version, verified."""
        self._registries = registries

    def __call__(
        self, change: RegistryChange, recording: RegistryRecording, approval: Approval
    ) -> Hindrance | None:
        """Raise the limit that was asked about, if it was granted; why that can't be done, if it can't.

        Raises:
            VersionForged: what is in force is not as it was signed; nothing is decided by it.
        """
        if approval.state != "granted":
            return None
        terms = terms_of(approval)
        try:
            in_force = in_force_now(change, approval.tenant, self._registries)
            amending = Amending(change, recording, in_force)
            _refuse_another_limit(approval.about, terms, amending, in_force.registry)
            wish = Wish(budget=approval.about, kind="increase", amount=terms.amount, ends_ns=terms.ends_ns)
            amending.carry_out([wish], _word(approval, terms))
        except ConfigurationError as fault:
            return Hindrance(because=str(fault), ends=True)
        return None


def _word(approval: Approval, terms: IncreaseTerms) -> Word:
    granted_by = [answer.by for answer in approval.answers if answer.kind == "grant"]
    return Word(
        asked_by=approval.requester,
        approver=", ".join(granted_by),
        reason=terms.reason,
        approval=approval.id,
    )


def _refuse_another_limit(name: str, terms: IncreaseTerms, amending: Amending, registry: Registry) -> None:
    """What ends by itself was known when it was asked; what else was done to the limit since was not."""
    budget = amending.budgets.get(name)
    if budget is None:
        raise ConfigurationError(f"there is no budget `{name}` any more; ask for more of another one")
    known = [
        LimitChange(amount=amount, starts_ns=starts_ns, ends_ns=ends_ns)
        for amount, starts_ns, ends_ns in terms.changes
    ]
    shown = changed(terms.configured, known, amending.now_ns)
    now = changed(budget.limit, budget.changes, amending.now_ns)
    if (shown, terms.unit) != (now, budget.unit):
        before, after = limit_text(shown, terms.unit, registry), limit_text(now, budget.unit, registry)
        raise ConfigurationError(
            f"the limit of `{name}` is {after} by now, and was {before} when more was asked for; if that isn't enough, "
            f"ask again: `aegis budget ask {name} AMOUNT`"
        )
