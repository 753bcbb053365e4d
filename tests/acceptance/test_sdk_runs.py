"""Runs of the SDK: opened and ended by blocks of code, delegated to other agents, bounded; with a real gateway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_sdk import (
    Aegis,
    AsyncAegis,
    Decision,
    Denied,
    InvalidRequest,
    Refused,
    Run,
    TooManyRuns,
    Unavailable,
    add_headers,
    add_headers_async,
    current_run,
    guard,
    run,
)
from tests.gateways import Gateway, ScriptedUpstream
from tests.sdks import tools

pytestmark = pytest.mark.xdist_group("sdk_runs")

DEPTH = "replication: {max_depth: 3}"
RUNS = "replication: {max_runs_per_owner: 3}"


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    """A gateway in front of the bundled provider."""
    with UpstreamProcess() as upstream, Gateway(tools(upstream.base_url, settings=DEPTH)) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The gateway that the environment names."""
    monkeypatch.setenv("AEGIS_URL", shared.url)
    monkeypatch.setenv("AEGIS_API_KEY", shared.key())
    return shared


@guard("desk.wire", arguments={"amount": "amount"})
def wire(amount: int = 0) -> str | None:
    """Give the run that it is part of."""
    inside = current_run()
    return inside.id if inside is not None else None


@guard("desk.wire", arguments={"amount": "amount"})
async def wire_async(amount: int = 0) -> str | None:
    """The same."""
    inside = current_run()
    return inside.id if inside is not None else None


def test_a_block_is_a_run(gateway: Gateway) -> None:
    """It is opened with the block and ended with it, also by an error; what comes later is refused in it."""
    session = run()

    def fails() -> None:
        with session:
            assert session is current_run()
            assert [session.id] * 2 == [wire(), wire()]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert current_run() is None
    assert [session.id] * 2 == [call["run"] for call in gateway.calls()[-2:]]
    with pytest.raises(Refused, match="ended"), run(session.id):
        wire()

    async def block() -> None:
        async with run() as session:
            assert {session.id} == set(await asyncio.gather(wire_async(), asyncio.to_thread(wire)))
            with run(session.id) as again:
                assert session.id == again.id == wire()
            assert session.id == await wire_async()  # a block that only joins a run does not end it
        with pytest.raises(Refused, match="ended"):
            async with run(session.id):
                await wire_async()

    asyncio.run(block())


def test_many_threads_and_tasks_are_in_one_run(gateway: Gateway) -> None:
    """Whoever enters it is of it; the last one out ends it."""
    with run() as session, ThreadPoolExecutor(8) as pool:

        def part(_: int) -> str | None:
            with session:
                return wire()

        assert {session.id} == set(pool.map(part, range(24)))
        assert session.id == wire()


def test_runs_within_runs_are_delegated(gateway: Gateway) -> None:
    """Below the run, or below the guarded call that opens it; they end with what they are in, and depth is bounded."""
    client = Aegis()
    with run() as outer:
        with run() as inner:
            assert inner.id == wire()
            assert outer.id != inner.id
        assert outer.id == wire()
        left_open = client.spawn("bot")
        assert 1 == left_open.depth
    with pytest.raises(Refused, match="ended"), run(left_open.id):
        wire()

    depths: list[str] = []

    @guard("desk.rank", arguments=[])
    def dig(depth: int) -> None:
        depths.append(str(depth))
        with run():
            dig(depth + 1)

    with pytest.raises(Denied) as refused:
        dig(0)
    assert "too_deep" == refused.value.decision.reasons[0].code
    assert 2 <= len(depths) <= 4


def test_run_away_spawning_is_stopped() -> None:
    """An owner has so many runs open and no more, whoever opens them and however; ended ones make room."""
    with Gateway(tools(settings=RUNS)) as gateway, Aegis(gateway.url, gateway.key()) as client:
        opened = [client.open_run() for _ in range(3)]
        with pytest.raises(TooManyRuns, match="runs open") as refused, run(client=client):
            raise AssertionError("it must not begin")
        assert "too_many_runs" == refused.value.decision.reasons[0].code
        with pytest.raises(TooManyRuns):
            client.decide("desk.rank").check()
        client.end_run(opened.pop().id)
        with run(client=client) as session:
            assert session.id == client.decide("desk.rank").check().run
        for each in opened:
            client.end_run(each.id)
        with pytest.raises(InvalidRequest):
            client.end_run("run_" + "0" * 36)
        with pytest.raises(InvalidRequest, match="no run's id"):
            client.end_run("run_1 HTTP/1.1\r\nX: y")


