"""Asking for more: what somebody wants of a budget's limit becomes a request for another person's word.

Rule 1: nobody is asked about what couldn't be done now; whether it still can is looked at again when somebody agrees
        (`asked_increases.py`).
Rule 2: a person has one request for each budget: who asks for the same again asks nobody twice, who asks for something
        else withdraws what they asked for before.
"""

from __future__ import annotations

import hashlib

import msgspec

from aegis_gateway.application.amending import Amending, Wish
from aegis_gateway.application.approval_requests import became, passed, request
from aegis_gateway.application.operators import Act, Caller, Operators
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX, RegistryRecording
from aegis_gateway.application.version_in_force import Registries, in_force_now
from aegis_gateway.domain.amounts import exact_text, limit_text
from aegis_gateway.domain.approval import Approval, Asking
from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.asking_more import Climb, may_ask, route_for
from aegis_gateway.domain.deputies import attendance_of
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.limit_change import changed
from aegis_gateway.domain.people import Person
from aegis_gateway.domain.registry import Budget, Registry


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """So much more of a budget, in the smallest unit of its limit, until an instant or for good, and why.

    `expected` is what the budget's window is expected to come to, in the ledger's unit, where anybody knows.
    """

    budget: str
    amount: int
    ends_ns: int | None
    reason: str
    expected: int | None = None


class IncreaseTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a grant puts in force, and the limit that it was asked on top of.

    `changes` are what was done to the limit by then, as amount, beginning and end of each.
    """

    amount: int
    unit: str
    ends_ns: int | None
    reason: str
    configured: int
    changes: tuple[tuple[int, int, int | None], ...] = ()


class Asks:
    """The use case of asking for more, in the name of a caller."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller, registries: Registries) -> None:
        """`pepper` is the installation's secret that tokens are hashed under; `registries` are tenants by version."""
        self._operators = Operators(store, pepper, caller)
        self._registries = registries

    def ask(self, tenant: str, wanted: Wanted) -> Approval:
        """Ask for more; the request as it waits. The same again is the same request.

        Raises:
            ConfigurationError: there is no such budget, so much more can't be had now, or nobody else could agree.
            NotPermitted: who asks may not.
            LedgerUnavailable: it could not be made durable.
        """
        with self._operators.act("read", [tenant]) as act:
            if tenant not in act.change.heads:
                raise ConfigurationError(f"there is no tenant `{tenant}`")
            recording = RegistryRecording(act.change, act.operator.name)
            registry = in_force_now(act.change, tenant, self._registries)
            amending = Amending(act.change, recording, registry)
            asking = _Asking(act, amending, registry.registry)
            return asking.ask(recording, wanted)


