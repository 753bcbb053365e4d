"""What values of each kind look like: patterns, each with the check that it stands or falls by.

Most are told by their form. Dates of birth, record numbers, names and the like are told by the word before them, in
prose (`DOB: 1980-02-01`) as in JSON that stands inside a text (`"dob": "1980-02-01"`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aegis_gateway.adapters import redaction_checks as checks
from aegis_gateway.adapters.redaction_checks import Check
from aegis_gateway.adapters.redaction_grammar import (
    Part,
    any_of,
    either,
    exactly,
    literal,
    many,
    maybe,
    repeated,
    sequence,
    some,
    value,
)
from aegis_gateway.domain.redaction import FIELD, Redaction, RedactionKind, field_names

DIGIT, WORD = "[0-9]", "[0-9A-Za-z]"

_BEGIN = Part(r"(?:\b|\\[nrtbf])", r"(?:\\[nrtbf]?)?")
"""Where a word begins; in a text that is JSON, also after an escape such as `\\n`."""
_ESCAPE = Part(r"(?:\\[nrtbf])?", r"(?:\\[nrtbf]?)?")
"""Such an escape, or nothing: what begins with any sign is not to take a part of it."""
_END = Part(r"\b", "[.\\-]?")
"""Where a word ends. What a check wants to know of the sign after it has to have come."""
_SPACE = Part(r"(?:[ \t]|\xc2\xa0|\xe2\x80\xaf)", r"(?:[ \t]|\xc2\xa0?|\xe2(?:\x80\xaf?)?)?")
_DASH = Part(
    r"(?:[ .\-]|\xc2\xa0|\xe2\x80[\x90-\x95\xaf])", r"(?:[ .\-]|\xc2\xa0?|\xe2(?:\x80[\x90-\x95\xaf]?)?)?"
)
"""What separates the groups of a number: models like to write narrow spaces and hyphens that don't break."""
_SAID = some(r"[ \t\r\n:=#\"'\\*_|>(.\-]", 0, 12)
"""What may stand between a word and what it announces: `DOB: `, `"dob":"`, `**DOB** | `."""
_IS = sequence(_SAID, maybe(sequence(any_of("is", "was", "on", "no", "number", any_case=True), _SAID)))
_QUOTES = some(r"[\"'\\*_`]", 0, 4)
_ASSIGNED = sequence(_QUOTES, some("[ \t]", 0, 4), some("[:=]", 1, 2), some("[ \t\r\n]", 0, 4), _QUOTES)

MATCH_BYTES_MAX = 8_192
"""How long a value may be; what is longer is taken out up to here."""


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A form that values of a kind have, and the check that they have to pass."""

    kind: str
    part: Part
    check: Check


def _pattern(kind: str, part: Part, check: Check = checks.anything) -> Pattern:
    return Pattern(kind=kind, part=part, check=check)


def _after(words: Part, announced: Part) -> Part:
    """A value that a word announces."""
    return sequence(_BEGIN, words, _IS, value(announced), _END)


def _names(kind: RedactionKind, *more: str) -> Part:
    """The words that announce a kind: its fields' names, however they are written, and more."""
    return any_of(*(name.replace("_", "~") for name in field_names(kind)), *more, any_case=True)


def _ssn() -> list[Pattern]:
    groups = (exactly(DIGIT, 3), exactly(DIGIT, 2), exactly(DIGIT, 4))
    said = _names("ssn", "social~security~#", "tax~id")
    alone = [
        _pattern("ssn", _written(groups, dash), checks.is_ssn)
        for dash in (Part(r"(?:-|\xe2\x80[\x90-\x95])", r"(?:-|\xe2(?:\x80[\x90-\x95]?)?)?"), _SPACE)
    ]
    after = _after(said, sequence(groups[0], maybe(_DASH), groups[1], maybe(_DASH), groups[2]))
    return [*alone, _pattern("ssn", after, checks.is_ssn_in_context)]


def _written(groups: tuple[Part, ...], dash: Part) -> Part:
    first, *rest = groups
    return sequence(_BEGIN, value(sequence(first, *(part for group in rest for part in (dash, group)))), _END)


def _dob() -> list[Pattern]:
    slash = some(r"[/.\- ]", 1, 1)
    day = some(DIGIT, 1, 2)
    month = sequence(
        any_of(
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", any_case=True
        ),
        some("[a-z]", 0, 6),
        maybe(literal(".")),
    )
    nth = maybe(any_of("st", "nd", "rd", "th"))
    gap = some(r"[ ,.\-/]", 1, 2)
    dates = either(
        sequence(exactly(DIGIT, 4), slash, day, slash, day),
        sequence(day, slash, day, slash, either(exactly(DIGIT, 4), exactly(DIGIT, 2))),
        sequence(month, gap, day, nth, gap, exactly(DIGIT, 4)),
        sequence(day, nth, gap, maybe(literal("of ")), month, gap, exactly(DIGIT, 4)),
        exactly(DIGIT, 8),
    )
    said = _names(
        "dob", "d.o.b", "date~of~birth", "born", "geburtsdatum", "geboren~am", "date~de~naissance", "né~le", "née~le",
        "fecha~de~nacimiento", "data~di~nascita",
    )  # fmt: skip
    # Few dates stand so near to such a word and are another's.
    near = either(_IS, some(r"[^0-9\n\"\[\]{}]", 0, 28))
    return [_pattern("dob", sequence(_BEGIN, said, near, value(dates), _END), checks.is_date)]


