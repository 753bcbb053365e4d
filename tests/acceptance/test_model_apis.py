"""Every model API by its official client: only the address and the key are changed, and the bill is the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import Gateway, ask, assert_books_balance, configuration, happening

pytestmark = [
    pytest.mark.xdist_group("model-apis"),
    # Anthropic's client warns of models that will be retired; their prices are published until then.
    pytest.mark.filterwarnings("ignore:The model 'claude-:DeprecationWarning"),
]

CLAUDE = "claude-sonnet-4-5"
GEMINI = "gemini-2.5-flash"
EMBED = "text-embedding-3-small"

POLICIES = """
@id("all-may") permit(principal, action, resource);
@id("no-searching") @reason("this agent may not search the web")
forbid(principal == Agent::"banned", action == Action::"web_search", resource);
@id("no-models") @reason("this agent may not use models")
forbid(principal == Agent::"barred", action, resource);
"""

HOSTED = (
    "max_input_tokens: 200000, "
    "hosted_tools: {web_search: {max_calls: 5}, hosted_mcp: {price_per_call: 0, max_calls: 5}"
)
MODELS = {
    "gpt-4o-mini": f"connector: provider, {HOSTED}, file_search: {{max_calls: 5}}, "
    "code_execution: {price_per_call: 0.03, max_calls: 5}}",
    "gpt-6-luna": "connector: provider",
    "gpt-audio": "connector: provider, max_input_tokens: 100000",
    EMBED: "connector: provider",
    CLAUDE: f"connector: claude, {HOSTED}}}",
    GEMINI: f"connector: google, {HOSTED}}}",
    "at-azure": "connector: azure, upstream: gpt-4.1",
}

SHORT = genai_types.GenerateContentConfig(max_output_tokens=300)

Speak = Callable[[str, str, str], Any]
"""Says something by an API's client, at an address, with a key; gives what was answered."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway to all of the provider's APIs."""
    files = configuration(
        upstream.base_url,
        agents=("bot", "poor", "banned", "barred"),
        budgets={
            "plenty": "limit: 1000.00, period: monthly",
            "nothing": "limit: 0.000001, period: yearly",
        },
        agent_budgets={"poor": "nothing"},
        policies=POLICIES,
        models=MODELS,
    )
    with Gateway(files) as gateway:
        yield gateway
        assert_books_balance(gateway)


def openai_at(url: str, key: str) -> OpenAI:
    """OpenAI's client, with all its defaults."""
    return OpenAI(base_url=f"{url}/v1", api_key=key)


def google_at(url: str, key: str) -> genai.Client:
    """Google's client, with all its defaults."""
    return genai.Client(api_key=key, http_options=genai_types.HttpOptions(base_url=url))


def chat(url: str, key: str, text: str) -> Any:
    """A chat completion."""
    with openai_at(url, key) as client:
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": text}], max_completion_tokens=300
        )
    return answer.choices, answer.usage


def responses(url: str, key: str, text: str) -> Any:
    """A response."""
    with openai_at(url, key) as client:
        answer = client.responses.create(model="gpt-4o-mini", input=text, max_output_tokens=300)
    return answer.output_text, answer.usage


def responses_stream(url: str, key: str, text: str) -> Any:
    """A response in events."""
    with openai_at(url, key) as client:
        events = list(
            client.responses.create(model="gpt-4o-mini", input=text, max_output_tokens=300, stream=True)
        )
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    return [event.type for event in events], last.response.output_text, last.response.usage


def embeddings(url: str, key: str, text: str) -> Any:
    """Embeddings."""
    with openai_at(url, key) as client:
        answer = client.embeddings.create(model=EMBED, input=[text, "more"])
    return [each.embedding for each in answer.data], answer.usage


def messages(url: str, key: str, text: str) -> Any:
    """A message."""
    with Anthropic(base_url=url, api_key=key) as client:
        answer = client.messages.create(
            model=CLAUDE, max_tokens=300, messages=[{"role": "user", "content": text}]
        )
    return answer.content, answer.usage, answer.stop_reason


def messages_stream(url: str, key: str, text: str) -> Any:
    """A message in events, put together by the client."""
    with (
        Anthropic(base_url=url, api_key=key) as client,
        client.messages.stream(
            model=CLAUDE, max_tokens=300, messages=[{"role": "user", "content": text}]
        ) as stream,
    ):
        words = list(stream.text_stream)
        answer = stream.get_final_message()
    return words, answer.content, answer.usage


