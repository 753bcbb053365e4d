"""Connectors: any HTTP API behind prices, counted quantities, policies on typed arguments, and its own credential."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import (
    PAYMENTS,
    TENANT,
    Answer,
    Gateway,
    ScriptedUpstream,
    answer_with,
    ask,
    assert_books_balance,
    configuration,
    exchange,
    happening,
)

pytestmark = pytest.mark.xdist_group("connectors")

NANO = 1_000_000_000
PAY = "/connect/api/v1/payments"
SEARCH = "/connect/api/v1/search"

OPERATIONS = (
    PAYMENTS
    + """\
          search:
            method: POST
            path: /v1/search
            arguments: {limit: {type: integer, from: body.limit, required: false}}
            price: {per_unit: 0.0001, unit: row, units: response.usage.rows, max_units: 100}
            counts: {rows: {from: response.usage.rows, max: 100}}
          search-dear:
            method: POST
            path: /v1/search/dear
            price: {per_unit: 0.0001, unit: row, units: response.usage.rows, max_units: 100}
          set-limits:
            method: PUT
            path: /v1/limits/{account}
            arguments: {account: {type: string, from: path.account, shown: true}}
            price: {per_call: 0}
          drop-limits:
            method: DELETE
            path: /v1/limits/{account}
            price: {per_call: 0}
          special:
            method: GET
            path: /v1/payments/special
            price: {per_call: 0.5}
"""
)
POLICIES = """
@id("all-may") permit(principal, action, resource);
@id("payment-ceiling") @reason("payments above $5,000 need a person")
forbid(principal, action == Action::"api.pay", resource) when { context.args.amount.greaterThan(decimal("5000.0")) };
@id("dollars-only") @reason("only dollars")
forbid(principal, action == Action::"api.pay", resource) unless { context.args.currency == "USD" };
@id("not-this-account") forbid(principal, action == Action::"api.set-limits", resource)
when { context.args.account == "board" };
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway with a budget for fees, and agents with ceilings of their own on what is paid out and found."""
    files = configuration(
        upstream.base_url,
        agents=("bot", "payer", "finder"),
        budgets={
            "fees": "limit: 1000.00, period: monthly",
            "payouts": "counts: paid_out, limit: 25000.00, period: monthly, match: {agent: payer}",
            "found": "counts: rows, limit: 250, period: monthly, match: {agent: finder}",
            "everything-paid": "counts: paid_out, limit: 100000000.00, period: yearly, match: {tenant: acme}",
        },
        operations=OPERATIONS,
        policies=POLICIES,
    )
    with Gateway(files) as gateway:
        yield gateway
        assert_books_balance(gateway)


def payment(amount: object = "10.00", **rest: object) -> dict[str, object]:
    """The body of a payment."""
    return {"amount": amount, "currency": "USD", "beneficiary": "ACME Ltd", **rest}


def scripted(upstream: ScriptedUpstream, **rest: Any) -> Gateway:
    """A gateway in front of a scripted upstream."""
    return Gateway(configuration(upstream.base_url, operations=OPERATIONS, **rest))


def test_no_envoy_is_answered_unless_there_is_a_token(gateway: Gateway) -> None:
    """Where nothing says who is an Envoy there is no door for them, which would tell the credential."""
    answer = ask(gateway, "GET", "/ext_authz/api/v1/fx/EURUSD", headers={"aegis-envoy-token": ""})
    assert (404, "not_found") == (answer.status, answer.code)


def test_a_price_per_call(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A payment costs its fee; the answer is the API's own, with Aegis's headers beside it."""
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", PAY, payment("12.34"))
    assert (201, "12.34", "completed") == (answer.status, answer.json["amount"], answer.json["status"])
    assert 250_000_000 == happened.billed_nano_usd == happened.charged_nano_usd
    row = gateway.last_call()
    assert ("api.pay", "api", None, "settled") == (row["tool"], row["connector"], row["model"], row["state"])
    assert (row["call"], "allow", "0.25") == (
        answer.headers["aegis-decision-id"],
        answer.headers["aegis-effect"],
        answer.headers["aegis-cost-usd"],
    )


