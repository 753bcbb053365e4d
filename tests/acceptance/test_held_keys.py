"""Keys that are held, by a budget that is exhausted or by hand: refused by every process of every gateway."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import PEPPER, Gateway, assert_books_balance, chat, configuration, until
from tests.servers import PostgresServer

pytestmark = pytest.mark.xdist_group("postgres")

WITHIN_S = 1.0
"""In what time a key is held everywhere, once its budget is exhausted."""

BUDGETS = {
    "dry": "limit: 1.00, period: monthly, on_exhaustion: {do: [notify, revoke_keys]}",
    "plenty": "limit: 100.00, period: monthly",
}
MODELS = {
    "m": "connector: provider, upstream: gpt-4.1, price: {input_per_million: 0, output_per_million: 1000}"
}
AGENTS = {"dry": "dry", "bot": "plenty"}


@pytest.fixture(scope="module")
def gateways(postgres_server: PostgresServer) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateways of two workers each, on one database."""
    url = postgres_server.new_database()
    try:
        with UpstreamProcess(apps="provider") as upstream:
            files = configuration(
                upstream.base_url, agents=AGENTS, agent_budgets=AGENTS, budgets=BUDGETS, models=MODELS
            )
            with Gateway(files, store=url, workers=2) as one, Gateway(None, store=url, workers=2) as other:
                until(lambda: one.all_serve() and other.all_serve())
                yield one, other
                assert_books_balance(one)
    finally:
        postgres_server.drop_database(url)


def aegis(gateway: Gateway, *words: str) -> str:
    """What a command prints."""
    settings = gateway.settings
    environment = {
        "AEGIS_PEPPER": settings.pepper,
        "AEGIS_TEST_PEPPER": PEPPER,
        "AEGIS_SIGNING_KEY": settings.signing_key,
        "AEGIS_ACTOR": "ann",
        "COLUMNS": "200",
    }
    told = CliRunner().invoke(build(), [*words, "--store", settings.store], env=environment)
    assert 0 == told.exit_code, told.output
    return told.output


def status(gateway: Gateway, key: str, tokens: int = 100) -> int:
    """What one call on a connection of its own is answered with, by whichever worker gets it."""
    return chat(gateway, f"count [[tokens={tokens}]]", key=key, model="m", max_tokens=tokens).status


def statuses(gateways: tuple[Gateway, Gateway], key: str) -> set[int]:
    """What all processes say, as far as eight connections to each gateway reach them."""
    return {status(each, key, 1) for each in gateways for _ in range(8)}


def listed(gateway: Gateway, agent: str) -> list[dict[str, Any]]:
    """An agent's keys by the command, for programs."""
    found: list[dict[str, Any]] = json.loads(aegis(gateway, "key", "list", agent, "--json"))["keys"]
    return found


def test_exhausted_held_restored_raised_and_held_again(gateways: tuple[Gateway, Gateway]) -> None:
    """Within a second of the last cent the other gateway refuses the key; restored by hand it is refused for money
    alone; with a higher limit it pays until that is spent too, and is held anew.
    """
    one, other = gateways
    key = one.issue("dry").secret
    while status(one, key) == 200:
        pass
    began = time.monotonic()
    until(lambda: status(other, key) == 401, "the key is not held", wait_s=WITHIN_S)
    print(f"held at the other gateway after {time.monotonic() - began:.3f} s")
    assert {401} == statuses(gateways, key)
    (shown,) = [each for each in listed(one, "dry") if each["holds"]]
    assert ("held", "dry", "exhausted") == (
        shown["state"],
        shown["holds"][0]["budget"],
        shown["holds"][0]["threshold"],
    )
    assert "held by budget:dry@exhausted" in aegis(one, "key", "list", "dry")
    told = aegis(one, "key", "restore", shown["key"], "--reason", "month's end")
    assert "works again" in told
    assert {402} == statuses(gateways, key), "it isn't held, and nothing is left"
    aegis(one, "budget", "increase", "dry", "0.20", "--until", "2h", "--reason", "month's end")
    assert 200 == status(other, key)
    assert "valid" == listed(one, "dry")[0]["state"]
    while status(one, key) == 200:
        pass
    until(lambda: statuses(gateways, key) == {401}, "it was passed anew, and holds anew")


def test_an_agent_is_held_by_hand_and_restored(gateways: tuple[Gateway, Gateway]) -> None:
    """The very next call is refused everywhere, with whose word it was and not why; a new key is refused too; other
    agents go on. What is throttled by hand lets some through.
    """
    one, other = gateways
    key = one.issue("bot").secret
    assert {200} == statuses(gateways, key)
    aegis(one, "key", "hold", "bot", "--reason", "odd calls at night")
    assert {401} == statuses(gateways, key)
    told = chat(other, "hi", key=key).json["error"]["message"]
    assert "is held by `local:ann` until somebody restores it" in told
    assert "odd calls" not in told
    issued = json.loads(aegis(other, "key", "issue", "bot", "--json"))
    assert 401 == status(other, issued["secret"])
    assert "held by local:ann" in aegis(one, "key", "list", "bot")
    rotated = json.loads(aegis(one, "key", "rotate", issued["key"], "--json"))
    assert 401 == status(other, rotated["secret"]), "another key is no way out"
    aegis(other, "key", "restore", "bot")
    assert {200} == {
        code for each in (key, issued["secret"], rotated["secret"]) for code in statuses(gateways, each)
    }
    aegis(one, "key", "hold", rotated["key"], "--reason", "too fast", "--throttle", "2/1h")
    assert [200, 200, 429] == [status(each, rotated["secret"]) for each in (one, other, one)]
    aegis(one, "key", "hold", rotated["key"], "--reason", "for a moment", "--until", "1s")
    until(lambda: status(other, rotated["secret"]) == 200, "it doesn't come back by itself")
    until(
        lambda: [entry for entry in one.entries() if entry["type"] == "key"][-1]["act"] == "restore",
        "it is not written down that it came back",
    )
