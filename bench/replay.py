"""`make bench-replay`: how many recorded calls a second are decided anew, on one core.

The record is real: calls are judged, admitted and settled by the gateway's own code on a SQLite store, payments of ever
other amounts and chats of ever other sizes, of twenty agents. What is replayed is a lower limit, a new policy and a new
rate; alone, and beside the version in force, as `aegis replay` does it where anything is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.adapters.traffic import StoredTraffic
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Command, Reply
from aegis_gateway.application.directory import Directory, DirectoryCopy, KnownKey
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.application.replay import Replay
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.price import Usage, model_charges
from aegis_gateway.domain.quote import CALLS, TOKENS
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.entrypoints.data_plane import connect
from aegis_gateway.entrypoints.data_plane.models.call import describe
from aegis_gateway.entrypoints.data_plane.models.dialect import NO_ADDRESS, Dialect, ModelRequest
from aegis_gateway.entrypoints.dialects import DIALECTS
from bench.machine import Machine, this_machine

AGENTS = 20
AT_ONCE = 64
ROUNDS = 5
AIM = 20_000
TENANT = "acme"

_RESULTS = Path(__file__).parent / "results"

_FILE = """\
version: 1
tenants:
  acme:
    teams: {desk: {cost_centre: CC-1, owner: ana@acme.example, default_budget: day}}
    agents:
%(agents)s
    connectors:
      provider: {kind: openai, base_url: "http://127.0.0.1:9/v1"}
      api:
        kind: http
        base_url: "http://127.0.0.1:9"
        operations:
          pay:
            method: POST
            path: /v1/payments
            arguments:
              amount: {type: number, from: body.amount}
              currency: {type: string, from: body.currency, shown: true}
            price: {per_call: 0.25}
    models: {gpt-4o-mini: {connector: provider}}
    budgets:
      day: {limit: %(day)s, period: daily, per: [agent], owner: ana@acme.example, deputy: ben@acme.example}
      month: {limit: 900000.00, period: monthly, match: {tenant: acme}, owner: ana@acme.example, deputy: b@acme.example}
      tokens: {limit: 90000000, counts: tokens, period: daily, match: {tenant: acme}, owner: a@b.io, deputy: b@b.io}
    rates:
      pace: {limit: 100000, every: 1s, match: {tenant: acme}, per: [agent]}
%(rates)s
"""
_POLICIES = """
@id("all") permit(principal, action, resource);
@id("ceiling") forbid(principal, action == Action::"api.pay", resource)
when { context.args.amount.greaterThan(decimal("9000.0")) };
@id("long") forbid(principal, action == Action::"chat", resource)
when { context.args has max_output_tokens && context.args.max_output_tokens > 100000 };
@id("team") forbid(principal, action, resource) when { !(principal in Team::"desk") };
"""
_NEW = '@id("euros") forbid(principal, action == Action::"api.pay", resource) when { context.args.currency == "EUR" };'


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run: calls a second, and how much the process held at its most."""

    on: str
    machine: Machine
    calls: int
    alone: float
    beside: float
    memory_mib: float


def files(*, changed: bool) -> dict[str, str]:
    """The configuration that the calls were made under, or the changed one."""
    agents = "\n".join(
        f"      agent-{n}: {{team: desk, owner: ana@acme.example, purpose: bench, environment: live}}"
        for n in range(AGENTS)
    )
    document = _FILE % {
        "agents": agents,
        "day": "60.00" if changed else "90000.00",
        "rates": "      slow: {limit: 50, every: 1s, match: {agent: agent-1}}" if changed else "",
    }
    return {"aegis.yaml": document, "policies/all.cedar": _POLICIES + (_NEW if changed else "")}


