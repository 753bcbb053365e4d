import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from aegis_gateway.demo.upstream.process import KEY, UpstreamNotStarted, UpstreamProcess

# $ per million tokens as OpenAI lists them: input, cached input, output.
PRICES = {
    "gpt-4o": ("2.50", "1.25", "10.00"),
    "gpt-4o-mini": ("0.15", "0.075", "0.60"),
    "gpt-4.1": ("2.00", "0.50", "8.00"),
    "gpt-4.1-mini": ("0.40", "0.10", "1.60"),
    "gpt-4.1-nano": ("0.10", "0.025", "0.40"),
    "gpt-5-mini": ("0.25", "0.025", "2.00"),
}

REQUESTS: list[dict[str, Any]] = [
    {"model": "gpt-4o", "text": "Which invoice is due first?"},
    {"model": "gpt-4o-2024-08-06", "text": "[[tokens=400]]", "max_tokens": 300},
    {"model": "gpt-4o-mini", "text": "A long question. " * 50 + "[[cached=64]]", "user": "buyer"},
    {"model": "gpt-4o-mini", "text": "Three answers", "n": 3, "max_completion_tokens": 40},
    {"model": "gpt-4.1", "text": "[[tokens=1]] [[cached=1000000]]"},
    {"model": "gpt-4.1-mini", "text": "[[over=100]]", "max_tokens": 10},
    {"model": "gpt-4.1-nano", "text": "Größe in €?", "max_tokens": 1},
    {"model": "gpt-5-mini", "text": "Think it over.", "user": "planner"},
    {"model": "gpt-5-mini", "text": "[[tokens=200]] [[reasoning=150]]", "max_completion_tokens": 160},
    {"model": "gpt-4o", "text": "[[usage=zero]]"},
]

WAIT_SECONDS = 10.0


@pytest.fixture(scope="module")
def running() -> Iterator[UpstreamProcess]:
    """One upstream for the whole module, with two keys."""
    with UpstreamProcess(keys=(KEY, "sk-upstream-demo-0002")) as process:
        yield process


@pytest.fixture
def upstream(running: UpstreamProcess) -> UpstreamProcess:
    """The upstream with an empty bill."""
    running.reset()
    return running


