"""Replay of what is in force changes nothing, whatever happened: real decisions, a real ledger, a turned clock."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_gateway import bootstrap
from aegis_gateway.adapters.budget_change_rows import changes_of
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.traffic import StoredTraffic
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.amending import Amending, InForce, Wish, Word
from aegis_gateway.application.budget_changes import BudgetChanges
from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Command, Release, Reply
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import Directory, DirectoryCopy, KnownKey
from aegis_gateway.application.judgement import Described
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.application.replay import FORGET_EVERY, Report
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import CallError, ConfigurationError
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.quote import CALLS, TOKENS
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.entrypoints.data_plane import connect
from aegis_gateway.entrypoints.data_plane.models.call import describe
from aegis_gateway.entrypoints.data_plane.models.dialect import NO_ADDRESS
from aegis_gateway.entrypoints.dialects import DIALECTS
from tests.gateways import configuration
from tests.ledgers import SECOND_NS, Database, TurnableClock, postgres_database, sqlite_database

AGENTS = ("bot", "other", "third")
POLICIES = """
@id("all") permit(principal, action, resource);
@id("ceiling") forbid(principal, action == Action::"api.pay", resource)
when { context.args.amount.greaterThan(decimal("50.0")) };
@id("euros") @mode("shadow") forbid(principal, action == Action::"api.pay", resource)
when { context.args.currency == "EUR" };
@id("used-up") forbid(principal == Agent::"third", action, resource) when { context.budget.utilisation >= 80 };
@id("short") @effect("cap") @max_output_tokens("200") forbid(principal, action == Action::"chat", resource)
when { context.args.tools > 0 };
@id("cheap") @effect("downgrade") @model("gpt-4o-mini")
forbid(principal == Agent::"other", action == Action::"chat", resource == Model::"gpt-4.1");
@id("ask") @effect("require_approval") forbid(principal, action == Action::"api.pay", resource)
when { context.args.amount.greaterThan(decimal("40.0")) };
@id("slowly") @effect("throttle") @limit("2") @every("20s") forbid(principal, action == Action::"api.show", resource);
@id("nights") forbid(principal == Agent::"bot", action == Action::"api.rate", resource) when { context.time.hour < 6 };
@id("deep") forbid(principal, action, resource) when { context.depth > 1 };
"""
BUDGETS = {
    "plenty": "limit: 1000000.00, period: yearly",
    "day": "limit: 3.00, period: daily, match: {agent: bot}, thresholds: [{at: 30%, do: [downgrade: gpt-4o-mini]},"
    " {at: 50%, do: [throttle: {limit: 3, every: 1m}]}, {amount: 2.40, do: [block], grace: {time: 1m}}]",
    "tight": "limit: 0.004, period: hourly, match: {agent: third}, on_exhaustion: {do: [block]}",
    "tokens": "limit: 4000, counts: tokens, period: daily, match: {tenant: acme}, per: [agent],"
    " thresholds: [{at: 60%, do: [require_approval]}]",
    "paid": "limit: 200.00, counts: paid_out, period: rolling, length: 1h, match: {tenant: acme}, per: [agent]",
    "run": "limit: 0.60, period: daily, match: {agent: other}, per: [run], max_instances: 4",
    "quiet": "limit: 1.00, period: daily, match: {agent: other}, mode: shadow",
    "guess": "limit: 2.00, period: weekly, kind: soft, match: {agent: other}",
}
CARRYING = {
    "left": "limit: 0.40, period: hourly, match: {agent: bot}, carry_over: {most: 0.30, expires: 40m}",
    "all": "limit: 0.30, period: hourly, currency: EUR, match: {agent: other}, carry_over: {most: 0.50}",
}
GIVING = {
    "give": "limit: 0.60, period: daily, match: {agent: bot}",
    "take": "limit: 0.20, period: daily, match: {agent: other}",
}
RATES = {
    "pace": "limit: 3, every: 30s, match: {agent: bot}",
    "wait": "limit: 1, every: 10m, delay: 15m, match: {agent: other}",
    "runs": "limit: 4, every: 1m, of: runs, match: {agent: other}",
}


class InProcess:
    """A ledger in this process."""

    def __init__(self, ledger: Ledger, clock: TurnableClock) -> None:
        self.ledger = ledger

    async def ask(self, command: Command) -> Reply:
        return self.ledger.process([command])[0]


async def leave() -> None:
    """Leave as soon as there is something to wait for: what nobody waits for gives its turn back."""


class Traffic:
    """Calls as they come, in an order that a seed decides."""

    def __init__(
        self, database: Database, directory: Path, seed: int, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.chance = random.Random(seed)
        self.clock = TurnableClock()
        self.clock.turn(self.chance.randrange(40 * 3_600) * SECOND_NS)
        self.store = database.open(self.clock)
        self.settings = Settings(
            store=database.url,
            pepper=f"file:{directory / 'pepper'}",
            signing_key=f"file:{directory / 'key.pem'}",
        )
        self.files = configuration(
            "http://127.0.0.1:9", agents=AGENTS, policies=POLICIES, budgets={**BUDGETS, **more}, rates=RATES,
            agent_budgets={"third": "tight"}, timezone="Europe/Berlin",
        )  # fmt: skip
        currencies = "    currencies: {EUR: {2020-01-01: 1.1, 2026-11-24: 1.2}}\n    agents:\n"
        self.files["aegis.yaml"] = self.files["aegis.yaml"].replace("    agents:\n", currencies, 1)
        self.loaded = bootstrap.configuration(self.files)
        pepper = bootstrap.pepper(self.settings)
        signatures = bootstrap.signatures(self.settings, make=True)
        administration = Administration(self.store, pepper, signatures, os.urandom, Caller(local_name="test"))
        administration.apply(self.files, list(self.loaded.registries), appraisal=Appraisal())
        self.keys = {agent: administration.issue_key("acme", agent).secret for agent in AGENTS}
        self.pepper = pepper
        self.ledger = Ledger(self.store)
        self.calls = Calls(
            Directory(self.directory, self.store.epochs),
            InProcess(self.ledger, self.clock),
            self.clock,
            self.chance.randbytes,
            pepper,
        )
        self.open: list[Decided[Described]] = []
        self.runs: dict[str, list[str]] = {agent: [] for agent in AGENTS}
        self.parents: list[str] = []

    def directory(self) -> DirectoryCopy:
        """All that is in force, as a worker reads it."""
        state = self.store.state()
        view = bootstrap.tenant_view(self.loaded, state, "acme", self.pepper)
        return DirectoryCopy(
            tenants={"acme": view},
            keys={
                key.hash: KnownKey(key=key, agent=view.registry.agents[key.agent], view=view)
                for key in state.tenants["acme"].keys
            },
        )

    async def some(self, steps: int) -> None:
        """So many things happen."""
        for _ in range(steps):
            self.clock.turn(
                self.chance.choice((0, 1, 5, 40, 600, 3_000)) * SECOND_NS + self.chance.randrange(999)
            )
            if self.chance.random() < 0.65:
                await self.decide()
            elif self.open:
                await self.end(self.open.pop(self.chance.randrange(len(self.open))))
            else:
                self.ledger.sweep()

    async def decide(self) -> None:
        agent, chance = self.chance.choice(AGENTS), self.chance
        runs = self.runs[agent]
        context = CallContext(
            run=chance.choice(runs) if runs and chance.random() < 0.5 else None,
            parent=chance.choice(self.parents) if self.parents and chance.random() < 0.3 else None,
            leaves=leave,
        )
        try:
            decided = await self.calls.decide(self.keys[agent], self.describing(), context)
        except CallError:
            return
        self.parents.append(decided.call)
        if decided.allows:
            runs.append(decided.run)
            self.open.append(decided)

    def describing(self) -> Any:
        chance = self.chance
        kind = chance.choice(("pay", "pay", "chat", "chat", "show", "rate"))
        if kind == "chat":
            fields: dict[str, Any] = {
                "model": chance.choice(("gpt-4o-mini", "gpt-4.1")),
                "messages": [{"role": "user", "content": "x" * chance.randrange(400)}],
                "tools": [{"type": "function", "function": {"name": "f"}}] * chance.randrange(2),
            }
            if chance.random() < 0.5:
                fields["max_tokens"] = chance.choice((10, 100, 2_000))
            dialect = DIALECTS["chat"]
            request = dialect.parse(NO_ADDRESS, msgspec.json.encode(fields))
            return lambda view, model, _: describe(view, dialect, request, model)
        if kind == "pay":
            raw = msgspec.json.encode(
                {"amount": chance.choice((1, 9.99, 30, 45, 51)), "currency": chance.choice(("USD", "EUR"))}
            )
            return lambda view, _model, _: connect.describe(view, "api", "POST", ["v1", "payments"], "", raw)
        path = ["v1", "payments", "p1"] if kind == "show" else ["v1", "fx", "EURUSD"]
        return lambda view, _model, _: connect.describe(view, "api", "GET", path, "", b"")

    async def end(self, decided: Decided[Described]) -> None:
        if decided.admitted.state == "reserved":
            self.ledger.process([Release(call=decided.call, tenant="acme")])
            return
        chance = self.chance
        if chance.random() < 0.15:
            await self.calls.lose(decided, "lost")
            if chance.random() < 0.5:
                return
        source: Any = chance.choice(("usage", "usage", "not_sent"))
        most = decided.admitted.maximum.get("usd", 0)
        cost = 0 if source == "not_sent" else chance.randrange(most + most // 8 + 2)
        lines = (charge_line("input", cost, "token", UnitPrice(nano_usd=1), "c1"),) if cost else ()
        actual = {CALLS: 1, TOKENS: chance.randrange(500)} if chance.random() < 0.7 else {}
        await self.calls.settle(decided, Evidence(source=source, lines=lines, actual=actual))

    def replay(self, since_ns: int, forget_every: int = FORGET_EVERY) -> Report | None:
        """What the version in force would have done to calls since an instant."""
        state = self.store.state()
        limits, version = changes_of(self.store.rows, "acme"), Reports(self.store.query).version
        run = bootstrap.replay(self.loaded, self.loaded, state, "acme", version, limits)
        return run.over(StoredTraffic(self.store.rows, "acme"), since_ns, 2**63 - 1, forget_every)


class Amended(Traffic):
    """Calls, and between them people and the steward who change limits."""

    more: Mapping[str, str] = MappingProxyType(GIVING)
    names: tuple[str, ...] = ("day", "tight", "tokens", "run", "give", "take", "guess")

    def __init__(self, database: Database, directory: Path, seed: int) -> None:
        super().__init__(database, directory, seed, self.more)
        self.refusals: list[str] = []

    async def some(self, steps: int) -> None:
        """So many things happen, and now and then a limit is changed."""
        for _ in range(steps):
            if self.chance.random() < 0.15:
                try:
                    self.amend()
                except ConfigurationError as fault:
                    self.refusals.append(f"{fault}")
            await super().some(1)

    def amend(self) -> None:
        """Change a limit: for a while, for good, moved, adapted, or taken back."""
        chance, now_ns = self.chance, self.clock.now_ns()
        registry = self.loaded.registries["acme"]
        in_force = InForce(registry=registry, version=1, newest=1)
        changes = BudgetChanges(self.store, self.pepper, Caller(local_name="test"), in_force)
        ends_ns = chance.choice((None, now_ns + chance.choice((30, 900, 9_000, 90_000)) * SECOND_NS))
        name = chance.choice(self.names)
        limit = registry.budgets[name].limit
        match chance.choice(
            ("increase", "increase", "move", "adaptive", "adaptive", "roll_back", "roll_back")
        ):
            case "increase":
                changes.increase(name, 1 + chance.randrange(limit), ends_ns=ends_ns, reason="r")
            case "move":
                pair = chance.choice((("give", "take"), ("take", "give")))
                amount = 1 + chance.randrange(registry.budgets["give"].limit)
                changes.move(*pair, amount, reason="r", ends_ns=ends_ns, lasts=chance.random() < 0.3)
            case "adaptive":
                amount = chance.randrange(-limit // 5, limit // 5)
                with self.store.change(["acme"]) as change:
                    amending = Amending(change, RegistryRecording(change, "aegis"), in_force)
                    wish = Wish(budget=name, kind="adaptive", amount=amount, ends_ns=None)
                    amending.carry_out([wish], Word(asked_by="aegis", approver="aegis", reason="r"))
            case _:
                last = len(changes_of(self.store.rows, "acme"))
                changes.roll_back(1 + chance.randrange(max(1, last)), "r")


class Carried(Amended):
    """The same, of budgets that carry over."""

    more = MappingProxyType({**GIVING, **CARRYING})
    names = ("left", "left", "all")


def check(database: Database, directory: Path, seed: int, kind: type[Traffic] = Traffic) -> None:
    """Some traffic, and the replay of all of it and of its second half."""
    traffic = kind(database, directory, seed)
    asyncio.run(traffic.some(120))
    times = [
        row["decided_ns"] for row in traffic.store.query("select decided_ns from call order by sequence")
    ]
    for since_ns in (0, times[len(times) // 2]):
        report = traffic.replay(since_ns)
        assert report is not None
        assert ((), (), ()) == (report.in_force, report.changes, report.undecided)
        assert sum(at_ns >= since_ns for at_ns in times) == report.calls
        assert {"unknown_tool", "unknown_price"} >= {code for code, _ in report.as_recorded}
        assert report == traffic.replay(since_ns, forget_every=5)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
@example(90)  # a budget was exhausted in the first half, and blocks in the second
def test_replay_of_what_is_in_force_changes_nothing(seed: int) -> None:
    """From the first call on, and from the middle on, where balances are taken from the record."""
    with tempfile.TemporaryDirectory() as name, sqlite_database(Path(name)) as database:
        check(database, Path(name), seed)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_limits_are_what_they_were_at_each_call(seed: int) -> None:
    """Raised for a while or for good, moved, adapted and taken back between the calls: a replay changes nothing."""
    with tempfile.TemporaryDirectory() as name, sqlite_database(Path(name)) as database:
        check(database, Path(name), seed, Amended)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_carried_over_is_replayed(seed: int) -> None:
    """Budgets that carry over, one of them in another currency: from the first call on nothing changes."""
    with tempfile.TemporaryDirectory() as name, sqlite_database(Path(name)) as database:
        traffic = Traffic(database, Path(name), seed, CARRYING)
        asyncio.run(traffic.some(120))
        report = traffic.replay(0)
        assert report is not None
        assert ((), (), ()) == (report.in_force, report.changes, report.undecided)
        assert report == traffic.replay(0, forget_every=5)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32))
@example(1041)  # a window that nobody called in, but whose limit was changed
def test_what_is_carried_over_of_changed_limits_is_replayed(seed: int) -> None:
    """From the first call on: what each window left is told by the limits that it had."""
    with tempfile.TemporaryDirectory() as name, sqlite_database(Path(name)) as database:
        traffic = Carried(database, Path(name), seed)
        asyncio.run(traffic.some(120))
        report = traffic.replay(0)
        assert report is not None
        assert ((), (), ()) == (report.in_force, report.changes, report.undecided)


@pytest.mark.xdist_group("postgres")
def test_the_same_on_a_server(postgres_url: str, tmp_path: Path) -> None:
    """On the other store it is the same."""
    with postgres_database(postgres_url) as database:
        check(database, tmp_path, 7)
