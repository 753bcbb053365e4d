"""API keys: whoever has none that is valid now gets nothing, from the very next call on and on every gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from aegis_gateway.application.administration import IssuedKey
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.keys import key_from_random
from aegis_gateway.domain.registry import Throttle
from tests.gateways import (
    PAYMENTS,
    TENANT,
    Answer,
    Gateway,
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

pytestmark = pytest.mark.xdist_group("keys")

SECOND_NS = 1_000_000_000
NOBODYS = key_from_random(62**29 + 12_345)
BUDGETS = {"plenty": "limit: 1000.00, period: yearly", "cent": "limit: 0.01, period: yearly"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway with two workers, so that a change has to reach both."""
    with Gateway(configuration(upstream.base_url), workers=2) as gateway:
        until(gateway.all_serve)
        yield gateway
        assert_books_balance(gateway)


def call(gateway: Gateway, key: str) -> Answer:
    """The cheapest call."""
    return chat(gateway, "[[tokens=1]]", key=key)


def mistyped(key: str, place: int = -10) -> str:
    """A key with one character that is another."""
    other = "a" if key[place] != "a" else "b"
    return key[:place] + other + key[place + 1 :] if place != -1 else key[:-1] + other


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (NOBODYS, "was never issued here"),
        (NOBODYS.replace("live", "test"), "was never issued here"),
        (mistyped(NOBODYS), "checksum is wrong; was it mistyped?"),
        (mistyped(NOBODYS, -1), "checksum is wrong; was it mistyped?"),
        (NOBODYS[:-1], "wrong length or characters"),
        (NOBODYS + "x", "wrong length or characters"),
        (NOBODYS[:-1] + "-", "wrong length or characters"),
        ("sk-proj-abcdef", "this is not an Aegis key"),
        ("aegis_root_" + NOBODYS[-36:], "this is not an Aegis key"),
        ("x", "this is not an Aegis key"),
        ("x" * 8_000, "this is not an Aegis key"),
        ("' or 1=1 --", "this is not an Aegis key"),
    ],
)
def test_keys_that_are_none(upstream: UpstreamProcess, gateway: Gateway, key: str, words: str) -> None:
    """Each is told what is wrong with it, is not repeated, and leaves nothing behind: no decision, no row."""
    with happening(gateway, upstream) as happened:
        answer = call(gateway, key)
        models = ask(gateway, "GET", "/v1/models", key=key)
        payments = ask(gateway, "POST", "/connect/api/v1/payments", {"amount": 1}, key=key)
    assert [401] * 3 == [answer.status, models.status, payments.status]
    error = answer.json["error"]
    assert ("authentication_error", "invalid_api_key", None) == (error["type"], error["code"], error["param"])
    assert words in error["message"]
    assert len(key) < 3 or key not in error["message"]
    assert "false" == answer.headers["x-should-retry"]
    assert (0, 0) == (happened.arrived, happened.decided)


