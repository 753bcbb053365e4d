"""Orders to the fake upstream, written into a request's text as ``[[name=value]]`` or ``[[name]]``.

In chat they are read from the last user message, in a payment from ``reference``, in a search from ``query``.
An unknown or malformed one is refused: a typing error in a test must not pass as an ordinary request.
"""

import re
from typing import Annotated, Literal

import msgspec

_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Delay = Annotated[int, msgspec.Meta(ge=0, le=600_000)]


class Directives(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request orders. Whatever is billed is billed before any delay, hang or cut."""

    tokens: _Count | None = None
    """Completion tokens of each choice, still cut at the caller's limit."""
    cached: _Count = 0
    """How many of the prompt's tokens count as cached (at most all)."""
    reasoning: _Count | None = None
    """How many of the completion's tokens are reasoning that isn't shown (at most all)."""
    over: _Count = 0
    """Bill and report this many tokens (rows, in a search) above the caller's limit."""
    rows: _Count | None = None
    """Rows that a search finds, still cut at the caller's limit."""
    usage: Literal["reported", "missing", "zero"] = "reported"
    """``missing``: billed, not reported. ``zero``: reported as zero and billed as zero."""
    fail: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    """Answer with this status; nothing is billed."""
    hang: bool = False
    """Never answer; nothing is billed. (Billed and never answered: a long ``delay_ms``.)"""
    delay_ms: _Delay = 0
    """Wait before the first byte."""
    chunk_delay_ms: _Delay = 0
    """Stream: wait after each event."""
    break_after: _Count | None = None
    """Stream: end the body cleanly after this many events, without terminal event."""
    reset_after: _Count | None = None
    """Stream: drop the connection after this many events, in the middle of the body."""
    hang_after: _Count | None = None
    """Stream: go silent after this many events, with the connection open."""


class DirectiveError(ValueError):
    """The text holds a directive that doesn't exist or has a value it can't have."""


NONE = Directives()

_PATTERN = re.compile(r"\[\[([a-z_]+)(?:=([\w.-]*))?\]\]")


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
