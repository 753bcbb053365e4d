"""Policies that redact: what is sent, what is answered, whole or streamed, in every API; and what can't be redacted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import (
    PAYMENTS,
    PERMIT_ALL,
    Gateway,
    ScriptedUpstream,
    answer_with,
    ask,
    assert_books_balance,
    chat_body,
    configuration,
)

pytestmark = [
    pytest.mark.xdist_group("redaction"),
    # Anthropic's client warns of models that will be retired; their prices are published until then.
    pytest.mark.filterwarnings("ignore:The model 'claude-:DeprecationWarning"),
]

SSN, EMAIL = "123-45-6789", "ann.lee@example.com"
LEAK = "[[leak]] [[tokens=70]]"
LEAKED = (SSN, "1980-02-01", "555-2671", EMAIL)
"""What the bundled provider says when it is told to."""
TOKEN = re.compile(r"\[(SSN|DOB|PHONE|EMAIL):[0-9a-f]{12}\]")

MODELS = {
    "gpt-4o-mini": "connector: provider",
    "claude-sonnet-4-5": "connector: claude",
    "gemini-2.5-flash": "connector: google",
    "text-embedding-3-small": "connector: provider",
}
REDACT = """
@id("no-phi") @effect("redact") @kinds("ssn dob phone email") @fields("account_code")%s
forbid(principal, action, resource);
"""
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
SHOWN = PAYMENTS.replace("reference: {type: string, from: body.reference, required: false}",
                         "reference: {type: string, from: body.reference, required: false, shown: true}")  # fmt: skip


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway that redacts everything, both ways."""
    with Gateway(
        configuration(upstream.base_url, policies=PERMIT_ALL + REDACT % "", models=MODELS, operations=SHOWN)
    ) as gateway:
        yield gateway
        assert_books_balance(gateway)


def assert_redacted(text: str) -> None:
    """Nothing that leaked is in a text, and a token of each kind is."""
    assert [] == [value for value in LEAKED if value in text]
    assert {"SSN", "DOB", "PHONE", "EMAIL"} == set(TOKEN.findall(text))