def test_a_named_run_is_opened_once(gateway: Gateway) -> None:
    """The same again by its name is the same run."""
    client = Aegis()
    name = os.urandom(4).hex()
    first, again = client.open_run(name=name), client.open_run(name=name)
    assert first.id == again.id
    client.end_run(first.id)


def test_a_run_for_another_agent(gateway: Gateway) -> None:
    """It works in it with its own key, below the call that it was delegated from; others can't."""

    async def delegate() -> None:
        async with AsyncAegis() as client, AsyncAegis(api_key=gateway.key("poor")) as other:

            @guard("desk.rank", client=client)
            async def ask_other() -> Decision:
                spawned = await client.spawn("poor")
                async with run(spawned.id, client=other):
                    decision = await other.decide("desk.wire", {"amount": 0})
                await client.end_run(spawned.id)
                return decision

            decision = await ask_other()
            call = gateway.call(decision.id)
            assert ("poor", decision.run) == (call["agent"], call["run"])

    asyncio.run(delegate())


def test_model_calls_are_of_the_run(gateway: Gateway) -> None:
    """By headers, or by a hook of the client's HTTP library; below the guarded call that makes them."""
    message = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
    hooked = httpx2.Client(event_hooks={"request": [add_headers]}, trust_env=False)

    @guard("desk.rank")
    def think() -> None:
        with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), http_client=hooked) as model:
            model.chat.completions.create(**message)  # type: ignore[call-overload] # the client's types want literals

    with run() as session:
        think()
        with OpenAI(
            base_url=f"{gateway.url}/v1", api_key=gateway.key(), default_headers=session.headers()
        ) as model:
            model.chat.completions.create(**message)  # type: ignore[call-overload] # as above
    tool, inside, beside = gateway.calls()[-3:]
    assert [session.id] * 3 == [call["run"] for call in (tool, inside, beside)]
    assert (tool["call"], None) == (inside["parent"], beside["parent"])

    async def asynchronous() -> str | None:
        client = httpx2.AsyncClient(event_hooks={"request": [add_headers_async]}, trust_env=False)
        async with (
            run() as session,
            AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), http_client=client) as model,
        ):
            await model.chat.completions.create(**message)  # type: ignore[call-overload] # as above
        return session.id

    assert asyncio.run(asynchronous()) == gateway.last_call()["run"]


def test_a_run_that_can_not_be_opened(gateway: Gateway) -> None:
    """The block does not begin, what follows is in no run, and it may be tried again."""
    nowhere = Aegis("http://127.0.0.1:9", "key")
    session = run(client=nowhere)
    for _ in range(2):
        with pytest.raises(Unavailable), session:
            raise AssertionError("it must not begin")
        assert current_run() is None


def test_a_run_that_can_not_be_ended(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """What the block came to is not lost for that; the log says so."""
    opened = b'{"run": "run_1", "agent": "bot", "root": "run_1", "depth": 0}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(opened), opened)
    left = [b"", answer]
    with ScriptedUpstream(lambda _, connection: connection.sendall(left.pop())) as server:
        with run(client=Aegis(server.base_url, "key", attempts_max=1)) as session:
            assert "run_1" == session.id
        assert "was not ended" in caplog.text


def test_a_run_without_an_id_is_opened_by_its_first_decision(gateway: Gateway) -> None:
    """For whom a round trip is too much; many who begin at once are in one run all the same."""
    session = Run()
    with session:
        assert {} == session.headers()
        with ThreadPoolExecutor(8) as pool:

            def part(_: int) -> str | None:
                with session:
                    return wire()

            assert 1 == len(set(pool.map(part, range(16))))
    assert session.id is not None
    Aegis().end_run(session.id)


def test_a_forked_process_does_not_end_its_parents_run(gateway: Gateway) -> None:
    """Leaving the block there ends it there alone."""
    with run() as session:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                assert session.id == wire()
                session.__exit__(None, None, None)
                code = 0
            finally:
                os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert session.id == wire()
