"""MCP servers that misbehave: what the caller reads, what the books say, and that the gateway goes on serving.

What was sent and not answered may have run: such a call counts at its maximum, in doubt, and nobody sends it again.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.gateways import Gateway, assert_books_balance, until
from tests.mcp_calls import Rpc, Session, mcp_configuration, modern, modern_call
from tests.mcp_hostile import (
    EndlessServer,
    HostileServer,
    Message,
    answer_to,
    asks,
    message_of,
    required,
    respond,
    said,
    send,
    stream,
)

pytestmark = pytest.mark.xdist_group("mcp-hostile")

PRICE_NANO_USD = 100_000_000
HUGE_BYTES = 10 * 1024 * 1024
JSON = "content-type: application/json\r\n"
SAMPLING = asks("sampling/createMessage", {"messages": [], "maxTokens": 9})
FORM = {"message": "your password?", "requestedSchema": {"type": "object", "properties": {}}}
ELICITATION = {"method": "elicitation/create", "params": FORM}

released = threading.Event()


def _works(message: Message, connection: socket.socket) -> None:
    send(connection, answer_to(message, said("it works")))


def _dies(_message: Message, connection: socket.socket) -> None:
    """Its process ends: the kernel closes the connection."""


def _dies_in_the_answer(_message: Message, connection: socket.socket) -> None:
    respond(connection, b'{"jsonrpc": "2.0", "res', headers=JSON, length=500)


def _dies_in_the_stream(_message: Message, connection: socket.socket) -> None:
    progress = {"progressToken": 1, "progress": 1}
    stream(connection, {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})


def _talks_nonsense(_message: Message, connection: socket.socket) -> None:
    respond(connection, b"<html>Welcome!</html>", headers=JSON)


def _answers_another(message: Message, connection: socket.socket) -> None:
    send(connection, {**answer_to(message, said("of somebody else")), "id": "another"})


def _answers_another_in_a_stream(message: Message, connection: socket.socket) -> None:
    stream(connection, {**answer_to(message, said("of somebody else")), "id": 4711})


def _answers_in_kind(message: Message, connection: socket.socket) -> None:
    """The same number, as a text: another request's."""
    send(connection, {**answer_to(message, said("of somebody else")), "id": str(message["id"])})


def _answers_twice(message: Message, connection: socket.socket) -> None:
    send(connection, [answer_to(message, said("one")), answer_to(message, said("two"))])


def _fails(_message: Message, connection: socket.socket) -> None:
    respond(connection, b"boom", status="500 Internal Server Error")


def _silent(_message: Message, _connection: socket.socket) -> None:
    released.wait(20)


def _huge(message: Message, connection: socket.socket) -> None:
    send(connection, answer_to(message, said("x" * HUGE_BYTES)))


def _leads_away(_message: Message, connection: socket.socket) -> None:
    respond(connection, b"", status="307 Temporary Redirect", headers="location: http://127.0.0.1:1/mcp\r\n")


def _locks_us_out(_message: Message, connection: socket.socket) -> None:
    respond(connection, b"", status="401 Unauthorized", headers="www-authenticate: Bearer\r\n")


def _didnt_understand(message: Message, connection: socket.socket) -> None:
    error = {"code": -32602, "message": "no such argument"}
    send(connection, {"jsonrpc": "2.0", "id": message["id"], "error": error})


def _asks_in_between(message: Message, connection: socket.socket) -> None:
    stream(connection, SAMPLING, answer_to(message, said("it has asked")))


def _wants_input(message: Message, connection: socket.socket) -> None:
    send(connection, required(message, None, secret=ELICITATION))


def _wants_input_in_disguise(message: Message, connection: socket.socket) -> None:
    """The same, with a letter written otherwise: JSON has many ways to write a word."""
    text = json.dumps(required(message, None, secret=ELICITATION))
    respond(connection, text.replace("input_required", "input\\u005frequired").encode(), headers=JSON)


def _lies_about_its_cost(message: Message, connection: socket.socket) -> None:
    send(connection, answer_to(message, said("free!", structuredContent={"rows": -5})))


def _counts_without_end(message: Message, connection: socket.socket) -> None:
    send(connection, answer_to(message, said("much!", structuredContent={"rows": 1e30})))


