"""Policies that have another model called: what is sent, priced, settled and recorded is that model's call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import PERMIT_ALL, Gateway, ask, assert_books_balance, chat_body, configuration, happening

pytestmark = pytest.mark.xdist_group("shadow")

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"

TO_MINI = """
@id("cheaper")
@effect("downgrade")
@model("%s")
@reason("drafts are written by a small model")
forbid(principal, action == Action::"chat", resource == Model::"%s");
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def test_another_model_is_called(upstream: UpstreamProcess) -> None:
    """Whole or streamed, in either API; the answer says of which it was asked, and the record what that saves."""
    policies = PERMIT_ALL + TO_MINI % ("gpt-4o-mini", "gpt-4.1")
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        with happening(gateway, upstream) as happened:
            answer = ask(gateway, "POST", CHAT, chat_body("hi [[tokens=50]]", model="gpt-4.1"))
            ask(gateway, "POST", CHAT, chat_body("hi [[tokens=50]]", model="gpt-4.1", stream=True))
            other = ask(gateway, "POST", RESPONSES, {"model": "gpt-4.1", "input": "hi"})
            gateway.settled()
        assert answer.json["model"].startswith("gpt-4o-mini")
        assert other.json["model"].startswith("gpt-4o-mini")
        assert "gpt-4.1" == answer.headers["aegis-downgraded-from"]
        assert {"gpt-4o-mini"} == {row["model"] for row in gateway.calls()}
        assert happened.billed_nano_usd == happened.charged_nano_usd > 0
        decisions = [entry for entry in gateway.entries() if entry["type"] == "decision"]
        for decision in decisions:
            assert "gpt-4.1" == decision["downgrade"]["from"]
            assert int(decision["downgrade"]["saved_nano_usd"]) > 0
            assert ["all-may", "cheaper"] == [reason["subject"] for reason in decision["reasons"]]
        plain = ask(gateway, "POST", CHAT, chat_body("hi"))
        assert "aegis-downgraded-from" not in plain.headers
        assert_books_balance(gateway)


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        (TO_MINI % ("gpt-9", "gpt-4.1"), "model `gpt-9` is not configured"),
        (
            TO_MINI % ("gpt-4o-mini", "gpt-4.1")
            + (TO_MINI % ("gpt-5-mini", "gpt-4o-mini")).replace("cheaper", "cheaper-still"),
            "and then for `gpt-5-mini` instead",
        ),
        (
            TO_MINI % ("gpt-4o-mini", "gpt-4.1")
            + '@id("no-mini") forbid(principal, action, resource == Model::"gpt-4o-mini");',
            "policy `no-mini` denies this",
        ),
    ],
    ids=["no such model", "two steps", "refused below"],
)
def test_what_cannot_be_fulfilled(upstream: UpstreamProcess, policies: str, words: str) -> None:
    """It refuses, in words; nothing is sent. The call is judged again as the other model's."""
    with Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + policies)) as gateway:
        with happening(gateway, upstream) as happened:
            answer = ask(gateway, "POST", CHAT, chat_body("hi", model="gpt-4.1"))
        assert 403 == answer.status
        assert words in str(answer.json)
        assert 0 == happened.arrived
