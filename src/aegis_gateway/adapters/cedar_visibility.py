"""What agents may call under some arguments: asked of all tools at once, for lists of tools.

Rule 1: what policies can't tell apart is asked about once: tools of one connector that the same policies name, with the
        same of those arguments that any policy looks at. An agent's answers are kept for as long as the policies would
        give the same: until a time of day that one of them names.
Rule 2: a policy says the same whatever others there are. So all that hold for an agent at a connector are evaluated
        together, without their scopes, which are looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Generic, Literal, TypeAlias, TypeVar, cast

import cedarpy
import msgspec
from cedarpy import pst

from aegis_gateway.adapters.cedar_doubt import Doubt, Missing, doubt_of, parted, uses_of
from aegis_gateway.adapters.cedar_entities import Entities, uid
from aegis_gateway.adapters.cedar_question import asked
from aegis_gateway.adapters.cedar_sight import Sight
from aegis_gateway.adapters.cedar_slices import (
    Mentioned,
    Slices,
    mentioned_tree,
    policy_set,
)
from aegis_gateway.adapters.cedar_tree import Use, nodes
from aegis_gateway.domain.decision import Undecided
from aegis_gateway.domain.judge import Evaluation, Policy, PolicyFault, PolicyRequest, Unknown, may_permit
from aegis_gateway.domain.registry import Argument, Registry
from aegis_gateway.domain.tools import MODEL_TOOLS

AGENTS_REMEMBERED_MAX = 1_024
BATCHES_REMEMBERED_MAX = 4_096

K = TypeVar("K")
Context: TypeAlias = Mapping[str, object]
Said: TypeAlias = "Policy | PolicyFault | None"
"""What came of a policy: it matched, or erred, or (None) it is open."""

_ANY = pst.ScopeAny()
_NOTHING = Evaluation()


class _Group(msgspec.Struct, frozen=True):
    """Tools that no policy tells apart: what they are of, the policies whose scope names them, those of their arguments
    that policies look at, and one of them by name (`is_named`: a condition names it, so it is alone). `place` is the
    number of what they are of.
    """

    resource: pst.EntityUid
    own: tuple[str, ...]
    arguments: Missing
    is_named: bool
    action: str
    place: int


class _Grouped(msgspec.Struct, Generic[K], frozen=True):
    """Tools in groups: the group of each, by number, and the groups of each place."""

    groups: list[_Group]
    numbers: dict[K, int]
    places: list[list[int]]


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy's conditions look at, and the entities that they name.

    `arguments` are those that it looks at, or it `takes_all`. `is_varying`: it can say different things of different
    tools, beside what its scope says.
    """

    uses: tuple[Use, ...]
    named: tuple[pst.EntityUid, ...]
    arguments: frozenset[str]
    takes_all: bool
    is_varying: bool


class _Batch(msgspec.Struct, frozen=True):
    """Policies without their scopes, compiled together for calls of which something is missing."""

    policies: cedarpy.PolicySet
    doubt: Doubt | None
    mentioned: Mentioned


class BulkPolicies:
    """A tenant's policies, to be asked about many tools at once; they know nobody's registry."""

    def __init__(self, slices: Slices, rules: Mapping[str, Policy]) -> None:
        """Find out what they look at."""
        self.slices = slices
        self.rules = rules
        templates = slices.templates
        self.sight = Sight(clause for each in templates.values() for clause in each.clauses)
        self._looks = {name: _look_of(template) for name, template in templates.items()}
        looks = self._looks.values()
        takes_all = any(look.takes_all for look in looks)
        self.arguments = (
            None if takes_all else frozenset(chain.from_iterable(look.arguments for look in looks))
        )
        self.varying = frozenset(name for name, look in self._looks.items() if look.is_varying)
        self.actions_named = frozenset(
            each.id for look in looks for each in look.named if each.type.basename == "Action"
        )
        self._batches: dict[tuple[tuple[str, ...], Missing], _Batch] = {}

    def batch(self, names: tuple[str, ...], missing: Missing) -> _Batch:
        """Some of them without their scopes, for calls of which something is missing."""
        found = self._batches.get((names, missing))
        if found is None:
            if len(self._batches) >= BATCHES_REMEMBERED_MAX:
                self._batches.clear()
            templates = {
                name: replace(
                    self.slices.templates[name],
                    id=name,
                    effect="permit",
                    principal=_ANY,
                    action=_ANY,
                    resource=_ANY,
                )
                for name in names
            }
            looks = {name: self._looks[name] for name in names}
            uses = {name: look.uses for name, look in looks.items()}
            doubt = doubt_of(templates, missing, uses)
            found = self._batches[names, missing] = _Batch(
                policy_set(templates) if doubt is None else doubt.policies,
                doubt,
                mentioned_tree(path for each in uses.values() for path, _ in each),
            )
        return found

    def named_in(self, names: Iterable[str]) -> Iterator[pst.EntityUid]:
        """The entities that some of them name in their conditions."""
        return chain.from_iterable(self._looks[name].named for name in names)