def _mrn() -> list[Pattern]:
    said = _names("mrn", "medical~record", "medical~record~#", "chart~#", "chart~no", "hospital~number")
    number = sequence(some(WORD, 1, 1), some("[0-9A-Za-z-]", 2, 18), some(WORD, 1, 1))
    return [_pattern("mrn", _after(said, number), checks.is_record_number)]


def _name() -> list[Pattern]:
    letters = some(r"[A-Za-z\x80-\xff'.\-]", 0)
    capital = sequence(either(some("[A-Z]", 1, 1), some(r"[\xc3-\xd1]", 1, 1)), letters)
    spoken = sequence(capital, repeated(sequence(some("[ ]", 1, 1), capital), 0, 4))
    blank = some("[ \t]", 0, 2)
    says = sequence(_QUOTES, blank, any_of(":", "=", "|", " is "), some("[ \t\"'\\\\*_|]", 0, 6))
    in_prose = sequence(_BEGIN, _names("name"), says, value(spoken))
    return [
        _pattern("name", in_prose),
        quoted_field("name", field_names("name")),
    ]


def quoted_field(kind: str, names: tuple[str, ...]) -> Pattern:
    """The value of a field of JSON that stands inside a text: in quotes, or a number."""
    quote, escaped_quote = literal('"'), sequence(some(r"\\", 1, 3), literal('"'))
    inner = sequence(literal("\\"), some(r"[^\"\\]", 1, 1))
    text = many(either(some(r"[^\"\\]", 1, 1), sequence(literal("\\"), some(r"[^\n]", 1, 1))))
    escaped_text = many(either(some(r"[^\"\\]", 1, 1), inner))
    part = sequence(
        either(quote, escaped_quote),
        any_of(*(name.replace("_", "~") for name in names), any_case=True),
        either(quote, escaped_quote),
        some("[ \t\r\n]", 0, 8),
        literal(":"),
        some("[ \t\r\n]", 0, 8),
        either(
            sequence(quote, value(text)),
            sequence(escaped_quote, value(escaped_text)),
            value(some("[0-9.]", 1, 40)),
        ),
    )
    return _pattern(kind, part)


def _email() -> list[Pattern]:
    local = sequence(some(r"[A-Za-z0-9\x80-\xff_]", 1, 1), some(r"[A-Za-z0-9\x80-\xff._%+'-]", 0))
    host = sequence(
        repeated(sequence(some(r"[A-Za-z0-9\x80-\xff-]", 1), literal(".")), 1, 8), some("[A-Za-z]", 2, 24)
    )
    part = sequence(_ESCAPE, value(sequence(local, literal("@"), host)), Part(r"\b", ""))
    return [_pattern("email", part)]


def _phone() -> list[Pattern]:
    area = office = sequence(some("[2-9]", 1, 1), exactly(DIGIT, 2))
    line = exactly(DIGIT, 4)
    country = sequence(maybe(literal("+")), literal("1"), maybe(_DASH))
    bracketed = sequence(literal("("), area, literal(")"), maybe(_DASH), office, _DASH, line)
    american = either(
        sequence(country, either(bracketed, sequence(area, _DASH, office, _DASH, line))),
        bracketed,
        sequence(area, _DASH, office, _DASH, line),
    )
    group = sequence(maybe(_DASH), maybe(literal("(")), some(DIGIT, 1, 5), maybe(literal(")")))
    abroad = sequence(literal("+"), some("[1-9]", 1, 1), some(DIGIT, 0, 2), repeated(group, 2, 6))
    local = sequence(some("[0-9(+]", 1, 1), some(r"[0-9 ()/.\-]", 5, 18), some(DIGIT, 1, 1))
    said = _names(
        "phone",
        "tel",
        "cell",
        "whatsapp",
        "phone~no",
        "call~me~at",
        "call~us~at",
        "text~me~at",
        "reach~me~at",
    )
    return [
        _pattern("phone", sequence(_ESCAPE, value(american), _END), checks.is_phone),
        _pattern("phone", sequence(value(abroad), _END), checks.is_phone),
        _pattern("phone", _after(said, local), checks.is_phone_in_context),
    ]


def _card() -> list[Pattern]:
    number = sequence(some("[2-6]", 1, 1), repeated(sequence(maybe(_DASH), some(DIGIT, 1, 1)), 12, 18))
    return [_pattern("card", sequence(_BEGIN, value(number), _END), checks.is_card)]


