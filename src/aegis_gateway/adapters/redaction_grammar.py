"""Patterns that know their own beginnings, for texts that arrive in pieces.

Rule: of each pattern there are two forms, made from the same parts: what is looked for, and every beginning of it. A
text's end that is a beginning of something may still become a match and is held back; nothing else is.

Patterns are RE2's, over UTF-8 bytes. RE2 has neither backreferences nor look-around and runs in linear time, so no text
makes it slow.
"""

from __future__ import annotations

import msgspec


class Part(msgspec.Struct, frozen=True):
    """A part of a pattern: `full` matches it, `begun` any beginning of it, from nothing up to the whole."""

    full: str
    begun: str


NOTHING = Part("", "")


def literal(text: str, *, any_case: bool = False) -> Part:
    """A text as it stands, or in any letter case. A `~` in it may be a space, `_`, `-` or nothing."""
    pieces = ["[ _\\-]?" if sign == "~" else _escaped(sign) for sign in text]
    begun = ""
    for piece in reversed(pieces):
        begun = f"(?:{piece}{begun})?"
    full = "".join(pieces)
    return Part(f"(?i:{full})", f"(?i:{begun})") if any_case else Part(full, begun)


def some(signs: str, least: int, most: int | None = None) -> Part:
    """Signs of a class, so many; without `most`, no bound."""
    bound = f"{{{least},{most}}}" if most is not None else f"{{{least},}}"
    return Part(signs + bound, signs + (f"{{0,{most}}}" if most is not None else "*"))


def exactly(signs: str, number: int) -> Part:
    """Signs of a class, just so many."""
    return some(signs, number, number)


def sequence(*parts: Part) -> Part:
    """One part after another."""
    full, begun = "", ""
    for part in reversed(parts):
        begun = f"(?:{part.full}{begun}|{part.begun})" if begun else part.begun
        full = part.full + full
    return Part(full, begun)


def either(*parts: Part) -> Part:
    """One of some parts, the first that fits."""
    return Part(
        f"(?:{'|'.join(part.full for part in parts)})", f"(?:{'|'.join(part.begun for part in parts)})"
    )


def maybe(part: Part) -> Part:
    """A part or nothing."""
    return Part(f"(?:{part.full})?", f"(?:{part.begun})")


def repeated(part: Part, least: int, most: int) -> Part:
    """A part several times over."""
    return Part(
        f"(?:{part.full}){{{least},{most}}}",
        f"(?:{part.full}){{0,{most}}}{part.begun}",
    )


def many(part: Part) -> Part:
    """A part once or more, without bound."""
    return Part(f"(?:{part.full})+", f"(?:{part.full})*{part.begun}")


def value(part: Part) -> Part:
    """The part that is to be redacted; what stands around it only says what it is."""
    return Part(f"({part.full})", part.begun)


def any_of(*texts: str, any_case: bool = False) -> Part:
    """One of some texts; of those that begin alike the longer come first."""
    return either(*(literal(text, any_case=any_case) for text in sorted(texts, key=len, reverse=True)))


def _escaped(sign: str) -> str:
    encoded = sign.encode()
    if len(encoded) > 1:
        return "".join(f"\\x{byte:02x}" for byte in encoded)
    return sign if sign.isalnum() else f"\\x{encoded[0]:02x}"
