"""Redaction of texts: what is found, what is left alone, what a stream holds back, and how the time grows."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_gateway.adapters.redaction import Compiled, Detectors, TextRedactor
from aegis_gateway.adapters.redaction_patterns import MATCH_BYTES_MAX
from aegis_gateway.domain.redaction import KINDS, Redaction

KEY = b"k" * 32
EVERYTHING = Redaction(kinds=tuple(sorted(KINDS)), fields=("account_code",))


def redacted(text: str, redaction: Redaction = EVERYTHING) -> str:
    """A text with every token's digits as dots."""
    redactor = TextRedactor(redaction, KEY)
    whole = redactor.whole(text)
    for kind in (*KINDS, "field"):
        before, found, after = whole.partition(f"[{kind.upper()}:")
        while found:
            whole = f"{before}[{kind.upper()}]{after[13:]}"
            before, found, after = whole.partition(f"[{kind.upper()}:")
    return whole


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("My SSN is 123-45-6789.", "My SSN is [SSN]."),
        ("ssn: 123456789", "ssn: [SSN]"),
        ("123\u201145\u20116789 and 415\u2011555\u20112671", "[SSN] and [PHONE]"),
        ("born on February 1, 1980 in X", "born on [DOB] in X"),
        ("**DOB:** 02/01/1980", "**DOB:** [DOB]"),
        ("MRN: A-123456, ward 3", "MRN: [MRN], ward 3"),
        ('{"patient_name": "John \\"J\\" Smith", "mrn": 123456}', '{"patient_name": "[NAME]", "mrn": "[MRN]"}'),
        ('{\\"patientName\\": \\"Jos\\u00e9 S\\", \\"a\\": 1}', '{\\"patientName\\": \\"[NAME]\\", \\"a\\": 1}'),
        ('{"account_code": "zz-1"}', '{"account_code": "[FIELD]"}'),
        ("Patient name: John Smith, aged", "Patient name: [NAME], aged"),
        ("mail john.doe@example.com now", "mail [EMAIL] now"),
        ("call (415) 555-2671 or +44 20 7946 0958", "call [PHONE] or [PHONE]"),
        ("4111 1111 1111 1111 123", "[CARD] 123"),
        ("DE89 3704 0044 0532 0130 00 BIC COBADEFF", "[IBAN] BIC COBADEFF"),
        ("http://192.168.0.1/x from fe80::1", "http://[IP]/x from [IP]"),
        ("key sk-abcdefghijklmnopqrstuvwx", "key [CREDENTIAL]"),
        ("Authorization: Bearer abc.def-123456789012", "Authorization: Bearer [CREDENTIAL]"),
        ("postgres://app:s3cr3t@db/main", "postgres://app:[CREDENTIAL]@db/main"),
        ("-----BEGIN PRIVATE KEY-----\nMII/a=\n-----END PRIVATE KEY-----\nbye", "[CREDENTIAL]\nbye"),
        ("line\\n123-45-6789\\n415-555-2671", "line\\n[SSN]\\n[PHONE]"),
    ],
)  # fmt: skip
def test_values_are_replaced_by_tokens(text: str, without: str) -> None:
    """Each kind, as people and models write it; what stands around it stays."""
    assert without == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4 at 12:30:45",
        "a::b std::vector<int>",
        "UUID 123e4567-e89b-12d3-a456-426614174000",
        "1700000000 1700000000000",
        "$1,234.56 for ORD-415-555-2671",
        "the meeting of 1980-02-01",
        "000-12-3456 is no number that is given out",
        "password is required",
    ],
)
def test_look_alikes_stay(text: str) -> None:
    """What only looks like a value is left as it is."""
    assert text == redacted(text)


def test_only_what_is_asked_for_is_redacted() -> None:
    """A redaction of one kind leaves the others."""
    text = "123-45-6789 a@b.example"
    assert "123-45-6789 [EMAIL]" == redacted(text, Redaction(kinds=("email",)))


def test_values_are_counted_by_kind() -> None:
    """The counts say how many of each kind were found."""
    redactor = TextRedactor(EVERYTHING, KEY)
    redactor.whole("123-45-6789 and 078-05-1120, a@b.example")
    assert {"ssn": 2, "email": 1} == redactor.counts


