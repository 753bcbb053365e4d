"""JSON Schemas of bodies: what fits, what doesn't and where, and what is no schema."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from aegis_gateway.configuration.json_schema import body_fault, schema_text, type_at

PAYMENT: dict[str, Any] = {
    "type": "object",
    "required": ["amount"],
    "properties": {
        "amount": {"type": "number", "exclusiveMinimum": 0, "multipleOf": Decimal("0.01")},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"count": {"type": "integer"}}}},
        "to": {"type": "object", "properties": {"iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$"}}},
        "either": {"type": ["string", "null"]},
    },
    "additionalProperties": False,
}
TEXT = schema_text(PAYMENT)


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({"amount": 5}, None, ""),
        ({"amount": Decimal("5000.01"), "lines": [], "to": {"iban": "GB33"}, "either": None}, None, ""),
        ({"amount": 10**30}, None, ""),
        ({"amount": Decimal("5.001")}, "body.amount", "it is not a multiple of 0.01"),
        ({"amount": "5"}, "body.amount", 'it is not of type "number"'),
        ({"amount": 0}, "body.amount", "it is less than or equal to the minimum of 0"),
        (
            {"amount": 1, "lines": [{"count": 1}, {"count": "secret"}]},
            "body.lines[1].count",
            "is not of type",
        ),
        ({"amount": 1, "to": {"iban": "x"}}, "body.to.iban", "does not match"),
        ({"amount": 1, "amuont": 2}, "body", "amuont"),
        ({}, "body", '"amount" is a required property'),
        ([], "body", 'it is not of type "object"'),
        (None, "body", 'it is not of type "object"'),
    ],
)
def test_what_fits(body: object, path: str | None, words: str) -> None:
    """Whatever doesn't is told by its path, without a value of the body."""
    fault = body_fault(TEXT, body)
    assert path == (fault[0] if fault else None)
    assert fault is None or words in fault[1]
    assert fault is None or "secret" not in fault[1]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("number", "is no JSON Schema; write one"),
        ({"type": "numbr"}, "`type`"),
        ({"properties": {"amount": {"minimum": "x"}}}, "`properties.amount.minimum`"),
        ({"$ref": "https://schemas.example/payment.json"}, "is no JSON Schema"),
        ({"$ref": "file:///etc/passwd"}, "is no JSON Schema"),
        ({"properties": {"amount": {"pattern": "(?<=a)b"}}}, "is no JSON Schema"),
    ],
)
def test_what_is_no_schema(schema: object, words: str) -> None:
    """It is told when it is loaded: a misspelt type, what would be fetched, a pattern that could take for ever."""
    with pytest.raises(PydanticCustomError) as caught:
        schema_text(schema)
    assert words in str(caught.value)
    assert "root:" not in str(caught.value)


def test_what_refers_to_itself() -> None:
    """A schema may refer to its own parts."""
    tree = schema_text(
        {
            "$defs": {"n": {"properties": {"below": {"$ref": "#/$defs/n"}, "n": {"type": "integer"}}}},
            "$ref": "#/$defs/n",
        }
    )
    assert None is body_fault(tree, {"below": {"below": {"n": 1}}})
    assert ("body.below.below.n", 'it is not of type "integer"') == body_fault(
        tree, {"below": {"below": {"n": "x"}}}
    )


def test_the_text_is_the_schema() -> None:
    """Whatever the order it is written in."""
    assert json.loads(TEXT)["properties"]["amount"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "multipleOf": 0.01,
    }
    assert schema_text({"a": 1, "b": 2}) == schema_text({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (("amount",), "number"),
        (("to", "iban"), "string"),
        (("either",), None),
        (("lines",), None),
        (("to",), None),
        (("nothing", "there"), None),
        (("amount", "below"), None),
    ],
)
def test_kinds_of_values(path: tuple[str, ...], kind: str | None) -> None:
    """A scalar of one kind is told; what may be several, or is none, isn't."""
    assert kind == type_at(TEXT, path)
