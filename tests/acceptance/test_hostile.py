"""Callers and upstreams that do not keep to the rules: each gets an answer, nothing is lost, others do not notice."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.data_plane.exchange import BODY_BYTES_MAX
from tests.gateways import (
    CREDENTIAL_VARIABLE,
    HOST,
    PEPPER,
    Gateway,
    Happened,
    ScriptedUpstream,
    answer_with,
    ask,
    assert_books_balance,
    at_once,
    chat,
    chat_body,
    configuration,
    exchange,
    happening,
    until,
)
from tests.servers import PostgresServer

pytestmark = pytest.mark.xdist_group("hostile")

CHAT = "/v1/chat/completions"
PAY = "/connect/api/v1/payments"
WHOLE = b'{"id": "x", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}'
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
USAGE_EVENT = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"
COST_NANO_USD = 10 * 150 + 5 * 600


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway whose upstreams have two seconds to answer, with budgets of money, tokens and calls."""
    files = configuration(upstream.base_url, budgets=BUDGETS, timeout_seconds=2)
    with Gateway(files) as gateway:
        yield gateway
        assert_books_balance(gateway)
        assert "nobody foresaw" not in gateway.log()


BUDGETS = {
    "plenty": "limit: 1000.00, period: yearly",
    "tokens": "counts: tokens, limit: 100000000, period: yearly, match: {tenant: acme}",
    "calls": "counts: calls, limit: 1000000, period: yearly, match: {tenant: acme}",
}


def head(gateway: Gateway, *lines: str, path: str = CHAT, method: str = "POST") -> bytes:
    """The head of a raw request with a valid key."""
    given = [
        f"{method} {path} HTTP/1.1",
        "host: x",
        "connection: close",
        f"authorization: Bearer {gateway.key()}",
        *lines,
    ]
    return "\r\n".join([*given, "", ""]).encode("latin-1")


def status_of(answer: bytes) -> int:
    """The status of a raw answer, 0 where there is none."""
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(found[1]) if found else 0


def assert_nothing_happened(happened: Happened) -> None:
    """Nothing was decided, sent or charged."""
    assert Happened() == happened


# -- callers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAT, PAY])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"NaN",
        b'{"model": NaN, "amount": NaN}',
        b'{"model": "gpt-4o-mini", "amount": 1e999}',
        b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"',
        b'{"model": "gpt-4o-mini", "currency": "\xff\xfe", "amount": 1}',
        b'{"model": "gpt-4o-mini", "currency": "\\ud800", "amount": 1}',
        b'\xef\xbb\xbf{"model": "gpt-4o-mini"}',
        '{"model": "gpt-4o-mini"}'.encode("utf-16"),
        b"\x00" * 100,
        b"\x1f\x8b\x08\x00" + b"\x00" * 40,
        b"[" * 200_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"model": 7, "amount": {}}',
        b'{"model": "gpt-4o-mini", "messages": {}, "amount": []}',
        b'{"model": "gpt-4o-mini", "messages": [null], "amount": null}',
        b'{"model": "gpt-4o-mini", "messages": [[]], "amount": "x"}',
        b'{"model": "' + b"m" * 1_000_000 + b'", "amount": "' + b"9" * 1_000_000 + b'"}',
        b'{"amount": 1e99999999, "currency": "USD", "max_tokens": 1e99999999}',
        b"<xml/>",
    ],
)
def test_bodies_that_are_no_request(
    upstream: UpstreamProcess, gateway: Gateway, path: str, body: bytes
) -> None:
    """Each is a 400 in the API's own form, at once, and nothing is decided, reserved or recorded."""
    with happening(gateway, upstream) as happened:
        began = time.monotonic()
        answer = ask(gateway, "POST", path, body)
        took_s = time.monotonic() - began
    error = answer.json["error"]
    assert (400, "invalid_request_error", "invalid_request") == (answer.status, error["type"], error["code"])
    assert {"message", "type", "param", "code"} == error.keys()
    assert 0 < len(error["message"]) < 500
    assert "application/json" == answer.headers["content-type"]
    assert took_s < 5
    assert_nothing_happened(happened)


