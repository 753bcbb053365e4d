"""Google's Gemini, as an RSGI application that bills what it reports.

Rule: the charge is written before the first byte of the answer, web searches included.
"""

import re
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from aegis_gateway.demo.upstream import delivery
from aegis_gateway.demo.upstream.directives import DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.draw import draw
from aegis_gateway.demo.upstream.gemini_form import Form, error, failure
from aegis_gateway.demo.upstream.prices import GEMINI_MODELS, Model
from aegis_gateway.demo.upstream.refusal import Refused, decoded
from aegis_gateway.demo.upstream.till import Till
from aegis_gateway.demo.upstream.tokens import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_PROMPT,
    content_tokens,
    conversation,
    quarter,
    text_of,
)
from aegis_gateway.demo.upstream.usage import NO_CALLS, Calls, refuse_unheard, used
from aegis_gateway.demo.upstream.wire import Headers, Http, Scope, encode, pause

OPERATION = "generateContent"
COUNT_OPERATION = "countTokens"
CANDIDATES_MAX = 8

_PREFIXES = ("/v1beta/models/", "/v1/models/")
"""The older name and the one that newer clients use; under ``/v1/models/`` OpenAI's models are listed too."""

_VERBS = ("generateContent", "streamGenerateContent", "countTokens")

_JSON: Headers = [("content-type", "application/json; charset=UTF-8")]


class Turn(msgspec.Struct, gc=False):
    """A content: what somebody said, in parts."""

    parts: list[dict[str, Any]] = []
    role: str = "user"


class ThinkingConfig(msgspec.Struct, rename="camel"):
    """``thinkingConfig``."""

    thinking_budget: int | None = None


class GenerationConfig(msgspec.Struct, rename="camel"):
    """``generationConfig``."""

    max_output_tokens: int | None = None
    candidate_count: Annotated[int, msgspec.Meta(ge=1, le=CANDIDATES_MAX)] = 1
    thinking_config: ThinkingConfig | None = None


class GeminiRequest(msgspec.Struct, rename="camel"):
    """The fields of a request that change its price or its answer's shape."""

    contents: list[Turn] = []
    system_instruction: Turn | None = None
    tools: list[dict[str, Any]] = []
    generation_config: GenerationConfig = msgspec.field(default_factory=GenerationConfig)


class CountRequest(msgspec.Struct, rename="camel"):
    """``:countTokens``: contents, or a whole request."""

    contents: list[Turn] = []
    generate_content_request: GeminiRequest | None = None


_Asked = TypeVar("_Asked", GeminiRequest, CountRequest)

_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode
_UNDERSCORE = re.compile("_([a-z])")
_NESTED = {"generationConfig", "thinkingConfig", "generateContentRequest"}


