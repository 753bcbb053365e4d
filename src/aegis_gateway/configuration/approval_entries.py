"""What `approvals` and `asks` say in `aegis.yaml`: groups of people, routes to them, and times; checked, and made into
rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from aegis_gateway.configuration import references, values
from aegis_gateway.configuration.document import Entry, Flag, PositiveAmount
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.words import instead, listed, shown, unfit
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.approval_route import APPROVERS, BUDGET_OWNER, Group
from aegis_gateway.domain.approval_rules import NO_ASKS, NO_RULES, ApprovalRules, AskRule, AskRules, RouteRule
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


class WordEntry(Entry):
    """Who is asked, how many of them have to agree, and until when."""

    ask: Names = Field(description="the groups that are asked", examples=["[finance]"])
    needs: Annotated[int, PlainValidator(values.whole(1, 20))] = 1
    within: Duration | None = None
    escalate: EscalateEntry | None = None


class RouteEntry(WordEntry):
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


class AskRouteEntry(WordEntry):
    """Who is asked for more, up to an amount, or for any."""

    up_to: PositiveAmount | None = None


class AsksEntry(Entry):
    """Whom owners ask for more."""

    routes: tuple[AskRouteEntry, ...] = ()
    within: Duration = NO_ASKS.within_ns


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
    _tell_of_odd_routes(entry.routes, {*groups, APPROVERS.name}, entry.within, path, problems)
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


def compile_asks(entry: AsksEntry | None, groups: Iterable[str], path: Path, problems: Problems) -> AskRules:
    """Make a tenant's rules of who is asked for more, of the groups that `approvals` has, and the budget's owner."""
    if entry is None or entry == AsksEntry():
        return NO_ASKS
    if BUDGET_OWNER in groups:
        problems.add(
            (*path[:-1], "approvals", "groups", BUDGET_OWNER),
            f"is what `asks` calls a budget's owner and deputy; give the group another name than `{BUDGET_OWNER}`",
        )
    known = {*groups, APPROVERS.name, BUDGET_OWNER}
    _tell_of_odd_routes(entry.routes, known, entry.within, path, problems)
    _tell_of_unreached(entry.routes, path, problems)
    return AskRules(
        routes=tuple(AskRule(up_to_nano_usd=_nano_usd(each.up_to), **_word(each)) for each in entry.routes),
        within_ns=entry.within,
    )


def _tell_of_odd_routes(
    routes: Iterable[WordEntry], groups: Iterable[str], within_ns: int, path: Path, problems: Problems
) -> None:
    """Routes to groups that there are not, and those that escalate too late."""
    known = sorted(groups)
    for number, route in enumerate(routes):
        place = (*path, "routes", number)
        _tell_of_unknown(route.ask, known, (*place, "ask"), problems)
        if route.escalate is not None:
            _tell_of_unknown(route.escalate.to, known, (*place, "escalate", "to"), problems)
            if route.escalate.after >= (route.within or within_ns):
                problems.add(
                    (*place, "escalate", "after"),
                    "is not before the request is over; write a time shorter than `within`",
                )


def _tell_of_unreached(routes: Iterable[AskRouteEntry], path: Path, problems: Problems) -> None:
    """Routes for amounts that an earlier one is for already."""
    most: Decimal | None = Decimal(0)
    for number, route in enumerate(routes):
        if most is None or (route.up_to is not None and route.up_to <= most):
            problems.add(
                (*path, "routes", number),
                "is never asked: an earlier route is for such amounts; write the smallest `up_to` first, and the "
                "route without one last",
            )
        most = None if most is None else route.up_to


def _tell_of_unknown(names: tuple[str, ...], known: list[str], path: Path, problems: Problems) -> None:
    for name in names:
        if name not in known:
            there = f"there are {listed(known)}"
            problems.add(
                path, f"has {shown(name)}, and there is no such group; {instead(name, known, there)}"
            )


def _route(entry: RouteEntry) -> RouteRule:
    return RouteRule(
        policies=entry.policy,
        agents=entry.agent,
        teams=entry.team,
        tools=entry.tool,
        budgets=entry.budget,
        above_nano_usd=_nano_usd(entry.above_usd),
        **_word(entry),
    )


def _word(entry: WordEntry) -> dict[str, Any]:
    """What every rule about whose word is wanted has."""
    return {
        "ask": entry.ask,
        "needs": entry.needs,
        "within_ns": entry.within,
        "escalate_after_ns": entry.escalate.after if entry.escalate is not None else None,
        "escalate_to": entry.escalate.to if entry.escalate is not None else (),
    }


def _nano_usd(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount * 1_000_000_000)
