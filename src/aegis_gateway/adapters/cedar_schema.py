"""The Cedar schema of one tenant, made from its registry: what policies can speak of, and of which type it is.

In the JSON form of Cedar's schemas. It says of entities what `cedar.py` hands over of them, and of a call's context
what the doors do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aegis_gateway.domain.registry import ArgumentType, Registry
from aegis_gateway.domain.tools import MODEL_TOOLS, tools_of

Attributes = dict[str, dict[str, Any]]

_STRING: dict[str, Any] = {"type": "String"}
_LONG: dict[str, Any] = {"type": "Long"}
_BOOLEAN: dict[str, Any] = {"type": "Boolean"}
_DECIMAL: dict[str, Any] = {"type": "Extension", "name": "decimal"}

_TYPES: dict[ArgumentType, dict[str, Any]] = {
    "string": _STRING,
    "integer": _LONG,
    "number": _DECIMAL,
    "boolean": _BOOLEAN,
}


def schema_of(registry: Registry, agent_tags: Iterable[str] = ()) -> dict[str, Any]:
    """The schema. `agent_tags` are names of tags that imported agents may have, beside those in the registry."""
    tags = set(agent_tags).union(*(dict(agent.tags) for agent in registry.agents.values()))
    connectors = registry.connectors.values()
    place: Attributes = {
        "region": _STRING,
        "kind": _STRING,
        "tags": _tags(set().union(*(dict(connector.tags) for connector in connectors))),
    }
    agent: Attributes = {
        **dict.fromkeys(("owner", "team", "cost_centre", "purpose", "role", "environment"), _STRING),
        "tags": _tags(tags),
        "regions": {"type": "Set", "element": _STRING},
    }
    actions = {
        name: _action(
            "Model" if name in MODEL_TOOLS else "Connector",
            {each.name: {**_TYPES[each.type], "required": each.required} for each in arguments},
        )
        for name, arguments in tools_of(registry).items()
    }
    return {
        "": {
            "entityTypes": {
                "Tenant": _entity({"name": _STRING}),
                "Team": _entity({"cost_centre": _STRING, "owner": _STRING}, "Tenant"),
                "Project": _entity({}, "Team"),
                "Agent": _entity(agent, "Team", "Project", "Tenant"),
                "Connector": _entity(place),
                "Model": _entity(place, "Connector"),
            },
            "actions": actions,
        }
    }


def _tags(names: Iterable[str]) -> dict[str, Any]:
    return _record({name: {**_STRING, "required": False} for name in sorted(names)})


def _record(attributes: Attributes) -> dict[str, Any]:
    return {"type": "Record", "attributes": attributes}


def _entity(attributes: Attributes, *parents: str) -> dict[str, Any]:
    return {"memberOfTypes": list(parents), "shape": _record(attributes)}


def _action(resource: str, arguments: Attributes) -> dict[str, Any]:
    # A call without a maximum has no `maximum_usd`, and a policy that asks for it then refuses. It must not have to ask
    # whether it is there: a ceiling that is skipped where nothing bounds the cost would be none.
    cost = _record({"expected_usd": _DECIMAL, "maximum_usd": _DECIMAL})
    time = _record(
        {
            **dict.fromkeys(("hour", "weekday", "utc_hour", "utc_weekday"), _LONG),
            "business_hours": _BOOLEAN,
        }
    )
    context = _record(
        {
            "args": _record(arguments),
            "environment": _STRING,
            "cost": cost,
            "time": time,
            "customer": {**_STRING, "required": False},
            "run": _STRING,
            "depth": _LONG,
            "parent": {**_STRING, "required": False},
            "budget": _record({"utilisation": _LONG}),
        }
    )
    return {"appliesTo": {"principalTypes": ["Agent"], "resourceTypes": [resource], "context": context}}
