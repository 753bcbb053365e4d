"""`make bench-visibility`: what it takes to tell which of 10,000 tools over 50 connectors an agent may call.

Cold is an agent's first list under a new version, with everything about policies and tools yet to be found out; then
another agent's first list; warm are lists asked for again. Times are of the processor, since nothing is waited for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median

import msgspec

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.visibility import visible_tools
from aegis_gateway.domain.price import ToolPrice
from aegis_gateway.domain.registry import Argument, Connector, Operation, Registry
from aegis_gateway.entrypoints.collector import calm_collector
from bench.machine import Machine, this_machine
from bench.policies import registry

CONNECTORS, TOOLS_EACH = 50, 200
ROUNDS, WARM = 5, 50
AIM_MS = 100.0
NOW_NS = 1_780_000_000_000_000_000

_RESULTS = Path(__file__).parent / "results"
_AMOUNT = Argument(name="amount", type="number", source=("body", "amount"))
_NOTE = Argument(name="note", type="string", source=("body", "note"), required=False)
_PERMIT = '@id("base") permit(principal, action, resource);\n'


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One set of policies, and what lists took under it, in milliseconds of processor time."""

    policies: str
    count: int
    visible: int
    cold_ms: float
    another_ms: float
    warm_p50_ms: float
    warm_max_ms: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    on: str
    machine: Machine
    lines: list[Line]


def tenant() -> Registry:
    """A hundred agents, and fifty connectors with two hundred tools each; every fourth tool takes an amount."""
    operations = tuple(
        Operation(
            id=f"do-{n}",
            method="POST",
            path=f"/do/{n}",
            price=ToolPrice(per_call_nano_usd=0, version="bench"),
            arguments=(_AMOUNT, _NOTE) if n % 4 == 0 else (_NOTE,),
        )
        for n in range(TOOLS_EACH)
    )
    connectors = {
        f"server-{n}": Connector(
            id=f"server-{n}",
            kind="http",
            base_url="http://x",
            region="eu" if n % 2 else "us",
            operations=operations,
        )
        for n in range(CONNECTORS)
    }
    return msgspec.structs.replace(registry("bench"), connectors=connectors)


def _tools() -> list[str]:
    return [f"server-{n}.do-{m}" for n in range(CONNECTORS) for m in range(TOOLS_EACH)]


def _few() -> str:
    return (
        _PERMIT
        + '@id("region") forbid(principal, action, resource) when { resource.region == "us" };\n'
        + '@id("ceiling") forbid(principal, action, resource)\n'
        + '  when { context.args has amount && context.args.amount.greaterThan(decimal("5000.0")) };\n'
        + '@id("night") forbid(principal, action, resource) when { context.time.utc_hour >= 23 };\n'
        + '@id("lab") forbid(principal in Team::"team-1", action, resource == Connector::"server-3");\n'
    )


def _listed() -> str:
    named = ", ".join(f'Action::"{tool}"' for tool in _tools()[::3])
    return f'@id("listed") permit(principal in Team::"team-0", action in [{named}], resource);\n' + (
        f'@id("listed-1") permit(principal in Team::"team-1", action in [{named}], resource);\n'
    )


def _one_each() -> str:
    return "\n".join(
        f'@id("may-{n}") permit(principal in Tenant::"bench", action == Action::"{tool}", resource)'
        + (' when { context.environment == "production" };' if n % 2 else ";")
        for n, tool in enumerate(_tools())
    )


def _one_each_of_arguments() -> str:
    return _PERMIT + "\n".join(
        f'@id("no-{n}") forbid(principal, action == Action::"{tool}", resource) '
        f'when {{ context.args has amount && context.args.amount.greaterThan(decimal("{n}.0")) }};'
        for n, tool in enumerate(_tools())
    )


SETS: dict[str, Callable[[], str]] = {
    "five for all": _few,
    "two that name 3,334 tools": _listed,
    "one for each tool": _one_each,
    "one for each tool, on its arguments": _one_each_of_arguments,
}


def measured(what: str, text: str) -> Line:
    """Lists of all tools, filtered, under some policies."""
    tools, whole = _tools(), tenant()
    first, another = whole.agents["team-0-0"], whole.agents["team-1-0"]
    cold: list[float] = []
    others: list[float] = []
    warm: list[float] = []
    seen: list[str] = []
    count = 0
    for _ in range(ROUNDS):
        compiled = CompiledPolicies((("bench.cedar", text),))
        count = len(compiled.rules)
        view = TenantView(
            epoch=1,
            config_version=1,
            registry=whole,
            policies=CedarPolicies(whole, compiled),
            arguments_key=b"",
        )
        calm_collector()
        for agent, times in ((first, cold), (another, others), *[(first, warm)] * WARM):
            begin = time.process_time()
            found = visible_tools(view, agent, tools, NOW_NS)
            times.append((time.process_time() - begin) * 1_000)
            seen = found if agent is first else seen
    return Line(
        policies=what,
        count=count,
        visible=len(seen),
        cold_ms=median(cold),
        another_ms=median(others),
        warm_p50_ms=median(warm),
        warm_max_ms=max(warm),
    )


def main() -> int:
    """Measure, write the result down; the exit code says whether the aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.visibility", description=__doc__)
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        machine = this_machine(Path(folder))
    report = Report(
        on=datetime.now().astimezone().date().isoformat(),
        machine=machine,
        lines=[measured(what, made()) for what, made in SETS.items()],
    )
    text, missed = told(report)
    path = Path(options.results) / f"{report.on}-visibility.md"
    path.write_text(text)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{text}\nwritten to {path}")
    return 1 if missed else 0


def told(report: Report) -> tuple[str, bool]:
    """A report as a page, and whether the aim was missed."""
    rows = [
        f"| {line.policies} | {line.count:,} | {line.visible:,} | {line.cold_ms:.1f} | {line.another_ms:.1f} | "
        f"{line.warm_p50_ms:.2f} | {line.warm_max_ms:.2f} |"
        for line in report.lines
    ]
    worst = max(line.warm_max_ms for line in report.lines)
    machine = report.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return (
        f"# What a list of {CONNECTORS * TOOLS_EACH:,} tools takes that shows what an agent may call\n\n"
        f"{report.on} · {machine.cpu}, {machine.cores} cores, "
        f"Python {machine.python}, {libraries} · revision {machine.revision}\n\n"
        f"{CONNECTORS} connectors with {TOOLS_EACH} tools each; milliseconds of processor time.\n\n"
        "| policies | how many | tools visible | first list | first of another agent | again, P50 | again, at most |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"Highest of lists asked for again: {worst:.2f} ms (aim: below {AIM_MS:.0f}).\n"
    ), worst >= AIM_MS


if __name__ == "__main__":
    sys.exit(main())
