"""`make bench-mcp`: what the gateway adds to a call of an MCP tool, and how long a list of all servers' tools takes.

Calls: a server that answers at once, directly, behind the bare relay, and behind Aegis with the policies, budgets and
rate of `make bench`, the price read from the result; they take turns, and ratios and differences are taken within a
turn. Afterwards the server's own count is compared with the ledger.

Lists: 50 servers of 200 tools, of which a policy takes half; asked for where all servers are one, page by page, by one
caller. The first answer is told apart from the later ones.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.bodies import MCP_HEADERS, MCP_TOOL, MCP_VERSION
from bench.load import Plan
from bench.machine import Machine, this_machine
from bench.processes import answers, cpu_us, free_port, wait_until
from bench.report import ADDED_P99_AIM_US, RELAY_SHARE_AIM
from bench.rounds import DISTURBED, Generator, Patience, Row, p50, p99, take_turns
from bench.targets import Aegis, Relay, Target, configuration
from bench.truth import truth

CALLERS = (1, 32)
JUDGED_CALLERS = 32
TURNS = 5
SECONDS = 1.7
SERVERS = 50
TOOLS = 200
LISTS = 15
TTLS_MS = (0, 60_000)
"""Servers whose lists are asked for each time, and servers whose lists may be kept."""
LIST_AIM_MS = 100
PRICE_NANO_USD = 30_000_000
"""Three rows at a cent, as the server says."""

BEHIND = "behind"
"""The server's name, of those that are all the same, for calls that come from Aegis."""

_KEY = "sk-bench-mcp-0001"
_RESULTS = Path(__file__).parent / "results"
_WAIT_S = 60
_SEARCH = """\
        operations:
          search:
            arguments: {query: {type: string, from: args.query}, limit: {type: integer, from: args.limit}}
            price: {per_unit: 0.01, unit: row, units: result.rows, max_units: 100}
"""
_MAY_SEARCH = """\
@id("lending-may-search")
permit (principal in Team::"lending", action == Action::"desk.search", resource);

@id("no-deep-searches")
@effect("deny")
@reason("more than a hundred rows are an export")
forbid (principal, action == Action::"desk.search", resource)
when { context.args.limit > 100 };
"""


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """Aegis beside the relay, so many callers: calls a second, their ratio, and what is added to the wait."""

    callers: int
    direct_per_second: float
    relay_per_second: float
    aegis_per_second: float
    share: float
    added_p50_us: float
    added_p99_us: float
    added_p99_range_us: tuple[float, float]
    cpu_us: dict[str, float]
    others: float
    wrong: list[str]


class List(msgspec.Struct, frozen=True, kw_only=True):
    """A list of all servers' tools, which say that theirs may be kept for so long."""

    ttl_ms: int
    servers: int
    tools: int
    shown: int
    pages: int
    kilobytes: float
    first_ms: float
    median_ms: float
    slowest_ms: float
    worker_cpu_ms: float
    """CPU of the gateway's worker for one of the later ones: what others do on the machine hardly changes it."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    on: str
    machine: Machine
    calls: list[Calls]
    lists: list[List]


class McpServers(Target):
    """The servers' process, and a target to be called directly."""

    def __init__(self, tools: int, ttl_ms: int = 0) -> None:
        super().__init__("server directly", free_port(), "unused", _KEY)
        command = [sys.executable, "-m", "bench.mcp_server", "--port", str(self.port), "--tools", str(tools)]
        command += ["--ttl-ms", str(ttl_ms)]
        self._running = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(lambda: answers(self.port, "/"), "the MCP server was not ready", seconds_max=_WAIT_S)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._running.pid

    def url(self, server: str) -> str:
        """Where one of them is."""
        return f"http://127.0.0.1:{self.port}/mcp/{server}"

    def served(self) -> int:
        """How many calls have arrived from Aegis, for which the server has another name than for the rest."""
        return int(_get(self.port, f"/mcp/{BEHIND}"))

    def stop(self) -> None:
        self._running.kill()
        self._running.wait()


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WAIT_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read()


def _with_connectors(connectors: str, policies: str) -> dict[str, str]:
    """The benchmark's configuration with other connectors beside its own."""
    files = configuration("http://127.0.0.1:9")
    place = "    connectors:\n"
    assert place in files["aegis.yaml"], "the configuration has connectors"
    files["aegis.yaml"] = files["aegis.yaml"].replace(place, place + connectors, 1)
    return {**files, "policies/tools.cedar": policies}


