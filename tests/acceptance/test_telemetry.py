"""Telemetry: calls through a real gateway as a real OTLP receiver gets them, whatever becomes of the receiver."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from aegis_gateway.entrypoints.supervisor import DRAIN_S
from tests.browsers import Staff, Visitor, text_of
from tests.gateways import (
    HOST,
    PEPPER,
    PERMIT_ALL,
    Gateway,
    ScriptedUpstream,
    answer_with,
    ask,
    assert_books_balance,
    chat,
    chat_body,
    configuration,
    until,
)
from tests.otlp import OtlpReceiver, ReceivedPoint
from tests.unit.adapters.test_telemetry_names import documented

pytestmark = pytest.mark.xdist_group("telemetry")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CANARY = "canary-5ecre7-7f3a"
POLICIES = (
    PERMIT_ALL
    + """
@id("ceiling") @reason("not that much")
forbid(principal, action == Action::"api.pay", resource) when { context.args.amount.greaterThan(decimal("5000.0")) };
@id("watched") @mode("shadow") @reason("no chats on trial")
forbid(principal, action == Action::"chat", resource);
"""
)
PAY = "/connect/api/v1/payments"
BACKEND = "https://traces.example/trace/"
CLAUDE, GEMINI, EMBED = "claude-sonnet-4-5", "gemini-2.5-flash", "text-embedding-3-small"
MODELS = {
    "gpt-4o-mini": "connector: provider",
    EMBED: "connector: provider",
    CLAUDE: "connector: claude",
    GEMINI: "connector: google",
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    """The receiver."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The provider and the payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(receiver: OtlpReceiver, upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway that sends by HTTP."""
    files = configuration(upstream.base_url, policies=POLICIES, models=MODELS)
    more = {
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={CANARY}-header",
        "AEGIS_TRACE_URL": f"{BACKEND}{{trace_id}}",
    }
    with Gateway(files, environment=receiver.environment(**more)) as gateway:
        yield gateway


def test_a_model_call_is_a_span_with_what_it_was_and_cost(gateway: Gateway, receiver: OtlpReceiver) -> None:
    """A chat is one span, by the conventions' names, whose cost is the ledger's to the nano-dollar."""
    answer = chat(gateway, "hello", key=gateway.key("bot"))
    assert 200 == answer.status
    call = answer.headers["aegis-decision-id"]
    span = receiver.span("chat gpt-4o-mini", aegis__call__id=call)
    usage, found = answer.json["usage"], span.attributes
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.agent.id": "bot",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "llm.token_count.total": usage["total_tokens"],
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
        "aegis.cost.usd": answer.headers["aegis-cost-usd"],
        "aegis.cost.nano_usd": gateway.call(call)["cost_nano_usd"],
        "aegis.decision": "allow",
        "aegis.settlement": "settled",
        "aegis.tenant": "acme",
        "aegis.team": "desk",
        "aegis.cost_centre": "CC-1",
        "aegis.owner": "ana@acme.example",
        "aegis.purpose": "test",
        "aegis.run.id": answer.headers["aegis-run-id"],
        "aegis.policy.version": answer.headers["aegis-policy-version"],
        "aegis.shadow": ["watched: deny"],
        "decision": "allow",
        "agent_id": "bot",
        "policy_version": answer.headers["aegis-policy-version"],
    }
    assert expected == {name: found.get(name) for name in expected}
    dollars = float(answer.headers["aegis-cost-usd"])
    for name in ("gen_ai.usage.cost", "gen_ai.usage.cost.amount", "llm.cost.total", "cost_per_call"):
        assert pytest.approx(dollars) == found[name]
    assert "aegis-gateway" == span.resource["service.name"]


def test_a_stream_is_a_span_that_ends_with_the_settlement(gateway: Gateway, receiver: OtlpReceiver) -> None:
    """A streamed answer's usage and cost are in its span as well."""
    answer = chat(gateway, "tell me", key=gateway.key("bot"), stream=True)
    call = answer.headers["aegis-decision-id"]
    span = receiver.span("chat gpt-4o-mini", aegis__call__id=call)
    assert gateway.call(call)["cost_nano_usd"] == span.attributes["aegis.cost.nano_usd"]
    assert 0 < span.attributes["gen_ai.usage.output_tokens"]


