"""Orders to the fake upstream, written into a request's text as ``[[name=value]]`` or ``[[name]]``.

In model calls they are read from the last user message (the last text, of embeddings), in a payment from
``reference``, in a search from ``query``; what an API has no use for it passes over.
An unknown or malformed one is refused: a typing error in a test must not pass as an ordinary request.
"""

import re
from typing import Annotated, Literal

import msgspec

_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Calls = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
_Delay = Annotated[int, msgspec.Meta(ge=0, le=600_000)]


class Directives(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request orders. Whatever is billed is billed before any delay, hang or cut."""

    tokens: _Count | None = None
    """Completion tokens of each choice, still cut at the caller's limit."""
    cached: _Count = 0
    """How many of the prompt's tokens count as cached (at most all)."""
    written: _Count = 0
    """How many of the prompt's tokens are written to the cache for 5 minutes, where that has a price."""
    written_1h: _Count = 0
    """How many of the prompt's tokens are written to the cache for an hour (Claude)."""
    audio_in: _Count = 0
    """How many of the prompt's tokens that aren't cached are audio; only models that hear take it."""
    audio_out: _Count = 0
    """How many of the completion's tokens are audio; only models that speak take it."""
    tool_tokens: _Count = 0
    """Gemini, with a tool on: tokens of tool results, beside the prompt's (together at most the body's bytes)."""
    searches: _Calls = 0
    """Web searches, where the request turns such a tool on, and at most as many as it allows."""
    file_searches: _Calls = 0
    """File searches, likewise."""
    code_runs: _Calls = 0
    """Sessions of the code interpreter, likewise."""
    mcp_calls: _Calls = 0
    """Calls of a remote MCP tool, likewise; they are free."""
    reasoning: _Count | None = None
    """How many of the completion's tokens are reasoning that isn't shown (at most all)."""
    over: _Count = 0
    """Bill and report this many tokens (rows, in a search) above the caller's limit."""
    rows: _Count | None = None
    """Rows that a search finds, still cut at the caller's limit."""
    usage: Literal["reported", "missing", "zero"] = "reported"
    """``missing``: billed, not reported. ``zero``: reported as zero and billed as zero; no tool is called."""
    leak: bool = False
    """Say personal data, made up, in tokens of three characters; as many as ``tokens`` says, over and over."""
    fail: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    """Answer with this status; nothing is billed."""
    retry_after: _Count | None = None
    """Put this many seconds into the ``Retry-After`` of a ``fail``."""
    hang: bool = False
    """Never answer; nothing is billed. (Billed and never answered: a long ``delay_ms``.)"""
    delay_ms: _Delay = 0
    """Wait before the first byte."""
    garbage: bool = False
    """Answer 200 with a body that isn't JSON, or a stream that holds no event; billed like any answer."""
    drip_ms: _Delay = 0
    """Send the body byte by byte and wait after each."""
    chunk_delay_ms: _Delay = 0
    """Stream: wait after each event."""
    error_after: _Count | None = None
    """Stream: after this many events the API's own event of an error, and the end. A response that isn't
    streamed has failed."""
    break_after: _Count | None = None
    """Stream: end the body cleanly after this many events, without terminal event."""
    reset_after: _Count | None = None
    """Stream: drop the connection after this many events, in the middle of the body."""
    hang_after: _Count | None = None
    """Stream: go silent after this many events, with the connection open."""


class DirectiveError(ValueError):
    """The text holds a directive that doesn't exist or has a value it can't have."""


NONE = Directives()

_PATTERN = re.compile(r"\[\[([a-z][a-z0-9_]*)(?:=([\w.-]*))?\]\]")


def parse(text: str) -> Directives:
    """The directives in ``text``; the last of a name wins."""
    if "[[" not in text:
        return NONE
    found = {match[1]: "true" if match[2] is None else match[2] for match in _PATTERN.finditer(text)}
    if not found:
        return NONE
    try:
        return msgspec.convert(found, Directives, strict=False)
    except msgspec.ValidationError:
        given = " ".join(f"{name}={value}" for name, value in found.items())
        known = ", ".join(Directives.__struct_fields__)
        raise DirectiveError(f"can't follow the directives `{given}`; known names are: {known}") from None
