"""ext_authz: a real Envoy asks whether a call may pass, by gRPC and over HTTP, and forwards it by itself."""

from __future__ import annotations

import copy
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from tests.envoys import (
    AUTHORITY,
    LEAKED,
    OPERATIONS,
    TOKEN,
    Envoy,
    EnvoyedGateway,
    ScriptedApi,
    also_asks,
    over_http2,
    through,
    variant,
)
from tests.gateways import (
    HOST,
    PEPPER,
    PERMIT_ALL,
    WAIT_S,
    Answer,
    Files,
    ask,
    assert_books_balance,
    configuration,
    until,
)

pytestmark = pytest.mark.xdist_group("ext_authz")

PAY = "/v1/payments"
BOTH = pytest.mark.parametrize("way", ["by-grpc", "by-http"])
AGENTS = ("bot", "poor", "hasty", "patient", "careful", "counted-by-grpc", "counted-by-http")
POLICIES = (
    PERMIT_ALL
    + """
@id("ceiling") @reason("not that much")
forbid(principal, action == Action::"api.pay", resource) when { context.args.amount.greaterThan(decimal("5000.0")) };
@id("no-numbers") @effect("redact") @kinds("ssn") @in("arguments")
forbid(principal == Agent::"careful", action, resource);
@id("no-answers") @effect("redact") @kinds("ssn") @in("response")
forbid(principal, action == Action::"api.echo", resource);
@id("tried") @effect("redact") @kinds("ssn") @mode("shadow")
forbid(principal == Agent::"bot", action, resource);
"""
)
BUDGETS = {
    "plenty": "limit: 1000000.00, period: yearly",
    "nothing": "limit: 0.05, period: yearly",
    "ten-by-grpc": "limit: 2.50, period: yearly",
    "ten-by-http": "limit: 2.50, period: yearly",
    "paid": "counts: paid_out, limit: 100000000.00, period: yearly, match: {tenant: acme}",
    "found": "counts: rows, limit: 100000, period: yearly, match: {tenant: acme}",
}
RATES = {
    "hasty": "limit: 1, every: 1h, match: {agent: hasty}",
    "patient": "limit: 1, every: 2s, delay: 30s, match: {agent: patient}",
}


def files(upstream: str) -> Files:
    """A tenant whose agents differ in what holds them back."""
    homes = {"poor": "nothing", "counted-by-grpc": "ten-by-grpc", "counted-by-http": "ten-by-http"}
    return configuration(
        upstream,
        agents=AGENTS,
        budgets=BUDGETS,
        agent_budgets=homes,
        rates=RATES,
        policies=POLICIES,
        operations=OPERATIONS,
    )


def listeners(configuration: dict[str, Any]) -> None:
    """The example's listeners, and what somebody may make of them."""
    for way in ("by-grpc", "by-http"):
        asking, _ = variant(configuration, f"{way}-cut", of=way)
        asking["with_request_body"] |= {"max_request_bytes": 20, "allow_partial_message": True}
        asking, _ = variant(configuration, f"{way}-bodiless", of=way)
        del asking["with_request_body"]
        asking, _ = variant(configuration, f"{way}-impatient", of=way)
        _service(asking)["timeout"] = "0.5s"
        asking, _ = variant(configuration, f"{way}-stranger", of=way)
        told = asking["grpc_service"]["initial_metadata"] if way == "by-grpc" else _headers_to_add(asking)
        told[0]["value"] = f"{TOKEN}x"
    also_asks(configuration, "asks-twice", "envoy.yaml", of="by-grpc", first=False)
    also_asks(configuration, "asks-twice-otherwise", "envoy.yaml", of="by-grpc", first=True)
    clusters = configuration["static_resources"]["clusters"]
    clusters.append({**copy.deepcopy(clusters[0]), "name": "aegis"})
    _, route = variant(configuration, "by-grpc-nameless", of="by-grpc")
    del route["typed_per_filter_config"]
    asking, route = variant(configuration, "by-grpc-named-once", of="by-grpc")
    del route["typed_per_filter_config"]
    asking["grpc_service"]["initial_metadata"].append({"key": "aegis-connector", "value": "api"})


def _service(asking: dict[str, Any]) -> Any:
    return asking["grpc_service"] if "grpc_service" in asking else asking["http_service"]["server_uri"]