def test_spans_say_who_made_an_answer(gateway: Gateway, receiver: OtlpReceiver) -> None:
    """The model as the provider names it and the answer's id, by every API, whole and streamed; not of embeddings."""
    said: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
    chat_, messages = (
        {"model": "gpt-4o-mini", "messages": said},
        {"model": CLAUDE, "messages": said, "max_tokens": 9},
    )
    gemini = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    made = [
        ("/v1/chat/completions", chat_),
        ("/v1/chat/completions", {**chat_, "stream": True}),
        ("/v1/responses", {"model": "gpt-4o-mini", "input": "hello"}),
        ("/v1/responses", {"model": "gpt-4o-mini", "input": "hello", "stream": True}),
        ("/v1/messages", messages),
        ("/v1/messages", {**messages, "stream": True}),
        (f"/v1beta/models/{GEMINI}:generateContent", gemini),
        (f"/v1beta/models/{GEMINI}:streamGenerateContent?alt=sse", gemini),
        (f"/v1beta/models/{GEMINI}:streamGenerateContent", gemini),
        ("/v1/embeddings", {"model": EMBED, "input": "hello"}),
    ]
    for path, body in made:
        version = {"anthropic-version": "2023-06-01"}
        answer = ask(gateway, "POST", path, body, key=gateway.key("bot"), headers=version)
        assert 200 == answer.status, (path, answer.body)
        call = answer.headers["aegis-decision-id"]
        name = "embeddings" if "embed" in path else "chat"
        found = receiver.span(f"{name} {gateway.call(call)['model']}", aegis__call__id=call).attributes
        model, id_ = found["gen_ai.response.model"], found.get("gen_ai.response.id")
        assert f'"{model}"' in answer.body.decode(), path
        assert (id_ is None) == (name == "embeddings"), path
        assert id_ is None or f'"{id_}"' in answer.body.decode(), path


def test_no_span_says_anything_that_the_docs_dont_tell(receiver: OtlpReceiver) -> None:
    """Of all spans that came until now."""
    assert set() == {name for span in receiver.spans for name in span.attributes} - documented()


def test_a_refused_call_is_a_span_with_its_reasons(gateway: Gateway, receiver: OtlpReceiver) -> None:
    """A refusal says by which policy, is an error, and has no cost."""
    body = {"amount": 9000, "currency": "USD"}
    answer = ask(gateway, "POST", PAY, body, key=gateway.key("bot"))
    assert 403 == answer.status
    span = receiver.span("execute_tool api.pay", aegis__call__id=answer.headers["aegis-decision-id"])
    found = span.attributes
    assert (True, "deny", "not that much", ["denied_by_policy"]) == (
        span.is_error,
        found["decision"],
        found["decision_reason"],
        found["aegis.reason.codes"],
    )
    assert "aegis.cost.nano_usd" not in found


def test_a_call_is_of_its_callers_trace_and_its_upstreams_is_of_its_own(receiver: OtlpReceiver) -> None:
    """The gateway's span is the child of the caller's, and the parent that the upstream is told."""
    with ScriptedUpstream(answer_with(b'{"id": "p1"}')) as upstream:
        files = configuration(upstream.base_url, policies=POLICIES)
        with Gateway(files, environment=receiver.environment()) as gateway:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=abc"}
            body = {"amount": 1, "currency": "USD"}
            answer = ask(gateway, "POST", PAY, body, key=gateway.key("bot"), headers=headers)
            assert 200 == answer.status
            span = receiver.span("execute_tool api.pay", aegis__call__id=answer.headers["aegis-decision-id"])
    assert (TRACE, PARENT, "vendor=abc") == (span.trace, span.parent, span.state)
    sent = upstream.requests[0].lower()
    assert f"\r\ntraceparent: 00-{TRACE}-{span.id}-01\r\n".encode() in sent
    assert b"\r\ntracestate: vendor=abc\r\n" in sent
    assert 1 == sent.count(b"traceparent:")


