"""Whoever speaks to the gRPC port as no Envoy would: nothing passes, nothing is lost, and the port goes on serving."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from aegis_gateway.entrypoints.data_plane.envoy.api import (
    AUTHORIZATION,
    BUFFERED,
    EXTERNAL_PROCESSOR,
    CheckRequest,
    CheckResponse,
    ProcessingRequest,
    ProcessingResponse,
)
from tests.envoys import CONNECTOR, OPERATIONS, TOKEN, EnvoyedGateway
from tests.gateways import HOST, assert_books_balance, configuration, until

pytestmark = pytest.mark.xdist_group("odd_envoys")

METADATA = (("aegis-envoy-token", TOKEN), ("aegis-connector", CONNECTOR), ("aegis-timeout-ms", "60000"))
PATIENT = ("patient", "lingering")
"""Agents whose calls wait for their turns."""
WAIT_S = 10.0
COST = 250_000_000


@pytest.fixture(scope="module")
def gateway() -> Iterator[EnvoyedGateway]:
    """A gateway whose upstream nobody here calls."""
    files = configuration(
        "http://127.0.0.1:9",
        agents=("bot", *PATIENT),
        rates={
            f"of-{agent}": f"limit: 1, every: 8s, delay: 60s, match: {{agent: {agent}}}" for agent in PATIENT
        },
        operations=OPERATIONS,
    )
    with EnvoyedGateway(files) as gateway:
        yield gateway
        assert_books_balance(gateway)


class Talk:
    """One ext_proc stream."""

    def __init__(self, call: Any) -> None:
        """Speak over a call."""
        self._call = call

    async def say(self, message: Any) -> None:
        """Say something."""
        await self._call.write(message)

    async def hear(self) -> Any:
        """What is answered; None at the end."""
        try:
            answer = await asyncio.wait_for(self._call.read(), WAIT_S)
        except grpc.aio.AioRpcError:
            return None
        return None if answer is grpc.aio.EOF else answer

    async def leave(self) -> None:
        """Say nothing more."""
        await self._call.done_writing()

    async def ended(self) -> Any:
        """How it ended."""
        return await asyncio.wait_for(self._call.code(), WAIT_S)

    def cancel(self) -> None:
        """Be gone."""
        self._call.cancel()


def written(message: Any) -> bytes:
    """A message as bytes, or bytes that are none."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    assert isinstance(data, bytes)
    return data


def talking(
    gateway: EnvoyedGateway, script: Callable[[Talk], Awaitable[None]], metadata: Any = METADATA
) -> None:
    """Have a script talk to the gateway."""

    async def run() -> None:
        async with grpc.aio.insecure_channel(f"{HOST}:{gateway.grpc_port}") as channel:
            method = channel.stream_stream(
                f"/{EXTERNAL_PROCESSOR}/Process",
                request_serializer=written,
                response_deserializer=ProcessingResponse.FromString,
            )
            await script(Talk(method(metadata=metadata)))

    asyncio.run(run())


