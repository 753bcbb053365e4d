"""An OpenAI-compatible provider that bills what it reports, as an RSGI application.

Rule: the charge is written before the first byte of the answer. A client that leaves, or an answer that is
cut, is billed for the whole completion that was asked for, as real providers do.
"""

import itertools
from collections.abc import Callable

import msgspec
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # public, but not marked as re-exported

from aegis_gateway.demo.upstream import answers
from aegis_gateway.demo.upstream.bill import UNLABELLED, Bill
from aegis_gateway.demo.upstream.completion import (
    ChatRequest,
    Completion,
    RefusedParameter,
    complete,
    last_user_text,
    output_limit,
)
from aegis_gateway.demo.upstream.directives import DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.prices import MODELS, Model
from aegis_gateway.demo.upstream.wire import Headers, Http, Scope, Stream, pause, reply

OPERATION = "chat.completions"
CHOICES_MAX = 128

EVENTS_PER_WRITE = 16
"""Events sent together where no delay between them was ordered: one system call for each word would make
the fake upstream, not the gateway, what a benchmark measures."""

_PATHS = ("/v1/chat/completions", "/v1/models")

_decode = msgspec.json.Decoder(ChatRequest).decode


class Provider:
    """``accounts`` maps an ``Authorization`` header to the key's masked name; ``clock`` gives seconds."""

    def __init__(
        self, *, accounts: dict[str, str], bill: Bill, seed: int, clock: Callable[[], float]
    ) -> None:
        self._accounts = accounts
        self._bill = bill
        self._seed = seed
        self._clock = clock
        self._fingerprint = f"fp_{seed & 0xFFFFFFFFFF:010x}"
        self._answer = itertools.count(1)

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""
        return path.startswith(_PATHS)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._bill.arrive()
        authorization = scope.headers.get("authorization")
        account = self._accounts.get(authorization)
        if account is None:
            reply(http, 401, _unknown_key(authorization))
        elif scope.path == "/v1/chat/completions" and scope.method == "POST":
            await self._chat(scope, http, account)
        elif scope.path == "/v1/models" and scope.method == "GET":
            cards = [answers.model_card(model, name) for name, model in MODELS.items()]
            reply(http, 200, {"object": "list", "data": cards})
        elif scope.path.startswith("/v1/models/") and scope.method == "GET":
            name = scope.path.removeprefix("/v1/models/")
            known = MODELS.get(name)
            reply(http, 200, answers.model_card(known, name)) if known else reply(http, 404, _no_model(name))
        else:
            reply(http, 404, _invalid(f"Invalid URL ({scope.method} {scope.path})"))

    async def _chat(self, scope: Scope, http: Http, account: str) -> None:
        body = await http()
        try:
            request = _decode(body)
        except msgspec.ValidationError as wrong:
            return reply(http, 400, _invalid(f"Invalid request: {wrong}"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return reply(http, 400, _invalid("We could not parse the JSON body of your request."))
        model = MODELS.get(request.model)
        if model is None:
            return reply(http, 404, _no_model(request.model))
        try:
            _check(request)
            limit = output_limit(request, model)
            directives = parse(last_user_text(request.messages))
        except RefusedParameter as refused:
            return reply(http, 400, _invalid(str(refused), param=refused.param, code=refused.code))
        except DirectiveError as wrong:
            return reply(http, 400, _invalid(str(wrong), param="messages", code="unknown_directive"))
        if directives.fail is not None:
            await pause(directives.delay_ms)
            return reply(http, directives.fail, _ordered_failure(directives.fail))
        if directives.hang:
            return await http.client_disconnect()
        completion = self._billed(
            complete(request, model, directives, limit=limit, body_bytes=len(body), seed=self._seed),
            model,
            directives,
            account=account,
            agent=request.user or scope.headers.get("x-agent") or UNLABELLED,
        )
        await pause(directives.delay_ms)
        envelope = answers.Envelope(
            id=f"chatcmpl-{next(self._answer):029d}",
            created=int(self._clock()),
            model=model.snapshot,
            fingerprint=self._fingerprint,
        )
        reported = directives.usage != "missing"
        if request.stream:
            asked = request.stream_options is not None and bool(request.stream_options.include_usage)
            await _stream(http, envelope, completion, directives, include_usage=asked and reported)
        else:
            body = answers.whole(envelope, completion, report_usage=reported)
            http.response_bytes(200, _headers("application/json", envelope), body)

    def _billed(
        self, completion: Completion, model: Model, directives: Directives, *, account: str, agent: str
    ) -> Completion:
        """Write the charge down and return the completion with the usage that is to be reported."""
        if directives.usage == "zero":
            completion = Completion(0, 0, 0, 0, completion.choices)
        self._bill.charge(
            account=account,
            agent=agent,
            operation=OPERATION,
            model=model.name,
            nano_usd=completion.cost_nano_usd(model),
            quantities={
                "prompt_tokens": completion.prompt_tokens,
                "cached_tokens": completion.cached_tokens,
                "completion_tokens": completion.completion_tokens,
                "reasoning_tokens": completion.reasoning_tokens,
            },
        )
        return completion


async def _stream(
    http: Http,
    envelope: answers.Envelope,
    completion: Completion,
    ordered: Directives,
    *,
    include_usage: bool,
) -> None:
    headers = [*_headers("text/event-stream; charset=utf-8", envelope), ("cache-control", "no-cache")]
    cut = min(
        (stop for stop in (ordered.break_after, ordered.reset_after, ordered.hang_after) if stop is not None),
        default=None,
    )
    events = answers.events(envelope, completion, include_usage=include_usage)
    if ordered.reset_after is not None:
        # A body shorter than what was announced makes the server drop the connection.
        headers.append(("content-length", "1000000000"))
    try:
        # Named, because the body ends when nobody holds the stream any more.
        stream = http.response_stream(200, headers)
        await _send(stream, itertools.islice(events, cut), ordered.chunk_delay_ms)
        if ordered.hang_after is not None:
            await http.client_disconnect()
    except ProtocolClosed:
        return  # the client has left; its charge stands


async def _send(stream: Stream, events: "itertools.islice[bytes]", delay_ms: int) -> None:
    # The first event goes alone: it is what a time to first token is measured by.
    size = 1
    while block := b"".join(itertools.islice(events, size)):
        await stream.send_bytes(block)
        await pause(delay_ms)
        size = 1 if delay_ms else EVENTS_PER_WRITE


def _check(request: ChatRequest) -> None:
    if not request.messages:
        raise RefusedParameter(
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            "messages",
            "empty_array",
        )
    if request.n is not None and not 1 <= request.n <= CHOICES_MAX:
        raise RefusedParameter(
            f"Invalid 'n': expected a value from 1 to {CHOICES_MAX}, but got {request.n} instead.", "n", None
        )
    if request.stream_options is not None and not request.stream:
        raise RefusedParameter(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", None
        )


def _headers(content_type: str, envelope: answers.Envelope) -> Headers:
    return [("content-type", content_type), ("x-request-id", envelope.id)]


def _invalid(message: str, *, param: str | None = None, code: str | None = None) -> dict[str, object]:
    return answers.error(message, "invalid_request_error", param=param, code=code)


def _no_model(name: str) -> dict[str, object]:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return _invalid(message, code="model_not_found")


def _unknown_key(authorization: str | None) -> dict[str, object]:
    if not authorization:
        return _invalid("You didn't provide an API key: send it as `Authorization: Bearer YOUR_KEY`.")
    return _invalid("Incorrect API key provided.", code="invalid_api_key")


def _ordered_failure(status: int) -> dict[str, object]:
    message = f"This request asked to fail with {status}."
    if status == 429:
        return answers.error(message, "requests", code="rate_limit_exceeded")
    return answers.error(message, "server_error" if status >= 500 else "invalid_request_error")