TOOLS: dict[str, Callable[[Message, socket.socket], None]] = {
    each.__name__[1:]: each
    for each in (
        _works, _dies, _dies_in_the_answer, _dies_in_the_stream, _talks_nonsense, _answers_another,
        _answers_another_in_a_stream, _answers_in_kind, _answers_twice, _fails, _silent, _huge, _leads_away,
        _locks_us_out, _didnt_understand, _asks_in_between, _wants_input, _wants_input_in_disguise,
        _lies_about_its_cost, _counts_without_end,
    )
}  # fmt: skip
BY_ROWS = ("lies_about_its_cost", "counts_without_end")


def connector(url: str) -> str:
    """The server's connector: all tools, each at a price. An operation's id has hyphens, the tools have none."""
    lines = [
        "kind: mcp",
        f"base_url: {url}",
        "credential: env:ACME_UPSTREAM_KEY",
        "timeout_seconds: 3",
        "operations:",
    ]
    for name in TOOLS:
        by_rows = "per_unit: 0.01, unit: row, units: result.rows, max_units: 10"
        price = by_rows if name in BY_ROWS else "per_call: 0.10"
        lines.append(f"  {name.replace('_', '-')}: {{tool: {name}, price: {{{price}}}}}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    """The server."""
    with HostileServer(TOOLS) as server:
        yield server
        released.set()


@pytest.fixture(scope="module")
def gateway(server: HostileServer) -> Iterator[Gateway]:
    """A gateway in front of it."""
    with Gateway(mcp_configuration({"bank": connector(server.url)})) as gateway:
        yield gateway
        assert_books_balance(gateway)


@pytest.fixture(params=["modern", "legacy"])
def call(request: pytest.FixtureRequest, gateway: Gateway) -> Callable[[str], Rpc]:
    """How a tool is called, on either wire, by a client that can't be asked for anything."""
    if request.param == "modern":
        return lambda tool: modern_call(gateway, tool)
    session = Session(gateway)
    return lambda tool: session.call(tool)


def goes_on(gateway: Gateway, call: Callable[[str], Rpc]) -> None:
    """The gateway serves as if nothing had been."""
    assert "it works" == call("works").text
    assert PRICE_NANO_USD == gateway.calls()[-1]["cost_nano_usd"]
    assert gateway.is_ready()


IN_DOUBT = (
    "dies", "dies_in_the_answer", "dies_in_the_stream", "talks_nonsense", "answers_another",
    "answers_another_in_a_stream", "answers_in_kind", "answers_twice", "fails",
)  # fmt: skip


@pytest.mark.parametrize("tool", IN_DOUBT)
def test_what_may_have_run(
    gateway: Gateway, server: HostileServer, call: Callable[[str], Rpc], tool: str
) -> None:
    """A call whose server died, or answered what is no answer to it: the caller reads that, and it counts in full."""
    before = server.calls().count(tool)
    came = call(tool)
    assert came.result["isError"]
    assert "don't just repeat it" in came.text
    assert "somebody else" not in came.answer.body.decode()
    assert ("in_doubt", None) == (gateway.calls()[-1]["state"], gateway.calls()[-1]["cost_nano_usd"])
    assert before + 1 == server.calls().count(tool)
    goes_on(gateway, call)


def test_a_server_that_never_answers(gateway: Gateway, call: Callable[[str], Rpc]) -> None:
    """Others are served while one waits; at the connector's deadline it is told, and the call counts in full."""
    came: list[Rpc] = []
    waiting = threading.Thread(target=lambda: came.append(call("silent")))
    waiting.start()
    until(lambda: gateway.calls()[-1]["state"] == "dispatched")
    silent_one = gateway.calls()[-1]["call"]
    goes_on(gateway, lambda tool: modern_call(gateway, tool))
    waiting.join()
    assert came[0].result["isError"]
    assert "in_doubt" == gateway.call(silent_one)["state"]


def test_ten_megabytes(gateway: Gateway, call: Callable[[str], Rpc]) -> None:
    """A great answer arrives whole, and costs what it costs."""
    came = call("huge")
    assert HUGE_BYTES == len(came.text)
    assert PRICE_NANO_USD == gateway.calls()[-1]["cost_nano_usd"]
    goes_on(gateway, call)


@pytest.mark.parametrize("tool", ["leads_away", "locks_us_out", "didnt_understand"])
def test_what_was_not_done(gateway: Gateway, call: Callable[[str], Rpc], tool: str) -> None:
    """Who is led elsewhere, not let in, or not understood pays nothing; nobody follows to another address."""
    came = call(tool)
    if tool == "didnt_understand":
        assert -32602 == came.error["code"]
    else:
        assert came.result["isError"]
    assert ("settled", 0) == (gateway.calls()[-1]["state"], gateway.calls()[-1]["cost_nano_usd"])
    goes_on(gateway, call)


def test_a_request_that_nobody_declared(gateway: Gateway, call: Callable[[str], Rpc]) -> None:
    """A server's request for the client's model doesn't reach a client that has not offered it; the answer does."""
    came = call("asks_in_between")
    assert "it has asked" == came.text
    assert b"sampling" not in came.answer.body
    goes_on(gateway, call)


@pytest.mark.parametrize("tool", ["wants_input", "wants_input_in_disguise"])
def test_input_that_nobody_offered(gateway: Gateway, call: Callable[[str], Rpc], tool: str) -> None:
    """A question to a person doesn't reach a client that can't be asked, however it is written, and costs nothing."""
    came = call(tool)
    assert "password" not in came.answer.body.decode()
    assert -32021 == came.error["code"]
    assert ("settled", 0) == (gateway.calls()[-1]["state"], gateway.calls()[-1]["cost_nano_usd"])
    goes_on(gateway, call)


@pytest.mark.parametrize("tool", BY_ROWS)
def test_a_server_that_lies_about_its_cost(gateway: Gateway, call: Callable[[str], Rpc], tool: str) -> None:
    """Less than nothing, or more than can be, is no number of rows: the call counts at its maximum."""
    came = call(tool)
    assert "!" in came.text
    assert PRICE_NANO_USD == gateway.calls()[-1]["cost_nano_usd"]
    goes_on(gateway, call)


def test_a_list_that_changes(gateway: Gateway, server: HostileServer) -> None:
    """A tool that appears in a server's list is neither shown nor called while nobody has declared it."""

    def bonus(message: Message, connection: socket.socket) -> None:
        send(connection, answer_to(message, said("surprise")))

    before = [each["name"] for each in modern(gateway, "tools/list").result["tools"]]
    assert set(before) == set(TOOLS)
    server.tools["bonus"] = bonus
    try:
        assert before == [each["name"] for each in modern(gateway, "tools/list").result["tools"]]
        came = modern_call(gateway, "bonus")
        assert came.result["isError"]
        assert ["unknown_tool"] == came.told["codes"]
        assert "bonus" not in server.calls()
    finally:
        del server.tools["bonus"]
    goes_on(gateway, lambda tool: modern_call(gateway, tool))


def test_a_list_without_end(server: HostileServer) -> None:
    """It is given up before it takes the gateway's memory, and the tools of others are listed without it."""
    with EndlessServer({}) as endless:
        one = "kind: mcp\nbase_url: {}\nother_tools: {{price: {{per_call: 0}}}}"
        servers = {"bank": one.format(server.url), "endless": one.format(endless.url)}
        with Gateway(mcp_configuration(servers)) as gateway:
            listed = modern(gateway, "tools/list", path="/mcp").result["tools"]
            assert {f"bank_{name}" for name in TOOLS} == {each["name"] for each in listed}
            lists = [message_of(each).get("method") == "tools/list" for each in endless.requests]
            assert 20 < sum(lists) < 100


def test_a_list_is_private(gateway: Gateway) -> None:
    """What an agent may call is its own: nobody may keep the list for another."""
    result = modern(gateway, "tools/list").result
    assert (0, "private") == (result["ttlMs"], result["cacheScope"])


def test_the_gateway_asks_with_its_own_credential(gateway: Gateway, server: HostileServer) -> None:
    """No agent's key reaches a server."""
    key = gateway.key()
    modern_call(gateway, "works")
    assert all(key.encode() not in request for request in server.requests)
    assert not [each for each in map(message_of, server.requests) if "aegis_" in json.dumps(each)]
