from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.entry import (
    ENTRY_BYTES_MAX,
    amounts_text,
    bounded_summary,
    canonical,
    reasons_record,
    time_text,
)

# What stands in entries: ASCII keys, integers within 53 bits, any text that is Unicode.
KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=16,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_canonical_is_rfc_8785(entry: dict[str, object]) -> None:
    """For whatever an entry can hold, our bytes are those of the independent reference."""
    assert rfc8785.dumps(entry) == canonical(entry)  # type: ignore[arg-type]  # its own narrower JSON type


def test_every_sign_is_written_as_the_standard_says() -> None:
    """Each sign of the first two planes' edges and all control characters, one by one."""
    for code in [*range(0x180), 0x2028, 0x2029, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF]:
        entry = {"text": chr(code)}
        assert rfc8785.dumps(entry) == canonical({**entry}), hex(code)


@pytest.mark.parametrize("extra", [0, 1])
def test_an_entry_fits_into_a_leaf(extra: int) -> None:
    """At most 65,535 bytes: one more is refused."""
    entry: dict[str, object] = {"x": "y" * (ENTRY_BYTES_MAX - len('{"x":""}') + extra)}
    if extra:
        with pytest.raises(ValueError, match="an entry of 65536 bytes is longer than 65535"):
            canonical(entry)
    else:
        assert ENTRY_BYTES_MAX == len(canonical(entry))


@pytest.mark.parametrize(
    ("instant_ns", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_795_474_247_123_456_789, "2026-11-23T22:50:47.123456789Z"),
        (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times(instant_ns: int, expected: str) -> None:
    """Instants are UTC, to the nanosecond."""
    assert expected == time_text(instant_ns)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_times_sort_as_texts(first: int, second: int) -> None:
    """Texts of instants sort as the instants do, and nothing of them is lost."""
    assert (first < second) == (time_text(first) < time_text(second))
    moment, _, nanos = time_text(first).removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    assert first == seconds * 10**9 + int(nanos)


@given(st.dictionaries(KEYS, st.integers(-(2**63), 2**63 - 1)))
def test_amounts_are_texts(amounts: dict[str, int]) -> None:
    """Amounts beyond what JSON's numbers hold survive."""
    assert amounts == {
        key: int(text) for key, text in json.loads(canonical({"a": amounts_text(amounts)}))["a"].items()
    }


def test_reasons_are_bounded() -> None:
    """At most sixteen reasons, of a thousand characters each."""
    reasons = tuple(
        Reason(code="denied_by_policy", message="m" * 5_000, subject="s" * 5_000) for _ in range(50)
    )
    record = reasons_record(reasons)
    assert 16 == len(record)
    assert {"code": "denied_by_policy", "message": "m" * 1_000, "subject": "s" * 1_000} == record[0]


@pytest.mark.parametrize("size", [8_192, 8_193])
def test_a_summary_that_is_too_long(size: int) -> None:
    """A summary above 8 KiB is replaced by its size."""
    summary: dict[str, object] = {"x": "y" * (size - len('{"x":""}'))}
    expected = summary if size == 8_192 else {"omitted_bytes": 8_193}
    assert expected == bounded_summary(summary)