def _headers_to_add(asking: dict[str, Any]) -> Any:
    return asking["http_service"]["authorization_request"]["headers_to_add"]


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedApi]:
    """The upstream."""
    with ScriptedApi() as api:
        yield api
        api.go_on.set()


@pytest.fixture(scope="module")
def gateway(api: ScriptedApi) -> Iterator[EnvoyedGateway]:
    """A gateway with two workers that Envoys may ask."""
    with EnvoyedGateway(files(api.base_url), workers=2) as gateway:
        yield gateway
        assert_books_balance(gateway)
        kept = [gateway.log(), *(str(row) for row in gateway.entries())]
        kept += [file.read_bytes().decode(errors="replace") for file in gateway.data.iterdir()]
        secrets = (UPSTREAM_KEY, TOKEN, PEPPER, *(gateway.key(agent) for agent in AGENTS))
        assert [] == [secret for secret in secrets if any(secret in each for each in kept)]


@pytest.fixture(scope="module")
def envoy(api: ScriptedApi, gateway: EnvoyedGateway) -> Iterator[Envoy]:
    """An Envoy with the example's configuration, and listeners that differ from it."""
    with Envoy("ext_authz.yaml", gateway, api.base_url, change=listeners) as envoy:
        yield envoy


@pytest.fixture
def sent(api: ScriptedApi) -> Iterator[list[bytes]]:
    """What reaches the upstream in a test."""
    api.requests.clear()
    api.go_on.clear()
    yield api.requests
    api.go_on.set()


def pay(envoy: Envoy, gateway: EnvoyedGateway, way: str, agent: str = "bot", **rest: Any) -> Answer:
    """A payment of an agent's."""
    body = {"amount": rest.pop("amount", "12.34"), **rest.pop("body", {})}
    return through(envoy, "POST", PAY, body, key=gateway.key(agent), listener=way, **rest)


def raw(envoy: Envoy, way: str, gateway: EnvoyedGateway, head: str, rest: str) -> bytes:
    """What is answered to bytes that no library would send."""
    ours = f"host: {AUTHORITY}\r\nauthorization: Bearer {gateway.key()}\r\nconnection: close\r\n"
    pieces = []
    with socket.create_connection((HOST, envoy.ports[way]), timeout=WAIT_S) as connection:
        connection.sendall(f"{head}{ours}{rest}".encode())
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces)


@BOTH
def test_an_allowed_call(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str) -> None:
    """It passes, and is settled by the numbers of its request before it does: its answer isn't seen."""
    before = gateway.standing("paid")[1]
    answer = pay(envoy, gateway, way)
    assert (201, {"amount": "12.34"}) == (answer.status, answer.json)
    row = gateway.last_call()
    assert ("settled", 250_000_000, "api.pay") == (row["state"], row["cost_nano_usd"], row["tool"])
    assert (row["call"], "allow", "0.25") == (
        answer.headers["aegis-decision-id"],
        answer.headers["aegis-effect"],
        answer.headers["aegis-cost-usd"],
    )
    assert 12_340_000_000 == gateway.standing("paid")[1] - before
    settlement = gateway.entries()[-1]
    assert ("settlement", "estimate") == (settlement["type"], settlement["evidence"])
    assert "doesn't see the answer" in settlement["note"]
    assert 1 == len(sent)


@BOTH
def test_what_the_upstream_gets(
    gateway: EnvoyedGateway, envoy: Envoy, api: ScriptedApi, sent: list[bytes], way: str
) -> None:
    """The connector's credential, and none of the agent's: keys, cookies, and what would have it do something else."""
    agents_own = {
        "x-api-key": "k1", "api-key": "k2", "x-goog-api-key": "k3", "cookie": "k4", "proxy-authorization": "k5",
        "x-http-method-override": "DELETE", "x-original-url": "/v1/other", "aegis-run-id": "", "x-mine": "stays",
        "accept-encoding": "gzip",
    }  # fmt: skip
    assert 201 == pay(envoy, gateway, way, headers=agents_own).status
    (head,) = api.heads()
    assert f"authorization: bearer {UPSTREAM_KEY}" in head
    assert "x-mine: stays" in head
    assert "content-type: application/json" in head
    assert [] == [name for name in agents_own if name != "x-mine" and f"\r\n{name}:" in head]
    assert gateway.key().lower() not in head
    assert TOKEN not in head


