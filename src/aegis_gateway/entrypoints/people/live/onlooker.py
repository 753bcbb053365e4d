"""Somebody who looks at a page: what they look at, and what they have been told of it.

Rule 1: they are told that something changed and never what: their page asks for what they may see.
Rule 2: however much changes before they take the news, it is one piece of news: nothing piles up behind a slow one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from aegis_gateway.domain.people import Person, may

News = Literal["changed", "nothing", "over", "leave"]
"""Something changed; nothing did for a while; nothing may be seen any more; go, and ask somewhere else."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Whose page it is, by the session's hash, and of which tenant; None is all that they may see."""

    session: bytes
    person: Person
    tenant: str | None


class Onlooker:
    """One open page."""

    def __init__(self, view: View, told: str = "") -> None:
        """`told` is the mark of what its page shows already; empty if that isn't known."""
        self.view = view
        self.tenants: tuple[str, ...] = ()
        self.told = told
        self._mark = ""
        self._end: News | None = None
        self._news = asyncio.Event()
        self._seen_as: tuple[object, Collection[str]] | None = None

    def may_see(self, person: Person | None, tenants: Collection[str]) -> None:
        """Take note of who they are now, if anybody, and of the tenants in force."""
        if person is None:
            self.end("over")
            return
        seen_as = (person.grants, tenants)
        if self._seen_as is not None and self._seen_as[0] == seen_as[0] and self._seen_as[1] is tenants:
            return  # as before; looking through all tenants is saved
        self._seen_as = seen_as
        wanted = tenants if self.view.tenant is None else {self.view.tenant}
        self.tenants = tuple(sorted(each for each in wanted if each in tenants and may(person, "read", each)))
        if not self.tenants:
            self.end("over")

    def see(self, ends: Mapping[str, int]) -> None:
        """Take note of how far the records have come."""
        self._mark = mark_of({tenant: ends.get(tenant, 0) for tenant in self.tenants})
        if self._mark != self.told:
            self._news.set()

    def end(self, how: News) -> None:
        """Tell them the last that there is to tell; of two ends the first counts."""
        self._end = self._end or how
        self._news.set()

    async def news(self, within_s: float) -> News:
        """What there is to tell, as soon as there is something; `told` is then the mark of it."""
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return "nothing"
        if self._end is not None:
            return self._end
        self._news.clear()
        self.told = self._mark
        return "changed"


def mark_of(ends: Mapping[str, int]) -> str:
    """A short mark of how far records have come, the same on every gateway of a store."""
    text = "\n".join(f"{tenant} {end}" for tenant, end in sorted(ends.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