def test_the_record_shows_numbers_and_what_may_be_shown(gateway: Gateway) -> None:
    """Arguments stand in the record as declared: texts only by their length unless they may be shown."""
    ask(gateway, "POST", PAY, payment("12.50", reference="for my mother"))
    decision = gateway.entries()[-2]
    expected = {"operation": "pay", "amount": "12.50", "currency": "USD", "reference": "(13 characters)"}
    assert ("decision", expected) == (decision["type"], decision["arguments"]["summary"])
    assert "my mother" not in json.dumps(gateway.entries())


@pytest.mark.parametrize(
    ("query", "limit", "rows"),
    [("[[rows=7]]", 100, 7), ("[[rows=0]]", 100, 0), ("[[rows=90]]", 20, 20), ("natural", 100, None)],
)
def test_a_price_per_unit_of_the_response(
    upstream: UpstreamProcess, gateway: Gateway, query: str, limit: int, rows: int | None
) -> None:
    """Rows are charged as the answer counts them; what is held before is the stated maximum."""
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", SEARCH, {"query": query, "limit": limit})
    found = len(answer.json["rows"]) if rows is None else rows
    assert found * 100_000 == happened.billed_nano_usd == happened.charged_nano_usd
    assert 100 * 100_000 == gateway.last_call()["maximum_nano_usd"]


