"""ext_proc: calls through a real Envoy are decided, settled, redacted and refused as those of `/connect/` are."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from tests.envoys import (
    AUTHORITY,
    BIG,
    LEAKED,
    OPERATIONS,
    TOKEN,
    Envoy,
    EnvoyedGateway,
    ScriptedApi,
    over_http2,
    through,
    variant,
)
from tests.gateways import (
    HOST,
    PEPPER,
    PERMIT_ALL,
    Answer,
    Files,
    ask,
    assert_books_balance,
    configuration,
    until,
)

pytestmark = pytest.mark.xdist_group("ext_proc")

PAY = "/v1/payments"
AGENTS = ("bot", "poor", "hasty", "patient", "careful", "counted")
POLICIES = (
    PERMIT_ALL
    + """
@id("ceiling") @reason("not that much")
forbid(principal, action == Action::"api.pay", resource) when { context.args.amount.greaterThan(decimal("5000.0")) };
@id("no-numbers") @effect("redact") @kinds("ssn")
forbid(principal == Agent::"careful", action, resource);
"""
)
BUDGETS = {
    "plenty": "limit: 1000000.00, period: yearly",
    "nothing": "limit: 0.05, period: yearly",
    "ten": "limit: 2.50, period: yearly",
    "found": "counts: rows, limit: 100000, period: yearly, match: {tenant: acme}",
}
RATES = {
    "hasty": "limit: 1, every: 1h, match: {agent: hasty}",
    "patient": "limit: 1, every: 2s, delay: 30s, match: {agent: patient}",
}


def files(upstream: str) -> Files:
    """A tenant whose agents differ in what holds them back."""
    return configuration(
        upstream,
        agents=AGENTS,
        budgets=BUDGETS,
        agent_budgets={"poor": "nothing", "counted": "ten"},
        rates=RATES,
        policies=POLICIES,
        operations=OPERATIONS,
    )


def listeners(configuration: dict[str, Any]) -> None:
    """The example's listener, and what somebody may make of it."""
    asking, _ = variant(configuration, "unbuffered")
    asking["processing_mode"]["request_body_mode"] = "STREAMED"
    asking, _ = variant(configuration, "unanswered")
    asking["processing_mode"]["response_body_mode"] = "NONE"
    asking, _ = variant(configuration, "observing")
    asking["observability_mode"] = True
    asking, _ = variant(configuration, "stranger")
    asking["grpc_service"]["initial_metadata"][0]["value"] = f"{TOKEN}x"
    _, route = variant(configuration, "nameless")
    del route["typed_per_filter_config"]
    asking, route = variant(configuration, "impatient")
    asking["message_timeout"] = "1s"
    asking["grpc_service"]["initial_metadata"][1]["value"] = "1000"
    route["route"]["timeout"] = "0.3s"
    _, route = variant(configuration, "retrying")
    route["route"]["retry_policy"] = {"retry_on": "5xx", "num_retries": 2}
    _, route = variant(configuration, "dead")
    route["route"]["cluster"] = "dead"
    _, route = variant(configuration, "empty")
    route["route"]["cluster"] = "empty"
    clusters = configuration["static_resources"]["clusters"]
    dead = {"address": {"socket_address": {"address": HOST, "port_value": 9}}}
    endpoints = [{"lb_endpoints": [{"endpoint": dead}]}]
    clusters.append({"name": "dead", "load_assignment": {"cluster_name": "dead", "endpoints": endpoints}})
    clusters.append({"name": "empty", "load_assignment": {"cluster_name": "empty", "endpoints": []}})


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
        for file in gateway.data.iterdir():
            kept.append(file.read_bytes().decode(errors="replace"))
        secrets = (UPSTREAM_KEY, TOKEN, PEPPER, *(gateway.key(agent) for agent in AGENTS))
        assert [] == [secret for secret in secrets if any(secret in each for each in kept)]


@pytest.fixture(scope="module")
def envoy(api: ScriptedApi, gateway: EnvoyedGateway) -> Iterator[Envoy]:
    """An Envoy with the example's configuration, and listeners that differ from it."""
    with Envoy("envoy.yaml", gateway, api.base_url, change=listeners) as envoy:
        yield envoy


