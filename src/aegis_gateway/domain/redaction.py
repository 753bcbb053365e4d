"""Redaction: what is to be taken out of a text, and the tokens that stand in its place. Pure.

Rule 1: a token says of which kind its value was, and nothing else of it. It is keyed by tenant, so that the same value
        stays linkable within a tenant, and can neither be read nor guessed at by whoever lacks the key.
Rule 2: the same value gives the same token however it is written: separators and letter case don't count.
Rule 3: a token is never redacted again.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

RedactionKind = Literal["ssn", "dob", "mrn", "name", "email", "phone", "card", "iban", "ip", "credential"]
Counts = dict[str, int]
"""How many values were redacted, by kind; those of a field that a policy names count as `field`."""

KINDS: tuple[RedactionKind, ...] = get_args(RedactionKind)
FIELD = "field"
Side = Literal["arguments", "response"]
SIDES: tuple[Side, ...] = get_args(Side)

_DIGITS_OF_TOKEN = 12
_TOKEN = re.compile(
    rf"\[(?:{'|'.join(kind.upper() for kind in (*KINDS, FIELD))}):[0-9a-f]{{{_DIGITS_OF_TOKEN}}}\]"
)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")

_FIELDS: dict[RedactionKind, str] = {
    "ssn": "ssn social_security_number social_security_no social_security itin",
    "dob": "dob date_of_birth birth_date birthday birthdate born_on patient_dob member_dob",
    "mrn": "mrn medical_record_number medical_record_no medical_record patient_mrn patient_id patient_number "
    "chart_number health_record_number",
    "name": "patient_name full_name first_name last_name middle_name given_name family_name maiden_name surname "
    "customer_name client_name member_name insured_name guarantor_name subscriber_name employee_name cardholder "
    "cardholder_name card_holder account_holder account_holder_name beneficiary_name contact_name legal_name "
    "recipient_name",
    "email": "email email_address e_mail",
    "phone": "phone phone_number telephone telephone_number mobile mobile_number cell_phone home_phone work_phone "
    "fax fax_number",
    "card": "card_number credit_card credit_card_number pan",
    "iban": "iban",
    "ip": "ip_address client_ip remote_ip",
    "credential": "password passwd pwd passphrase secret api_key apikey access_token refresh_token id_token auth_token "
    "bearer_token client_secret secret_key secret_access_key private_key",
}


class Redaction(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is to be redacted: kinds that are detected, and fields whose values are, whatever they are.

    Both are sorted, so that equal redactions are equal values.
    """

    kinds: tuple[RedactionKind, ...] = ()
    fields: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to redact."""
        return bool(self.kinds or self.fields)

    def kind_of(self, field: str) -> str | None:
        """The kind that a field's value is redacted as, by the field's name; None where it isn't for its name."""
        name = plain_name(field)
        kind = _KIND_OF_FIELD.get(name)
        if name in map(plain_name, self.fields):
            return kind or FIELD
        return kind if kind in self.kinds else None


class Redactions(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is to be redacted of a call: in its arguments, and in its response."""

    arguments: Redaction = Redaction()
    response: Redaction = Redaction()

    def __bool__(self) -> bool:
        """Whether there is anything to redact."""
        return bool(self.arguments or self.response)


NO_REDACTIONS = Redactions()


def all_of(redactions: Iterable[Redactions]) -> Redactions:
    """All that any of some redactions takes out, on each side."""
    every = tuple(redactions)
    return Redactions(
        arguments=union(each.arguments for each in every), response=union(each.response for each in every)
    )


def union(redactions: Iterable[Redaction]) -> Redaction:
    """All that any of some redactions takes out."""
    every = tuple(redactions)
    return Redaction(
        kinds=tuple(sorted({kind for each in every for kind in each.kinds})),
        fields=tuple(sorted({field for each in every for field in each.fields})),
    )


def plain_name(field: str) -> str:
    """A field's name, however it is written: `patient_name`, `patientName` and `Patient Name` are one."""
    return _NOT_IN_NAMES.sub("", field.lower())


_KIND_OF_FIELD: dict[str, RedactionKind] = {
    plain_name(name): kind for kind, names in _FIELDS.items() for name in names.split()
}


def field_names(kind: RedactionKind) -> tuple[str, ...]:
    """The names of fields whose values are of a kind."""
    return tuple(_FIELDS[kind].split())


def token(kind: str, plain: bytes, key: bytes) -> str:
    """What stands in place of a value, `[SSN:7f3a90c1d2e4]`; `plain` is the value without what doesn't count of it."""
    digest = hmac.digest(key, kind.encode() + b"\0" + plain, "sha256").hex()
    return f"[{kind.upper()}:{digest[:_DIGITS_OF_TOKEN]}]"


def is_token(text: str) -> bool:
    """Whether a text is one token and nothing else."""
    return _TOKEN.fullmatch(text) is not None


def told(counts: Counts) -> str:
    """Counts in words: `2 ssn, 1 email`."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))


def total(*counts: Counts) -> Counts:
    """The sum of counts."""
    summed: Counts = {}
    for each in counts:
        for kind, number in each.items():
            summed[kind] = summed.get(kind, 0) + number
    return summed
