import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from aegis_gateway.demo.upstream.process import KEY, UpstreamProcess

WAIT_SECONDS = 10.0

# 40 characters with its directives, or padded to it: a quarter of them is 10 tokens.
SIZE = 40

GOOGLE_SEARCH = 35_000_000
GOOGLE = {"x-goog-api-key": KEY}
MODEL = "/v1beta/models/gemini-2.5-flash"


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
def gemini(upstream: UpstreamProcess) -> Iterator[genai.Client]:
    """Google's client."""
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=upstream.base_url))
    yield client
    client.close()


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


def test_gemini_is_billed_by_hand(upstream: UpstreamProcess, gemini: genai.Client) -> None:
    """3 + 3 + 15 tokens in: 4 cached, 5 audio, 12 text; 20 out, of which 8 thoughts."""
    text = "[[tokens=20]][[reasoning=8]][[cached=4]][[audio_in=5]]".ljust(60, ".")

    answer = gemini.models.generate_content(model="gemini-2.5-flash", contents=text)

    usage = answer.usage_metadata
    assert usage is not None
    assert (21, 4, 12, 8, 41) == (
        usage.prompt_token_count,
        usage.cached_content_token_count,
        usage.candidates_token_count,
        usage.thoughts_token_count,
        usage.total_token_count,
    )
    assert usage.prompt_tokens_details is not None
    assert {"TEXT": 16, "AUDIO": 5} == {
        each.modality.value: each.token_count for each in usage.prompt_tokens_details if each.modality
    }
    assert usage.tool_use_prompt_token_count is None
    assert answer.text is not None
    assert 12 == len(answer.text.split())
    assert "gemini-2.5-flash" == answer.model_version
    cost = 12 * 300 + 5 * 1_000 + 4 * 30 + 20 * 2_500
    assert [("generateContent", "gemini-2.5-flash", cost)] == bill_of(upstream)


def test_gemini_candidates_and_limit(upstream: UpstreamProcess, gemini: genai.Client) -> None:
    """Each of three candidates stops at the limit; tokens of tool results are input too."""
    answer = gemini.models.generate_content(
        model="gemini-2.5-pro",
        contents="[[tokens=50]] [[reasoning=0]] [[tool_tokens=9]]",
        config=types.GenerateContentConfig(
            max_output_tokens=10,
            candidate_count=3,
            system_instruction="Be brief.",
            tools=[types.Tool(google_search=types.GoogleSearch())],
        ),
    )

    assert answer.candidates is not None
    assert ["MAX_TOKENS"] * 3 == [
        each.finish_reason.value for each in answer.candidates if each.finish_reason
    ]
    usage = answer.usage_metadata
    assert usage is not None
    assert (30, 9) == (usage.candidates_token_count, usage.tool_use_prompt_token_count)
    prompt = usage.prompt_token_count
    assert prompt is not None
    assert prompt + 9 + 30 == usage.total_token_count
    assert [("generateContent", "gemini-2.5-pro", (prompt + 9) * 1_250 + 30 * 10_000)] == bill_of(upstream)


def test_a_gemini_stream_says_the_same(upstream: UpstreamProcess, gemini: genai.Client) -> None:
    """Usage on its chunks is cumulative and ends at the whole; so it does in an array of JSON."""
    text = "[[tokens=9]] [[reasoning=4]]"
    whole = gemini.models.generate_content(model="gemini-2.5-flash", contents=text)
    chunks = list(gemini.models.generate_content_stream(model="gemini-2.5-flash", contents=text))
    body = json.dumps({"contents": [{"role": "user", "parts": [{"text": text}]}]})
    _, headers, raw = post(upstream, f"{MODEL}:streamGenerateContent", body, GOOGLE)

    def candidates(chunk: types.GenerateContentResponse) -> int | None:
        assert chunk.usage_metadata is not None
        return chunk.usage_metadata.candidates_token_count

    assert [1, 2, 3, 4, 5, 5] == [candidates(chunk) for chunk in chunks]
    assert whole.text == "".join(chunk.text or "" for chunk in chunks)
    assert whole.usage_metadata == chunks[-1].usage_metadata
    elements = json.loads(raw)
    assert headers["content-type"].startswith("application/json")
    assert [1, 2, 3, 4, 5, 5] == [each["usageMetadata"]["candidatesTokenCount"] for each in elements]
    costs = [cost for *_, cost in bill_of(upstream)]
    assert costs[0] == costs[1] == costs[2]


