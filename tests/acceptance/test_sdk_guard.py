"""Guarded tools: decided before, run as decided, settled after, however they end; with a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pydantic
import pytest

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.operators import Caller
from aegis_sdk import (
    Aegis,
    AlreadyDone,
    ApprovalRequired,
    AsyncAegis,
    BudgetExhausted,
    Denied,
    InvalidRequest,
    NotRun,
    Refused,
    Unauthorized,
    Unavailable,
    current_headers,
    guard,
    report,
    run,
)
from tests.gateways import PEPPER, TENANT, Gateway, assert_books_balance, until
from tests.sdks import tools

pytestmark = pytest.mark.xdist_group("sdk_guard")


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    """A gateway that nobody kills."""
    with Gateway(tools()) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """The gateway that the environment names; afterwards nothing is open in it."""
    in_environment(shared, monkeypatch)
    yield shared
    until(lambda: not ({"reserved", "dispatched", "in_doubt"} & set(shared.states())))
    assert_books_balance(shared)


def in_environment(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, agent: str = "bot") -> None:
    """Have guards without a client find a gateway."""
    monkeypatch.setenv("AEGIS_URL", gateway.url)
    monkeypatch.setenv("AEGIS_API_KEY", gateway.key(agent))


def settled(gateway: Gateway) -> tuple[str, str, int]:
    """What the last call was of, and what became of it."""
    call = gateway.last_call()
    return call["tool"], call["state"], call["cost_nano_usd"]


class Page(pydantic.BaseModel):
    """A model of a result."""

    pages: int
    rows: int = 0


@dataclasses.dataclass
class Found:
    """A dataclass of one."""

    pages: int
    rows: int
    text: str = "no number"


class Pair(NamedTuple):
    """A named tuple of one."""

    pages: int
    rows: int


@pytest.mark.parametrize(
    "result", [{"pages": 3, "rows": 2}, Page(pages=3, rows=2), Found(3, 2), Pair(3, 2)], ids=type
)
def test_settled_by_what_it_returned(gateway: Gateway, result: Any) -> None:
    """Mappings, models, dataclasses and named tuples tell their numbers by themselves."""

    @guard("desk.crawl")
    def crawl(url: str, pages: int = 9) -> Any:
        """Crawl a site."""
        return result

    assert result is crawl("https://example.org")
    assert ("desk.crawl", "settled", 30_000_000) == settled(gateway)
    assert ("crawl", "Crawl a site.") == (crawl.__name__, crawl.__doc__)

    @guard("desk.crawl")
    async def crawl_async(url: str) -> Any:
        await asyncio.sleep(0)
        return result

    assert result is asyncio.run(crawl_async("https://example.org"))
    assert ("desk.crawl", "settled", 30_000_000) == settled(gateway)


def test_settled_by_a_function_of_the_result(gateway: Gateway) -> None:
    """Whatever it returned; without numbers it is counted at its maximum."""

    @guard("desk.crawl", result=lambda pages: {"pages": len(pages), "rows": 0})
    def crawl() -> list[str]:
        return ["a", "b"]

    assert ["a", "b"] == crawl()
    assert ("desk.crawl", "settled", 20_000_000) == settled(gateway)

    @guard("desk.crawl")
    def quiet() -> str:
        return "a, b"

    quiet()
    assert ("desk.crawl", "settled", 500_000_000) == settled(gateway)


@pytest.mark.parametrize(
    ("cost", "result", "nano_usd"),
    [
        (Decimal("0.25"), {}, 250_000_000),
        (0.1, {}, 100_000_000),
        (lambda found: found["price"] / 100, {"price": 30}, 300_000_000),
        (lambda found: None, {"paid": 0.5}, 500_000_000),
    ],
)
def test_a_cost_that_the_tool_states(
    gateway: Gateway, cost: Any, result: dict[str, Any], nano_usd: int
) -> None:
    """It is what a call cost where the tool's price takes the agent's word for it."""

    @guard("desk.buy", cost=cost)
    def buy(what: str) -> dict[str, Any]:
        return result

    buy("a book")
    assert ("desk.buy", "settled", nano_usd) == settled(gateway)


def test_a_cost_where_it_does_not_count(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """The price decides, the log says so, and what the tool returned is not lost."""

    @guard("desk.rank", cost="0.01")
    def rank() -> str:
        return "ranked"

    assert "ranked" == rank()
    assert ("desk.rank", "settled", 100_000_000) == settled(gateway)
    assert "does not take the agent's word" in caplog.text


def test_faulty_functions_of_the_result_lose_nothing(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what the tool returned nor its settlement."""

    def broken(_: object) -> dict[str, Any]:
        raise KeyError("no such field")

    @guard("desk.crawl", result=broken)
    def crawl() -> str:
        report(pages=1, rows=1)
        return "crawled"

    assert "crawled" == crawl()
    assert ("desk.crawl", "settled", 10_000_000) == settled(gateway)

    class Odd:
        def __fspath__(self) -> str:
            raise RuntimeError("there is no path")

        __str__ = __fspath__

    given: list[Any] = [object(), Odd()]

    @guard("desk.crawl", result=lambda _: {"pages": given[-1]}, cost=lambda _: given[-1])
    def strange() -> str:
        return "crawled"

    while given:
        assert "crawled" == strange()
        assert ("desk.crawl", "settled", 500_000_000) == settled(gateway)
        given.pop()
    assert "no such field" in caplog.text


