"""What a tenant says about approvals: who is asked about what, until when, how many may wait; who is asked for more.

Rule 1: the first route that fits holds; one that states nothing to fit to fits all calls. Where none fits, everybody
        who may approve is asked.
Rule 2: a threshold's own request is no call's: only a route that names its budget fits it. Where none does, the
        budget's owner and deputy are asked, and after a quarter of the time everybody who may approve besides.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aegis_gateway.domain.approval_route import APPROVERS, Escalation, Group, Route, Want

OWNERS_OF = "owners of "
"""What stands before a budget's id where whoever answers for it is asked."""

_OWNERS_ALONE = 4
"""About thresholds, a budget's owner and deputy are asked alone for one in so many parts of the time."""

_HOUR_NS = 3_600 * 1_000_000_000


class WordRule(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked (`ask`, by the names of groups), of whom `needs` people have to agree; who else is asked, and when.

    Times in nanoseconds; without its own it has those of the tenant.
    """

    ask: tuple[str, ...]
    needs: int = 1
    within_ns: int | None = None
    escalate_after_ns: int | None = None
    escalate_to: tuple[str, ...] = ()

    def route(
        self, group: Callable[[str], Group], within_ns: int, valid_for_ns: int, names: tuple[str, ...] = ()
    ) -> Route:
        """Whose word is wanted by it; `names` are asked in place of its own, where there are any."""
        escalation = None
        if self.escalate_after_ns is not None:
            escalation = Escalation(
                after_ns=self.escalate_after_ns, groups=tuple(map(group, self.escalate_to))
            )
        return Route(
            wants=(Want(groups=tuple(map(group, names or self.ask)), needs=self.needs),),
            within_ns=self.within_ns or within_ns,
            valid_for_ns=valid_for_ns,
            escalation=escalation,
        )


class RouteRule(WordRule, frozen=True, kw_only=True):
    """Who is asked about what fits.

    All that is stated has to fit: one of the policies that ask, of the agents, teams, tools and of the budgets whose
    thresholds ask; a maximum cost of at least `above_nano_usd`, or an unknown one.
    """

    policies: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    above_nano_usd: int | None = None

    def fits(self, asked: Asked) -> bool:
        """Whether it is about what is asked."""
        stated = (
            (self.policies, asked.policy),
            (self.agents, asked.agent),
            (self.teams, asked.team),
            (self.tools, asked.tool),
            (self.budgets, asked.budget),
        )
        if any(names and name not in names for names, name in stated):
            return False
        cost = asked.maximum_nano_usd
        return self.above_nano_usd is None or cost is None or cost > self.above_nano_usd


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a route is looked for by; `tool` is `CONNECTOR.OPERATION`, or `chat`, `embed`… of a model, `budget` the one
    whose threshold asks.
    """

    policy: str = ""
    agent: str = ""
    team: str = ""
    tool: str = ""
    maximum_nano_usd: int | None = None
    budget: str = ""


class ApprovalRules(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's groups and routes, with the times that hold where a route has none of its own.

    An agent may have `open_per_agent` requests that wait; from the `group_after`th of one tool and policy on, they are
    told together. A connection that asks for it is held for up to `hold_ns` while its request waits. `elicit`: MCP
    clients that can be are sent to the page of what they wait for.
    """

    groups: dict[str, Group] = {}
    routes: tuple[RouteRule, ...] = ()
    within_ns: int = 4 * _HOUR_NS
    valid_for_ns: int = _HOUR_NS
    open_per_agent: int = 20
    group_after: int = 3
    hold_ns: int = 0
    owner_may_answer: bool = False
    elicit: bool = False

    def group(self, name: str) -> Group:
        """A group by its name; one that is no more has nobody in it."""
        return self.groups.get(name) or (APPROVERS if name == APPROVERS.name else Group(name=name))

    def route(self, asked: Asked, approvers: str = "") -> Route:
        """Whose word is wanted for what one policy asks; `approvers` is the group that the policy names itself."""
        rule = next((rule for rule in self.routes if rule.fits(asked)), None)
        if rule is None:
            wants = (Want(groups=(self.group(approvers or APPROVERS.name),)),)
            return Route(wants=wants, within_ns=self.within_ns, valid_for_ns=self.valid_for_ns)
        names = (approvers,) if approvers else ()
        return rule.route(self.group, self.within_ns, self.valid_for_ns, names)

    def route_of_budget(self, budget: str, answers_for_it: tuple[str, ...]) -> Route:
        """Whose word is wanted before a budget's threshold holds something; `answers_for_it` are the people who are its
        owner and its deputy here. Where there is none of them, everybody who may approve is asked at once.
        """
        asked = Asked(budget=budget)
        rule = next((rule for rule in self.routes if rule.budgets and rule.fits(asked)), None)
        if rule is not None:
            return rule.route(self.group, self.within_ns, self.valid_for_ns)
        owners = Group(name=f"{OWNERS_OF}{budget}", people=answers_for_it)
        approvers = Route(within_ns=self.within_ns, valid_for_ns=self.valid_for_ns)
        return by_owners_first(owners, approvers, _OWNERS_ALONE)


NO_RULES = ApprovalRules()


def by_owners_first(owners: Group, others: Route, parts: int) -> Route:
    """The word of a budget's owner and deputy; after one in so many parts of the time, of those of another route too.

    These are asked at once where nobody answers for the budget.
    """
    if not owners.people:
        return others
    return msgspec.structs.replace(
        others,
        wants=(Want(groups=(owners,)),),
        escalation=Escalation(after_ns=others.within_ns // parts, groups=others.asked(0)),
    )


class AskRule(WordRule, frozen=True, kw_only=True):
    """Who is asked for more money: for `up_to_nano_usd`, or for any amount of anything."""

    up_to_nano_usd: int | None = None

    def bears(self, amount_nano_usd: int | None) -> bool:
        """Whether it is about so much more; what is no money (None) no amount of money bears."""
        most = self.up_to_nano_usd
        return most is None or (amount_nano_usd is not None and amount_nano_usd <= most)


class AskRules(msgspec.Struct, frozen=True, kw_only=True):
    """Whom owners ask for more, the smaller amounts first; without routes, those who may change limits."""

    routes: tuple[AskRule, ...] = ()
    within_ns: int = 24 * _HOUR_NS


NO_ASKS = AskRules()
