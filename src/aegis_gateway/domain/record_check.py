"""What can be checked of a tenant's record, what is told where a check fails, and what holds of one entry by itself.

Rule 1: `CHECKS` is all that is checked; a fault is of one of them.
Rule 2: an entry is right by itself where it is canonical, and says of itself what stands beside it: its tenant, place,
        kind, call and time.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

import msgspec

from aegis_gateway.domain.entry import ENTRY_BYTES_MAX, ENTRY_VERSION, time_text

Check = Literal["numbering", "canonical", "place", "order", "call", "charges", "sums", "version", "policies"]
CHECKS: tuple[Check, ...] = get_args(Check)

CHECK_WORDS: dict[Check, str] = {
    "numbering": "the numbers of what was checked have no gap; of all of it, up to the last that was written",
    "canonical": "the bytes are what the entry's content is written to (canonical JSON, RFC 8785)",
    "place": "an entry says the tenant, number, kind, call and time that it is kept under",
    "order": "no entry is older than the one before it",
    "call": "a call's row says what its entries say, and each call has its decision in the record",
    "charges": "what a call was charged is what its settlement says, line by line",
    "sums": "what is added up of the hours and days that were checked is what their calls come to",
    "version": "the configuration that decided is, to the byte, what was signed, and follows the one before it",
    "policies": "the policies that a decision names are those of its configuration",
}

ENTRY_CHECK_WORDS: dict[Check, str] = {
    **CHECK_WORDS,
    "numbering": "there is an entry under this number",
    "order": "it is not older than the one before it",
    "sums": "what is added up of its hour is what the calls of that hour come to",
}
"""The same where one entry was checked, and nothing before or after it."""

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is kept: its bytes, and what stands beside them."""

    tenant: str
    sequence: int
    call: str | None
    type: str
    at_ns: int
    body: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes, by which it is known elsewhere; hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, at which place of the record, if it is at one; in words."""

    check: Check
    sequence: int | None
    words: str


def content(body: bytes) -> dict[str, Any] | None:
    """What some bytes say; None where they are no entry at all."""
    try:
        found = _decoder.decode(body)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def faults_of(kept: Kept, said: dict[str, Any] | None) -> list[Fault]:
    """What is wrong with an entry by itself; `said` is its content."""
    if said is None:
        return [_fault("canonical", kept, "its bytes are no JSON object")]
    found = []
    if _encoder.encode(said) != kept.body:
        found.append(_fault("canonical", kept, "its content is written to other bytes than are kept"))
    elif len(kept.body) > ENTRY_BYTES_MAX:
        found.append(
            _fault("canonical", kept, f"it has {len(kept.body)} bytes, and {ENTRY_BYTES_MAX} are the most")
        )
    beside = {
        "v": ENTRY_VERSION,
        "tenant": kept.tenant,
        "seq": kept.sequence,
        "type": kept.type,
        "call": kept.call,
        "time": time_text(kept.at_ns),
    }
    for name, value in beside.items():
        if said.get(name) != value:
            words = f"it says {name} `{said.get(name)}`, and is kept under `{value}`"
            found.append(_fault("place", kept, words))
    return found


def _fault(check: Check, kept: Kept, words: str) -> Fault:
    return Fault(check=check, sequence=kept.sequence, words=words)
