"""What the words of AuthZEN mean here: subjects are agents, resources are connectors, tools and models.

| resource            | action                                               | is                      |
|---------------------|------------------------------------------------------|-------------------------|
| `connector`, its id | one of its operations (`wire`, or `desk.wire`)       | the tool `desk.wire`    |
| `tool`, its name    | its operation, its name, or `call`, `invoke`, `run`… | that tool               |
| `model`, its id     | `chat`, `embed`                                      | a call of that model    |

A subject is of type `agent`; its id is the agent's, or its external id.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.registry import TOOL_KINDS, Agent, Model, Registry
from aegis_gateway.entrypoints.data_plane.tool_names import tool_named

AGENT, CONNECTOR, TOOL, MODEL = "agent", "connector", "tool", "model"
CALLED = ("call", "invoke", "execute", "run", "use", "tools/call", "tool_call.execute")
"""What a tool's action may be called too: there is only one thing to do with it."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about: an action (a tool's name, `chat`…), of a model or, where there is none, of a tool."""

    action: str
    model: str | None = None


def agent_of(registry: Registry, kind: str, name: str) -> Agent | None:
    """The agent that a subject is; None where it is none."""
    if kind != AGENT:
        return None
    agent = registry.agents.get(name)
    if agent is not None:
        return agent
    return next((each for each in registry.agents.values() if each.external_id == name), None)


def target_of(registry: Registry, kind: str, name: str, action: str) -> Target:
    """What an action on a resource is. What there is not has a name that no tool has."""
    if kind == MODEL:
        return Target(action=action, model=name)
    if kind == CONNECTOR:
        tool = f"{name}.{action}"
        is_full = action.startswith(f"{name}.") and isinstance(tool_named(registry, tool), Reason)
        return Target(action=action if is_full else tool)
    if kind == TOOL:
        found = tool_named(registry, name, short_name=True)
        if isinstance(found, Reason):
            return Target(action=name)
        connector, operation = found
        tool = f"{connector.id}.{operation.id}"
        if action in (operation.id, tool, *CALLED):
            return Target(action=tool)
    return Target(action=f"{kind}:{name}:{action}")


def exists(registry: Registry, target: Target) -> bool:
    """Whether there is such a tool, or model to which that is done."""
    if target.model is None:
        return not isinstance(tool_named(registry, target.action), Reason)
    model = registry.models.get(target.model)
    return model is not None and target.action == action_on(model)


def targets_of(registry: Registry, kind: str, action: str) -> dict[str, Target]:
    """All resources of a type that an action could be done to, by id."""
    if kind == MODEL:
        return {
            model.id: Target(action=action, model=model.id)
            for model in registry.models.values()
            if action == action_on(model)
        }
    if kind not in (CONNECTOR, TOOL):
        return {}
    found: dict[str, Target] = {}
    for connector in registry.connectors.values():
        for operation in connector.operations if connector.kind in TOOL_KINDS else ():
            tool = f"{connector.id}.{operation.id}"
            if action in (operation.id, tool) or (kind == TOOL and action in CALLED):
                found[connector.id if kind == CONNECTOR else tool] = Target(action=tool)
    return found


def actions_of(registry: Registry, kind: str, name: str) -> dict[str, Target]:
    """All that could be done to a resource, by name."""
    if kind == MODEL:
        model = registry.models.get(name)
        return {action_on(model): Target(action=action_on(model), model=name)} if model else {}
    if kind == TOOL:
        found = tool_named(registry, name, short_name=True)
        if isinstance(found, Reason):
            return {}
        return {found[1].id: Target(action=f"{found[0].id}.{found[1].id}")}
    connector = registry.connectors.get(name) if kind == CONNECTOR else None
    if connector is None or connector.kind not in TOOL_KINDS:
        return {}
    return {each.id: Target(action=f"{name}.{each.id}") for each in connector.operations}


def action_on(model: Model) -> Literal["chat", "embed"]:
    """What is done to a model: one without a price for output embeds."""
    embeds = model.price is not None and "output" not in model.price.tiers[0].prices
    return "embed" if embeds else "chat"