def test_a_call_leads_to_its_trace(gateway: Gateway, receiver: OtlpReceiver) -> None:
    """Its span is kept with it, and shown: in the answer, the record, the command, the API, its page and its run's."""
    key = gateway.key("bot")
    answer = chat(gateway, "where am I", key=key)
    call, run = answer.headers["aegis-decision-id"], answer.headers["aegis-run-id"]
    span = receiver.span("chat gpt-4o-mini", aegis__call__id=call)
    assert span.trace == answer.headers["aegis-trace-id"]
    unsampled = ask(
        gateway, "POST", PAY, {"amount": 9000, "currency": "USD"}, key=key, headers={
            "traceparent": f"00-{TRACE}-{PARENT}-00", "aegis-run-id": run,
        },
    )  # fmt: skip
    assert (403, TRACE) == (unsampled.status, unsampled.headers["aegis-trace-id"])
    entry = next(each for each in gateway.entries() if each["call"] == call)
    assert f"00-{span.trace}-{span.id}-01" == entry["traceparent"] == gateway.call(call)["traceparent"]

    store = ("--store", gateway.settings.store)
    cli = CliRunner(env={"AEGIS_TRACE_URL": f"{BACKEND}{{trace_id}}#{{span_id}}"})
    shown = cli.invoke(build(), ["call", call, *store]).output
    assert f"trace     {span.trace}, span {span.id}\n" in shown
    assert f"shown at  {BACKEND}{span.trace}#{span.id}\n" in shown
    told = json.loads(cli.invoke(build(), ["call", call, "--json", *store]).output)
    assert (span.trace, span.id, f"{BACKEND}{span.trace}#{span.id}") == (
        told["trace_id"],
        told["span_id"],
        told["trace_url"],
    )

    staff = Staff(gateway)
    api = ask(gateway, "GET", f"/api/v1/calls/{call}", key=staff.tokens["ana"])
    assert (200, span.trace, span.id, f"{BACKEND}{span.trace}") == (
        api.status,
        api.json["trace_id"],
        api.json["span_id"],
        api.json["trace_url"],
    )
    assert ["decision", "settlement"] == [each["type"] for each in api.json["entries"]]
    staff.add("zoe")
    assert {404} == {
        ask(gateway, "GET", f"/api/v1/calls/{name}", key=staff.tokens[who]).status
        for name, who in ((call, "zoe"), ("call_none", "ana"))
    }

    visitor = Visitor(gateway)
    visitor.sign_in(staff.tokens["ana"])
    link = f'<a href="{BACKEND}{span.trace}" rel="noreferrer">'
    page = text_of(visitor.get(f"/calls/acme/{call}"))
    assert f"{link}{span.trace}, span {span.id}</a>" in page
    other = text_of(visitor.get(f"/calls/acme/{unsampled.headers['aegis-decision-id']}"))
    assert ", not sampled" in other
    assert f"{BACKEND}{TRACE}" not in other
    tree = text_of(visitor.get(f"/runs/acme/{run.split('.')[0]}"))
    assert f"In traces {link}<code>{span.trace}</code></a>, <code>{TRACE}</code>." in tree
    assert f'{link}trace<span class="hidden"> of call {call}</span></a>' in tree


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_spans_and_metrics_come_by_each_protocol(upstream: UpstreamProcess, protocol: str) -> None:
    """Two workers send by HTTP and by gRPC; deltas if preferred; what is left is sent at the end."""
    with OtlpReceiver() as receiver:
        later = {
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            "OTEL_METRIC_EXPORT_INTERVAL": "60000",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        }
        environment = receiver.environment(protocol, **later)
        with Gateway(configuration(upstream.base_url), workers=2, environment=environment) as gateway:
            key = gateway.key("bot")
            answers = [chat(gateway, f"hello {number}", key=key) for number in range(8)]
            assert 0 == gateway.stop()
        calls = {answer.headers["aegis-decision-id"] for answer in answers}
        assert calls == {span.attributes["aegis.call.id"] for span in receiver.spans}
        assert 1 <= len({span.resource["service.instance.id"] for span in receiver.spans}) <= 2
        cost = [point for point in receiver.points if point.metric == "aegis.cost.nano_usd"]
        expected = sum(span.attributes["aegis.cost.nano_usd"] for span in receiver.spans)
        assert (expected, {True}) == (sum(point.value for point in cost), {point.is_delta for point in cost})
        decided = [point.value for point in receiver.points if point.metric == "aegis.decisions"]
        assert 8 == sum(decided)
        took = [point for point in receiver.points if point.metric == "gen_ai.client.operation.duration"]
        assert 8 == sum(point.count for point in took)
        _assert_speed_and_budgets_are_told(receiver.points)
        named = {name for point in receiver.points for name in point.attributes}
        assert not {name for name in named if "call" in name or "run" in name or "customer" in name}


