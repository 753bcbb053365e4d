"""What a chat request costs and gets: pure, the same for the same (seed, conversation).

Rule: the prompt's tokens never exceed the request body's bytes, so bytes are a true upper bound of them.
"""

from typing import Any, Literal
from zlib import crc32

import msgspec

from aegis_gateway.demo.upstream import prose
from aegis_gateway.demo.upstream.directives import Directives
from aegis_gateway.demo.upstream.prices import Model

LENGTH_MIN = 12
LENGTH_SPREAD = 160
"""A natural completion has ``LENGTH_MIN`` to ``LENGTH_MIN + LENGTH_SPREAD - 1`` tokens."""

TOKENS_PER_MESSAGE = 3
TOKENS_PER_PROMPT = 3

FinishReason = Literal["stop", "length"]


class Message(msgspec.Struct, gc=False):
    """A message of the conversation; of what isn't text only the size matters."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class StreamOptions(msgspec.Struct, gc=False):
    """``stream_options``."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct):
    """The fields of a chat completion request that change its price or its answer's shape."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    user: str | None = None
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One of the ``n`` answers: ``tokens`` words of the passage from word ``start`` on."""

    start: int
    tokens: int
    finish_reason: FinishReason


class Completion(msgspec.Struct, frozen=True):
    """The usage to bill and the choices to send. ``prompt_tokens`` include ``cached_tokens``,
    ``completion_tokens`` (of all choices) include ``reasoning_tokens``.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    choices: list[Choice]

    def cost_nano_usd(self, model: Model) -> int:
        """What this usage costs on ``model``."""
        return model.cost_nano_usd(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
        )


class RefusedParameter(ValueError):
    """A request that the real API answers with 400; ``param`` and ``code`` as in its error body."""

    def __init__(self, message: str, param: str, code: str | None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def output_limit(request: ChatRequest, model: Model) -> int | None:
    """The caller's limit of tokens per choice, or None; refuses what the real API refuses."""
    old, new = request.max_tokens, request.max_completion_tokens
    if old is None and new is None:
        return None
    if old is not None and new is not None:
        raise RefusedParameter(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    name = "max_completion_tokens" if old is None else "max_tokens"
    if old is not None and model.reasons:
        raise RefusedParameter(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            name,
            "unsupported_parameter",
        )
    limit = new if old is None else old
    assert limit is not None  # one of the two was given
    if limit < 1:
        raise RefusedParameter(
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {limit} instead.",
            name,
            "integer_below_min_value",
        )
    if limit > model.output_tokens_max:
        raise RefusedParameter(
            f"{name} is too large: {limit}. This model supports at most {model.output_tokens_max} "
            "completion tokens.",
            name,
            "invalid_value",
        )
    return limit


def last_user_text(messages: list[Message]) -> str:
    """The text of the last message with the role ``user``: where directives stand."""
    for message in reversed(messages):
        if message.role == "user":
            return _text(message.content)
    return ""


def prompt_tokens(request: ChatRequest, body_bytes: int) -> int:
    """The size of the prompt: a quarter of its characters, and a few tokens for each message."""
    tokens = TOKENS_PER_PROMPT
    for message in request.messages:
        content = message.content
        tokens += TOKENS_PER_MESSAGE + _quarter(len(message.tool_calls))
        if isinstance(content, str):
            tokens += _quarter(len(content))
        elif content:
            tokens += _quarter(len(_text(content)))
            tokens += sum(_quarter(_size(part)) for part in content if "text" not in part)
    tokens += _quarter(len(request.tools)) + _quarter(len(request.functions))
    tokens += _quarter(len(request.response_format))
    return min(tokens, body_bytes)


def complete(
    request: ChatRequest,
    model: Model,
    directives: Directives,
    *,
    limit: int | None,
    body_bytes: int,
    seed: int,
) -> Completion:
    """The completion of ``request``.

    Its length comes from a hash of the seed and the conversation (not of the whole body: a gateway that adds
    ``stream_options`` or lowers a limit gets the same answer, cut shorter), or from the directives.
    """
    wanted = 1 if request.n is None else request.n
    ceiling = model.output_tokens_max if limit is None else limit
    seen = seed & 0xFFFFFFFF
    for message in request.messages:
        seen = crc32(_text(message.content).encode("utf-8", "surrogatepass"), seen)
    total = reasoned = 0
    choices = []
    for index in range(wanted):
        chance = seen if not index else crc32(index.to_bytes(4, "big"), seen)
        shown = directives.tokens
        if shown is None:
            shown = LENGTH_MIN + chance % LENGTH_SPREAD
        thought = directives.reasoning
        if thought is None:
            thought = chance // LENGTH_SPREAD % 64 if model.reasons and directives.tokens is None else 0
        # `tokens` orders the whole completion; a natural one is what is shown plus what was thought.
        whole = shown if directives.tokens is not None else shown + thought
        if directives.over and limit is not None:
            whole = limit
        spent = min(whole, ceiling)
        thought = min(thought, spent)
        total += spent
        reasoned += thought
        cut = whole > ceiling or (directives.over > 0 and limit is not None)
        choices.append(
            Choice(prose.opening(chance >> 8), spent - thought, "length" if cut else "stop"),
        )
    prompt = prompt_tokens(request, body_bytes)
    return Completion(
        prompt_tokens=prompt,
        cached_tokens=min(directives.cached, prompt),
        completion_tokens=total + directives.over,
        reasoning_tokens=reasoned,
        choices=choices,
    )


def _quarter(characters: int) -> int:
    return (characters + 3) >> 2


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in content or () if "text" in part)


def _size(part: dict[str, Any]) -> int:
    return len(msgspec.json.encode(part))
