"""One call under one name: made once, charged once, answered alike each time it is repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import (
    Answer,
    Gateway,
    ask,
    assert_books_balance,
    chat_body,
    configuration,
    happening,
    until,
)

pytestmark = pytest.mark.xdist_group("idempotency")

CHAT = "/v1/chat/completions"
PAY = "/connect/api/v1/payments"


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway with two workers."""
    files = configuration(
        upstream.base_url,
        agents=("bot", "other", "paced"),
        rates={"pace": "limit: 1, every: 1s, match: {agent: paced}"},
        timeout_seconds=20,
    )
    with Gateway(files, workers=2) as gateway:
        yield gateway
        assert_books_balance(gateway)


def named(name: str) -> dict[str, str]:
    """The header that names a call."""
    return {"idempotency-key": name}


def said(text: str, **rest: object) -> bytes:
    """A chat's body."""
    return json.dumps(chat_body(text, **rest)).encode()


def test_the_same_call_again(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """It is answered as it was, says so, and costs nothing more."""
    with happening(gateway, upstream) as happened:
        first, again, third = (
            ask(gateway, "POST", CHAT, said("hi [[tokens=9]]"), headers=named("again")) for _ in range(3)
        )
    assert (1, 1) == (happened.arrived, happened.decided)
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0
    assert first.body == again.body == third.body
    assert first.headers["aegis-decision-id"] == again.headers["aegis-decision-id"]
    assert first.headers["aegis-cost-usd"] == again.headers["aegis-cost-usd"]
    assert "aegis-replayed" not in first.headers
    assert "true" == again.headers["aegis-replayed"]


def test_a_payment_again(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Connectors' calls, too, are made once."""
    body = {"amount": 5, "currency": "USD", "beneficiary": "x"}
    with happening(gateway, upstream) as happened:
        answers = [ask(gateway, "POST", PAY, body, headers=named("pay-1")) for _ in range(2)]
    assert (1, 1) == (happened.arrived, happened.decided)
    assert [201, 201] == [answer.status for answer in answers]
    assert answers[0].body == answers[1].body


def test_a_stream_again(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """It is answered with all that was sent, at once."""
    with happening(gateway, upstream) as happened:
        first, again = (
            ask(gateway, "POST", CHAT, said("hi [[tokens=9]]", stream=True), headers=named("stream"))
            for _ in range(2)
        )
    assert (1, 1) == (happened.arrived, happened.decided)
    assert first.body == again.body
    assert first.body.endswith(b"data: [DONE]\n\n")


def test_fifty_at_once(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Those that come while the first is under way wait for its answer, at whichever worker they are."""
    results: list[Answer] = []

    def attempt(_: int) -> Answer:
        return ask(gateway, "POST", CHAT, said("hi [[delay_ms=600]]"), headers=named("crowd"))

    with happening(gateway, upstream) as happened:
        results = in_threads(attempt, 50)
    assert {200} == {answer.status for answer in results}
    assert 1 == len({answer.body for answer in results})
    assert (1, 1) == (happened.arrived, happened.decided)
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def in_threads(attempt: Any, number: int) -> list[Answer]:
    """So many attempts at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(attempt, range(number)))


def test_another_request_under_the_same_name(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """It is 422 naming the first call, and nothing is sent; names are each agent's own."""
    with happening(gateway, upstream) as happened:
        first = ask(gateway, "POST", CHAT, said("one"), headers=named("reused"))
        second = ask(gateway, "POST", CHAT, said("two"), headers=named("reused"))
        embed = ask(gateway, "POST", PAY, {"amount": 1, "currency": "USD"}, headers=named("reused"))
    assert (1, 1) == (happened.arrived, happened.decided)
    assert [422, 422] == [second.status, embed.status]
    assert first.headers["aegis-decision-id"] in str(second.json)
    assert "idempotency_key_reused" == second.code
    other = ask(gateway, "POST", CHAT, said("two"), key=gateway.key("other"), headers=named("reused"))
    assert 200 == other.status


def test_a_refusal_leaves_the_name_free(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """What was refused was not made: it may be tried again under its name, and is made then."""
    key = gateway.key("paced")
    with happening(gateway, upstream) as happened:
        assert 200 == ask(gateway, "POST", CHAT, said("hi"), key=key).status
        assert 429 == ask(gateway, "POST", CHAT, said("hi"), key=key, headers=named("late")).status
        until(
            lambda: ask(gateway, "POST", CHAT, said("hi"), key=key, headers=named("late")).status == 200,
            "the rate never lets it through",
        )
        again = ask(gateway, "POST", CHAT, said("hi"), key=key, headers=named("late"))
    assert "true" == again.headers["aegis-replayed"]
    assert 2 == happened.arrived


def test_an_answer_that_nobody_waited_for(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A caller who left gets, on coming back, what the call came to meanwhile."""
    body = said("hi [[tokens=30]][[chunk_delay_ms=20]]", stream=True)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key()}\r\nidempotency-key: left\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    from tests.gateways import exchange

    with happening(gateway, upstream) as happened:
        exchange(gateway, head.encode() + body, hang_up=True)
        until(lambda: gateway.last_call()["state"] in ("dispatched", "settled"), "the call is not made")
        again = ask(gateway, "POST", CHAT, body, headers=named("left"))
    assert 1 == happened.arrived
    assert again.body.endswith(b"data: [DONE]\n\n")
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_an_answer_that_is_not_kept(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """What broke off, or is too long, is not made again: 422 names the call."""
    broken = said("hi [[garbage]]", stream=True)
    long = said("hi [[tokens=16000]]", max_tokens=16000, n=40)
    for name, body in (("broken", broken), ("long", long)):
        with happening(gateway, upstream) as happened:
            first = ask(gateway, "POST", CHAT, body, headers=named(name))
            gateway.settled()
            again = ask(gateway, "POST", CHAT, body, headers=named(name))
        assert 1 == happened.arrived, name
        assert 422 == again.status, name
        assert "answer_not_kept" == again.code
        assert first.headers["aegis-decision-id"] == again.headers["aegis-decision-id"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_failed_at_no_cost_may_be_tried_again(
    upstream: UpstreamProcess, gateway: Gateway, status: int
) -> None:
    """Under its name, which is free as long as nothing was done; each try is a call of its own."""
    body = said(f"hi [[fail={status}]]")
    with happening(gateway, upstream) as happened:
        answers = [ask(gateway, "POST", CHAT, body, headers=named(f"fails-{status}")) for _ in range(2)]
    assert [status, status] == [answer.status for answer in answers]
    assert (2, 2) == (happened.arrived, happened.decided)
    assert 0 == happened.charged_nano_usd


def test_who_waited_for_a_call_that_failed_makes_it(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """One after the other, each with the body it brought; nobody is told of an answer that is none."""
    body = said("hi [[fail=500]][[delay_ms=100]]")
    with happening(gateway, upstream) as happened:
        answers = in_threads(lambda _: ask(gateway, "POST", CHAT, body, headers=named("all-fail")), 5)
    assert [500] * 5 == [answer.status for answer in answers]
    assert (5, 5) == (happened.arrived, happened.decided)


def test_another_address_is_another_request(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """The same body sent to another address does not ask for the same."""
    with happening(gateway, upstream) as happened:
        assert 200 == ask(gateway, "POST", CHAT, said("hi"), headers=named("address")).status
        other = ask(gateway, "POST", f"{CHAT}?other=1", said("hi"), headers=named("address"))
    assert (422, "idempotency_key_reused") == (other.status, other.code)
    assert 1 == happened.arrived


@pytest.mark.parametrize("name", ["x" * 256, "a\tb", "\xe9", ""])
def test_what_is_no_name(gateway: Gateway, name: str) -> None:
    """Too long, or with signs that none has: 400, and nothing is recorded."""
    before = gateway.count()
    answer = ask(gateway, "POST", CHAT, said("hi"), headers=named(name))
    assert 400 == answer.status
    assert before == gateway.count()


def test_a_kept_answer_is_unreadable(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """In the database there is nothing to read of it, nor of the name."""
    name = "canary-name-of-a-call"
    answer = ask(gateway, "POST", CHAT, said("hi [[tokens=30]]"), headers=named(name))
    words = answer.json["choices"][0]["message"]["content"].encode()
    assert len(words) > 20
    call = answer.headers["aegis-decision-id"]
    until(
        lambda: (
            gateway.query(f"select answer from named_call where call = '{call}'")[0]["answer"] is not None
        ),
        "the answer is not kept",
    )
    files = [path for path in Path(gateway.directory).rglob("aegis.db*") if path.is_file()]
    assert files
    kept = b"".join(path.read_bytes() for path in files)
    assert call.encode() in kept
    assert words[:20] not in kept
    assert name.encode() not in kept


def test_after_the_gateway_was_killed(upstream: UpstreamProcess) -> None:
    """What was under way when it was killed is not made again; what was answered is answered alike."""
    with Gateway(configuration(upstream.base_url, timeout_seconds=20)) as gateway:
        with happening(gateway, upstream) as happened:
            first = ask(gateway, "POST", CHAT, said("hi"), headers=named("before"))
            answers = at_once_killed(gateway)
            gateway.restart()
            again = ask(gateway, "POST", CHAT, said("hi"), headers=named("before"))
            lost = ask(gateway, "POST", CHAT, said("hi [[delay_ms=5000]]"), headers=named("under-way"))
        assert [None] == answers
        assert first.body == again.body
        assert 422 == lost.status
        assert 2 == happened.arrived
        assert_books_balance(gateway)


def at_once_killed(gateway: Gateway) -> list[Answer | None]:
    """A call during which the gateway is killed."""
    import threading

    results: list[Answer | None] = []

    def attempt() -> None:
        try:
            results.append(
                ask(gateway, "POST", CHAT, said("hi [[delay_ms=5000]]"), headers=named("under-way"))
            )
        except OSError:
            results.append(None)
        except Exception:  # whatever the client makes of a connection that ends
            results.append(None)

    thread = threading.Thread(target=attempt)
    thread.start()
    until(lambda: gateway.states()["dispatched"] == 1, "the call is not under way")
    gateway.kill_all()
    thread.join()
    return results


def test_the_official_client(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Its own retries, which name nothing, are told in the record; with a name of ours they are one call."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=2) as client:
        with happening(gateway, upstream) as happened, pytest.raises(openai.InternalServerError):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "once more [[fail=500]]"}]
            )
        tries = [entry for entry in gateway.entries() if entry["type"] == "decision"][-3:]
        assert 3 == happened.arrived
        assert [0, 1, 2] == [entry.get("retry", 0) for entry in tries]
        assert 1 == len({entry["arguments"]["hmac"] for entry in tries})
        with happening(gateway, upstream) as happened:
            texts = {
                client.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=[{"role": "user", "content": "hi"}],
                    extra_headers=named("client"),
                ).id
                for _ in range(3)
            }
        assert 1 == len(texts) == happened.arrived
        with happening(gateway, upstream) as happened, pytest.raises(openai.InternalServerError):
            client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": "named, once more [[fail=500]]"}],
                extra_headers=named("client-fails"),
            )
        assert 3 == happened.arrived
