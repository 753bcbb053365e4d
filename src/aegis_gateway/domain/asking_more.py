"""Asking for more: who may ask for more of a budget, and whose word that wants. Pure: people come in as they are now.

Rule 1: the first route that bears the amount and that enough others could answer is asked; whoever asks is passed over,
        and who is away with nobody in their stead, so an owner's own wish climbs to the next.
Rule 2: without routes the budget's owner is asked if they may change limits, and otherwise whoever may. Where nobody of
        a route could answer, it is whoever may change limits too; where nobody could do that, nobody is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from aegis_gateway.domain.absence import stead_of
from aegis_gateway.domain.approval_route import BUDGET_OWNER, LIMIT_CHANGERS, Group, Route, Want
from aegis_gateway.domain.approval_rules import ApprovalRules, AskRules, by_owners_first
from aegis_gateway.domain.deputies import Attendance
from aegis_gateway.domain.people import Person, may, person_of
from aegis_gateway.domain.registry import ON_THE_FLY, TAG, Agent, Budget

_OF_CALLS = frozenset((*ON_THE_FLY, "connector", "tool", "model", "key"))
"""Dimensions that an agent's calls may have any value in."""

_OWNERS_ALONE = 2
"""Where nothing else is said, a budget's owner and deputy are asked alone for one in so many parts of the time."""


def counts_on(agent: Agent, budget: Budget, tenant: str) -> bool:
    """Whether calls of an agent may count on a budget, as far as the agent alone tells."""
    if agent.budget == budget.id:
        return True
    known: dict[str, str | None] = {
        "tenant": tenant,
        "team": agent.team,
        "agent": agent.id,
        "project": agent.project,
        "environment": agent.environment,
        **{f"{TAG}{name}": value for name, value in agent.tags.items()},
    }
    return bool(budget.match) and all(
        dimension in _OF_CALLS or known.get(dimension) == wanted for dimension, wanted in budget.match
    )


def may_ask(
    person: Person, budget: Budget, agents: Collection[Agent], people: Collection[str], tenant: str
) -> bool:
    """Whether somebody may ask for more of a budget: who may see it, it is theirs, or their agents count on it."""
    if person.suspended_ns is not None:
        return False
    if may(person, "read", tenant):
        return True
    if person.id in (person_of(budget.owner, people), person_of(budget.deputy, people)):
        return True
    return any(
        person_of(agent.owner, people) == person.id for agent in agents if counts_on(agent, budget, tenant)
    )


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for more of which budget; `amount_nano_usd` is None for what is no money."""

    tenant: str
    budget: Budget
    amount_nano_usd: int | None
    requester: str
    attendance: Attendance

    @property
    def people(self) -> Mapping[str, Person]:
        """Everybody who has an account."""
        return self.attendance.people


def route_for(asks: AskRules, approvals: ApprovalRules, climb: Climb) -> Route | None:
    """Whose word a request for more wants; None where nobody could give it."""
    owners = _owners(climb)

    def group(name: str) -> Group:
        return owners if name == BUDGET_OWNER else approvals.group(name)

    routes = [
        rule.route(group, asks.within_ns, approvals.valid_for_ns)
        for rule in asks.routes
        if rule.bears(climb.amount_nano_usd)
    ]
    anybody = Route(
        wants=(Want(groups=(LIMIT_CHANGERS,)),), within_ns=asks.within_ns, valid_for_ns=approvals.valid_for_ns
    )
    if not asks.routes:
        may_change_limits = msgspec.structs.replace(owners, role=LIMIT_CHANGERS.role)
        routes.append(by_owners_first(may_change_limits, anybody, _OWNERS_ALONE))
    return next((route for route in (*routes, anybody) if _could_answer(route, climb)), None)


def _owners(climb: Climb) -> Group:
    """The budget's owner and deputy, as the group that they are; of those who are not registered there is nobody."""
    found = (person_of(name, climb.people) for name in (climb.budget.owner, climb.budget.deputy))
    return Group(name=BUDGET_OWNER, people=tuple(dict.fromkeys(name for name in found if name is not None)))


def _could_answer(route: Route, climb: Climb) -> bool:
    """Whether enough people who are there could give each word that is wanted, besides whoever asks."""
    return all(want.needs <= len(_voices(want, climb)) for want in route.wants)


def _voices(want: Want, climb: Climb) -> set[str]:
    """Who could give a word: those who are asked and there, and who stands in for those who are away."""
    asked = (
        person
        for person in climb.people.values()
        if person.id != climb.requester and any(group.has(person, climb.tenant) for group in want.groups)
    )
    found = {_voice(person, climb) for person in asked}
    return {name for name in found if name is not None and name != climb.requester}


def _voice(person: Person, climb: Climb) -> str | None:
    stead = stead_of(person.id, climb.attendance.away)
    if stead.who == person.id:
        return person.id
    deputy = climb.people.get(stead.who or "")
    is_chosen = any(climb.requester in (each.person, each.by) for each in stead.by)
    return deputy.id if deputy and may(deputy, "approve", climb.tenant) and not is_chosen else None
