"""What of Python is written as JSON, and what numbers a result tells."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import pathlib
import uuid
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from aegis_sdk import InvalidRequest
from aegis_sdk.jsonable import encoded
from aegis_sdk.results import numbers_of
from aegis_sdk.wire import money_text


class Colour(enum.Enum):
    """One of two."""

    RED = "red"


@dataclasses.dataclass
class Data:
    """A dataclass."""

    number: int = 1
    inner: Any = None


class Model(pydantic.BaseModel):
    """A pydantic model."""

    number: int = 1
    when: datetime.date = datetime.date(2026, 1, 2)


class Struct(msgspec.Struct):
    """A msgspec struct."""

    number: int = 1


class Pair(NamedTuple):
    """A named tuple, which is a list in JSON."""

    number: int = 1
    other: str = "x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1.10"), 1.1),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (Decimal("1E400"), "1E+400"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00+00:00"),
        (Colour.RED, "red"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        ({"b", "a"}, ["a", "b"]),
        (Data(inner=Data()), {"number": 1, "inner": {"number": 1, "inner": None}}),
        (Model(), {"number": 1, "when": "2026-01-02"}),
        (Struct(), {"number": 1}),
        (Pair(), [1, "x"]),
    ],
)
def test_what_has_a_form_in_json(value: object, expected: object) -> None:
    """It is written as people would expect."""
    assert {"x": expected} == json.loads(encoded({"x": value}, "arguments"))


def endless() -> list[Any]:
    """A list in itself."""
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"bytes",
        float("inf"),
        Decimal("NaN"),
        {1: {2: object()}},
        endless(),
        {("a",): 1},
        Data,
        {1, "a"},
    ],
)
def test_what_has_none_is_told(value: object) -> None:
    """By the name of what it stands in."""
    with pytest.raises(InvalidRequest, match=r"^arguments can't be written as JSON") as raised:
        encoded({"x": value}, "arguments")
    assert "arguments" == raised.value.field


@pytest.mark.parametrize(
    ("result", "numbers"),
    [
        (None, {}),
        ("text", {}),
        (7, {}),
        ([1, 2], {}),
        (
            {"a": 1, "b": 2.5, "c": Decimal("0.1"), "d": True, "e": "9", "f": float("nan"), 3: 4},
            {"a": 1, "b": 2.5, "c": Decimal("0.1")},
        ),
        ({"usage": {"rows": 3, "note": "x"}, "rows": [{"n": 1}]}, {"usage": {"rows": 3}}),
        (Data(inner=Model()), {"number": 1, "inner": {"number": 1}}),
        (Struct(), {"number": 1}),
        (Pair(), {"number": 1}),
        (Data, {}),
    ],
)
def test_a_result_tells_its_numbers_and_nothing_else(result: object, numbers: dict[str, Any]) -> None:
    """No text of it leaves the agent."""
    assert numbers == numbers_of(result)


def test_numbers_are_looked_for_within_bounds() -> None:
    """Deep or endless results cost nothing."""
    endless: dict[str, Any] = {"n": 1}
    endless["again"] = endless
    assert {"n": 1, "again": {"n": 1, "again": {"n": 1, "again": {"n": 1}}}} == numbers_of(endless)
    assert 256 == len(numbers_of({str(n): n for n in range(10_000)}))


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Decimal("1E-7"), "0.0000001"),
        (0.1, "0.1"),
        (3, "3"),
        ("0.25", "0.25"),
        (1e22, "10000000000000000000000"),
    ],
)
def test_amounts_are_written_out(cost: Any, text: str) -> None:
    """Without exponents or binary fractions."""
    assert text == money_text(cost)


@pytest.mark.parametrize("cost", [-1, "much", float("nan"), Decimal("inf"), True, ""])
def test_what_is_no_amount(cost: Any) -> None:
    """It is told before anything is sent."""
    with pytest.raises(InvalidRequest, match="no amount"):
        money_text(cost)


def test_words_that_a_fault_does_not_have() -> None:
    """A value whose fault can't be told in words is no JSON all the same."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Value:
        def model_dump(self, mode: str) -> None:
            raise Mute(mode)

    with pytest.raises(InvalidRequest, match="result can't be written as JSON: Mute"):
        encoded({"value": Value()}, "result")


def test_numbers_beside_what_is_none() -> None:
    """One that nobody could tell keeps no other from being told."""
    assert {"rows": 1} == numbers_of({"huge": 10**400, "odd": Decimal("sNaN"), "rows": 1})


@pytest.mark.parametrize("cost", ["1e999999999", "1e-999999999", 1e300])
def test_amounts_too_long_to_write(cost: Any) -> None:
    """No tool's word fills the memory."""
    with pytest.raises(InvalidRequest, match="is no amount of dollars"):
        money_text(cost)
    assert "0" == money_text(Decimal("0e-999999"))