def test_an_answer_without_the_number(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Where the answer does not say how much it was, the call is charged at its maximum, and the record says why."""
    with happening(gateway, upstream) as happened:
        ask(gateway, "POST", SEARCH, {"query": "[[usage=missing]] [[rows=7]]", "limit": 100})
    assert (700_000, 10_000_000) == (happened.billed_nano_usd, happened.charged_nano_usd)
    settlement = gateway.entries()[-1]
    assert ("settlement", "estimate") == (settlement["type"], settlement["evidence"])
    assert "response.usage.rows" in settlement["note"]


def test_more_than_the_stated_maximum(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """An answer above the maximum is booked as it is, and called an overrun."""
    with happening(gateway, upstream) as happened:
        ask(gateway, "POST", SEARCH, {"query": "[[over=50]]", "limit": 100})
    assert 150 * 100_000 == happened.billed_nano_usd == happened.charged_nano_usd
    assert ("settled", 1) == (gateway.last_call()["state"], int(gateway.last_call()["overrun"]))
    assert gateway.entries()[-1]["overrun"] is True


@pytest.mark.parametrize(
    ("body", "cost", "source"),
    [
        (b'{"fee": 1.25}', 1_250_000_000, "response"),
        (b'{"fee": "0.000000001"}', 1, "response"),
        (b'{"fee": 0.00000000051}', 1, "response"),
        (b'{"fee": 0}', 0, "response"),
        (b'{"fee": 3}', 3 * NANO, "response"),
        (b"{}", 2 * NANO, "estimate"),
        (b"not json", 2 * NANO, "estimate"),
        (b'{"fee": -1}', 2 * NANO, "estimate"),
        (b'{"fee": 1, "fee": 2}', 2 * NANO, "estimate"),
        (b'{"fee": NaN}', 2 * NANO, "estimate"),
        (b'{"fee": 1e400}', 2 * NANO, "estimate"),
        (b'{"fee": "\xff"}', 2 * NANO, "estimate"),
    ],
)
def test_a_price_that_the_response_states(
    amount_gateway: tuple[Gateway, list[bytes]], body: bytes, cost: int, source: str
) -> None:
    """An amount in the answer is what the call cost, rounded up to a nano-dollar; nonsense counts at the maximum."""
    gateway, bodies = amount_gateway
    bodies.append(body)
    answer = ask(gateway, "POST", "/connect/api/v1/transfers", {})
    assert (200, body) == (answer.status, answer.body)
    row = gateway.last_call()
    assert (cost, 2 * NANO) == (row["cost_nano_usd"], row["maximum_nano_usd"])
    assert (source, cost > 2 * NANO) == (gateway.entries()[-1]["evidence"], bool(row["overrun"]))


def test_more_than_can_be_counted(amount_gateway: tuple[Gateway, list[bytes]]) -> None:
    """An amount beyond 64 bits leaves the call in doubt, and nobody else notices."""
    gateway, bodies = amount_gateway
    bodies.append(b'{"fee": 999999999999}')
    assert 200 == ask(gateway, "POST", "/connect/api/v1/transfers", {}).status
    assert "in_doubt" == gateway.last_call()["state"]
    bodies.append(b'{"fee": 1}')
    assert "1" == ask(gateway, "POST", "/connect/api/v1/transfers", {}).headers["aegis-cost-usd"]


@pytest.fixture(scope="module")
def amount_gateway() -> Iterator[tuple[Gateway, list[bytes]]]:
    """A gateway whose upstream states its price in the answer, and the answers that it is to give."""
    bodies: list[bytes] = []
    operations = """\
          transfer:
            method: POST
            path: /v1/transfers
            price: {amount: response.fee, max_amount: 2.00}
"""
    with (
        ScriptedUpstream(lambda request, to: answer_with(bodies[-1])(request, to)) as upstream,
        Gateway(configuration(upstream.base_url, operations=operations)) as gateway,
    ):
        yield gateway, bodies
        assert_books_balance(gateway)


def test_many_payments_just_under_the_ceiling(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Ten payments of $4,999 each pass the policy; the day's $25,000 stops the sixth and all after it."""
    before = upstream.bill()["paid_out_nano_usd"]
    answers = [ask(gateway, "POST", PAY, payment("4999.00"), key=gateway.key("payer")) for _ in range(10)]
    assert [201] * 5 + [402] * 5 == [answer.status for answer in answers]
    assert 5 * 4_999 * NANO == upstream.bill()["paid_out_nano_usd"] - before
    assert (0, 5 * 4_999 * NANO) == gateway.standing("payouts")
    assert "budget `payouts` has $5.00 of $25,000.00 left" in answers[-1].json["error"]["message"]
    small = ask(gateway, "POST", PAY, payment("5.00"), key=gateway.key("payer"))
    assert 201 == small.status
    assert (0, 25_000 * NANO) == gateway.standing("payouts")
    again = ask(gateway, "POST", PAY, payment("0.01"), key=gateway.key("payer"))
    assert "has $0.00 of $25,000.00 left" in again.json["error"]["message"]


def test_rows_that_only_the_answer_counts(gateway: Gateway) -> None:
    """A budget of rows holds the stated maximum of a search and settles at what was found."""
    key = gateway.key("finder")

    def find(rows: int) -> int:
        return ask(gateway, "POST", SEARCH, {"query": f"[[rows={rows}]]", "limit": 100}, key=key).status

    assert [200, 200, 200] == [find(70), find(70), find(10)]
    assert (0, 150) == gateway.standing("found")
    assert 200 == find(1)
    assert 402 == find(1)
    assert (0, 151) == gateway.standing("found")


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (payment("5000.00"), 201, "", ""),
        (payment("5000.01"), 403, "denied_by_policy", "payments above $5,000 need a person"),
        (payment("6000.00"), 403, "denied_by_policy", "payments above $5,000 need a person"),
        (payment(6000), 403, "denied_by_policy", "payments above $5,000 need a person"),
        (payment(6e3), 403, "denied_by_policy", "payments above $5,000 need a person"),
        (payment("6_000"), 403, "denied_by_policy", "payments above $5,000 need a person"),
        (payment("0x1770"), 400, "invalid_request", "`body.amount` must be a number"),
        (payment("6,000.00"), 400, "invalid_request", "`body.amount` must be a number"),
        (payment("6000.00001"), 400, "invalid_request", "more than 4 decimals"),
        (payment("1.00", currency="EUR"), 403, "denied_by_policy", "only dollars"),
    ],
)
def test_policies_see_typed_arguments(
    upstream: UpstreamProcess, gateway: Gateway, body: dict[str, object], status: int, code: str, words: str
) -> None:
    """However an amount is written, the policy compares the number, and what is no number is refused."""
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", PAY, body)
    assert status == answer.status
    assert int(status == 201) == happened.arrived
    if status != 201:
        assert code == answer.code
        assert words in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "body.amount"),
        ({"amount": "10.00"}, "body.currency"),
        ({"amount": None, "currency": "USD"}, "body.amount"),
        ({"amount": True, "currency": "USD"}, "body.amount"),
        ({"amount": ["10.00"], "currency": "USD"}, "body.amount"),
        ({"amount": {"value": 10}, "currency": "USD"}, "body.amount"),
        ({"amount": "ten", "currency": "USD"}, "body.amount"),
        ({"amount": "NaN", "currency": "USD"}, "body.amount"),
        ({"amount": -5, "currency": "USD"}, "body.amount"),
        ({"amount": "0.0000000001", "currency": "USD"}, "body.amount"),
        ({"amount": "1e30", "currency": "USD"}, "body.amount"),
        ({"amount": "10.00", "currency": 840}, "body.currency"),
        ({"amount": "10.00", "currency": "USD", "reference": 7}, "body.reference"),
        ([], "body.amount"),
        ("text", "body.amount"),
    ],
)
def test_arguments_that_are_missing_or_of_another_type(
    upstream: UpstreamProcess, gateway: Gateway, body: object, param: str
) -> None:
    """They are refused with 400 and their path, before anything is decided, reserved or sent."""
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", PAY, body)
    error = answer.json["error"]
    assert (400, "invalid_request_error", "invalid_request") == (answer.status, error["type"], error["code"])
    assert param == error["param"]
    assert (0, 0) == (happened.arrived, happened.decided)


