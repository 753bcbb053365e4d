"""The decision API: tools that agents run themselves are decided, reserved and settled as all others are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.gateways import PERMIT_ALL, Answer, Files, Gateway, ask, assert_books_balance, configuration

pytestmark = pytest.mark.xdist_group("packs")

LOCAL = """\
      desk:
        kind: local
        region: eu-west
        operations:
          rank:
            arguments:
              limit: {type: integer, from: args.limit, required: false}
            price: {per_call: 0.10}
          crawl:
            arguments:
              pages: {type: integer, from: args.pages}
            price: {per_unit: 0.01, unit: page, units: result.pages, max_units: 50}
            counts:
              rows: {from: result.rows, max: 1000}
          wire:
            arguments:
              amount: {type: number, from: args.amount}
            price: {per_call: 0}
            counts: {paid_out: args.amount}
          note:
            arguments:
              text: {type: string, from: args.text}
            price: {per_call: 0}
          buy:
            price: {amount: result.paid, max_amount: 0.30}
            counts: {rows: {from: result.rows, max: 1000}}
          copy:
            arguments:
              files: {type: integer, from: args.files}
            price: {per_unit: 0.001, unit: file, units: args.files}
"""
CEILING = """
@id("ceiling")
@reason("not that much")
forbid(principal, action == Action::"desk.wire", resource)
when { context.args.amount.greaterThan(decimal("100.0")) };
"""
REDACT = """
@id("no-numbers")
@effect("redact")
@kinds("ssn")
%s
forbid(principal, action == Action::"desk.note", resource);
"""
BUDGETS = {
    "money": "limit: 1.00, period: daily, match: {tenant: acme}",
    "rows": "counts: rows, limit: 1500, period: daily, match: {tenant: acme}",
    "out": "counts: paid_out, limit: 500.00, period: daily, match: {tenant: acme}",
}


def files(more_policies: str = "") -> Files:
    """A tenant with tools that run in its agents."""
    policies = PERMIT_ALL + CEILING + more_policies
    made = configuration("http://127.0.0.1:9", agents=("bot", "other"), budgets=BUDGETS, policies=policies)
    text = made["aegis.yaml"].replace("    models:\n", f"{LOCAL}    models:\n")
    return {**made, "aegis.yaml": text}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway; nothing that is tested here goes over a network."""
    with Gateway(files()) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    """A gateway with so much on its budgets that no test sees what another has used."""
    made = files()
    roomy = made["aegis.yaml"]
    for name, limit in (("money", "1.00"), ("rows", "1500"), ("out", "500.00")):
        whole, _, cents = limit.partition(".")
        roomy = roomy.replace(
            BUDGETS[name], BUDGETS[name].replace(limit, f"{whole}000" + (f".{cents}" if cents else ""))
        )
    assert roomy != made["aegis.yaml"]
    with Gateway({**made, "aegis.yaml": roomy}) as gateway:
        yield gateway
        assert_books_balance(gateway)


def decide(gateway: Gateway, tool: str, agent: str = "bot", **more: Any) -> Answer:
    """Ask for one decision."""
    return ask(gateway, "POST", "/v1/decisions", {"tool": tool, **more}, key=gateway.key(agent))


def settle(gateway: Gateway, decided: Answer, agent: str = "bot", **result: Any) -> Answer:
    """Say that it was run."""
    return ask(
        gateway,
        "POST",
        f"/v1/decisions/{decided.json['id']}/settlement",
        {"token": decided.json["token"], "result": result},
        key=gateway.key(agent),
    )


def release(gateway: Gateway, decided: Answer, **more: object) -> Answer:
    """Say that it was not run."""
    path = f"/v1/decisions/{decided.json['id']}"
    return ask(gateway, "DELETE", path, {"token": decided.json["token"], **more})


