"""The requests that are sent: chat completions of 100 bytes to 4 KB, the same ones on every run.

Aegis answers a policy question that it was asked before from memory. What a question depends on is the caller, the
model, and what policies look at: here the size of the answer that is asked for and the most it can cost. `VARIED`
requests repeat both, as real agents do; `NOVEL` ones never do, so each is evaluated by Cedar.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import count, cycle
from typing import Literal

Api = Literal["responses", "embeddings", "messages", "gemini"]
APIS: tuple[Api, ...] = ("responses", "embeddings", "messages", "gemini")
Kind = Literal["varied", "novel", "mcp"] | Api

CHAT_PATH = "/v1/chat/completions"
PATHS: dict[str, str] = {
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
    "mcp": "/mcp/desk",
}
MCP_VERSION = "2026-07-28"
MCP_TOOL = "search"
MCP_HEADERS = [
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", MCP_VERSION),
    ("mcp-method", "tools/call"),
    ("mcp-name", MCP_TOOL),
]

DIFFERENT = 64
BYTES_MIN = 100
BYTES_MAX = 4_096
MODELS = ("gpt-4o-mini", "gpt-4.1-mini")
NOVEL_TOKENS = range(200, 16_385)
"""Two models times these limits are twice as many questions as are remembered, and none is cut short by them."""

_SEED = 20_260_101
_TEXT = (
    "the customer asks whether a fixed rate of four percent for ten years is still open and what an early "
    "repayment of the mortgage would cost if the flat in Cologne is sold before the end of the term; please "
    "look at the attached figures, compare them with last year's and answer in two short paragraphs"
)
_WORDS = _TEXT.split()


def bodies(kind: Kind, *, stream: bool) -> Iterator[bytes]:
    """Requests without end, each with another text, in a fixed order."""
    varied = [_body(number, stream=stream) for number in range(DIFFERENT)]
    if kind == "varied":
        yield from cycle(json.dumps(body).encode() for body in varied)
    if kind == "mcp":
        yield from cycle(json.dumps(_tool_call(number, body)).encode() for number, body in enumerate(varied))
    if kind in APIS:
        yield from cycle(json.dumps(_in_api(kind, body)).encode() for body in varied)
    novel = ((model, tokens) for tokens in cycle(NOVEL_TOKENS) for model in MODELS)
    for number, (model, tokens) in zip(count(), novel):
        yield json.dumps(varied[number % DIFFERENT] | {"model": model, "max_tokens": tokens}).encode()


def path_of(kind: Kind) -> str:
    """Where requests of a kind go."""
    return PATHS.get(kind, CHAT_PATH)


def _tool_call(number: int, chat: dict[str, object]) -> dict[str, object]:
    """A call of a tool in MCP's newest form, about as long as the chat."""
    messages: list[dict[str, str]] = chat["messages"]  # type: ignore[assignment]  # as `_body` makes them
    meta = {
        "io.modelcontextprotocol/protocolVersion": MCP_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = {"query": messages[-1]["content"], "limit": 1 + number % 10}
    params = {"name": MCP_TOOL, "arguments": arguments, "_meta": meta}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def _in_api(kind: str, chat: dict[str, object]) -> dict[str, object]:
    """The same request in another API: the same text, about the same answer."""
    messages: list[dict[str, str]] = chat["messages"]  # type: ignore[assignment]  # as `_body` makes them
    text, most = messages[-1]["content"], chat.get("max_tokens", 512)
    match kind:
        case "responses":
            return {"model": "gpt-4o-mini", "input": text, "max_output_tokens": most}
        case "embeddings":
            return {"model": "text-embedding-3-small", "input": text}
        case "messages":
            said = [{"role": "user", "content": text}]
            return {"model": "claude-haiku-4-5", "max_tokens": most, "messages": said}
    contents = [{"role": "user", "parts": [{"text": text}]}]
    return {"contents": contents, "generationConfig": {"maxOutputTokens": most}}


def _body(number: int, *, stream: bool) -> dict[str, object]:
    chance = random.Random(_SEED + number)
    # Sizes are spread evenly on a logarithmic scale: as many below 640 bytes as above.
    size = int(BYTES_MIN * (BYTES_MAX / BYTES_MIN) ** (number / (DIFFERENT - 1)))
    body: dict[str, object] = {"model": chance.choice(MODELS), "messages": []}
    if chance.random() < 0.5:
        body["max_tokens"] = chance.choice((256, 512, 1_024, 2_048))
    if chance.random() < 0.3:
        body["temperature"] = chance.choice((0, 0.2, 0.7))
    if stream:
        body["stream"] = True
    messages: list[dict[str, str]] = [{"role": "user", "content": ""}]
    if size > 400:
        messages.insert(0, {"role": "system", "content": "You help the mortgage desk. Be brief and exact."})
    body["messages"] = messages
    missing = size - len(json.dumps(body))
    text = f"{number} " + " ".join(chance.choices(_WORDS, k=max(missing // 4, 1)))
    messages[-1]["content"] = text[: max(missing, 8)]
    return body