@pytest.fixture
def client(upstream: UpstreamProcess) -> Iterator[OpenAI]:
    """The official client, without retries."""
    with OpenAI(base_url=f"{upstream.base_url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def cost_nano_usd(model: str, usage: Any) -> int:
    """A reported usage at the listed prices, in nano-USD."""
    alias = next(name for name in sorted(PRICES, key=len, reverse=True) if model.startswith(name))
    fresh, cached, out = (Decimal(price) * 1000 for price in PRICES[alias])
    hits = usage.prompt_tokens_details.cached_tokens
    cost = (usage.prompt_tokens - hits) * fresh + hits * cached + usage.completion_tokens * out
    assert cost == int(cost)
    return int(cost)


def asked(request: dict[str, Any]) -> dict[str, Any]:
    """A row of the table as the client's arguments."""
    rest = {name: value for name, value in request.items() if name != "text"}
    return {**rest, "messages": [{"role": "user", "content": request["text"]}]}


def ask(client: OpenAI, text: str, **rest: Any) -> Any:
    """One completion of gpt-4o-mini."""
    return client.chat.completions.create(**asked({"model": "gpt-4o-mini", "text": text, **rest}))


def call(
    upstream: UpstreamProcess, method: str, path: str, body: object = None, key: str | None = KEY
) -> tuple[int, Any]:
    """One request of the agent `clerk` by the standard library: status and decoded body."""
    connection = http.client.HTTPConnection(upstream.base_url.removeprefix("http://"), timeout=WAIT_SECONDS)
    try:
        headers = {"X-Agent": "clerk"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition didn't come true in time"
        time.sleep(0.01)


def test_bill_is_usage_times_price(upstream: UpstreamProcess, client: OpenAI) -> None:
    """For a table of requests the bill is what the reported usage costs at the listed prices."""
    answers = [client.chat.completions.create(**asked(request)) for request in REQUESTS]

    costs = [cost_nano_usd(answer.model, answer.usage) for answer in answers]
    bill = upstream.bill()
    assert sum(costs) == bill["total_nano_usd"]
    assert costs == [charge["nano_usd"] for charge in upstream.charges()]
    assert len(REQUESTS) == bill["requests"] == bill["arrived"]
    assert costs[2] == bill["by_agent"]["buyer"]["nano_usd"]
    assert costs[7] + costs[8] == bill["by_model"]["gpt-5-mini"]["nano_usd"]
    assert sum(costs) == bill["by_account"]["sk-...0001"]["nano_usd"]
    assert sum(costs) == bill["by_operation"]["chat.completions"]["nano_usd"]


def test_streams_cost_and_say_the_same(upstream: UpstreamProcess, client: OpenAI) -> None:
    """Each row streamed: the same text, end and usage as unstreamed, and the same charge."""
    for request in REQUESTS:
        whole = client.chat.completions.create(**asked(request))
        stream = client.chat.completions.create(
            **asked(request), stream=True, stream_options={"include_usage": True}
        )
        said: dict[int, str] = {choice.index: "" for choice in whole.choices}
        ends: dict[int, str] = {}
        usage = None
        for chunk in stream:
            usage = chunk.usage or usage
            for part in chunk.choices:
                said[part.index] += part.delta.content or ""
                ends |= {part.index: part.finish_reason} if part.finish_reason else {}
        assert {choice.index: choice.message.content for choice in whole.choices} == said
        assert {choice.index: choice.finish_reason for choice in whole.choices} == ends
        # A stream's body is a few bytes longer, but no row's prompt is so short that it would matter.
        assert whole.usage == usage

    costs = [charge["nano_usd"] for charge in upstream.charges()]
    assert costs[::2] == costs[1::2]


def test_async_clients_all_at_once(upstream: UpstreamProcess) -> None:
    """Two hundred calls at once, under two keys: none is lost or billed twice."""

    async def one(client: AsyncOpenAI, number: int) -> int:
        answer = await client.chat.completions.create(
            model="gpt-4.1-mini",
            messages=[{"role": "user", "content": f"Question {number}"}],
            user=f"agent-{number % 4}",
        )
        return cost_nano_usd(answer.model, answer.usage)

    async def all_at_once(key: str) -> list[int]:
        async with AsyncOpenAI(base_url=f"{upstream.base_url}/v1", api_key=key, max_retries=0) as client:
            return await asyncio.gather(*(one(client, number) for number in range(100)))

    async def both() -> list[list[int]]:
        return await asyncio.gather(*(all_at_once(key) for key in upstream.keys))

    first, second = asyncio.run(both())

    bill = upstream.bill()
    assert sum(first) + sum(second) == bill["total_nano_usd"]
    assert sum(first) == bill["by_account"]["sk-...0001"]["nano_usd"]
    assert sum(second) == bill["by_account"]["sk-...0002"]["nano_usd"]
    assert sum(first[1::4]) + sum(second[1::4]) == bill["by_agent"]["agent-1"]["nano_usd"]


def test_async_stream(upstream: UpstreamProcess) -> None:
    """The asynchronous client reads a stream with delays between its events to the end."""

    async def read() -> list[Any]:
        async with AsyncOpenAI(base_url=f"{upstream.base_url}/v1", api_key=KEY) as client:
            stream = await client.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "user", "content": "[[tokens=5]] [[chunk_delay_ms=2]]"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            return [chunk async for chunk in stream]

    chunks = asyncio.run(read())

    assert 1 + 5 + 1 + 1 == len(chunks)
    assert "assistant" == chunks[0].choices[0].delta.role
    assert "stop" == chunks[-2].choices[0].finish_reason
    assert [] == chunks[-1].choices
    assert cost_nano_usd("gpt-4o", chunks[-1].usage) == upstream.bill()["total_nano_usd"]


def test_usage_in_streams_only_when_asked(client: OpenAI) -> None:
    """Without `include_usage` no chunk carries usage."""
    chunks = list(ask(client, "[[tokens=3]]", stream=True))

    assert [None] * 5 == [chunk.usage for chunk in chunks]
    assert "stop" == chunks[-1].choices[0].finish_reason


def test_published_shape(client: OpenAI) -> None:
    """Ids, times, dated model name and the rest are as the API documents them."""
    answer = ask(client, "[[tokens=6]]", max_tokens=4)

    assert answer.id.startswith("chatcmpl-")
    assert answer.id == answer._request_id
    assert abs(time.time() - answer.created) < 60
    assert ("chat.completion", "gpt-4o-mini-2024-07-18") == (answer.object, answer.model)
    assert answer.system_fingerprint.startswith("fp_")
    assert "default" == answer.service_tier
    assert ("assistant", "length") == (answer.choices[0].message.role, answer.choices[0].finish_reason)
    assert 4 == len(answer.choices[0].message.content.split())
    assert answer.usage.prompt_tokens + 4 == answer.usage.total_tokens


def test_models(client: OpenAI) -> None:
    """Every model is listed under its alias and its dated name, and can be asked for."""
    names = {model.id for model in client.models.list()}

    assert set(PRICES) <= names
    # Those with one name only are asked for at other paths.
    others = {"gpt-6-luna", "text-embedding-3-small", "text-embedding-3-large"}
    assert others <= names
    assert 2 * len({*PRICES, "gpt-audio"}) == len(names - others)
    assert "gpt-4.1" == client.models.retrieve("gpt-4.1").id


def test_refusals_have_the_apis_own_form(upstream: UpstreamProcess, client: OpenAI) -> None:
    """Wrong key, model, parameter or JSON: the client's own exceptions, and nothing on the bill."""
    with pytest.raises(openai.AuthenticationError) as wrong_key:
        ask(client.with_options(api_key="sk-somebody-else"), "hello")
    assert "invalid_api_key" == wrong_key.value.code
    with pytest.raises(openai.NotFoundError) as no_model:
        ask(client, "hello", model="gpt-6")
    assert "model_not_found" == no_model.value.code
    with pytest.raises(openai.BadRequestError) as reasoning:
        ask(client, "hello", model="gpt-5-mini", max_tokens=5)
    assert "unsupported_parameter" == reasoning.value.code
    with pytest.raises(openai.BadRequestError) as both:
        ask(client, "hello", max_tokens=5, max_completion_tokens=5)
    assert "max_tokens" == both.value.param
    with pytest.raises(openai.BadRequestError, match="too large"):
        ask(client, "hello", max_tokens=16_385)
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        ask(client, "hello", stream_options={"include_usage": True})
    with pytest.raises(openai.BadRequestError, match="tokenz"):
        ask(client, "[[tokenz=5]]")
    assert 400 == call(upstream, "POST", "/v1/chat/completions", b"{")[0]
    assert 400 == call(upstream, "POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": "x"})[0]
    assert 400 == call(upstream, "POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": []})[0]
    status, body = call(upstream, "POST", "/v1/chat/completions", b"{}", key=None)
    assert (401, "invalid_request_error") == (status, body["error"]["type"])
    assert 404 == call(upstream, "GET", "/v1/chat/completions")[0]

    bill = upstream.bill()
    assert (0, 0, 12) == (bill["total_nano_usd"], bill["requests"], bill["arrived"])


