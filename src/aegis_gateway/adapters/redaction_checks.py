"""What patterns can't say of a value: checksums, dates that exist; and when two values are one.

A check looks at a candidate and says how many of its bytes are the value; none, if it is not one.
"""

from __future__ import annotations

import contextlib
import re
import string
from collections.abc import Callable
from datetime import date
from ipaddress import IPv4Address, ip_address
from typing import NamedTuple

from stdnum import iban as iban_number
from stdnum import luhn
from stdnum.us import itin


class Candidate(NamedTuple):
    """What looks like a value, with a little of what stands before and after it."""

    text: bytes
    before: bytes
    after: bytes

    @property
    def continues(self) -> bool:
        """Whether a number is a part of a longer one, or of a code with dashes."""
        before, after = self.before, self.after
        return (
            (before[-1:] in (b"-", b".", b"_") and before[-2:-1].isalnum())
            or (after[:1] in (b"-", b".") and after[1:2].isdigit())
            or after[:1] == b"_"
        )


Check = Callable[[Candidate], int]

_GAP = re.compile(rb"[ \t().\-/]|\xc2\xa0|\xe2\x80[\x90-\x95\xaf]")
_TOKEN_BEGUN = re.compile(rb"\[[A-Z]{2,10}:[0-9a-f]{0,12}")
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
_DATE_PARTS = re.compile(rb"[0-9]+|[A-Za-z]{3,}")
_CARD_LENGTHS = (
    (re.compile(rb"4"), (13, 16, 19)),
    (re.compile(rb"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(rb"3[47]"), (15,)),
    (re.compile(rb"3(?:0[0-5]|[689])"), (14, 16)),
    (re.compile(rb"35(?:2[89]|[3-8])"), (16,)),
    (re.compile(rb"6(?:011|4[4-9]|5|2)"), (16, 17, 18, 19)),
    (re.compile(rb"5[0678]|6[37]"), (13, 14, 15, 16, 18, 19)),
)
_YEAR_DIGITS = 4
_LETTERS_AS_NUMBERS = {ord(letter): str(int(letter, 36)) for letter in string.ascii_uppercase}
_NOT_DIGITS = re.compile(rb"[^0-9]")
_NOT_ALPHANUMERIC = re.compile(rb"[^0-9A-Za-z]")
_VERSION = re.compile(rb"(?i)(?:version|release|build|ver\.?|rev\.?|firmware)[ :=]{0,2}$")
_NOT_SECRET = re.compile(
    rb"(?i)(?:[a-z]+|true|false|null|none|required|[*x.]+|<.*|\$\{?[a-z_]+\}?|env:.*|file:.*|process\.env.*|os\.environ.*)"
)


def anything(found: Candidate) -> int:
    """All of it: the pattern said enough."""
    return len(found.text)


def is_ssn(found: Candidate) -> int:
    """A social security number, or a taxpayer's number of the same form, of a range that is given out."""
    if found.continues:
        return 0
    return is_ssn_in_context(found)


def is_ssn_in_context(found: Candidate) -> int:
    """The same where a word has said what it is."""
    number = _digits(found.text).decode()
    if number[:3] in ("000", "666") or number[3:5] == "00" or number[5:] == "0000":
        return 0
    # From 900 on they are individual taxpayers' numbers. (The library's own check of others leaves out some that were
    # once printed as examples.)
    return len(found.text) if number < "9" or itin.is_valid(number) else 0


def is_date(found: Candidate) -> int:
    """A date that exists, of the last two hundred years or so."""
    return len(found.text) if _date(found.text) is not None else 0


def is_record_number(found: Candidate) -> int:
    """Something with at least three digits."""
    return len(found.text) if len(_digits(found.text)) >= 3 else 0


def is_phone(found: Candidate) -> int:
    """A number that stands alone, with as many digits as telephone numbers have."""
    if found.continues or found.before[-1:] in (b"+", b"/", b"#", b"$") or found.before[-1:].isalnum():
        return 0
    return is_phone_in_context(found)


def is_phone_in_context(found: Candidate) -> int:
    """The same where a word has said what it is."""
    return len(found.text) if 7 <= len(_digits(found.text)) <= 15 else 0


def is_card(found: Candidate) -> int:
    """A payment card's number: an issuer's beginning and length, and the checksum. What follows it is left out."""
    if found._replace(after=b"").continues:
        return 0
    for end in _ends(found.text):
        number = _digits(found.text[:end])
        lengths = next((lengths for begin, lengths in _CARD_LENGTHS if begin.match(number)), ())
        if len(number) in lengths and luhn.is_valid(number.decode()):
            return end
    return 0


def is_iban(found: Candidate) -> int:
    """An account's number: its country's length and form, and the checksum. What follows it is left out."""
    for end in range(len(found.text), 14, -1):
        number = _alphanumeric(found.text[:end]).decode()
        if (
            found.text[end - 1 : end].isalnum()
            and _iban_remainder(number) == 1
            and iban_number.is_valid(number)
        ):
            return end
    return 0


def is_ip(found: Candidate) -> int:
    """An address, and no version number, clock time or name of a program's part."""
    if (
        found.before[-1:] in (b".", b":", b"-")
        or found.before[-1:].isalnum()
        or _VERSION.search(found.before)
    ):
        return 0
    if found.after[:1] in (b".", b":") and (found.after[1:2].isalnum() or found.after[1:2] == b":"):
        return 0
    try:
        address = ip_address(found.text.decode())
    except ValueError:
        return 0
    if isinstance(address, IPv4Address):
        return 0 if address.is_unspecified else len(found.text)
    groups = [group for group in found.text.split(b":") if group]
    looks_like_one = len(groups) >= 3 or (len(groups) == 2 and re.search(rb"[0-9]", found.text) is not None)
    return len(found.text) if looks_like_one else 0


def is_token_of_headers(found: Candidate) -> int:
    """What follows `Basic`, or the like: not a word."""
    return len(found.text) if not found.text.isalpha() or not found.text.islower() else 0


def is_secret(found: Candidate) -> int:
    """What stands where a password does and is none: a placeholder, a reference, a plain word."""
    return 0 if _NOT_SECRET.fullmatch(found.text) else len(found.text)


def holds_token(found: bytes) -> bool:
    """Whether a candidate has a token in it, or the beginning of one."""
    return _TOKEN_BEGUN.search(found) is not None


def is_in_token(before: bytes) -> bool:
    """Whether what follows is the inside of a token."""
    last = before.rfind(b"[")
    return last >= 0 and _TOKEN_BEGUN.fullmatch(before[last:]) is not None


def plain_value(kind: str, found: bytes) -> bytes:
    """What of a value tells it from others of its kind, however it is written."""
    return _PLAIN.get(kind, _lower)(found) or _lower(found)


def _alphanumeric(found: bytes) -> bytes:
    return _NOT_ALPHANUMERIC.sub(b"", found).upper()


def _digits(found: bytes) -> bytes:
    return _NOT_DIGITS.sub(b"", found)


def _lower(found: bytes) -> bytes:
    return b" ".join(found.decode(errors="replace").casefold().encode().split())


def _phone_digits(found: bytes) -> bytes:
    """Digits alone, a number of North America without its country."""
    number = _digits(found)
    return number[1:] if len(number) == 11 and number.startswith(b"1") else number


def _iso_date(found: bytes) -> bytes:
    """A date in ISO's form; the month comes first where both numbers could be it."""
    day = _date(found)
    return day.isoformat().encode() if day is not None else b""


def _shortest_address(found: bytes) -> bytes:
    try:
        return ip_address(found.decode()).compressed.encode()
    except ValueError:
        return b""


_PLAIN: dict[str, Callable[[bytes], bytes]] = {
    "ssn": _digits,
    "dob": _iso_date,
    "mrn": _alphanumeric,
    "phone": _phone_digits,
    "card": _digits,
    "iban": _alphanumeric,
    "ip": _shortest_address,
    "credential": lambda found: found,
}


def _ends(found: bytes) -> list[int]:
    """Where a group of digits ends in a candidate, the last first."""
    ends = [gap.start() for gap in _GAP.finditer(found)]
    return [len(found), *reversed(ends)]


def _iban_remainder(number: str) -> int:
    return int((number[4:] + number[:4]).translate(_LETTERS_AS_NUMBERS)) % 97


def _date(found: bytes) -> date | None:
    parts = _DATE_PARTS.findall(found)
    if len(parts) == 1 and len(parts[0]) == 8 and parts[0].isdigit():
        parts = [parts[0][:4], parts[0][4:6], parts[0][6:]]
    if any(len(part) > _YEAR_DIGITS and part.isdigit() for part in parts):
        return None  # a field may be named as a date of birth and hold any number
    words = [part for part in parts if part.isalpha()]
    months = [_MONTHS.index(word[:3].lower()) + 1 for word in words if word[:3].lower() in _MONTHS]
    numbers = [int(part) for part in parts if part.isdigit()]
    if months and len(numbers) == 2:
        return _existing(numbers[1], months[0], numbers[0]) or _existing(numbers[0], months[0], numbers[1])
    if len(numbers) != 3 or months:
        return None
    if numbers[0] > 31:
        return _existing(*numbers)
    month, day, year = numbers
    if len(parts[2]) == 2:
        year += 1900 if year > 30 else 2000
    return _existing(year, month, day) or _existing(year, day, month)


def _existing(year: int, month: int, day: int) -> date | None:
    if not 1850 <= year <= 2100:
        return None
    with contextlib.suppress(ValueError):
        return date(year, month, day)
    return None