class CedarReach:
    """What one agent may call. Answers are found when first asked for: all of a connector or model at once."""

    def __init__(self, visibility: Visibility, agent: str, context: Context) -> None:
        """Nothing was asked for yet."""
        self._visibility = visibility
        self._agent = agent
        self._context = context
        self._tools: list[bool | None] = []
        self._models: list[bool | None] = []

    def tool(self, name: str) -> bool:
        """Whether it may call a tool."""
        return self._answer(self._visibility.tools, self._tools, name)

    def model(self, action: str, name: str) -> bool:
        """Whether it may do something to a model."""
        return self._answer(self._visibility.models, self._models, (action, name))

    def _answer(self, grouped: _Grouped[K], answers: list[bool | None], name: K) -> bool:
        number = grouped.numbers.get(name)
        if number is None:
            return False
        if not answers:
            answers += [None] * len(grouped.groups)
        answer = answers[number]
        if answer is None:
            numbers = grouped.places[grouped.groups[number].place]
            groups = [grouped.groups[each] for each in numbers]
            found = self._visibility.answers(groups, self._agent, self._context)
            for each, known in zip(numbers, found, strict=True):
                answers[each] = known
            return bool(answers[number])
        return answer


class Visibility:
    """One tenant's policies over all its tools and models."""

    def __init__(self, registry: Registry, entities: Entities, policies: BulkPolicies) -> None:
        """Tools are put in groups when they are first asked about."""
        self._registry = registry
        self._entities = entities
        self._policies = policies
        self._slices = policies.slices
        self._rules = policies.rules
        self._varying = policies.varying
        self._tools: _Grouped[str] | None = None
        self._models: _Grouped[tuple[str, str]] | None = None
        self._reaches: dict[tuple[object, ...], CedarReach] = {}

    def of(self, agent: str, context: Context) -> CedarReach:
        """What an agent may call, by what is known of the context."""
        known, _ = parted(context)
        seen = self._policies.sight.of(known)
        if seen is None:
            return CedarReach(self, agent, context)
        found = self._reaches.get((agent, *seen))
        if found is None:
            if len(self._reaches) >= AGENTS_REMEMBERED_MAX:
                self._reaches.clear()
            found = self._reaches[agent, *seen] = CedarReach(self, agent, context)
        return found

    @property
    def tools(self) -> _Grouped[str]:
        """All operations of connectors."""
        if self._tools is None:
            self._tools = self._grouped(
                (
                    f"{connector.id}.{operation.id}",
                    f"{connector.id}.{operation.id}",
                    place,
                    operation.arguments,
                )
                for connector in self._registry.connectors.values()
                for place in (uid("Connector", connector.id),)
                for operation in connector.operations
            )
        return self._tools

    @property
    def models(self) -> _Grouped[tuple[str, str]]:
        """All that is done to models."""
        if self._models is None:
            self._models = self._grouped(
                ((action, model), action, uid("Model", model), arguments)
                for model in self._registry.models
                for action, arguments in MODEL_TOOLS.items()
            )
        return self._models

    def _grouped(self, tools: Iterable[tuple[K, str, pst.EntityUid, tuple[Argument, ...]]]) -> _Grouped[K]:
        groups: list[_Group] = []
        numbers: dict[K, int] = {}
        known: dict[tuple[object, ...], int] = {}
        places: dict[str, int] = {}
        for key, action, resource, arguments in tools:
            own = self._slices.of_action(action)
            looked_at = self._looked_at(arguments) if arguments else ()
            is_named = action in self._policies.actions_named
            place = places.setdefault(resource.id, len(places))
            what = (place, own, looked_at, action if is_named else None)
            number = known.get(what)
            if number is None:
                number = known[what] = len(groups)
                groups.append(_Group(resource, own, looked_at, is_named, action, place))
            numbers[key] = number
        at: list[list[int]] = [[] for _ in places]
        for number, group in enumerate(groups):
            at[group.place].append(number)
        return _Grouped(groups, numbers, at)

    def _looked_at(self, arguments: tuple[Argument, ...]) -> Missing:
        """Those of a tool's arguments that policies look at. One that isn't declared is never there."""
        wanted = self._policies.arguments
        return tuple(
            (("args", each.name), Unknown.VALUE if each.required else Unknown.PRESENCE)
            for each in arguments
            if wanted is None or each.name in wanted
        )

    def answers(self, groups: Sequence[_Group], agent: str, context: Context) -> Iterator[bool]:
        """Of each group of one place, whether an agent may call what is in it."""
        resource = groups[0].resource
        line = self._entities.line_of(uid("Agent", agent))
        called = self._entities.line_of(resource)
        general = tuple(self._slices.of_any_action(line, called))
        own = {
            name: self._slices.holds(name, line, called)
            for name in dict.fromkeys(name for group in groups for name in group.own)
        }
        holding = (*general, *(name for name, holds in own.items() if holds))
        request = PolicyRequest(
            agent=agent,
            action="",
            resource_type=cast(Literal["Model", "Connector"], resource.type.basename),
            resource=resource.id,
            context=dict(context),
        )
        named = self._policies.named_in(holding)
        entities = self._entities.handle(dict.fromkeys((uid("Agent", agent), resource, *named)))
        plain = self._said([name for name in holding if name not in self._varying], request, (), entities)
        varying = any(name in self._varying for name in holding)
        known: dict[tuple[Missing, str], tuple[Mapping[str, Said], Evaluation]] = {}
        for group in groups:
            key = (group.arguments, group.action if group.is_named else "") if varying else ((), "")
            if key not in known:
                request = msgspec.structs.replace(request, action=group.action)
                names = [name for name in holding if name in self._varying]
                said = {**plain, **self._said(names, request, group.arguments, entities)} if names else plain
                known[key] = said, _evaluation(general, said, self._rules)
            said, common = known[key]
            evaluation = _evaluation([name for name in group.own if own[name]], said, self._rules, common)
            yield may_permit(request, evaluation)

    def _said(
        self,
        names: Sequence[str],
        request: PolicyRequest,
        arguments: Missing,
        entities: cedarpy.Entities,
    ) -> Mapping[str, Said]:
        """What comes of policies whose scope holds; of those that are not told, nothing does."""
        templates = self._slices.templates
        said: dict[str, Said] = {name: self._rules[name] for name in names if not templates[name].clauses}
        conditional = tuple(name for name in names if templates[name].clauses)
        if not conditional:
            return said
        known, missing = parted(request.context)
        known["args"] = {}
        batch = self._policies.batch(conditional, (*missing, *arguments))
        request = msgspec.structs.replace(request, context=known)
        found = asked(request, batch.policies, entities, batch.mentioned, self._rules)
        if batch.doubt is not None:
            found = batch.doubt.told(found, self._rules)
        if any(fault.policy not in templates for fault in found.faults):
            return said | dict.fromkeys(conditional)  # nobody's fault: nothing is known of any of them
        said |= {policy.id: policy for policy in found.matched}
        said |= {fault.policy: fault for fault in found.faults}
        return said | {policy.id: None for policy, _ in found.undecided}


