import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai import OpenAI
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from aegis_gateway.demo.upstream.process import KEY, UpstreamProcess

WAIT_SECONDS = 10.0

# 40 characters with its directives, or padded to it: a quarter of them is 10 tokens.
SIZE = 40

# One request of each API, by path, with its headers beside the key's; `{}` is where a text goes.
OPENAI = {"authorization": f"Bearer {KEY}"}
CLAUDE = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
GOOGLE = {"x-goog-api-key": KEY}
APIS: dict[str, tuple[str, dict[str, str], str]] = {
    "chat": (
        "/v1/chat/completions",
        OPENAI,
        '{"model": "gpt-4o", "messages": [{"role": "user", "content": "TEXT"}]STREAM}',
    ),
    "azure": (
        "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        {"api-key": KEY},
        '{"messages": [{"role": "user", "content": "TEXT"}]STREAM}',
    ),
    "responses": ("/v1/responses", OPENAI, '{"model": "gpt-4o", "input": "TEXT"STREAM}'),
    "messages": (
        "/v1/messages",
        CLAUDE,
        '{"model": "claude-haiku-4-5", "max_tokens": 90, "messages": [{"role": "user", "content": "TEXT"}]STREAM}',
    ),
    "gemini": (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        GOOGLE,
        '{"contents": [{"role": "user", "parts": [{"text": "TEXT"}]}]}',
    ),
    "embeddings": ("/v1/embeddings", OPENAI, '{"model": "text-embedding-3-small", "input": "TEXT"}'),
}
GEMINI_STREAMS = {
    "gemini": "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    "gemini-array": "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
}
STREAMS = ["chat", "azure", "responses", "messages", "gemini", "gemini-array"]


@pytest.fixture(scope="module")
def running() -> Iterator[UpstreamProcess]:
    """One upstream for the whole module."""
    with UpstreamProcess(apps="provider") as process:
        yield process


@pytest.fixture
def upstream(running: UpstreamProcess) -> UpstreamProcess:
    """The upstream with an empty bill."""
    running.reset()
    return running


