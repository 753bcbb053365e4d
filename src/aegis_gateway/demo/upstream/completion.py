"""What a chat request costs and gets: pure, the same for the same (seed, conversation).

Rule: the prompt's tokens never exceed the request body's bytes, so bytes are a true upper bound of them.
"""

import msgspec

from aegis_gateway.demo.upstream.directives import Directives
from aegis_gateway.demo.upstream.draw import Choice, draw, ordered
from aegis_gateway.demo.upstream.prices import Model
from aegis_gateway.demo.upstream.script import Called, Came, Event, Said, Turn, scripted
from aegis_gateway.demo.upstream.tokens import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_PROMPT,
    Content,
    content_tokens,
    conversation,
    quarter,
    text_of,
)


class Message(msgspec.Struct, gc=False):
    """A message of the conversation; of what isn't text only the size matters."""

    role: str
    content: Content = None
    tool_calls: msgspec.Raw = msgspec.Raw()

    def event(self) -> Event | None:
        """What a script sees of it."""
        match self.role:
            case "user":
                return Said("user", text_of(self.content))
            case "tool" | "function":
                return Came(text_of(self.content))
            case "assistant" if self.tool_calls and (calls := msgspec.json.decode(self.tool_calls)):
                return Called(len(calls))
            case "assistant":
                return Said("assistant", text_of(self.content))
        return None


class StreamOptions(msgspec.Struct, gc=False):
    """``stream_options``."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, gc=False):
    """The fields of a chat completion request that change its price or its answer's shape.

    ``model`` may be missing where the path names a deployment.
    """

    messages: list[Message]
    model: str = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    user: str | None = None
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()


class Completion(msgspec.Struct, frozen=True, gc=False):
    """The usage to bill and the choices to send. ``prompt_tokens`` include ``cached_tokens`` and, apart from
    those, ``audio_prompt_tokens``; ``completion_tokens`` (of all choices) likewise ``reasoning_tokens`` and
    ``audio_completion_tokens``.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    choices: list[Choice]
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0

    def cost_nano_usd(self, model: Model) -> int:
        """What this usage costs on ``model``."""
        cost = model.cost_nano_usd(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
        )
        if self.audio_prompt_tokens or self.audio_completion_tokens:
            cost += model.audio_surcharge_nano_usd(
                prompt_tokens=self.audio_prompt_tokens, completion_tokens=self.audio_completion_tokens
            )
        return cost


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
            return text_of(message.content)
    return ""


def prompt_tokens(request: ChatRequest, body_bytes: int) -> int:
    """The size of the prompt: a quarter of its characters, and a few tokens for each message."""
    tokens = TOKENS_PER_PROMPT
    for message in request.messages:
        tokens += TOKENS_PER_MESSAGE + quarter(len(message.tool_calls)) + content_tokens(message.content)
    tokens += quarter(len(request.tools)) + quarter(len(request.functions))
    tokens += quarter(len(request.response_format))
    return min(tokens, body_bytes)


def next_turn(request: ChatRequest) -> Turn | None:
    """What the conversation orders the model to call or say, if it does."""
    events = [event for message in request.messages if (event := message.event()) is not None]
    tools = msgspec.json.decode(request.tools) if request.tools else None
    return scripted(events, {tool.get("function", {}).get("name", "") for tool in tools or ()})


def complete(
    request: ChatRequest,
    model: Model,
    directives: Directives,
    turn: Turn | None = None,
    *,
    limit: int | None,
    body_bytes: int,
    seed: int,
) -> Completion:
    """The completion of ``request``.

    Its length comes from a hash of the seed and the conversation (not of the whole body: a gateway that adds
    ``stream_options`` or lowers a limit gets the same answer, cut shorter), or from the directives.
    """
    seen = conversation(seed, [message.content for message in request.messages])
    wanted = 1 if request.n is None else request.n
    if turn is not None:
        drawn = ordered(turn, model, limit=limit, wanted=wanted)
    else:
        drawn = draw(seen, model, directives, limit=limit, wanted=wanted, thinks=model.reasons)
    prompt = prompt_tokens(request, body_bytes)
    cached = min(directives.cached, prompt) if directives.cached else 0
    completion = Completion(prompt, cached, drawn.tokens, drawn.reasoning_tokens, drawn.choices)
    if not (directives.audio_in or directives.audio_out):
        return completion
    return msgspec.structs.replace(
        completion,
        audio_prompt_tokens=min(directives.audio_in, prompt - cached),
        audio_completion_tokens=min(directives.audio_out, drawn.tokens - drawn.reasoning_tokens),
    )
