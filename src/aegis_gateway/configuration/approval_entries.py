"""What `approvals` says in `aegis.yaml`: groups of people, routes to them, and times; checked, and made into rules."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator

from aegis_gateway.configuration import references, values
from aegis_gateway.configuration.document import Entry, Flag, PositiveAmount
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.words import instead, listed, shown, unfit
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.approval_route import APPROVERS, Group
from aegis_gateway.domain.approval_rules import NO_RULES, ApprovalRules, RouteRule
from aegis_gateway.domain.people import ROLES, Role, is_person_id

_HOLD_MAX_NS = 300 * 1_000_000_000

_GROUP = "write people by their ids, as in [ana, ben], or a role, as in {role: approver}"


def _people(value: object) -> tuple[tuple[str, ...], Role | None]:
    """Who a group is: people by their ids, or whoever holds a role."""
    if isinstance(value, dict):
        role = value.get("role")
        if value.keys() != {"role"} or role not in ROLES:
            unfit(f"is {shown(value)}; {_GROUP}; roles are {listed(ROLES)}")
        return (), role
    if not isinstance(value, list) or not value:
        unfit(f"is {shown(value)}; {_GROUP}")
    for each in value:
        if not isinstance(each, str) or not is_person_id(each):
            unfit(f"has {shown(each)}, which is no person's id; {_GROUP}")
    return tuple(dict.fromkeys(value)), None


def _hold(value: object) -> int:
    """How long a connection may be held: `0s`, or up to five minutes."""
    length_ns = 0 if value == "0s" else values.duration(value)
    if length_ns > _HOLD_MAX_NS:
        unfit(f"is {shown(value)}; write at most 5m")
    return length_ns


Names = Annotated[tuple[str, ...], PlainValidator(values.some(values.identifier))]
Duration = Annotated[int, PlainValidator(values.duration)]


class EscalateEntry(Entry):
    """Who else is asked, when nobody has decided for so long."""

    after: Duration = Field(description="after how long others are asked", examples=["30m"])
    to: Names = Field(description="the groups that are asked then", examples=["[cfo]"])


class RouteEntry(Entry):
    """Who is asked about some calls: all that is named must fit; of a list, one."""

    policy: Names = ()
    agent: Names = ()
    team: Annotated[
        tuple[str, ...], PlainValidator(values.some(references.reference("team"), with_context=True))
    ] = ()
    tool: Annotated[
        tuple[str, ...],
        PlainValidator(values.some(references.reference("action", "tool"), with_context=True)),
    ] = ()
    budget: Annotated[
        tuple[str, ...], PlainValidator(values.some(references.reference("budget"), with_context=True))
    ] = ()
    above_usd: PositiveAmount | None = None
    ask: Names = Field(description="the groups that are asked", examples=["[finance]"])
    needs: Annotated[int, PlainValidator(values.whole(1, 20))] = 1
    within: Duration | None = None
    escalate: EscalateEntry | None = None


class ApprovalsEntry(Entry):
    """How people agree."""

    groups: dict[str, Annotated[Any, PlainValidator(_people)]] = Field(default={})
    routes: tuple[RouteEntry, ...] = ()
    within: Duration = NO_RULES.within_ns
    valid_for: Duration = NO_RULES.valid_for_ns
    open_per_agent: Annotated[int, PlainValidator(values.whole(1, 1_000))] = NO_RULES.open_per_agent
    group_after: Annotated[int, PlainValidator(values.whole(1, 1_000))] = NO_RULES.group_after
    hold: Annotated[int, PlainValidator(_hold)] = 0
    owner_may_answer: Flag = False
    elicit: Flag = False


def compile_approvals(entry: ApprovalsEntry | None, path: Path, problems: Problems) -> ApprovalRules:
    """Make a tenant's rules; a group that is asked and that there is not is told of."""
    if entry is None:
        return NO_RULES
    groups = {
        name: Group(name=name, people=people, role=role) for name, (people, role) in entry.groups.items()
    }
    for name in groups:
        try:
            values.identifier(name)
        except ValueError:
            problems.add(
                (*path, "groups", name), f"is named {shown(name)}; name groups as ids, as in finance"
            )
    known = sorted({*groups, APPROVERS.name})
    for number, route in enumerate(entry.routes):
        place = (*path, "routes", number)
        _tell_of_unknown(route.ask, known, (*place, "ask"), problems)
        if route.escalate is not None:
            _tell_of_unknown(route.escalate.to, known, (*place, "escalate", "to"), problems)
            if route.escalate.after >= (route.within or entry.within):
                problems.add(
                    (*place, "escalate", "after"),
                    "is not before the request is over; write a time shorter than `within`",
                )
    return ApprovalRules(
        groups=groups,
        routes=tuple(map(_route, entry.routes)),
        within_ns=entry.within,
        valid_for_ns=entry.valid_for,
        open_per_agent=entry.open_per_agent,
        group_after=entry.group_after,
        hold_ns=entry.hold,
        owner_may_answer=entry.owner_may_answer,
        elicit=entry.elicit,
    )


def _tell_of_unknown(names: tuple[str, ...], known: list[str], path: Path, problems: Problems) -> None:
    for name in names:
        if name not in known:
            there = f"there are {listed(known)}"
            problems.add(
                path, f"has {shown(name)}, and there is no such group; {instead(name, known, there)}"
            )


def _route(entry: RouteEntry) -> RouteRule:
    return RouteRule(
        ask=entry.ask,
        needs=entry.needs,
        policies=entry.policy,
        agents=entry.agent,
        teams=entry.team,
        tools=entry.tool,
        budgets=entry.budget,
        above_nano_usd=None if entry.above_usd is None else int(entry.above_usd * 1_000_000_000),
        within_ns=entry.within,
        escalate_after_ns=entry.escalate.after if entry.escalate is not None else None,
        escalate_to=entry.escalate.to if entry.escalate is not None else (),
    )
