"""Every span that begins ends, whatever becomes of its call: a real ledger and the official SDK, in this process."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from aegis_gateway import bootstrap
from aegis_gateway.adapters.telemetry.meters import Meters
from aegis_gateway.adapters.telemetry.spans import OtelObserver
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.callers import NotIdentified
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Admit, Command, Failed, Reply, Settle, Stale
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import Directory, DirectoryCopy, KnownKey
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import CallError, CallRepeated, IllegalTransition, LedgerUnavailable
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.entrypoints.data_plane import connect
from tests.gateways import PERMIT_ALL, configuration
from tests.ledgers import TurnableClock, sqlite_database

RATES = {"wait": "limit: 1, every: 30s, delay: 60s, match: {agent: slow}"}


class Spans(SpanProcessor):
    """Counts spans that have begun and not ended, and keeps those that have."""

    def __init__(self) -> None:
        self.live = 0
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.live += 1

    def on_end(self, span: ReadableSpan) -> None:
        self.live -= 1
        self.ended.append(span)

    def one(self) -> tuple[str, bool, dict[str, Any]]:
        """The only span: its name, whether it is of an error, its attributes."""
        assert (0, 1) == (self.live, len(self.ended)), [each.name for each in self.ended]
        span = self.ended.pop()
        return span.name, span.status.status_code.name == "ERROR", dict(span.attributes or {})


class Desk:
    """Calls on a real ledger, which a test may have fail or hang."""

    def __init__(self, directory: Path, database: Any) -> None:
        clock = TurnableClock()
        store = database.open(clock)
        settings = Settings(
            store=database.url,
            pepper=f"file:{directory / 'pepper'}",
            signing_key=f"file:{directory / 'key.pem'}",
        )
        files = configuration("http://127.0.0.1:9", agents=("bot", "slow"), policies=PERMIT_ALL, rates=RATES)
        loaded, pepper = bootstrap.configuration(files), bootstrap.pepper(settings)
        signatures = bootstrap.signatures(settings, make=True)
        administration = Administration(store, pepper, signatures, os.urandom, Caller(local_name="test"))
        administration.apply(files, list(loaded.registries), appraisal=Appraisal())
        self.keys = {agent: administration.issue_key("acme", agent).secret for agent in ("bot", "slow")}

        def copy() -> DirectoryCopy:
            view = bootstrap.tenant_view(loaded, store.state(), "acme", pepper)
            keys = store.state().tenants["acme"].keys
            return DirectoryCopy(
                tenants={"acme": view},
                keys={k.hash: KnownKey(key=k, agent=view.registry.agents[k.agent], view=view) for k in keys},
            )

        self.ledger = Ledger(store)
        self.before: Callable[[Command], Awaitable[Reply | None]] | None = None
        self.asked = asyncio.Event()
        self.spans = Spans()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(self.spans)
        meters = Meters(MeterProvider(shutdown_on_exit=False), "test")
        self.calls = Calls(
            Directory(copy, store.epochs),
            self,
            clock,
            os.urandom,
            pepper,
            observer=OtelObserver(tracers, meters, lambda: None),
        )

    async def ask(self, command: Command) -> Reply:
        """The ledger, or what the test has it do instead."""
        self.asked.set()
        told = await self.before(command) if self.before is not None else None
        reply = told or self.ledger.process([command])[0]
        if isinstance(reply, Failed):
            raise IllegalTransition(reply.message)
        return reply

    async def pay(
        self, agent: str = "bot", context: CallContext | None = None, currency: str = "USD"
    ) -> Decided[Any]:
        """One payment."""
        raw = b'{"amount": 1, "currency": "%s"}' % currency.encode()
        return await self.calls.decide(
            self.keys.get(agent, agent),
            lambda view, _model, _: connect.describe(view, "api", "POST", ["v1", "payments"], "", raw),
            context or CallContext(),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Calls on a ledger in a file."""
    with sqlite_database(tmp_path) as database:
        yield Desk(tmp_path, database)


def in_a_loop(test: Callable[[Desk], Awaitable[None]]) -> Callable[[Desk], None]:
    """A test that runs in an event loop."""

    @functools.wraps(test)
    def run(desk: Desk) -> None:
        asyncio.run(_awaited(test(desk)))

    return run


async def _awaited(running: Awaitable[None]) -> None:
    await running


def cost(nano_usd: int) -> Evidence:
    """What a call came to."""
    return Evidence(
        source="usage", lines=(charge_line("call", 1, "call", UnitPrice(nano_usd=nano_usd), "v1"),)
    )