@BOTH
def test_the_key_in_a_header_of_its_own(
    gateway: EnvoyedGateway, envoy: Envoy, api: ScriptedApi, sent: list[bytes], way: str
) -> None:
    """Where `Authorization` says something else, the key is in `x-aegis-key`; neither reaches the upstream."""
    headers = {"x-aegis-key": gateway.key(), "authorization": "Basic Ym90OmJvdA=="}
    answer = through(envoy, "GET", "/v1/people/ann", key=None, listener=way, headers=headers)
    assert 200 == answer.status
    (head,) = api.heads()
    assert f"authorization: bearer {UPSTREAM_KEY}" in head
    assert "x-aegis-key" not in head


REFUSED = [
    ("bot", "POST", PAY, {"amount": "5000.01"}, 403, "denied_by_policy"),
    ("poor", "POST", PAY, {"amount": 1}, 402, "budget_exhausted"),
    ("bot", "POST", PAY, b'{"amount": 1, "amount": 9}', 400, "invalid_request"),
    ("bot", "POST", PAY, b'{"amount": 1', 400, "invalid_request"),
    ("bot", "POST", "/v1/refunds", {"amount": 1}, 404, "unknown_tool"),
    ("bot", "GET", "/v1/people/%2e%2e%2fann", None, 400, "invalid_request"),
]


@BOTH
@pytest.mark.parametrize(("agent", "method", "path", "body", "status", "code"), REFUSED)
def test_refusals_are_those_of_connect(
    gateway: EnvoyedGateway,
    envoy: Envoy,
    sent: list[bytes],
    way: str,
    agent: str,
    method: str,
    path: str,
    body: object,
    status: int,
    code: str,
) -> None:
    """Status, body and headers are what `/connect/` answers to the same request; nothing reaches the upstream."""
    answer = through(envoy, method, path, body, key=gateway.key(agent), listener=way)
    direct = ask(gateway, method, f"/connect/api{path}", body, key=gateway.key(agent))
    assert (status, code) == (answer.status, answer.code)
    assert (answer.status, answer.body) == (direct.status, direct.body)
    ours = {name for name in direct.headers if name.startswith(("aegis-", "retry-", "x-should-"))}
    assert ours <= set(answer.headers)
    assert [] == sent


@BOTH
def test_rates(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str) -> None:
    """A rate that delays has a call wait, unless it would be longer than half of what Envoy waits: then 429."""
    until(lambda: pay(envoy, gateway, way, "patient").status == 201, "no turn comes")
    impatient = pay(envoy, gateway, f"{way}-impatient", "patient")
    assert (429, "rate_limited") == (impatient.status, impatient.code)
    assert int(impatient.headers["retry-after"]) in (1, 2)
    assert 201 == pay(envoy, gateway, way, "patient").status
    statuses = [pay(envoy, gateway, way, "hasty").status for _ in range(2)]
    assert 429 == statuses[-1]


@BOTH
@pytest.mark.parametrize("key", [None, "aegis_live_nobody", "sk-1234"])
def test_unknown_callers(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str, key: str | None
) -> None:
    """Who isn't known gets 401, and nothing is recorded."""
    before = gateway.count()
    answer = through(envoy, "POST", PAY, {"amount": 1}, key=key, listener=way)
    assert (401, "invalid_api_key") == (answer.status, answer.code)
    assert (before, []) == (gateway.count(), sent)


@BOTH
def test_what_takes_the_answer_to_know_is_in_doubt(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str
) -> None:
    """A price by the answer's numbers: it counts at its maximum until somebody knows better."""
    pending = gateway.standing("found")[0]
    assert 200 == through(envoy, "POST", "/v1/search", {"rows": 3}, key=gateway.key(), listener=way).status
    assert "in_doubt" == gateway.last_call()["state"]
    assert 100 == gateway.standing("found")[0] - pending


