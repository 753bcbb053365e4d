"""Adaptive limits, applied: once in a turn, by the steward or by who may change limits, or after a person's word.

Rule 1: what is done is worked out again under the tenant's lock, of what is in force there, and done in that
        transaction: of many stewards that see the same turn, one does it. After an outage only the present turn is.
Rule 2: nothing is remembered: that a turn is done with is told by the change of the limit, or by the request for a
        word, which has the turn in its fingerprint and is over with it.
Rule 3: a word is given to a change of the limit that was shown. Where it is another by then, the word puts nothing in
        force.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Protocol

import msgspec

from aegis_gateway.application.amending import Amending, InForce, Wish, Word
from aegis_gateway.application.approval_requests import became, request
from aegis_gateway.application.approvals import Hindrance, Outcome
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import RegistryChange, Store
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX, Recording, RegistryRecording
from aegis_gateway.application.version_in_force import Registries, in_force_now
from aegis_gateway.domain.adaptation import LimitWords, ProposedLimit
from aegis_gateway.domain.adaptation_turn import Lately, Use, adapts_of, proposal, turn_now
from aegis_gateway.domain.approval import Approval, Asking
from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.limit_change import lasting
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.threshold import OF_BUDGET
from aegis_gateway.domain.window import Window

ACTOR = "aegis"
"""Who adapts limits by itself, as entries name it."""

_CANARY = "a version is tried beside the one in force, and limits stay as they are meanwhile"
_INCIDENT = (
    "an incident of `{budget}` is open, and its limit stays until that is closed: `aegis incidents close ID`"
)

_log = logging.getLogger("aegis.adapting")


class BudgetUse(Protocol):
    """What was used of budgets. May block."""

    def use(self, tenant: str, budget: Budget, now_ns: int) -> Use:
        """What was used in windows that are over, and in the present one."""

    def lately(self, tenant: str, budget: Budget, since_ns: int) -> Lately:
        """What was done to its limit for good: the last of it, and all since an instant."""


def adapt_limits(store: Store, views: Mapping[str, TenantView], used: BudgetUse) -> None:
    """Do what there is to do in the present turn about all limits that follow use.

    Raises:
        LedgerUnavailable: the store can't be read or written; what was done is done.
    """
    for tenant, view in sorted(views.items()):
        in_force = InForce(registry=view.registry, version=view.config_version, newest=view.config_version)
        for name, budget in sorted(view.registry.budgets.items()):
            # Beside a canary nothing is changed: what is in force is what it is compared with.
            if budget.adapts is None or view.beside_version is not None:
                continue
            try:
                adapt_limit(store, in_force, used, name)
            except ConfigurationError as fault:
                _log.warning("the limit of `%s` in `%s` is not adapted for now: %s", name, tenant, fault)


def adapt_limit(store: Store, in_force: InForce, used: BudgetUse, name: str) -> None:
    """Change a limit as its use wants, or ask for a word on it; nothing where the present turn is done with.

    Raises:
        ConfigurationError: another configuration is in force by now, or something that must be kept would not be.
    """
    registry, tenant = in_force.registry, in_force.registry.tenant
    now_ns = store.clock_ns()
    use = used.use(tenant, registry.budgets[name], now_ns)
    found = proposal_seen(in_force, used, name, use, now_ns)
    if not found.changes or _is_asked(store, tenant, registry.budgets[name], now_ns):
        return
    with store.change([tenant]) as change:
        recording = RegistryRecording(change, ACTOR)
        amending = Amending(change, recording, in_force)
        budget = amending.budget(name)
        turn = turn_now(budget, amending.now_ns)
        found = proposal_under(change, amending, in_force, name, use)
        if not found.changes or turn != turn_now(budget, now_ns):
            return
        if found.applies == "automatic":
            put_in_force(amending, found, Word(asked_by=ACTOR, approver=ACTOR, reason=reason_of(found)))
        elif not change.latest_approvals([(tenant, _fingerprint(name, turn))]):
            request(recording, _asking(in_force, budget, found, turn, amending.now_ns))


def proposal_seen(in_force: InForce, used: BudgetUse, name: str, use: Use, now_ns: int) -> ProposedLimit:
    """What a limit should be, as far as can be seen without the lock; the registry has what was done to limits.

    Raises:
        ConfigurationError: the budget's limit doesn't follow use.
    """
    budgets, tenant = in_force.registry.budgets, in_force.registry.tenant
    budget = budgets[name]
    return proposal(
        budgets,
        name,
        in_force.registry.quantities[budget.quantity],
        use,
        used.lately(tenant, budget, turn_now(budget, now_ns).starts_ns),
        now_ns,
        has_canary=in_force.newest != in_force.version,
    )


def proposal_under(
    change: RegistryChange, amending: Amending, in_force: InForce, name: str, use: Use
) -> ProposedLimit:
    """What a limit should be by what is in force under the lock.

    Raises:
        ConfigurationError: there is no such budget, or its limit doesn't follow use.
    """
    budget = amending.budget(name)
    since_ns = turn_now(budget, amending.now_ns).starts_ns
    return proposal(
        amending.budgets,
        name,
        in_force.registry.quantities[budget.quantity],
        use,
        change.limit_lately(amending.tenant, name, since_ns),
        amending.now_ns,
        has_canary=in_force.newest != in_force.version,
    )


def put_in_force(amending: Amending, found: ProposedLimit, word: Word) -> BudgetChange:
    """Change a limit to what was proposed."""
    wish = Wish(budget=found.budget, kind="adaptive", amount=found.limit - found.present, ends_ns=None)
    (made,) = amending.carry_out([wish], word)
    return made


def withdraw_request(
    change: RegistryChange, recording: Recording, tenant: str, budget: Budget, by: str
) -> None:
    """Ask nobody any more about a turn in which somebody has changed the limit as was proposed."""
    key = (tenant, _fingerprint(budget.id, turn_now(budget, recording.now_ns(tenant))))
    asked = change.latest_approvals([key]).get(key)
    if asked is not None and asked.state == "waiting":
        became(recording, asked, "withdraw", because=f"{by} has applied it")


def limit_given(registries: Registries) -> Outcome:
    """What is done about a proposed limit, once people have said yes or no to it."""

    def outcome(change: RegistryChange, recording: Recording, approval: Approval) -> Hindrance | None:
        if approval.state != "granted":
            return None
        try:
            in_force = in_force_now(change, approval.tenant, registries)
            if in_force.newest != in_force.version:
                return Hindrance(because=f"{_CANARY}; answer again when it is in force, or taken back")
            amending = Amending(change, recording, in_force)
            found = _shown(change, amending, approval)
            if change.limit_lately(
                approval.tenant, found.budget, recording.now_ns(approval.tenant)
            ).has_incident:
                return Hindrance(because=_INCIDENT.format(budget=found.budget))
            answer = approval.answers[-1]
            reason = "; ".join((answer.reason, reason_of(found))).removeprefix("; ")
            word = Word(asked_by=approval.requester, approver=answer.by, reason=reason, approval=approval.id)
            put_in_force(amending, found, word)
        except ConfigurationError as fault:
            return Hindrance(because=f"{fault}", ends=True)
        return None

    return outcome


def _shown(change: RegistryChange, amending: Amending, approval: Approval) -> ProposedLimit:
    """The proposal that people were shown.

    Raises:
        ConfigurationError: it can't be put in force as things are by now.
    """
    terms = msgspec.convert(approval.terms, _Terms)
    budget = amending.budget(terms.budget)
    adapts, now_ns = adapts_of(budget), amending.now_ns
    turn = turn_now(budget, now_ns)
    limit, present = int(terms.limit), int(terms.present)
    lately = change.limit_lately(amending.tenant, budget.id, turn.starts_ns)
    is_set_since = any(each.at_ns >= turn.starts_ns for each in lately.changes)
    if is_set_since or present != lasting(budget.limit, budget.changes, now_ns):
        raise ConfigurationError(
            f"the limit of `{budget.id}` was changed since this was proposed; the next turn proposes anew"
        )
    is_beyond = limit > max(present, adapts.ceiling) or limit < min(present, adapts.floor)
    if turn.label != terms.turn or is_beyond:
        raise ConfigurationError(f"`{budget.id}` follows use otherwise by now; the next turn proposes anew")
    return ProposedLimit(budget=budget.id, present=present, limit=limit, reasons=tuple(terms.reasons))


class _Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a grant puts in force; amounts as texts, in the unit of the limit."""

    budget: str
    turn: str
    present: str
    limit: str
    reasons: list[str]


