"""Entries: the record of what was decided and what became of it, one gapless sequence per tenant.

The format is frozen (`v` 1): canonical JSON as of RFC 8785, keys sorted, no white space, amounts as strings of
whole nano-USD or smallest units, times in UTC to the nanosecond. An entry is at most 65,535 bytes, so that it
can be a leaf of a transparency log (C2SP tlog-tiles) as it stands. It carries no argument in the clear: a
salted digest (the salt can be deleted), an HMAC by which equal calls are recognised, and a redacted summary.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from aegis_gateway.domain.decision import Reason, Shadow

ENTRY_VERSION = 1
ENTRY_BYTES_MAX = 65_535

_SUMMARY_BYTES_MAX = 8_192
_MESSAGE_CHARACTERS_MAX = 1_000
_REASONS_MAX = 16
_SHADOW_CHARACTERS_MAX = 200

_encoder = msgspec.json.Encoder(order="sorted")


def canonical(entry: dict[str, object]) -> bytes:
    """Write an entry as canonical JSON. Keys are ASCII and numbers small integers, which is all RFC 8785 asks.

    Raises:
        ValueError: the entry is longer than a leaf may be.
    """
    encoded = _encoder.encode(entry)
    if len(encoded) > ENTRY_BYTES_MAX:
        raise ValueError(f"an entry of {len(encoded)} bytes is longer than {ENTRY_BYTES_MAX}")
    return encoded


def time_text(instant_ns: int) -> str:
    """An instant as RFC 3339 in UTC with nine decimals: `2026-11-23T22:50:47.123456789Z`."""
    seconds, nanos = divmod(instant_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def amounts_text(amounts: dict[str, int]) -> dict[str, str]:
    """Amounts by quantity, as strings."""
    return {quantity: str(amount) for quantity, amount in amounts.items()}


def reasons_record(reasons: tuple[Reason, ...]) -> list[dict[str, str]]:
    """Reasons as an entry carries them, bounded in number and length."""
    return [
        {
            "code": reason.code,
            "message": reason.message[:_MESSAGE_CHARACTERS_MAX],
            "subject": reason.subject[:_MESSAGE_CHARACTERS_MAX],
        }
        for reason in reasons[:_REASONS_MAX]
    ]


def shadow_record(shadow: tuple[Shadow, ...]) -> list[dict[str, str]]:
    """What rules in shadow would have changed, as an entry carries it; an error in few words."""
    return [
        {"rule": each.rule, "would": each.would}
        | ({"message": each.message[:_SHADOW_CHARACTERS_MAX]} if each.message else {})
        for each in shadow
    ]


def bounded_summary(summary: dict[str, object]) -> dict[str, object]:
    """A summary of arguments that fits into an entry; one that does not is replaced by its size."""
    size = len(_encoder.encode(summary))
    return summary if size <= _SUMMARY_BYTES_MAX else {"omitted_bytes": size}