def test_missing_usage_is_billed(upstream: UpstreamProcess, client: OpenAI) -> None:
    """`usage=missing` leaves usage out of the answer, streamed or not, and on the bill."""
    asked_for_usage = {"stream": True, "stream_options": {"include_usage": True}}

    whole = ask(client, "[[usage=missing]] [[tokens=10]]")
    chunks = list(ask(client, "[[usage=missing]] [[tokens=10]]", **asked_for_usage))

    assert whole.usage is None
    assert [None] * 12 == [chunk.usage for chunk in chunks]
    assert [10, 10] == [charge["quantities"]["completion_tokens"] for charge in upstream.charges()]


def test_over_exceeds_the_limit(client: OpenAI) -> None:
    """`over` reports more tokens than the caller allowed."""
    answer = ask(client, "[[over=100]]", max_tokens=10, n=2)

    assert 2 * 10 + 100 == answer.usage.completion_tokens
    assert ["length", "length"] == [choice.finish_reason for choice in answer.choices]


@pytest.mark.parametrize(
    ("status", "fault"), [(500, openai.InternalServerError), (429, openai.RateLimitError)]
)
def test_fail_is_not_billed(
    upstream: UpstreamProcess, client: OpenAI, status: int, fault: type[openai.APIStatusError]
) -> None:
    """`fail` answers with the status; the client's retries arrive, none is billed."""
    with pytest.raises(fault) as failed:
        ask(client.with_options(max_retries=1), f"[[fail={status}]]")

    assert status == failed.value.status_code
    assert (0, 2) == (upstream.bill()["requests"], upstream.bill()["arrived"])


