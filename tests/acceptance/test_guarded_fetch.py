"""HTTP requests of an agent's own code: decided before they leave, settled by the answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from aegis_sdk import Aegis, AsyncAegis, InvalidRequest, Refused, Unavailable
from aegis_sdk.fetch import guarded_fetch, guarded_fetch_async
from tests.gateways import (
    PERMIT_ALL,
    Files,
    Gateway,
    ScriptedUpstream,
    answer_with,
    assert_books_balance,
    configuration,
)

pytestmark = pytest.mark.xdist_group("guarded-fetch")

_TOOLS = """\
      web:
        kind: local
        operations:
          search:
            arguments:
              q: {type: string, from: args.query.q}
              path: {type: string, from: args.path}
            price: {per_call: 0.01}
          buy:
            arguments: {amount: {type: number, from: args.body.amount}}
            price: {amount: result.body.paid, max_amount: 5.00}
            counts: {paid_out: args.body.amount}
          read:
            price: {per_unit: 0.001, unit: byte, units: result.bytes, max_units: 100}
"""
_POLICIES = """
@id("not-there")
@reason("nobody reads the archive")
forbid(principal, action == Action::"web.search", resource) when { context.args.path == "/archive" };

@id("no-numbers")
@effect("redact")
@kinds("ssn")
@in("arguments")
forbid(principal, action in [Action::"web.search", Action::"web.buy"], resource);
"""
SECRET = "sk-of-the-server-0123456789"

Fetch = Callable[..., httpx2.Response]


def files() -> Files:
    """A tenant whose agent reads the web by itself."""
    made = configuration("http://127.0.0.1:9", policies=PERMIT_ALL + _POLICIES)
    return {**made, "aegis.yaml": made["aegis.yaml"].replace("    models:\n", f"{_TOOLS}    models:\n")}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """One gateway for the whole module; afterwards its books balance."""
    with Gateway(files()) as gateway:
        yield gateway
        assert_books_balance(gateway)


@pytest.fixture(params=["threads", "loop"])
def fetch(request: pytest.FixtureRequest, gateway: Gateway) -> Fetch:
    """Fetches, without an event loop or in one."""

    def in_thread(method: str, url: str, **more: Any) -> httpx2.Response:
        with Aegis(gateway.url, gateway.key()) as client, httpx2.Client(trust_env=False) as http:
            return guarded_fetch(http, method, url, client=client, **more)

    def in_loop(method: str, url: str, **more: Any) -> httpx2.Response:
        async def main() -> httpx2.Response:
            async with (
                AsyncAegis(gateway.url, gateway.key()) as client,
                httpx2.AsyncClient(trust_env=False) as http,
            ):
                return await guarded_fetch_async(http, method, url, client=client, **more)

        return asyncio.run(main())

    return in_thread if request.param == "threads" else in_loop


def paid(answer: bytes, status: str = "200 OK", headers: str = "") -> ScriptedUpstream:
    """A server that gives one answer to everything."""
    return ScriptedUpstream(
        answer_with(answer, status=status, headers=f"content-type: application/json\r\n{headers}")
    )


def test_settled_by_the_answer(gateway: Gateway, fetch: Fetch) -> None:
    """The answer reaches the caller, and its numbers the ledger; nothing else of either does."""
    with paid(b'{"paid": 1.25, "note": "thank you"}') as server:
        answer = fetch(
            "POST",
            f"{server.base_url}/v1/orders",
            tool="web.buy",
            json={"amount": 1.25, "what": "shoes"},
            headers={"authorization": f"Bearer {SECRET}"},
        )
    assert {"paid": 1.25, "note": "thank you"} == answer.json()
    assert SECRET.encode() in server.requests[0]
    assert ("settled", 1_250_000_000) == (
        gateway.last_call()["state"],
        gateway.last_call()["cost_nano_usd"],
    )
    assert SECRET not in json.dumps(gateway.entries())


def test_what_is_refused_is_not_sent(fetch: Fetch) -> None:
    """A policy looks at path and query as they are."""
    with paid(b"{}") as server:
        with pytest.raises(Refused, match="nobody reads the archive"):
            fetch("GET", f"{server.base_url}/archive?q=x", tool="web.search")
        with pytest.raises(InvalidRequest, match="q"):
            fetch("GET", f"{server.base_url}/archive", tool="web.search")
    assert [] == server.requests


def test_what_is_redacted_is_not_sent(gateway: Gateway, fetch: Fetch) -> None:
    """Query and body leave without it; where the address itself would have to change nothing is sent."""
    with paid(b'{"paid": 0}') as server:
        fetch("GET", f"{server.base_url}/find?q=of+536-90-4399&page=2", tool="web.search")
        fetch("POST", f"{server.base_url}/", tool="web.buy", json={"amount": 1, "for": "536-90-4399"})
        with pytest.raises(InvalidRequest, match="policies redact"):
            fetch("GET", f"{server.base_url}/of/536-90-4399?q=x", tool="web.search")
        assert 0 == gateway.last_call()["cost_nano_usd"]
    first, second = server.requests
    assert b"/find?q=of+%5BSSN" in first
    assert b"page=2" in first
    assert b'"[SSN:' in second
    assert b"536-90-4399" not in first + second


@pytest.mark.parametrize(
    ("status", "cost"),
    [("404 Not Found", 0), ("402 Payment Required", 0), ("500 Oops", 5_000_000_000), ("302 Found", 5_000_000_000)],
)  # fmt: skip
def test_answers_that_are_none(gateway: Gateway, fetch: Fetch, status: str, cost: int) -> None:
    """A server's refusal costs nothing, its failure all it could have; a redirect is not followed."""
    with paid(b"{}", status, "location: http://127.0.0.1:9/\r\n") as server:
        answer = fetch("POST", server.base_url, tool="web.buy", json={"amount": 2})
    assert status.split()[0] == str(answer.status_code)
    assert 1 == len(server.requests)
    assert ("settled", cost) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


