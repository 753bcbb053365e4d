"""A gateway that dies, or whose disk fails, at each labelled point of a call: the books are right after each.

What must hold: the provider's bill is covered by what the ledger counts; every request that reached it has a call that
was committed before; every answer that a caller got is counted, at its cost if the answer said that; the record has no
gap; nothing stays under way.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import Answer, Gateway, ask, assert_books_balance, chat_body, configuration, until

pytestmark = pytest.mark.xdist_group("crash-points")

CHAT = "/v1/chat/completions"
LEDGER_POINTS = ("commit-begun", "commit-before", "commit-after")
WORKER_POINTS = (
    *("ask-admit", "told-admit", "send-before", "answer-begun", "answer-piece", "answer-ended"),
    *("ask-settle", "told-settle", "ask-dispatch", "told-dispatch"),
)
WORKLOAD: list[tuple[str, Any]] = [
    (CHAT, chat_body("hi [[tokens=20]]")),
    (CHAT, chat_body("hi [[tokens=20]]", stream=True)),
    ("/connect/api/v1/payments", {"amount": 5, "currency": "USD", "beneficiary": "x"}),
    (CHAT, chat_body("hi [[tokens=20]]")),
]
POINTS_MAX = 600
"""More passings of one point than the workload can have."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def drilled(upstream: UpstreamProcess, fault: str) -> bool:
    """Run the workload with a fault, start again without it, and look at the books; says whether it happened."""
    upstream.reset()
    # The last call waits for its turn, which is not yet come however slow the machine is, where that is the point.
    every = "3s" if "-dispatch:" in fault else "300ms"
    rates = {"pace": f"limit: 1, every: {every}, burst: 3, delay: 5s"}
    files = configuration(upstream.base_url, rates=rates, timeout_seconds=5)
    with Gateway(files, start=False, environment={"AEGIS_FAULT": fault}) as gateway:
        try:
            gateway.start()
        except AssertionError:
            # Only where the disk fails before anything is served; and then it is the disk that is named.
            assert fault.startswith("disk-")
            assert fault.endswith(":kill") or "error:" in gateway.log()
            assert "Traceback" not in gateway.log()
            answers: list[Answer] = []
            happened = True
        else:
            answers = work(gateway)
            happened = len(answers) < len(WORKLOAD) or any(answer.status >= 500 for answer in answers)
        arrived = int(upstream.bill()["arrived"])
        gateway.kill_all()
        gateway.without_fault()
        gateway.restart()
        until(
            lambda: not gateway.states()["dispatched"] and not gateway.states()["reserved"],
            "a call stays under way",
        )
        check(gateway, upstream, answers, arrived)
        assert 200 == ask(gateway, "POST", CHAT, chat_body("hi")).status
    return happened


def work(gateway: Gateway) -> list[Answer]:
    """Make the calls; what broke off has no answer."""
    answers = []
    for path, body in WORKLOAD:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answers.append(ask(gateway, "POST", path, body))
    return answers


def check(gateway: Gateway, upstream: UpstreamProcess, answers: list[Answer], arrived: int) -> None:
    """The invariants."""
    assert_books_balance(gateway)
    calls = gateway.calls()
    sent = [call for call in calls if call["state"] in ("settled", "in_doubt")]
    counted = sum(
        (call["maximum_nano_usd"] if call["state"] == "in_doubt" else call["cost_nano_usd"]) or 0
        for call in sent
    )
    assert upstream.bill()["total_nano_usd"] <= counted
    assert arrived <= len(sent)
    counted_calls = {call["call"] for call in sent}
    settled = {call["call"] for call in sent if call["state"] == "settled"}
    for answer in answers:
        if answer.status in (200, 201):
            assert answer.headers["aegis-decision-id"] in counted_calls
        if "aegis-cost-usd" in answer.headers:
            assert answer.headers["aegis-decision-id"] in settled


@pytest.mark.parametrize("point", LEDGER_POINTS)
def test_the_ledger_is_killed(upstream: UpstreamProcess, point: str) -> None:
    """Around a commit: what was committed is there, what was not never happened."""
    assert drilled(upstream, f"{point}:2:kill")


@pytest.mark.parametrize(
    "point", ["told-admit", "send-before", "answer-piece", "ask-settle", "told-settle", "told-dispatch"]
)
def test_a_worker_is_killed(upstream: UpstreamProcess, point: str) -> None:
    """Around each question to the ledger and each step of the exchange: what it had sent is in doubt."""
    assert drilled(upstream, f"{point}:1:kill")


@pytest.mark.parametrize(("kind", "at"), [("full", 30), ("broken", 1)])
def test_a_disk_that_fails(upstream: UpstreamProcess, kind: str, at: int) -> None:
    """Nothing is forwarded that cannot be written: calls are refused, or nobody serves at all."""
    assert drilled(upstream, f"disk-write:{at}:{kind}")


def test_a_disk_that_does_not_make_durable(upstream: UpstreamProcess) -> None:
    """A sync that fails ends the process, for nobody knows any more what is on disk."""
    assert drilled(upstream, "disk-sync:8:broken")


@pytest.mark.chaos
@pytest.mark.parametrize(
    "fault",
    [
        *(f"{point}:%d:kill" for point in (*LEDGER_POINTS, *WORKER_POINTS, "disk-write", "disk-sync")),
        *("disk-write:%d:full", "disk-write:%d:broken", "disk-sync:%d:broken"),
    ],
)
def test_every_passing_of_every_point(upstream: UpstreamProcess, fault: str) -> None:
    """Each time that the workload passes a point, until it passes it no more; of a disk's many writes every fifth."""
    for at in range(1, POINTS_MAX, 5 if fault.startswith("disk-write") else 1):
        if not drilled(upstream, fault % at):
            assert at > 1, "the workload never passes this point"
            return
    raise AssertionError(f"{fault} is passed more than {POINTS_MAX} times")