def test_hang_is_not_billed(upstream: UpstreamProcess, client: OpenAI) -> None:
    """`hang` never answers and never bills."""
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.5), "[[hang]]")

    until(lambda: upstream.bill()["arrived"] == 1)
    assert 0 == upstream.bill()["requests"]


def test_delay_is_billed_though_the_client_left(upstream: UpstreamProcess, client: OpenAI) -> None:
    """`delay_ms` bills before it waits: who gives up waiting pays."""
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.5), "[[delay_ms=60000]] [[tokens=10]]")

    until(lambda: upstream.bill()["requests"] == 1)
    assert 10 == upstream.charges()[0]["quantities"]["completion_tokens"]


def test_delay_comes_before_the_answer(client: OpenAI) -> None:
    """`delay_ms` holds the answer back at least that long."""
    began = time.monotonic()

    ask(client, "[[delay_ms=50]]")

    assert 0.05 <= time.monotonic() - began


def test_client_leaving_a_stream_pays_for_all(upstream: UpstreamProcess, client: OpenAI) -> None:
    """A stream that is closed after one chunk is billed for the whole completion."""
    with ask(client, "[[tokens=1000]] [[chunk_delay_ms=20]]", stream=True) as stream:
        next(iter(stream))

    assert 1000 == upstream.charges()[0]["quantities"]["completion_tokens"]
    ask(client, "still there?")


def test_break_after_ends_without_an_end(upstream: UpstreamProcess, client: OpenAI) -> None:
    """`break_after` ends the body cleanly: no finish reason, no usage, no `[DONE]`; all of it is billed."""
    stream = ask(
        client, "[[break_after=3]] [[tokens=50]]", stream=True, stream_options={"include_usage": True}
    )

    chunks = list(stream)

    assert 3 == len(chunks)
    assert [None] * 3 == [chunk.choices[0].finish_reason for chunk in chunks]
    assert 50 == upstream.charges()[0]["quantities"]["completion_tokens"]


def test_reset_after_drops_the_connection(upstream: UpstreamProcess) -> None:
    """`reset_after` loses the connection in the middle of the body; all of it is billed."""
    message = {"role": "user", "content": "[[reset_after=3]] [[tokens=50]]"}
    body = {"model": "gpt-4o", "stream": True, "messages": [message]}

    with pytest.raises(http.client.IncompleteRead) as cut:
        call(upstream, "POST", "/v1/chat/completions", body)

    assert 3 == cut.value.partial.count(b"data: ")
    assert 50 == upstream.charges()[0]["quantities"]["completion_tokens"]


