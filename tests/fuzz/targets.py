"""What is fuzzed: readers of requests, of answers and of streams, and what each promises."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from aegis_gateway.adapters.channels.slack_signature import signature_of
from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.domain.errors import CallError, NotRedactable
from aegis_gateway.domain.price import KINDS, ToolPrice, Usage
from aegis_gateway.domain.redaction import KINDS as KINDS_REDACTED
from aegis_gateway.domain.redaction import Redaction
from aegis_gateway.domain.registry import Argument, Connector, ConnectorKind, Model, Operation
from aegis_gateway.entrypoints.data_plane.aegislib.reports import read_span, report_of
from aegis_gateway.entrypoints.data_plane.authzen.requests import (
    Evaluation,
    arguments_of,
    checked_json,
    read_batch,
)
from aegis_gateway.entrypoints.data_plane.authzen.requests import read as read_authzen
from aegis_gateway.entrypoints.data_plane.envoy.api import ProcessingRequest
from aegis_gateway.entrypoints.data_plane.envoy.processing import asked_request, fate
from aegis_gateway.entrypoints.data_plane.envoy.shown import changes
from aegis_gateway.entrypoints.data_plane.events import EventReader, split
from aegis_gateway.entrypoints.data_plane.exchange import forwarded_headers
from aegis_gateway.entrypoints.data_plane.mcp.calling import numbers_of
from aegis_gateway.entrypoints.data_plane.mcp.headers import decoded, encoded
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    caller_message,
    raw_json,
    result_members,
    server_message,
    with_result,
)
from aegis_gateway.entrypoints.data_plane.models.body import read_body_json
from aegis_gateway.entrypoints.data_plane.models.chat import ChatDialect
from aegis_gateway.entrypoints.data_plane.models.dialect import Address, Dialect
from aegis_gateway.entrypoints.data_plane.models.embeddings import EmbeddingsDialect
from aegis_gateway.entrypoints.data_plane.models.gemini import CountTokensDialect, GeminiDialect
from aegis_gateway.entrypoints.data_plane.models.messages import MessagesDialect
from aegis_gateway.entrypoints.data_plane.models.redacted_stream import RedactedEvents
from aegis_gateway.entrypoints.data_plane.models.responses import ResponsesDialect
from aegis_gateway.entrypoints.data_plane.redacting import redacted_json
from aegis_gateway.entrypoints.data_plane.wire import parse_operation, path_segments, strict_json
from aegis_gateway.entrypoints.people.slack.payload import interaction_of


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One reader: a check that raises where a promise is broken, and inputs to start from."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


MODEL = Model(id="m", connector="c", upstream="u", price=None)
PRESSED = (
    b'{"type":"block_actions","user":{"id":"U012"},"trigger_id":"1.2.a","channel":{"id":"C012"},"actions":'
    b'[{"action_id":"aegis_approve","value":"{\\"tenant\\":\\"acme\\",\\"channel\\":\\"ops\\"}"}]}'
)
ADDRESS = Address(model="m", query="alt=sse")


def mcp_caller(data: bytes) -> None:
    """A caller's message is read or refused, and one that is changed is the same message otherwise."""
    try:
        message = caller_message(data)
    except CallError:
        return
    if message.kind == "response":
        return
    again = caller_message(message.with_params({"name": raw_json("other")}))
    assert (message.kind, message.id, message.method) == (again.kind, again.id, again.method)
    assert "other" == again.param("name")
    assert {*message.params, "name"} == set(again.params)


def mcp_server(data: bytes) -> None:
    """A server's message is one or none; a result takes what is added to it and keeps the rest."""
    message = server_message(data)
    if message is None or not message.is_response:
        return
    result = result_members(message)
    if result is not None:
        numbers_of(result)
        changed = server_message(with_result(data, {"_meta": raw_json({"x": 1})}))
        assert changed is not None
        assert {*result, "_meta"} == set(result_members(changed) or {})


def mcp_header(data: bytes) -> None:
    """A text fits in a header and comes out as it was; whatever stands in one is a text or none."""
    text = data.decode(errors="replace")
    assert text == decoded(encoded(text))
    decoded(data.decode("latin-1"))