class _Asking:
    """One person's wish in one transaction."""

    def __init__(self, act: Act, amending: Amending, registry: Registry) -> None:
        self._change = act.change
        self._operator = act.operator
        self._amending = amending
        self._registry = registry
        self._people = act.change.people()

    def ask(self, recording: RegistryRecording, wanted: Wanted) -> Approval:
        budget = self._amending.budget(wanted.budget)
        self._refuse_stranger(budget)
        _refuse_nothing(wanted)
        self._amending.check([wish_of(wanted)])
        asking = self._asking(budget, wanted)
        waiting = self._waiting(recording, asking)
        if waiting is not None and terms_of(waiting) == terms_of(asking):
            return waiting
        if waiting is not None:
            became(recording, waiting, "withdraw", because=f"`{asking.requester}` asks for something else")
        return request(recording, asking)

    def _refuse_stranger(self, budget: Budget) -> Person:
        person = self._operator.person
        if person is None:
            raise NotPermitted(
                "nobody is registered here whom it could be asked of; raise the limit: "
                f"`aegis budget increase {budget.id} AMOUNT`, or add people: `aegis people add`"
            )
        tenant = self._amending.tenant
        agents = {**self._change.agents(tenant), **self._registry.agents}
        if not may_ask(person, budget, tuple(agents.values()), self._people.keys(), tenant):
            raise NotPermitted(
                f"`{person.id}` may not ask for more of `{budget.id}`: that may its owner and deputy, the owner of an "
                f"agent whose calls count on it, and whoever may see the budgets of `{tenant}`"
            )
        return person

    def _waiting(self, recording: RegistryRecording, asking: Asking) -> Approval | None:
        """What the person asked for before, if it still waits."""
        key = (asking.tenant, asking.fingerprint)
        known = self._change.latest_approvals([key]).get(key)
        if known is None or known.state != "waiting":
            return None
        known = passed(recording, known)
        return known if known.state == "waiting" else None

    def _asking(self, budget: Budget, wanted: Wanted) -> Asking:
        requester, tenant = self._operator.name, self._amending.tenant
        terms = IncreaseTerms(
            amount=wanted.amount,
            unit=budget.unit,
            ends_ns=wanted.ends_ns,
            reason=wanted.reason.strip()[:REASON_CHARACTERS_MAX],
            configured=budget.limit,
            changes=tuple(
                (each.amount, each.starts_ns, each.ends_ns)
                for each in budget.changes
                if each.ends_ns is None or each.ends_ns > self._amending.now_ns
            ),
        )
        fingerprint = hashlib.sha256("\n".join(("increase", budget.id, requester)).encode()).hexdigest()
        return Asking(
            tenant=tenant,
            kind="increase",
            requester=requester,
            about=budget.id,
            behind=self._operator.behind,
            fingerprint=fingerprint,
            maximum_nano_usd=self._nano_usd(budget, wanted.amount),
            facts=self._facts(budget, wanted, terms),
            terms=msgspec.to_builtins(terms),
            route=self._route(budget, wanted),
        )

    def _route(self, budget: Budget, wanted: Wanted) -> Route:
        """Whose word it wants, within a time that ends before what is asked for would."""
        climb = Climb(
            tenant=self._amending.tenant,
            budget=budget,
            amount_nano_usd=self._nano_usd(budget, wanted.amount),
            requester=self._operator.name,
            attendance=attendance_of(self._people, self._change.absences(), self._amending.now_ns),
        )
        route = route_for(self._registry.asks, self._registry.approvals, climb)
        if route is None:
            raise ConfigurationError(
                f"nobody but `{self._operator.name}` could agree to more of `{budget.id}`; an admin gives somebody the "
                f"role: `aegis people grant PERSON finops --tenant {self._amending.tenant}`"
            )
        if wanted.ends_ns is None:
            return route
        within_ns = min(route.within_ns, wanted.ends_ns - self._amending.now_ns)
        escalation = route.escalation
        if escalation is not None and escalation.after_ns >= within_ns:
            escalation = msgspec.structs.replace(escalation, after_ns=within_ns // 2)
        return msgspec.structs.replace(route, within_ns=within_ns, escalation=escalation)

    def _nano_usd(self, budget: Budget, amount: int) -> int | None:
        """So much more in dollars; None for what is no money, or none that a rate is known of."""
        if budget.currency is not None:
            rate = budget.currency.at(self._amending.now_ns, budget.zone)
            return None if rate is None else rate.nano_usd(amount)
        return amount if self._registry.quantities[budget.quantity].is_money else None

    def _facts(self, budget: Budget, wanted: Wanted, terms: IncreaseTerms) -> dict[str, object]:
        """What people are shown, in words."""
        limit = changed(budget.limit, budget.changes, self._amending.now_ns)
        facts: dict[str, object] = {
            "amount": limit_text(wanted.amount, budget.unit, self._registry),
            **({"until": "for good"} if wanted.ends_ns is None else {"until_ns": str(wanted.ends_ns)}),
            "why": terms.reason,
            "owner": budget.owner,
            "limit": limit_text(limit, budget.unit, self._registry),
        }
        stands = self._amending.stands(budget)
        if stands is not None:
            standing, bears = stands
            quantity = self._registry.quantities[budget.quantity]
            facts |= {
                "spent": exact_text(standing.posted, quantity),
                "reserved": exact_text(standing.pending, quantity),
                "left": exact_text(standing.available(bears), quantity),
            }
            if wanted.expected is not None:
                facts["forecast"] = f"{exact_text(wanted.expected, quantity)} by the end of the window"
        return facts


def wish_of(wanted: Wanted) -> Wish:
    """What is to be done to the limit."""
    return Wish(budget=wanted.budget, kind="increase", amount=wanted.amount, ends_ns=wanted.ends_ns)


def terms_of(asking: Asking) -> IncreaseTerms:
    """What a request for more asks for."""
    return msgspec.convert(asking.terms, IncreaseTerms)


def _refuse_nothing(wanted: Wanted) -> None:
    if wanted.amount <= 0:
        raise ConfigurationError("the amount is not above 0; say how much more")
    if not wanted.reason.strip():
        raise ConfigurationError("say why, so that whoever is asked can tell; give a reason")
