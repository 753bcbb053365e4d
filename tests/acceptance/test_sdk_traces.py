"""Traces through the SDK: the agent's span, the gateway's below it, the upstream's below that; with a real receiver."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI
from opentelemetry import trace as opentelemetry_trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, use_span

from aegis_sdk import Aegis, AsyncAegis, Decision, InvalidRequest, ToolCall, Trace, guard, in_trace
from aegis_sdk import add_headers as hook
from aegis_sdk import add_headers_async as hook_async
from aegis_sdk.adapters.tool_calls import ToolCalls
from aegis_sdk.tracing import current_trace
from tests.gateways import Gateway, ScriptedUpstream, answer_with
from tests.otlp import OtlpReceiver, ReceivedSpan
from tests.sdks import tools

pytestmark = pytest.mark.xdist_group("sdk_traces")

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
COMPLETION = (
    b'{"id": "chatcmpl-77", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",'
    b' "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}],'
    b' "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}'
)
MESSAGE: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    """The receiver of the agent's spans and the gateway's."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    """A model, which keeps what it is sent."""
    with ScriptedUpstream(answer_with(COMPLETION)) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(receiver: OtlpReceiver, upstream: ScriptedUpstream) -> Iterator[Gateway]:
    """A gateway with tools that run in its agents."""
    with Gateway(tools(upstream.base_url), environment=receiver.environment()) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def tracer(receiver: OtlpReceiver) -> Iterator[opentelemetry_trace.Tracer]:
    """The agent's, by the official SDK."""
    provider = TracerProvider(shutdown_on_exit=False)
    url = f"{receiver.environment()['OTEL_EXPORTER_OTLP_ENDPOINT']}/v1/traces"
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(url)))
    yield provider.get_tracer("agent")
    provider.shutdown()


@contextmanager
def at(trace: str, span: str, state: str = "", sampled: int = 1) -> Iterator[None]:
    """A span that is current, made elsewhere."""
    context = SpanContext(
        int(trace, 16), int(span, 16), False, TraceFlags(sampled), TraceState.from_header([state])
    )
    with use_span(NonRecordingSpan(context)):
        yield


def of(receiver: OtlpReceiver, decision: Decision) -> ReceivedSpan:
    """The gateway's span of a decision."""
    return receiver.span(f"execute_tool {decision.tool}", aegis__call__id=decision.id)


def test_from_the_agents_span_to_its_tool(
    gateway: Gateway, receiver: OtlpReceiver, tracer: opentelemetry_trace.Tracer
) -> None:
    """What the agent asks within its span, waiting or not, is a child of it, and its settlement a grandchild."""

    async def asynchronous() -> Decision:
        async with AsyncAegis(gateway.url, gateway.key()) as client:
            decision = await client.decide("desk.rank")
            await client.settle(decision)
            return decision

    with tracer.start_as_current_span("agent") as own, Aegis(gateway.url, gateway.key()) as client:
        decisions = [client.decide("desk.rank"), asyncio.run(asynchronous())]
        client.settle(decisions[0])
    agent = receiver.span("agent")
    assert f"{own.get_span_context().span_id:016x}" == agent.id
    for decision in decisions:
        span = of(receiver, decision)
        assert (agent.trace, agent.id) == (span.trace, span.parent)
        settled = receiver.span("settle desk.rank", aegis__call__id=decision.id)
        assert (agent.trace, span.id) == (settled.trace, settled.parent)
        assert f"00-{span.trace}-{span.id}-01" == gateway.call(decision.id)["traceparent"]


def test_from_the_agents_span_to_the_model(
    gateway: Gateway, receiver: OtlpReceiver, upstream: ScriptedUpstream, tracer: opentelemetry_trace.Tracer
) -> None:
    """A model's call by the hooks is a child of the agent's span, and the upstream is told the gateway's."""
    url, key = f"{gateway.url}/v1", gateway.key()

    async def asynchronous() -> Any:
        http = httpx2.AsyncClient(event_hooks={"request": [hook_async]}, trust_env=False)
        async with AsyncOpenAI(base_url=url, api_key=key, http_client=http) as model:
            return await model.chat.completions.with_raw_response.create(**MESSAGE)

    http = httpx2.Client(event_hooks={"request": [hook]}, trust_env=False)
    with tracer.start_as_current_span("asks"), OpenAI(base_url=url, api_key=key, http_client=http) as model:
        answers = [
            model.chat.completions.with_raw_response.create(**MESSAGE),
            asyncio.run(asynchronous()),
        ]
    agent = receiver.span("asks")
    for answer in answers:
        span = receiver.span("chat gpt-4o-mini", aegis__call__id=answer.headers["aegis-decision-id"])
        assert (agent.trace, agent.id, agent.trace) == (
            span.trace,
            span.parent,
            answer.headers["aegis-trace-id"],
        )
        told = re.compile(rf"\r\ntraceparent: 00-{agent.trace}-{span.id}-0[13]\r\n".encode(), re.IGNORECASE)
        assert [1] == [sent.lower().count(b"traceparent:") for sent in upstream.requests if told.search(sent)]
        assert ("gpt-4o-mini-2024-07-18", "chatcmpl-77") == (
            span.attributes["gen_ai.response.model"],
            span.attributes["gen_ai.response.id"],
        )
    own = f"00-{TRACE}-{SPAN}-01"
    with at("a" * 32, "b" * 16), httpx2.Client(event_hooks={"request": [hook]}, trust_env=False) as plain:
        answered = plain.post(
            f"{url}/chat/completions",
            json=MESSAGE,
            headers={"traceparent": own, "authorization": f"Bearer {key}"},
        )
    assert TRACE == answered.headers["aegis-trace-id"], "what the request says itself stays"