def slack(data: bytes) -> None:
    """What comes as if from Slack is read or refused, and proves nothing without its signature."""
    assert "bad" == signature_of("secret", data, "1", data.decode("latin-1")[-67:], 1.0)
    with contextlib.suppress(CallError):
        interaction_of(b"payload=" + data)


def connector(kind: ConnectorKind) -> Connector:
    """An upstream of a kind."""
    return Connector(id="c", kind=kind, base_url="http://upstream.example/v1", api_version="1")


def body(data: bytes) -> None:
    """A body is read or refused, and what isn't changed leaves as it came."""
    try:
        read = read_body_json(data)
    except CallError:
        return
    assert data == read.changed({})
    changed = json.loads(read.changed({"model": "other", "x": {"y": 1}}))
    assert "other" == changed["model"]
    assert changed.keys() == read.fields.keys() | {"model", "x"}


def requests_of(dialect: Dialect) -> Callable[[bytes], None]:
    """A request is read or refused; what is sent of it is JSON that names the upstream's model and the limit."""

    def check(data: bytes) -> None:
        try:
            request = dialect.parse(ADDRESS, data)
        except CallError:
            return
        assert request.shape.input_bytes >= len(data)
        sent = dialect.body(connector(dialect.kinds[0]), MODEL, request, 7)
        json.loads(sent)
        msgspec.json.encode(request.summary)
        assert dialect.url(connector(dialect.kinds[0]), MODEL, request).startswith(
            "http://upstream.example/v1/"
        )

    return check


def answers_of(dialect: Dialect) -> Callable[[bytes], None]:
    """An answer has a usage that can be one, or none; nothing else happens."""

    def check(data: bytes) -> None:
        usage = dialect.usage(data)
        if usage is not None:
            assert_can_be(usage)

    return check


def streams_of(dialect: Dialect, asked: bytes) -> Callable[[bytes], None]:
    """Whatever a stream says in whatever pieces, it is passed on once, and its usage can be one."""
    request = dialect.parse(ADDRESS, asked)

    def check(data: bytes) -> None:
        step = 1 + (data[0] if data else 0)
        watch = dialect.watch(request)
        passed = b""
        with contextlib.suppress(ValueError):
            for place in range(0, len(data), step):
                passed += watch.feed(data[place : place + step])
            watch.end()
        assert len(passed) + len(watch.last) <= len(data) + 4
        if watch.usage is not None:
            assert_can_be(watch.usage)

    return check


def assert_can_be(usage: Usage) -> None:
    """Counts of known kinds, none below zero."""
    assert usage.units.keys() <= set(KINDS)
    assert all(type(number) is int and number >= 0 for number in usage.units.values())


def events(data: bytes) -> None:
    """Events cut from any pieces are what was there, in order, and end where they end."""
    reader = EventReader()
    whole = b""
    for place in range(0, len(data), 7):
        block = reader.block(data[place : place + 7])
        assert block == b"".join(split(block))
        whole += block
    assert data == whole + reader.rest()


ARGUMENTS = tuple(
    Argument(name=kind, type=kind, source=("body", kind), required=False)
    for kind in ("integer", "number", "string", "boolean")
)
OPERATION = Operation(id="o", method="POST", path="/o", price=ToolPrice(), arguments=ARGUMENTS)


def operations(data: bytes) -> None:
    """A connector's request is read or refused."""
    query, _, given = data.partition(b"\n")
    with contextlib.suppress(CallError):
        request = parse_operation(OPERATION, {}, query.decode("latin-1"), given)
        msgspec.json.encode(request.summary)
    with contextlib.suppress(CallError):
        for segment in path_segments(query.decode("latin-1")):
            assert not set(segment) & set("/\\?#\x00")


SAID: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
CHAT = json.dumps({"model": "m", "messages": SAID, "stream": True, "n": 2}).encode()
RESPONSES = json.dumps(
    {"model": "m", "input": SAID, "tools": [{"type": "web_search"}], "stream": True}
).encode()
EMBED = json.dumps({"model": "m", "input": ["a", "b"]}).encode()
MESSAGES = json.dumps({"model": "m", "max_tokens": 9, "messages": SAID, "stream": True}).encode()
GEMINI = json.dumps(
    {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 9}}
).encode()
USED = (
    b'{"usage": {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}}}'
)
DONE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3}}\n\ndata: [DONE]\n\n'
COMPLETED = (
    b'data: {"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":3}}}\n\n'
)
COUNTED = (
    b'data: {"type":"message_start","message":{"usage":{"input_tokens":5}}}\n\n'
    b'data: {"type":"message_delta","usage":{"output_tokens":3}}\n\ndata: {"type":"message_stop"}\n\n'
)
FINISHED = b'data: {"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5}}\r\n\r\n'

