from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from aegis_gateway.application.recorded import arguments_of, decision_of
from aegis_gateway.domain.judge import Unknown
from aegis_gateway.domain.registry import Argument, ArgumentType
from aegis_gateway.domain.tools import MODEL_TOOLS

VALUE, PRESENCE = Unknown.VALUE, Unknown.PRESENCE


def declared(name: str, kind: ArgumentType) -> Argument:
    """An argument of an operation."""
    return Argument(name=name, type=kind, source=("body", name))


def arguments(
    summary: dict[str, Any], *known: Argument, then: frozenset[str], tool: str = "api.pay", **more: Any
) -> dict[str, object]:
    """What policies would see of a call with such a summary, of which `then` was declared when it was made."""
    entry = {
        "call": "c", "effect": "allow", "reasons": [], "config_version": 3, "agent": "bot", "key": "k",
        "connector": "api", "tool": tool, "arguments": {"summary": summary}, **more,
    }  # fmt: skip
    return arguments_of(decision_of(msgspec.json.encode(entry)), known, lambda _version, _tool: then)


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [
        ("number", "12.50", Decimal("12.50")),
        ("number", "1E+3", Decimal(1000)),
        ("number", "twelve", VALUE),
        ("integer", "-7", -7),
        ("integer", "7.5", VALUE),
        ("boolean", True, True),
        ("boolean", "true", VALUE),
        ("string", "EUR", "EUR"),
        ("string", "(3 characters)", VALUE),
        ("string", True, VALUE),
    ],
)
def test_what_the_record_shows(kind: ArgumentType, shown: object, expected: object) -> None:
    """A value of the type that is declared now; one that can't be told from the record is said to be missing."""
    found = arguments({"operation": "pay", "x": shown}, declared("x", kind), then=frozenset(("x",)))
    assert [(type(expected), expected)] == [(type(value), value) for value in found.values()]


@pytest.mark.parametrize(
    ("summary", "then", "expected"),
    [
        ({"operation": "pay"}, frozenset(("memo",)), {}),
        ({"operation": "pay"}, frozenset(), {"memo": PRESENCE}),
        ({"omitted_bytes": 9_000}, frozenset(("memo",)), {"memo": PRESENCE}),
        ({}, frozenset(("memo",)), {"memo": PRESENCE}),
    ],
)
def test_what_was_left_out(
    summary: dict[str, Any], then: frozenset[str], expected: dict[str, object]
) -> None:
    """An argument isn't there if it could have been; of one that nobody knew, or nothing is shown, nobody can say."""
    assert expected == arguments(summary, declared("memo", "string"), then=then)


def test_what_is_left_of_redacted_texts() -> None:
    """It isn't what policies saw; numbers are."""
    found = arguments(
        {"operation": "pay", "memo": "[SSN:1a2b]", "amount": "5"},
        declared("memo", "string"), declared("amount", "number"),
        then=frozenset(("memo", "amount")), redacted={"ssn": 1},
    )  # fmt: skip
    assert {"memo": VALUE, "amount": Decimal(5)} == found


def test_models_arguments() -> None:
    """They are what they are; sizes beside them are none."""
    summary = {"messages": 2, "bytes": 90, "stream": False, "choices": 1, "tools": 0}
    found = arguments(summary, *MODEL_TOOLS["chat"], then=frozenset(), tool="chat")
    assert {"stream": False, "choices": 1, "tools": 0} == found
