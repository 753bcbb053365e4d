"""Anthropic's Messages, as an RSGI application that bills what it reports.

Rule: the charge is written before the first byte of the answer, web searches included.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from aegis_gateway.demo.upstream import delivery
from aegis_gateway.demo.upstream.directives import DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.draw import draw, ordered
from aegis_gateway.demo.upstream.messages_form import Form, error, failure
from aegis_gateway.demo.upstream.prices import CLAUDE_MODELS, Model
from aegis_gateway.demo.upstream.refusal import Refused, decoded
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
from aegis_gateway.demo.upstream.usage import Calls, refuse_unheard, used
from aegis_gateway.demo.upstream.wire import Headers, Http, Scope, pause, reply

OPERATION = "messages"
COUNT_OPERATION = "messages.count_tokens"

_PATH = "/v1/messages"


class Message(msgspec.Struct, gc=False):
    """A message of the conversation."""

    role: str
    content: Content


class Metadata(msgspec.Struct, gc=False):
    """``metadata``."""

    user_id: str | None = None


class MessagesRequest(msgspec.Struct):
    """The fields of a request that change its price or its answer's shape."""

    model: str
    messages: list[Message]
    max_tokens: int | None = None
    system: Content = None
    stream: bool | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] = {}
    thinking: dict[str, Any] = {}
    metadata: Metadata | None = None


_decode = msgspec.json.Decoder(MessagesRequest).decode


class Messages:
    """The API at ``/v1/messages``, and ``/v1/messages/count_tokens``, which is free."""

    def __init__(self, till: Till) -> None:
        self._till = till

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""
        return path.startswith(_PATH)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._till.bill.arrive()
        try:
            account = self._account(scope)
            match scope.method, scope.path.removeprefix(_PATH):
                case "POST", "":
                    await self._message(scope, http, account)
                case "POST", "/count_tokens":
                    await self._count(scope, http, account)
                case _:
                    raise Refused(404, "Not Found")
        except Refused as refused:
            reply(http, refused.status, error(refused.status, str(refused)))
        except DirectiveError as wrong:
            reply(http, 400, error(400, str(wrong)))

    def _account(self, scope: Scope) -> str:
        key, bearer = scope.headers.get("x-api-key"), scope.headers.get("authorization")
        if key is None and bearer is None:
            raise Refused(401, "x-api-key header is required")
        account = self._till.account(bearer) if key is None else self._till.account_of_key(key)
        if account is None:
            raise Refused(401, "invalid x-api-key" if key is not None else "invalid bearer token")
        if not scope.headers.get("anthropic-version"):
            raise Refused(400, "anthropic-version: header is required")
        return account

    async def _message(self, scope: Scope, http: Http, account: str) -> None:
        body = await http()
        request, model = _read(body)
        limit = _limit(request, model)
        prompt = _prompt_tokens(request, model, len(body))
        directives = parse(_last_user_text(request))
        refuse_unheard(directives, model)
        if await delivery.interrupted(http, directives, failure):
            return
        thinks = request.thinking.get("type") in ("enabled", "adaptive")
        seen = conversation(self._till.seed, [turn.content for turn in request.messages])
        turn = _next_turn(request) if MARK in body else None
        if turn is not None:
            drawn = ordered(turn, model, limit=limit, wanted=1)
        else:
            drawn = draw(seen, model, directives, limit=limit, wanted=1, thinks=thinks)
        calls = Calls(searches=_searches(request, directives))
        usage = used(model, directives, drawn, prompt_tokens=prompt, calls=calls)
        agent = request.metadata.user_id if request.metadata is not None else None
        self._till.charge(scope, account, OPERATION, model, usage, agent=agent)
        await pause(directives.delay_ms)
        form = Form(
            number=self._till.number(),
            model=model.snapshot,
            choice=drawn.choices[0],
            usage=usage,
            reported=directives.usage != "missing",
            thinks=thinks,
        )
        await _deliver(http, form, directives, streamed=bool(request.stream))

    async def _count(self, scope: Scope, http: Http, account: str) -> None:
        body = await http()
        request, model = _read(body)
        prompt = _prompt_tokens(request, model, len(body))
        directives = parse(_last_user_text(request))
        if await delivery.interrupted(http, directives, failure):
            return
        self._till.note(scope, account, COUNT_OPERATION, model)
        reply(http, 200, {"input_tokens": prompt})


async def _deliver(http: Http, form: Form, directives: Directives, *, streamed: bool) -> None:
    identity = ("request-id", form.request_id)
    if streamed:
        headers = [*delivery.EVENT_STREAM, identity]
        await delivery.stream(http, headers, form.events(), directives, form.error_event)
    else:
        json: Headers = [("content-type", "application/json"), identity]
        await delivery.whole(http, json, form.whole(), directives)


def _read(body: bytes) -> tuple[MessagesRequest, Model]:
    request = decoded(_decode, body)
    model = CLAUDE_MODELS.get(request.model)
    if model is None:
        raise Refused(404, f"model: {request.model}")
    if not request.messages:
        raise Refused(400, "messages: at least one message is required")
    return request, model


def _limit(request: MessagesRequest, model: Model) -> int:
    limit = request.max_tokens
    if limit is None:
        raise Refused(400, "max_tokens: Field required")
    if limit < 1:
        raise Refused(400, "max_tokens: must be greater than or equal to 1")
    if limit > model.output_tokens_max:
        raise Refused(
            400,
            f"max_tokens: {limit} > {model.output_tokens_max}, which is the maximum allowed number of output "
            f"tokens for {model.snapshot}",
        )
    return limit


def _prompt_tokens(request: MessagesRequest, model: Model, body_bytes: int) -> int:
    tokens = TOKENS_PER_PROMPT + content_tokens(request.system)
    tokens += sum(TOKENS_PER_MESSAGE + content_tokens(turn.content) for turn in request.messages)
    if request.tools:
        tokens += quarter(len(msgspec.json.encode(request.tools)))
    tokens = min(tokens, body_bytes)
    if model.input_tokens_max is not None and tokens > model.input_tokens_max:
        raise Refused(400, f"prompt is too long: {tokens} tokens > {model.input_tokens_max} maximum")
    return tokens


def _last_user_text(request: MessagesRequest) -> str:
    for turn in reversed(request.messages):
        if turn.role == "user":
            return text_of(turn.content)
    return ""


def _next_turn(request: MessagesRequest) -> Turn | None:
    """What the conversation orders the model to call or say, if it does."""
    events = [event for turn in request.messages for event in _events_of(turn)]
    return scripted(events, {str(tool.get("name")) for tool in request.tools})


def _events_of(turn: Message) -> Iterator[Event]:
    """A user's message has results of calls, and may say something beside them."""
    parts = turn.content if isinstance(turn.content, list) else []
    kinds = [str(part.get("type")) for part in parts]
    if turn.role == "assistant":
        calls = kinds.count("tool_use")
        yield Called(calls) if calls else Said("assistant", text_of(turn.content))
        return
    for part in parts:
        if part.get("type") == "tool_result":
            yield Came(text_of(part.get("content")))
    if said := text_of(turn.content):
        yield Said("user", said)


def _searches(request: MessagesRequest, directives: Directives) -> int:
    """The searches that were ordered, as many as the request's tool allows."""
    tool = next((tool for tool in request.tools if str(tool.get("type")).startswith("web_search_")), None)
    if tool is None or request.tool_choice.get("type") == "none":
        return 0
    most = tool.get("max_uses")
    return min(directives.searches, most) if isinstance(most, int) else directives.searches