class Gemini:
    """The API at ``/v1beta/models/{model}:…`` and ``/v1/models/{model}:…``; counting tokens is free."""

    def __init__(self, till: Till) -> None:
        self._till = till

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""
        older, newer = _PREFIXES
        return path.startswith(older) or (path.startswith(newer) and path.rpartition(":")[2] in _VERBS)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._till.bill.arrive()
        _, version, _, rest = scope.path.split("/", 3)
        name, _, verb = rest.rpartition(":")
        query = parse_qs(scope.query_string)
        in_array = verb == "streamGenerateContent" and query.get("alt") != ["sse"]
        try:
            account = self._account(scope, query)
            model = GEMINI_MODELS.get(name)
            if model is None or scope.method != "POST" or verb not in _VERBS:
                missing = f"models/{name} is not found for API version {version}"
                raise Refused(404, f"{missing}, or is not supported for {verb}.")
            if verb == "countTokens":
                await self._count(scope, http, account, model)
            else:
                await self._generate(scope, http, account, model, verb, in_array=in_array)
        except Refused as refused:
            _refuse(http, refused.status, str(refused), in_array=in_array)
        except DirectiveError as wrong:
            _refuse(http, 400, str(wrong), in_array=in_array)

    def _account(self, scope: Scope, query: dict[str, list[str]]) -> str:
        key = scope.headers.get("x-goog-api-key") or query.get("key", [None])[0]
        if not key:
            raise Refused(
                403,
                "Method doesn't allow unregistered callers (callers without established identity). Please use "
                "API Key or other form of API consumer identity to call this API.",
            )
        account = self._till.account_of_key(key)
        if account is None:
            raise Refused(400, "API key not valid. Please pass a valid API key.")
        return account

    async def _generate(
        self, scope: Scope, http: Http, account: str, model: Model, verb: str, *, in_array: bool
    ) -> None:
        body = await http()
        request = _read(body, GeminiRequest)
        limit = _limit(request, model)
        prompt = _prompt_tokens(request, model, len(body))
        directives = parse(_last_user_text(request.contents))
        refuse_unheard(directives, model)
        if await delivery.interrupted(
            http, directives, lambda status: [failure(status)] if in_array else failure(status)
        ):
            return
        config = request.generation_config
        thinking = config.thinking_config
        drawn = draw(
            conversation(self._till.seed, [turn.parts for turn in request.contents]),
            model,
            directives,
            limit=limit,
            wanted=config.candidate_count,
            thinks=model.reasons and (thinking is None or thinking.thinking_budget != 0),
        )
        usage = used(
            model,
            directives,
            drawn,
            prompt_tokens=prompt,
            tool_input_tokens=min(directives.tool_tokens, len(body) - prompt) if request.tools else 0,
            calls=_calls(request, directives),
        )
        self._till.charge(scope, account, OPERATION, model, usage)
        await pause(directives.delay_ms)
        form = Form(
            number=self._till.number(),
            model=model.name,
            choices=drawn.choices,
            usage=usage,
            reported=directives.usage != "missing",
        )
        await _deliver(http, form, directives, streamed=verb == "streamGenerateContent", in_array=in_array)

    async def _count(self, scope: Scope, http: Http, account: str, model: Model) -> None:
        body = await http()
        counted = _read(body, CountRequest)
        request = counted.generate_content_request or GeminiRequest(contents=counted.contents)
        prompt = _prompt_tokens(request, model, len(body))
        directives = parse(_last_user_text(request.contents))
        if await delivery.interrupted(http, directives, failure):
            return
        self._till.note(scope, account, COUNT_OPERATION, model)
        details = [{"modality": "TEXT", "tokenCount": prompt}]
        http.response_bytes(200, _JSON, encode({"totalTokens": prompt, "promptTokensDetails": details}))


async def _deliver(http: Http, form: Form, directives: Directives, *, streamed: bool, in_array: bool) -> None:
    if not streamed:
        await delivery.whole(http, _JSON, form.whole(), directives)
    elif in_array:
        await delivery.stream(http, _JSON, form.elements(), directives, form.error_element)
    else:
        headers: Headers = [("content-type", "text/event-stream")]
        await delivery.stream(http, headers, form.events(), directives, form.error_event)


def _refuse(http: Http, status: int, message: str, *, in_array: bool) -> None:
    """Answer with an error; within a stream of array elements, that is an array too."""
    body = error(status, message)
    http.response_bytes(status, _JSON, encode([body] if in_array else body))


def _read(body: bytes, kind: type[_Asked]) -> _Asked:
    return decoded(lambda given: msgspec.convert(_camel(_decode_fields(given)), kind), body)


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields by their JSON names: the API knows them by those of its protocol buffers too."""
    named = {_UNDERSCORE.sub(lambda match: match[1].upper(), name): field for name, field in fields.items()}
    for name in _NESTED & named.keys():
        if isinstance(named[name], dict):
            named[name] = _camel(named[name])
    return named


def _limit(request: GeminiRequest, model: Model) -> int | None:
    if not request.contents:
        raise Refused(400, "* GenerateContentRequest.contents: contents is not specified")
    limit = request.generation_config.max_output_tokens
    if limit is not None and not 1 <= limit <= model.output_tokens_max:
        supported = f"from 1 to {model.output_tokens_max}"
        raise Refused(400, f"maxOutputTokens is `{limit}` but the supported range is {supported}.")
    return limit


def _prompt_tokens(request: GeminiRequest, model: Model, body_bytes: int) -> int:
    tokens = TOKENS_PER_PROMPT + sum(
        TOKENS_PER_MESSAGE + content_tokens(turn.parts) for turn in request.contents
    )
    if request.system_instruction is not None:
        tokens += content_tokens(request.system_instruction.parts)
    if request.tools:
        tokens += quarter(len(encode(request.tools)))
    tokens = min(tokens, body_bytes)
    most = model.input_tokens_max
    if most is not None and tokens > most:
        message = f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({most})."
        raise Refused(400, message)
    return tokens


def _last_user_text(contents: list[Turn]) -> str:
    for turn in reversed(contents):
        if turn.role == "user":
            return text_of(turn.parts)
    return ""


def _calls(request: GeminiRequest, directives: Directives) -> Calls:
    """The searches that were ordered, where the request turns the search on."""
    searching = any("google_search" in tool or "googleSearch" in tool for tool in request.tools)
    return Calls(searches=directives.searches) if searching else NO_CALLS
