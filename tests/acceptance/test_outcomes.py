"""What agents report of their runs, through a whole gateway that is killed, and by the SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_sdk import Aegis, AsyncAegis, InvalidRequest, RunOutcome, guard, run
from tests.gateways import Answer, Gateway, ask, chat_body
from tests.sdks import tools

pytestmark = pytest.mark.xdist_group("outcomes")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway in front of the bundled provider, with tools."""
    with UpstreamProcess(apps="provider") as upstream, Gateway(tools(upstream.base_url)) as gateway:
        yield gateway


def post(gateway: Gateway, path: str, body: Any = None, key: str | None = None, **headers: str) -> Answer:
    """A request with a body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return ask(gateway, "POST", path, raw, key=key or gateway.key(), headers=named)


def tell(gateway: Gateway, run: str, body: Any, key: str | None = None) -> Answer:
    """A report on a run."""
    return post(gateway, f"/v1/runs/{run}/outcome", body, key)


def told(gateway: Gateway, run: str) -> list[dict[str, Any]]:
    """What the record says became of a run."""
    return [entry for entry in gateway.entries() if entry["type"] == "outcome" and entry["run"] == run]


def call(gateway: Gateway, key: str | None = None, **headers: str) -> str:
    """One model call; gives its run."""
    answer = post(
        gateway, "/v1/chat/completions", chat_body("hi [[tokens=20]]", max_tokens=20), key, **headers
    )
    assert 200 == answer.status, answer.body
    return answer.headers["aegis-run-id"]


def test_an_outcome_outlives_a_kill(gateway: Gateway) -> None:
    """What was answered is there after `kill -9`, with what its run had cost by then and costs later; once."""
    mine = call(gateway)
    answer = tell(
        gateway, mine, {"outcome": "success", "name": "loan 7", "value_usd": 12.5, "note": "two\nlines"}
    )
    assert {"run": mine, "outcome": "success", "state": "recorded", "counted": True} == answer.json
    gateway.kill_all()
    gateway.start()
    assert (
        "same"
        == tell(
            gateway,
            mine,
            {"outcome": "success", "name": "loan 7", "value_usd": "12.50", "note": "two\nlines"},
        ).json["state"]
    )
    assert mine == call(gateway, Aegis_Run_Id=mine)
    (entry,) = told(gateway, mine)
    assert ("reported", "success", "loan 7", "12500000000") == tuple(
        entry[name] for name in ("event", "result", "name", "value_nano_usd")
    )
    (row,) = gateway.query("select cost from outcome where run = ?", mine[4:24])
    (spent,) = gateway.query("select sum(cost_nano_usd) as cost from call where run = ?", mine)
    assert int(row["cost"]) == int(spent["cost"]) > 0
    (sums,) = gateway.query("select trees, cost, claimed from outcome_sum where span = 'day' and trees > 0")
    assert (1, int(spent["cost"]), 12_500_000_000) == tuple(int(value) for value in sums.values())


def test_only_ones_own_run_is_reported_on(gateway: Gateway) -> None:
    """Another agent's, one under another key, an id that nobody minted: refused, and nothing is on record."""
    mine, poor = call(gateway), gateway.key("poor")
    for run_id, key in (
        (mine, poor),
        (mine[:-1] + ("0" if mine[-1] != "0" else "1"), None),
        (f"run_{'0' * 36}", None),
    ):
        answer = tell(gateway, run_id, {"outcome": "success"}, key)
        assert "no run of agent" in answer.json["error"]["message"]
        assert [] == told(gateway, run_id)
    assert 401 == tell(gateway, mine, {"outcome": "success"}, "aegis_live_nobody").status
    assert 404 == post(gateway, f"/v1/runs/{mine}/outcomes", {"outcome": "success"}).status
    above = post(gateway, "/v1/runs").json["run"]
    below = post(gateway, "/v1/runs", {"run": above, "agent": "poor"}).json["run"]
    assert not tell(gateway, below, {"outcome": "failure"}, poor).json["counted"]
    assert 404 != tell(gateway, above, {"outcome": "failure"}, poor).status != 200


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "outcome"),
        ({"outcome": ""}, "no outcome"),
        ({"outcome": "great"}, "no outcome"),
        ({"outcome": "success", "value_usd": -1}, "amount of dollars"),
        ({"outcome": "success", "value_usd": "1e30"}, "too large"),
        (b'{"outcome": "success", "value_usd": NaN}', "JSON"),
        ({"outcome": "success", "value_usd": [1]}, "value_usd"),
        ({"outcome": "success", "value_usd": 1e-12}, "finer"),
        ({"outcome": "success", "transactions": -1}, "transactions"),
        ({"outcome": "success", "transactions": 1_000_001}, "transactions"),
        ({"outcome": "success", "transactions": [""]}, "one character"),
        ({"outcome": "success", "transactions": [str(n) for n in range(101)]}, "100 is the most"),
        ({"outcome": "success", "transactions": [f"{n:02}" + "x" * 79 for n in range(100)]}, "8,000"),
        ({"outcome": "success", "name": "a\x00b"}, "printable"),
        ({"outcome": "success", "note": "x" * 2_001}, "2,000"),
        ({"outcome": "success", "sum": 1}, "sum"),
        (b'{"outcome": "success", "outcome": "failure"}', "twice"),
        (b"[]", "object"),
    ],
)
def test_what_is_no_report_is_refused(gateway: Gateway, body: Any, word: str) -> None:
    """With a word about what is wrong; the run has no outcome by it."""
    mine = post(gateway, "/v1/runs").json["run"]
    answer = tell(gateway, mine, body)
    assert answer.status in (400, 422), answer.body
    assert word.lower() in answer.json["error"]["message"].lower()
    assert [] == told(gateway, mine)


