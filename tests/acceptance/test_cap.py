"""Policies that cap answers: what is sent is lowered, priced and recorded so."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PERMIT_ALL, Gateway, ask, assert_books_balance, chat_body, configuration

pytestmark = pytest.mark.xdist_group("shadow")

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"

CAP = """
@id("short")
@effect("cap")
@max_output_tokens("20")
%s
forbid(principal, action%s, resource);
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def held(gateway: Gateway) -> int:
    """What the last decision took for the most that its call could cost."""
    (decision,) = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1:]
    return int(decision["quote"]["maximum"]["usd"])


def test_answers_are_capped(upstream: UpstreamProcess) -> None:
    """With a limit of the caller's or without, streamed or not, in either API; a lower one stays."""
    policies = PERMIT_ALL + CAP % ("", ' == Action::"chat"')
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        for body, most in (
            (chat_body("hi [[tokens=90]]"), 20),
            (chat_body("hi [[tokens=90]]", max_tokens=80), 20),
            (chat_body("hi [[tokens=90]]", max_tokens=7), 7),
        ):
            answer = ask(gateway, "POST", CHAT, body)
            assert most == answer.json["usage"]["completion_tokens"]
            decision = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1]
            assert most == decision["output_tokens"]
            assert ["all-may", "short"] == [reason["subject"] for reason in decision["reasons"]]
        streamed = ask(gateway, "POST", CHAT, chat_body("hi [[tokens=90]]", stream=True))
        assert 200 == streamed.status
        response = ask(gateway, "POST", RESPONSES, {"model": "gpt-4o-mini", "input": "hi [[tokens=90]]"})
        assert 20 == response.json["usage"]["output_tokens"]
        capped = held(gateway)
        gateway.apply(configuration(upstream.base_url))
        ask(gateway, "POST", RESPONSES, {"model": "gpt-4o-mini", "input": "hi [[tokens=90]]"})
        assert capped < held(gateway)
        assert_books_balance(gateway)


def test_what_has_no_limit_is_refused(upstream: UpstreamProcess) -> None:
    """An obligation that can't be fulfilled refuses, and says so."""
    with Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + CAP % ("", ""))) as gateway:
        payment = {"amount": 1, "currency": "USD", "beneficiary": "x"}
        answer = ask(gateway, "POST", "/connect/api/v1/payments", payment)
        assert (403, "obligation_unfulfilled") == (answer.status, answer.code)
        assert 0 == gateway.charged()


def test_a_cap_in_shadow(upstream: UpstreamProcess) -> None:
    """It lowers nothing, and tells of the calls whose limit it would have lowered."""
    policies = PERMIT_ALL + CAP % ('@mode("shadow")', ' == Action::"chat"')
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        long = ask(gateway, "POST", CHAT, chat_body("hi [[tokens=90]]", max_tokens=80))
        short = ask(gateway, "POST", CHAT, chat_body("hi [[tokens=90]]", max_tokens=7))
        assert (80, 7) == tuple(each.json["usage"]["completion_tokens"] for each in (long, short))
        told = CliRunner().invoke(build(), ["shadow", "--json", "--store", gateway.settings.store])
        (found,) = json.loads(told.stdout)["findings"]
        assert ("short", "cap", 1) == (found["rule"], found["would"], found["calls"])
        assert [long.headers["aegis-decision-id"]] == found["examples"]
