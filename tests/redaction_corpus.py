"""A labelled set of sentences with values to redact, and of sentences with what only looks like them. Seeded.

The values come from generators of their own, which know nothing of the patterns that are to find them; the sentences
are what people and models write: prose, lists, tables, logs, JSON inside a text.
"""

from __future__ import annotations

import base64
import calendar
import json
import random
import re
import string
from collections.abc import Callable
from datetime import date, timedelta

import msgspec
from stdnum import luhn

SENTENCES = 2_400


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence, and the values in it that have to go, by kind."""

    text: str
    values: tuple[tuple[str, str], ...] = ()


Draw = Callable[[random.Random], str]

_FIRST = (
    "Amara",
    "José",
    "Wei",
    "Olga",
    "Liam",
    "Siobhán",
    "Noor",
    "Łukasz",
    "Ivy",
    "Björn",
    "Anna-Lena",
    "Tunde",
)
_LAST = (
    "Okafor",
    "Müller",
    "García",
    "Chen",
    "O'Neill",
    "Petrova",
    "Smith-Jones",
    "Nguyen",
    "Dubois",
    "Kowalski",
)
_MONTHS = tuple(calendar.month_name)[1:]
_HOSTS = ["example.com", "mail.example.org", "clinic.co.uk", "bücher-shop.example", "bank.example.net"]


def _number(draw: random.Random, digits: int) -> str:
    return "".join(draw.choice(string.digits) for _ in range(digits))


def _letters(draw: random.Random, number: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(draw.choice(alphabet) for _ in range(number))


def ssn(draw: random.Random) -> str:
    """A social security number."""
    area = draw.choice([each for each in range(1, 900) if each != 666])
    parts = f"{area:03}", f"{draw.randint(1, 99):02}", f"{draw.randint(1, 9999):04}"
    return draw.choice(("-", "-", "-", " ", "\u2011")).join(parts)


def _day(draw: random.Random) -> date:
    return date(1925, 1, 1) + timedelta(days=draw.randint(0, 36_000))


def dob(draw: random.Random) -> str:
    """A date of birth."""
    day = _day(draw)
    month = _MONTHS[day.month - 1]
    return draw.choice(
        (
            day.isoformat(),
            f"{day.month:02}/{day.day:02}/{day.year}",
            f"{day.day}.{day.month}.{day.year}",
            f"{month} {day.day}, {day.year}",
            f"{day.day} {month[:3]} {day.year}",
            f"{day.month}/{day.day}/{day.year % 100:02}",
        )
    )


def mrn(draw: random.Random) -> str:
    """A medical record number."""
    return draw.choice(
        (
            _number(draw, 7),
            f"MR{_number(draw, 6)}",
            f"A-{_number(draw, 5)}",
            f"{_number(draw, 3)}-{_number(draw, 4)}",
        )
    )


def name(draw: random.Random) -> str:
    """A person's name."""
    middle = draw.choice(("", "", f" {draw.choice(string.ascii_uppercase)}."))
    return f"{draw.choice(_FIRST)}{middle} {draw.choice(_LAST)}"


def email(draw: random.Random) -> str:
    """An e-mail address."""
    local = draw.choice(
        (f"{_letters(draw, 6).lower()}.{_letters(draw, 4).lower()}", f"a{_number(draw, 3)}+tag", "o'neill_x")
    )
    return f"{local}@{draw.choice(_HOSTS)}"


def phone(draw: random.Random) -> str:
    """A telephone number."""
    area, office, line = f"{draw.randint(201, 989)}", f"{draw.randint(200, 999)}", _number(draw, 4)
    return draw.choice(
        (
            f"({area}) {office}-{line}",
            f"{area}-{office}-{line}",
            f"{area}.{office}.{line}",
            f"+1 {area} {office} {line}",
            f"1-{area}-{office}-{line}",
            f"+44 20 7{_number(draw, 3)} {_number(draw, 4)}",
            f"+49 (30) {_number(draw, 7)}",
            f"+33 6 {_number(draw, 2)} {_number(draw, 2)} {_number(draw, 2)} {_number(draw, 2)}",
            f"+91{draw.randint(6, 9)}{_number(draw, 9)}",
            f"020 7{_number(draw, 3)} {_number(draw, 4)}",
        )
    )  # fmt: skip