@pytest.fixture
def client(upstream: UpstreamProcess) -> Iterator[OpenAI]:
    """OpenAI's client, without retries."""
    with OpenAI(base_url=f"{upstream.base_url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def padded(text: str) -> str:
    """The text with dots, up to the size whose tokens are known."""
    assert len(text) <= SIZE
    return text.ljust(SIZE, ".")


def bill_of(upstream: UpstreamProcess) -> list[tuple[str, str, int]]:
    """Each charge: API, model, nano-USD."""
    return [(each["operation"], each["model"], each["nano_usd"]) for each in upstream.charges()]


def post(upstream: UpstreamProcess, path: str, body: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
    """One request by the standard library: status, headers and body."""
    connection = http.client.HTTPConnection(upstream.base_url.removeprefix("http://"), timeout=WAIT_SECONDS)
    try:
        connection.request("POST", path, body.encode(), {"X-Agent": "clerk", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def ask(upstream: UpstreamProcess, api: str, text: str, *, stream: bool = False) -> tuple[int, Any, bytes]:
    """One request of an API with a text."""
    path, headers, body = APIS[api.removesuffix("-array")]
    if stream:
        path = GEMINI_STREAMS.get(api, path)
    body = body.replace("TEXT", text).replace("STREAM", ', "stream": true' if stream else "")
    return post(upstream, path, body, headers)


SHAPES: dict[str, tuple[Any, Any]] = {
    "chat": (ChatCompletion, ChatCompletionChunk),
    "azure": (ChatCompletion, ChatCompletionChunk),
    "responses": (Response, ResponseStreamEvent),
    "messages": (Message, RawMessageStreamEvent),
    "gemini": (GenerateContentResponse, GenerateContentResponse),
    "embeddings": (CreateEmbeddingResponse, None),
}


@pytest.mark.parametrize("api", APIS)
def test_answers_have_the_published_shape(upstream: UpstreamProcess, api: str) -> None:
    """The real clients' own types, which the clients don't enforce, accept every answer and event."""
    text = "[[tokens=9]] [[reasoning=3]] [[cached=2]]"
    whole, event = SHAPES[api]
    TypeAdapter(whole).validate_json(ask(upstream, api, text)[2])
    if event is not None:
        lines = ask(upstream, api, text, stream=True)[2].splitlines()
        events = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: {")]
        assert 7 <= len(events)
        # Azure's first event and Anthropic's pings stand outside of their clients' types.
        checked = [each for each in events if b'"ping"' not in each and b'"id":""' not in each]
        for each in checked:
            TypeAdapter(event).validate_json(each)


@pytest.mark.parametrize("api", APIS)
def test_fail_says_when_to_retry(upstream: UpstreamProcess, api: str) -> None:
    """`fail` and `retry_after` make an error in the API's form; nothing is billed."""
    status, headers, body = ask(upstream, api, "[[fail=429]] [[retry_after=7]]")
    plain = ask(upstream, api, "[[fail=500]]")

    assert (429, "7") == (status, headers["retry-after"])
    assert "error" in json.loads(body)
    assert (500, None) == (plain[0], plain[1]["retry-after"])
    assert (0, 2) == (upstream.bill()["requests"], upstream.bill()["arrived"])


@pytest.mark.parametrize("api", APIS)
def test_unknown_directives_are_refused(upstream: UpstreamProcess, api: str) -> None:
    """A typing error isn't passed over."""
    status, _, body = ask(upstream, api, "[[serches=1]]")

    assert (400, True) == (status, b"serches" in body)


@pytest.mark.parametrize("api", APIS)
def test_hang_never_answers(upstream: UpstreamProcess, api: str) -> None:
    """`hang` sends nothing, not even headers, and bills nothing."""
    path, headers, body = APIS[api]
    connection = http.client.HTTPConnection(upstream.base_url.removeprefix("http://"), timeout=0.3)
    connection.request("POST", path, body.replace("TEXT", "[[hang]]").replace("STREAM", ""), headers)

    with pytest.raises(TimeoutError):
        connection.getresponse()

    connection.close()
    assert (0, 1) == (upstream.bill()["requests"], upstream.bill()["arrived"])


@pytest.mark.parametrize("api", APIS)
def test_usage_is_missing_or_zero(upstream: UpstreamProcess, api: str) -> None:
    """`missing` is billed and not reported; `zero` is reported and billed as nothing."""
    _, _, missing = ask(upstream, api, "[[usage=missing]] [[tokens=3]]")
    _, _, zero = ask(upstream, api, "[[usage=zero]] [[tokens=3]]")

    name = "usageMetadata" if api == "gemini" else "usage"
    assert json.loads(missing).get(name) is None
    counts = [count for count in json.loads(zero)[name].values() if isinstance(count, int)]
    assert 0 < len(counts)
    assert {0} == set(counts)
    billed, free = (cost for *_, cost in bill_of(upstream))
    assert billed > free == 0


@pytest.mark.parametrize("stream", [False, True])
def test_over_exceeds_the_limit(upstream: UpstreamProcess, stream: bool) -> None:
    """`over` bills and reports that many tokens above the caller's limit."""
    ask(upstream, "messages", "[[over=7]]", stream=stream)
    _, headers, _ = APIS["gemini"]
    path = GEMINI_STREAMS["gemini"] if stream else APIS["gemini"][0]
    turns = [{"parts": [{"text": "[[over=7]] [[reasoning=3]]"}]}]
    limited = json.dumps({"contents": turns, "generationConfig": {"maxOutputTokens": 20}})
    _, _, body = post(upstream, path, limited, headers)

    assert [90 + 7, 20 + 7] == [each["quantities"]["completion_tokens"] for each in upstream.charges()]
    usage = json.loads(body.strip().rpartition(b"data: ")[2])["usageMetadata"]
    assert (3, 24) == (usage["thoughtsTokenCount"], usage["candidatesTokenCount"])


@pytest.mark.parametrize("api", STREAMS)
def test_streams_go_silent(upstream: UpstreamProcess, api: str) -> None:
    """`hang_after` keeps the connection and sends no more; all of it was billed before."""
    path, headers, body = APIS[api.removesuffix("-array")]
    text = "[[hang_after=2]] [[tokens=50]] [[reasoning=0]]"
    connection = http.client.HTTPConnection(upstream.base_url.removeprefix("http://"), timeout=0.3)
    asked = body.replace("TEXT", text).replace("STREAM", ', "stream": true')
    connection.request("POST", GEMINI_STREAMS.get(api, path), asked, headers)
    answer = connection.getresponse()

    with pytest.raises(TimeoutError):
        answer.read()

    answer.close()
    connection.close()
    assert [50] == [each["quantities"]["completion_tokens"] for each in upstream.charges()]


@pytest.mark.parametrize("api", APIS)
def test_delay_comes_after_the_bill(upstream: UpstreamProcess, api: str) -> None:
    """`delay_ms` holds the answer back."""
    began = time.monotonic()

    ask(upstream, api, "[[delay_ms=50]]")

    assert 0.05 <= time.monotonic() - began
    assert 1 == upstream.bill()["requests"]


@pytest.mark.parametrize("api", APIS)
def test_garbage_is_billed(upstream: UpstreamProcess, api: str) -> None:
    """A 200 whose body isn't JSON costs what the answer would have."""
    good = ask(upstream, api, padded("[[tokens=3]]"))
    status, headers, body = ask(upstream, api, padded("[[garbage]][[tokens=3]]"))

    assert (good[0], good[1]["content-type"]) == (status, headers["content-type"])
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(body)
    costs = [cost for *_, cost in bill_of(upstream)]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("api", STREAMS)
def test_garbage_in_a_stream(upstream: UpstreamProcess, api: str) -> None:
    """A stream without an event in it is billed."""
    status, _, body = ask(upstream, api, "[[garbage]]", stream=True)

    assert (200, False) == (status, b"data:" in body or body.startswith(b"["))
    assert 1 == upstream.bill()["requests"]


@pytest.mark.parametrize("api", APIS)
def test_drip_sends_byte_by_byte(upstream: UpstreamProcess, api: str) -> None:
    """A dripping body is the same body, `drip_ms` to the byte."""
    text = "[[drip_ms=1]][[garbage]]"
    began = time.monotonic()

    _, _, body = ask(upstream, api, text)

    assert len(body) / 1000 <= time.monotonic() - began
    assert body.endswith(b"</p>\n\n")


def test_drip_in_a_stream(upstream: UpstreamProcess, client: OpenAI) -> None:
    """Events are whole again once all their bytes have come."""
    events: list[Any] = list(
        client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "[[drip_ms=1]] [[tokens=1]]"}],
            stream=True,
        )
    )

    assert 3 == len(events)


@pytest.mark.parametrize("api", STREAMS)
def test_streams_are_cut(upstream: UpstreamProcess, api: str) -> None:
    """`break_after` ends the body, `reset_after` loses the connection; all of it is billed."""
    _, _, broken = ask(upstream, api, "[[break_after=3]] [[tokens=50]] [[reasoning=0]]", stream=True)
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(upstream, api, "[[reset_after=3]] [[tokens=50]] [[reasoning=0]]", stream=True)

    mark = b'"candidates"' if api == "gemini-array" else b"data: "
    assert 3 == broken.count(mark) == cut.value.partial.count(mark)
    assert [50, 50] == [each["quantities"]["completion_tokens"] for each in upstream.charges()]


@pytest.mark.parametrize("api", STREAMS)
def test_errors_in_streams(upstream: UpstreamProcess, api: str) -> None:
    """`error_after` sends the API's own error as the last event; all of it is billed."""
    _, _, body = ask(upstream, api, "[[error_after=2]] [[tokens=50]]", stream=True)

    data = body.strip().rpartition(b"data: ")[2]
    last = json.loads(body)[-1] if api == "gemini-array" else json.loads(data)
    assert "error" in last or "failed" == last["response"]["status"]
    assert 50 == upstream.charges()[0]["quantities"]["completion_tokens"]


@pytest.mark.parametrize("api", ["responses", "messages", "gemini"])
def test_prompts_are_bounded_by_bytes(upstream: UpstreamProcess, api: str) -> None:
    """Whatever the directives say, the prompt's tokens never exceed the body's bytes."""
    text = "[[cached=1000000]] [[written=1000000]] [[written_1h=1000000]] [[tool_tokens=1000000]]"
    ask(upstream, api, text)
    path, headers, body = APIS[api]
    shout = body.replace("TEXT", text).replace("STREAM", "")
    shout = shout[:-1] + ', "tools": [{"type": "web_search"}]}'
    post(upstream, path, shout, headers)

    plain, with_tools = (each["quantities"] for each in upstream.charges())
    size = len(body.replace("TEXT", text).replace("STREAM", ""))
    assert 0 < plain["prompt_tokens"] <= size
    assert with_tools["prompt_tokens"] + with_tools.get("tool_prompt_tokens", 0) <= len(shout)
    parts = ("cached_tokens", "cache_write_tokens", "cache_write_1h_tokens")
    assert sum(plain.get(part, 0) for part in parts) <= plain["prompt_tokens"]