def test_decided_run_settled(gateway: Gateway) -> None:
    """Its maximum is held until it is settled, by what came out; the record says whose word that is."""
    decided = decide(gateway, "desk.crawl", arguments={"pages": 9})
    assert (200, "allow", "0.5", "0.5") == (
        decided.status,
        decided.json["effect"],
        decided.json["maximum_usd"],
        decided.headers["aegis-budget-remaining-usd"],
    )
    assert "0.5" == decided.json["budget_left_usd"]
    assert (500_000_000, 0) == gateway.standing("money")
    assert (1_000, 0) == gateway.standing("rows")
    done = settle(gateway, decided, pages=9, rows=120)
    assert (200, "settled", "0.09") == (done.status, done.json["state"], done.json["cost_usd"])
    assert (decided.json["id"], "0.09") == (done.headers["aegis-decision-id"], done.headers["aegis-cost-usd"])
    assert (0, 90_000_000) == gateway.standing("money")
    assert (0, 120) == gateway.standing("rows")
    entry = [entry for entry in gateway.entries() if entry["type"] == "settlement"][-1]
    assert ("sdk", decided.json["id"]) == (entry["evidence"], entry["call"])
    again = settle(gateway, decided, pages=9, rows=120)
    assert (200, "0.09") == (again.status, again.json["cost_usd"])
    other = settle(gateway, decided, pages=10)
    assert 422 == other.status
    assert_books_balance(gateway)


def test_not_run(gateway: Gateway) -> None:
    """What was not run costs nothing and counts nothing."""
    decided = decide(gateway, "desk.wire", arguments={"amount": "99.50"})
    assert (99_500_000_000, 0) == gateway.standing("out")
    done = release(gateway, decided)
    assert (200, "settled", "0") == (done.status, done.json["state"], done.json["cost_usd"])
    assert (0, 0) == gateway.standing("out")
    assert_books_balance(gateway)