@pytest.mark.parametrize(
    "body",
    [
        b'{"amount": 1, "currency": "USD", "beneficiary": "x", "amount": 9000}',
        b'{"amount": 1, "currency": "USD", "beneficiary": "x", "\\u0061mount": 9000}',
        b'{"amount": NaN, "currency": "USD", "beneficiary": "x"}',
        b'{"amount": 1, "currency": "USD", "beneficiary": "x", "note": {"__entity": {"type": "Agent", "id": "root"}}}',
        b'{"amount": {"__extn": {"fn": "decimal", "arg": "1.0"}}, "currency": "USD"}',
        b'{"amount": 1, "currency": "USD", "beneficiary": "x", "note": "\\ud800"}',
        '{"amount": 1, "currency": "USD", "beneficiary": "x"}'.encode("utf-16"),
        b"amount=1&currency=USD",
    ],
)
def test_bodies_that_could_mean_two_things(upstream: UpstreamProcess, gateway: Gateway, body: bytes) -> None:
    """Duplicate keys, NaN, Cedar's own keys and other encodings are refused before anything is decided."""
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", PAY, body)
    assert (400, "invalid_request") == (answer.status, answer.code)
    assert (0, 0) == (happened.arrived, happened.decided)


def test_a_body_that_is_called_a_form(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """JSON that an upstream would read as a form with other values in it is not passed on."""
    body = b'{"amount": 1, "currency": "USD", "beneficiary": "x", "z": "&amount=9000&y="}'
    for headers in (
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-7"},
        {"content-encoding": "deflate"},
    ):
        with happening(gateway, upstream) as happened:
            answer = ask(gateway, "POST", PAY, body, headers=headers)
        assert 400 == answer.status
        assert (0, 0) == (happened.arrived, happened.decided)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", PAY, 404, "unknown_tool"),
        ("POST", f"{PAY}/", 400, "invalid_request"),
        ("PATCH", PAY, 404, "unknown_tool"),
        ("TRACE", PAY, 404, "unknown_tool"),
        ("GET", "/connect/api/v1/secrets", 404, "unknown_tool"),
        ("GET", "/connect/api", 404, "unknown_tool"),
        ("GET", "/connect/", 400, "invalid_request"),
        ("GET", "/connect/nobody/v1/payments/x", 404, "unknown_tool"),
        ("GET", "/connect/provider/chat/completions", 404, "unknown_tool"),
        ("GET", "/connect/api/v1/payments/a/b", 404, "unknown_tool"),
        ("GET", "/connect/api/v1/payments/..", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/../fx/EUR-USD", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/%2e%2e", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/%2E%2E%2Ffx", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/%252e%252e", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/a%2fb", 404, "unknown_tool"),
        ("GET", "/connect/api/v1/payments/a%252fb", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/a%5cb", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/a%3fadmin=1", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/a%23b", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/a%00b", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/a%0d%0aX-Evil:1", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/%25ff", 400, "invalid_request"),
        ("GET", "/connect/api//v1/payments", 400, "invalid_request"),
        ("GET", "/connect/api/./v1/payments", 400, "invalid_request"),
        ("GET", "/connect/../v1/models", 400, "invalid_request"),
        ("GET", "/connect/api/v1/payments/x?a=1&a=2", 400, "invalid_request"),
        ("GET", "/connect/api%00/v1/payments/x", 400, "invalid_request"),
    ],
)
def test_paths_that_are_no_operation(
    upstream: UpstreamProcess, gateway: Gateway, method: str, path: str, status: int, code: str
) -> None:
    """Unknown operations are decided and refused; paths that climb or disguise something are not even that."""
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, method, path)
    assert (status, code) == (answer.status, answer.code)
    assert (0, int(status == 404)) == (happened.arrived, happened.decided)


