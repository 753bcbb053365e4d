"""The watch: tells all open pages of a process when something has changed, by one look at the store for all of them.

Rule 1: the store is looked at while somebody looks at a page, a few times a second; else not at all. Nothing is asked
        of the ledger, and calls don't know of it.
Rule 2: whose session is over, or who lost their role, is told so within a second (`PEOPLE_EVERY`), and nothing after.
Rule 3: how many look at once is bounded, for each person and for all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import msgspec

from aegis_gateway.domain.errors import AegisError
from aegis_gateway.domain.people import Person
from aegis_gateway.entrypoints.people.live.onlooker import Onlooker

LOOK_S = 0.2
PEOPLE_EVERY = 4
"""Of so many looks, one is at the people too: whether they may still see what they look at."""
ONLOOKERS_MAX = 128
PER_PERSON_MAX = 8

_log = logging.getLogger("aegis.people")


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the store has found: how far records have come, and who is still signed in, by session."""

    ends: Mapping[str, int]
    people: Mapping[bytes, Person]


class Looker(Protocol):
    """Looks at the store. May block."""

    def look(self, tenants: Collection[str], sessions: Collection[bytes]) -> Glance:
        """How far tenants' records have come, and whose sessions these are, without those that are over."""


class TooMany(Exception):
    """As many look as may."""


class Watch:
    """Those who look at pages of this process."""

    def __init__(
        self, looker: Looker, tenants: Callable[[], Collection[str]], *, look_s: float = LOOK_S
    ) -> None:
        """Nobody looks yet. `tenants` are those in force; they are replaced as a whole when they change."""
        self._looker = looker
        self._tenants = tenants
        self._look_s = look_s
        self._onlookers: set[Onlooker] = set()
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False

    def join(self, onlooker: Onlooker) -> None:
        """Tell somebody from now on; first how it is, unless they know.

        Raises:
            TooMany: they can't be told.
        """
        of_person = Counter(each.view.person.id for each in self._onlookers)
        is_full = (
            len(self._onlookers) >= ONLOOKERS_MAX or of_person[onlooker.view.person.id] >= PER_PERSON_MAX
        )
        if self._is_closed or is_full:
            raise TooMany
        onlooker.may_see(onlooker.view.person, self._tenants())
        self._onlookers.add(onlooker)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    def leave(self, onlooker: Onlooker) -> None:
        """Tell somebody no more."""
        self._onlookers.discard(onlooker)

    def close(self) -> None:
        """Have all of them go elsewhere, and nobody come: the process ends."""
        self._is_closed = True
        for each in self._onlookers:
            each.end("leave")

    async def _look(self) -> None:
        turn = 0
        try:
            while self._onlookers:
                looks_at_people = turn % PEOPLE_EVERY == 0
                turn += 1
                there = tuple(self._onlookers)
                tenants = {tenant for each in there for tenant in each.tenants}
                sessions = {each.view.session for each in there} if looks_at_people else set()
                try:
                    glance = await asyncio.to_thread(self._looker.look, tenants, sessions)
                except AegisError as fault:
                    _log.warning("pages that are open can't be told what is new: %s", fault)
                else:
                    for each in there:
                        if looks_at_people:
                            each.may_see(glance.people.get(each.view.session), self._tenants())
                        each.see(glance.ends)
                await asyncio.sleep(self._look_s)
        except Exception:
            # The last resort: the trace for the operator, and pages ask again instead of looking at what stands still.
            _log.exception("pages that are open can't be told what is new")
        finally:
            self._looking = None
            for each in self._onlookers:
                each.end("leave")