def _look_of(template: pst.Template) -> _Look:
    uses = tuple(dict.fromkeys(uses_of(template)))
    below = tuple(node for clause in template.clauses for node in nodes(clause))
    arguments = frozenset(path[1] for path, _ in uses if len(path) > 1 and path[0] == "args")
    takes_all = any(not asks and path in ((), ("args",)) for path, asks in uses)
    sees_action = any(isinstance(node, pst.Var) and node.name == "action" for node in below)
    return _Look(
        uses=uses,
        named=tuple(node for node in below if isinstance(node, pst.EntityUid)),
        arguments=arguments,
        takes_all=takes_all,
        is_varying=bool(arguments) or takes_all or sees_action,
    )


def _evaluation(
    names: Iterable[str], said: Mapping[str, Said], rules: Mapping[str, Policy], common: Evaluation = _NOTHING
) -> Evaluation:
    """What some policies come to, beside others."""
    matched = list(common.matched)
    faults = list(common.faults)
    undecided = list(common.undecided)
    for name in names:
        if name not in said:
            continue
        came = said[name]
        if came is None:
            undecided.append((rules[name], Undecided(rule=name, missing=())))
        elif isinstance(came, Policy):
            matched.append(came)
        else:
            faults.append(came)
    return Evaluation(matched=tuple(matched), faults=tuple(faults), undecided=tuple(undecided))