def test_answers_to_the_openai_client(gateway: Gateway) -> None:
    """Whole and streamed, in both of OpenAI's APIs: tokens instead of values, the same ones; counted in the record."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=0) as client:
        messages: Any = [{"role": "user", "content": LEAK}]
        whole = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
        said = whole.choices[0].message.content or ""
        assert_redacted(said)
        stream = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        chunks = list(stream)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert said == streamed
        assert "stop" == chunks[-1].choices[0].finish_reason
        answered = client.responses.create(model="gpt-4o-mini", input=LEAK).output_text
        assert_redacted(answered)
        events = list(client.responses.create(model="gpt-4o-mini", input=LEAK, stream=True))
        deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        done = [event.text for event in events if event.type == "response.output_text.done"]
        assert [answered] == done == [deltas]
        numbers = [event.sequence_number for event in events]
        assert list(range(numbers[0], numbers[0] + len(numbers))) == numbers
        assert TOKEN.findall(said) == TOKEN.findall(answered)
    gateway.settled()
    settlements = [entry for entry in gateway.entries() if entry["type"] == "settlement"][-4:]
    assert [{"ssn": 2, "dob": 2, "phone": 2, "email": 2}] * 4 == [entry["redacted"] for entry in settlements]


def test_answers_to_the_anthropic_client(gateway: Gateway) -> None:
    """Whole and streamed."""
    with Anthropic(base_url=gateway.url, api_key=gateway.key(), max_retries=0) as client:
        asked: Any = {
            "model": "claude-sonnet-4-5", "max_tokens": 200, "messages": [{"role": "user", "content": LEAK}],
        }  # fmt: skip
        block = client.messages.create(**asked).content[0]
        assert block.type == "text"
        assert_redacted(block.text)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_text()
        assert block.text == streamed


def test_answers_in_geminis_form(gateway: Gateway) -> None:
    """Whole and streamed as server-sent events."""
    body = {"contents": [{"parts": [{"text": LEAK}]}]}
    whole = ask(gateway, "POST", "/v1beta/models/gemini-2.5-flash:generateContent", body)
    said = whole.json["candidates"][0]["content"]["parts"][0]["text"]
    assert_redacted(said)
    streamed = ask(gateway, "POST", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", body)
    chunks = [
        json.loads(line[6:]) for line in streamed.body.decode().splitlines() if line.startswith("data: ")
    ]
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert said == "".join(part["text"] for part in parts)


def test_arguments_are_redacted_before_anything_else_sees_them() -> None:
    """What is sent, priced and recorded has tokens; neither upstream, database nor log has the value."""
    message = {"role": "assistant", "content": f"It is {SSN}."}
    said = {
        "id": "x",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
    }
    record = json.dumps({"patient": {"account_code": "zz-9", "note": f"mail {EMAIL}"}})
    with (
        ScriptedUpstream(answer_with(json.dumps(said).encode())) as upstream,
        Gateway(
            configuration(upstream.base_url, policies=PERMIT_ALL + REDACT % "", operations=SHOWN)
        ) as gateway,
    ):
        body = chat_body(f"My SSN is {SSN}, and {record}", user=EMAIL)
        body["messages"].append({"role": "tool", "tool_call_id": "219-09-9999", "content": record})  # type: ignore[attr-defined]
        answer = ask(gateway, "POST", CHAT, body)
        assert 200 == answer.status
        assert re.fullmatch(r"It is \[SSN:[0-9a-f]{12}\]\.", answer.json["choices"][0]["message"]["content"])
        sent = json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2])
        question, result = (message["content"] for message in sent["messages"])
        assert "219-09-9999" == sent["messages"][1]["tool_call_id"]
        assert ["SSN", "EMAIL"] == TOKEN.findall(question)
        assert re.fullmatch(r"\[EMAIL:[0-9a-f]{12}\]", sent["user"])
        patient = json.loads(result)["patient"]
        assert re.fullmatch(r"\[FIELD:[0-9a-f]{12}\]", patient["account_code"])
        assert SSN not in question
        gateway.settled()
        decision, settlement = (
            [entry for entry in gateway.entries() if entry["type"] == kind][-1]
            for kind in ("decision", "settlement")
        )
        assert {"ssn": 1, "email": 3, "field": 2} == {**decision["redacted"]}
        assert ["all-may", "no-phi", "arguments"] == [reason["subject"] for reason in decision["reasons"]]
        assert "redacted in the arguments: 3 email, 2 field, 1 ssn" == decision["reasons"][-1]["message"]
        assert (
            len(json.dumps(sent)) != decision["arguments"]["summary"]["bytes"] < len(json.dumps(body)) + 200
        )
        assert {"ssn": 1} == settlement["redacted"]
        call = gateway.last_call()["call"]
        told = CliRunner().invoke(build(), ["call", call, "--store", gateway.settings.store]).output
        assert "3 email, 2 field, 1 ssn in the arguments; 1 ssn in the answer" in told
        paid = ask(gateway, "POST", "/connect/api/v1/payments",
                   {"amount": 5, "currency": "USD", "reference": f"for {SSN}"})  # fmt: skip
        assert 200 == paid.status
        refused = ask(gateway, "POST", "/connect/api/v1/payments",
                      {"amount": "much", "currency": "USD", "reference": f"for {SSN}"})  # fmt: skip
        assert 400 == refused.status
        shown = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1]["arguments"][
            "summary"
        ]
        assert re.fullmatch(r"for \[SSN:[0-9a-f]{12}\]", shown["reference"])
        again = replayed(gateway)
        assert ([], []) == (again["changes"], again["in_force"]["differs"])
        for canary in (SSN, EMAIL, "zz-9"):
            found = [path for path in Path(gateway.settings.store.removeprefix("sqlite:")).parent.rglob("*")
                     if path.is_file() and canary.encode() in path.read_bytes()]  # fmt: skip
            assert [] == found
            assert canary not in gateway.log()
            assert canary.encode() not in b"".join(upstream.requests)


def test_a_refused_calls_record_is_redacted_too(upstream: UpstreamProcess) -> None:
    """What another policy denies shows nothing of what is redacted either."""
    deny = '@id("no-pay") forbid(principal, action == Action::"api.pay", resource);'
    policies = PERMIT_ALL + REDACT % "" + deny
    with Gateway(configuration(upstream.base_url, policies=policies, operations=SHOWN)) as gateway:
        body = {"amount": 5, "currency": "USD", "reference": SSN}
        assert 403 == ask(gateway, "POST", "/connect/api/v1/payments", body).status
        decision = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1]
        assert decision["arguments"]["summary"]["reference"].startswith("[SSN:")


def replayed(gateway: Gateway, *arguments: str) -> dict[str, Any]:
    """What `aegis replay` says of the one tenant."""
    command = ["replay", *arguments, "--json", "--store", gateway.settings.store]
    result = CliRunner().invoke(build(), command)
    assert 0 == result.exit_code, result.output
    (report,) = json.loads(result.output)["tenants"]
    return dict(report)


def _events(*events: dict[str, Any] | str) -> bytes:
    lines = (each if isinstance(each, str) else json.dumps(each) for each in events)
    return b"".join(f"data: {line}\n\n".encode() for line in lines)


def _chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def test_tool_calls_and_choices_are_redacted_each_as_one_text() -> None:
    """Interleaved choices and a tool call's arguments, cut in the middle of values; the arguments stay JSON."""

    def call(arguments: str, **rest: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}, **rest}]}

    answer = _events(
        _chunk({"role": "assistant", "content": "one 123-4"}),
        _chunk({"content": "two a.lee@exam"}, index=1),
        _chunk({"content": "5-67"}),
        _chunk({"content": "ple.com and"}, index=1),
        _chunk({"content": "89"}),
        _chunk(call("", id="call_1", type="function")),
        _chunk(call('{"account_code": "z')),
        _chunk(call('z", "ssn\\nis": "123-45')),
        _chunk(call('-6789"}')),
        _chunk({}, "stop"),
        _chunk({}, "stop", index=1),
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
         "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}},
        "[DONE]",
    )  # fmt: skip
    script = answer_with(answer, headers="content-type: text/event-stream\r\n")
    with (
        ScriptedUpstream(script) as upstream,
        Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + REDACT % "")) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=0) as client,
    ):
        texts, arguments = ["", ""], ""
        asked: Any = [{"role": "user", "content": "hi"}]
        for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=asked, n=2, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                for each in choice.delta.tool_calls or ():
                    assert each.function is not None
                    arguments += each.function.arguments or ""
        assert re.fullmatch(r"one \[SSN:[0-9a-f]{12}\]", texts[0])
        assert re.fullmatch(r"two \[EMAIL:[0-9a-f]{12}\] and", texts[1])
        parsed = json.loads(arguments)
        assert [True, True] == [
            bool(re.fullmatch(r"\[(FIELD|SSN):[0-9a-f]{12}\]", value)) for value in parsed.values()
        ]
        assert "settled" == gateway.settled()["state"]


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ("content-type: application/json\r\ncontent-encoding: gzip\r\n", b"\x1f\x8b...", "it is compressed"),
        ("content-type: image/png\r\n", b"\x89PNG", "neither JSON nor text"),
        (
            "content-type: application/json\r\n",
            b'{"n": 4111111111111111, "dob": 19800201}',
            "number at `dob`",
        ),
        ("content-type: text/plain\r\n", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_answers_that_cannot_be_read_are_withheld(headers: str, body: bytes, why: str) -> None:
    """The caller gets an error in the API's form that says why; the cost is settled all the same."""
    with (
        ScriptedUpstream(answer_with(body, headers=headers)) as upstream,
        Gateway(configuration(upstream.base_url, policies=PERMIT_ALL + REDACT % "")) as gateway,
    ):
        answer = ask(gateway, "GET", "/connect/api/v1/fx/EURUSD")
        assert 403 == answer.status
        assert "response_withheld" == answer.code
        assert why in answer.json["error"]["message"]
        assert body not in answer.body
        row = gateway.settled()
        assert ("settled", 2_000_000) == (row["state"], row["cost_nano_usd"])


def test_a_stream_that_cannot_be_redacted_ends_in_an_error(upstream: UpstreamProcess) -> None:
    """What is a number in a tool call's arguments can't be a token; the client sees an error, the call is settled."""
    answer = _events(
        _chunk({"content": "well"}),
        _chunk({"tool_calls": [{"index": 0, "id": "c", "type": "function",
                                "function": {"name": "f", "arguments": '{"account_code": 12}'}}]}),
        _chunk({}, "tool_calls"),
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
         "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}},
        "[DONE]",
    )  # fmt: skip
    script = answer_with(answer, headers="content-type: text/event-stream\r\n")
    with (
        ScriptedUpstream(script) as scripted,
        Gateway(configuration(scripted.base_url, policies=PERMIT_ALL + REDACT % "")) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=0) as client,
    ):
        asked: Any = [{"role": "user", "content": "hi"}]
        with pytest.raises(openai.APIError, match="could not be redacted: the number at `account_code`"):
            list(client.chat.completions.create(model="gpt-4o-mini", messages=asked, stream=True))
        row = gateway.settled()
        assert "settled" == row["state"]
        assert row["cost_nano_usd"] > 0


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        (CHAT, {"messages": [{"role": "user", "content": [IMAGE]}]}, "`messages[0].content[0]` is no text"),
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "logprobs": True}, "`logprobs` asks for an answer"),
        (CHAT, {"messages": [{"role": "assistant", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"account_code": 7}'}}]}]},
         "the number at `account_code`"),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png"}]}]},
         "`input[0].content[0]` is no text"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [1, 2, 3]}, "`input` is no text"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_not_sent(gateway: Gateway, path: str, body: dict[str, Any], why: str) -> None:
    """An image, tokens as numbers, a number in typed arguments, an answer in pieces: refused, before it costs."""
    answer = ask(gateway, "POST", path, {"model": "gpt-4o-mini", **body})
    assert 403 == answer.status
    assert "obligation_unfulfilled" == answer.code
    assert why in answer.json["error"]["message"]
    assert "refused" == gateway.last_call()["state"]


def test_an_image_is_refused_in_anthropics_form(gateway: Gateway) -> None:
    """The official client raises what it raises for policies."""
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    with (
        Anthropic(base_url=gateway.url, api_key=gateway.key(), max_retries=0) as client,
        pytest.raises(anthropic.PermissionDeniedError, match="is no text that could be redacted"),
    ):
        client.messages.create(
            model="claude-sonnet-4-5", max_tokens=20, messages=[{"role": "user", "content": [image]}]
        )


def test_connectors_paths_queries_and_answers() -> None:
    """Each is redacted where it stands, by the argument's name too; the answer's JSON keeps its form."""
    operations = """\
          look:
            method: GET
            path: /people/{account_code}/notes
            arguments:
              who: {type: string, from: query.who, required: false}
              n: {type: integer, from: query.n, required: false}
            price: {per_call: 0.01}
"""
    answer = json.dumps({"note": f"call 415-555-2671, {EMAIL}", "n": 1.50, "dob": "1980-02-01"}).encode()
    with (
        ScriptedUpstream(
            answer_with(answer, headers=f"content-type: application/json\r\nx-of: {EMAIL}\r\n")
        ) as upstream,
        Gateway(
            configuration(upstream.base_url, policies=PERMIT_ALL + REDACT % "", operations=operations)
        ) as gateway,
    ):
        seen = ask(gateway, "GET", f"/connect/api/people/ab%201/notes?who={EMAIL}&n=3&x={SSN}")
        assert 200 == seen.status
        line = upstream.requests[0].split(b"\r\n")[0].decode()
        token = r"%5B[A-Z]+%3A[0-9a-f]{12}%5D"
        assert re.fullmatch(rf"GET /people/{token}/notes\?who={token}&n=3&x={token} HTTP/1.1", line)
        assert ["PHONE", "EMAIL"] == TOKEN.findall(seen.json["note"])
        assert (1.50, True) == (seen.json["n"], seen.json["dob"].startswith("[DOB:"))
        assert TOKEN.fullmatch(seen.headers["x-of"])
        refused = ask(gateway, "GET", "/connect/api/people/x/notes?n=4111111111111111")
        assert 200 == refused.status  # a card's number, which isn't of the kinds that are redacted


def test_one_side_alone(upstream: UpstreamProcess) -> None:
    """`@in` says where: what is not redacted there stays."""
    policies = PERMIT_ALL + REDACT % ' @in("arguments")'
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        said = ask(gateway, "POST", CHAT, chat_body(LEAK)).json["choices"][0]["message"]["content"]
        assert SSN in said


def test_redactions_in_shadow_are_noted_where_they_would_find_something(
    upstream: UpstreamProcess, tmp_path: Path
) -> None:
    """In arguments with the decision, in answers with the settlement; what would find nothing is not noted."""
    policies = PERMIT_ALL + REDACT % ' @mode("shadow")'
    with Gateway(configuration(upstream.base_url, policies=policies)) as gateway:
        ask(gateway, "POST", CHAT, chat_body("nothing here [[tokens=5]]"))
        ask(gateway, "POST", CHAT, chat_body(f"my SSN is {SSN} [[tokens=5]]"))
        for stream in (False, True):
            said = ask(gateway, "POST", CHAT, chat_body(LEAK, stream=stream))
            assert b"[SSN:" not in said.body
            gateway.settled()
        found = [
            (entry["type"], each["would"], each["message"])
            for entry in gateway.entries()
            for each in entry.get("shadow", ())
        ]
        leaked = ("settlement", "redact", "2 dob, 2 email, 2 phone, 2 ssn")
        assert [("decision", "redact", "1 ssn"), leaked, leaked] == found
        rows = gateway.query("select rule, would from shadow_finding")
        assert [("no-phi", "redact")] * 3 == [(row["rule"], row["would"]) for row in rows]
        enforced = configuration(upstream.base_url, policies=PERMIT_ALL + REDACT % "")
        for name, text in enforced.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        assert [] == replayed(gateway, str(tmp_path))["changes"]
