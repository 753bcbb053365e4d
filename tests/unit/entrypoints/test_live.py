"""The watch over open pages: who is told what, when the store is looked at, and when all of it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import pytest

from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.domain.people import ALL_TENANTS, Grant, Person
from aegis_gateway.entrypoints.people.live.onlooker import News, Onlooker, View, mark_of
from aegis_gateway.entrypoints.people.live.stream import LiveStream
from aegis_gateway.entrypoints.people.live.watch import (
    ONLOOKERS_MAX,
    PER_PERSON_MAX,
    Glance,
    TooMany,
    Watch,
)

LONG_S = 20.0
TENANTS = {"acme": 1, "zeta": 1}


class Records:
    """Stands for a store: how far records have come, and who is signed in. Counts how often it is looked at."""

    def __init__(self) -> None:
        self.ends = dict.fromkeys(TENANTS, 1)
        self.people: dict[bytes, Person] = {}
        self.asked: list[tuple[set[str], set[bytes]]] = []
        self.is_down = False
        self.is_broken = False

    async def looked_at(self, times: int) -> None:
        """Wait until it was looked at so often."""
        while len(self.asked) < times:  # noqa: ASYNC110  # what is waited for happens in a thread
            await asyncio.sleep(0.001)

    def look(self, tenants: Collection[str], sessions: Collection[bytes]) -> Glance:
        """One look."""
        self.asked.append((set(tenants), set(sessions)))
        if self.is_down:
            raise LedgerUnavailable("down")
        if self.is_broken:
            raise ZeroDivisionError
        return Glance(ends={each: self.ends[each] for each in tenants}, people=dict(self.people))


def person(name: str = "vi", *tenants: str) -> Person:
    """Somebody who may read tenants."""
    grants = tuple(Grant(role="viewer", tenant=each) for each in tenants or ("acme",))
    return Person(id=name, name=name, added_ns=1, grants=grants)


def looks(records: Records, who: Person, tenant: str | None = "acme", told: str = "") -> Onlooker:
    """Somebody signed in who looks at a page."""
    session = who.id.encode()
    records.people[session] = who
    return Onlooker(View(session=session, person=who, tenant=tenant), told)


def run(play: Callable[[Records, Watch], Coroutine[Any, Any, None]]) -> Records:
    """Play something on a watch that looks without a pause."""
    records = Records()

    async def played() -> None:
        watch = Watch(records, lambda: TENANTS, look_s=0.0)
        await asyncio.wait_for(play(records, watch), LONG_S)

    asyncio.run(played())
    return records


def test_changes_are_told_once_and_together() -> None:
    """First how it is; then nothing until something changes, and one piece of news of however much."""

    async def play(records: Records, watch: Watch) -> None:
        vi = looks(records, person())
        watch.join(vi)
        assert ("changed", mark_of({"acme": 1})) == (await vi.news(LONG_S), vi.told)
        assert "nothing" == await vi.news(0.05)
        records.ends["zeta"] = 9  # not what vi looks at
        assert "nothing" == await vi.news(0.05)
        for end in range(2, 50):
            records.ends["acme"] = end
        assert ("changed", mark_of({"acme": 49})) == (await vi.news(LONG_S), vi.told)
        assert "nothing" == await vi.news(0.05)

    run(play)


def test_who_comes_back_hears_what_they_missed() -> None:
    """And nothing where they missed nothing, on whichever gateway they were before."""

    async def play(records: Records, watch: Watch) -> None:
        back = looks(records, person(), told=mark_of({"acme": 1}))
        watch.join(back)
        assert "nothing" == await back.news(0.05)
        late = looks(records, person("al"), told=mark_of({"acme": 0}))
        watch.join(late)
        assert "changed" == await late.news(LONG_S)

    run(play)


@pytest.mark.parametrize("told", ["session", "role"])
def test_who_may_look_no_more_hears_that(told: str) -> None:
    """A session that is over, or a role that is taken away, ends it; what changes after that isn't told."""

    async def play(records: Records, watch: Watch) -> None:
        vi = looks(records, person("vi", "acme", "zeta"), tenant=None)
        watch.join(vi)
        assert "changed" == await vi.news(LONG_S)
        records.people[b"vi"] = person("vi", "zeta")
        assert "changed" == await vi.news(LONG_S)
        assert ("zeta",) == vi.tenants
        if told == "session":
            del records.people[b"vi"]
        else:
            records.people[b"vi"] = person("vi", "elsewhere")
        assert "over" == await vi.news(LONG_S)
        records.ends["zeta"] = 99
        assert "over" == await vi.news(LONG_S)

    run(play)