@BOTH
def test_what_ext_authz_cannot_redact_is_refused(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str
) -> None:
    """Answers aren't seen and bodies can't be changed: what a policy redacts there is refused; the rest passes."""
    answer = through(envoy, "GET", "/v1/echo", key=gateway.key(), listener=way)
    assert (403, "obligation_unfulfilled") == (answer.status, answer.code)
    assert "ext_proc" in answer.json["error"]["message"]
    answer = pay(envoy, gateway, way, "careful", body={"reference": LEAKED})
    assert (403, "obligation_unfulfilled") == (answer.status, answer.code)
    assert [] == sent
    assert 201 == pay(envoy, gateway, way, "careful", body={"reference": "nothing"}).status
    assert LEAKED not in str(gateway.entries())


@BOTH
def test_a_body_that_is_not_whole(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str) -> None:
    """Cut, or not shown at all: what is judged by it is refused, and says what to set."""
    before = gateway.count()
    long = {"reference": "x" * 100}
    cut = pay(envoy, gateway, f"{way}-cut", body=long)
    assert (413, "request_too_large") == (cut.status, cut.code)
    unseen = pay(envoy, gateway, f"{way}-bodiless", body=long)
    assert (400, "invalid_request") == (unseen.status, unseen.code)
    assert "with_request_body" in unseen.json["error"]["message"]
    assert (before, []) == (gateway.count(), sent)
    assert (
        200 == through(envoy, "GET", "/v1/people/ann", key=gateway.key(), listener=f"{way}-bodiless").status
    )


SIZED = 'content-length: 14\r\n\r\n{"amount": 99}'
CHUNKED = 'transfer-encoding: chunked\r\n\r\ne\r\n{"amount": 99}\r\n0\r\n\r\n'


@pytest.mark.parametrize("framing", [SIZED, CHUNKED])
@BOTH
def test_a_body_where_none_is_declared(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str, framing: str
) -> None:
    """A body that isn't shown is taken for none only where nothing is judged by it."""
    head = f"POST {PAY} HTTP/1.1\r\ncontent-type: application/json\r\n"
    answer = raw(envoy, f"{way}-bodiless", gateway, head, framing)
    assert b"400" in answer.split(b"\r\n")[0]
    assert [] == sent


@BOTH
def test_a_body_whose_type_is_another(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str
) -> None:
    """What isn't called JSON isn't judged as JSON."""
    for kind in ("application/x-www-form-urlencoded", "application/json; charset=utf-16"):
        assert 400 == pay(envoy, gateway, way, headers={"content-type": kind}).status
    assert [] == sent


@BOTH
def test_a_named_call_is_not_made_twice(
    gateway: EnvoyedGateway, envoy: Envoy, api: ScriptedApi, sent: list[bytes], way: str
) -> None:
    """Its answer isn't kept, so who repeats it is told which call it was; the upstream never learns the name."""
    name = {"idempotency-key": f"order-{way}"}
    first = pay(envoy, gateway, way, headers=name)
    again = pay(envoy, gateway, way, headers=name)
    other = pay(envoy, gateway, way, amount="2", headers=name)
    assert [201, 422, 422] == [first.status, again.status, other.status]
    assert ["answer_not_kept", "idempotency_key_reused"] == [again.code, other.code]
    assert first.headers["aegis-decision-id"] == again.headers["aegis-decision-id"]
    (head,) = api.heads()
    assert "idempotency-key: " in head
    assert name["idempotency-key"] not in head


@BOTH
def test_who_is_no_envoy(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str) -> None:
    """Without the token nothing passes."""
    before = gateway.count()
    assert pay(envoy, gateway, f"{way}-stranger").status in (401, 503)
    assert (before, []) == (gateway.count(), sent)


@pytest.mark.parametrize("token", [None, "", "x", f"{TOKEN[:-1]}"])
def test_agents_get_no_credential_by_asking_themselves(gateway: EnvoyedGateway, token: str | None) -> None:
    """An agent that asks at the Envoys' door with its own key learns nothing there."""
    before = gateway.count()
    headers = {} if token is None else {"aegis-envoy-token": token}
    answer = ask(gateway, "GET", "/ext_authz/api/v1/people/ann", headers=headers)
    assert (401, "not_an_envoy") == (answer.status, answer.code)
    assert UPSTREAM_KEY not in f"{answer}"
    assert before == gateway.count()