def test_refusals_are_answers(gateway: Gateway) -> None:
    """By policy, for want of money, of an unknown tool: 200 with the decision, and no token to settle by."""
    denied = decide(gateway, "desk.wire", arguments={"amount": 101})
    assert (200, "deny", "ceiling", "not that much") == (
        denied.status,
        denied.json["effect"],
        denied.json["reasons"][0]["subject"],
        denied.json["reasons"][0]["message"],
    )
    unknown = decide(gateway, "desk.nothing")
    assert (200, "deny", "unknown_tool") == (
        unknown.status,
        unknown.json["effect"],
        unknown.json["reasons"][0]["code"],
    )
    for _ in range(5):
        assert "allow" == decide(gateway, "desk.wire", arguments={"amount": 100}).json["effect"]
    poor = decide(gateway, "desk.wire", arguments={"amount": "0.01"})
    assert ("deny", "budget_exhausted") == (poor.json["effect"], poor.json["reasons"][0]["code"])
    assert not {"token"} & set().union(denied.json, unknown.json, poor.json)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tool": "desk.wire", "arguments": {}}, "arguments.amount"),
        ({"tool": "desk.wire", "arguments": {"amount": None}}, "arguments.amount"),
        ({"tool": "desk.wire", "arguments": {"amount": -1}}, "arguments.amount"),
        ({"tool": "desk.wire", "arguments": {"amount": "much"}}, "arguments.amount"),
        ({"tool": "desk.crawl", "arguments": {"pages": 1.5}}, "arguments.pages"),
        ({"tool": "desk.rank", "argument": {}}, "body"),
        ({"arguments": {}}, "body"),
        ({"tool": 5}, "body"),
        ([], "body"),
        (b"{", "body"),
        ({"tool": "desk.rank", "run": "run_x"}, "aegis-run-id"),
        ({"tool": "desk.rank", "parent": "call_x"}, "aegis-parent-id"),
        ({"tool": "desk.rank", "customer": "nobody"}, "aegis-customer"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(shared: Gateway, body: Any, field: str) -> None:
    """It is refused by the field that is wrong, and nothing is recorded."""
    before = shared.count()
    answer = ask(shared, "POST", "/v1/decisions", body)
    assert (400, field) == (answer.status, answer.json["error"]["param"])
    assert before == shared.count()


def test_a_token_is_its_agents_and_its_calls(gateway: Gateway) -> None:
    """Nobody settles another's call, or one call by another's token, or by a made-up one."""
    mine = decide(gateway, "desk.rank")
    theirs = decide(gateway, "desk.rank", "other")
    assert 403 == settle(gateway, mine, "other").status
    swapped = ask(
        gateway, "POST", f"/v1/decisions/{theirs.json['id']}/settlement", {"token": mine.json["token"]}
    )
    assert 403 == swapped.status
    for token in ("", "x", "AAAA", mine.json["token"][:-8], "é"):
        answer = ask(gateway, "DELETE", f"/v1/decisions/{mine.json['id']}", {"token": token})
        assert (403, "token") == (answer.status, answer.json["error"]["param"])
    assert 404 == ask(gateway, "GET", f"/v1/decisions/{theirs.json['id']}").status
    assert 404 == ask(gateway, "GET", "/v1/decisions/call_" + "0" * 32).status
    assert (200_000_000, 0) == gateway.standing("money")


@pytest.mark.parametrize(
    "result", [{}, {"pages": None}, {"pages": "many"}, {"pages": -3}, {"rows": 2}, {"pages": 2}]
)
def test_what_came_out_is_not_said(shared: Gateway, result: dict[str, Any]) -> None:
    """A result without the numbers that price and count it is counted at the maximum, never at nothing."""
    before = shared.standing("money"), shared.standing("rows")
    done = settle(shared, decide(shared, "desk.crawl", arguments={"pages": 1}), **result)
    assert (200, "0.5") == (done.status, done.json["cost_usd"])
    (_, money), (_, rows) = before
    assert (before[0][0], money + 500_000_000) == shared.standing("money")
    assert (before[1][0], rows + 1_000) == shared.standing("rows")


def test_a_price_of_the_arguments(shared: Gateway) -> None:
    """It is that of the arguments that were decided on, whatever is said later."""
    decided = decide(shared, "desk.copy", arguments={"files": 7})
    assert ("0.007", "0.007") == (decided.json["expected_usd"], decided.json["maximum_usd"])
    assert "0.007" == settle(shared, decided, files=1).json["cost_usd"]


@pytest.mark.parametrize(
    ("said", "result", "cost"),
    [
        ({"cost_usd": 0.07}, {"rows": 1}, "0.07"),
        ({"cost_usd": "0.07"}, {"rows": 1, "paid": 0.01}, "0.07"),
        ({"cost_usd": 0}, {"rows": 1}, "0"),
        ({"cost_usd": "0.31"}, {"rows": 1}, "0.31"),
        ({"cost_usd": "0.07"}, {}, "0.3"),
        ({"cost_usd": -1}, {"rows": 1}, "0.3"),
        ({"cost_usd": 1e300}, {"rows": 1}, "0.3"),
        ({}, {"rows": 1, "paid": "0.02"}, "0.02"),
    ],
)
def test_the_word_of_the_agent(
    shared: Gateway, said: dict[str, Any], result: dict[str, Any], cost: str
) -> None:
    """Where the price takes it, what the agent says that a call cost counts, or else the maximum."""
    decided = decide(shared, "desk.buy")
    path = f"/v1/decisions/{decided.json['id']}/settlement"
    done = ask(shared, "POST", path, {"token": decided.json["token"], "result": result, **said})
    assert (200, cost, cost == "0.31") == (done.status, done.json["cost_usd"], done.json["overrun"])


def test_the_word_of_the_agent_where_it_does_not_count(shared: Gateway) -> None:
    """It is refused, and nothing is settled by it; so is one that is no amount."""
    for tool, said, status in (
        ("desk.rank", "0.01", 422),
        ("desk.buy", "much", 400),
        ("desk.buy", "NaN", 400),
    ):
        decided = decide(shared, tool)
        path = f"/v1/decisions/{decided.json['id']}/settlement"
        answer = ask(shared, "POST", path, {"token": decided.json["token"], "cost_usd": said})
        assert (status, "cost_usd") == (answer.status, answer.json["error"]["param"])
        assert "dispatched" == shared.call(decided.json["id"])["state"]
        release(shared, decided)


def test_a_name_is_one_decision(gateway: Gateway) -> None:
    """The same again is the same call, with a token to settle it by; another request under its name is refused."""
    first = decide(gateway, "desk.rank", name="thread-1/tool-7", arguments={"limit": 3})
    again = decide(gateway, "desk.rank", name="thread-1/tool-7", arguments={"limit": 3})
    assert first.json["id"] == again.json["id"]
    assert (100_000_000, 0) == gateway.standing("money")
    other = decide(gateway, "desk.rank", name="thread-1/tool-7", arguments={"limit": 4})
    assert (422, "name") == (other.status, other.json["error"]["param"])
    assert "0.1" == settle(gateway, again).json["cost_usd"]
    last = decide(gateway, "desk.rank", name="thread-1/tool-7", arguments={"limit": 3})
    assert ("settled", "0.1", False) == (last.json["state"], last.json["cost_usd"], "token" in last.json)
    assert 1 == gateway.count()


def test_how_it_stands(shared: Gateway) -> None:
    """Under way, then settled; a refused one with its reason."""
    decided = decide(shared, "desk.rank")
    path = f"/v1/decisions/{decided.json['id']}"
    assert ("allow", "dispatched") == tuple(
        ask(shared, "GET", path).json[name] for name in ("effect", "state")
    )
    settle(shared, decided)
    assert ("settled", "0.1") == tuple(ask(shared, "GET", path).json[name] for name in ("state", "cost_usd"))
    denied = decide(shared, "desk.wire", arguments={"amount": 101})
    shown = ask(shared, "GET", f"/v1/decisions/{denied.json['id']}").json
    assert ("deny", "denied_by_policy") == (shown["effect"], shown["reasons"][0]["code"])


def test_a_batch(shared: Gateway) -> None:
    """Each is decided by itself; what makes no sense among them is told in its place."""
    asked = [
        {"tool": "desk.rank"},
        {"tool": "desk.wire", "arguments": {}},
        {"tool": "desk.wire", "arguments": {"amount": 101}},
    ]
    answer = ask(shared, "POST", "/v1/decisions/batch", {"decisions": asked})
    first, second, third = answer.json["decisions"]
    assert ("allow", "arguments.amount", "deny") == (
        first["effect"],
        second["error"]["param"],
        third["effect"],
    )
    for wrong in ([], [{"tool": "desk.rank"}] * 101):
        assert 400 == ask(shared, "POST", "/v1/decisions/batch", {"decisions": wrong}).status


@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_for_ten_lets_ten_through(workers: int) -> None:
    """However many ask at once; whichever worker is asked settles them."""
    with Gateway(files(), workers=workers) as gateway:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: decide(gateway, "desk.rank"), range(60)))
            assert {"allow": 10, "deny": 50} == Counter(answer.json["effect"] for answer in answers)
            allowed = [answer for answer in answers if answer.json["effect"] == "allow"]
            assert {200} == {each.status for each in pool.map(lambda each: settle(gateway, each), allowed)}
        assert (0, 1_000_000_000) == gateway.standing("money")
        assert_books_balance(gateway)