def test_guards_and_adapters(gateway: Gateway, receiver: OtlpReceiver) -> None:
    """What they ask is below the span that is current where the tool is called; in a thread as well, by its context."""
    client = Aegis(gateway.url, gateway.key())
    found: list[str | None] = []

    @guard("desk.rank", client=client)
    def rank() -> None:
        found.append(gateway.last_call()["traceparent"])

    adapted = ToolCalls({"rank": "desk.rank"}, client=client)
    with at(TRACE, SPAN, "vendor=abc"):
        rank()
        context = copy_context()
        thread = threading.Thread(target=lambda: context.run(rank))
        thread.start()
        thread.join()
        adapted.run(ToolCall(tool="desk.rank"), lambda _decision, _arguments: rank())
    rank()
    client.close()
    spans = [
        receiver.span("execute_tool desk.rank", aegis__call__id=each["call"]) for each in gateway.calls()[-5:]
    ]
    assert [(TRACE, SPAN, "vendor=abc")] * 4 == [(each.trace, each.parent, each.state) for each in spans[:4]]
    assert (False, "") == (TRACE == spans[4].trace, spans[4].parent)


def test_an_explicit_place(gateway: Gateway) -> None:
    """It goes before the current span, for a block or one call; with None there is none; calls asked together each
    have their own.
    """
    told = f"00-{TRACE}-{SPAN}-00"

    def kept(*decisions: object) -> list[str]:
        return [
            gateway.call(each.id)["traceparent"].split("-")[1]
            for each in decisions
            if isinstance(each, Decision)
        ]

    with Aegis(gateway.url, gateway.key()) as client, at("a" * 32, "b" * 16):
        with in_trace(told, "vendor=abc"):
            first = client.decide("desk.rank")
            many = client.decide_many(
                [
                    ToolCall(tool="desk.rank"),
                    ToolCall(tool="desk.rank", trace=Trace(f"00-{'c' * 32}-{SPAN}-01")),
                    ToolCall(tool="desk.rank"),
                ]
            )
        with in_trace(None):
            alone = client.decide("desk.rank")
        after = client.decide("desk.rank")
    assert [TRACE, TRACE, "c" * 32, TRACE] == kept(first, *many)
    assert ["a" * 32] == kept(after)
    assert kept(alone)[0] not in (TRACE, "a" * 32)


@pytest.mark.parametrize(
    ("parent", "state", "field"),
    [
        ("", "", "traceparent"),
        (f"00-{TRACE}-{SPAN}", "", "traceparent"),
        (f"00-{'0' * 32}-{SPAN}-01", "", "traceparent"),
        (f"00-{TRACE}-{SPAN}-01\r\nx: y", "", "traceparent"),
        (f"00-{TRACE}-{SPAN}-01", "a=b\r\nx: y", "tracestate"),
        (f"00-{TRACE}-{SPAN}-01", "a=" + "b" * 3_000, "tracestate"),
    ],
)
def test_what_is_no_place(parent: str, state: str, field: str) -> None:
    """The code that says so is told, and nothing of it becomes a header."""
    with pytest.raises(InvalidRequest) as fault, in_trace(parent, state):
        raise AssertionError("the block must not begin")
    assert field == fault.value.field


def test_a_span_that_can_not_be_read_keeps_nothing() -> None:
    """An instrumentation's mistake costs the place in the trace, and no call."""

    class Broken(NonRecordingSpan):
        def get_span_context(self) -> SpanContext:
            raise RuntimeError("broken")

    with use_span(Broken(SpanContext(1, 1, False))):
        assert current_trace() is None
    assert current_trace() is None
    with at(TRACE, SPAN, sampled=0):
        assert Trace(f"00-{TRACE}-{SPAN}-00") == current_trace()


def test_without_opentelemetry_nothing_of_it_is_loaded(gateway: Gateway) -> None:
    """A process that doesn't use it decides without it."""
    script = (
        "import sys; from aegis_sdk import Aegis\n"
        f"with Aegis({gateway.url!r}, {gateway.key()!r}) as client: client.decide('desk.rank').check()\n"
        "print(*(name for name in sys.modules if name.startswith('opentelemetry')))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "" == ran.stdout.strip()
