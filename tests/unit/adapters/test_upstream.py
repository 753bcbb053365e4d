"""The way to upstreams, over real sockets, with names that lead where the test says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import pytest

from aegis_gateway.adapters.addresses import Addresses
from aegis_gateway.adapters.upstream import PyreqwestUpstream
from aegis_gateway.application.ports import UpstreamRequest
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.network import Network
from aegis_gateway.domain.registry import Deadlines
from tests.gateways import ScriptedUpstream

T = TypeVar("T")

HOST = "upstream.example"
OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
SOON = Deadlines(connect_s=1, first_byte_s=1, idle_s=1, total_s=3)


class Names:
    """A resolver that answers as it is told, one answer after the other, and the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        """The next answer."""
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not found:
            raise OSError("no such name")
        return found


def request(port: int, *, host: str = HOST, network: Network = "private", **rest: object) -> UpstreamRequest:
    """A request to a host."""
    wanted = UpstreamRequest(
        method="POST",
        url=f"http://{host}:{port}/v1/x",
        headers=[("content-type", "application/json")],
        body=b"{}",
        deadlines=SOON,
        network=network,
    )
    return msgspec.structs.replace(wanted, **rest)


def run(use: Callable[[PyreqwestUpstream], Awaitable[T]], names: Names) -> T:
    """Use a way to upstreams."""

    async def within() -> T:
        upstream = PyreqwestUpstream(Addresses(names))
        try:
            return await use(upstream)
        finally:
            await upstream.close()

    return asyncio.run(within())


def port_of(upstream: ScriptedUpstream) -> int:
    """Where it listens."""
    return int(upstream.base_url.rpartition(":")[2])


def fault_of(wanted: UpstreamRequest, names: Names) -> UpstreamFault:
    """What becomes of a request that fails."""
    with pytest.raises(UpstreamFault) as caught:
        run(lambda upstream: upstream.fetch(wanted), names)
    return caught.value


def test_the_vetted_address_is_connected_to() -> None:
    """The name stays in the request, and is looked up once for many."""
    names = Names(["127.0.0.1"])
    seen: list[bytes] = []

    def script(received: bytes, connection: socket.socket) -> None:
        seen.append(received)
        connection.sendall(OK)

    with ScriptedUpstream(script) as upstream:

        async def twice(way: PyreqwestUpstream) -> None:
            for _ in range(2):
                assert b"ok" == (await way.fetch(request(port_of(upstream)))).body

        run(twice, names)
    assert 1 == names.asked
    assert all(f"host: {HOST}:".encode() in each.lower() for each in seen)


@pytest.mark.parametrize(
    ("answers", "network"),
    [
        (["127.0.0.1"], "public"),
        (["10.0.0.1", "::1"], "public"),
        (["169.254.169.254"], "private"),
        (["::ffff:169.254.169.254"], "private"),
    ],
)
def test_names_that_lead_inside(answers: list[str], network: Network) -> None:
    """Nothing is connected to, nothing was sent, and the words say what the operator may do."""
    arrived: list[bytes] = []
    with ScriptedUpstream(lambda received, _: arrived.append(received)) as upstream:
        fault = fault_of(request(port_of(upstream), network=network), Names(answers))
    assert not fault.sent
    assert "no address that an upstream may have" in str(fault)
    assert [] == arrived


def test_a_name_that_leads_elsewhere_the_second_time() -> None:
    """What was vetted holds for a moment: a name that then leads inside leads nowhere, and is asked once."""
    arrived: list[bytes] = []
    names = Names(["192.0.2.1"], ["127.0.0.1"])
    with ScriptedUpstream(lambda received, _: arrived.append(received)) as upstream:
        wanted = request(port_of(upstream), network="private")
        assert not fault_of(wanted, names).sent
    assert 1 == names.asked
    assert [] == arrived


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0.0.0.0"])
def test_an_address_that_no_upstream_has(host: str) -> None:
    """Even where the operator wrote it."""
    fault = fault_of(request(9, host=host), Names([]))
    assert "no upstream has" in str(fault)


def test_a_name_that_nobody_knows() -> None:
    """Nothing was sent."""
    fault = fault_of(request(9), Names([]))
    assert not fault.sent
    assert "cannot be resolved" in str(fault)


def test_one_safe_retry() -> None:
    """Where nobody listens nothing was sent: the next address is tried, once."""
    with ScriptedUpstream(lambda _, connection: connection.sendall(OK)) as upstream:
        port = port_of(upstream)
        answer = run(lambda way: way.fetch(request(port)), Names(["127.0.0.2", "127.0.0.1"]))
        assert 200 == answer.status
        fault = fault_of(request(port), Names(["127.0.0.2", "127.0.0.3", "127.0.0.1"]))
    assert not fault.sent


def test_what_was_sent_is_not_tried_again() -> None:
    """A connection that closes under a request may have delivered it."""
    arrived: list[bytes] = []
    with ScriptedUpstream(lambda received, _: arrived.append(received)) as upstream:
        fault = fault_of(request(port_of(upstream)), Names(["127.0.0.1"]))
    assert fault.sent
    assert 1 == len(arrived)


def silent_after(beginning: bytes, released: list[socket.socket]) -> Callable[[bytes, socket.socket], None]:
    """An upstream that sends a beginning and keeps the connection."""

    def script(_received: bytes, connection: socket.socket) -> None:
        released.append(connection.dup())
        connection.sendall(beginning)

    return script


async def read_stream(way: PyreqwestUpstream, wanted: UpstreamRequest) -> None:
    """Read an answer in pieces, to its end."""
    async with way.stream(wanted) as answer:
        while await answer.next_piece() is not None:
            pass


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"", "did not answer within 1 s"),
        (b"HTTP/1.1 200 OK\r\nx: ", "did not answer within 1 s"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "sent nothing for 1 s"),
    ],
)
def test_deadlines(beginning: bytes, words: str) -> None:
    """Each wait has its own, and says which it was."""
    kept: list[socket.socket] = []
    with ScriptedUpstream(silent_after(beginning, kept)) as upstream:
        wanted = request(port_of(upstream))
        with pytest.raises(UpstreamFault) as caught:
            run(lambda way: read_stream(way, wanted), Names(["127.0.0.1"]))
        for connection in kept:
            connection.close()
    fault = caught.value
    assert (True, True) == (fault.sent, fault.timed_out)
    assert words in str(fault)


def test_an_answer_that_repeats_our_credential() -> None:
    """It is passed on without it, in headers as in the body."""
    body = b'{"key": "Bearer canary-secret"}'
    head = b"HTTP/1.1 401 Unauthorized\r\nx-echo: Bearer canary-secret\r\nx-other: 1\r\n"
    echo = head + b"content-length: %d\r\n\r\n" % len(body) + body
    with ScriptedUpstream(lambda _, connection: connection.sendall(echo)) as upstream:
        wanted = request(port_of(upstream), secret="canary-secret")
        answer = run(lambda way: way.fetch(wanted), Names(["127.0.0.1"]))
    assert b"canary" not in answer.body
    assert b"[withheld]" in answer.body
    assert ["x-other", "content-length"] == [name for name, _ in answer.headers]