def test_what_is_redacted_is_told() -> None:
    """The agent is told what to run with; a result that stays in the agent can't be redacted, and so is refused."""
    with Gateway(files(REDACT % '@in("arguments")')) as gateway:
        told = decide(gateway, "desk.note", arguments={"text": "of 536-90-4399", "other": 1.50})
        assert "allow" == told.json["effect"]
        assert told.json["arguments"]["text"].startswith("of [SSN:")
        assert "536-90-4399" not in told.body.decode()
        assert 1.5 == told.json["arguments"]["other"]
        assert "arguments" not in decide(gateway, "desk.note", arguments={"text": "nothing"}).json
        named: dict[str, Any] = {"name": "once", "arguments": {"text": "of 536-90-4399"}}
        first, again = (decide(gateway, "desk.note", **named).json for _ in range(2))
        assert (first["id"], first["arguments"]) == (again["id"], again["arguments"])
        gateway.apply(files(REDACT % '@in("response")'))
        refused = decide(gateway, "desk.note", arguments={"text": "nothing"})
        assert ("deny", "obligation_unfulfilled") == (
            refused.json["effect"],
            refused.json["reasons"][0]["code"],
        )


def test_a_word_that_fills_a_balance() -> None:
    """Then the budget that others share is full, and what they have open is settled all the same."""
    made = files()
    many = made["aegis.yaml"].replace("limit: 1500,", "limit: 5000,")
    with Gateway({**made, "aegis.yaml": many}) as gateway:
        calls = [decide(gateway, "desk.crawl", "other", arguments={"pages": 1})]
        calls.append(decide(gateway, "desk.crawl", arguments={"pages": 1}))
        most = 2**63 - 1
        assert 200 == settle(gateway, calls[0], "other", pages=1, rows=most).status
        assert (1_000, most) == gateway.standing("rows")
        told = settle(gateway, calls[1], pages=1, rows=3)
        assert (200, "settled") == (told.status, told.json["state"])
        assert (0, most) == gateway.standing("rows")
        assert "deny" == decide(gateway, "desk.crawl", arguments={"pages": 1}).json["effect"]
        assert_books_balance(gateway)