def test_a_value_has_one_token_however_it_is_written() -> None:
    """Separators, letter case and the order of a date's parts don't make another value."""
    redactor = TextRedactor(EVERYTHING, KEY)
    for one, other in [
        ("SSN 123-45-6789", "SSN 123456789"),
        ("DOB 1980-02-01", "DOB February 1, 1980"),
        ("A@B.example", "a@b.example"),
        ("+1 (415) 555-2671", "+1 415.555.2671"),
        ("4111 1111 1111 1111", "4111111111111111"),
        ("fe80:0::1", "fe80::1"),
    ]:
        assert redactor.whole(one).rpartition("[")[2] == redactor.whole(other).rpartition("[")[2]


def test_a_stream_goes_on() -> None:
    """What can't become a match comes out at once; what may is held, and comes out when it is decided."""
    stream = TextRedactor(EVERYTHING, KEY).stream()
    assert "All is well, " == stream.feed("All is well, ")
    assert "" == stream.feed("123-45")
    assert "" == stream.feed("-6789")
    assert stream.feed(". So").startswith("[SSN:")
    assert "So" == stream.end()


def test_no_text_stalls_a_stream() -> None:
    """However long something goes on that may become a match, no more than so much is held back."""
    stream = TextRedactor(EVERYTHING, KEY).stream()
    taken = given = 0
    for _ in range(40):
        piece = "eyJ" + "a" * 4_000
        taken += len(piece)
        given += len(stream.feed(piece))
        assert taken - given <= MATCH_BYTES_MAX + len(piece)


class Counting:
    """A compiled pattern that counts the bytes it may have had to read."""

    def __init__(self, compiled: Compiled, read: list[int]) -> None:
        self._compiled, self._read = compiled, read

    def search(self, text: bytes, position: int) -> Any:
        match = self._compiled.search(text, position)
        self._read[0] += (match.end() if match is not None else len(text)) - position
        return match

    def match(self, text: bytes, position: int) -> Any:
        match = self._compiled.match(text, position)
        self._read[0] += (match.end() if match is not None else len(text)) - position
        return match

    def fullmatch(self, text: bytes, position: int) -> Any:
        match = self._compiled.fullmatch(text, position)
        self._read[0] += len(text) - position if match is not None else 1
        return match


def bytes_read(text: str, piece: int) -> int:
    """How many bytes all detectors read of a text that comes in pieces."""
    read = [0]
    detectors = Detectors(EVERYTHING)
    for each in detectors.each:
        each.full, each.begun = Counting(each.full, read), Counting(each.begun, read)
    detectors.any_full = Counting(detectors.any_full, read)
    detectors.any_begun = Counting(detectors.any_begun, read)
    stream = TextRedactor(EVERYTHING, KEY, detectors, match_bytes_max=512).stream()
    for place in range(0, len(text), piece):
        stream.feed(text[place : place + piece])
    stream.end()
    return read[0]


@pytest.mark.parametrize(
    "unit",
    ["1 ", "12-", "4111-", "a@", "eyJ-", "eyJ.", "-----BEGIN PRIVATE KEY-----", "dob ", "1::", "+1(", "password=[SSN:",
     '"patient_name":"\\"', "\u2011", "DE89 ", "bearer ", "://a:", "1.1.1.1."],
)  # fmt: skip
def test_the_time_grows_with_the_length_alone(unit: str) -> None:
    """Of texts made to be slow, twice as much takes twice as long: bytes read are counted, in one piece and in many."""
    for size, piece in ((8_000, 40_000), (8_000, 100)):
        once = bytes_read(unit * (size // len(unit)), piece)
        twice = bytes_read(unit * (2 * size // len(unit)), piece)
        assert twice <= 2.2 * once


@pytest.mark.parametrize(
    "number", ["1980-02-66666666666666666666601", "9" * 30, "1/2/" + "9" * 5_000, "0" * 9_000, "1-" * 60]
)
def test_a_birth_that_is_no_date(number: str) -> None:
    """What a field of a birth's name holds is redacted, whatever numbers it is written with."""
    assert TextRedactor(EVERYTHING, KEY).field("dob", number).startswith("[DOB:")