def _assert_speed_and_budgets_are_told(points: list[ReceivedPoint]) -> None:
    """Of eight calls at one door, in deltas; of the budget that they spent."""
    for metric in ("aegis.call.duration", "aegis.call.added.duration", "aegis.call.upstream.duration"):
        took = [point for point in points if point.metric == metric]
        assert (8, {True}) == (sum(point.count for point in took), {point.is_delta for point in took})
        assert {("acme", "models")} == {
            (point.attributes["aegis.tenant"], point.attributes["aegis.door"]) for point in took
        }
    settled = [point for point in points if point.metric == "aegis.settlements"]
    assert 8 == sum(point.value for point in settled)
    for metric in ("aegis.budget.utilization", "aegis.budget.burn_rate"):
        told = [point for point in points if point.metric == metric]
        assert {("acme", "plenty")} == {
            (point.attributes["aegis.tenant"], point.attributes["aegis.budget"]) for point in told
        }
    used = [point.value for point in points if point.metric == "aegis.budget.utilization"]
    assert 0 < max(used) < 1


def test_nothing_of_prompts_arguments_and_secrets_is_sent(gateway: Gateway, receiver: OtlpReceiver) -> None:
    """Prompts, arguments, keys, made-up names and the receiver's own token are in no byte of it, nor in the log."""
    key = gateway.key("bot")
    last = chat(gateway, f"{CANARY}-prompt", key=key)
    ask(gateway, "POST", "/v1/chat/completions", chat_body("x", model=f"{CANARY}-model"), key=key)
    ask(gateway, "GET", f"/connect/api/v1/{CANARY}/nowhere", None, key=key)
    ask(gateway, "GET", f"/connect/{CANARY}/nowhere", None, key=key)
    body = {"amount": 9001, "currency": "USD", "reference": f"{CANARY}-argument"}
    refused = ask(gateway, "POST", PAY, body, key=key)
    for answer, name in ((last, "chat gpt-4o-mini"), (refused, "execute_tool api.pay")):
        receiver.span(name, aegis__call__id=answer.headers["aegis-decision-id"])
    receiver.span("chat unknown")
    receiver.span("execute_tool unknown")
    receiver.point("aegis.decisions", gen_ai__request__model="unknown")
    sent = b"".join(receiver.bytes_)
    assert b"gpt-4o-mini" in sent
    for secret in (CANARY, key, PEPPER, "sk-upstream"):
        assert secret.encode() not in sent
    assert f"{CANARY}-header" == receiver.headers[-1]["x-token"]
    assert f"{CANARY}-header" not in gateway.log()


def hanging() -> socket.socket:
    """A receiver that takes connections and never says anything."""
    return socket.create_server((HOST, 0), backlog=64)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("state", ["down", "hanging", "failing"])
def test_calls_go_on_whatever_becomes_of_the_receiver(
    upstream: UpstreamProcess, protocol: str, state: str
) -> None:
    """With a receiver that isn't there, hangs or fails, calls are made and settled, more than any queue holds, and the
    gateway stops in time.
    """
    release = threading.Event()

    def fail() -> None:
        if state == "failing":
            raise RuntimeError("the receiver fails")
        release.wait()

    with OtlpReceiver(before=fail) as receiver, hanging() as mute:
        few = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
        environment = receiver.environment(protocol, **few)
        if state == "down":
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{HOST}:9"
        if state == "hanging":
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{HOST}:{mute.getsockname()[1]}"
        with Gateway(configuration(upstream.base_url), environment=environment) as gateway:
            key = gateway.key("bot")
            answers = [chat(gateway, f"hello {number}", key=key) for number in range(32)]
            assert {200} == {answer.status for answer in answers}
            until(lambda: 32 == gateway.states()["settled"], "not all calls are settled")
            assert_books_balance(gateway)
            began_s = time.monotonic()
            assert 0 == gateway.stop()
            assert time.monotonic() - began_s < DRAIN_S, "its workers had to be killed"
            said = re.findall(r"spans were lost: ([^;]*);", gateway.log())
            assert 32 == sum(int(n) for each in said for n in re.findall(r"([0-9]+) \(", each)), said
        release.set()