@pytest.mark.parametrize(
    "target",
    ["v1/people/ann", "*", "/../ext_authz/other/v1/people/ann", "//v1/people/ann", "http://x/v1/people/ann"],
)
@BOTH
def test_targets_that_are_no_paths(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str, target: str
) -> None:
    """Whatever stands for a path, it is one of the route's own connector, or none."""
    before = gateway.count()
    answer = raw(envoy, way, gateway, f"GET {target} HTTP/1.1\r\n", "\r\n")
    assert answer.split(b" ")[1] in (b"400", b"404")
    assert [] == sent
    assert {"api"} >= {row["connector"] for row in gateway.calls()[before:]}


def test_agents_on_http2(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """A body that only frames tell of is judged where it is shown, and missed where it isn't."""
    for way in ("by-grpc", "by-http"):
        answer = over_http2(envoy, way, "POST", PAY, b'{"amount": "5000.01"}', gateway.key())
        assert (403, "denied_by_policy") == (answer.status, answer.code)
        assert 201 == over_http2(envoy, way, "POST", PAY, b'{"amount": "1"}', gateway.key()).status
        unseen = over_http2(envoy, f"{way}-bodiless", "POST", PAY, b'{"amount": "1"}', gateway.key())
        assert (400, "invalid_request") == (unseen.status, unseen.code)
    assert 2 == len(sent)


@pytest.mark.parametrize("listener", ["asks-twice", "asks-twice-otherwise"])
def test_one_filter_for_a_route(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], listener: str
) -> None:
    """With both filters the second finds no agent's key: nothing passes twice paid for, it doesn't pass at all."""
    before = gateway.count()
    assert 200 != pay(envoy, gateway, listener).status
    assert [] == sent
    assert before + 1 == gateway.count()
    expected = 250_000_000 if listener == "asks-twice" else 0
    assert ("settled", expected) == (gateway.settled()["state"], gateway.last_call()["cost_nano_usd"])


def test_whose_route_it_is(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """The connector stands at the route or for the whole filter; where it stands nowhere, nothing passes."""
    assert 201 == pay(envoy, gateway, "by-grpc-named-once").status
    assert 503 == pay(envoy, gateway, "by-grpc-nameless").status
    assert 1 == len(sent)


@BOTH
def test_sixty_at_once_on_a_budget_for_ten(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str
) -> None:
    """Ten pass, the others get 402; the budget is spent to the last cent and not beyond."""
    gateway.key(f"counted-{way}")
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: pay(envoy, gateway, way, f"counted-{way}"), range(60)))
    assert {201: 10, 402: 50} == Counter(answer.status for answer in answers)
    assert ((0, 2_500_000_000), 10) == (gateway.standing(f"ten-{way}"), len(sent))


@BOTH
def test_a_gateway_that_hangs(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str) -> None:
    """Envoy waits its time and lets nothing pass; what is decided too late is settled at nothing."""
    before = gateway.count()
    workers = gateway.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        assert 503 == pay(envoy, gateway, f"{way}-impatient").status
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    until(lambda: pay(envoy, gateway, way).status == 201, "it serves no more")
    assert 1 == len(sent)
    until(lambda: all(call["state"] == "settled" for call in gateway.calls()[before:]), "a call stays open")
    assert 250_000_000 == sum(call["cost_nano_usd"] for call in gateway.calls()[before:])


@BOTH
def test_workers_that_are_killed(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], way: str) -> None:
    """While they are gone nothing passes; those that come serve."""
    for worker in gateway.workers():
        os.kill(worker, signal.SIGKILL)
    statuses = Counter(pay(envoy, gateway, way).status for _ in range(5))
    until(lambda: pay(envoy, gateway, way).status == 201, "nobody serves any more")
    assert set(statuses) <= {201, 503}
    assert statuses[201] + 1 == len(sent)


def test_without_a_gateway_nothing_passes(api: ScriptedApi, sent: list[bytes]) -> None:
    """A gateway that is gone lets nothing pass, however Envoy asks."""
    with (
        EnvoyedGateway(files(api.base_url)) as gateway,
        Envoy("ext_authz.yaml", gateway, api.base_url) as envoy,
    ):
        assert [201, 201] == [pay(envoy, gateway, way).status for way in ("by-grpc", "by-http")]
        gateway.kill_all()
        assert [503, 503] == [pay(envoy, gateway, way).status for way in ("by-grpc", "by-http")]
        assert 2 == len(sent)