def test_hang_after_goes_silent(upstream: UpstreamProcess, client: OpenAI) -> None:
    """`hang_after` keeps the connection and sends no more; all of it is billed."""
    stream = ask(client.with_options(timeout=1.0), "[[hang_after=2]] [[tokens=50]]", stream=True)
    seen = 0

    def read() -> None:
        nonlocal seen
        for _ in stream:
            seen += 1

    # Whatever the client's HTTP library calls a read that timed out.
    with pytest.raises(Exception, match="timed out"):
        read()

    assert 2 == seen
    assert 50 == upstream.charges()[0]["quantities"]["completion_tokens"]


def test_payments_cost_a_fee_and_pay_out(upstream: UpstreamProcess) -> None:
    """Each payment costs $0.25; what it pays out is summed apart, other currencies at the fixed rate."""
    asked_for = {"amount": "4999.00", "currency": "USD", "beneficiary": "ACME Ltd", "reference": "INV-1"}

    status, made = call(upstream, "POST", "/v1/payments", asked_for)
    call(upstream, "POST", "/v1/payments", {**asked_for, "amount": 10.01, "currency": "EUR"})

    assert 201 == status
    assert ("4999.00", "completed", "0.25") == (made["amount"], made["status"], made["fee_usd"])
    assert (200, made) == call(upstream, "GET", f"/v1/payments/{made['id']}")
    bill = upstream.bill()
    assert 2 * 250_000_000 == bill["total_nano_usd"] == bill["by_agent"]["clerk"]["nano_usd"]
    assert 4_999_000_000_000 + 10_860_850_000 == bill["paid_out_nano_usd"]
    assert {"payments": 2} == bill["by_operation"]["payments.create"]["quantities"]
    assert {} == bill["by_model"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": "0"}, 422, "bad_amount"),
        ({"amount": "-1"}, 422, "bad_amount"),
        ({"amount": "NaN"}, 422, "bad_amount"),
        ({"amount": "1.001"}, 422, "bad_amount"),
        ({"amount": "1e400"}, 422, "bad_amount"),
        ({"amount": "lots"}, 400, "bad_request"),
        ({"amount": None}, 400, "bad_request"),
        ({"currency": "XXX"}, 422, "unknown_currency"),
        ({"beneficiary": ""}, 400, "bad_request"),
        ({"reference": "[[fail=503]]"}, 503, "ordered_failure"),
        ({"reference": "[[nonsense]]"}, 400, "unknown_directive"),
    ],
)
def test_refused_payments_cost_nothing(
    upstream: UpstreamProcess, change: dict[str, Any], status: int, code: str
) -> None:
    """A payment that isn't made is neither charged nor paid out."""
    body = {"amount": "1.00", "currency": "USD", "beneficiary": "ACME Ltd", **change}

    got, answer = call(upstream, "POST", "/v1/payments", body)

    assert (status, code) == (got, answer["error"]["code"])
    bill = upstream.bill()
    assert (0, 0, 0) == (bill["requests"], bill["total_nano_usd"], bill["paid_out_nano_usd"])


def test_rates_rows_and_limits(upstream: UpstreamProcess) -> None:
    """A rate costs $0.002, a row $0.0001, setting or deleting limits nothing."""
    fx = call(upstream, "GET", "/v1/fx/EUR-USD")
    few = call(upstream, "POST", "/v1/search", {"query": "vendors [[rows=123]]", "limit": 500})
    cut = call(upstream, "POST", "/v1/search", {"query": "vendors [[rows=123]]", "limit": 7})
    silent = call(upstream, "POST", "/v1/search", {"query": "[[usage=missing]] [[rows=3]]"})
    free = call(upstream, "POST", "/v1/search", {"query": "[[usage=zero]] [[rows=3]]"})
    put = call(upstream, "PUT", "/v1/limits/acme", {"daily": 5})
    deleted = call(upstream, "DELETE", "/v1/limits/acme")

    assert (200, {"pair": "EUR-USD", "rate": "1.085000", "fee_usd": "0.002"}) == fx
    assert 123 == len(few[1]["rows"])
    assert {"rows": 123, "cost_usd": "0.0123"} == few[1]["usage"]
    assert {"rows": 7, "cost_usd": "0.0007"} == cut[1]["usage"]
    assert ["rows"] == list(silent[1])
    assert {"rows": 0, "cost_usd": "0.00"} == free[1]["usage"]
    assert (200, {"account": "acme", "method": "PUT", "limits": {"daily": 5}}) == put
    assert (200, {"account": "acme", "method": "DELETE", "limits": None}) == deleted
    groups = upstream.bill()["by_operation"]
    assert {
        "fx.rate": 2_000_000,
        "search.rows": (123 + 7 + 3) * 100_000,
        "limits.put": 0,
        "limits.delete": 0,
    } == {name: group["nano_usd"] for name, group in groups.items()}