def test_never_sent(gateway: Gateway, fetch: Fetch) -> None:
    """Where nobody listens nothing was sent: it costs nothing, and the library's own error is raised."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(httpx2.ConnectError):
        fetch("GET", f"http://127.0.0.1:{port}/?q=x", tool="web.search")
    assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


def test_sent_and_never_answered(gateway: Gateway, fetch: Fetch) -> None:
    """It may have cost all it could."""
    with ScriptedUpstream(lambda _request, _connection: None) as server, pytest.raises(httpx2.HTTPError):
        fetch("GET", server.base_url, tool="web.read")
    assert 100_000_000 == gateway.last_call()["cost_nano_usd"]


def test_priced_by_size(gateway: Gateway, fetch: Fetch) -> None:
    """Of an answer that is no JSON."""
    with paid(b"\xff" * 40) as server:
        fetch("GET", server.base_url, tool="web.read")
    assert 40_000_000 == gateway.last_call()["cost_nano_usd"]


@pytest.mark.parametrize(
    ("url", "more", "field"),
    [
        ("ftp://example.org/", {}, "url"),
        ("http://", {}, "url"),
        ("http://[::1", {}, "url"),
        (f"https://user:{SECRET}@example.org/", {}, "url"),
        ("https://example.org/public/../archive", {}, "url"),
        ("https://example.org/./archive", {}, "url"),
        ("https://example.org/public/%2e%2E/archive", {}, "url"),
        ("https://example.org/public/..%2farchive", {}, "url"),
        ("https://example.org/public/..;/archive", {}, "url"),
        ("https://example.org/public\\..\\archive", {}, "url"),
        ("https://example.org/", {"content": b"x"}, "content"),
        ("https://example.org/", {"data": {"a": 1}}, "data"),
        ("https://example.org/", {"follow_redirects": True}, "follow_redirects"),
    ],
)
def test_what_cannot_be_decided_on(
    gateway: Gateway, fetch: Fetch, url: str, more: dict[str, Any], field: str
) -> None:
    """It is refused before anybody is asked, without a word of what it has."""
    before = gateway.count()
    with pytest.raises(InvalidRequest) as refused:
        fetch("GET", url, tool="web.read", **more)
    assert (field, before) == (refused.value.field, gateway.count())
    assert SECRET not in str(refused.value)


def test_without_a_gateway(gateway: Gateway) -> None:
    """Nothing is sent that nobody decided."""
    with (
        paid(b"{}") as server,
        Aegis("http://127.0.0.1:9", gateway.key(), timeout_s=0.2) as nobody,
        httpx2.Client(trust_env=False) as http,
        pytest.raises(Unavailable),
    ):
        guarded_fetch(http, "GET", server.base_url, tool="web.read", client=nobody)
    assert [] == server.requests
