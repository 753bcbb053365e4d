"""The SDK's clients: decided, settled, refused, out of reach, forked, in threads and loops, with real gateways."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aegis_sdk import (
    Aegis,
    AlreadyDone,
    ApprovalRequired,
    AsyncAegis,
    BudgetExhausted,
    Decision,
    Denied,
    InvalidRequest,
    RateLimited,
    Refused,
    Run,
    ToolCall,
    Unauthorized,
    Unavailable,
)
from tests.gateways import HOST, Gateway, ScriptedUpstream, assert_books_balance, until
from tests.sdks import CLIENTS, Blocking, Client, client_of, tools

pytestmark = pytest.mark.xdist_group("sdk_clients")

Kind = type[Aegis] | type[Blocking]


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    """A gateway that nobody kills."""
    with Gateway(tools()) as gateway:
        yield gateway


@pytest.fixture(params=CLIENTS, ids=["sync", "async"])
def client(request: pytest.FixtureRequest, shared: Gateway) -> Iterator[Client]:
    """Either client."""
    with client_of(request.param, shared) as client:
        yield client


def test_decide_settle_find(client: Client, shared: Gateway) -> None:
    """What the gateway says is what the client gives, in its words; money is decimals."""
    decision = client.decide("desk.crawl", {"pages": 9})
    assert ("allow", "desk.crawl", Decimal("0.5"), True, False) == (
        decision.effect,
        decision.tool,
        decision.maximum_usd,
        decision.allowed,
        decision.is_redacted,
    )
    assert decision is decision.check()
    assert ("permitted", "all-may") == (decision.reasons[0].code, decision.reasons[0].subject)
    assert "dispatched" == client.find(decision.id).state
    settlement = client.settle(decision, {"pages": 9, "rows": 3})
    assert (decision.id, "settled", Decimal("0.09"), False) == (
        settlement.id,
        settlement.state,
        settlement.cost_usd,
        settlement.overrun,
    )
    assert settlement == client.settle(decision, {"pages": 9, "rows": 3})
    found = client.find(decision.id)
    assert ("settled", Decimal("0.09"), decision.run) == (found.state, found.cost_usd, found.run)
    assert decision.token is not None
    assert decision.token not in repr(decision)


def test_release(client: Client) -> None:
    """What was not run costs nothing."""
    assert Decimal(0) == client.release(client.decide("desk.rank")).cost_usd


@pytest.mark.parametrize(
    ("tool", "arguments", "agent", "kind", "code"),
    [
        ("desk.wire", {"amount": 101}, "bot", Denied, "denied_by_policy"),
        ("desk.nothing", {}, "bot", Denied, "unknown_tool"),
        ("desk.rank", {}, "poor", BudgetExhausted, "budget_exhausted"),
        ("desk.reviewed", {}, "bot", ApprovalRequired, "approval_required"),
        ("desk.seldom", {}, "bot", RateLimited, "rate_limited"),
    ],
)
@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_refused_in_each_way(
    shared: Gateway,
    which: Kind,
    tool: str,
    arguments: dict[str, Any],
    agent: str,
    kind: type[Refused],
    code: str,
) -> None:
    """A refusal is a value; checked, it is an error of its kind that says why, and survives a pickle."""
    with client_of(which, shared, agent) as client:
        if kind is RateLimited:
            client.decide(tool, arguments)
        refused = client.decide(tool, arguments)
        assert (False, code) == (refused.allowed, refused.reasons[0].code)
        with pytest.raises(kind) as raised:
            refused.check()
        assert refused == raised.value.decision
        assert refused.reasons[0].message in str(raised.value)
        assert refused == pickle.loads(pickle.dumps(raised.value)).decision
        if isinstance(raised.value, RateLimited):
            assert raised.value.retry_after_s is not None
            assert 0 < raised.value.retry_after_s <= 3600
        with pytest.raises(InvalidRequest, match="nothing to settle"):
            client.settle(refused)


@pytest.mark.parametrize(
    ("arguments", "more", "field"),
    [
        ({}, {}, "arguments.amount"),
        ({"amount": "much"}, {}, "arguments.amount"),
        ({"amount": float("nan")}, {}, "arguments"),
        ({"amount": object()}, {}, "arguments"),
        ({"amount": 1}, {"run": "run_x"}, "aegis-run-id"),
        ({"amount": 1}, {"parent": "call_x"}, "aegis-parent-id"),
        ({"amount": 1}, {"customer": "nobody"}, "aegis-customer"),
    ],
)
def test_what_makes_no_sense(
    client: Client, arguments: dict[str, Any], more: dict[str, Any], field: str
) -> None:
    """It is told by the field that is wrong, before or after the gateway was asked."""
    with pytest.raises(InvalidRequest) as raised:
        client.decide("desk.wire", arguments, **more)
    assert field == raised.value.field


def test_unknown_calls_and_strange_ids(client: Client) -> None:
    """Nobody finds what isn't his; an id that is none never becomes part of an address."""
    with pytest.raises(InvalidRequest, match="has no call") as raised:
        client.find("call_" + "0" * 32)
    assert 404 == raised.value.status
    with pytest.raises(InvalidRequest, match="no call's id"):
        client.find("call_1 HTTP/1.1\r\nX: y")