def test_path_templates(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A name in a path takes one segment; a path without names is preferred to one with."""
    made = ask(gateway, "POST", PAY, payment()).json
    assert made == ask(gateway, "GET", f"{PAY}/{made['id']}").json
    assert "api.show" == gateway.last_call()["tool"]
    assert "1.085000" == ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD").json["rate"]
    assert ("api.rate", 2_000_000) == (gateway.last_call()["tool"], gateway.last_call()["cost_nano_usd"])
    with happening(gateway, upstream) as happened:
        assert 404 == ask(gateway, "GET", f"{PAY}/special").status
    assert ("api.special", 1) == (gateway.last_call()["tool"], happened.arrived)


@pytest.mark.parametrize(
    ("name", "sent"), [("a%20b", "a b"), ("caf%C3%A9", "café"), ("a;b=c", "a;b=c"), ("a+b", "a+b")]
)
def test_names_that_need_escapes(gateway: Gateway, name: str, sent: str) -> None:
    """A segment reaches the upstream as the caller meant it, whatever has to be escaped in it."""
    answer = ask(gateway, "GET", f"{PAY}/{name}")
    assert (404, f"there is no payment `{sent}`") == (answer.status, answer.json["error"]["message"])


def test_methods_and_arguments_from_the_path(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """PUT and DELETE are operations like others; a policy sees the path's names as they reach the upstream."""
    answer = ask(gateway, "PUT", "/connect/api/v1/limits/desk", {"daily": 5})
    assert {"account": "desk", "method": "PUT", "limits": {"daily": 5}} == answer.json
    assert "api.set-limits" == gateway.last_call()["tool"]
    assert "DELETE" == ask(gateway, "DELETE", "/connect/api/v1/limits/desk").json["method"]
    with happening(gateway, upstream) as happened:
        for name in ("board", "%62oard", "b%6Fard"):
            assert 403 == ask(gateway, "PUT", f"/connect/api/v1/limits/{name}", {}).status
    assert (0, 3) == (happened.arrived, happened.decided)


@pytest.mark.parametrize("order", [400, 401, 403, 404, 409, 422, 429])
def test_what_the_upstream_refuses_costs_nothing(
    upstream: UpstreamProcess, gateway: Gateway, order: int
) -> None:
    """A 4xx is the upstream's word that nothing was done: no fee, and nothing of what it would have paid out."""
    before = gateway.standing("everything-paid")
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", PAY, payment("100.00", reference=f"[[fail={order}]]"))
    assert (order, "ordered_failure") == (answer.status, answer.code)
    assert (1, 0, 0) == (happened.arrived, happened.billed_nano_usd, happened.charged_nano_usd)
    assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
    assert before == gateway.standing("everything-paid")


@pytest.mark.parametrize("order", [500, 502, 503, 504])
def test_what_fails_inside_the_upstream_is_in_doubt(gateway: Gateway, order: int) -> None:
    """A 5xx says nothing about what was done: the call and what it may have paid out count until a person says."""
    pending, posted = gateway.standing("everything-paid")
    answer = ask(gateway, "POST", PAY, payment("100.00", reference=f"[[fail={order}]]"))
    assert order == answer.status
    assert "in_doubt" == gateway.last_call()["state"]
    assert (pending + 100 * NANO, posted) == gateway.standing("everything-paid")
    assert "aegis-cost-usd" not in answer.headers


def test_an_upstream_that_cannot_be_reached(gateway: Gateway) -> None:
    """What was never sent is settled at nothing, of money and of everything else that it would have counted."""
    nowhere = "http://127.0.0.1:1"
    budgets = {
        "fees": "limit: 10.00, period: monthly",
        "payouts": "counts: paid_out, limit: 100.00, period: monthly, match: {tenant: acme}",
        "tries": "counts: calls, limit: 2, period: monthly, match: {tenant: acme}",
    }
    with Gateway(configuration(nowhere, budgets=budgets)) as unreachable:
        for _ in range(3):
            answer = ask(unreachable, "POST", PAY, payment("60.00"))
            assert (502, "upstream_failed") == (answer.status, answer.code)
            assert ("settled", 0) == (
                unreachable.last_call()["state"],
                unreachable.last_call()["cost_nano_usd"],
            )
        for budget in budgets:
            assert (0, 0) == unreachable.standing(budget)
        assert_books_balance(unreachable)


def test_the_credential_is_put_in_and_the_key_taken_out() -> None:
    """The upstream sees its own credential and none of ours; what speaks of the connection stays behind."""
    with ScriptedUpstream(answer_with(b'{"usage": {"rows": 1}}')) as upstream, scripted(upstream) as gateway:
        headers = {
            "x-api-key": gateway.key(),
            "cookie": "session=1",
            "aegis-effect": "allow",
            "x-forwarded-for": "10.0.0.1",
            "x-http-method-override": "DELETE",
            "x-original-url": "/v1/admin",
            "proxy-authorization": "Basic x",
            "connection": "x-secret-hop",
            "x-secret-hop": "1",
            "idempotency-key": "abc",
            "accept": "application/json",
        }
        assert 200 == ask(gateway, "POST", SEARCH, {"query": "x"}, headers=headers).status
        head, _, body = upstream.requests[0].partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        sent = dict(line.split(": ", 1) for line in lines[1:])
    assert "post /v1/search http/1.1" == lines[0]
    assert b'{"query": "x"}' == body
    assert f"bearer {UPSTREAM_KEY}" == sent.pop("authorization")
    assert "application/json" == sent.pop("accept")
    name = sent.pop("idempotency-key")
    assert (64, False) == (len(name), "abc" == name)
    assert "application/json" == sent.pop("content-type")
    assert {"host", "content-length", "user-agent"} == sent.keys()
    assert gateway.key().lower() not in head.decode().lower()


def test_headers_of_the_answer() -> None:
    """Of the upstream's headers those pass that are about the answer; cookies and claims of ours do not."""
    headers = (
        "content-type: application/json\r\nset-cookie: a=b\r\naegis-effect: deny\r\nAegis-Cost-Usd: 0\r\n"
        "x-request-id: r1\r\nserver: evil\r\n"
    )
    script = answer_with(b'{"usage": {"rows": 1}}', headers=headers)
    with ScriptedUpstream(script) as upstream, scripted(upstream) as gateway:
        answer = ask(gateway, "POST", SEARCH, {"query": "x"})
    assert ("allow", "0.0001") == (answer.headers["aegis-effect"], answer.headers["aegis-cost-usd"])
    assert "r1" == answer.headers["x-request-id"]
    assert "set-cookie" not in answer.headers
    assert UPSTREAM_KEY not in str(answer.headers)


def test_redirects_are_not_followed() -> None:
    """A redirect is an answer like others; the credential goes nowhere but to its own upstream."""
    with ScriptedUpstream(answer_with(b"{}")) as elsewhere:
        script = answer_with(
            b"{}", status="307 Temporary Redirect", headers=f"location: {elsewhere.base_url}/steal\r\n"
        )
        with ScriptedUpstream(script) as upstream, scripted(upstream) as gateway:
            assert 307 == ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD").status
        assert [] == elsewhere.requests


def test_the_query_is_passed_on_as_it_is(gateway: Gateway) -> None:
    """What was checked of the query is what the upstream reads."""
    with ScriptedUpstream(answer_with(b"{}")) as upstream, scripted(upstream) as scripted_gateway:
        ask(scripted_gateway, "GET", "/connect/api/v1/fx/EUR-USD?a=1&b=%20x&c")
        assert upstream.requests[0].startswith(b"GET /v1/fx/EUR-USD?a=1&b=%20x&c HTTP/1.1\r\n")


def test_a_key_in_x_api_key(gateway: Gateway) -> None:
    """An agent may send its key as `x-api-key`; a bearer that is none counts before it."""
    headers = {"x-api-key": gateway.key()}
    assert 200 == ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD", key=None, headers=headers).status
    headers["authorization"] = "Basic abc"
    assert 401 == ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD", key=None, headers=headers).status


def test_two_keys_in_one_request(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A request with two different authorizations is one caller's or nobody's, and is charged at most once."""
    request = (
        "GET /connect/api/v1/fx/EUR-USD HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        f"authorization: Bearer {gateway.key()}\r\nauthorization: Bearer {gateway.key('payer')}\r\n\r\n"
    )
    with happening(gateway, upstream) as happened:
        answer = exchange(gateway, request.encode())
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 401"))
    assert happened.billed_nano_usd == happened.charged_nano_usd <= 2_000_000


def test_a_missing_credential_sends_nothing() -> None:
    """Where the reference leads to nothing the call is settled at nothing, and the error names only the reference."""
    with (
        ScriptedUpstream(answer_with(b"{}")) as upstream,
        Gateway(configuration(upstream.base_url), environment={"ACME_UPSTREAM_KEY": ""}) as gateway,
    ):
        answer = ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD")
        assert (502, "upstream_failed") == (answer.status, answer.code)
        assert "`env:ACME_UPSTREAM_KEY` is not set" in answer.json["error"]["message"]
        assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
        assert [] == upstream.requests


def test_a_credential_that_no_header_can_carry() -> None:
    """With a line break in it, it cannot be sent: the call is settled at nothing, and the credential is not told."""
    secret = "first-line\nsecond-line"
    with (
        ScriptedUpstream(answer_with(b"{}")) as upstream,
        Gateway(configuration(upstream.base_url), environment={"ACME_UPSTREAM_KEY": secret}) as gateway,
    ):
        answer = ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD")
        assert (502, "upstream_failed") == (answer.status, answer.code)
        assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
        assert "second-line" not in gateway.log() + answer.body.decode()
        assert [] == upstream.requests


def test_decisions_stand_under_the_right_names(gateway: Gateway) -> None:
    """A decision says tenant, agent, connector, tool and the key that was used."""
    ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD", key=gateway.key("payer"))
    row = gateway.last_call()
    assert (TENANT, "payer", "desk", "api", "api.rate") == (
        row["tenant"],
        row["agent"],
        row["team"],
        row["connector"],
        row["tool"],
    )
    entry = next(entry for entry in gateway.entries() if entry["call"] == row["call"])
    assert row["api_key"] == entry["key"]


def answered(answer: Answer) -> tuple[int, str]:
    """Status and code."""
    return answer.status, answer.code


def test_an_answer_that_is_too_long() -> None:
    """An upstream that answers without end is cut off; the call is in doubt, the gateway goes on."""

    def endless(_request: bytes, connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
        for _ in range(80):
            connection.sendall(b"x" * 1024 * 1024)

    with ScriptedUpstream(endless) as upstream, scripted(upstream) as gateway:
        assert (502, "upstream_failed") == answered(ask(gateway, "GET", "/connect/api/v1/fx/EUR-USD"))
        assert "in_doubt" == gateway.last_call()["state"]
        assert gateway.is_ready()