def test_payments_need_a_key(upstream: UpstreamProcess) -> None:
    """Without a known key there is no rate, no payment and no path."""
    assert 401 == call(upstream, "GET", "/v1/fx/EUR-USD", key=None)[0]
    assert 401 == call(upstream, "GET", "/v1/payments/pay_1", key="sk-somebody-else")[0]
    assert 404 == call(upstream, "GET", "/v1/payments/pay_1")[0]
    assert 404 == call(upstream, "GET", "/v1/fx/EUR-XXX")[0]
    assert 404 == call(upstream, "GET", "/elsewhere")[0]
    assert 400 == call(upstream, "GET", "/bill/requests?since=-1")[0]
    assert 0 == upstream.bill()["requests"]


def test_one_app_alone() -> None:
    """Asked for the provider only, it serves no payments, and the other way round."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    with UpstreamProcess(apps="provider") as provider, UpstreamProcess(apps="payments") as payments:
        assert 404 == call(provider, "GET", "/v1/fx/EUR-USD")[0]
        assert 200 == call(provider, "POST", "/v1/chat/completions", body)[0]
        assert 200 == call(payments, "GET", "/v1/fx/EUR-USD")[0]
        assert 404 == call(payments, "POST", "/v1/chat/completions", body)[0]


def test_a_taken_port_is_refused(running: UpstreamProcess) -> None:
    """A second upstream on the same port doesn't start, and the first keeps all its connections."""
    port = int(running.base_url.rpartition(":")[2])

    with pytest.raises(UpstreamNotStarted):
        UpstreamProcess(port=port).start()

    running.bill()


def test_stop_and_kill_leave_nothing() -> None:
    """After `stop` or `kill` nobody listens, and the same port can be taken again."""
    process = UpstreamProcess()
    process.start()
    address = process.base_url
    process.kill()
    again = UpstreamProcess(port=int(address.rpartition(":")[2]))
    again.start()
    assert address == again.base_url
    assert 0 == again.bill()["requests"]
    again.stop()
    assert not listens(address)


def test_dies_with_its_parent() -> None:
    """Killing the process that started it ends it too."""
    program = textwrap.dedent(
        """
        import os, signal
        from aegis_gateway.demo.upstream.process import UpstreamProcess
        upstream = UpstreamProcess()
        upstream.start()
        print(upstream.base_url, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    # The orphan holds none of these pipes, so reading them to the end waits for the parent only.
    parent = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    address = parent.stdout.strip()

    until(lambda: not listens(address))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of threads, and lists them")
def test_outlives_the_thread_that_started_it() -> None:
    """The end of a mere thread of its parent doesn't end it."""
    process = UpstreamProcess()
    starter = threading.Thread(target=process.start)
    starter.start()
    task = Path(f"/proc/{os.getpid()}/task/{starter.native_id}")
    starter.join()
    until(lambda: not task.exists())
    try:
        assert 0 == process.bill()["requests"]
    finally:
        process.stop()


def listens(address: str) -> bool:
    """Whether anybody accepts connections there."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as knock:
        return knock.connect_ex((host, int(port))) == 0
