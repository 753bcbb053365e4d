"""Redaction inside JSON: by field and by form, nested, in texts that are JSON; the rest byte for byte."""

from __future__ import annotations

import re

import pytest

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.domain.redaction import KINDS, Redaction
from aegis_gateway.entrypoints.data_plane.redacting import ALL, Content, redacted_json

EVERYTHING = Redaction(kinds=tuple(sorted(KINDS)), fields=("account_code",))


def redacted(raw: str, content: Content = ALL) -> str:
    """JSON with every token's digits left out."""
    whole = redacted_json(raw.encode(), TextRedactor(EVERYTHING, b"k" * 32), content).decode()
    return re.sub(r"\[([A-Z]+):[0-9a-f]{12}\]", r"[\1]", whole)


@pytest.mark.parametrize(
    ("raw", "without"),
    [
        ('{ "patientName" : "Jo\\u00e9" ,"n":[1,2.50e3]}', '{ "patientName" : "[NAME]" ,"n":[1,2.50e3]}'),
        ('{"patient_name":{"l":["B"]},"x":"\\u00e9"}', '{"patient_name":{"l":["[NAME]"]},"x":"\\u00e9"}'),
        ('{"a":{"b":[{"dob":"1980-02-01"}]}}', '{"a":{"b":[{"dob":"[DOB]"}]}}'),
        ('{"t":"call 415-555-2671\\nnow"}', '{"t":"call [PHONE]\\nnow"}'),
        ('{"a":"{\\"mrn\\": 123456}"}', '{"a":"{\\"mrn\\": \\"[MRN]\\"}"}'),
        ('{"full_name":null,"dob":"","account_code":true}', '{"full_name":null,"dob":"","account_code":true}'),
        ('"\\u0031\\u0032\\u0033-45-6789"', '"[SSN]"'),
    ],
)  # fmt: skip
def test_values_are_replaced_where_they_stand(raw: str, without: str) -> None:
    """By their field's name or by their form, whatever the escapes; what isn't replaced keeps its bytes."""
    assert without == redacted(raw)


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ('{"a":{"mrn":123456}}', "`a.mrn`"),
        ('{"a":[0,{"b":4111111111111111}]}', "`a[1].b`"),
        ('{"o":{"x@example.com":1}}', "`o`"),
        ("{", "not valid JSON"),
    ],
)
def test_what_cannot_be_replaced_is_not_let_through(raw: str, where: str) -> None:
    """A number or a field's name that would have to be redacted, and what can't be read, with its place."""
    with pytest.raises(NotRedactable, match=re.escape(where)):
        redacted(raw)


def test_only_content_is_redacted() -> None:
    """What a body is built of stays, within schemas all but descriptions; a tool's arguments are content wholly."""
    content = Content(structural={"model", "id"}, schemas={"tools"}, opaque={"input"}, typed={"arguments"})
    raw = '{"model":"A","id":"A","text":"A","tools":[{"d":"A","description":"A"}],"input":{"id":"A"}}'
    without = '{"model":"A","id":"A","text":"B","tools":[{"d":"A","description":"B"}],"input":{"id":"B"}}'
    ssn = "123-45-6789"
    assert without.replace("A", ssn).replace("B", "[SSN]") == redacted(raw.replace("A", ssn), content)
    with pytest.raises(NotRedactable, match="`mrn`"):
        redacted('{"arguments":"{\\"mrn\\": 123456}"}', content)
