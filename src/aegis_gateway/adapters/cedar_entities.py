"""A tenant's entities as Cedar sees them: who and what there is, what it is in, and what policies may ask of it.

Rule 1: an evaluation needs the caller, what it calls, what a policy names, and what all of these are in. Only they are
        handed over, however many there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import cedarpy
import msgspec
from cedarpy.pst import EntityType, EntityUid

from aegis_gateway.domain.registry import Connector, Registry


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """What policies may ask of an entity, and what it is in."""

    attributes: dict[str, object]
    parents: tuple[EntityUid, ...] = ()


def uid(kind: str, name: str) -> EntityUid:
    """What an entity is called."""
    return EntityUid(type=EntityType(basename=kind, namespace=()), id=name)


class Entities:
    """The entities of one tenant."""

    def __init__(self, registry: Registry) -> None:
        """Those of a registry; each is made when it is asked for."""
        self._registry = registry

    def line_of(self, *entities: EntityUid) -> tuple[EntityUid, ...]:
        """Entities and all that they are in, themselves first."""
        line = list(dict.fromkeys(entities))
        for each in line:  # which grows while it is read
            entity = self._entity(each)
            line += [parent for parent in entity.parents if parent not in line] if entity else []
        return tuple(line)

    def handle(self, entities: Iterable[EntityUid]) -> cedarpy.Entities:
        """Entities and all that they are in, as Cedar takes them; what there is not is left out."""
        documents = [
            {
                "uid": {"type": each.type.basename, "id": each.id},
                "attrs": entity.attributes,
                "parents": [{"type": parent.type.basename, "id": parent.id} for parent in entity.parents],
            }
            for each in self.line_of(*entities)
            if (entity := self._entity(each)) is not None
        ]
        return cedarpy.Entities.from_json_str(json.dumps(documents))

    def _entity(self, called: EntityUid) -> Entity | None:
        registry, name = self._registry, called.id
        if called.type.namespace:
            return None
        match called.type.basename:
            case "Tenant" if name == registry.tenant:
                return Entity(attributes={"name": registry.name})
            case "Team" if team := registry.teams.get(name):
                return Entity(
                    attributes={"cost_centre": team.cost_centre, "owner": team.owner},
                    parents=(uid("Tenant", registry.tenant),),
                )
            case "Project" if project := registry.projects.get(name):
                return Entity(attributes={}, parents=(uid("Team", project.team),))
            case "Connector" if connector := registry.connectors.get(name):
                return Entity(attributes=_place(connector))
            case "Model" if model := registry.models.get(name):
                connector = registry.connectors[model.connector]
                return Entity(attributes=_place(connector), parents=(uid("Connector", connector.id),))
            case "Agent" if name in registry.agents:
                return self._agent(name)
        return None

    def _agent(self, name: str) -> Entity:
        agent = self._registry.agents[name]
        parents = [uid("Team", agent.team), uid("Tenant", self._registry.tenant)]
        if agent.project:
            parents.append(uid("Project", agent.project))
        attributes: dict[str, object] = {
            "owner": agent.owner,
            "team": agent.team,
            "cost_centre": agent.cost_centre,
            "purpose": agent.purpose,
            "role": agent.role,
            "environment": agent.environment,
            "tags": dict(agent.tags),
            "regions": self._registry.regions,
        }
        return Entity(attributes=attributes, parents=tuple(parents))


def _place(connector: Connector) -> dict[str, object]:
    return {"region": connector.region, "tags": dict(connector.tags), "kind": connector.kind}