def measure_calls(folder: Path, generator: Generator, patience: Patience, seconds: float) -> list[Calls]:
    """Calls of one tool."""
    with contextlib.ExitStack() as stack:
        server = McpServers(1)
        stack.callback(server.stop)
        relay = Relay("bare relay", server.url("desk"), _KEY, 1)
        stack.callback(relay.stop)
        desk = f"      desk:\n        kind: mcp\n        base_url: {server.url(BEHIND)}\n{_SEARCH}"
        aegis = Aegis("Aegis", _with_connectors(desk, _MAY_SEARCH), _KEY, folder, 1)
        stack.callback(aegis.stop)
        measured = []
        for callers in CALLERS:
            plan = _plan(callers, seconds)
            rows = take_turns(generator, server.pid, [server, relay, aegis], plan, TURNS, patience)
            rows[2].wrong += _untruths(aegis, server)
            measured.append(_compared(callers, rows))
        return measured


def _plan(callers: int, seconds: float) -> Any:
    def plan(target: Target) -> Plan:
        return Plan(port=target.port, key=target.key, callers=callers, seconds=seconds, kind="mcp")

    return plan


def _untruths(aegis: Aegis, server: McpServers) -> list[str]:
    """What of ledger and server doesn't agree."""

    def bill() -> tuple[int, int]:
        calls = server.served()
        return calls, calls * PRICE_NANO_USD

    return truth(aegis, bill).faults()


def _compared(callers: int, rows: list[Row]) -> Calls:
    direct, relay, aegis = rows
    pairs = list(zip(aegis.rounds, relay.rounds, strict=True))
    added = [float(p99(ours.result) - p99(bare.result)) for ours, bare in pairs]
    return Calls(
        callers=callers,
        direct_per_second=direct.per_second,
        relay_per_second=relay.per_second,
        aegis_per_second=aegis.per_second,
        share=median(ours.result.per_second() / bare.result.per_second() for ours, bare in pairs),
        added_p50_us=median(float(p50(ours.result) - p50(bare.result)) for ours, bare in pairs),
        added_p99_us=median(added),
        added_p99_range_us=(min(added), max(added)),
        cpu_us=aegis.cpu_us(),
        others=aegis.others,
        wrong=[words for row in rows for words in row.wrong],
    )


def measure_list(folder: Path, ttl_ms: int) -> List:
    """The list where all servers are one."""
    with contextlib.ExitStack() as stack:
        server = McpServers(TOOLS, ttl_ms)
        stack.callback(server.stop)
        aegis = Aegis("Aegis", _many(server), _KEY, folder, 1)
        stack.callback(aegis.stop)
        connection = http.client.HTTPConnection("127.0.0.1", aegis.port, timeout=_WAIT_S)
        stack.callback(connection.close)
        (worker,) = aegis.processes()["worker"]
        times: list[float] = []
        cpu: list[int] = []
        shown = pages = size = 0
        for _ in range(LISTS):
            begin = time.perf_counter()
            answered = list(_pages(connection, aegis.key))
            times.append((time.perf_counter() - begin) * 1_000)
            cpu.append(cpu_us(worker))
            pages, size = len(answered), sum(map(len, answered))
            tools = [tool["name"] for page in answered for tool in json.loads(page)["result"]["tools"]]
            shown = len(set(tools))
            assert shown == len(tools), "a tool was listed twice"
        assert shown == SERVERS * TOOLS // 2, f"{shown} tools were shown"
        return List(
            ttl_ms=ttl_ms,
            servers=SERVERS,
            tools=SERVERS * TOOLS,
            shown=shown,
            pages=pages,
            kilobytes=size / 1_024,
            first_ms=times[0],
            median_ms=median(times[1:]),
            slowest_ms=max(times[1:]),
            worker_cpu_ms=(cpu[-1] - cpu[0]) / 1_000 / (LISTS - 1),
        )


def _many(server: McpServers) -> dict[str, str]:
    """Fifty servers, all tools of which have a price, and a policy for each that takes every second of its tools."""
    connectors, policies = (
        [],
        ['@id("lending-may-call")\npermit (principal in Team::"lending", action, resource);\n'],
    )
    for number in range(SERVERS):
        name = f"s{number:02}"
        tools = [MCP_TOOL, *(f"tool-{each}" for each in range(TOOLS - 1))]
        operations = "".join(f"          {tool}: {{price: {{per_call: 0.001}}}}\n" for tool in tools)
        connectors.append(
            f"      {name}:\n        kind: mcp\n        base_url: {server.url(name)}\n"
            f"        operations:\n{operations}"
        )
        taken = ", ".join(f'Action::"{name}.{tool}"' for tool in tools[::2])
        policies.append(
            f'@id("not-{name}")\n@effect("deny")\nforbid (principal, action in [{taken}], resource);\n'
        )
    return _with_connectors("".join(connectors), "\n".join(policies))