def test_what_raises_is_settled_at_what_is_known(gateway: Gateway) -> None:
    """What it reported, or else the maximum; its error is its caller's."""

    @guard("desk.crawl")
    def crawl(reported: int | None) -> None:
        if reported is not None:
            report(pages=1, rows=1)
            report(pages=reported)
        raise ZeroDivisionError("the site")

    @guard("desk.crawl")
    async def crawl_async(reported: int | None) -> None:
        await asyncio.to_thread(crawl.__wrapped__, reported)  # type: ignore[attr-defined] # functools sets it

    for reported, nano_usd in ((7, 70_000_000), (None, 500_000_000)):
        with pytest.raises(ZeroDivisionError, match="the site"):
            crawl(reported)
        assert ("desk.crawl", "settled", nano_usd) == settled(gateway)
        with pytest.raises(ZeroDivisionError, match="the site"):
            asyncio.run(crawl_async(reported))
        assert ("desk.crawl", "settled", nano_usd) == settled(gateway)


def test_what_says_that_it_was_not_run_is_released(gateway: Gateway) -> None:
    """And costs nothing."""

    @guard("desk.crawl")
    def crawl() -> None:
        raise NotRun("nothing to do")

    with pytest.raises(NotRun, match="nothing to do"):
        crawl()
    assert ("desk.crawl", "settled", 0) == settled(gateway)


def test_what_passes_on_that_another_was_not_run_was_run(gateway: Gateway) -> None:
    """Only the call that says so costs nothing; the one that it was called by is settled at what it reported."""

    @guard("desk.rank")
    def rank() -> None:
        raise NotRun("nothing to rank")

    @guard("desk.crawl")
    def crawl() -> None:
        report(pages=4, rows=0)
        rank()

    before = gateway.count()
    with pytest.raises(NotRun):
        crawl()
    found = {row["tool"]: row["cost_nano_usd"] for row in gateway.calls()[before:]}
    assert {"desk.rank": 0, "desk.crawl": 40_000_000} == found


def test_arguments_of_one_name_are_not_run(gateway: Gateway) -> None:
    """One of them would be decided on, and the function would get both."""
    ran: list[str] = []

    @guard("desk.crawl")
    def crawl(url: str, /, **more: str) -> None:
        ran.append(url)

    before = gateway.count()
    with pytest.raises(InvalidRequest, match="two arguments are called `url`"):
        crawl("https://a.example.org", url="https://b.example.org")
    assert ([], before) == (ran, gateway.count())


