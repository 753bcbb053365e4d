"""API keys of agents: `aegis_live_` + 30 base62 characters + 6 base62 characters of their CRC-32.

Tokens of people (`aegis_person_`) have the same form. The checksum lets a scanner, or the gateway's door, tell a
mistyped or foreign key from an unknown one without a look-up. Only an HMAC-SHA256 of a key under the installation's
pepper is ever stored: keys are random (178 bits), so a slow password hash would add nothing but latency.
"""

from __future__ import annotations

import hashlib
import hmac
import string
import zlib
from collections.abc import Callable
from typing import Literal

from aegis_gateway.domain.errors import KeyFormatError

KeyKind = Literal["live", "test", "person"]

OUR_KEYS = "aegis_"
"""What every key of ours begins with, whatever its kind."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 30
_CHECK_LENGTH = 6
_KINDS: tuple[KeyKind, ...] = ("live", "test", "person")
_NUMBERS = 62**_RANDOM_LENGTH
_RANDOM_BYTES = 32


def key_from_random(number: int, kind: KeyKind = "live") -> str:
    """Write a random number below 62**30 as a key."""
    random_part = _base62(number, _RANDOM_LENGTH)
    return f"aegis_{kind}_{random_part}{_checksum(random_part)}"


def new_key(random_bytes: Callable[[int], bytes], kind: KeyKind = "live") -> str:
    """Make a key of random bytes."""
    return key_from_random(int.from_bytes(random_bytes(_RANDOM_BYTES), "big") % _NUMBERS, kind)


def check_key(key: str) -> KeyKind:
    """Tell the kind of a well-formed key.

    Raises:
        KeyFormatError: the shape or the checksum is not that of a key.
    """
    for kind in _KINDS:
        prefix = f"aegis_{kind}_"
        if key.startswith(prefix):
            body = key[len(prefix) :]
            if len(body) != _RANDOM_LENGTH + _CHECK_LENGTH or not set(body) <= set(_BASE62):
                raise KeyFormatError("the key has the wrong length or characters; was it cut when copied?")
            if _checksum(body[:_RANDOM_LENGTH]) != body[_RANDOM_LENGTH:]:
                raise KeyFormatError("the key's checksum is wrong; was it mistyped?")
            return kind
    raise KeyFormatError("this is not an Aegis key; they begin with `aegis_live_` or `aegis_test_`")


def key_hash(key: str, pepper: bytes) -> bytes:
    """What is stored in place of a key: 32 bytes."""
    return hmac.digest(pepper, key.encode(), "sha256")


def token_digest(token: str) -> str:
    """What a person's token is registered by, so that nobody else sees it: SHA-256 in hexadecimal.

    What is stored is the keyed hash (`key_hash`) of that.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def key_hint(key: str) -> str:
    """What people are shown in place of a key: its beginning and its last four characters."""
    kind = key.split("_")[1]
    return f"aegis_{kind}_…{key[-4:]}"


def key_kind(hint: str) -> KeyKind:
    """The kind of the key that a hint was made of."""
    return next(kind for kind in _KINDS if hint.startswith(f"aegis_{kind}_"))


def _checksum(random_part: str) -> str:
    return _base62(zlib.crc32(random_part.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        characters.append(_BASE62[digit])
    return "".join(reversed(characters))