def test_a_word_beyond_a_million(gateway: Gateway) -> None:
    """It isn't believed, and the call stays at its maximum: what all have spent can still be added up."""
    for said, status in (("1000000.01", 422), ("9000000000", 422), ("1000000", 200)):
        decided = decide(gateway, "desk.buy")
        call = decided.json["id"]
        told = {"token": decided.json["token"], "cost_usd": said, "result": {"rows": 1}}
        answer = ask(gateway, "POST", f"/v1/decisions/{call}/settlement", told)
        assert (status, said) == (answer.status, said)
        assert ("settled" if status == 200 else "dispatched") == gateway.call(call)["state"]
        if status == 422:
            release(gateway, decided)


def test_a_revoked_key_settles_nothing(gateway: Gateway) -> None:
    """Neither frees nor charges it anything, and it is told nothing of its calls; they stay at their maximum."""
    issued = gateway.issue("bot")
    decided = ask(gateway, "POST", "/v1/decisions", {"tool": "desk.rank"}, key=issued.secret).json
    path, token = f"/v1/decisions/{decided['id']}", {"token": decided["token"]}
    with gateway.administration() as administration:
        administration.revoke_key("acme", issued.key.id)
    assert 401 == ask(gateway, "POST", "/v1/decisions", {"tool": "desk.rank"}, key=issued.secret).status
    for method, where, body in (("DELETE", "", token), ("POST", "/settlement", token), ("GET", "", None)):
        assert 401 == ask(gateway, method, path + where, body, key=issued.secret).status
    assert (100_000_000, 0) == gateway.standing("money")
    assert 200 == ask(gateway, "POST", f"{path}/settlement", token, key=gateway.key("bot")).status


def test_a_gateway_that_was_killed(gateway: Gateway) -> None:
    """What was decided before counts at its maximum after, and is settled by the token it had."""
    decided = decide(gateway, "desk.crawl", arguments={"pages": 1})
    gateway.kill()
    gateway.start()
    assert (500_000_000, 0) == gateway.standing("money")
    assert "0.02" == settle(gateway, decided, pages=2, rows=1).json["cost_usd"]
    assert (0, 20_000_000) == gateway.standing("money")


def test_a_name_that_is_closed_with_its_call(gateway: Gateway) -> None:
    """A released call's name is free for another call, or closed: then whatever comes late under it decides nothing."""
    first = decide(gateway, "desk.rank", name="again")
    assert "0" == release(gateway, first).json["cost_usd"]
    second = decide(gateway, "desk.rank", name="again")
    assert "token" in second.json
    assert first.json["id"] != second.json["id"]
    assert "0" == release(gateway, second, closes_name=True).json["cost_usd"]
    late = decide(gateway, "desk.rank", name="again")
    assert (second.json["id"], "settled") == (late.json["id"], late.json["state"])
    assert "token" not in late.json
    assert (0, 0) == gateway.standing("money")
    assert_books_balance(gateway)