REDACTED: tuple[tuple[str, Dialect, bytes, bytes], ...] = (
    (
        "chat",
        ChatDialect(),
        CHAT,
        b'data: {"choices": [{"index": 0, "delta": {"content": "SSN 123-45-"}}]}\n\n' + DONE,
    ),
    ("resp", ResponsesDialect(), RESPONSES, COMPLETED),
    ("msg", MessagesDialect(), MESSAGES, COUNTED),
    ("gem", GeminiDialect("streamGenerateContent"), GEMINI, FINISHED),
)
EVERYTHING = Redaction(kinds=tuple(sorted(KINDS_REDACTED)), fields=("note",))
LEAKING = (
    b'{"a": {"dob": "1980-02-01", "note": [1, "x"]}, "b": "SSN 123-45-6789\\n", "c": "{\\"mrn\\": 123456}"}'
)


def redactions_of(dialect: Dialect) -> Callable[[bytes], None]:
    """JSON is redacted or refused; what comes out is JSON, of the same numbers, and has nothing left to redact."""

    def check(data: bytes) -> None:
        try:
            once = redacted_json(data, TextRedactor(EVERYTHING, b"key"), dialect.content)
        except NotRedactable:
            return
        json.loads(once)
        redacted_json(once, TextRedactor(EVERYTHING, b"key"), dialect.content)

    return check


def redacted_streams_of(dialect: Dialect) -> Callable[[bytes], None]:
    """A stream is redacted or refused; what comes out are events."""

    def check(data: bytes) -> None:
        shown = RedactedEvents(dialect, TextRedactor(EVERYTHING, b"key"))
        with contextlib.suppress(NotRedactable, ValueError):
            block = EventReader().block(data)
            for event in split(shown.feed(block) + shown.end(b"")):
                assert event.endswith((b"\n\n", b"\r\r", b"\r\n\r\n"))

    return check


def spans(data: bytes) -> None:
    """A span is read or refused; what it settles a decision by is JSON."""
    try:
        report = report_of(read_span(msgspec.Raw(data)))
    except CallError:
        return
    if report is not None:
        assert isinstance(json.loads(report.result), dict)


SPAN = (
    b'{"span_id": "a", "status": "success", "end_time": "t", '
    b'"decision_id": "call_0123456789abcdef0123456789abcdef.A-_=", "cost_usd": 0.0123, "latency_ms": null, '
    b'"output": {"pages": 7, "x": "y"}, "properties": {"pages": 8.50}}'
)


def _handed_over() -> bytes:
    """What an Envoy says of a request and of its answer, in one message."""
    message = ProcessingRequest()
    for part in (message.request_headers, message.response_headers):
        for name, value in ((":path", b"/v1/x?y=1"), ("authorization", b"Bearer k"), ("x-mine", b"1")):
            header = part.headers.headers.add()
            header.key, header.raw_value = name, value
    said = {"response.code_details": "via_upstream", "upstream.request_attempt_count": 1}
    message.attributes["filter"].update(said)
    written: bytes = message.SerializeToString()
    return written