def reason_of(found: ProposedLimit) -> str:
    """Why a limit is changed, as its history tells."""
    return "; ".join(found.reasons)[:REASON_CHARACTERS_MAX]


def _is_asked(store: Store, tenant: str, budget: Budget, now_ns: int) -> bool:
    sql = "select 1 from approval where tenant = ? and fingerprint = ? limit 1"
    return bool(store.rows(sql, (tenant, _fingerprint(budget.id, turn_now(budget, now_ns)))))


def _fingerprint(budget: str, turn: Window) -> str:
    """What tells one turn of a budget's limit from all others."""
    return hashlib.sha256(f"limit\n{budget}\n{turn.label}".encode()).hexdigest()


def _asking(in_force: InForce, budget: Budget, found: ProposedLimit, turn: Window, now_ns: int) -> Asking:
    words = LimitWords(budget=budget, quantity=in_force.registry.quantities[budget.quantity])
    terms = _Terms(
        budget=budget.id,
        turn=turn.label,
        present=str(found.present),
        limit=str(found.limit),
        reasons=list(found.reasons),
    )
    return Asking(
        tenant=in_force.registry.tenant,
        kind="limit",
        requester=ACTOR,
        about=f"{OF_BUDGET}{budget.id}",
        fingerprint=_fingerprint(budget.id, turn),
        facts={
            "budget": budget.id,
            "limit": words.amount(found.present),
            "proposed": words.amount(found.limit),
            "why": reason_of(found),
            "used": [
                f"{each.window.label}: {words.amount(each.used)}{', cut short' if each.cut_short else ''}"
                for each in found.windows
            ],
            "turn": turn.label,
            "owner": budget.owner,
        },
        terms=msgspec.structs.asdict(terms),
        route=Route(within_ns=turn.ends_ns - now_ns),
    )
