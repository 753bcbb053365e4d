"""What all adapters of frameworks share: calls are decided, run and settled, whatever becomes of the tool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aegis_sdk import Aegis, AegisError, AsyncAegis, Decision, InvalidRequest, NotRun, Refused, Unavailable
from aegis_sdk.adapters.hooked_calls import HookedCalls
from aegis_sdk.adapters.tool_calls import NotBegun, ToolCalls, call_name, numbers_in
from aegis_sdk.adapters.words import told
from tests.gateways import Gateway, assert_books_balance, until
from tests.sdks import tools

pytestmark = pytest.mark.xdist_group("tool-calls")

Run = Callable[..., Any]


class Paused(Exception):
    """What a tool raises that will be called again."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    """One gateway for the whole module."""
    with Gateway(tools()) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: Gateway) -> Iterator[Gateway]:
    """The gateway; afterwards its books balance."""
    yield shared
    assert_books_balance(shared)


@pytest.fixture
def calls(gateway: Gateway) -> Iterator[ToolCalls]:
    """Calls of an agent whose tools have the names of Aegis's."""
    with Aegis(gateway.url, gateway.key()) as client:
        yield ToolCalls(prefix="desk", client=client)


def in_thread(calls: ToolCalls, *args: Any, **more: Any) -> Any:
    """Run a call without an event loop."""
    call, run = args
    try:
        return calls.run(call, run, **more)
    except NotBegun as kept:
        raise kept.fault from None


