"""OpenAI's Responses, as an RSGI application that bills what it reports.

Rule: the charge is written before the first byte of the answer, hosted tools included.
"""

from typing import Any

import msgspec

from aegis_gateway.demo.upstream import delivery, refusal
from aegis_gateway.demo.upstream.directives import DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.draw import draw, ordered
from aegis_gateway.demo.upstream.prices import RESPONSES_MODELS, Model
from aegis_gateway.demo.upstream.refusal import Refused, decoded
from aegis_gateway.demo.upstream.responses_form import Form
from aegis_gateway.demo.upstream.script import MARK, Called, Came, Event, Said, Turn, scripted
from aegis_gateway.demo.upstream.till import Till
from aegis_gateway.demo.upstream.tokens import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_PROMPT,
    Content,
    content_tokens,
    conversation,
    quarter,
    text_of,
)
from aegis_gateway.demo.upstream.usage import NO_CALLS, Calls, refuse_unheard, used
from aegis_gateway.demo.upstream.wire import Headers, Http, Scope, pause, reply

OPERATION = "responses"
OUTPUT_TOKENS_MIN = 16

_PATH = "/v1/responses"


class ResponsesRequest(msgspec.Struct):
    """The fields of a request that change its price or its answer's shape."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    previous_response_id: str | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    text: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None


_decode = msgspec.json.Decoder(ResponsesRequest).decode


class Responses:
    """The API at ``/v1/responses``."""

    def __init__(self, till: Till) -> None:
        self._till = till

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""
        return path.startswith(_PATH)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._till.bill.arrive()
        authorization = scope.headers.get("authorization")
        account = self._till.account(authorization)
        try:
            if account is None:
                reply(http, 401, refusal.unknown_key(authorization))
            elif scope.method != "POST" or scope.path != _PATH:
                raise Refused(404, f"Invalid URL ({scope.method} {scope.path})")
            else:
                await self._respond(scope, http, account)
        except Refused as refused:
            reply(http, refused.status, refusal.body_of(refused))
        except DirectiveError as wrong:
            reply(http, 400, refusal.invalid(str(wrong), param="input", code="unknown_directive"))

    async def _respond(self, scope: Scope, http: Http, account: str) -> None:
        body = await http()
        request = decoded(_decode, body)
        model = RESPONSES_MODELS.get(request.model)
        if model is None:
            message = f"The requested model '{request.model}' does not exist."
            raise Refused(400, message, param="model", code="model_not_found")
        _check(request, model)
        prompt = _prompt_tokens(request, model, len(body))
        directives = parse(_last_user_text(request))
        refuse_unheard(directives, model)
        if await delivery.interrupted(http, directives, refusal.ordered_failure):
            return
        seen = conversation(self._till.seed, _contents(request))
        limit = request.max_output_tokens
        turn = _next_turn(request) if MARK in body else None
        if turn is not None:
            drawn = ordered(turn, model, limit=limit, wanted=1)
        else:
            drawn = draw(seen, model, directives, limit=limit, wanted=1, thinks=model.reasons)
        usage = used(model, directives, drawn, prompt_tokens=prompt, calls=_calls(request, directives))
        self._till.charge(scope, account, OPERATION, model, usage, agent=request.user)
        await pause(directives.delay_ms)
        form = Form(
            number=self._till.number(),
            created=self._till.now(),
            model=model.snapshot,
            asked=msgspec.to_builtins(request),
            choice=drawn.choices[0],
            usage=usage,
            reported=directives.usage != "missing",
        )
        await _deliver(http, form, directives, streamed=bool(request.stream))


async def _deliver(http: Http, form: Form, directives: Directives, *, streamed: bool) -> None:
    identity = ("x-request-id", f"req_{form.number:032x}")
    if streamed:
        headers = [*delivery.EVENT_STREAM, identity]
        await delivery.stream(http, headers, form.events(), directives, form.failed_event)
    else:
        body = form.whole() if directives.error_after is None else form.failed()
        json: Headers = [("content-type", "application/json"), identity]
        await delivery.whole(http, json, body, directives)


def _check(request: ResponsesRequest, model: Model) -> None:
    if not request.input:
        raise Refused(400, "Invalid 'input': it is empty.", param="input")
    limit = request.max_output_tokens
    if limit is not None and limit < OUTPUT_TOKENS_MIN:
        raise Refused(
            400,
            "Invalid 'max_output_tokens': integer below minimum value. "
            f"Expected a value >= {OUTPUT_TOKENS_MIN}, but got {limit} instead.",
            param="max_output_tokens",
            code="integer_below_min_value",
        )
    if limit is not None and limit > model.output_tokens_max:
        raise Refused(
            400,
            f"max_output_tokens is too large: {limit}. This model supports at most {model.output_tokens_max}.",
            param="max_output_tokens",
            code="invalid_value",
        )
    if request.max_tool_calls is not None and request.max_tool_calls < 1:
        raise Refused(400, "Invalid 'max_tool_calls': expected a value >= 1.", param="max_tool_calls")


def _prompt_tokens(request: ResponsesRequest, model: Model, body_bytes: int) -> int:
    tokens = TOKENS_PER_PROMPT
    if request.instructions:
        tokens += TOKENS_PER_MESSAGE + quarter(len(request.instructions))
    if isinstance(request.input, str):
        tokens += TOKENS_PER_MESSAGE + quarter(len(request.input))
    else:
        tokens += sum(_item_tokens(item) for item in request.input)
    for shape in (request.tools, request.text):
        tokens += quarter(len(msgspec.json.encode(shape))) if shape else 0
    tokens = min(tokens, body_bytes)
    if model.input_tokens_max is not None and tokens > model.input_tokens_max:
        message = (
            "Your input exceeds the context window of this model. Please adjust your input and try again."
        )
        raise Refused(400, message, param="input", code="context_length_exceeded")
    return tokens


def _item_tokens(item: dict[str, Any]) -> int:
    if "content" in item:
        return TOKENS_PER_MESSAGE + content_tokens(item["content"])
    return TOKENS_PER_MESSAGE + quarter(len(msgspec.json.encode(item)))


def _contents(request: ResponsesRequest) -> list[Content]:
    """The conversation, as far as it is said."""
    if isinstance(request.input, str):
        return [request.instructions, request.input]
    return [request.instructions, *(item.get("content") for item in request.input)]


def _last_user_text(request: ResponsesRequest) -> str:
    if isinstance(request.input, str):
        return request.input
    for item in reversed(request.input):
        if item.get("role") == "user":
            return text_of(item.get("content"))
    return ""


def _next_turn(request: ResponsesRequest) -> Turn | None:
    """What the conversation orders the model to call or say, if it does."""
    if isinstance(request.input, str):
        events: list[Event] = [Said("user", request.input)]
    else:
        events = [event for item in request.input if (event := _event_of(item)) is not None]
    return scripted(
        events, {str(tool.get("name")) for tool in request.tools if tool.get("type") == "function"}
    )


def _event_of(item: dict[str, Any]) -> Event | None:
    match item:
        case {"type": "function_call"}:
            return Called(1)
        case {"type": "function_call_output", "output": output}:
            return Came(output if isinstance(output, str) else text_of(output))
        case {"role": "user" | "assistant" as role, "content": content}:
            return Said(role, text_of(content))
    return None


def _calls(request: ResponsesRequest, directives: Directives) -> Calls:
    """The calls that were ordered, of tools that are on, as many as the request allows in all."""
    if request.tool_choice == "none":
        return NO_CALLS
    left = request.max_tool_calls
    kinds = [str(tool.get("type")) for tool in request.tools]

    def allowed(ordered: int, kind: str) -> int:
        nonlocal left
        if not any(each.startswith(kind) for each in kinds):
            return 0
        count = ordered if left is None else min(ordered, left)
        left = None if left is None else left - count
        return count

    return Calls(
        searches=allowed(directives.searches, "web_search"),
        file_searches=allowed(directives.file_searches, "file_search"),
        code_runs=allowed(directives.code_runs, "code_interpreter"),
        mcp_calls=allowed(directives.mcp_calls, "mcp"),
    )