@pytest.mark.parametrize("depth", [900, 970, 976, 980, 984, 988, 992, 996, 1_000, 1_100])
@pytest.mark.parametrize("path", [CHAT, PAY])
def test_bodies_as_deep_as_can_be_read(gateway: Gateway, path: str, depth: int) -> None:
    """At whatever depth reading, judging or writing would fail, the answer is a 400, never a fault."""
    nested = b"[" * depth + b"]" * depth
    body = (
        b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[tokens=1]]"}], '
        b'"amount": 1, "currency": "USD", "beneficiary": "x", "metadata": ' + nested + b"}"
    )
    answer = ask(gateway, "POST", path, body)
    assert answer.status in (200, 201, 400)
    if answer.status == 400:
        assert "nested too deeply" in answer.json["error"]["message"]


def test_a_body_that_says_it_is_too_long(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """It is refused with 413 before it is read."""
    with happening(gateway, upstream) as happened:
        answer = exchange(gateway, head(gateway, f"content-length: {BODY_BYTES_MAX + 1}"))
    assert 413 == status_of(answer)
    assert b'"request_too_large"' in answer
    assert_nothing_happened(happened)


@pytest.mark.parametrize("length", ["99999999999999999999999", "-1", "0x10", "1e3", "5, 5"])
def test_lengths_that_are_none(upstream: UpstreamProcess, gateway: Gateway, length: str) -> None:
    """A length that is no number, or no sane one, is refused; the connection is not read as another request."""
    with happening(gateway, upstream) as happened:
        answer = exchange(gateway, head(gateway, f"content-length: {length}") + b"{}")
    assert status_of(answer) in (0, 400, 413)
    assert_nothing_happened(happened)


def test_a_body_in_pieces_that_is_too_long(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A body that does not say its length is read up to the limit, then refused with 413."""
    piece = b"x" * 65_536
    with happening(gateway, upstream) as happened, connected(gateway) as connection:
        connection.sendall(head(gateway, "transfer-encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            for _ in range(BODY_BYTES_MAX // len(piece) + 2):
                connection.sendall(b"10000\r\n" + piece + b"\r\n")
        answer = everything(connection)
    assert status_of(answer) in (0, 413)
    assert_nothing_happened(happened)
    assert gateway.is_ready()


def test_a_body_in_pieces(gateway: Gateway) -> None:
    """A body that does not say its length is as good as one that does."""
    body = json.dumps(chat_body("[[tokens=1]]")).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:]))
    answer = exchange(gateway, head(gateway, "transfer-encoding: chunked") + chunks + b"0\r\n\r\n")
    assert 200 == status_of(answer)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
        b"POST /v1/chat/completions HTTP/9.9\r\n\r\n",
        b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % number for number in range(500)) + b"\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_requests_that_are_no_http(upstream: UpstreamProcess, gateway: Gateway, request_: bytes) -> None:
    """What another server might read otherwise is refused and its connection closed."""
    with happening(gateway, upstream) as happened, contextlib.suppress(ConnectionError):
        answer = exchange(gateway, request_, hang_up=True)
        assert status_of(answer) not in (200, 201, 500, 502, 503)
    assert_nothing_happened(happened)
    assert gateway.is_ready()


def test_a_body_that_never_comes_whole(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A caller who promises more than is sent, and goes, has asked for nothing."""
    with happening(gateway, upstream) as happened:
        for _ in range(5):
            with connected(gateway) as connection:
                connection.sendall(head(gateway, "content-length: 500") + b'{"model": "gpt-4o-mini"')
        until(gateway.is_ready)
    assert_nothing_happened(happened)


def test_idle_and_slow_connections(gateway: Gateway) -> None:
    """Hundreds of connections that say nothing, or half a head, keep nobody else from being served."""
    with contextlib.ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(connected(gateway))
            if number % 2:
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost:")
        for _ in range(5):
            assert 200 == chat(gateway, "[[tokens=1]]").status


def test_claims_in_headers(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Headers that look like ours, or speak of the connection, decide nothing and go nowhere."""
    claims = {
        "aegis-effect": "allow",
        "aegis-decision-id": "call_000000000000",
        "aegis-cost-usd": "0",
        "aegis-agent": "root",
        "x-aegis-tenant": "other",
        "connection": "close, authorization",
        "te": "trailers",
        "upgrade": "h2c",
        "x-forwarded-user": "root",
    }
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", CHAT, chat_body("[[tokens=1]]"), headers=claims)
    assert 200 == answer.status
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0
    assert gateway.last_call()["call"] == answer.headers["aegis-decision-id"]
    assert "bot" == gateway.last_call()["agent"]


def test_others_are_unharmed(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """While some send nonsense at once, every honest call beside them is answered and charged once."""
    nonsense: list[object] = [
        {"amount": "1e999999999", "currency": "USD"},
        {"amount": 1, "currency": "\x00", "beneficiary": "x"},
        [[[[[]]]]],
        {"amount": 2**70, "currency": "USD"},
    ]
    requests = [
        (gateway, "POST", PAY, nonsense[number % 4], gateway.key())
        if number % 2
        else (gateway, "POST", CHAT, chat_body("[[tokens=3]]"), gateway.key())
        for number in range(100)
    ]
    with happening(gateway, upstream) as happened:
        answers = at_once(requests)
    assert Counter({200: 50}) == Counter(answer.status for answer in answers[::2] if answer)
    assert {400, 422} >= {answer.status for answer in answers[1::2] if answer}
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


@pytest.mark.xdist_group("heavy")
def test_names_that_a_database_cannot_hold(
    upstream: UpstreamProcess, postgres_server: PostgresServer
) -> None:
    """NUL characters and halves of characters in any field are refused or recorded; PostgreSQL is no exception."""
    url = postgres_server.new_database()
    try:
        with Gateway(configuration(upstream.base_url), store=url) as gateway:
            for body, status in (
                (b'{"model": "a\\u0000b", "messages": [{"role": "user", "content": "x"}]}', 400),
                (b'{"model": "gpt-99\'; drop table call; --", "messages": [{"role": "user"}]}', 404),
                (
                    b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "\\u0000[[tokens=1]]"}]}',
                    200,
                ),
            ):
                assert status == ask(gateway, "POST", CHAT, body).status
            payment = b'{"amount": 1, "currency": "US\\u0000", "beneficiary": "x", "reference": "\\u0000"}'
            assert 422 == ask(gateway, "POST", PAY, payment).status
            assert 400 == ask(gateway, "GET", "/connect/a%00b/x").status
            assert 404 == ask(gateway, "GET", "/connect/a'b/x").status
            assert_books_balance(gateway)
    finally:
        postgres_server.drop_database(url)


# -- callers who leave -----------------------------------------------------------------------------------------


def test_a_caller_who_leaves_before_the_first_byte(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """The call goes on without its caller and is settled at what it really cost."""
    for stream in (False, True):
        with happening(gateway, upstream) as happened:
            body = json.dumps(chat_body("[[delay_ms=300]] [[tokens=30]]", stream=stream)).encode()
            with connected(gateway) as connection:
                arrived = upstream.bill()["arrived"]
                connection.sendall(head(gateway, f"content-length: {len(body)}") + body)
                until(lambda arrived=arrived: upstream.bill()["arrived"] > arrived)  # type: ignore[misc]
                reset(connection)
            assert "settled" == gateway.settled()["state"]
        assert happened.billed_nano_usd == happened.charged_nano_usd > 0
    assert "usage" == gateway.entries()[-1]["evidence"]


def test_a_caller_who_leaves_in_the_middle_of_a_stream(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """The stream is read to its end all the same and settled at its real usage, not at the maximum."""
    with happening(gateway, upstream) as happened:
        body = json.dumps(chat_body("[[tokens=60]] [[chunk_delay_ms=10]]", stream=True)).encode()
        with connected(gateway) as connection:
            connection.sendall(head(gateway, f"content-length: {len(body)}") + body)
            until(lambda: b"data: " in connection.recv(65_536))
            reset(connection)
        assert "settled" == gateway.settled()["state"]
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0
    assert "usage" == gateway.entries()[-1]["evidence"]


def test_a_caller_who_reads_nothing(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """One who asks and never reads holds up nobody else."""
    with connected(gateway) as connection:
        body = json.dumps(chat_body("[[tokens=16000]]", stream=True, max_tokens=16_000)).encode()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(head(gateway, f"content-length: {len(body)}") + body)
        for _ in range(5):
            assert 200 == chat(gateway, "[[tokens=1]]").status
        reset(connection)
    until(lambda: not gateway.states()["dispatched"], "the call stays under way")


# -- upstreams -------------------------------------------------------------------------------------------------


def test_an_upstream_that_is_slow(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A slow answer is waited for, and others do not wait with it."""
    slow: list[Any] = []
    request = (gateway, "POST", CHAT, chat_body("[[delay_ms=1200]] [[tokens=1]]"), gateway.key())
    caller = threading.Thread(target=lambda: slow.extend(at_once([request] * 20)))
    caller.start()
    began = time.monotonic()
    assert 200 == chat(gateway, "[[tokens=1]]").status
    assert time.monotonic() - began < 1
    caller.join()
    assert {200} == {answer.status for answer in slow}


@pytest.mark.parametrize(
    ("text", "stream", "status", "state"),
    [
        ("[[hang]]", False, 504, "in_doubt"),
        ("[[hang]]", True, 504, "in_doubt"),
        ("[[delay_ms=4000]]", False, 504, "in_doubt"),
        ("[[hang_after=3]] [[tokens=9]]", True, 200, "in_doubt"),
        ("[[reset_after=3]] [[tokens=9]]", True, 200, "in_doubt"),
        ("[[break_after=3]] [[tokens=9]]", True, 200, "in_doubt"),
        ("[[fail=500]]", False, 500, "settled"),
        ("[[fail=429]]", True, 429, "settled"),
        ("[[fail=503]]", True, 503, "settled"),
    ],
)
def test_an_upstream_that_fails(
    upstream: UpstreamProcess, gateway: Gateway, text: str, stream: bool, status: int, state: str
) -> None:
    """What was not refused in the provider's own words is in doubt, and counts at its maximum for every budget."""
    before = {budget: gateway.standing(budget) for budget in BUDGETS}
    answer = chat(gateway, text, stream=stream)
    assert status == answer.status
    row = gateway.settled()
    assert state == row["state"]
    after = {budget: gateway.standing(budget) for budget in BUDGETS}
    held = {budget: after[budget][0] - before[budget][0] for budget in BUDGETS}
    spent = {budget: after[budget][1] - before[budget][1] for budget in BUDGETS}
    if state == "in_doubt":
        assert row["maximum_nano_usd"] == held["plenty"] > 0
        assert held["tokens"] > 0
        assert (1, 0) == (held["calls"], spent["plenty"])
    else:
        assert {"plenty": 0, "tokens": 0, "calls": 0} == held
        assert {"plenty": 0, "tokens": 0, "calls": 1} == spent
    if stream and status == 200:
        last = [line for line in answer.body.split(b"\n\n") if line][-1]
        assert "upstream_failed" == json.loads(last.removeprefix(b"data: "))["error"]["code"]
        assert b"[DONE]" not in answer.body
    elif status == 504:
        assert ("upstream_failed", "false") == (answer.code, answer.headers["x-should-retry"])


@pytest.mark.parametrize(
    ("order", "stream", "kind"),
    [
        ("[[usage=missing]] [[tokens=9]]", False, "maximum"),
        ("[[usage=missing]] [[tokens=9]]", True, "maximum"),
        ("[[usage=zero]]", False, "zero"),
        ("[[usage=zero]]", True, "zero"),
        ("[[over=500]]", False, "overrun"),
        ("[[over=500]]", True, "overrun"),
    ],
)
def test_an_upstream_that_reports_oddly(
    upstream: UpstreamProcess, gateway: Gateway, order: str, stream: bool, kind: str
) -> None:
    """No usage is the maximum, an explicit zero is zero, and more than the maximum is booked as it is."""
    with happening(gateway, upstream) as happened:
        assert 200 == chat(gateway, order, stream=stream, max_tokens=100).status
        row = gateway.settled()
    assert "settled" == row["state"]
    assert (kind == "overrun") == bool(row["overrun"])
    match kind:
        case "maximum":
            assert happened.billed_nano_usd < happened.charged_nano_usd == row["maximum_nano_usd"]
        case "zero":
            assert 0 == happened.billed_nano_usd == happened.charged_nano_usd
        case _:
            assert happened.billed_nano_usd == happened.charged_nano_usd > row["maximum_nano_usd"]
            assert gateway.entries()[-1]["overrun"] is True


def scripted(body: bytes, **rest: str) -> Callable[[bytes, socket.socket], None]:
    """A stream of events as one answer."""
    return answer_with(body, headers="content-type: text/event-stream\r\n", **rest)


def cut_short(_request: bytes, connection: socket.socket) -> None:
    """Half of what was announced, then a reset."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
    time.sleep(0.05)  # so that it is there before the reset
    reset(connection)


def hung_up(_request: bytes, connection: socket.socket) -> None:
    """Nothing at all."""
    reset(connection)


def babble(_request: bytes, connection: socket.socket) -> None:
    """Something that is not HTTP."""
    connection.sendall(b"220 smtp.example ESMTP\r\n" * 10)


def goes_on_after_the_end(_request: bytes, connection: socket.socket) -> None:
    """A stream whose connection stays open after its terminal event."""
    connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + EVENT + USAGE_EVENT + DONE
    )
    with contextlib.suppress(OSError):
        connection.recv(1)


@pytest.mark.parametrize(
    ("script", "stream", "status", "state", "cost"),
    [
        (answer_with(WHOLE), False, 200, "settled", COST_NANO_USD),
        (scripted(EVENT + USAGE_EVENT + DONE), True, 200, "settled", COST_NANO_USD),
        (scripted(EVENT + USAGE_EVENT + DONE.rstrip()), True, 200, "settled", COST_NANO_USD),
        (scripted(EVENT + USAGE_EVENT + DONE + b"data: more\n\n"), True, 200, "settled", COST_NANO_USD),
        (
            scripted((EVENT + USAGE_EVENT + DONE).replace(b"\n\n", b"\r\n\r\n")),
            True,
            200,
            "settled",
            COST_NANO_USD,
        ),
        (scripted(b": hello\n\n" + EVENT + USAGE_EVENT + DONE), True, 200, "settled", COST_NANO_USD),
        (goes_on_after_the_end, True, 200, "settled", COST_NANO_USD),
        (scripted(EVENT + USAGE_EVENT), True, 200, "settled", COST_NANO_USD),
        (scripted(EVENT + DONE), True, 200, "settled", None),
        (scripted(EVENT), True, 200, "in_doubt", None),
        (scripted(b""), True, 200, "in_doubt", None),
        (scripted(b'data: {"error": {"message": "overloaded"}}\n\n'), True, 200, "in_doubt", None),
        (scripted(b"data: \xff\xfe{\n\n" + USAGE_EVENT + DONE), True, 200, "settled", COST_NANO_USD),
        (scripted(b'data: {"usage": "\xff"}\n\n' + DONE), True, 200, "settled", None),
        (answer_with(b"\xff\xfe"), False, 200, "settled", None),
        (answer_with(b'{"usage": {"prompt_tokens": -5, "completion_tokens": 5}}'), False, 200, "settled", None),
        (answer_with(b'{"usage": {"prompt_tokens": 1e300}}'), False, 200, "settled", None),
        (answer_with(b"[" * 50_000), False, 200, "settled", None),
        (answer_with(b""), False, 200, "settled", None),
        (answer_with(b"<html>bad gateway</html>", status="502 Bad Gateway"), False, 502, "in_doubt", None),
        (answer_with(b'{"error": {}}', status="500 Oops"), False, 500, "settled", 0),
        (answer_with(b"", status="400 Bad"), True, 400, "settled", 0),
        (answer_with(b"", status="302 Found", headers="location: /\r\n"), False, 302, "in_doubt", None),
        (answer_with(b"", status="204 No Content", headers=""), False, 204, "in_doubt", None),
        (cut_short, False, 502, "in_doubt", None),
        (hung_up, False, 502, "in_doubt", None),
        (hung_up, True, 502, "in_doubt", None),
        (babble, False, 502, "in_doubt", None),
    ],
)  # fmt: skip
def test_an_upstream_that_answers_anything(
    script: Callable[[bytes, socket.socket], None], stream: bool, status: int, state: str, cost: int | None
) -> None:
    """Whatever comes back, the caller has an answer, and the call is settled or in doubt: never left open."""
    gateway = scripted_gateway()
    scripts.append(script)
    answer = chat(gateway, "hi", stream=stream)
    assert status == answer.status
    row = gateway.settled()
    assert state == row["state"]
    expected = {"in_doubt": None, "settled": row["maximum_nano_usd"]}[state] if cost is None else cost
    assert expected == row["cost_nano_usd"]
    assert_books_balance(gateway)
    assert "nobody foresaw" not in gateway.log()


def test_an_upstream_that_reports_more_than_can_be_counted() -> None:
    """A usage whose cost is beyond 64 bits leaves the call in doubt, and those beside it untouched."""
    gateway = scripted_gateway()
    most = 2**53 - 1
    usage = {"prompt_tokens": most, "completion_tokens": most}
    scripts.append(answer_with(json.dumps({"usage": usage}).encode()))
    assert 200 == chat(gateway, "hi", model="gpt-4.1").status
    assert "in_doubt" == gateway.settled()["state"]
    scripts.append(answer_with(WHOLE))
    assert 200 == chat(gateway, "hi").status
    assert_books_balance(gateway)


scripts: list[Callable[[bytes, socket.socket], None]] = []
_scripted: list[Gateway] = []


def scripted_gateway() -> Gateway:
    """The gateway of `scripted_upstream`, which all these tests share."""
    return _scripted[0]


@pytest.fixture(scope="module", autouse=True)
def scripted_upstream() -> Iterator[None]:
    """A gateway in front of an upstream that does what the last script says."""
    with (
        ScriptedUpstream(lambda request, connection: scripts[-1](request, connection)) as upstream,
        Gateway(configuration(upstream.base_url, timeout_seconds=5)) as gateway,
    ):
        _scripted.append(gateway)
        yield
        _scripted.clear()


def test_an_upstream_that_refuses_connections() -> None:
    """What could not be sent is settled at nothing, for every budget."""
    files = configuration("http://127.0.0.1:1", budgets=BUDGETS)
    with Gateway(files) as gateway:
        for stream in (False, True):
            answer = chat(gateway, "hi", stream=stream)
            assert (502, "upstream_failed") == (answer.status, answer.code)
            assert "x-should-retry" not in answer.headers
            assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
        assert {(0, 0)} == {gateway.standing(budget) for budget in BUDGETS}
        assert_books_balance(gateway)


# -- secrets ---------------------------------------------------------------------------------------------------

PROMPT = "canary-prompt-7f3a9c-my-mothers-maiden-name"
CREDENTIAL = "sk-canary-credential-5e1b77"
FILE_CREDENTIAL = "sk-canary-from-a-file-90dd21"


def files_of(*directories: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below some directories: a database's raw pages, logs, sockets' directories."""
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes()


def test_a_canary_appears_nowhere(tmp_path: Path) -> None:
    """Credential, key, pepper and prompt are in no log, error, entry, table or file, whatever went wrong before."""
    secret_file = tmp_path / "credential"
    secret_file.write_text(FILE_CREDENTIAL)
    answers: list[bytes] = []

    def echo(request: bytes, connection: socket.socket) -> None:
        if b"reset-me" in request:
            return reset(connection)
        if b"refuse-me" in request:
            return answer_with(b'{"error": {"message": "no"}}', status="400 Bad")(request, connection)
        if b"stream-me" in request:
            return scripted(EVENT + USAGE_EVENT + DONE)(request, connection)
        return answer_with(WHOLE)(request, connection)

    with ScriptedUpstream(echo) as upstream:
        files = configuration(
            upstream.base_url, budgets={"day": "limit: 0.30, period: yearly"}, timeout_seconds=1
        )
        yaml = files["aegis.yaml"].replace(f"env:{CREDENTIAL_VARIABLE}", f"file:{secret_file}", 1)
        files = {**files, "aegis.yaml": yaml}
        with Gateway(files, environment={CREDENTIAL_VARIABLE: CREDENTIAL}) as gateway:
            key = gateway.key()
            for order in ("", "reset-me", "refuse-me", "stream-me", "hang"):
                for stream in (False, True):
                    answers.append(chat(gateway, f"{PROMPT} {order}", stream=stream, user=PROMPT).body)
            answers.append(chat(gateway, PROMPT, model=f"gpt-{'x' * 9}", metadata={"note": PROMPT}).body)
            answers.append(chat(gateway, PROMPT, messages=PROMPT).body)
            payment = {"amount": 1, "currency": PROMPT[:20], "beneficiary": PROMPT, "reference": PROMPT}
            shown = {**payment, "currency": "USD"}
            for body in (shown, {**shown, "amount": [PROMPT]}, {**shown, "reference": {"x": PROMPT}}):
                answers.append(ask(gateway, "POST", PAY, body).body)
            answers.append(ask(gateway, "POST", PAY, shown).body)
            assert b"budget_exhausted" in answers[-1]
            answers.append(ask(gateway, "POST", CHAT, f'{{"model": "{PROMPT}'.encode()).body)
            answers.append(ask(gateway, "POST", CHAT, b'{"x": "' + PROMPT.encode() + b'\xff"}').body)
            answers.append(ask(gateway, "GET", "/v1/models", key=key[:-1] + "~").body)
            answers.append(ask(gateway, "GET", "/v1/models", key=key + "0").body)
            with gateway.administration() as administration:
                rotated = administration.rotate_key("acme", gateway.issue().key.id, 10**9)
            assert 200 == chat(gateway, PROMPT, key=rotated.secret).status
            gateway.kill()
            gateway.restart()
            assert 200 == chat(gateway, PROMPT).status
            assert 0 == gateway.stop()
            found = [*files_of(gateway.directory), *(("an answer", body) for body in answers)]
            credential_seen = b"".join(upstream.requests)
    assert CREDENTIAL.encode() in credential_seen
    assert FILE_CREDENTIAL.encode() in credential_seen
    assert PROMPT.encode() in credential_seen
    assert key.encode() not in credential_seen
    assert any(name.endswith("aegis.db") for name, _ in found)
    for secret in (CREDENTIAL, FILE_CREDENTIAL, key, rotated.secret, PEPPER, PROMPT, UPSTREAM_KEY):
        for form in (secret.encode(), secret.encode().hex().encode(), secret.encode("utf-16-le")):
            assert [] == [name for name, content in found if form in content], secret


@pytest.mark.xdist_group("heavy")
def test_a_canary_is_in_no_table_of_postgres(
    upstream: UpstreamProcess, postgres_server: PostgresServer
) -> None:
    """The same of each row of each table."""
    url = postgres_server.new_database()
    try:
        with Gateway(configuration(upstream.base_url), store=url) as gateway:
            key = gateway.key()
            for text in (f"{PROMPT} [[tokens=1]]", f"{PROMPT} [[fail=500]]", f"{PROMPT} [[break_after=1]]"):
                chat(gateway, text, stream=True)
            chat(gateway, PROMPT, model="gpt-99")
            ask(gateway, "POST", PAY, {"amount": "x", "currency": PROMPT})
            tables = [
                row["name"]
                for row in gateway.query(
                    "select table_name as name from information_schema.tables where table_schema = 'public'"
                )
            ]
            assert {"call", "entry", "api_key", "charge_line"} <= set(tables)
            everything_stored = "".join(str(gateway.query(f'select * from "{table}"')) for table in tables)
            assert gateway.stop() == 0
            everything_stored += gateway.log()
        for secret in (key, PEPPER, PROMPT, UPSTREAM_KEY):
            assert secret not in everything_stored
    finally:
        postgres_server.drop_database(url)


# -- sockets ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected(gateway: Gateway) -> Iterator[socket.socket]:
    """A connection to a gateway."""
    with socket.create_connection((HOST, gateway.settings.port), timeout=20) as connection:
        yield connection


def reset(connection: socket.socket) -> None:
    """Close a connection as a crash does: without a goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def everything(connection: socket.socket) -> bytes:
    """What comes until the connection is closed."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces)
