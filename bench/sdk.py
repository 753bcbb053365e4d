"""`make bench-sdk`: what a guarded tool waits for its gateway: a decision and its settlement, one caller, on loopback.

A real gateway with SQLite decides and settles; both are on disk before they are answered. The clients take turns in
short rounds, and medians count. Beside the SDK's clients stand the same two requests by the standard library's client
and by `httpx2`, which is what the SDK could be built on instead: the client's own CPU time is what differs.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import msgspec

from aegis_sdk import Aegis, AsyncAegis, guard
from bench.machine import Machine, this_machine
from bench.processes import cpu_us, pace_us
from tests.gateways import Gateway
from tests.sdks import tools

AIM_MS = 1.0
ROUNDS = 15
TRIPS = 100
TOOL, ARGUMENTS = "desk.rank", {"limit": 5}
_RESULTS = Path(__file__).parent / "results"
_BUDGETS = {"money": "limit: 1000000000.00, period: yearly, match: {tenant: acme}"}

Trip = Callable[[], Awaitable[None]]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One client: waits for a decision and its settlement together, and the CPU time that it and the gateway took."""

    client: str
    p50_ms: float
    p99_ms: float
    best_p50_ms: float
    cpu_us: int
    gateway_cpu_us: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `pace_us` is how long a fixed piece of Python took, median and least."""

    on: str
    machine: Machine
    trips: int
    pace_us: tuple[int, int]
    rows: list[Row]


def _body(**more: Any) -> bytes:
    return json.dumps({"tool": TOOL, "arguments": ARGUMENTS, "name": secrets.token_hex(16), **more}).encode()


def _settlement(answer: bytes) -> tuple[str, bytes]:
    decided = json.loads(answer)
    return f"/v1/decisions/{decided['id']}/settlement", json.dumps({"token": decided["token"]}).encode()


async def _clients(gateway: Gateway, stack: AsyncExitStack) -> dict[str, Trip]:
    """Each client's way of asking for a decision, and of settling it."""
    url, key = gateway.url, gateway.key()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    client = stack.enter_context(Aegis(url, key))
    asynchronous = await stack.enter_async_context(AsyncAegis(url, key))
    standard = http.client.HTTPConnection(gateway.settings.host, gateway.settings.port)
    stack.callback(standard.close)
    plain = stack.enter_context(httpx2.Client(base_url=url, headers=headers, trust_env=False))
    loop = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False))

    async def sdk() -> None:
        client.settle(client.decide(TOOL, ARGUMENTS))

    async def sdk_async() -> None:
        await asynchronous.settle(await asynchronous.decide(TOOL, ARGUMENTS))

    @guard(TOOL, client=asynchronous)
    async def tool(limit: int) -> None: ...

    async def guarded() -> None:
        await tool(5)

    async def by_http_client() -> None:
        standard.request("POST", "/v1/decisions", _body(), headers)
        path, body = _settlement(standard.getresponse().read())
        standard.request("POST", path, body, headers)
        json.loads(standard.getresponse().read())

    async def by_httpx() -> None:
        path, body = _settlement(plain.post("/v1/decisions", content=_body()).content)
        plain.post(path, content=body).json()

    async def by_httpx_async() -> None:
        path, body = _settlement((await loop.post("/v1/decisions", content=_body())).content)
        (await loop.post(path, content=body)).json()

    return {
        "`Aegis`": sdk,
        "`AsyncAegis`": sdk_async,
        "`@guard`, asynchronous": guarded,
        "`http.client`": by_http_client,
        "`httpx2.Client`": by_httpx,
        "`httpx2.AsyncClient`": by_httpx_async,
    }


async def _measured(gateway: Gateway, rounds: int) -> tuple[list[Row], tuple[int, int]]:
    waits: dict[str, list[list[float]]] = {}
    cpu: dict[str, list[float]] = {}
    gateway_cpu: dict[str, list[float]] = {}
    processes = (gateway.pid, *gateway.workers())
    paces = []
    async with AsyncExitStack() as stack:
        clients = await _clients(gateway, stack)
        for number in range(rounds + 1):
            for name, trip in clients.items():
                paces.append(pace_us())
                taken = []
                cpu_before, gateway_before = time.process_time(), sum(map(cpu_us, processes))
                for _ in range(TRIPS):
                    begin = time.perf_counter()
                    await trip()
                    taken.append((time.perf_counter() - begin) * 1_000)
                if number:  # the first round warms up
                    waits.setdefault(name, []).append(sorted(taken))
                    cpu.setdefault(name, []).append((time.process_time() - cpu_before) / TRIPS * 1e6)
                    used_us = sum(map(cpu_us, processes)) - gateway_before
                    gateway_cpu.setdefault(name, []).append(used_us / TRIPS)
    rows = [
        Row(
            client=name,
            p50_ms=round(median(each[TRIPS // 2] for each in taken), 3),
            p99_ms=round(median(each[TRIPS * 99 // 100] for each in taken), 3),
            best_p50_ms=round(min(each[TRIPS // 2] for each in taken), 3),
            cpu_us=round(median(cpu[name])),
            gateway_cpu_us=round(median(gateway_cpu[name])),
        )
        for name, taken in waits.items()
    ]
    return rows, (round(median(paces)), min(paces))


def told(report: Report) -> tuple[str, bool]:
    """A report as a page, and whether the aim was missed by one of the SDK's clients."""
    rows = [
        f"| {row.client} | {row.p50_ms:.2f} | {row.best_p50_ms:.2f} | {row.p99_ms:.2f} | {row.cpu_us} "
        f"| {row.gateway_cpu_us} |"
        for row in report.rows
    ]
    machine = report.machine
    worst = max(row.p50_ms for row in report.rows[:2])
    return (
        f"# What a decision and its settlement take\n\n{report.on} · {machine.cpu}, {machine.cores} cores, "
        f"Python {machine.python}, {machine.filesystem}, fsync P50 {machine.fsync_p50_us} µs · "
        f"revision {machine.revision}\n\n"
        f"One caller on loopback, {report.trips} times each in rounds that take turns; milliseconds for both requests "
        f"together. The machine's pace: median {report.pace_us[0]} µs, best {report.pace_us[1]} µs.\n\n"
        "| client | P50 | P50 of the best round | P99 | its own CPU, µs | the gateway's, µs |\n"
        "|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nP50 of the SDK's slower client: {worst:.2f} ms (aim: below {AIM_MS:g}).\n"
    ), worst >= AIM_MS


def main() -> int:
    """Measure, write the result down; the exit code says whether the aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.sdk", description=__doc__)
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many rounds (default: {ROUNDS})")
    options = parser.parse_args()
    with Gateway(tools(budgets=_BUDGETS)) as gateway:
        machine = this_machine(gateway.data)
        rows, pace = asyncio.run(_measured(gateway, options.rounds))
    report = Report(
        on=datetime.now().astimezone().date().isoformat(),
        machine=machine,
        trips=options.rounds * TRIPS,
        pace_us=pace,
        rows=rows,
    )
    text, missed = told(report)
    path = Path(options.results) / f"{report.on}-sdk.md"
    path.write_text(text)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{text}\nwritten to {path}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