def headers(key: str, *, end: bool = True, **more: bytes) -> Any:
    """A request's headers."""
    message = ProcessingRequest()
    given = {
        ":method": b"GET" if end else b"POST",
        ":path": b"/v1/people/ann" if end else b"/v1/payments",
        "authorization": f"Bearer {key}".encode(),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    for name, value in given.items():
        header = message.request_headers.headers.headers.add()
        header.key, header.raw_value = name, value
    message.request_headers.end_of_stream = end
    message.protocol_config.request_body_mode = message.protocol_config.response_body_mode = BUFFERED
    return message


def body(data: bytes, part: str = "request_body") -> Any:
    """A body."""
    message = ProcessingRequest()
    getattr(message, part).body = data
    return message


def answer_headers(status: str = "200", *, details: str = "via_upstream", attempts: object = 1) -> Any:
    """An answer's headers, which end it."""
    message = ProcessingRequest()
    if status:
        header = message.response_headers.headers.headers.add()
        header.key, header.raw_value = ":status", status.encode()
    message.response_headers.end_of_stream = True
    said = {"response.code_details": details, "upstream.request_attempt_count": attempts}
    message.attributes["envoy.filters.http.ext_proc"].update(said)
    return message


def state(gateway: EnvoyedGateway) -> tuple[str, int | None]:
    """State and cost of the last call, once it is decided what they are."""
    row = gateway.settled()
    return row["state"], row["cost_nano_usd"]


def test_it_speaks_as_an_envoy_does(gateway: EnvoyedGateway) -> None:
    """What the odd ones below differ from: a call from its headers to the end of its answer."""

    async def script(talk: Talk) -> None:
        await talk.say(headers(gateway.key(), end=False))
        assert (await talk.hear()).HasField("request_headers")
        await talk.say(body(b'{"amount": 1}'))
        assert (await talk.hear()).HasField("request_body")
        await talk.say(answer_headers("201"))
        assert (await talk.hear()).HasField("response_headers")
        await talk.leave()
        assert grpc.StatusCode.OK == await talk.ended()

    talking(gateway, script)
    assert ("settled", COST) == state(gateway)


@pytest.mark.parametrize("leave", [Talk.leave, None], ids=["ends", "is gone"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_one_that_leaves(
    gateway: EnvoyedGateway, after: int, leave: Callable[[Talk], Awaitable[None]] | None
) -> None:
    """Before it has the decision there is no call, or one that never left; after it, the call is in doubt."""
    before = gateway.count()

    async def script(talk: Talk) -> None:
        said = [headers(gateway.key(), end=False), body(b'{"amount": 1}')]
        for message in said[:after]:
            await talk.say(message)
            await talk.hear()
        if after == 3:
            await talk.say(body(b"{}", "response_body"))
        if leave is not None:
            await leave(talk)
            await talk.ended()
        else:
            talk.cancel()

    talking(gateway, script)
    if after < 2:
        assert before == gateway.count()
    else:
        assert ("in_doubt", None) == state(gateway)


def test_one_that_is_gone_while_the_call_waits_for_its_turn(gateway: EnvoyedGateway) -> None:
    """What was reserved and never told is released at once, without having waited for its turn."""

    async def first(talk: Talk) -> None:
        await talk.say(headers(gateway.key("patient")))
        await talk.hear()
        await talk.say(answer_headers())
        await talk.hear()

    async def second(talk: Talk) -> None:
        await talk.say(headers(gateway.key("patient")))
        await asyncio.to_thread(until, lambda: gateway.last_call()["state"] == "reserved", "it doesn't wait")
        talk.cancel()

    talking(gateway, first)
    assert ("settled", 10_000_000) == state(gateway)
    talking(gateway, second)
    until(lambda: gateway.last_call()["state"] == "released", "it is never put in order", wait_s=WAIT_S)
    assert 0 == gateway.last_call()["cost_nano_usd"]


def test_one_that_asks_no_longer_while_the_call_waits_for_its_turn(gateway: EnvoyedGateway) -> None:
    """By ext_authz too, what nobody asks about any more is released at once."""

    def change(http: Any) -> None:
        http.headers["authorization"] = f"Bearer {gateway.key('lingering')}"

    assert check(gateway, change).HasField("ok_response")
    with checking(gateway, change, 60) as asked:
        until(lambda: gateway.last_call()["state"] == "reserved", "it doesn't wait")
        asked.cancel()
        until(lambda: gateway.last_call()["state"] == "released", "it is never put in order", wait_s=WAIT_S)


@pytest.mark.parametrize(
    "said",
    [
        answer_headers(""),
        answer_headers("twelve"),
        body(b"{}", "response_body"),
        body(b"{}"),
        ProcessingRequest(),
    ],
    ids=["no status", "odd status", "body first", "body again", "nothing"],
)
def test_answers_that_are_none(gateway: EnvoyedGateway, said: Any) -> None:
    """What was sent and not answered as it should be is in doubt, and the Envoy is told that it failed."""

    async def script(talk: Talk) -> None:
        await talk.say(headers(gateway.key()))
        await talk.hear()
        await talk.say(said)
        answer = await talk.hear()
        if answer is None:
            assert grpc.StatusCode.OK != await talk.ended()
        else:
            assert answer.immediate_response.status.code >= 500

    talking(gateway, script)
    assert ("in_doubt", None) == state(gateway)


@pytest.mark.parametrize("after", [0, 1])
def test_what_cannot_be_read(gateway: EnvoyedGateway, after: int) -> None:
    """Bytes that are no message end the conversation with an error; what was sent by then is in doubt."""
    before = gateway.count()

    async def script(talk: Talk) -> None:
        if after:
            await talk.say(headers(gateway.key()))
            await talk.hear()
        await talk.say(b"\xff\xff\xff")
        await talk.hear()
        assert grpc.StatusCode.OK != await talk.ended()

    talking(gateway, script)
    assert before + after == gateway.count()
    if after:
        assert ("in_doubt", None) == state(gateway)


@pytest.mark.parametrize(
    ("details", "attempts", "expected"),
    [
        ("no_healthy_upstream", 1, ("settled", 0)),
        ("upstream_reset_before_response_started{remote_connection_failure|x}", 1, ("settled", 0)),
        ("upstream_reset_before_response_started{remote_connection_failure|x}", 2, ("in_doubt", None)),
        ("upstream_reset_before_response_started{connection_termination}", 1, ("in_doubt", None)),
        ("response_timeout", 1, ("in_doubt", None)),
        ("another_filter_refused", 0, ("settled", 0)),
        ("another_filter_refused", None, ("in_doubt", None)),
        ("no_healthy_upstream", "0", ("in_doubt", None)),
        ("another_filter_refused", 1, ("in_doubt", None)),
        ("via_upstream", 2, ("in_doubt", None)),
        ("via_upstream", 1, ("settled", 10_000_000)),
        ("", 0, ("settled", 10_000_000)),
    ],
)
def test_what_an_envoy_says_of_the_answer(
    gateway: EnvoyedGateway, details: str, attempts: object, expected: tuple[str, int | None]
) -> None:
    """Only what proves that nothing was sent frees the call's maximum."""

    async def script(talk: Talk) -> None:
        await talk.say(headers(gateway.key()))
        await talk.hear()
        await talk.say(answer_headers(details=details, attempts=attempts))
        assert await talk.hear() is not None

    talking(gateway, script)
    assert expected == state(gateway)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        METADATA[1:],
        (("aegis-envoy-token", TOKEN[:-1]), *METADATA[1:]),
        (("aegis-envoy-token-bin", TOKEN.encode()), *METADATA[1:]),
        (("authorization", f"Bearer {TOKEN}"), *METADATA[1:]),
    ],
)
def test_one_without_the_token(gateway: EnvoyedGateway, metadata: Any) -> None:
    """An agent that speaks gRPC itself is told nothing, whatever key it has."""
    before = gateway.count()

    async def script(talk: Talk) -> None:
        assert None is await talk.hear()
        assert grpc.StatusCode.UNAUTHENTICATED == await talk.ended()

    talking(gateway, script, metadata)
    assert before == gateway.count()


@pytest.mark.parametrize(
    "first",
    [
        ProcessingRequest(),
        body(b"{}"),
        answer_headers(),
    ],
    ids=["nothing", "body", "answer"],
)
def test_one_that_begins_in_the_middle(gateway: EnvoyedGateway, first: Any) -> None:
    """A request begins with its headers."""
    before = gateway.count()

    async def script(talk: Talk) -> None:
        await talk.say(first)
        assert 500 == (await talk.hear()).immediate_response.status.code

    talking(gateway, script)
    assert before == gateway.count()


@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"Bearer \xff", "Bearer ключ".encode(), b"Bearer " + b"x" * 60_000, b""]
)
@pytest.mark.parametrize("name", ["authorization", "x-aegis-key"])
def test_keys_that_are_none(gateway: EnvoyedGateway, name: str, value: bytes) -> None:
    """Whatever bytes stand for a key, they are nobody's, and that is what is answered."""

    async def script(talk: Talk) -> None:
        message = headers("nobody")
        header = message.request_headers.headers.headers.add()
        header.key, header.raw_value = name, value
        await talk.say(message)
        assert 401 == (await talk.hear()).immediate_response.status.code

    talking(gateway, script)