def test_a_report_at_its_bounds_fits_into_the_record(gateway: Gateway) -> None:
    """The longest that is taken, in characters of four bytes each, and another in its place."""
    mine = post(gateway, "/v1/runs").json["run"]
    most = {
        "outcome": "success",
        "name": "\U00010348" * 255,
        "note": "\U00010348" * 2_000,
        "value_usd": 1_000_000_000,
        "transactions": [f"{n:02}" + "\U00010348" * 78 for n in range(100)],
    }
    answer = tell(gateway, mine, most)
    assert 200 == answer.status, answer.body[:300]
    assert "replaced" == tell(gateway, mine, {**most, "outcome": "failure"}).json["state"]


@guard("desk.rank", arguments=[])
def rank() -> None:
    """Work."""


def test_the_sdk_tells_what_became_of_a_block(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When it is left, whatever by; the last thing said counts; what can't be said raises where it is said."""
    monkeypatch.setenv("AEGIS_URL", gateway.url)
    monkeypatch.setenv("AEGIS_API_KEY", gateway.key())
    with run() as session:
        rank()
        session.failed()
        with pytest.raises(InvalidRequest):
            session.succeeded("x", value_usd="plenty")
        session.succeeded("loan 8", value_usd=3, transactions=["a", "b"])
    assert session.id is not None
    (entry,) = told(gateway, session.id)
    assert ("success", "loan 8", 2, ["a", "b"], "3000000000") == tuple(
        entry[name] for name in ("result", "name", "transactions", "names", "value_nano_usd")
    )

    async def block() -> str:
        async with run() as session:
            session.partly_succeeded(note="half")
        with contextlib.suppress(ZeroDivisionError):
            async with run(session.id) as again:
                again.cancelled()
                raise ZeroDivisionError
        async with AsyncAegis() as client:
            await client.report_outcome(session.id or "", RunOutcome(outcome=None, transactions=0))
        return session.id or ""

    assert ["partial", "cancelled", None] == [
        entry["result"] for entry in told(gateway, asyncio.run(block()))
    ]
    with Aegis() as client, pytest.raises(InvalidRequest, match="no outcome"):
        client.report_outcome(session.id, RunOutcome(outcome="splendid"))
    with caplog.at_level(logging.WARNING, "aegis_sdk"), run(f"run_{'0' * 36}") as foreign:
        foreign.succeeded()
    assert "was not told" in caplog.text