def test_decimals_are_exact(client: Client) -> None:
    """An amount goes to the gateway as it stands."""
    decision = client.decide("desk.wire", {"amount": Decimal("99.99")})
    assert Decimal("99.99") == decision.arguments["amount"]
    client.release(decision)


def test_redacted_arguments_are_those_to_run_with(client: Client) -> None:
    """Where policies redact, the decision has what is left; otherwise what was sent."""
    note = client.decide("desk.note", {"text": "of 536-90-4399"})
    assert note.is_redacted
    assert note.arguments["text"].startswith("of [SSN:")
    again = client.decide("desk.note", {"text": "of 536-90-4399"}, name=note.name)
    assert (note.id, note.arguments) == (again.id, again.arguments)
    plain = client.decide("desk.note", {"text": "nothing"})
    assert (False, {"text": "nothing"}) == (plain.is_redacted, plain.arguments)
    for each in (note, plain):
        client.release(each)


def test_one_decision_by_its_name(client: Client, shared: Gateway) -> None:
    """The same again is the same call; once it is settled, it is not to be run again."""
    name = f"thread-1/{os.urandom(4).hex()}"
    first = client.decide("desk.rank", {"limit": 1}, name=name)
    again = client.decide("desk.rank", {"limit": 1}, name=name)
    assert (first.id, "dispatched", True) == (again.id, again.state, again.allowed)
    with pytest.raises(InvalidRequest, match="another request"):
        client.decide("desk.rank", {"limit": 2}, name=name)
    client.settle(again)
    with pytest.raises(AlreadyDone):
        client.decide("desk.rank", {"limit": 1}, name=name).check()


def test_estimates(client: Client, shared: Gateway) -> None:
    """What a call of a tool or a model would cost, what is left, what would do instead; nothing is recorded."""
    before = shared.count()
    crawl = client.estimate("desk.crawl", {"pages": 3})
    assert ("desk.crawl", "allow", True, Decimal("0.5")) == (
        crawl.tool,
        crawl.effect,
        crawl.allowed,
        crawl.maximum_usd,
    )
    [money] = [budget for budget in crawl.budgets if budget.budget == "money"]
    assert (Decimal(100), Decimal("0.5"), True) == (money.limit, money.needs, money.fits)
    refused = client.estimate("desk.wire", {"amount": 101})
    assert (False, "denied_by_policy") == (refused.allowed, refused.reasons[0].code)
    model = client.estimate(model="gpt-4.1", prompt="May I borrow a million?", max_output_tokens=500)
    assert ("gpt-4.1", True) == (model.model, model.expected_usd is not None and model.expected_usd > 0)
    assert model.cheaper
    assert all(each.saving_usd > 0 for each in model.cheaper)
    asked = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    assert client.estimate(request=asked).maximum_usd
    with pytest.raises(InvalidRequest):
        client.estimate()
    assert before == shared.count()