def test_nobody_looks_nothing_is_read() -> None:
    """The store is looked at for all at once, and no more once the last has left; people at every fourth look."""
    seen: list[int] = []

    async def play(records: Records, watch: Watch) -> None:
        await asyncio.sleep(0.02)
        seen.append(len(records.asked))
        vi, al = looks(records, person()), looks(records, person("al", ALL_TENANTS), tenant=None)
        watch.join(vi)
        watch.join(al)
        await asyncio.gather(vi.news(LONG_S), al.news(LONG_S))
        await records.looked_at(9)
        watch.leave(vi)
        watch.leave(al)
        await asyncio.sleep(0.05)
        seen.append(len(records.asked))
        await asyncio.sleep(0.05)
        seen.append(len(records.asked))
        again = looks(records, person())
        watch.join(again)
        assert "changed" == await again.news(LONG_S)

    records = run(play)
    assert 0 == seen[0]
    assert seen[1] == seen[2]
    assert ({"acme", "zeta"}, {b"vi", b"al"}) == records.asked[0]
    assert [bool(sessions) for _, sessions in records.asked[:9]] == [place % 4 == 0 for place in range(9)]


def test_a_store_that_is_down_ends_nothing() -> None:
    """Pages stay; they hear of what changed once it can be read again."""

    async def play(records: Records, watch: Watch) -> None:
        records.is_down = True
        vi = looks(records, person())
        watch.join(vi)
        assert "nothing" == await vi.news(0.05)
        records.is_down = False
        assert "changed" == await vi.news(LONG_S)

    run(play)


def test_how_many_may_look() -> None:
    """So many of one person, so many in all; a place that is left is free."""

    async def play(records: Records, watch: Watch) -> None:
        mine = [looks(records, person()) for _ in range(PER_PERSON_MAX)]
        for each in mine:
            watch.join(each)
        with pytest.raises(TooMany):
            watch.join(looks(records, person()))
        for number in range(ONLOOKERS_MAX - PER_PERSON_MAX):
            watch.join(looks(records, person(f"p{number}")))
        with pytest.raises(TooMany):
            watch.join(looks(records, person("one-more")))
        watch.leave(mine[0])
        watch.join(looks(records, person()))
        watch.close()

    run(play)


def test_a_worker_that_ends_sends_them_elsewhere() -> None:
    """At once, and takes nobody any more."""

    async def play(records: Records, watch: Watch) -> None:
        vi = looks(records, person())
        watch.join(vi)
        assert "changed" == await vi.news(LONG_S)
        watch.close()
        told: News = await vi.news(LONG_S)
        assert "leave" == told
        with pytest.raises(TooMany):
            watch.join(looks(records, person("al")))

    run(play)


def test_a_stream_from_beginning_to_end() -> None:
    """Its events as a browser reads them; when the page is left it ends, and leaves its place."""

    async def play(records: Records, watch: Watch) -> None:
        vi, left, sent = person(), asyncio.Event(), asyncio.Queue[dict[str, Any]]()
        records.people[b"vi"] = vi
        stream = LiveStream(watch, View(session=b"vi", person=vi, tenant="acme"), "x" * 999)

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await sent.put(message)

        serving = asyncio.create_task(stream({"type": "http"}, receive, send))
        start = await sent.get()
        assert (200, b"text/event-stream; charset=utf-8") == (
            start["status"],
            dict(start["headers"])[b"content-type"],
        )
        assert b"retry: 1000\n\n" == (await sent.get())["body"]
        mark = mark_of({"acme": 1})
        assert f"event: changed\nid: {mark}\ndata: {mark}\n\n".encode() == (await sent.get())["body"]
        left.set()
        await serving
        for number in range(PER_PERSON_MAX):
            watch.join(looks(records, vi, told=f"{number}"))
        watch.close()
        refused = LiveStream(watch, View(session=b"vi", person=vi, tenant="acme"), "")
        await refused({"type": "http"}, receive, send)
        assert 503 == (await sent.get())["status"]

    run(play)


def test_a_look_that_fails_unforeseen_ends_streams() -> None:
    """Nobody looks at a page that stands still: they are sent away, and who comes anew is told again."""

    async def play(records: Records, watch: Watch) -> None:
        vi = looks(records, person())
        records.is_broken = True
        watch.join(vi)
        assert "leave" == await vi.news(LONG_S)
        watch.leave(vi)
        records.is_broken = False
        again = looks(records, person())
        watch.join(again)
        assert "changed" == await again.news(LONG_S)

    run(play)