def card(draw: random.Random) -> str:
    """A payment card's number."""
    begin, length = draw.choice(
        (("4", 16), ("51", 16), ("2300", 16), ("37", 15), ("6011", 16), ("3530", 16), ("36", 14))
    )
    body = begin + _number(draw, length - len(begin) - 1)
    number = body + luhn.calc_check_digit(body)
    gap = draw.choice(("", " ", "-", "\u00a0"))
    return gap.join(number[place : place + 4] for place in range(0, length, 4))


def iban(draw: random.Random) -> str:
    """An account's number."""
    country, body = draw.choice(
        (
            ("DE", _number(draw, 18)),
            ("NL", f"ABNA{_number(draw, 10)}"),
            ("GB", f"NWBK{_number(draw, 14)}"),
            ("AT", _number(draw, 16)),
            ("PL", _polish(draw)),
        )
    )
    turned = f"{body}{country}00"
    check = 98 - int("".join(str(int(sign, 36)) for sign in turned)) % 97
    number = f"{country}{check:02}{body}"
    gap = draw.choice(("", " "))
    return gap.join(number[place : place + 4] for place in range(0, len(number), 4))


def _polish(draw: random.Random) -> str:
    bank = [int(digit) for digit in _number(draw, 7)]
    weighed = sum(digit * weight for digit, weight in zip(bank, (3, 9, 7, 1, 3, 9, 7), strict=True))
    return "".join(map(str, bank)) + str(-weighed % 10) + _number(draw, 16)


def ip(draw: random.Random) -> str:
    """An IP address."""
    four = ".".join(str(draw.randint(1, 254)) for _ in range(4))
    group = f"{draw.randint(1, 0xFFFF):x}"
    six = draw.choice(
        (f"2001:db8::{group}:{draw.randint(1, 255):x}", f"fe80::{group}:1", f"2a02:{group}:1:2:3:4:5:6")
    )
    return draw.choice((four, four, six))


def credential(draw: random.Random) -> str:
    """A key or token."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    claims = base64.urlsafe_b64encode(json.dumps({"sub": _letters(draw, 12)}).encode()).decode().rstrip("=")
    pem = "\n".join(_letters(draw, 64) for _ in range(3))
    return draw.choice(
        (
            f"sk-{_letters(draw, 48)}",
            f"sk-ant-api03-{_letters(draw, 60)}",
            f"sk_live_{_letters(draw, 24)}",
            f"AKIA{_letters(draw, 16, string.ascii_uppercase + string.digits)}",
            f"ghp_{_letters(draw, 36)}",
            f"github_pat_{_letters(draw, 22)}_{_letters(draw, 59)}",
            f"glpat-{_letters(draw, 20)}",
            f"xoxb-{_number(draw, 12)}-{_letters(draw, 24)}",
            f"AIza{_letters(draw, 35)}",
            f"hf_{_letters(draw, 34)}",
            f"{header}.{claims}.{_letters(draw, 43)}",
            f"-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----",
        )
    )


def password(draw: random.Random) -> str:
    """A password."""
    return _letters(draw, 6) + draw.choice("!#%&*+1234567") + _letters(draw, 4)


_ALONE: dict[str, tuple[Draw, str]] = {
    "ssn": (ssn, """Her SSN is {}.
Please verify {} against our file
- Social security number: {}
{"note": "{}"}
| Amara | {} | active |
({})
SSN={}&x=1
number:{}"""),
    "dob": (dob, """DOB: {}
date of birth {}.
The patient was born on {} in Lagos
{"dob": "{}"}
**Date of Birth:** {}
| DOB | {} |
birthdate={}
{"patient": {"dateOfBirth": "{}"}}
Geburtsdatum: {}
d.o.b. {} (verified)
DOB (per chart): {}
DOB of the insured: {}
birthday, as she said, {}"""),
    "mrn": (mrn, """MRN: {}