def test_a_slow_receiver_gets_what_its_queue_holds_and_is_told_of_the_rest(upstream: UpstreamProcess) -> None:
    """While one batch is under way, calls go on; what the queue doesn't hold is dropped, and counted."""
    release = threading.Event()
    with OtlpReceiver(before=release.wait) as receiver:
        few = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
        with Gateway(configuration(upstream.base_url), environment=receiver.environment(**few)) as gateway:
            key = gateway.key("bot")
            answers = [chat(gateway, f"hello {number}", key=key) for number in range(32)]
            assert {200} == {answer.status for answer in answers}
            release.set()

            def dropped() -> float:
                return receiver.point("otel.sdk.processor.span.processed", error__type="queue_full").value

            until(lambda: 32 == len(receiver.spans) + dropped(), "a span was neither sent nor counted")
            assert len(receiver.spans) <= 4 + 2
            assert 0 == gateway.stop()
            said = re.findall(r"spans were lost: ([0-9]+) \(queue full\)", gateway.log())
            assert 32 - len(receiver.spans) == sum(map(int, said)), gateway.log()


def test_with_metrics_alone_traces_pass_as_they_are() -> None:
    """Where no spans are sent, the upstream isn't told of one that nobody will see; calls are measured."""
    trace = f"00-{TRACE}-{PARENT}-01"
    body = {"amount": 1, "currency": "USD"}
    with OtlpReceiver() as receiver, ScriptedUpstream(answer_with(b'{"id": "p1"}')) as upstream:
        environment = receiver.environment(OTEL_TRACES_EXPORTER="none")
        with Gateway(configuration(upstream.base_url), environment=environment) as gateway:
            for headers in ({"traceparent": trace}, {}):
                answer = ask(gateway, "POST", PAY, body, key=gateway.key("bot"), headers=headers)
                assert 200 == answer.status
            assert 0 == gateway.stop()
        assert 500_000_000 == receiver.point("aegis.cost.nano_usd", gen_ai__tool__name="api.pay").value
        assert [] == receiver.spans
    first, second = (request.lower() for request in upstream.requests)
    assert (True, False) == (f"\r\ntraceparent: {trace}\r\n".encode() in first, b"traceparent" in second)


def test_what_a_caller_doesnt_sample_is_not_sent_but_measured(
    gateway: Gateway, receiver: OtlpReceiver
) -> None:
    """A caller's word not to sample holds for the gateway's span; what can't be read as a place in a trace is none."""
    key, body = gateway.key("bot"), {"amount": 2, "currency": "USD"}
    not_sampled = ask(gateway, "POST", PAY, body, key=key, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    odd = ask(gateway, "POST", PAY, body, key=key, headers={"traceparent": "00-nonsense"})
    span = receiver.span("execute_tool api.pay", aegis__call__id=odd.headers["aegis-decision-id"])
    assert ("", False) == (span.parent, TRACE == span.trace)
    calls = {each.attributes.get("aegis.call.id") for each in receiver.spans}
    assert not_sampled.headers["aegis-decision-id"] not in calls
    allowed = {"gen_ai__tool__name": "api.pay", "aegis__decision": "allow"}
    until(lambda: 2 <= receiver.point("aegis.decisions", **allowed).value, "not all calls are measured")


def test_without_a_receiver_nothing_of_it_is_loaded() -> None:
    """Where no receiver is named, no process has any of OpenTelemetry loaded, and traces pass as they are."""
    script = (
        "import sys\n"
        "import aegis_gateway.entrypoints.steward, aegis_gateway.entrypoints.supervisor\n"
        "from aegis_gateway.entrypoints import worker\n"
        "assert worker.bootstrap.observer(worker.read_settings()) is None\n"
        "print(*(name for name in sys.modules if name.startswith('opentelemetry')))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "" == ran.stdout.strip()
    trace = f"00-{TRACE}-{PARENT}-01"
    with (
        ScriptedUpstream(answer_with(b'{"id": "p1"}')) as upstream,
        Gateway(configuration(upstream.base_url)) as gateway,
    ):
        body, key = {"amount": 1, "currency": "USD"}, gateway.key("bot")
        answer = ask(gateway, "POST", PAY, body, key=key, headers={"traceparent": trace})
        odd = ask(gateway, "POST", PAY, body, key=key, headers={"traceparent": f"00-{'0' * 32}-{PARENT}-01"})
        kept = [
            each["traceparent"] for each in gateway.query("select traceparent from call order by sequence")
        ]
    assert (200, TRACE) == (answer.status, answer.headers["aegis-trace-id"])
    assert (200, False) == (odd.status, "aegis-trace-id" in odd.headers)
    assert [trace, None] == kept, "where the caller stands is kept, if it is a place at all"
    assert f"traceparent: {trace}".encode() in upstream.requests[0].lower()
