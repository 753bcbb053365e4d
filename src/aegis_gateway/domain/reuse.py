"""Cache candidates: calls whose answer had been had before, by the same agent, not long ago.

Rule 1: looked at are calls that cost something and whose answer could be used again: those of models, and tools that
        read.
Rule 2: the same request is the same agent's, of the same tool and model, with the same arguments, told by a keyed
        digest, so that nothing of them can be read from it.
Rule 3: a candidate is a call that was settled within a day after the same request was. What it cost was spent; what a
        cache could have saved stands beside it and is never taken off.
"""

from __future__ import annotations

import hashlib

from aegis_gateway.domain.registry import Connector

REUSE_NS = 24 * 3_600 * 1_000_000_000
"""For how long an answer is taken to be as good as new."""

_READING = ("GET", "HEAD")
_BYTES = 8


def is_reusable(model: str | None, connector: Connector | None, tool: str) -> bool:
    """Whether an answer could be used again: a model's, or that of an operation over HTTP which only reads."""
    if model is not None:
        return True
    if connector is None or connector.kind != "http":
        return False
    name = tool.removeprefix(f"{connector.id}.")
    return any(each.method in _READING for each in connector.operations if each.id == name)


def request_number(*parts: str) -> int:
    """What tells a request from others, in 63 bits: a digest of keyed digests and names."""
    digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=_BYTES).digest()
    return int.from_bytes(digest, "big") >> 1