class Batched:
    """A ledger in this process that takes together what was asked in one turn of the event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Command, asyncio.Future[Reply]]] = []

    async def ask(self, command: Command) -> Reply:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._process)
        self._waiting.append((command, answer))
        return await answer

    def _process(self) -> None:
        waiting, self._waiting = self._waiting, []
        for (_, answer), reply in zip(
            waiting, self._ledger.process([command for command, _ in waiting]), strict=True
        ):
            answer.set_result(reply)


class Record:
    """A store with calls in it."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.in_force = bootstrap.configuration(files(changed=False))
        self.changed = bootstrap.configuration(files(changed=True))
        pepper = bootstrap.pepper(settings)
        signatures = bootstrap.signatures(settings, make=True)
        administration = Administration(store, pepper, signatures, os.urandom, Caller(local_name="bench"))
        administration.apply(files(changed=False), list(self.in_force.registries), appraisal=Appraisal())
        self._keys = [administration.issue_key(TENANT, f"agent-{n}").secret for n in range(AGENTS)]
        state = store.state()
        view = bootstrap.tenant_view(self.in_force, state, TENANT, pepper)
        keys = {
            key.hash: KnownKey(key=key, agent=view.registry.agents[key.agent], view=view)
            for key in state.tenants[TENANT].keys
        }
        copy = DirectoryCopy(tenants={TENANT: view}, keys=keys)
        self._price = view.registry.models["gpt-4o-mini"].price
        self._calls = Calls(
            Directory(lambda: copy, store.epochs),
            Batched(Ledger(store)),
            bootstrap.system_clock(),
            os.urandom,
            pepper,
        )
        self._chance = random.Random(7)

    async def fill(self, calls: int) -> None:
        """Make so many calls."""
        for _ in range(calls // AT_ONCE):
            await asyncio.gather(*(self._call() for _ in range(AT_ONCE)))

    async def _call(self) -> None:
        chance = self._chance
        key = chance.choice(self._keys)
        if chance.random() < 0.4:
            fields = {
                "amount": round(chance.uniform(1, 10_000), 2),
                "currency": chance.choice(("USD", "EUR")),
            }
            raw = msgspec.json.encode(fields)
            decided = await self._calls.decide(key, _paying(raw))
            evidence = Evidence(source="response", lines=(), actual={CALLS: 1})
        else:
            text = "x" * chance.randrange(20, 4_000)
            body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
            if chance.random() < 0.5:
                body["max_tokens"] = chance.randrange(16, 2_000)
            dialect = DIALECTS["chat"]
            request = dialect.parse(NO_ADDRESS, msgspec.json.encode(body))
            decided = await self._calls.decide(key, _chatting(dialect, request))
            used = Usage(units={"input": len(text) // 4, "output": chance.randrange(10, 60)})
            assert self._price is not None, "the catalogue has one"
            lines = model_charges(self._price, used) or ()
            evidence = Evidence(source="usage", lines=lines, actual={CALLS: 1, TOKENS: used.tokens})
        if decided.allows:
            await self._calls.settle(decided, evidence)

    def replay(self, changed: Configuration, in_force: Configuration) -> tuple[int, float]:
        """Replay everything; how many calls there were, and how many a second, of this process's own time."""
        version = Reports(self.store.query).version
        run: Replay = bootstrap.replay(changed, in_force, self.store.state(), TENANT, version, ())
        begin = time.process_time()
        report = run.over(StoredTraffic(self.store.rows, TENANT), 0, 2**63 - 1)
        seconds = time.process_time() - begin
        assert report is not None, "there are calls"
        assert bool(report.changes) == (changed is not in_force), "what is changed is found, and nothing else"
        assert not report.in_force, "the version in force agrees with the record"
        return report.calls, report.calls / seconds


def _paying(raw: bytes) -> Any:
    """How a payment is described."""
    return lambda view, _model, _: connect.describe(view, "api", "POST", ["v1", "payments"], "", raw)


def _chatting(dialect: Dialect, request: ModelRequest) -> Any:
    """How a chat is described."""
    return lambda view, model, _: describe(view, dialect, request, model)


def measured(record: Record) -> tuple[int, float, float]:
    """How many calls, and the best of some rounds each of replaying alone and beside the version in force."""

    def best(run: Callable[[], tuple[int, float]]) -> tuple[int, float]:
        found = [run() for _ in range(ROUNDS)]
        return found[0][0], max(rate for _, rate in found)

    calls, beside = best(lambda: record.replay(record.changed, record.in_force))
    _, alone = best(lambda: record.replay(record.in_force, record.in_force))
    return calls, alone, beside


def main() -> int:
    """Measure, write the result down; the exit code says whether the aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=__doc__)
    parser.add_argument("--calls", type=int, default=40_000, help="how many calls are recorded and replayed")
    parser.add_argument("--results", default=str(_RESULTS), help="where results go (default: bench/results)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp" if Path("/var/tmp").is_dir() else None) as name:
        folder = Path(name)
        settings = Settings(
            store=f"sqlite:{folder / 'aegis.db'}",
            pepper=f"file:{folder / 'pepper'}",
            signing_key=f"file:{folder / 'key.pem'}",
        )
        with closing(open_store(settings.store)) as store:
            store.keep_ledger()
            record = Record(store, settings)
            asyncio.run(record.fill(options.calls))
            calls, alone, beside = measured(record)
        machine = this_machine(folder)
    report = Report(
        on=datetime.now().astimezone().date().isoformat(),
        machine=machine,
        calls=calls,
        alone=alone,
        beside=beside,
        memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    text = told(report)
    path = Path(options.results) / f"{report.on}-replay.md"
    path.write_text(text)
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{text}\nwritten to {path}")
    return 1 if report.alone < AIM else 0


def told(report: Report) -> str:
    """A report as a page."""
    machine = report.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return (
        f"# How fast the record is replayed\n\n{report.on} · {machine.cpu}, {machine.cores} cores, "
        f"Python {machine.python}, {libraries} · revision {machine.revision}\n\n"
        f"{report.calls:,} recorded calls on SQLite, each decided anew by four policies, three budgets and a rate, and "
        "settled: read, decoded, judged, admitted, compared. One process, its own time.\n\n"
        "| replayed | calls a second |\n|---|---|\n"
        f"| one configuration | {report.alone:,.0f} |\n"
        f"| a changed one, beside the version in force | {report.beside:,.0f} |\n\n"
        f"Aim: {AIM:,} calls a second for one configuration. Memory at its most: {report.memory_mib:,.0f} MiB.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