def test_many_at_once(client: Client) -> None:
    """More than a batch holds, each by itself, and errors in their places; in a run, all are of it."""
    calls = [ToolCall(tool="desk.wire", arguments={"amount": 200 if n == 3 else 0.01}) for n in range(150)]
    calls[7] = ToolCall(tool="desk.wire")
    with Run() as session:
        decided = client.decide_many(calls)
    assert 150 == len(decided)
    fault = decided.pop(7)
    assert isinstance(fault, InvalidRequest)
    assert "arguments.amount" == fault.field
    made = [each for each in decided if isinstance(each, Decision)]
    assert [3] == [n for n, each in enumerate(made) if not each.allowed]
    assert {session.id} == {each.run for each in made}
    assert [] == client.decide_many([])


def test_everything_in_a_run_is_of_it(shared: Gateway) -> None:
    """Whatever is decided first opens it, also where many threads or tasks begin at once."""
    with Aegis(shared.url, shared.key()) as client, Run() as session, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(_in_run, session, client) for _ in range(24)]
        runs = {each.result().run for each in asked}
        assert {session.id} == runs

    async def tasks() -> None:
        async with AsyncAegis(shared.url, shared.key()) as client, Run() as session:
            decided = await asyncio.gather(*(client.decide("desk.wire", {"amount": 0}) for _ in range(24)))
            assert {session.id} == {each.run for each in decided}
            assert {"Aegis-Run-Id": session.id} == session.headers()

    asyncio.run(tasks())


class OpenedMeanwhile(Run):
    """Opened by another thread between somebody's look whether it is open and the claim to open it."""

    def claim(self) -> Future[None] | None:
        """Be late."""
        if self.id is None:
            assert super().claim() is None
            self.opened("run_1")
        return super().claim()


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_a_run_is_opened_once(which: Kind) -> None:
    """Who finds it open on claiming it is of it, and opens no other; where opening failed, the next one may."""
    with ScriptedUpstream(answers(ok(ALLOWED))) as server, which(server.base_url, "key") as client:
        with OpenedMeanwhile() as session:
            client.decide("desk.rank")
        assert "run_1" == session.id
        [asked] = server.requests
        assert "run_1" == json.loads(asked.partition(b"\r\n\r\n")[2])["run"]
    failed = Run()
    assert failed.claim() is None
    failed.opened(None)
    assert failed.claim() is None


def test_the_first_of_many_that_makes_sense_opens_the_run(client: Client) -> None:
    """What makes none opens nothing, and the rest are of one run all the same."""
    senseless = ToolCall(tool="desk.wire")
    calls = [senseless, senseless, *(ToolCall(tool="desk.wire", arguments={"amount": 0}) for _ in range(3))]
    with Run() as session:
        decided = client.decide_many(calls)
    assert [True, True, False, False, False] == [isinstance(each, InvalidRequest) for each in decided]
    assert session.id is not None
    assert {session.id} == {each.run for each in decided if isinstance(each, Decision)}
    with Run() as session:
        assert [InvalidRequest] * 2 == [type(each) for each in client.decide_many([senseless] * 2)]
    assert session.id is None


