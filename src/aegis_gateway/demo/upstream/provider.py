"""OpenAI's chat completions and list of models, as an RSGI application that bills what it reports.

Rule: the charge is written before the first byte of the answer. A client that leaves, or an answer that is
cut, is billed for the whole completion that was asked for, as real providers do.
"""

import itertools

import msgspec

from aegis_gateway.demo.upstream import answers, delivery, refusal
from aegis_gateway.demo.upstream.bill import UNLABELLED
from aegis_gateway.demo.upstream.completion import (
    ChatRequest,
    Completion,
    RefusedParameter,
    complete,
    last_user_text,
    next_turn,
    output_limit,
)
from aegis_gateway.demo.upstream.directives import NONE, DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.prices import CHAT_MODELS, EMBEDDING_MODELS, RESPONSES_MODELS, Model
from aegis_gateway.demo.upstream.script import MARK
from aegis_gateway.demo.upstream.till import Till
from aegis_gateway.demo.upstream.usage import refuse_unheard
from aegis_gateway.demo.upstream.wire import Headers, Http, Scope, encode, pause, reply

OPERATION = "chat.completions"
CHOICES_MAX = 128

_CHAT = "/v1/chat/completions"
_MODELS = "/v1/models"
_VERBS = (":generateContent", ":streamGenerateContent", ":countTokens")

_LISTED = CHAT_MODELS | RESPONSES_MODELS | EMBEDDING_MODELS

_decode = msgspec.json.Decoder(ChatRequest).decode


class Azure(msgspec.Struct, frozen=True, kw_only=True):
    """How the answer to a chat differs when a deployment was asked for instead of a model."""

    deployment: str
    operation: str
    first_event: bytes
    last_fields: bytes


class Provider:
    """Chat at ``/v1/chat/completions``, and for ``AzureChat`` at a deployment."""

    def __init__(self, till: Till) -> None:
        self._till = till
        self._fingerprint = f"fp_{till.seed & 0xFFFFFFFFFF:010x}"

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's; a model with a verb behind it is Gemini's."""
        return path.startswith(_CHAT) or (path.startswith(_MODELS) and not path.endswith(_VERBS))

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._till.bill.arrive()
        authorization = scope.headers.get("authorization")
        account = self._till.account(authorization)
        if account is None:
            reply(http, 401, refusal.unknown_key(authorization))
        elif scope.path == _CHAT and scope.method == "POST":
            await self.chat(scope, http, account)
        elif scope.path == _MODELS and scope.method == "GET":
            cards = [answers.model_card(model, name) for name, model in _LISTED.items()]
            reply(http, 200, {"object": "list", "data": cards})
        elif scope.path.startswith("/v1/models/") and scope.method == "GET":
            name = scope.path.removeprefix("/v1/models/")
            known = _LISTED.get(name)
            if known is None:
                reply(http, 404, refusal.no_model(name))
            else:
                reply(http, 200, answers.model_card(known, name))
        else:
            reply(http, 404, refusal.invalid(f"Invalid URL ({scope.method} {scope.path})"))

    async def chat(self, scope: Scope, http: Http, account: str, azure: Azure | None = None) -> None:
        """Answer a chat completion that ``account`` pays for."""
        body = await http()
        try:
            request = _decode(body)
        except msgspec.ValidationError as wrong:
            return reply(http, 400, refusal.invalid(f"Invalid request: {wrong}"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return reply(http, 400, refusal.invalid("We could not parse the JSON body of your request."))
        name = request.model if azure is None else azure.deployment
        model = CHAT_MODELS.get(name)
        if model is None:
            return reply(http, 404 if name else 400, refusal.no_model(name))
        try:
            _check(request)
            limit = output_limit(request, model)
            directives = parse(last_user_text(request.messages))
            turn = next_turn(request) if MARK in body else None
            if directives is not NONE:
                refuse_unheard(directives, model)
        except RefusedParameter as refused:
            return reply(http, 400, refusal.invalid(str(refused), param=refused.param, code=refused.code))
        except DirectiveError as wrong:
            answer = refusal.invalid(str(wrong), param="messages", code="unknown_directive")
            return reply(http, 400, answer)
        if directives is not NONE and await delivery.interrupted(http, directives, refusal.ordered_failure):
            return
        completion = self._billed(
            complete(
                request, model, directives, turn, limit=limit, body_bytes=len(body), seed=self._till.seed
            ),
            model,
            directives,
            account=account,
            agent=request.user or scope.headers.get("x-agent") or UNLABELLED,
            operation=OPERATION if azure is None else azure.operation,
        )
        if directives.delay_ms:
            await pause(directives.delay_ms)
        await self._deliver(http, request, model, directives, completion, azure)

    async def _deliver(
        self,
        http: Http,
        request: ChatRequest,
        model: Model,
        directives: Directives,
        completion: Completion,
        azure: Azure | None,
    ) -> None:
        envelope = answers.Envelope(
            id=f"chatcmpl-{self._till.number():029d}",
            created=self._till.now(),
            model=model.snapshot,
            fingerprint=self._fingerprint,
        )
        identity = ("x-request-id", envelope.id)
        reported = directives.usage != "missing"
        if request.stream:
            asked = request.stream_options is not None and bool(request.stream_options.include_usage)
            events = answers.events(envelope, completion, include_usage=asked and reported)
            if azure is not None:
                events = itertools.chain((azure.first_event,), events)
            headers: Headers = [*delivery.EVENT_STREAM, identity]
            await delivery.stream(http, headers, events, directives, _error_event)
        else:
            body = answers.whole(envelope, completion, report_usage=reported)
            if azure is not None:
                body = body[:-1] + azure.last_fields
            headers = [("content-type", "application/json"), identity]
            if directives is NONE:
                return http.response_bytes(200, headers, body)
            await delivery.whole(http, headers, body, directives)

    def _billed(
        self,
        completion: Completion,
        model: Model,
        directives: Directives,
        *,
        account: str,
        agent: str,
        operation: str,
    ) -> Completion:
        """Write the charge down and return the completion with the usage that is to be reported."""
        if directives.usage == "zero":
            completion = Completion(0, 0, 0, 0, completion.choices)
        quantities = {
            "prompt_tokens": completion.prompt_tokens,
            "cached_tokens": completion.cached_tokens,
            "completion_tokens": completion.completion_tokens,
            "reasoning_tokens": completion.reasoning_tokens,
        }
        if completion.audio_prompt_tokens:
            quantities["audio_prompt_tokens"] = completion.audio_prompt_tokens
        if completion.audio_completion_tokens:
            quantities["audio_completion_tokens"] = completion.audio_completion_tokens
        self._till.bill.charge(
            account=account,
            agent=agent,
            operation=operation,
            model=model.name,
            nano_usd=completion.cost_nano_usd(model),
            quantities=quantities,
        )
        return completion


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


def _error_event(_sent: int) -> bytes:
    fault = refusal.error("The server had an error while processing your request.", "server_error")
    return b"data: " + encode(fault) + b"\n\n"