@pytest.mark.parametrize(
    "header",
    [
        *(
            "",
            "authorization:",
            "authorization: Bearer",
            "authorization: Bearer ",
            "authorization: Basic eDp5",
        ),
        *("authorization: KEY", "x-api-key:", "cookie: key=KEY", "x-key: KEY", "authorization: Bearer\xff"),
    ],
)
def test_requests_without_a_key(gateway: Gateway, header: str) -> None:
    """A key counts where it belongs, and nowhere else; without one the answer says how to get one."""
    line = f"{header}\r\n" if header else ""
    head = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{line}\r\n"
    answer = exchange(gateway, head.replace("KEY", gateway.key()).encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"aegis key issue" in answer


def test_a_key_issued_while_the_gateway_runs(gateway: Gateway) -> None:
    """It works at once, for every worker, also many times at once as its very first use."""
    for _ in range(3):
        assert 200 == call(gateway, gateway.issue().secret).status
    issued = gateway.issue()
    requests = [(gateway, "POST", "/v1/chat/completions", chat_body("[[tokens=1]]"), issued.secret)] * 50
    assert Counter({200: 50}) == Counter(answer.status for answer in at_once(requests) if answer is not None)


def test_a_revoked_key(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """The very next call with it is refused, whichever worker gets it, and so is the list of models."""
    issued = gateway.issue()
    for _ in range(8):
        assert 200 == call(gateway, issued.secret).status
    revoke(gateway, issued)
    with happening(gateway, upstream) as happened:
        answers = [call(gateway, issued.secret) for _ in range(8)]
        models = ask(gateway, "GET", "/v1/models", key=issued.secret)
    assert {401} == {answer.status for answer in [*answers, models]}
    message = answers[0].json["error"]["message"]
    assert f"API key `{issued.key.hint}` was revoked" in message
    assert (0, 0) == (happened.arrived, happened.decided)


def test_a_key_that_is_revoked_under_load(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Of calls that are under way when a key is revoked each is decided before or refused, and none after."""
    issued = gateway.issue()
    requests = [(gateway, "POST", "/v1/chat/completions", chat_body("[[tokens=1]]"), issued.secret)] * 200
    assert {200} == {answer.status for answer in at_once(requests[:20]) if answer is not None}
    revoke(gateway, issued)
    with happening(gateway, upstream) as happened:
        answers = at_once(requests)
    assert Counter({401: 200}) == Counter(answer.status for answer in answers if answer is not None)
    assert (0, 0) == (happened.arrived, happened.decided)


def revoke(gateway: Gateway, issued: IssuedKey) -> None:
    """As `aegis key revoke` does."""
    with gateway.administration() as administration:
        administration.revoke_key(TENANT, issued.key.id)


@pytest.mark.xdist_group("heavy")
def test_a_key_revoked_at_another_gateway(upstream: UpstreamProcess, postgres_server: PostgresServer) -> None:
    """On one PostgreSQL a revocation, a new key and a throttle hold for the very next call on every gateway."""
    url = postgres_server.new_database()
    try:
        with (
            Gateway(configuration(upstream.base_url), store=url) as one,
            Gateway(None, store=url) as other,
        ):
            issued = one.issue()
            assert [200, 200] == [call(each, issued.secret).status for each in (one, other)]
            revoke(one, issued)
            assert [401, 401] == [call(each, issued.secret).status for each in (other, one)]
            fresh = other.issue()
            assert [200, 200] == [call(each, fresh.secret).status for each in (one, other)]
            with one.administration() as administration:
                administration.throttle_key(
                    TENANT, fresh.key.id, Throttle(limit=1, period_ns=3_600 * SECOND_NS)
                )
            assert [200, 429] == [call(each, fresh.secret).status for each in (other, one)]
            assert_books_balance(one)
    finally:
        postgres_server.drop_database(url)


def test_a_rotated_key(gateway: Gateway) -> None:
    """The new key works at once; the old one for as long as the grace time lasts, then not once more."""
    old = gateway.issue()
    assert 200 == call(gateway, old.secret).status
    with gateway.administration() as administration:
        new = administration.rotate_key(TENANT, old.key.id, grace_ns=2 * SECOND_NS)
    assert [200, 200] == [call(gateway, each.secret).status for each in (new, old)]
    until(lambda: call(gateway, old.secret).status == 401, "the grace time does not end")
    answer = call(gateway, old.secret)
    assert "was replaced and its grace time is over" in answer.json["error"]["message"]
    assert 401 == ask(gateway, "GET", "/v1/models", key=old.secret).status
    assert 200 == call(gateway, new.secret).status


def test_a_rotation_without_grace(gateway: Gateway) -> None:
    """The old key is refused from the very next call on."""
    old = gateway.issue()
    assert 200 == call(gateway, old.secret).status
    with gateway.administration() as administration:
        new = administration.rotate_key(TENANT, old.key.id, grace_ns=0)
    assert [401, 200] == [call(gateway, each.secret).status for each in (old, new)]


def test_a_throttled_key(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A throttle holds for its key and no other of the same agent, survives a rotation, and can be lifted."""
    issued, free = gateway.issue(), gateway.issue()
    with gateway.administration() as administration:
        administration.throttle_key(TENANT, issued.key.id, Throttle(limit=2, period_ns=3_600 * SECOND_NS))
    with happening(gateway, upstream) as happened:
        answers = [call(gateway, issued.secret) for _ in range(4)]
    assert [200, 200, 429, 429] == [answer.status for answer in answers]
    assert (2, 4) == (happened.arrived, happened.decided)
    assert ("rate_limited", "throttle") == (answers[-1].code, answers[-1].headers["aegis-effect"])
    # Half an hour is longer than clients may be told to wait: they are told not to try again instead.
    assert ("false", None) == (
        answers[-1].headers["x-should-retry"],
        answers[-1].headers.get("retry-after"),
    )
    assert 200 == call(gateway, free.secret).status
    with gateway.administration() as administration:
        new = administration.rotate_key(TENANT, issued.key.id, grace_ns=0)
    assert [200, 200, 429] == [call(gateway, new.secret).status for _ in range(3)]
    with gateway.administration() as administration:
        administration.throttle_key(TENANT, new.key.id, None)
    assert [200, 200, 200] == [call(gateway, new.secret).status for _ in range(3)]


def test_an_agent_that_a_new_configuration_leaves_out(upstream: UpstreamProcess) -> None:
    """Its keys are refused by name from the very next call on, the others' work, and it can be brought back."""
    with Gateway(configuration(upstream.base_url, agents=("bot", "clerk"))) as gateway:
        clerk = gateway.key("clerk")
        assert 200 == call(gateway, clerk).status
        gateway.apply(configuration(upstream.base_url, agents=("bot",)))
        with happening(gateway, upstream) as happened:
            answer = call(gateway, clerk)
            models = ask(gateway, "GET", "/v1/models", key=clerk)
        assert [(403, "agent_not_registered")] * 2 == [(each.status, each.code) for each in (answer, models)]
        message = answer.json["error"]["message"]
        assert "agent `clerk`" in message
        assert "register it with owner, cost centre and purpose" in message
        assert (0, 0) == (happened.arrived, happened.decided)
        assert 200 == call(gateway, gateway.key("bot")).status
        gateway.apply(configuration(upstream.base_url, agents=("bot", "clerk")))
        assert 200 == call(gateway, clerk).status
        assert_books_balance(gateway)


def test_a_configuration_holds_for_the_very_next_call(upstream: UpstreamProcess) -> None:
    """Limits, policies, models and prices of a new configuration decide the next call, and those before stand."""
    with Gateway(configuration(upstream.base_url, budgets=BUDGETS), workers=2) as gateway:
        until(gateway.all_serve)
        key = gateway.key()
        assert {200} == {call(gateway, key).status for _ in range(6)}
        spent = gateway.standing("plenty")
        forbids = '@id("no") @reason("closed today") forbid(principal, action, resource);'
        changes = [
            (configuration(upstream.base_url, budgets=BUDGETS, policies=forbids), 403, "denied_by_policy"),
            (
                configuration(upstream.base_url, budgets={"plenty": "limit: 0.000001, period: yearly"}),
                402,
                "budget_exhausted",
            ),
            (
                configuration(upstream.base_url, budgets=BUDGETS, models={"gpt-4.1": "connector: provider"}),
                404,
                "model_not_found",
            ),
            (
                configuration(
                    upstream.base_url,
                    budgets=BUDGETS,
                    rates={"r": "limit: 1, every: 1h, match: {agent: bot}"},
                ),
                429,
                "rate_limited",
            ),
        ]
        for files, status, code in changes:
            gateway.apply(files)
            if status == 429:
                assert 200 == call(gateway, key).status
                spent = gateway.standing("plenty")
            assert {(status, code)} == {
                (each.status, each.code) for each in (call(gateway, key) for _ in range(4))
            }
            assert spent == gateway.standing("plenty")
        versions = [row["config_version"] for row in gateway.calls()]
        assert sorted(versions) == versions
        assert {1, 2, 3, 4, 5} == set(versions)
        assert_books_balance(gateway)


def test_a_refusal_is_not_of_yesterday(upstream: UpstreamProcess) -> None:
    """A request that the last configuration could not understand is understood under the new one, at once."""
    with Gateway(configuration(upstream.base_url)) as gateway:
        body = {"amount": 1, "currency": "USD", "beneficiary": "x", "reference": 7}
        assert 400 == ask(gateway, "POST", "/connect/api/v1/payments", body).status
        gateway.apply(
            configuration(upstream.base_url, operations=PAYMENTS.replace("body.reference", "body.memo"))
        )
        # The gateway itself has no word on the reference any more; the payments API has.
        answer = ask(gateway, "POST", "/connect/api/v1/payments", body)
        assert (400, "bad_request") == (answer.status, answer.code)


def test_a_storm_of_keys_that_nobody_issued(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Hundreds of well-formed keys at once are told apart in one look at the store, and nobody waits for them."""
    unknown = [key_from_random(62**29 + number) for number in range(400)]
    fresh = gateway.issue().secret
    body = chat_body("[[tokens=1]]")
    requests = [(gateway, "POST", "/v1/chat/completions", body, key) for key in [*unknown, fresh]]
    with happening(gateway, upstream) as happened:
        answers = at_once(requests)
    assert Counter({401: 400, 200: 1}) == Counter(answer.status for answer in answers if answer is not None)
    assert (1, 1) == (happened.arrived, happened.decided)


def test_changes_stand_in_the_record(gateway: Gateway) -> None:
    """Issuing, revoking and throttling are entries of the same record, with who did it and never a key."""
    issued = gateway.issue()
    revoke(gateway, issued)
    acts = [entry for entry in gateway.entries() if entry["type"] == "key"][-2:]
    assert [("issue", "local:test"), ("revoke", "local:test")] == [
        (entry["act"], entry["actor"]) for entry in acts
    ]
    assert {issued.key.id} == {entry["key"] for entry in acts}
    assert issued.secret not in str(gateway.entries())