def _in_run(session: Run, client: Aegis) -> Decision:
    with session:
        return client.decide("desk.wire", {"amount": 0})


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_without_a_key(which: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told at once, by the variable to set."""
    monkeypatch.delenv("AEGIS_API_KEY", raising=False)
    with pytest.raises(Unauthorized, match="AEGIS_API_KEY"):
        which()


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_a_bad_key(which: Kind, shared: Gateway) -> None:
    """A key that the gateway does not know is no refusal, and is not tried again."""
    with which(shared.url, "aegis_live_" + "x" * 36) as client, pytest.raises(Unauthorized):
        client.decide("desk.rank")


def test_settings_come_from_the_environment(shared: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and key are read where nothing is given; addresses that are none are told."""
    monkeypatch.setenv("AEGIS_URL", shared.url)
    monkeypatch.setenv("AEGIS_API_KEY", shared.key())
    with Aegis() as client:
        assert client.release(client.decide("desk.rank")).cost_usd == 0
        assert shared.key() not in repr(client.settings)
    for wrong in (
        "localhost:8700",
        "ftp://host",
        "http://",
        "http://host:x",
        "http://a@host",
        "http://h/?q",
        "http://h\r\nX: y",
    ):
        with pytest.raises(InvalidRequest):
            Aegis(wrong)
    for wrong in ("a b", "k\r\nX: y", "schlüssel"):
        with pytest.raises(Unauthorized):
            Aegis(api_key=wrong)


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_nobody_there(which: Kind) -> None:
    """Out of reach: an error soon, which says that nothing can have arrived."""
    with socket.create_server((HOST, 0)) as guard:
        port = guard.getsockname()[1]
    began = time.monotonic()
    with which(f"http://{HOST}:{port}", "key") as client, pytest.raises(Unavailable) as raised:
        client.decide("desk.rank")
    assert not raised.value.may_have_arrived
    assert f"{HOST}:{port}" in str(raised.value)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_a_gateway_that_does_not_answer(which: Kind) -> None:
    """Nothing takes longer than the timeout. What it decided without being heard is released, once it can be told."""
    with Gateway(tools()) as gateway, client_of(which, gateway, timeout_s=0.5) as client:
        client.release(client.decide("desk.rank"))
        for worker in gateway.workers():
            os.kill(worker, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"within 0\.5 s") as raised:
            client.decide("desk.rank")
        assert raised.value.may_have_arrived
        assert time.monotonic() - began < 3
        for worker in gateway.workers():
            os.kill(worker, signal.SIGCONT)
        assert client.flush(20)
        until(lambda: gateway.standing("money") == (0, 0))
        assert {"settled"} == set(gateway.states())
        assert_books_balance(gateway)


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_killed_between_decision_and_settlement(which: Kind) -> None:
    """A gateway that was started anew settles what the one before decided, over connections that were cut."""
    with Gateway(tools()) as gateway, client_of(which, gateway) as client:
        decisions = [client.decide("desk.crawl") for _ in range(3)]
        gateway.kill()
        with pytest.raises(Unavailable):
            client.settle(decisions[0], {"pages": 1, "rows": 1})
        gateway.start()
        for decision in decisions:
            assert Decimal("0.01") == client.settle(decision, {"pages": 1, "rows": 1}).cost_usd
        assert (0, 30_000_000) == gateway.standing("money")
        assert_books_balance(gateway)


def answers(*answers: bytes) -> Any:
    """A script that gives one answer after another, on connections of their own."""
    left = list(answers)
    return lambda _request, connection: connection.sendall(left.pop(0))


BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
ALLOWED = json.dumps({"id": "call_1", "effect": "allow", "token": "t", "run": "run_1"}).encode()
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n" + ALLOWED[:5] + b"\r\n"
    b"%x\r\n" % (len(ALLOWED) - 5) + ALLOWED[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
)


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_tried_again_under_the_same_name(which: Kind) -> None:
    """A gateway that is busy, and one that is cut off, is asked again: for the same decision, as it has a name."""
    with ScriptedUpstream(answers(BUSY, b"", CHUNKED)) as busy, which(busy.base_url, "key") as client:
        assert "call_1" == client.decide("desk.rank").id
        names = {json.loads(each.partition(b"\r\n\r\n")[2])["name"] for each in busy.requests}
        assert (3, 1) == (len(busy.requests), len(names))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
        b'HTTP/1.1 200 OK\r\n\r\n{"id": "x/../y", "effect": "allow"}',
        b'HTTP/1.1 200 OK\r\n\r\n{"id": "x", "effect": "allow", "maximum_usd": "much"}',
        b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"id": "x", "effect": "allow", "reasons": [1]}).encode(),
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\nnot here",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_what_is_no_gateway(which: Kind, answer: bytes) -> None:
    """Whatever else answers has not allowed anything."""
    with (
        ScriptedUpstream(lambda _, connection: connection.sendall(answer)) as server,
        which(server.base_url, "key", attempts_max=1) as client,
        pytest.raises(Unavailable),
    ):
        client.decide("desk.rank", name="mine")


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_interim_answers_and_paths(which: Kind) -> None:
    """`100 Continue` is no answer; an address may have a path; no key is in any log or error."""
    script = answers(b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED)
    with ScriptedUpstream(script) as server, which(f"{server.base_url}/aegis/", "key") as client:
        client.decide("desk.rank", {"text": "ü"})
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /aegis/v1/decisions HTTP/1.1\r\n")
        assert {"text": "ü"} == json.loads(body)["arguments"]


