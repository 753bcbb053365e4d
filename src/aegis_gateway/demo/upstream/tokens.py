"""How text becomes tokens: a quarter of its characters, rounded up.

A character takes at least one byte of the request, so tokens never exceed the body's bytes.
"""

from collections.abc import Iterable
from typing import Any
from zlib import crc32

import msgspec

TOKENS_PER_MESSAGE = 3
TOKENS_PER_PROMPT = 3

Content = str | list[dict[str, Any]] | None
"""What a message holds: text, or parts of which some have a ``text``."""


def quarter(characters: int) -> int:
    """The tokens of so many characters."""
    return (characters + 3) >> 2


def text_of(content: Content) -> str:
    """The text of a message; of its parts, those that are text."""
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in content or () if "text" in part)


def content_tokens(content: Content) -> int:
    """The tokens of a message's content; of a part that isn't text, the JSON counts."""
    if isinstance(content, str):
        return quarter(len(content))
    if not content:
        return 0
    others = (quarter(len(msgspec.json.encode(part))) for part in content if "text" not in part)
    return quarter(len(text_of(content))) + sum(others)


def conversation(seed: int, contents: Iterable[Content]) -> int:
    """A number that is the same for the same seed and texts."""
    seen = seed & 0xFFFFFFFF
    for content in contents:
        text = content if isinstance(content, str) else text_of(content)
        seen = crc32(text.encode("utf-8", "surrogatepass"), seen)
    return seen