def test_gemini_searches(upstream: UpstreamProcess, gemini: genai.Client) -> None:
    """Each query of a grounded answer is billed; the tool has two spellings, and is off by default."""
    config = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())])
    text = "[[searches=2]] [[tokens=1]]"

    answer = gemini.models.generate_content(model="gemini-2.5-flash", contents=text, config=config)
    off = gemini.models.generate_content(model="gemini-2.5-flash", contents=text)
    body = (
        '{"contents": [{"parts": [{"text": "[[searches=1]] [[tokens=9]]"}]}], "tools": [{"google_search": {}}], '
        '"generation_config": {"max_output_tokens": 3}}'
    )
    _, _, snake = post(upstream, f"{MODEL}:generateContent?key={KEY}", body, {})

    assert answer.candidates is not None
    assert answer.candidates[0].grounding_metadata is not None
    assert 2 == len(answer.candidates[0].grounding_metadata.web_search_queries or ())
    assert off.candidates is not None
    assert off.candidates[0].grounding_metadata is None
    in_snake = json.loads(snake)
    assert 1 == len(in_snake["candidates"][0]["groundingMetadata"]["webSearchQueries"])
    prompts = [
        answer.usage_metadata and answer.usage_metadata.prompt_token_count,
        off.usage_metadata and off.usage_metadata.prompt_token_count,
        in_snake["usageMetadata"]["promptTokenCount"],
    ]
    assert [
        prompts[0] * 300 + 2_500 + 2 * GOOGLE_SEARCH,
        prompts[1] * 300 + 2_500,
        prompts[2] * 300 + 3 * 2_500 + GOOGLE_SEARCH,
    ] == [cost for *_, cost in bill_of(upstream)]


def test_counting_is_free(upstream: UpstreamProcess, gemini: genai.Client) -> None:
    """The count is what a call would report, costs nothing, and is on the bill."""
    counted = gemini.models.count_tokens(model="gemini-2.5-flash", contents=padded("x"))

    assert 3 + 3 + 10 == counted.total_tokens
    assert [("countTokens", "gemini-2.5-flash", 0)] == bill_of(upstream)


def test_geminis_refusals(upstream: UpstreamProcess, gemini: genai.Client) -> None:
    """Errors have Google's form, in an array where the answer would be one; nothing is billed."""
    with pytest.raises(genai_errors.ClientError) as no_model:
        gemini.models.generate_content(model="gemini-9", contents="x")
    assert (404, "NOT_FOUND") == (no_model.value.code, no_model.value.status)
    with pytest.raises(genai_errors.ClientError) as too_many:
        gemini.models.generate_content(
            model="gemini-2.5-pro",
            contents="x",
            config=types.GenerateContentConfig(max_output_tokens=1_000_000),
        )
    assert (400, "INVALID_ARGUMENT") == (too_many.value.code, too_many.value.status)
    with pytest.raises(genai_errors.ServerError) as failed:
        gemini.models.generate_content(model="gemini-2.5-pro", contents="[[fail=503]]")
    assert "UNAVAILABLE" == failed.value.status
    path = f"{MODEL}:generateContent"
    assert 403 == post(upstream, path, "{}", {})[0]
    assert 400 == post(upstream, path, "{}", {"x-goog-api-key": "somebody"})[0]
    assert 400 == post(upstream, path, '{"contents": []}', GOOGLE)[0]
    assert 400 == post(upstream, path, '{"contents": 1}', GOOGLE)[0]
    status, _, body = post(upstream, f"{MODEL}:streamGenerateContent", "{", GOOGLE)
    assert (400, "INVALID_ARGUMENT") == (status, json.loads(body)[0]["error"]["status"])
    assert 0 == upstream.bill()["requests"]


def test_async_gemini(upstream: UpstreamProcess) -> None:
    """The asynchronous client reads a stream."""

    async def read() -> list[types.GenerateContentResponse]:
        client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=upstream.base_url))
        stream = await client.aio.models.generate_content_stream(
            model="gemini-2.5-flash", contents="[[tokens=5]] [[reasoning=0]]"
        )
        chunks = [chunk async for chunk in stream]
        await client.aio.aclose()
        client.close()
        return chunks

    chunks = asyncio.run(read())

    assert 6 == len(chunks)