def _pages(connection: http.client.HTTPConnection, key: str) -> Iterator[bytes]:
    """All pages of a list."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MCP_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params: dict[str, Any] = {"_meta": meta}
    headers = {
        **{name: value for name, value in MCP_HEADERS if name != "mcp-name"},
        "mcp-method": "tools/list",
        "content-type": "application/json",
        "authorization": f"Bearer {key}",
    }
    while True:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
        connection.request("POST", "/mcp", json.dumps(message), headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:500]
        yield body
        # Looking for the mark is cheaper than decoding, which is the caller's own time and not measured here.
        place = body.find(b'"nextCursor":', 0, 400)
        place = place if place >= 0 else body.rfind(b'"nextCursor":')
        if place < 0:
            return
        cursor, _ = json.JSONDecoder().raw_decode(body[place + len(b'"nextCursor":') :].decode())
        params = {"_meta": meta, "cursor": cursor}


def main() -> int:
    """Measure, write the result down; the exit code says whether something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.mcp", description=__doc__)
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, noisier")
    options = parser.parse_args()
    place = "/var/tmp" if Path("/var/tmp").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="aegis-bench-", dir=place) as name:
        folder = Path(name)
        machine = this_machine(folder)
        generator = Generator()
        try:
            seconds, patience = (0.6, 4.0) if options.quick else (SECONDS, 60.0)
            calls = measure_calls(folder / "calls", generator, Patience(patience), seconds)
        finally:
            generator.close()
        lists = [measure_list(folder / f"list-{ttl_ms}", ttl_ms) for ttl_ms in TTLS_MS]
    report = Report(
        on=datetime.now().astimezone().date().isoformat(), machine=machine, calls=calls, lists=lists
    )
    text = told(report)
    path = Path(options.results) / f"{report.on}-mcp.md"
    path.write_text(text)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{text}\nwritten to {path}")
    wrong = [words for each in calls for words in each.wrong]
    for words in wrong:
        print(f"failed: {words}", file=sys.stderr)
    return 1 if wrong else 0


def told(report: Report) -> str:
    """A report as a page."""
    rows = [
        f"| {each.callers} | {each.direct_per_second:,.0f} | {each.relay_per_second:,.0f} | "
        f"{each.aegis_per_second:,.0f} | {each.share:.0%} | {each.added_p50_us / 1_000:.2f} | "
        f"{each.added_p99_us / 1_000:.2f} ({each.added_p99_range_us[0] / 1_000:.1f} to "
        f"{each.added_p99_range_us[1] / 1_000:.1f}) | {each.others:.0%} |"
        for each in report.calls
    ]
    judged = next(each for each in report.calls if each.callers == JUDGED_CALLERS)
    cpu = ", ".join(f"{role} {us:.0f}" for role, us in judged.cpu_us.items())
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    added, share = judged.added_p99_us, judged.share
    return (
        f"# What the gateway costs MCP\n\n{report.on} · {machine.cpu}, {machine.cores} cores, "
        f"Python {machine.python}, {versions} · revision {machine.revision}\n\n"
        "## Calls of a tool, calls a second and milliseconds\n\n"
        "| callers | server | bare relay | Aegis | of the relay | added P50 | added P99 | others |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"Microseconds of CPU a call at {JUDGED_CALLERS} callers: {cpu}.\n\n{_disturbance(judged)}"
        f"Aims at {JUDGED_CALLERS} callers: added P99 below {ADDED_P99_AIM_US / 1_000:g} ms "
        f"({'met' if added < ADDED_P99_AIM_US else 'missed'}), at least {RELAY_SHARE_AIM:.0%} of the relay "
        f"({'met' if share >= RELAY_SHARE_AIM else 'missed'}).\n\n"
        "## A list of all servers' tools\n\n" + "\n\n".join(map(_list_told, report.lists)) + "\n"
    )


def _disturbance(calls: Calls) -> str:
    """What to hold of figures that were measured beside other work."""
    if calls.others <= DISTURBED:
        return ""
    return (
        f"**Disturbed**: processes that are no part of this took {calls.others:.0%} of the machine, so waits and calls "
        "a second say little of the gateway alone; CPU a call does, with allowance for cold caches.\n\n"
    )


def _list_told(listed: List) -> str:
    kept = f"may be kept for {listed.ttl_ms / 1_000:g} s" if listed.ttl_ms else "are asked for each time"
    aim = "met" if listed.median_ms < LIST_AIM_MS else "missed"
    return (
        f"{listed.tools:,} tools of {listed.servers} servers whose lists {kept}; {listed.shown:,} are shown, in "
        f"{listed.pages} pages of {listed.kilobytes:,.0f} KB in all: the first time {listed.first_ms:.0f} ms, then "
        f"{listed.median_ms:.0f} ms (slowest of {LISTS - 1}: {listed.slowest_ms:.0f} ms), for which the worker's CPU "
        f"is {listed.worker_cpu_ms:.0f} ms. Aim: below {LIST_AIM_MS} ms ({aim})."
    )


if __name__ == "__main__":
    sys.exit(main())