async def cancelled(desk: Desk, agent: str) -> None:
    """A call whose caller doesn't wait for it, once the ledger was asked."""
    desk.asked.clear()
    call = asyncio.create_task(desk.pay(agent))
    await desk.asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def hang(_command: Command) -> Reply | None:
    """Never answer."""
    await asyncio.Event().wait()
    return None


async def fail(_command: Command) -> Reply | None:
    """The ledger can't be reached."""
    raise LedgerUnavailable("the disk is full")


@in_a_loop
async def test_a_call_that_is_cancelled_while_it_waits_for_its_turn(desk: Desk) -> None:
    """Its span ends, as of one that was never sent."""
    await desk.calls.settle(await desk.pay("slow"), cost(5))
    desk.spans.one()
    await cancelled(desk, "slow")
    name, is_error, found = desk.spans.one()
    assert ("execute_tool api.pay", True, "not_sent") == (name, is_error, found["error.type"])
    assert "it waited for its turn and was not sent" == found["aegis.settlement"]


@in_a_loop
async def test_a_call_that_nobody_decides(desk: Desk) -> None:
    """Where the ledger can't be reached, or the caller leaves before it answers: whose it was, and no decision."""
    desk.before = fail
    with pytest.raises(LedgerUnavailable):
        await desk.pay()
    name, is_error, found = desk.spans.one()
    assert ("execute_tool api.pay", True, "ledger_unavailable") == (name, is_error, found["error.type"])
    assert ("bot", "acme", "undecided") == (found["agent_id"], found["aegis.tenant"], found["aegis.decision"])
    assert "decision" not in found
    desk.before = hang
    await cancelled(desk, "bot")
    assert "cancelled" == desk.spans.one()[2]["error.type"]


@in_a_loop
async def test_a_call_that_was_made_before(desk: Desk) -> None:
    """Under its name it is a span that says so, and no further operation of a tool."""
    context = CallContext(idempotency_key="n-1", address="POST /x?")
    first = await desk.pay(context=context)
    await desk.calls.settle(first, cost(5))
    desk.spans.one()
    for currency, is_same in (("USD", True), ("EUR", False)):
        with pytest.raises(CallRepeated) as fault:
            await desk.pay(context=context, currency=currency)
        assert is_same == fault.value.is_same
        name, is_error, found = desk.spans.one()
        assert ("repeat api.pay", False, first.call) == (name, is_error, found["aegis.call.id"])
        assert "repeated" == found["aegis.decision"]
        assert not {"gen_ai.operation.name", "aegis.cost.nano_usd", "decision"} & found.keys()


@in_a_loop
async def test_what_is_no_call_has_no_span(desk: Desk) -> None:
    """Unknown callers, and requests that make no sense, begin none."""
    with pytest.raises(NotIdentified):
        await desk.pay("aegis_live_nobody")
    with pytest.raises(CallError, match="not registered"):
        await desk.pay(context=CallContext(customer="nobody"))
    assert (0, []) == (desk.spans.live, desk.spans.ended)


@in_a_loop
async def test_settlements_that_are_not_taken(desk: Desk) -> None:
    """One that a person's word went before, one that is lost on its way, one told twice: each span ends, once."""
    decided = await desk.pay()
    desk.ledger.process([Settle(call=decided.call, tenant="acme", evidence=cost(7))])
    with pytest.raises(IllegalTransition):
        await desk.calls.settle(decided, cost(5))
    assert "not_settled" == desk.spans.one()[2]["error.type"]

    again = await desk.pay()
    desk.ledger.process([Settle(call=again.call, tenant="acme", evidence=cost(5))])
    await desk.calls.settle(again, cost(5))
    assert 5 == desk.spans.one()[2]["aegis.cost.nano_usd"]

    handed = await desk.pay()
    assert handed.span is not None
    handed.span.handed_over()
    desk.spans.one()
    for times in (1, 0, 0):
        await desk.calls.settle_call("acme", handed.call, cost(5), handed.span.note)
        assert times == len(desk.spans.ended)
        desk.spans.ended.clear()
    desk.before = hang
    desk.asked.clear()
    telling = asyncio.create_task(desk.calls.settle_call("acme", handed.call, cost(5), handed.span.note))
    await desk.asked.wait()
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    assert ("settle api.pay", True) == desk.spans.one()[:2]


@in_a_loop
async def test_a_call_that_is_judged_again_has_one_span(desk: Desk) -> None:
    """However often the configuration changed meanwhile."""
    answers = 2

    async def changed(command: Command) -> Reply | None:
        nonlocal answers
        answers -= 1
        assert isinstance(command, Admit)
        return Stale(call=command.call, epoch=command.epoch) if answers >= 0 else None

    desk.before = changed
    decided = await desk.pay()
    desk.before = None
    await desk.calls.settle(decided, cost(5))
    assert "allow" == desk.spans.one()[2]["decision"]