@pytest.mark.parametrize(
    "path",
    [b"", b"people", b"/v1/\xff", b"/v1/people/" + b"a" * 9_000, b"/v1/people/%00", b"/?" + b"a=1&" * 999],
)
def test_paths_that_are_none(gateway: EnvoyedGateway, path: bytes) -> None:
    """An odd path is refused before there is a call, is one that nobody declared, or is just a path."""
    before = gateway.count()

    async def script(talk: Talk) -> None:
        message = headers(gateway.key())
        message.request_headers.headers.headers[1].raw_value = path
        await talk.say(message)
        answer = await talk.hear()
        if answer.HasField("immediate_response"):
            assert answer.immediate_response.status.code in (400, 404)
        else:
            await talk.say(answer_headers())
            await talk.hear()

    talking(gateway, script)
    gateway.settled()
    found = {(call["effect"], call["state"]) for call in gateway.calls()[before:]}
    assert {("allow", "settled"), ("deny", "refused")} >= found


def check(gateway: EnvoyedGateway, change: Callable[[Any], None], timeout_s: float = WAIT_S) -> Any:
    """What `Check` answers to a request that is changed."""
    with checking(gateway, change, timeout_s) as asked:
        return asked.result()


@contextmanager
def checking(gateway: EnvoyedGateway, change: Callable[[Any], None], timeout_s: float) -> Iterator[Any]:
    """A `Check` of a request that is changed, under way."""
    message = CheckRequest()
    message.attributes.context_extensions["aegis-connector"] = CONNECTOR
    http = message.attributes.request.http
    http.method, http.path, http.protocol = "GET", "/v1/people/ann", "HTTP/1.1"
    http.headers["authorization"] = f"Bearer {gateway.key()}"
    change(http)
    with grpc.insecure_channel(f"{HOST}:{gateway.grpc_port}") as channel:
        method = channel.unary_unary(
            f"/{AUTHORIZATION}/Check",
            request_serializer=CheckRequest.SerializeToString,
            response_deserializer=CheckResponse.FromString,
        )
        yield method.future(message, metadata=METADATA[:1], timeout=timeout_s)


