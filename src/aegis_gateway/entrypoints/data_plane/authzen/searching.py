"""Searches: who may do something, to what, and what. They are answered by policies alone.

Rule 1: what is found may be done under some arguments. Where all that a tool needs is given, it may be done with
        those. Budgets and rates are not looked at, nothing is recorded or held: each call is decided when it is made.
Rule 2: results are in order of their ids, so a page begins behind the last one of the page before it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping

import msgspec

from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.directory import KnownKey
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.registry import EVERY_AGENT, Agent, Registry
from aegis_gateway.entrypoints.data_plane.authzen.answers import Answer
from aegis_gateway.entrypoints.data_plane.authzen.evaluating import described_as, may_reach, subject_of
from aegis_gateway.entrypoints.data_plane.authzen.mapping import (
    AGENT,
    Target,
    actions_of,
    exists,
    target_of,
    targets_of,
)
from aegis_gateway.entrypoints.data_plane.authzen.requests import (
    PAGE_MAX,
    ActionSearch,
    Context,
    Page,
    Properties,
    ResourceSearch,
    SubjectSearch,
    arguments_of,
)
from aegis_gateway.entrypoints.data_plane.tool_names import tool_named

ARGUMENTS_BYTES_MAX = 65_536
"""How long a search's arguments may be: each candidate is judged with them."""
_A_TURN = 4
"""How many candidates are looked at before others have their turn."""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """By whom is asked, with which arguments, in which context."""

    key: str | None
    known: KnownKey
    arguments: bytes
    given: frozenset[str]
    context: Context


Candidate = tuple[str, Agent, Target]
"""What would be found, and who would do what."""


class Searching:
    """Answers searches."""

    def __init__(self, calls: Calls) -> None:
        """Ask what is in force."""
        self._calls = calls

    async def subjects(self, key: str | None, asked: SubjectSearch) -> Answer:
        """Who may do an action to a resource, among those that the asker may ask for."""
        known = await self._calls.callers.caller(key)
        resource = asked.resource
        target = target_of(known.view.registry, resource.type, resource.id, asked.action.name)
        is_there = asked.subject.type == AGENT and exists(known.view.registry, target)
        agents = _askable(known) if is_there else {}
        candidates = [(name, agent, target) for name, agent in sorted(agents.items())]
        about = _about(key, known, asked.context, asked.action.properties, resource.properties)
        return await self._found(about, candidates, asked.page, lambda name: {"type": AGENT, "id": name})

    async def resources(self, key: str | None, asked: ResourceSearch) -> Answer:
        """To which resources of a type a subject may do an action."""
        known = await self._calls.callers.caller(key)
        agent = subject_of(known, asked.subject.type, asked.subject.id)
        kind = asked.resource.type
        targets = targets_of(known.view.registry, kind, asked.action.name)
        about = _about(key, known, asked.context, asked.action.properties, asked.resource.properties)
        return await self._found(
            about, _done_by(agent, targets), asked.page, lambda name: {"type": kind, "id": name}
        )

    async def actions(self, key: str | None, asked: ActionSearch) -> Answer:
        """What a subject may do to a resource."""
        known = await self._calls.callers.caller(key)
        agent = subject_of(known, asked.subject.type, asked.subject.id)
        resource = asked.resource
        targets = actions_of(known.view.registry, resource.type, resource.id)
        about = _about(key, known, asked.context, {}, resource.properties)
        return await self._found(about, _done_by(agent, targets), asked.page, lambda name: {"name": name})

    async def _found(
        self,
        asked: _Asked,
        candidates: Iterable[Candidate],
        page: Page | None,
        written: Callable[[str], Answer],
    ) -> Answer:
        """A page of those candidates that may be."""
        behind = _behind(page)
        limit = min((page or Page()).limit, PAGE_MAX)
        found: list[str] = []
        more = False
        for number, (name, agent, target) in enumerate(candidates):
            if behind is not None and name <= behind:
                continue
            if number % _A_TURN == 0:
                await asyncio.sleep(0)
            if not await self._may(asked, agent, target):
                continue
            if len(found) == limit:
                more = True
                break
            found.append(name)
        answer: Answer = {"results": [written(name) for name in found]}
        if more or page is not None:
            token = base64.urlsafe_b64encode(found[-1].encode()).decode() if more else ""
            answer["page"] = {"next_token": token, "count": len(found)}
        return answer

    async def _may(self, asked: _Asked, agent: Agent, target: Target) -> bool:
        if not may_reach(self._calls, asked.known, agent, target):
            return False
        if target.model is not None or not _is_whole(asked.known.view.registry, target, asked.given):
            return True
        ours = asked.context.aegis
        context = CallContext(run=ours.run, parent=ours.parent, customer=ours.customer, subject=agent.id)
        try:
            considered = await self._calls.consider(asked.key, described_as(target, asked.arguments), context)
        except CallError:
            return False  # the tool can't be called with these arguments
        return considered.judgement.verdict.permits


def _about(
    key: str | None, known: KnownKey, context: Context | None, action: Properties, resource: Properties
) -> _Asked:
    """What is asked about.

    Raises:
        CallError: its arguments are none, or too long.
    """
    arguments = arguments_of(context, action, resource)
    if len(arguments) > ARGUMENTS_BYTES_MAX:
        raise CallError(
            f"a search's arguments are longer than {ARGUMENTS_BYTES_MAX} bytes; leave out what no policy looks at",
            field="context.arguments",
            status=413,
        )
    return _Asked(
        key=key,
        known=known,
        arguments=arguments,
        given=frozenset(json.loads(arguments)),
        context=context or Context(),
    )


def _askable(known: KnownKey) -> Mapping[str, Agent]:
    """The agents that an asker may ask for, itself among them."""
    asker, agents = known.agent, known.view.registry.agents
    if asker is None:
        return {}
    if asker.asks_for == EVERY_AGENT:
        return agents
    return {asker.id: asker} | {name: agents[name] for name in asker.asks_for if name in agents}


def _done_by(agent: Agent | None, targets: Mapping[str, Target]) -> list[Candidate]:
    return [(name, agent, target) for name, target in sorted(targets.items())] if agent is not None else []


def _is_whole(registry: Registry, target: Target, given: frozenset[str]) -> bool:
    """Whether arguments were given, and all that a tool needs are among them."""
    found = tool_named(registry, target.action) if given else None
    if not isinstance(found, tuple):
        return False
    needed = {each.source[1] for each in found[1].arguments if each.required and len(each.source) > 1}
    return needed <= given


def _behind(page: Page | None) -> str | None:
    """The id that a page begins behind; None for the first one.

    Raises:
        CallError: its token is none.
    """
    if page is None or not page.token:
        return None
    try:
        return base64.b64decode(page.token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as fault:
        raise CallError(
            "`page.token` is none; send the `next_token` of the page before, or none at all",
            field="page.token",
        ) from fault