def test_threads_share_a_client(shared: Gateway) -> None:
    """As many as like; each gets its own answers."""
    with Aegis(shared.url, shared.key()) as client, ThreadPoolExecutor(16) as pool:

        def one(number: int) -> bool:
            decision = client.decide("desk.wire", {"amount": number / 1000}, name=f"thread/{number}")
            client.release(decision)
            return f"thread/{number}" == decision.name

        assert all(pool.map(one, range(200)))


def test_loops_share_a_client(shared: Gateway, recwarn: pytest.WarningsRecorder) -> None:
    """One after another and at once; a loop that ends takes its connections along."""
    client = AsyncAegis(shared.url, shared.key())

    async def some() -> None:
        for decision in await asyncio.gather(*(client.decide("desk.rank") for _ in range(5))):
            await client.release(decision)

    uvloop.run(asyncio.sleep(0))  # it keeps a pipe from its first use on
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(3):
        asyncio.run(some(), debug=True)
        uvloop.run(some())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: asyncio.run(some()), range(8)))
    if before:
        assert before == len(os.listdir("/proc/self/fd"))
    assert [] == list(recwarn)


def test_an_event_loop_is_never_blocked() -> None:
    """While the gateway takes its time, is unreachable, or is told later, the loop goes on without a pause."""

    async def watched() -> float:
        late = 0.0
        done = asyncio.Event()

        async def watch() -> None:
            nonlocal late
            while not done.is_set():
                began = time.monotonic()
                await asyncio.sleep(0.005)
                late = max(late, time.monotonic() - began - 0.005)

        watching = asyncio.create_task(watch())
        stuck = threading.Event()

        def hold(_request: bytes, _connection: socket.socket) -> None:
            stuck.wait(20)

        with ScriptedUpstream(hold) as slow:
            client = AsyncAegis(slow.base_url, "key", timeout_s=1.0)
            faults = await asyncio.gather(
                *(client.decide("desk.rank", name=f"n{n}") for n in range(20)), return_exceptions=True
            )
            assert {Unavailable} == set(map(type, faults))
            stuck.set()
        done.set()
        await watching
        return late

    # A second of waiting in the loop would be seen as one; a busy machine's hiccups are far below half of it.
    assert asyncio.run(watched()) < 0.5