def envoys(data: bytes) -> None:
    """Whatever an Envoy says is no message, or is a request of the route's connector, and an answer with a fate."""
    try:
        message = ProcessingRequest.FromString(data)
    except DecodeError:
        return
    asked = asked_request(message.request_headers, "c")
    assert asked.path == "/connect/?" or asked.path.startswith("/connect/c/")
    shown = asked.headers.items()
    wanted = forwarded_headers(asked, ("authorization", "ours"), None, None)
    found = changes(shown, wanted)
    assert {"ours"} == {value for name, value in found.set if name == "authorization"}
    left = {name for name, _ in shown} - set(found.removed)
    assert left.isdisjoint({"x-aegis-key", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
    fault, doubt = fate(message)
    assert fault is None or not doubt


def evaluations(data: bytes) -> None:
    """Whatever an enforcement point sends is refused, or is evaluations that each are read or refused alone; the
    arguments of one are one JSON object.
    """
    try:
        checked_json({"content-type": "application/json"}, data)
        batch = read_batch(data)
    except CallError:
        return
    for each in (data,) if batch is None else batch.evaluations:
        try:
            asked = read_authzen(Evaluation, each)
            arguments = arguments_of(asked.around, asked.action.properties, asked.resource.properties)
        except CallError:
            continue
        assert isinstance(strict_json(arguments), dict)


EVALUATIONS = (
    b'{"subject": {"type": "agent", "id": "a"}, "action": {"name": "x", "properties": {"n": 1.50}}, "resource": '
    b'{"type": "tool", "id": "t", "properties": {"arguments": {"s": "x"}}}, "context": {"aegis": {"reserve": false}, '
    b'"arguments": {"n": 2}}, "evaluations": [{}, {"action": {"properties": {}}, "context": {}}], '
    b'"options": {"evaluations_semantic": "deny_on_first_deny"}}'
)

TARGETS: dict[str, Target] = {
    "evaluations": Target(check=evaluations, seeds=(EVALUATIONS, EVALUATIONS.replace(b"[{}, ", b"["))),
    "envoys": Target(check=envoys, seeds=(_handed_over(),)),
    "mcp-caller": Target(
        check=mcp_caller,
        seeds=(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"n":1.50}}}',
        ),
    ),
    "mcp-server": Target(
        check=mcp_server,
        seeds=(
            b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"{}"}],"structuredContent":{}}}',
        ),
    ),
    "mcp-header": Target(check=mcp_header, seeds=(b"=?base64?YQ==?=",)),
    "body": Target(check=body, seeds=(CHAT, b'{"a": {"b": [1.50, "\\u0022"]}}')),
    "chat": Target(check=requests_of(ChatDialect()), seeds=(CHAT,)),
    "responses": Target(check=requests_of(ResponsesDialect()), seeds=(RESPONSES,)),
    "embeddings": Target(check=requests_of(EmbeddingsDialect()), seeds=(EMBED,)),
    "messages": Target(check=requests_of(MessagesDialect()), seeds=(MESSAGES,)),
    "gemini": Target(check=requests_of(GeminiDialect("generateContent")), seeds=(GEMINI,)),
    "gemini-count": Target(check=requests_of(CountTokensDialect()), seeds=(GEMINI,)),
    "chat-answer": Target(check=answers_of(ChatDialect()), seeds=(USED,)),
    "resp-answer": Target(
        check=answers_of(ResponsesDialect()), seeds=(b'{"usage": {"input_tokens": 5, "output_tokens": 3}}',)
    ),
    "msg-answer": Target(
        check=answers_of(MessagesDialect()), seeds=(b'{"usage": {"input_tokens": 5, "output_tokens": 3}}',)
    ),
    "gem-answer": Target(
        check=answers_of(GeminiDialect("x")), seeds=(b'[{"usageMetadata": {"promptTokenCount": 5}}]',)
    ),
    "chat-stream": Target(check=streams_of(ChatDialect(), CHAT), seeds=(DONE,)),
    "resp-stream": Target(check=streams_of(ResponsesDialect(), RESPONSES), seeds=(COMPLETED,)),
    "msg-stream": Target(check=streams_of(MessagesDialect(), MESSAGES), seeds=(COUNTED,)),
    "gem-stream": Target(check=streams_of(GeminiDialect("streamGenerateContent"), GEMINI), seeds=(FINISHED,)),
    **{
        f"redact-{name}": Target(check=redactions_of(dialect), seeds=(LEAKING, seed))
        for name, dialect, seed, _ in REDACTED
    },
    **{
        f"redacted-{name}": Target(check=redacted_streams_of(dialect), seeds=(stream,))
        for name, dialect, _, stream in REDACTED
    },
    "events": Target(check=events, seeds=(DONE, FINISHED)),
    "operations": Target(check=operations, seeds=(b'a=1\n{"integer": 1, "number": 1.5, "string": "x"}',)),
    "slack": Target(check=slack, seeds=(PRESSED,)),
    "spans": Target(check=spans, seeds=(SPAN,)),
}