def in_loop(calls: ToolCalls, *args: Any, **more: Any) -> Any:
    """Run a call in an event loop."""
    call, run = args

    async def run_async(decision: Decision, arguments: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return run(decision, arguments)

    async def main() -> Any:
        try:
            return await calls.run_async(call, run_async, **more)
        except NotBegun as kept:
            raise kept.fault from None
        finally:
            await calls.async_client.close()

    return asyncio.run(main())


BOTH = pytest.mark.parametrize("run", [in_thread, in_loop])


@BOTH
def test_run_and_settled(gateway: Gateway, calls: ToolCalls, run: Run) -> None:
    """The tool gets its arguments and what it gives is given; it costs what its numbers say."""
    call = calls.asked("crawl", {"pages": 9})
    found = run(calls, call, lambda _, arguments: {"pages": arguments["pages"] // 3, "rows": 1})
    assert {"pages": 3, "rows": 1} == found
    assert ("settled", 30_000_000) == (
        gateway.last_call()["state"],
        gateway.last_call()["cost_nano_usd"],
    )


@BOTH
@pytest.mark.parametrize(
    ("error", "state", "cost"), [(OSError, "settled", 100_000_000), (NotRun, "settled", 0)]
)
def test_a_tool_that_raises(
    gateway: Gateway, calls: ToolCalls, run: Run, error: type[Exception], state: str, cost: int
) -> None:
    """It was run, so it costs, unless it says that it did nothing; what it raises is raised."""

    def fails(_decision: Decision, _arguments: dict[str, Any]) -> None:
        raise error("no")

    with pytest.raises(error, match="no"):
        run(calls, calls.asked("rank", {}), fails)
    assert (state, cost) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


@BOTH
def test_a_tool_that_pauses(gateway: Gateway, calls: ToolCalls, run: Run) -> None:
    """Its call stays open; made again under its name it is the same, and then settled once."""
    before = gateway.count()
    call = calls.asked("rank", {}, call_name("thread", run.__name__))
    tries: list[str] = []

    def pauses(decision: Decision, _arguments: dict[str, Any]) -> str:
        tries.append(decision.id)
        if len(tries) == 1:
            raise Paused
        return "done"

    with pytest.raises(Paused):
        run(calls, call, pauses, unfinished=(Paused,))
    assert "dispatched" == gateway.last_call()["state"]
    assert "done" == run(calls, call, pauses, unfinished=(Paused,))
    assert (tries[0], before + 1, "settled") == (tries[1], gateway.count(), gateway.last_call()["state"])
    with pytest.raises(Refused, match="is settled"):
        run(calls, call, pauses)
    assert 2 == len(tries)


@BOTH
def test_what_is_refused_is_not_run(calls: ToolCalls, run: Run) -> None:
    """By policy, or because its arguments make no sense."""
    ran: list[object] = []
    with pytest.raises(Refused, match="not that much"):
        run(calls, calls.asked("wire", {"amount": 101}), lambda *_: ran.append(1))
    with pytest.raises(InvalidRequest, match="is negative"):
        run(calls, calls.asked("wire", {"amount": -1}), lambda *_: ran.append(1))
    assert [] == ran


@BOTH
def test_a_tool_that_is_refused_something_itself(gateway: Gateway, calls: ToolCalls, run: Run) -> None:
    """What a tool is refused within is its own error, not what kept it from being run; its call is settled."""

    def asks(_decision: Decision, _arguments: dict[str, Any]) -> None:
        calls.client.decide("desk.wire", {"amount": 101}).check()

    call = calls.asked("rank", {})
    assert call is not None
    with pytest.raises(Refused, match="not that much") as raised:
        run(calls, call, asks)
    assert not isinstance(raised.value.__context__, NotBegun)
    inner, outer = gateway.last_call(), gateway.calls()[-2]
    assert ("refused", "settled") == (inner["state"], outer["state"])
    assert outer["call"] == inner["parent"]


@BOTH
def test_without_a_gateway(gateway: Gateway, run: Run) -> None:
    """Nothing is run that nobody decided, and whoever runs the agent knows why."""
    ran: list[object] = []
    with Aegis("http://127.0.0.1:9", gateway.key(), timeout_s=0.2) as nobody:
        calls = ToolCalls(prefix="desk", client=nobody)
        with pytest.raises(Unavailable, match="was not reached"):
            run(calls, calls.asked("rank", {}), lambda *_: ran.append(1))
    assert [] == ran


@BOTH
def test_what_cannot_be_put_back_is_not_run(gateway: Gateway, calls: ToolCalls, run: Run) -> None:
    """Where a redacted argument can't be of its type any more the tool is not run, and its call costs nothing."""
    ran: list[object] = []
    with pytest.raises(InvalidRequest, match="policies redact `text`"):
        run(calls, calls.asked("note", {"text": Path("536-90-4399")}), lambda *_: ran.append(1))
    assert ([], 0) == (ran, gateway.last_call()["cost_nano_usd"])
    run(
        calls,
        calls.asked("note", {"text": "536-90-4399", "size": Decimal("1.5")}),
        lambda *a: ran.append(a[1]),
    )
    (left,) = ran
    assert isinstance(left, dict)
    assert Decimal("1.5") == left["size"]
    assert left["text"].startswith("[SSN:")


def test_a_task_that_is_cancelled(gateway: Gateway) -> None:
    """What it did is settled all the same, and it does not wait for that."""

    async def main() -> None:
        async with AsyncAegis(gateway.url, gateway.key()) as client:
            calls = ToolCalls(prefix="desk", client=client)
            call = calls.asked("rank", {})
            assert call is not None
            began = asyncio.Event()

            async def hangs(_decision: Decision, _arguments: dict[str, Any]) -> None:
                began.set()
                await asyncio.Event().wait()

            task = asyncio.create_task(calls.run_async(call, hangs))
            await began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    until(lambda: gateway.last_call()["state"] == "settled")
    assert 100_000_000 == gateway.last_call()["cost_nano_usd"]


def test_which_tool_is_meant(calls: ToolCalls) -> None:
    """By name, else by prefix; None is none of Aegis's business, and what nobody mapped is not run."""
    mapped = ToolCalls({"search": "web.find", "mine": None}, client=calls.client)
    assert mapped.asked("mine", {}) is None
    with pytest.raises(
        InvalidRequest, match=r"tool `other` is mapped to no tool of Aegis.*add it to `tools`"
    ):
        mapped.asked("other", {})
    both = ToolCalls({"search": "web.find"}, prefix="desk", client=calls.client, customer="c-1")
    found = [call for name in ("search", "other") if (call := both.asked(name, {})) is not None]
    assert [("web.find", "c-1"), ("desk.other", "c-1")] == [(call.tool, call.customer) for call in found]
    with pytest.raises(InvalidRequest, match="no tool is mapped"):
        ToolCalls()


def test_names_of_calls() -> None:
    """Other ids make another name, however they are cut; where one is missing there is none."""
    names = [call_name("a", "bc"), call_name("ab", "c"), call_name("a", "b", "c")]
    assert 3 == len(set(names))
    assert call_name("a", "bc") == names[0]
    assert call_name("ü" * 10_000, "b") is not None
    assert [None, None] == [call_name("a", None), call_name("", "b")]


def test_numbers_in_texts() -> None:
    """A text that is an object in JSON has numbers; nothing else that is said leaves the agent."""
    assert {"pages": 3} == numbers_in('{"pages": 3, "said": "hello"}')
    assert {"a": {"b": 1}} == numbers_in({"a": {"b": 1}, "secret": "x"})
    for nothing in ("", "three", "[1, 2]", "{", "{" * 100_000, '{"a": NaN}', None, 3, [1], object()):
        assert {} == numbers_in(nothing)


def test_hooks_never_raise(gateway: Gateway, calls: ToolCalls) -> None:
    """What keeps a hook from deciding is a refusal: a gateway that is not there, a tool nobody mapped, a fault."""
    hooked = HookedCalls(calls)
    allowed = hooked.before("one", "crawl", {"pages": 1})
    assert allowed.decision is not None
    hooked.after("one", {"pages": 1, "rows": 1})
    hooked.after("one", {"pages": 50})
    hooked.after("never begun", {})
    assert 10_000_000 == gateway.last_call()["cost_nano_usd"]
    with Aegis("http://127.0.0.1:9", gateway.key(), timeout_s=0.2) as nobody:
        down = HookedCalls(ToolCalls({"rank": "desk.rank"}, client=nobody))
        assert "was not reached" in str(down.before("two", "rank", {}).refusal)
        assert "is mapped to no tool" in str(down.before("three", "other", {}).refusal)
        assert "was not reached" in str(asyncio.run(down.before_async("four", "rank", {})).refusal)
    assert "could not be decided" in str(hooked.before("five", "rank", Broken()).refusal)


def test_what_another_hook_kept_from_being_run(gateway: Gateway, calls: ToolCalls) -> None:
    """It costs nothing."""
    hooked = HookedCalls(calls)
    assert hooked.before("one", "rank", {}).decision is not None
    hooked.not_run("one")
    hooked.after("one", {})
    assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


@BOTH
def test_a_result_that_cannot_be_read(gateway: Gateway, calls: ToolCalls, run: Run) -> None:
    """It is its caller's all the same, and the call counts at its maximum."""

    def fails(_result: object) -> dict[str, Any]:
        raise ZeroDivisionError

    assert "said" == run(calls, calls.asked("crawl", {}), lambda *_: "said", numbers=fails)
    assert ("settled", 500_000_000) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


class Broken(dict[str, Any]):
    """Arguments that can't be looked at."""

    def keys(self) -> Any:
        raise ZeroDivisionError

    def __iter__(self) -> Any:
        raise ZeroDivisionError


def test_what_the_model_is_told(gateway: Gateway, calls: ToolCalls) -> None:
    """Why, what it would have cost, and what to do, by what kept the call from being made."""

    def refusal(tool: str, arguments: dict[str, Any], client: Aegis = calls.client) -> str:
        try:
            client.decide(f"desk.{tool}", arguments).check()
        except AegisError as fault:
            return told(fault)
        raise AssertionError("it is allowed")

    assert "will be refused again" in refusal("wire", {"amount": 101})
    assert "argument `amount`: " in refusal("wire", {"amount": "much"})
    assert "A person has to approve it" in refusal("reviewed", {})
    calls.client.settle(calls.client.decide("desk.seldom").check())
    assert "Call it again in 3" in refusal("seldom", {})  # in less than an hour, but not much
    with Aegis(gateway.url, gateway.key("poor")) as poor:
        words = refusal("rank", {}, poor)
    assert "only the budget's owner can raise it" in words
    assert "It would have cost up to $0.10." in words
    assert "No tool is run without its decision" in told(Unavailable("the gateway is away"))