def test_headers_as_bytes(gateway: EnvoyedGateway) -> None:
    """An Envoy that is told to may show headers as bytes."""

    def change(http: Any) -> None:
        header = http.header_map.headers.add()
        header.key, header.raw_value = "authorization", http.headers["authorization"].encode()
        del http.headers["authorization"]

    assert check(gateway, change).HasField("ok_response")


@pytest.mark.parametrize(
    ("protocol", "method", "path", "status"),
    [
        ("HTTP/2", "GET", "/v1/people/ann", None),
        ("HTTP/2", "POST", "/v1/payments", 400),
        ("", "POST", "/v1/payments", 400),
        ("HTTP/1.1", "POST", "/v1/payments", 400),
        ("HTTP/2", "BREW", "/v1/payments", 404),
    ],
)
def test_bodies_that_are_not_shown(
    gateway: EnvoyedGateway, protocol: str, method: str, path: str, status: int | None
) -> None:
    """HTTP/2 has bodies that no header tells of: nothing that is judged by one passes without it."""

    def change(http: Any) -> None:
        http.protocol, http.method, http.path = protocol, method, path

    answer = check(gateway, change)
    assert (0 if status is None else status) == answer.denied_response.status.code
    assert (status is None) == answer.HasField("ok_response")


@pytest.mark.parametrize("protocol", ["HTTP/2", "HTTP/1.1"])
def test_a_caller_who_says_what_an_envoy_says_of_bodies(gateway: EnvoyedGateway, protocol: str) -> None:
    """A body that isn't shown doesn't count as shown because its sender says that it is."""

    def change(http: Any) -> None:
        http.protocol, http.method, http.path = protocol, "POST", "/v1/payments"
        http.headers.update({"x-envoy-auth-partial-body": "false", "transfer-encoding": "chunked"})

    denied = check(gateway, change).denied_response
    assert 400 == denied.status.code
    assert "with_request_body" in denied.body


def test_headers_that_are_not_shown(gateway: EnvoyedGateway) -> None:
    """An Envoy may show us few of them (`forward_rules`); what no upstream may get is removed from the others too."""
    removed: list[str] = []

    async def script(talk: Talk) -> None:
        await talk.say(headers(gateway.key()))
        answer = await talk.hear()
        removed.extend(answer.request_headers.response.header_mutation.remove_headers)
        await talk.say(answer_headers())
        await talk.hear()

    talking(gateway, script)
    assert {"cookie", "x-http-method-override", "x-original-url", "aegis-run-id"} <= set(removed)


def test_an_envoy_that_waits_no_longer(gateway: EnvoyedGateway) -> None:
    """The call is decided all the same, and settled at nothing: what Envoy wasn't told it didn't let pass."""
    before = gateway.count()
    pid = gateway.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(grpc.RpcError):
            check(gateway, lambda http: None, timeout_s=0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert check(gateway, lambda http: None).HasField("ok_response")
    costs = [row["cost_nano_usd"] for row in gateway.calls()[before:]]
    assert 10_000_000 == sum(costs)