MRN {} was admitted
medical record number {}
{"mrn": "{}"}
Medical Record No. {}
**MRN:** {}
patient_id={}
mrn#{}
her chart is {}
Patient's record no. {}"""),
    "name": (name, """Patient name: {}
{"patient_name": "{}"}
Full name: {}, aged 40
{"customerName":"{}"}
**Patient Name:** {}
Account holder: {}
"cardholder_name" : "{}"
first name: {}
| Full name | {} |
Surname – {}"""),
    "email": (email, """Write to {} today.
<{}>
mailto:{}
{"to":["{}"]}
cc: {}; thanks
from={}&x
({})
{}"""),
    "phone": (phone, """Call {} now
Tel. {}
({} after six)
{"phone": "{}"}
reach me at {}.
| {} | home |
Fax: {}
{}"""),
    "card": (card, """Charge {} please
card: {}, exp 12/29
{} 123
{"pan":"{}"}
| Visa | {} |
cc={}&cvv=1
The number {} was declined.
{}"""),
    "iban": (iban, """Transfer to {} by Friday
IBAN: {}
{}
{"account":"{}"}
IBAN {} BIC COBADEFFXXX
({})
to {}, thanks
iban={};"""),
    "ip": (ip, """Login from {}
{} - - GET /index
host {} is down.
{"ip":"{}"}
src={} dst
[{}] connected
ping {}, twice
at {}"""),
    "credential": (credential, """Use {} as the key
Authorization: Bearer {}
{"k": "{}"}
OPENAI_API_KEY={}
export T='{}'
key: {}
`{}`
{}"""),
}  # fmt: skip
_PASSWORDS = """password: {}
{"password": "{}"}
PASSWORD={}
db url postgres://app:{}@db/main
pwd = '{}'"""

KINDS = sorted(_ALONE)

LOOK_ALIKES = """Order ORD-######## has shipped
Order ########## and PO-###### have shipped
Part ?##-###-#### is back
Upgrade to version 3.1#.#.##
python 3.1#.#rc2 and v1#.2.3-beta
It costs $#,###,###.## or ####.## EUR
The invoice of {date} is due on {day}
Ticket ########## and case ########## are closed
id ~~~~~~~~-~~~~-4~~~-a~~~-~~~~~~~~~~~~
at 17######## (17########### ms), {day}T12:3#:5#.###Z
from 1#:3#:4# to 1:5#
Tracking code {bad card} was scanned
Reference DE## ???? for the parcel
commit ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ on main
std::vector<int> a#; Foo::Bar::baz(); x = y[#:###:2]
@user### starred org/repo@v# and pkg@#.0
password is required
Forgot your password, then reset it.
set PASSWORD=<your password>
api_key: "${API_KEY}"
the bearer of bad news
the file name: report.txt
Patient names are redacted here
A full name is needed
{"name": "gpt-4o-mini"}
The birth of jazz, 19##; a birthday cake for #
### ## ### units, ##% of #####
ISBN 978-#-##-######-#"""
"""A `#` stands for a digit, a `~` for a hexadecimal one, a `?` for a capital letter."""


def _look_alike(draw: random.Random) -> str:
    text = draw.choice(LOOK_ALIKES.split("\n"))
    text = text.replace("{date}", dob(draw)).replace("{day}", _day(draw).isoformat())
    number = "4" + _number(draw, 14)
    wrong = (int(luhn.calc_check_digit(number)) + draw.randint(1, 9)) % 10
    text = text.replace("{bad card}", f"{number}{wrong}")
    choices = {"#": string.digits, "~": "0123456789abcdef", "?": string.ascii_uppercase}
    return "".join(draw.choice(choices[sign]) if sign in choices else sign for sign in text)


def corpus(seed: int) -> list[Sentence]:
    """So many sentences: of ten, six have a value, four have what only looks like one."""
    draw = random.Random(seed)
    sentences = []
    kinds = KINDS
    for number in range(SENTENCES):
        if number % 10 < 6:
            kind = kinds[number // 10 * 6 % len(kinds) - number % 10]
            sentences.append(with_value(draw, kind))
        else:
            sentences.append(Sentence(text=_look_alike(draw)))
    return sentences


def with_value(draw: random.Random, kind: str) -> Sentence:
    """A sentence with a value of a kind."""
    make, templates = _ALONE[kind]
    if kind == "credential" and draw.random() < 0.3:
        make, templates = password, _PASSWORDS
    value = make(draw)
    template = draw.choice(templates.split("\n"))
    text = template.replace("{}", value.replace("\n", "\\n") if template.startswith("{") else value)
    lead, tail = draw.choice(("", "", "Note: ", "1. ")), draw.choice(("", "", " Thanks!", "\n"))
    return Sentence(text=lead + text + tail, values=((kind, value),))


_TOKEN = re.compile(r'"?\[[A-Z]+:[0-9a-f]{12}\]"?')


def without_tokens(redacted: str, original: str) -> list[str]:
    """What stands between the tokens of a redacted text that weren't in it before."""
    return [part for part in _TOKEN.split(redacted) if part] if not _TOKEN.search(original) else []