class Odd(Exception):
    """A fault without words."""

    def __str__(self) -> str:
        raise RuntimeError


def test_results_survive_whatever_settling_raises(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that has run gives what it gives, though telling of it fails in ways that nobody foresaw."""
    for client in (Aegis, AsyncAegis):
        exchange = client._exchange

        def broken(self: Any, request: Any, exchange: Any = exchange) -> Any:
            if request.path.endswith("/settlement"):
                raise Odd
            return exchange(self, request)

        monkeypatch.setattr(client, "_exchange", broken)

    @guard("desk.rank")
    def rank() -> str:
        return "first"

    @guard("desk.rank")
    async def rank_async() -> str:
        return "first"

    assert ("first", "first") == (rank(), asyncio.run(rank_async()))


@pytest.mark.parametrize(
    ("tool", "agent", "kind"),
    [
        ("desk.nothing", "bot", Denied),
        ("desk.reviewed", "bot", ApprovalRequired),
        ("desk.rank", "poor", BudgetExhausted),
    ],
)
def test_what_is_refused_is_not_run(
    shared: Gateway, monkeypatch: pytest.MonkeyPatch, tool: str, agent: str, kind: type[Refused]
) -> None:
    """Whatever kind of function it is: nothing of it runs, and its caller is told in which way."""
    in_environment(shared, monkeypatch, agent)
    ran: list[str] = []

    @guard(tool)
    def plain() -> None:
        ran.append("plain")

    @guard(tool)
    async def coroutine() -> None:
        ran.append("coroutine")

    @guard(tool)
    def generator() -> Iterator[int]:
        ran.append("generator")
        yield 1

    @guard(tool)
    async def async_generator() -> AsyncIterator[int]:
        ran.append("async generator")
        yield 1

    async def first(items: AsyncIterator[int]) -> int:
        return await anext(items)

    for call in (
        plain,
        lambda: asyncio.run(coroutine()),
        lambda: next(generator()),
        lambda: asyncio.run(first(async_generator())),
    ):
        with pytest.raises(kind):
            call()
    assert [] == ran


def test_arguments_are_the_tools(gateway: Gateway) -> None:
    """All parameters, defaults included, but `self`; or those that are chosen, under the names that are given."""
    asked: list[Any] = []

    def dollars(_: object, cents: int) -> dict[str, str]:
        return {"amount": str(Decimal(cents) / 100)}

    class Desk:
        @guard("desk.wire")
        def all_of_them(self, amount: Decimal = Decimal(5), **more: str) -> None:
            asked.append((amount, more))

        @guard("desk.wire", arguments={"amount": "dollars"})
        def renamed(self, dollars: float, secret: object) -> None:
            asked.append(dollars)

        @guard("desk.wire", arguments=["amount"])
        def chosen(self, amount: str, secret: object) -> None:
            asked.append(amount)

        @guard("desk.wire", arguments=dollars)
        def made(self, cents: int) -> None:
            asked.append(cents)

    desk = Desk()
    desk.all_of_them(Decimal("99.5"), reference="x")
    desk.all_of_them()
    desk.renamed(4.25, object())
    desk.chosen("7", object())
    desk.made(250)
    assert [(Decimal("99.5"), {"reference": "x"}), (Decimal(5), {}), 4.25, "7", 250] == asked
    with pytest.raises(Denied):
        desk.made(100_01)
    with pytest.raises(InvalidRequest, match=r"arguments\.amount"):
        desk.chosen("much", None)
    with pytest.raises(TypeError):
        desk.renamed()  # type: ignore[call-arg] # on purpose
    with pytest.raises(InvalidRequest, match="no parameter `amuont`"):
        guard("desk.wire", arguments=["amuont"])(Desk.made)


def test_it_runs_with_what_policies_leave(gateway: Gateway) -> None:
    """Redacted values take the place of what was given, everything else stays the object that it was."""

    class Note(pydantic.BaseModel):
        body: str

    seen: list[Any] = []
    other = [Decimal("1.5")]

    @guard("desk.note")
    def note(
        text: str, other: object, *, tags: tuple[str, ...] = (), inner: Note | None = None, **more: str
    ) -> None:
        seen.append((text, other, tags, inner, more))

    note(
        "of 536-90-4399",
        other,
        tags=("a", "536-90-4399"),
        inner=Note(body="536-90-4399"),
        extra="536-90-4399",
    )
    text, same, tags, inner, more = seen[0]
    assert text.startswith("of [SSN:")
    assert same is other
    assert ("a", True) == (tags[0], tags[1].startswith("[SSN:"))
    assert inner.body.startswith("[SSN:")
    assert more["extra"].startswith("[SSN:")
    assert "536-90-4399" not in repr(seen)


def test_what_can_not_be_put_back_is_not_run(gateway: Gateway) -> None:
    """Where what policies leave does not fit the function, it is told, and the call is released."""

    class Number:
        def __init__(self, text: str) -> None:
            self.text = text

        def __fspath__(self) -> str:
            return self.text

    @guard("desk.note")
    def note(text: object) -> None:
        raise AssertionError("it must not run")

    @guard("desk.note", arguments=lambda text: {"text": text})
    def made(text: str) -> None:
        raise AssertionError("it must not run")

    calls: list[Callable[[], object]] = [lambda: note(Number("536-90-4399")), lambda: made("536-90-4399")]
    for call in calls:
        with pytest.raises(InvalidRequest, match="policies redact `text`"):
            call()
        assert ("desk.note", "settled", 0) == settled(gateway)


def test_generators_run_step_by_step(gateway: Gateway) -> None:
    """They are decided when they begin and settled when they end, by what they return or reported."""

    @guard("desk.crawl")
    def crawl(pages: int) -> Generator[int, Any, dict[str, int]]:
        received: list[Any] = []
        for page in range(pages):
            received.append((yield page))
        return {"pages": pages, "rows": len(received)}

    before = gateway.count()
    steps: Any = crawl(3)
    assert before == gateway.count()
    assert [0, 1, 2] == list(steps)
    assert ("desk.crawl", "settled", 30_000_000) == settled(gateway)

    @guard("desk.crawl")
    async def crawl_async(pages: int) -> AsyncIterator[int]:
        for page in range(pages):
            report(pages=page + 1, rows=0)
            yield page

    async def all_of(items: AsyncIterator[int]) -> list[int]:
        return [item async for item in items]

    assert [0, 1, 2, 3] == asyncio.run(all_of(crawl_async(4)))
    assert ("desk.crawl", "settled", 40_000_000) == settled(gateway)


def test_generators_that_are_left_are_settled_by_what_they_reported(gateway: Gateway) -> None:
    """However they are left: closed, forgotten, thrown into, cancelled."""
    closed: list[str] = []

    @guard("desk.crawl")
    def crawl() -> Iterator[int]:
        try:
            for page in range(50):
                report(pages=page + 1, rows=0)
                yield page
        finally:
            closed.append("sync")

    def left() -> None:
        for page in crawl():
            if page == 1:
                break

    def thrown() -> None:
        steps: Any = crawl()
        next(steps)
        next(steps)
        with pytest.raises(ZeroDivisionError):
            steps.throw(ZeroDivisionError())

    @guard("desk.crawl")
    async def crawl_async() -> AsyncIterator[int]:
        try:
            for page in range(50):
                report(pages=page + 1, rows=0)
                yield page
        finally:
            closed.append("async")

    async def left_async() -> None:
        items: Any = crawl_async()
        async for page in items:
            if page == 1:
                break
        await items.aclose()

    async def forgotten() -> None:
        async for page in crawl_async():
            if page == 1:
                return

    for leave in (left, thrown, lambda: asyncio.run(left_async()), lambda: asyncio.run(forgotten())):
        leave()
        until(lambda: "dispatched" not in gateway.states())
        assert ("desk.crawl", "settled", 20_000_000) == settled(gateway)
    assert ["sync", "sync", "async", "async"] == closed


def test_values_and_errors_go_into_generators(gateway: Gateway) -> None:
    """`send` and `throw` reach the guarded one, which may go on."""

    @guard("desk.rank")
    def echo() -> Any:
        said = "begin"
        while said != "end":
            try:
                said = yield said
            except KeyError as error:
                said = f"caught {error}"

    steps = echo()
    assert ["begin", "a", "caught 'k'"] == [next(steps), steps.send("a"), steps.throw(KeyError("k"))]
    with pytest.raises(StopIteration):
        steps.send("end")

    @guard("desk.rank")
    async def echo_async() -> Any:
        said = "begin"
        while said != "end":
            try:
                said = yield said
            except KeyError as error:
                said = f"caught {error}"

    async def drive() -> None:
        steps: Any = echo_async()
        got = [await anext(steps), await steps.asend("a"), await steps.athrow(KeyError("k"))]
        assert ["begin", "a", "caught 'k'"] == got
        with pytest.raises(StopAsyncIteration):
            await steps.asend("end")

    asyncio.run(drive())


def test_a_cancelled_tool_is_settled(gateway: Gateway) -> None:
    """A task that is cancelled ends at once, and what it had reported is told in the background."""

    @guard("desk.crawl")
    async def crawl(begun: asyncio.Event) -> None:
        report(pages=2, rows=0)
        begun.set()
        await asyncio.Event().wait()

    crawl = guard("desk.crawl", arguments=[])(crawl.__wrapped__)  # type: ignore[attr-defined] # functools sets it

    async def cancel() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(crawl(begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    until(lambda: "dispatched" not in gateway.states())
    assert ("desk.crawl", "settled", 20_000_000) == settled(gateway)


def test_runs_and_parents_flow_down(gateway: Gateway) -> None:
    """What a guarded tool calls is called for it, in its run: through tasks, threads with their context, headers."""
    headers: list[dict[str, str]] = []

    @guard("desk.rank")
    def inner() -> None:
        headers.append(current_headers())

    @guard("desk.rank")
    async def outer() -> None:
        headers.append(current_headers())
        await asyncio.to_thread(inner)
        await asyncio.gather(asyncio.to_thread(inner), middle())

    @guard("desk.rank")
    async def middle() -> None:
        inner()

    with run() as session:
        asyncio.run(outer())
        thread = threading.Thread(target=contextvars.copy_context().run, args=(inner,))
        thread.start()
        thread.join()
    rows = gateway.calls()[-6:]
    assert {session.id} == {row["run"] for row in rows}
    by_id = {row["call"]: row for row in rows}
    first = rows[0]["call"]
    assert {None: 2, first: 3} | {rows[0]["call"]: 3} == {
        parent: sum(row["parent"] == parent for row in rows) for parent in (None, first)
    }
    [deep] = [row for row in rows if row["parent"] not in (None, first)]
    assert first == by_id[deep["parent"]]["parent"]
    assert {"Aegis-Run-Id": session.id, "Aegis-Parent-Id": first} == headers[0]
    assert {} == current_headers()
    asyncio.run(outer())
    assert 1 == len({row["run"] for row in gateway.calls()[-5:]})
    assert session.id != gateway.last_call()["run"]


def test_named_calls_are_made_once(gateway: Gateway) -> None:
    """What has a name is the same call again: run again while it is not settled, refused afterwards."""
    ran: list[str] = []
    number = os.urandom(4).hex()

    @guard("desk.crawl", name=lambda order, fails: f"order/{order}", arguments=[])
    def ship(order: str, fails: bool) -> dict[str, int]:
        ran.append(order)
        if fails:
            raise SystemExit
        return {"pages": 1, "rows": 0}

    before = gateway.count()
    assert {"pages": 1, "rows": 0} == ship(number, False)
    with pytest.raises(AlreadyDone):
        ship(number, False)
    assert ([number], before + 1) == (ran, gateway.count())


def test_nothing_runs_without_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of reach, or with a key that is none: the tool is not run, unless its guard fails open, and then loudly."""
    monkeypatch.setenv("AEGIS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AEGIS_API_KEY", "key")
    ran: list[int] = []

    @guard("desk.rank")
    def closed() -> None:
        ran.append(1)

    with pytest.raises(Unavailable):
        closed()
    monkeypatch.delenv("AEGIS_API_KEY")

    @guard("desk.rank", fail_open=True)
    def opened() -> None:
        ran.append(2)

    with pytest.raises(Unauthorized):
        opened()
    assert [] == ran


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_failing_open_is_loud_and_is_told_later(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What was run without the gateway is in its books once it is back."""
    with Gateway(tools(), start=False) as gateway, Aegis(gateway.url, gateway.key()) as client:
        asynchronous = AsyncAegis(gateway.url, gateway.key())

        @guard("desk.crawl", client=client, fail_open=True)
        def crawl() -> dict[str, int]:
            return {"pages": 4, "rows": 0}

        @guard("desk.crawl", client=asynchronous, fail_open=True)
        async def crawl_async() -> dict[str, int]:
            return {"pages": 4, "rows": 0}

        with caplog.at_level(logging.ERROR, "aegis_sdk"):
            assert {"pages": 4, "rows": 0} == (asyncio.run(crawl_async()) if is_async else crawl())
        assert "is run without a decision" in caplog.text
        assert 1 == client.pending + asynchronous.pending
        gateway.start()
        assert asyncio.run(asynchronous.flush(20)) if is_async else client.flush(20)
        assert ("desk.crawl", "settled", 40_000_000) == settled(gateway)
        assert_books_balance(gateway)


def test_what_ran_without_leave_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What a guard that fails open let through, and the gateway does not, is not in its books, and the log says so."""
    with Gateway(tools(), start=False) as gateway, Aegis(gateway.url, gateway.key()) as client:

        @guard("desk.wire", client=client, fail_open=True)
        def wire(amount: int) -> None: ...

        wire(101)
        gateway.start()
        assert client.flush(20)
        assert "was run that the gateway had not allowed" in caplog.text
        assert "not that much" in caplog.text


def test_killed_while_the_tool_runs(caplog: pytest.LogCaptureFixture) -> None:
    """The result is its caller's; the call stays at its maximum until the gateway is back, and is settled then."""
    with Gateway(tools()) as gateway, Aegis(gateway.url, gateway.key()) as client:

        @guard("desk.crawl", client=client)
        def crawl() -> dict[str, int]:
            gateway.kill()
            return {"pages": 4, "rows": 0}

        @guard("desk.crawl", client=client)
        async def crawl_both() -> dict[str, int]:
            return {"pages": 1 + (await asyncio.to_thread(crawl))["pages"], "rows": 0}

        assert {"pages": 5, "rows": 0} == asyncio.run(crawl_both())
        assert 2 == caplog.text.count("is settled later")
        gateway.start()
        until(lambda: {"settled"} == set(gateway.states()))
        assert (0, 90_000_000) == gateway.standing("money")
        assert_books_balance(gateway)


FLUSHED = """
import os, sys
from aegis_sdk import Aegis, guard

held = os.dup(0)  # a forked process of multiprocessing has another standard input

@guard("desk.crawl", client=Aegis(exit_timeout_s=60))
def crawl():
    print("crawls", flush=True)
    os.read(held, 1)
    return {"pages": 5, "rows": 0}

if sys.argv[1] == "main":
    crawl()
else:
    import multiprocessing
    process = multiprocessing.get_context("fork").Process(target=crawl)
    process.start()
    process.join()
"""


def test_a_process_that_ends_tells_first() -> None:
    """What is still to be told has some time at the end of a process, of a forked one too."""
    with Gateway(tools()) as gateway, contextlib.ExitStack() as stack:
        ledger = gateway.pid
        environment = {**os.environ, "AEGIS_URL": gateway.url, "AEGIS_API_KEY": gateway.key()}
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", FLUSHED, how],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for how in ("main", "fork")
        ]
        for process in processes:
            assert process.stdout is not None
            assert b"crawls\n" == process.stdout.readline()
        os.kill(ledger, signal.SIGKILL)
        gateway.ended()
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()  # the tool returns
        gateway.start()
        assert [0, 0] == [process.wait(60) for process in processes]
        assert [50_000_000] * 2 == [call["cost_nano_usd"] for call in gateway.calls()]


def test_a_process_that_ends_does_not_wait_for_ever() -> None:
    """Where nobody answers, it gives up after some seconds and says so, however long the pause between attempts is."""
    code = (
        "from aegis_sdk import Aegis, guard, settler\n"
        "settler._PAUSE_S = settler._PAUSE_S_MAX = 600.0\n"
        "@guard('desk.rank', fail_open=True, client=Aegis(exit_timeout_s=0.5))\n"
        "def rank(): print('ranked')\n"
        "rank()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AEGIS_URL": "http://127.0.0.1:9", "AEGIS_API_KEY": "key"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "ranked\n" == done.stdout
    assert "the process ends" in done.stderr


def test_what_kind_of_function_it_is_stays(gateway: Gateway) -> None:
    """Frameworks that look find coroutine and generator functions, with the signatures that they had."""
    import inspect

    @guard("desk.rank")
    async def coroutine(limit: int = 3) -> None: ...

    @guard("desk.rank")
    async def items() -> AsyncIterator[int]:
        yield 1

    class Called:
        async def __call__(self) -> str:
            return "called"

    called: Callable[[], Any] = guard("desk.rank")(Called())
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isasyncgenfunction(items)
    assert ["limit"] == list(inspect.signature(coroutine).parameters)
    assert "called" == asyncio.run(called())


def grant_what_waits(gateway: Gateway) -> None:
    """Have somebody agree to all that waits, as soon as something does."""

    def waiting() -> list[str]:
        with contextlib.closing(open_store(gateway.settings.store, read_only=True)) as store:
            return [each.id for each in ApprovalReports(store.rows).approvals(TENANT, 10, "waiting")]

    until(lambda: bool(waiting()))
    with contextlib.closing(open_store(gateway.settings.store)) as store:
        for approval in waiting():
            Approvals(store, PEPPER.encode(), Caller(local_name="root")).grant(TENANT, approval, "fine")


@pytest.mark.parametrize("is_async", [False, True])
def test_waiting_for_a_persons_word(gateway: Gateway, is_async: bool) -> None:
    """A guard that waits runs its tool once somebody agreed; one that doesn't says which approval it would wait for."""
    call = {"text": f"asked by {'a task' if is_async else 'a thread'}"}
    kept: list[str] = []

    @guard("desk.reviewed", arguments=(), approval_within_s=20)
    def reviewed() -> str:
        kept.append("run")
        return call["text"]

    @guard("desk.reviewed", arguments=(), approval_within_s=20)
    async def reviewed_async() -> str:
        kept.append("run")
        return call["text"]

    granting = threading.Thread(target=grant_what_waits, args=(gateway,))
    granting.start()
    assert call["text"] == (asyncio.run(reviewed_async()) if is_async else reviewed())
    granting.join()
    assert ["run"] == kept
    with Aegis() as client:
        decision = client.decide("desk.reviewed")
        with pytest.raises(ApprovalRequired) as told:
            decision.check()
        assert told.value.approval_id is not None
        assert f"/v1/approvals/{told.value.approval_id}" == told.value.status_url
        assert client.wait_for_approval(decision, 0).waits
        grant_what_waits(gateway)
        assert ("granted", False) == (
            (found := client.wait_for_approval(decision, 5)).state,
            found.waits,
        )
        client.settle(client.decide("desk.reviewed").check())