@pytest.fixture
def sent(api: ScriptedApi) -> Iterator[list[bytes]]:
    """What reaches the upstream in a test."""
    api.requests.clear()
    api.go_on.clear()
    yield api.requests
    api.go_on.set()


def payment(amount: str = "12.34", **rest: object) -> dict[str, object]:
    """The body of a payment."""
    return {"amount": amount, **rest}


def pay(
    envoy: Envoy, gateway: EnvoyedGateway, agent: str = "bot", amount: str = "12.34", **rest: Any
) -> Answer:
    """A payment of an agent's."""
    return through(envoy, "POST", PAY, payment(amount), key=gateway.key(agent), **rest)


def test_an_allowed_call(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """The answer is the API's own, with Aegis's headers beside it; the call is settled before it is given."""
    answer = pay(envoy, gateway)
    assert (201, payment()) == (answer.status, answer.json)
    row = gateway.last_call()
    assert ("settled", 250_000_000, "api.pay") == (row["state"], row["cost_nano_usd"], row["tool"])
    assert (row["call"], "allow", "0.25") == (
        answer.headers["aegis-decision-id"],
        answer.headers["aegis-effect"],
        answer.headers["aegis-cost-usd"],
    )
    assert 1 == len(sent)


def test_what_the_upstream_gets(
    gateway: EnvoyedGateway, envoy: Envoy, api: ScriptedApi, sent: list[bytes]
) -> None:
    """The connector's credential, and none of the agent's: keys, cookies, and what would have it do something else."""
    agents_own = {
        "x-api-key": "k1", "api-key": "k2", "x-goog-api-key": "k3", "cookie": "k4", "proxy-authorization": "k5",
        "x-http-method-override": "DELETE", "x-original-url": "/v1/other", "aegis-run-id": "", "aegis-secret": "k6",
        "aegis-connector": "other", "aegis-envoy-token": "k7", "accept-encoding": "gzip", "x-mine": "stays",
    }  # fmt: skip
    assert 201 == pay(envoy, gateway, headers=agents_own).status
    (head,) = api.heads()
    assert f"authorization: bearer {UPSTREAM_KEY}" in head
    assert "x-mine: stays" in head
    assert "content-type: application/json" in head
    assert [] == [name for name in agents_own if name != "x-mine" and f"\r\n{name}:" in head]
    assert gateway.key().lower() not in head
    assert TOKEN not in head


def test_the_key_in_a_header_of_its_own(
    gateway: EnvoyedGateway, envoy: Envoy, api: ScriptedApi, sent: list[bytes]
) -> None:
    """Where `Authorization` says something else, the key is in `x-aegis-key`; neither reaches the upstream."""
    headers = {"x-aegis-key": gateway.key(), "authorization": "Basic Ym90OmJvdA=="}
    assert 200 == through(envoy, "GET", "/v1/people/ann", key=None, headers=headers).status
    (head,) = api.heads()
    assert f"authorization: bearer {UPSTREAM_KEY}" in head
    assert "x-aegis-key" not in head
    assert "basic" not in head


REFUSED = [
    ("bot", "POST", PAY, payment("5000.01"), 403, "denied_by_policy"),
    ("poor", "POST", PAY, payment(), 402, "budget_exhausted"),
    ("bot", "POST", PAY, {}, 400, "invalid_request"),
    ("bot", "POST", PAY, b'{"amount": 1, "amount": 9}', 400, "invalid_request"),
    ("bot", "POST", PAY, b'{"amount": 1', 400, "invalid_request"),
    ("bot", "POST", "/v1/refunds", payment(), 404, "unknown_tool"),
    ("bot", "GET", "/v1/people/%2e%2e%2fann", None, 400, "invalid_request"),
    ("bot", "GET", "/v1/people//ann", None, 400, "invalid_request"),
]


@pytest.mark.parametrize(("agent", "method", "path", "body", "status", "code"), REFUSED)
def test_refusals_are_those_of_connect(
    gateway: EnvoyedGateway,
    envoy: Envoy,
    sent: list[bytes],
    agent: str,
    method: str,
    path: str,
    body: object,
    status: int,
    code: str,
) -> None:
    """Status, body and headers are what `/connect/` answers to the same request; nothing reaches the upstream."""
    answer = through(envoy, method, path, body, key=gateway.key(agent))
    direct = ask(gateway, method, f"/connect/api{path}", body, key=gateway.key(agent))
    assert (status, code) == (answer.status, answer.code)
    assert (answer.status, answer.body) == (direct.status, direct.body)
    ours = {name for name in direct.headers if name.startswith(("aegis-", "retry-", "x-should-"))}
    assert ours <= set(answer.headers)
    assert [] == sent


def test_rates(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Over a rate it is 429, with how long to wait where that is not too long."""
    assert [201, 429] == [pay(envoy, gateway, "hasty").status for _ in range(2)]
    answer = pay(envoy, gateway, "hasty")
    assert ("rate_limited", "false") == (answer.code, answer.headers["x-should-retry"])
    assert 1 == len(sent)


def test_calls_wait_for_their_turn_as_long_as_envoy_waits(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]
) -> None:
    """A rate that delays has a call wait, unless it would be longer than half of what Envoy waits."""
    assert 201 == pay(envoy, gateway, "patient").status
    impatient = pay(envoy, gateway, "patient", listener="impatient")
    assert (429, "rate_limited") == (impatient.status, impatient.code)
    assert int(impatient.headers["retry-after"]) in (1, 2)
    began = time.monotonic()
    assert 201 == pay(envoy, gateway, "patient").status
    assert time.monotonic() - began > 0.5
    assert 2 == len(sent)


@pytest.mark.parametrize("key", [None, "aegis_live_nobody", "sk-1234"])
def test_unknown_callers(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], key: str | None) -> None:
    """Who isn't known gets 401, and nothing is recorded."""
    before = gateway.count()
    answer = through(envoy, "POST", PAY, payment(), key=key)
    assert (401, "invalid_api_key") == (answer.status, answer.code)
    assert (before, []) == (gateway.count(), sent)


def test_a_key_is_revoked_for_the_next_call(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """A revoked key stops the agent's very next call through Envoy."""
    issued = gateway.issue("bot")
    assert 201 == through(envoy, "POST", PAY, payment(), key=issued.secret).status
    with gateway.administration() as administration:
        administration.revoke_key("acme", issued.key.id)
    assert 401 == through(envoy, "POST", PAY, payment(), key=issued.secret).status
    assert 1 == len(sent)


def test_redaction(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Body, query and path go on without what a policy redacts, and so do body and headers of the answer."""
    body = {"amount": "1", "reference": f"of {LEAKED}"}
    answer = through(envoy, "POST", PAY, body, key=gateway.key("careful"))
    assert 201 == answer.status
    assert "[SSN:" in answer.json["reference"]
    path = f"/v1/people/{LEAKED}?wish=call%20{LEAKED}&x=1"
    answer = through(envoy, "GET", path, key=gateway.key("careful"))
    assert 200 == answer.status
    assert "[SSN:" in answer.json["ssn"]
    assert "[SSN:" in answer.headers["x-about"]
    assert str(len(answer.body)) == answer.headers["content-length"]
    assert [] == [each for each in (*sent, answer.body) if LEAKED.encode() in each]
    assert 2 == sum(b"SSN" in request for request in sent)
    entry = [entry for entry in gateway.entries() if entry["type"] == "settlement"][-1]
    assert {"ssn": 2} == entry["redacted"]


def test_redaction_of_an_answer_in_chunks(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """What stands across the borders of an answer's pieces is found, and its length is told by nobody."""
    answer = through(envoy, "GET", "/v1/people/in-chunks", key=gateway.key("careful"))
    assert 200 == answer.status
    assert answer.body.startswith(b"[SSN:")
    assert LEAKED.encode() not in answer.body


def test_agents_on_http2(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """A body that only frames tell of is judged, redacted and settled as any other."""
    body = json.dumps({"amount": "5000.01"}).encode()
    answer = over_http2(envoy, "agents", "POST", PAY, body, gateway.key())
    assert (403, "denied_by_policy") == (answer.status, answer.code)
    body = json.dumps({"amount": "1", "reference": LEAKED}).encode()
    answer = over_http2(envoy, "agents", "POST", PAY, body, gateway.key("careful"))
    assert 201 == answer.status
    assert "[SSN:" in answer.json["reference"]
    assert LEAKED.encode() not in sent[0]
    assert ("settled", 250_000_000) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


def test_what_cannot_be_redacted_is_withheld(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]
) -> None:
    """An answer that can't be redacted isn't given, and is settled all the same."""
    answer = through(envoy, "GET", "/v1/echo", key=gateway.key("careful"))
    assert (403, "response_withheld") == (answer.status, answer.code)
    assert "x-echo" not in answer.headers
    assert ("settled", 100_000_000) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


def test_the_credential_is_not_given_away(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """An upstream that repeats the credential doesn't give it to the agent."""
    answer = through(envoy, "GET", "/v1/echo", key=gateway.key())
    assert 200 == answer.status
    assert "[withheld]" in answer.body.decode()
    assert UPSTREAM_KEY not in f"{answer}"
    assert str(len(answer.body)) == answer.headers["content-length"]


def test_settlement_by_the_answer(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Prices and counts are read from the answer, to the nano-dollar; one that doesn't say costs the maximum."""
    for rows, cost in ((37, 3_700_000), (0, 0), (-1, 10_000_000)):
        answer = through(envoy, "POST", "/v1/search", {"rows": rows}, key=gateway.key())
        row = gateway.last_call()
        assert (200, "settled", cost) == (answer.status, row["state"], row["cost_nano_usd"])


def test_an_answer_without_a_body(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Headers alone are an answer: it is settled, and told in headers, without what callers never get."""
    answer = through(envoy, "DELETE", "/v1/people/ann", key=gateway.key())
    assert (204, b"", "0.1") == (answer.status, answer.body, answer.headers["aegis-cost-usd"])
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("code", "state", "cost"),
    [
        (200, "settled", 100_000_000),
        (404, "settled", 0),
        (429, "settled", 0),
        (500, "in_doubt", None),
        (503, "in_doubt", None),
    ],
)
def test_statuses(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], code: int, state: str, cost: int | None
) -> None:
    """What the upstream refuses costs nothing; what fails inside it is in doubt; its answer is passed on."""
    answer = through(envoy, "GET", f"/v1/status/{code}", key=gateway.key())
    row = gateway.last_call()
    assert (code, {"said": True}) == (answer.status, answer.json)
    assert (state, cost) == (row["state"], row["cost_nano_usd"])


@pytest.mark.parametrize("listener", ["dead", "empty"])
def test_what_never_left_costs_nothing(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], listener: str
) -> None:
    """Envoy cannot reach the upstream, and says so: the call is settled at nothing."""
    answer = through(envoy, "GET", "/v1/status/200", key=gateway.key(), listener=listener)
    row = gateway.last_call()
    assert (502, "upstream_failed") == (answer.status, answer.code)
    assert ("settled", 0) == (row["state"], row["cost_nano_usd"])
    assert row["call"] == answer.headers["aegis-decision-id"]


def test_what_is_not_answered_is_in_doubt(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """The upstream is too slow for the route, or breaks off: it counts at its maximum."""
    answer = through(envoy, "GET", "/v1/slow", key=gateway.key(), listener="impatient")
    assert (504, "upstream_failed") == (answer.status, answer.code)
    assert "in_doubt" == gateway.last_call()["state"]
    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        assert through(envoy, "GET", "/v1/broken", key=gateway.key()).status >= 500
    assert "in_doubt" == gateway.settled()["state"]


def test_what_envoy_sends_again_is_in_doubt(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """A route that retries sends what was decided once several times, and Aegis can't tell what that costs."""
    answer = through(envoy, "GET", "/v1/status/503", key=gateway.key(), listener="retrying")
    assert (503, 3) == (answer.status, len(sent))
    assert "in_doubt" == gateway.last_call()["state"]
    entry = gateway.entries()[-1]
    assert "sent it 3 times" in json.dumps(entry)


def test_a_caller_who_leaves(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """The upstream has the call already: it is in doubt. Before, there is no call."""
    head = f"GET /v1/slow HTTP/1.1\r\nhost: {AUTHORITY}\r\nauthorization: Bearer {gateway.key()}\r\n"
    with socket.create_connection((HOST, envoy.ports["agents"])) as connection:
        connection.sendall(f"{head}\r\n".encode())
        until(lambda: len(sent) == 1, "the call does not arrive")
    assert "in_doubt" == gateway.settled()["state"]
    before = gateway.count()
    with socket.create_connection((HOST, envoy.ports["agents"])) as connection:
        connection.sendall(f"{head.replace('GET', 'POST')}content-length: 100\r\n\r\nhalf".encode())
    assert 201 == pay(envoy, gateway).status
    assert before + 1 == gateway.count()


def test_an_envoy_that_is_killed(api: ScriptedApi, gateway: EnvoyedGateway, sent: list[bytes]) -> None:
    """What it had under way is in doubt."""
    with Envoy("envoy.yaml", gateway, api.base_url) as envoy, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(through, envoy, "GET", "/v1/slow", key=gateway.key())
        until(lambda: len(sent) == 1, "the call does not arrive")
        envoy.kill()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            waiting.result()
        assert "in_doubt" == gateway.settled()["state"]


def test_a_body_that_is_too_long(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Envoy refuses what it may not hold whole; nothing is decided."""
    before = gateway.count()
    body = json.dumps({"amount": 1, "reference": "x" * BIG}).encode()
    with contextlib.suppress(ConnectionError):
        assert 413 == through(envoy, "POST", PAY, body, key=gateway.key()).status
    assert (before, []) == (gateway.count(), sent)


def test_an_answer_that_is_too_long(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Envoy can't show it whole: it isn't given, and the call is in doubt."""
    answer = through(envoy, "GET", "/v1/big", key=gateway.key())
    assert answer.status >= 500
    assert "in_doubt" == gateway.settled()["state"]


@pytest.mark.parametrize("listener", ["unbuffered", "unanswered", "nameless"])
def test_an_envoy_that_shows_too_little(
    gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes], listener: str
) -> None:
    """Where bodies aren't shown whole, or nobody says whose route it is, nothing passes, and the answer says why."""
    before = gateway.count()
    answer = pay(envoy, gateway, listener=listener)
    assert (500, "envoy_misconfigured") == (answer.status, answer.code)
    assert (before, []) == (gateway.count(), sent)


def test_an_envoy_that_only_watches(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """One that lets everything pass is told to nobody but the operator; no credential is handed to it."""
    before = gateway.count()
    assert 201 == pay(envoy, gateway, listener="observing").status
    assert before == gateway.count()
    until(lambda: "observability_mode" in gateway.log(), "the operator isn't told")
    assert [] == [request for request in sent if UPSTREAM_KEY.encode() in request]


def test_who_is_no_envoy(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Without the token nobody is answered, so nothing passes."""
    before = gateway.count()
    assert 503 == pay(envoy, gateway, listener="stranger").status
    assert (before, []) == (gateway.count(), sent)


def test_a_named_call_is_made_once(
    gateway: EnvoyedGateway, envoy: Envoy, api: ScriptedApi, sent: list[bytes]
) -> None:
    """The same under the same name is answered as before, without being sent; another request is refused."""
    name = {"idempotency-key": "order-1"}
    first = pay(envoy, gateway, headers=name)
    again = pay(envoy, gateway, headers=name)
    other = pay(envoy, gateway, amount="2", headers=name)
    assert [201, 201, 422] == [first.status, again.status, other.status]
    assert (first.body, "true") == (again.body, again.headers["aegis-replayed"])
    assert 1 == len(sent)
    (head,) = api.heads()
    assert "idempotency-key: " in head
    assert "order-1" not in head


def test_sixty_at_once_on_a_budget_for_ten(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Ten pass, the others get 402; the budget is spent to the last cent and not beyond."""
    gateway.key("counted")
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: pay(envoy, gateway, "counted"), range(60)))
    assert {201: 10, 402: 50} == Counter(answer.status for answer in answers)
    assert ((0, 2_500_000_000), 10) == (gateway.standing("ten"), len(sent))


def test_a_worker_that_is_killed(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Its callers are refused, not let through; what was sent is in doubt, and others go on serving."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(through, envoy, "GET", "/v1/slow", key=gateway.key())
        until(lambda: len(sent) == 1, "the call does not arrive")
        for worker in gateway.workers():
            os.kill(worker, signal.SIGKILL)
        answer = waiting.result()
    assert answer.status in (500, 503)
    assert b"{}" != answer.body
    assert "in_doubt" == gateway.settled()["state"]
    until(lambda: pay(envoy, gateway).status == 201, "nobody serves any more")


def test_workers_that_are_killed_under_load(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Whatever reached the upstream is counted, and who got an answer was charged for it."""
    before = gateway.count()

    def call(number: int) -> Answer:
        if number % 50 == 25:
            for worker in gateway.workers()[: number // 50]:
                with contextlib.suppress(ProcessLookupError):  # somebody else's turn has ended it
                    os.kill(worker, signal.SIGKILL)
        return pay(envoy, gateway)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(call, range(200)))
    assert {201, 500, 503} >= {answer.status for answer in answers}
    until(lambda: gateway.states()["dispatched"] == 0, "a call stays open")
    calls = {row["call"]: row for row in gateway.calls()[before:]}
    paid = [calls[each.headers["aegis-decision-id"]] for each in answers if each.status == 201]
    assert {("settled", 250_000_000)} == {(row["state"], row["cost_nano_usd"]) for row in paid}
    assert len(sent) <= sum(row["cost_nano_usd"] != 0 for row in calls.values())
    until(lambda: pay(envoy, gateway).status == 201, "nobody serves any more")


def test_a_gateway_that_hangs(gateway: EnvoyedGateway, envoy: Envoy, sent: list[bytes]) -> None:
    """Envoy waits its time and lets nothing pass; what is decided too late is settled at nothing."""
    before = gateway.count()
    workers = gateway.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        assert pay(envoy, gateway, listener="impatient").status in (503, 504)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    assert 201 == pay(envoy, gateway).status
    assert 1 == len(sent)
    late = gateway.calls()[before:]
    until(lambda: all(call["state"] == "settled" for call in gateway.calls()[before:]), f"open: {late}")
    assert 250_000_000 == sum(call["cost_nano_usd"] for call in gateway.calls()[before:])


def test_without_a_gateway_nothing_passes(api: ScriptedApi, sent: list[bytes]) -> None:
    """Stopped while it serves, a gateway gives its last answer; killed, nothing passes until it is back."""
    with (
        EnvoyedGateway(files(api.base_url)) as gateway,
        Envoy("envoy.yaml", gateway, api.base_url) as envoy,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(through, envoy, "GET", "/v1/slow", key=gateway.key())
        until(lambda: len(sent) == 1, "the call does not arrive")
        stopping = pool_of_one().submit(gateway.stop)
        until(lambda: not gateway.is_listening(), "the gateway goes on")
        api.go_on.set()
        assert (200, 0) == (waiting.result().status, stopping.result())
        assert 503 == pay(envoy, gateway).status
        gateway.start()
        until(lambda: pay(envoy, gateway).status == 201, "it is not asked again")
        gateway.kill_all()
        assert 503 == pay(envoy, gateway).status
        assert 2 == len(sent)


PROXY = "    proxy: {unregistered: true}\n"


def test_in_proxy_mode_everything_passes(api: ScriptedApi, sent: list[bytes]) -> None:
    """Strangers with their own credential, operations that nobody declared, and what would be refused."""
    made = files(api.base_url)
    head, rest = made["aegis.yaml"].split("    teams:\n")
    with (
        EnvoyedGateway({**made, "aegis.yaml": f"{head}{PROXY}    teams:\n{rest}"}) as gateway,
        Envoy("envoy.yaml", gateway, api.base_url) as envoy,
    ):
        body = payment("5000.01")
        assert 201 == through(envoy, "POST", PAY, body, key="sk-of-a-stranger").status
        assert 200 == through(envoy, "GET", "/v1/status/undeclared/200", key=gateway.key()).status
        assert [b"Bearer sk-of-a-stranger" in sent[0], UPSTREAM_KEY.encode() in sent[1]] == [True, True]
        assert ["settled", "in_doubt"] == [call["state"] for call in gateway.calls()]
        assert_books_balance(gateway)


def pool_of_one() -> ThreadPoolExecutor:
    """A thread to wait in."""
    return ThreadPoolExecutor(1)