def test_a_sync_client_in_a_loop_is_told_once(shared: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """It works, as notebooks run everything in a loop, and says which client does not block."""

    async def wrong(client: Aegis) -> None:
        client.release(client.decide("desk.rank"))

    with Aegis(shared.url, shared.key()) as client, caplog.at_level(logging.WARNING, "aegis_sdk"):
        asyncio.run(wrong(client))
    assert ["AsyncAegis"] == [word for each in caplog.messages for word in ("AsyncAegis",) if word in each]


def _in_child(client: Aegis, names: list[str]) -> list[str]:
    return [client.decide("desk.wire", {"amount": 0}, name=name).id for name in names]


def test_forked_by_hand(shared: Gateway) -> None:
    """Parent and children use one client at the same time, and nobody reads another's answer."""
    with Aegis(shared.url, shared.key()) as client:
        client.release(client.decide("desk.rank"))  # a connection is open
        children = []
        for child in range(3):
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                try:
                    ids = _in_child(client, [f"fork/{child}/{n}" for n in range(20)])
                    os.write(writing, json.dumps(ids).encode())
                finally:
                    os._exit(0)
            os.close(writing)
            children.append((pid, reading))
        mine = _in_child(client, [f"fork/parent/{n}" for n in range(20)])
        theirs = []
        for pid, reading in children:
            os.waitpid(pid, 0)
            with os.fdopen(reading, "rb") as pipe:
                theirs.append(json.loads(pipe.read()))
        assert 80 == len({*mine, *(each for ids in theirs for each in ids)})
        for child, ids in enumerate(theirs):
            assert ids == _in_child(client, [f"fork/{child}/{n}" for n in range(20)])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_forked_by_multiprocessing(shared: Gateway, method: str) -> None:
    """Whichever way workers are started; a client can be handed to them."""
    context = multiprocessing.get_context(method)
    with Aegis(shared.url, shared.key()) as client:
        client.release(client.decide("desk.rank"))
        with context.Pool(2) as pool:
            ids = pool.starmap(_in_child, [(client, [f"{method}/{n}"]) for n in range(6)])
    assert 6 == len({each for [each] in ids})


def test_an_async_client_in_a_forked_process(shared: Gateway) -> None:
    """A loop of its own, and connections of its own."""
    client = AsyncAegis(shared.url, shared.key())

    async def decided(name: str) -> str:
        return (await client.decide("desk.wire", {"amount": 0}, name=name)).id

    asyncio.run(decided("async-fork/before"))
    pid = os.fork()
    if not pid:
        code = 1
        try:
            asyncio.run(decided("async-fork/child"))
            code = 0
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert asyncio.run(decided("async-fork/parent")) != asyncio.run(decided("async-fork/child"))


@pytest.mark.parametrize("undo", [True, False], ids=["closed", "fails open"])
def test_a_cancelled_decision_is_undone(shared: Gateway, undo: bool) -> None:
    """A task that is cancelled while it asks has run nothing; what was reserved for it does not stay so."""

    async def cancelled() -> None:
        async with AsyncAegis(shared.url, shared.key()) as client:
            for turns in range(60):
                asking = asyncio.create_task(client.decide_call(ToolCall(tool="desk.crawl"), undo=undo))
                for _ in range(turns % 20):
                    await asyncio.sleep(0.0002)
                asking.cancel()
                [outcome] = await asyncio.gather(asking, return_exceptions=True)
                if isinstance(outcome, Decision):
                    await client.release(outcome)
            assert await client.flush(20)

    open_before = _open(shared)
    asyncio.run(cancelled())
    assert open_before == _open(shared)


def _open(gateway: Gateway) -> int:
    return sum(gateway.states()[state] for state in ("reserved", "dispatched", "in_doubt"))


def ok(body: bytes) -> bytes:
    """An answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_an_unanswered_batch_is_undone() -> None:
    """Each of its calls has a name too, by which it is found and released."""
    script = answers(ok(b"{}"), ok(ALLOWED), ok(b'{"id": "call_1", "state": "settled"}'))
    with ScriptedUpstream(script) as server, Aegis(server.base_url, "key", attempts_max=1) as client:
        with pytest.raises(Unavailable):
            client.decide_many([ToolCall(tool="desk.rank")])
        assert client.flush(20)
        batch, again, released = server.requests
        [asked] = json.loads(batch.partition(b"\r\n\r\n")[2])["decisions"]
        assert asked == json.loads(again.partition(b"\r\n\r\n")[2])
        assert asked["name"].startswith("sdk-")
        assert released.startswith(b"DELETE /v1/decisions/call_1 ")
