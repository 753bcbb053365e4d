"""References from one thing in the file to another, and what falls back on another's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from pydantic import ValidationInfo

from aegis_gateway.configuration.values import choice, text
from aegis_gateway.configuration.words import instead, lacking, listed, shown, unfit
from aegis_gateway.domain.registry import DIMENSIONS, EVERY_AGENT, TAG, TOOL_KINDS, Dimension


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant's file defines, faulty or not, so that one mistake isn't reported as two.

    `names` holds the ids of each kind (`team`, `connector`, `tool`…).
    """

    tenant: str
    names: dict[str, frozenset[str]]
    connector_kinds: dict[str, object]
    team_budgets: dict[str, object]
    team_cost_centres: dict[str, object]


def reference(kind: str, called: str | None = None) -> Callable[[object, ValidationInfo], str]:
    """The id of something that this tenant's file defines; `called` is what people call it, if otherwise."""
    noun = called or kind

    def check(value: object, info: ValidationInfo) -> str:
        known = _known(info)
        names = known.names[kind]
        if not isinstance(value, str):
            unfit(f"is {shown(value)}; write the id of one {noun}")
        if value not in names:
            there = f"{known.tenant} has {listed(sorted(names))}" if names else f"{known.tenant} has none yet"
            unfit(f"is {shown(value)}, and there is no such {noun}; {instead(value, names, there)}")
        return value

    return check


def dimensions(value: object, info: ValidationInfo) -> tuple[Dimension, ...]:
    """Some of the dimensions that calls are told apart by, each at most once; tags by `tag:NAME`."""
    if not isinstance(value, list):
        unfit(f"is {shown(value)}; write a list, as in [agent]")
    for item in value:
        if isinstance(item, str) and item.startswith(TAG) and len(item) > len(TAG):
            continue
        choice(*DIMENSIONS, f"{TAG}NAME")(item)
        if item == f"{TAG}NAME":
            unfit(f"has {shown(item)}; write the name of a tag that agents have, as in tag:product")
    for item in value:
        if value.count(item) > 1:
            unfit(f"has `{item}` twice; write it once")
    if "customer" in value and not _known(info).names["customer"]:
        unfit("is by `customer`, and there are none; register them under `customers`")
    return tuple(value)


def own_tenant(value: object, info: ValidationInfo) -> str:
    """The id of the tenant itself."""
    tenant = _known(info).tenant
    if value != tenant:
        unfit(
            f"is {shown(value)}, and budgets and rates are the tenant's own; write `{tenant}` or leave it out"
        )
    return tenant


def model_connector(value: object, info: ValidationInfo) -> str:
    """The id of a connector that speaks a model API."""
    name = reference("connector")(value, info)
    kind = _known(info).connector_kinds.get(name)
    if kind in TOOL_KINDS:
        unfit(
            f"is `{name}`, a connector of kind `{kind}`; models need one that speaks a model API: "
            "`openai`, `azure`, `anthropic` or `gemini`"
        )
    return name


def home_budget(value: object, info: ValidationInfo) -> str:
    """The budget that an agent lives on: its own, or its team's default."""
    if value is not None:
        return reference("budget")(value, info)
    known = _known(info)
    team = info.data.get("team")
    if not isinstance(team, str):
        return ""  # a mistake in the team is reported as such
    budget = known.team_budgets.get(team)
    if budget is None:
        lacking(
            f"has no `budget`, and team `{team}` has no `default_budget`; "
            "name the budget that the agent lives on, as in budget: loan-day"
        )
    return str(budget)


def own_cost_centre(value: object, info: ValidationInfo) -> str:
    """The cost centre that pays for an agent: its own, or its team's."""
    if value is not None:
        return text(value)
    known = _known(info)
    team = info.data.get("team")
    if not isinstance(team, str):
        return ""  # a mistake in the team is reported as such
    cost_centre = known.team_cost_centres.get(team)
    if cost_centre is None:
        lacking(
            f"has no `cost_centre`, and team `{team}` has none to inherit; "
            "write who pays, as in cost_centre: CC-1001"
        )
    return str(cost_centre)


def asked_for(value: object, info: ValidationInfo) -> tuple[str, ...] | Literal["all"]:
    """The agents for whom one may ask: `all`, or some by their ids, each once."""
    if value == EVERY_AGENT:
        return EVERY_AGENT
    if not isinstance(value, list) or not value:
        unfit(f"is {shown(value)}; write `all`, or the ids of agents, as in [loan-bot]")
    check = reference("agent")
    return tuple(dict.fromkeys(check(each, info) for each in value))


def counted_quantity(value: object, info: ValidationInfo) -> str:
    """The id of a quantity that an operation may carry."""
    if value in ("usd", "calls"):
        unfit(f"is `{value}`, which Aegis counts itself; name another quantity, or state a `price`")
    return reference("quantity")(value, info)


def _known(info: ValidationInfo) -> Known:
    assert isinstance(info.context, Known)
    return info.context