def messages_events(url: str, key: str, text: str) -> Any:
    """A message in events, as they stand."""
    said: Any = [{"role": "user", "content": text}]
    with Anthropic(base_url=url, api_key=key) as client:
        return list(client.messages.create(model=CLAUDE, max_tokens=300, messages=said, stream=True))


def count_tokens(url: str, key: str, text: str) -> Any:
    """The tokens of a message."""
    with Anthropic(base_url=url, api_key=key) as client:
        return client.messages.count_tokens(model=CLAUDE, messages=[{"role": "user", "content": text}])


def generate(url: str, key: str, text: str) -> Any:
    """Content."""
    with google_at(url, key) as client:
        answer = client.models.generate_content(model=GEMINI, contents=text, config=SHORT)
    return answer.text, answer.usage_metadata


def generate_stream(url: str, key: str, text: str) -> Any:
    """Content in chunks."""
    with google_at(url, key) as client:
        chunks = client.models.generate_content_stream(model=GEMINI, contents=text, config=SHORT)
        return [(chunk.text, chunk.usage_metadata) for chunk in chunks]


def google_counts(url: str, key: str, text: str) -> Any:
    """The tokens of some content."""
    with google_at(url, key) as client:
        return client.models.count_tokens(model=GEMINI, contents=text).total_tokens


PAID: list[Speak] = [
    chat,
    responses,
    responses_stream,
    embeddings,
    messages,
    messages_stream,
    generate,
    generate_stream,
]
FREE: list[Speak] = [count_tokens, google_counts]


@pytest.mark.parametrize("speak", PAID)
def test_answers_are_the_providers(upstream: UpstreamProcess, gateway: Gateway, speak: Speak) -> None:
    """Through the gateway a client reads what the provider says, and is charged what the provider bills."""
    text = "Which invoice is due first? [[tokens=40]]"
    expected = speak(upstream.base_url, UPSTREAM_KEY, text)
    with happening(gateway, upstream) as happened:
        actual = speak(gateway.url, gateway.key(), text)
    assert expected == actual
    assert (1, 1) == (happened.arrived, happened.decided)
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


@pytest.mark.parametrize("speak", FREE)
def test_counting_is_free(upstream: UpstreamProcess, gateway: Gateway, speak: Speak) -> None:
    """To count tokens costs nothing; it is decided and recorded all the same."""
    expected = speak(upstream.base_url, UPSTREAM_KEY, "How long is this?")
    with happening(gateway, upstream) as happened:
        actual = speak(gateway.url, gateway.key(), "How long is this?")
    assert expected == actual
    assert (1, 1, 0) == (happened.arrived, happened.decided, happened.charged_nano_usd)
    assert "settled" == gateway.last_call()["state"]
    assert "count-tokens" == gateway.last_call()["tool"]


@pytest.mark.parametrize("speak", [*PAID, *FREE])
def test_a_refusal_is_the_clients_own_error(
    upstream: UpstreamProcess, gateway: Gateway, speak: Speak
) -> None:
    """A denial reaches the caller as its client's typed error, in the policy's words, after one attempt."""
    with happening(gateway, upstream) as happened, pytest.raises(denials()) as caught:
        speak(gateway.url, gateway.key("barred"), "hi")
    assert 403 == status_of(caught.value)
    assert "this agent may not use models" in str(caught.value)
    assert (0, 1) == (happened.arrived, happened.decided)


@pytest.mark.parametrize("speak", PAID)
def test_a_budget_that_is_used_up(upstream: UpstreamProcess, gateway: Gateway, speak: Speak) -> None:
    """The want of money is 402 in every API, after one attempt, and names the budget's owner."""
    with happening(gateway, upstream) as happened, pytest.raises(denials()) as caught:
        speak(gateway.url, gateway.key("poor"), "hi")
    assert 402 == status_of(caught.value)
    assert "ana@acme.example" in str(caught.value)
    assert (0, 1) == (happened.arrived, happened.decided)