def _iban() -> list[Pattern]:
    number = sequence(
        exactly("[A-Za-z]", 2), exactly(DIGIT, 2), repeated(sequence(maybe(_DASH), some(WORD, 1, 1)), 11, 30)
    )
    return [_pattern("iban", sequence(_BEGIN, value(number), _END), checks.is_iban)]


def _ip() -> list[Pattern]:
    octet = some(DIGIT, 1, 3)
    four = sequence(octet, repeated(sequence(literal("."), octet), 3, 3))
    group = some("[0-9A-Fa-f]", 0, 4)
    six = sequence(repeated(sequence(group, literal(":")), 2, 7), either(four, group))
    end = Part("", "[.:]?")
    return [
        _pattern("ip", sequence(_BEGIN, value(four), sequence(_END, end)), checks.is_ip),
        _pattern("ip", sequence(_ESCAPE, value(six), end), checks.is_ip),
    ]


def _credential() -> list[Pattern]:
    base64 = "[A-Za-z0-9+/_=-]"
    url_safe = "[A-Za-z0-9_-]"
    forms = either(
        sequence(any_of("sk-", "sk-ant-", "sk-proj-", "gsk_", "xai-", "pplx-", "r8_"), some(url_safe, 20)),
        sequence(any_of("sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "whsec_"), some(WORD, 16)),
        sequence(any_of("AKIA", "ASIA"), exactly("[0-9A-Z]", 16)),
        sequence(any_of("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), some(WORD, 36)),
        sequence(literal("github_pat_"), some("[A-Za-z0-9_]", 22)),
        sequence(literal("glpat-"), some(url_safe, 20)),
        sequence(literal("xox"), some("[abeoprs]", 1, 1), literal("-"), some("[A-Za-z0-9-]", 10)),
        sequence(literal("xapp-"), some("[A-Za-z0-9-]", 10)),
        sequence(literal("AIza"), exactly(url_safe, 35)),
        sequence(literal("ya29."), some(url_safe, 20)),
        sequence(literal("hf_"), some(WORD, 30)),
        sequence(literal("npm_"), exactly(WORD, 36)),
        sequence(literal("pypi-"), some(url_safe, 50)),
        sequence(literal("SG."), some(url_safe, 16, 64), literal("."), some(url_safe, 16, 64)),
        sequence(literal("dop_v1_"), exactly("[0-9a-f]", 64)),
        sequence(any_of("shpat_", "shpss_", "shpca_"), exactly("[0-9a-fA-F]", 32)),
        sequence(any_of("aegis_live_", "aegis_test_", "aegis_adm_"), some(WORD, 30)),
    )  # fmt: skip
    jwt = sequence(
        literal("eyJ"), some(url_safe, 8), literal("."), some(url_safe, 8), literal("."), some(url_safe, 0)
    )
    scheme = sequence(
        any_of("bearer", "authorization: basic", "authorization: token", "authorization: apikey", any_case=True),
        some("[ \t]", 1, 4),
    )  # fmt: skip
    border = sequence(
        some("[A-Z0-9 ]", 0, 30), literal("PRIVATE KEY"), maybe(literal(" BLOCK")), literal("-----")
    )
    pem = sequence(
        literal("-----BEGIN "),
        border,
        some(r"[A-Za-z0-9+/=\s\\:,]", 1),
        maybe(sequence(literal("-----END "), border)),
    )
    login = sequence(
        literal("://"),
        some(r"[^/\s:@\"']", 1, 64),
        literal(":"),
        value(some(r"[^/\s@\"']", 1, 128)),
        literal("@"),
    )
    password = sequence(
        _BEGIN, _names("credential", "password~is"), _ASSIGNED, value(some(r"[^\s\"'\\,;`]", 4, 128))
    )
    header = sequence(_BEGIN, scheme, value(some("[A-Za-z0-9._~+/=-]", 12)))
    storage = sequence(
        _BEGIN, literal("AccountKey="), value(sequence(exactly(base64, 80), some(base64, 0, 10)))
    )
    return [
        _pattern("credential", sequence(_BEGIN, value(either(forms, jwt)))),
        _pattern("credential", header, checks.is_token_of_headers),
        _pattern("credential", value(pem)),
        _pattern("credential", login, checks.is_secret),
        _pattern("credential", password, checks.is_secret),
        quoted_field("credential", field_names("credential")),
        _pattern("credential", storage),
    ]


_OF_KIND: dict[str, Callable[[], list[Pattern]]] = {
    "ssn": _ssn,
    "dob": _dob,
    "mrn": _mrn,
    "name": _name,
    "email": _email,
    "phone": _phone,
    "card": _card,
    "iban": _iban,
    "ip": _ip,
    "credential": _credential,
}


def patterns_of(redaction: Redaction) -> list[Pattern]:
    """The patterns of what is to be redacted."""
    found = [pattern for kind in redaction.kinds for pattern in _OF_KIND[kind]()]
    return [*found, quoted_field(FIELD, redaction.fields)] if redaction.fields else found