@pytest.mark.parametrize("speak", [*PAID, *FREE])
def test_an_unknown_key(gateway: Gateway, speak: Speak) -> None:
    """It is each client's authentication error."""
    with pytest.raises(denials()) as caught:
        speak(gateway.url, "aegis_live_nobody", "hi")
    assert 401 == status_of(caught.value)


def denials() -> tuple[type[Exception], ...]:
    """The clients' errors of an answer's status."""
    return openai.APIStatusError, anthropic.APIStatusError, genai_errors.APIError


def status_of(fault: Any) -> int:
    """The status that a client's error tells."""
    status: int = getattr(fault, "status_code", None) or fault.code
    return status


def test_the_typed_errors(gateway: Gateway) -> None:
    """Each client has a class of its own for money, policy and keys."""
    for speak, error in ((messages, anthropic.APIStatusError), (generate, genai_errors.ClientError)):
        with pytest.raises(error, match="budget `nothing`"):
            speak(gateway.url, gateway.key("poor"), "hi")
    with pytest.raises(anthropic.PermissionDeniedError):
        messages(gateway.url, gateway.key("barred"), "hi")
    with pytest.raises(openai.PermissionDeniedError):
        responses(gateway.url, gateway.key("barred"), "hi")


def test_asynchronous_clients(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Forty calls at once in four APIs, plain and streaming, come to what the provider bills."""

    async def all_at_once() -> list[Any]:
        async with (
            AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key()) as ours,
            AsyncAnthropic(base_url=gateway.url, api_key=gateway.key()) as claude,
            google_at(gateway.url, gateway.key()).aio as google,
        ):

            async def streamed(number: int) -> list[Any]:
                stream = await ours.responses.create(model="gpt-4o-mini", input=f"{number}?", stream=True)
                return [event async for event in stream]

            async def told(number: int) -> Any:
                said = [{"role": "user", "content": f"{number}?"}]
                async with claude.messages.stream(model=CLAUDE, max_tokens=90, messages=said) as stream:  # type: ignore[arg-type]  # a plain dictionary is one of the forms that the client takes
                    return await stream.get_final_message()

            async def generated(number: int) -> list[Any]:
                chunks = await google.models.generate_content_stream(model=GEMINI, contents=f"{number}?")
                return [chunk async for chunk in chunks]

            calls = [
                call
                for number in range(10)
                for call in (
                    streamed(number),
                    told(number),
                    generated(number),
                    ours.embeddings.create(model=EMBED, input=f"{number}?"),
                )
            ]
            return await asyncio.gather(*calls)

    with happening(gateway, upstream) as happened:
        answers = asyncio.run(all_at_once())
    assert 40 == len(answers) == happened.arrived == happened.decided
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_azure(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A deployment at Azure is called by OpenAI's client under a name of ours, and by Azure's client as it is."""
    with happening(gateway, upstream) as happened:
        with openai_at(gateway.url, gateway.key()) as client:
            plain = client.chat.completions.create(
                model="at-azure", messages=[{"role": "user", "content": "hi [[tokens=9]]"}]
            )
        with AzureOpenAI(
            azure_endpoint=gateway.url, api_key=gateway.key(), api_version="2024-10-21"
        ) as azure:
            chunks = list(
                azure.chat.completions.create(
                    model="at-azure",
                    messages=[{"role": "user", "content": "hi [[tokens=9]]"}],
                    stream=True,
                )
            )
    assert plain.choices[0].message.content == "".join(
        chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices
    )
    assert 2 == happened.arrived == happened.decided
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_lists_of_models(gateway: Gateway) -> None:
    """Each client lists the models in its own form."""
    with openai_at(gateway.url, gateway.key()) as client:
        assert set(MODELS) == {model.id for model in client.models.list()}
        assert CLAUDE == client.models.retrieve(CLAUDE).id
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nobody")
    with Anthropic(base_url=gateway.url, api_key=gateway.key()) as claude:
        assert set(MODELS) == {model.id for model in claude.models.list()}
        assert CLAUDE == claude.models.retrieve(CLAUDE).id
    with google_at(gateway.url, gateway.key()) as google:
        assert {f"models/{name}" for name in MODELS} == {model.name for model in google.models.list()}
        assert f"models/{GEMINI}" == google.models.get(model=GEMINI).name


def test_a_model_of_another_api(gateway: Gateway) -> None:
    """A model that speaks another API is refused in words that say so."""
    with openai_at(gateway.url, gateway.key()) as client, pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": "hi"}])
    assert "of kind `anthropic`" in str(caught.value)


@pytest.mark.parametrize(
    ("speak", "order"),
    [
        (chat, "[[tokens=50]][[cached=3]]"),
        (responses, "[[tokens=50]][[cached=3]]"),
        (messages, "[[tokens=50]][[cached=4]][[written=5]][[written_1h=6]]"),
        (messages_stream, "[[tokens=50]][[cached=4]][[written=5]][[written_1h=6]]"),
        (generate, "[[tokens=50]][[cached=4]][[audio_in=3]][[reasoning=20]]"),
        (generate_stream, "[[tokens=50]][[cached=4]][[audio_in=3]][[reasoning=20]]"),
        *((speak, "[[usage=zero]]") for speak in (chat, responses, responses_stream, messages, generate)),
    ],
)
def test_units_with_prices_of_their_own(
    upstream: UpstreamProcess, gateway: Gateway, speak: Speak, order: str
) -> None:
    """Cached, written, heard and thought: each at its own price, to the nano-dollar; an explicit zero is zero."""
    with happening(gateway, upstream) as happened:
        speak(gateway.url, gateway.key(), f"Compare the offers of all our suppliers, please. {order}")
    assert happened.billed_nano_usd == happened.charged_nano_usd
    assert ("zero" in order) == (happened.billed_nano_usd == 0)


def test_what_is_written_to_the_cache_by_responses(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """A model that charges for writing is charged for it."""
    with happening(gateway, upstream) as happened, openai_at(gateway.url, gateway.key()) as client:
        client.responses.create(
            model="gpt-6-luna", input="Remember this. [[written=5]][[cached=2]][[tokens=9]]"
        )
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_what_is_heard_and_said(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Audio passes untouched, both ways, and is charged as such."""
    with happening(gateway, upstream) as happened, openai_at(gateway.url, gateway.key()) as client:
        answer = client.chat.completions.create(
            model="gpt-audio",
            modalities=["text", "audio"],
            audio={"voice": "alloy", "format": "wav"},
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "input_audio", "input_audio": {"data": "AAAA" * 50, "format": "wav"}},
                        {"type": "text", "text": "What is said? [[audio_in=9]][[audio_out=7]][[tokens=20]]"},
                    ],
                }
            ],
        )
    assert answer.usage is not None
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0


def test_tools_that_the_provider_runs(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """They are charged by the call, beside the tokens."""
    order = "Look it up. [[searches=2]][[file_searches=1]][[code_runs=1]][[mcp_calls=1]][[tokens=9]]"
    tools: list[Any] = [
        {"type": "web_search"},
        {"type": "file_search", "vector_store_ids": ["v"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "mcp", "server_label": "erp", "server_url": "https://erp.example"},
    ]
    with happening(gateway, upstream) as happened, openai_at(gateway.url, gateway.key()) as client:
        client.responses.create(model="gpt-4o-mini", input=order, tools=tools, max_output_tokens=100)
    assert happened.billed_nano_usd == happened.charged_nano_usd > 2 * 10_000_000


@pytest.mark.parametrize("speak", ["responses", "messages", "gemini"])
def test_searching_is_judged_as_a_tool(upstream: UpstreamProcess, gateway: Gateway, speak: str) -> None:
    """An agent that may use a model but not search the web is refused when it turns the search on."""

    def search(key: str) -> None:
        text = "Who sells paper? [[searches=2]][[tokens=9]]"
        if speak == "responses":
            with openai_at(gateway.url, key) as client:
                client.responses.create(model="gpt-4o-mini", input=text, tools=[{"type": "web_search"}])
        elif speak == "messages":
            with Anthropic(base_url=gateway.url, api_key=key) as claude:
                claude.messages.create(
                    model=CLAUDE,
                    max_tokens=90,
                    messages=[{"role": "user", "content": text}],
                    tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
                )
        else:
            config = genai_types.GenerateContentConfig(
                tools=[genai_types.Tool(google_search=genai_types.GoogleSearch())]
            )
            with google_at(gateway.url, key) as google:
                google.models.generate_content(model=GEMINI, contents=text, config=config)

    with happening(gateway, upstream) as happened:
        search(gateway.key("bot"))
    assert happened.billed_nano_usd == happened.charged_nano_usd > 2 * 10_000_000
    with happening(gateway, upstream) as happened, pytest.raises(denials(), match="may not search the web"):
        search(gateway.key("banned"))
    assert (0, 1) == (happened.arrived, happened.decided)


def test_a_tool_that_nobody_priced(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """What has no price, and no bound, is refused and named; never $0."""
    with happening(gateway, upstream) as happened, openai_at(gateway.url, gateway.key()) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(model="gpt-6-luna", input="x", tools=[{"type": "web_search"}])
        with pytest.raises(openai.APIStatusError) as also:
            client.responses.create(model="gpt-4o-mini", input="x", tools=[{"type": "image_generation"}])
    assert [402, 402] == [status_of(caught.value), status_of(also.value)]
    assert "web_search" in str(caught.value)
    assert "tools[0]" in str(also.value)
    assert (0, 2) == (happened.arrived, happened.decided)


@pytest.mark.parametrize(
    "speak", [responses, responses_stream, messages, messages_events, generate, generate_stream]
)
def test_an_answer_without_usage_settles_at_the_maximum(
    upstream: UpstreamProcess, gateway: Gateway, speak: Speak
) -> None:
    """Missing usage is not zero: what was reserved is charged, and the record says why."""
    with happening(gateway, upstream) as happened:
        speak(gateway.url, gateway.key(), "hi [[usage=missing]][[tokens=9]]")
    call = gateway.last_call()
    assert call["maximum_nano_usd"] == call["cost_nano_usd"] == happened.charged_nano_usd
    assert happened.billed_nano_usd < happened.charged_nano_usd
    assert "has no usage" in gateway.entries()[-1]["note"]


@pytest.mark.parametrize(
    ("path", "body", "broken"),
    [
        (
            "/v1/chat/completions",
            {"model": "gpt-4o-mini", "stream": True, "messages": "SAID"},
            b'"upstream_failed"',
        ),
        ("/v1/responses", {"model": "gpt-4o-mini", "stream": True, "input": "TEXT"}, b'"upstream_failed"'),
        (
            "/v1/messages",
            {"model": CLAUDE, "max_tokens": 90, "stream": True, "messages": "SAID"},
            b"event: error",
        ),
        (
            f"/v1beta/models/{GEMINI}:streamGenerateContent?alt=sse",
            {"contents": [{"parts": [{"text": "TEXT"}]}]},
            b'"UNAVAILABLE"',
        ),
    ],
)
@pytest.mark.parametrize("order", ["break_after=2", "reset_after=2", "error_after=2", "garbage"])
def test_a_stream_that_breaks_off_is_in_doubt(
    upstream: UpstreamProcess, gateway: Gateway, path: str, body: Any, broken: bytes, order: str
) -> None:
    """Without its end a stream is told as broken in its API's form, and counts at its maximum."""
    text = f"hi [[tokens=9]][[{order}]]"
    written = (
        json.dumps(body).replace('"SAID"', '[{"role": "user", "content": "TEXT"}]').replace("TEXT", text)
    )
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", path, written.encode(), headers={"anthropic-version": "2023-06-01"})
    failed = (
        order == "error_after=2" and path == "/v1/responses"
    )  # its own terminal event says so, without usage
    assert 200 == answer.status
    assert failed or broken in answer.body
    call = gateway.settled()
    assert ("settled" if failed else "in_doubt") == call["state"]
    assert call["maximum_nano_usd"] >= happened.billed_nano_usd


def test_a_stream_in_an_array(upstream: UpstreamProcess, gateway: Gateway) -> None:
    """Google's other form of streams is passed on as it is, and counted by its last element."""
    body = {"contents": [{"parts": [{"text": "hi [[tokens=9]]"}]}]}
    path = f"/v1beta/models/{GEMINI}:streamGenerateContent"
    with happening(gateway, upstream) as happened:
        answer = ask(gateway, "POST", path, json.dumps(body).encode())
    assert 200 == answer.status
    assert "STOP" == json.loads(answer.body)[-1]["candidates"][0]["finishReason"]
    assert happened.billed_nano_usd == happened.charged_nano_usd > 0
