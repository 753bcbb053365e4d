from __future__ import annotations

import contextlib
import json
import time
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import ToolPrice
from aegis_gateway.domain.registry import Argument, ArgumentType, Operation
from aegis_gateway.entrypoints.data_plane.wire import (
    json_type,
    parse_operation,
    path_segments,
    response_reader,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def operation(type_: ArgumentType = "number", *, required: bool = True, shown: bool = False) -> Operation:
    """An operation with one argument, `amount`."""
    argument = Argument(name="amount", type=type_, source=("body", "amount"), required=required, shown=shown)
    return Operation(id="pay", method="POST", path="/pay/{id}", price=ToolPrice(), arguments=(argument,))


@pytest.mark.parametrize(
    ("type_", "found", "expected"),
    [
        ("number", 12, Decimal(12)),
        ("number", "12.50", Decimal("12.50")),
        ("number", -1, Decimal(-1)),
        ("integer", 12, 12),
        ("integer", "12", 12),
        ("integer", "1e3", 1000),
        ("integer", "12.0", 12),
        ("integer", 2**63 - 1, 2**63 - 1),
        ("string", "a", "a"),
        ("string", "", ""),
        ("boolean", False, False),
    ],
)
def test_typed_arguments(type_: ArgumentType, found: object, expected: object) -> None:
    """An argument of the declared type is handed on as that type; numbers may stand in strings."""
    request = parse_operation(operation(type_), {}, "", json.dumps({"amount": found}).encode())
    assert expected == request.values["amount"]
    assert type(expected) is type(request.values["amount"])


@pytest.mark.parametrize(
    ("type_", "found"),
    [
        ("number", '"many"'),
        ("number", "true"),
        ("number", "[1]"),
        ("number", '{"value": 1}'),
        ("number", '"NaN"'),
        ("number", '"sNaN"'),
        ("number", '"Infinity"'),
        ("number", '"-inf"'),
        ("number", '"' + "1" * 65 + '"'),
        ("integer", "1.5"),
        ("integer", "true"),
        ("integer", "9223372036854775808"),
        ("integer", "1e400"),
        ("integer", "1e999999999999"),
        ("integer", '"1e999999999999"'),
        ("string", "1"),
        ("string", "null"),
        ("string", '["a"]'),
        ("boolean", "1"),
        ("boolean", '"true"'),
    ],
)
def test_arguments_of_another_type(type_: ArgumentType, found: str) -> None:
    """An argument of another type is refused by its path, at once, however large the number that is written."""
    began = time.monotonic()
    with pytest.raises(CallError) as caught:
        parse_operation(operation(type_), {}, "", f'{{"amount": {found}}}'.encode())
    assert "body.amount" == caught.value.field
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b'{"amount": 5.01}', None),
        (b'{"amount": 5.001}', "body.amount"),
        (b'{"amount": 5, "to": [{"name": 1}]}', "body.to[0].name"),
        (b"{}", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"", "body"),
    ],
)
def test_a_body_that_does_not_fit_its_schema(raw: bytes, path: str | None) -> None:
    """It is refused with the path of the fault, before its arguments are looked at; a body has to be there."""
    schema = (
        b'{"type":"object","required":["amount"],"properties":{"amount":{"multipleOf":0.01},'
        b'"to":{"items":{"properties":{"name":{"type":"string"}}}}}}'
    )
    fitting = msgspec.structs.replace(operation("number"), body_schema=schema)
    if path is None:
        assert {"amount": Decimal("5.01")} == parse_operation(fitting, {}, "", raw).values
        return
    with pytest.raises(CallError) as caught:
        parse_operation(fitting, {}, "", raw)
    assert path == caught.value.field
    assert "operation `pay`" in str(caught.value)


def test_a_missing_argument() -> None:
    """A required argument that is not there is named; one that may be left out is left out."""
    with pytest.raises(CallError, match=r"`body.amount` is missing; operation `pay` needs it") as caught:
        parse_operation(operation(), {}, "", b'{"other": 1}')
    assert "body.amount" == caught.value.field
    assert {} == parse_operation(operation(required=False), {}, "", b"").values


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"amount": NaN}', "`NaN` is not a number"),
        (b'{"amount": Infinity}', "`Infinity` is not a number"),
        (b'{"amount": 1, "amount": 2}', "a key stands twice"),
        (b'{"amount": 1, "deep": [{"a": 1, "a": 1}]}', "a key stands twice"),
        (b'{"amount": 1, "\\u0061mount": 2}', "a key stands twice"),
        (b'{"amount": {"__entity": {"type": "User", "id": "x"}}}', "`__entity` may not be a key"),
        (b'{"amount": {"__extn": {"fn": "ip"}}}', "`__extn` may not be a key"),
        (b'{"amount": 1, "x": ' + b"9" * 65 + b"}", "too long"),
        (b'{"amount": 1, "x": 1.' + b"9" * 65 + b"}", "too long"),
        (b'{"amount": 1, "x": 1e9999999999999999999}', "exponent is too large"),
        (b'{"amount": 1, "x": -0e-9999999999999999999}', "exponent is too large"),
        (b'{"amount": 1, "x": "\\ud83d"}', "half a character"),
        (b'{"amount": 1, "x": "\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"amount": 1}', "BOM"),
        ('{"amount": 1}'.encode("utf-16"), "not UTF-8"),
        ('{"amount": 1}'.encode("utf-32-be"), "not valid JSON"),
        (b'{"amount": 1', "not valid JSON"),
        (b'{"amount": ' + b"[" * 5_000, "nested too deeply"),
        (b'{"amount": 1}{"amount": 2}', "not valid JSON"),
    ],
)
def test_bodies_that_two_readers_may_take_for_two_things(raw: bytes, words: str) -> None:
    """What is not JSON in UTF-8 with each key once is refused, for the upstream could read it otherwise."""
    with pytest.raises(CallError) as caught:
        parse_operation(operation(), {}, "", raw)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("a=1&a=2", "a name stands twice"),
        ("%61=1&a=2", "a name stands twice"),
        ("a=%ff", "cannot be read"),
        ("&".join(f"a{number}=1" for number in range(300)), "cannot be read"),
    ],
)
def test_queries_that_two_readers_may_take_for_two_things(query: str, words: str) -> None:
    """A query has each name once, and is UTF-8."""
    with pytest.raises(CallError) as caught:
        parse_operation(operation(required=False), {}, query, b"")
    assert "query" == caught.value.field
    assert words in str(caught.value)


@given(st.binary(max_size=48) | JSON_VALUES.map(lambda value: json.dumps({"amount": value}).encode()), TEXTS)
def test_any_bytes_are_an_operation_or_a_fault_of_the_caller(raw: bytes, query: str) -> None:
    """Nothing that can be sent to a connector makes the parser fail in another way."""
    for type_ in ("integer", "number", "string", "boolean"):
        with contextlib.suppress(CallError):
            assert parse_operation(operation(type_, required=False), {"id": "x"}, query, raw).canonical


def test_arguments_from_path_and_query() -> None:
    """Arguments are read from where the operation says that they stand."""
    asked = Operation(
        id="show",
        method="GET",
        path="/v1/{id}",
        price=ToolPrice(),
        arguments=(
            Argument(name="id", type="string", source=("path", "id")),
            Argument(name="limit", type="integer", source=("query", "limit"), shown=True),
        ),
    )
    request = parse_operation(asked, {"id": "p1"}, "limit=5&x=%41", b"")
    assert {"id": "p1", "limit": 5} == request.values
    assert {"id": "(2 characters)", "limit": "5"} == request.summary


@pytest.mark.parametrize(
    ("type_", "shown", "found", "expected"),
    [
        ("string", False, "my prompt", "(9 characters)"),
        ("string", True, "USD", "USD"),
        ("number", False, "12.5", "12.5"),
        ("boolean", False, True, True),
    ],
)
def test_what_the_record_shows(type_: ArgumentType, shown: bool, found: object, expected: object) -> None:
    """Numbers and flags stand in the record; texts only where the operation says so."""
    raw = json.dumps({"amount": found}).encode()
    assert {"amount": expected} == parse_operation(operation(type_, shown=shown), {}, "", raw).summary


def test_the_canonical_form_does_not_depend_on_order_or_space() -> None:
    """Equal arguments have equal canonical bytes, however they were written."""
    first = parse_operation(operation(), {}, "a=1&b=2", b'{"amount":1,"x":{"c":1,"d":[2]}}')
    second = parse_operation(operation(), {}, "b=2&a=1", b'{ "x": {"d": [2], "c": 1}, "amount": 1 }')
    assert first.canonical == second.canonical


def test_the_canonical_form_tells_numbers_from_texts() -> None:
    """What somebody agreed to as a number isn't agreed to as a text that reads like it, nor the other way round."""
    bodies = (b'{"amount":1.5}', b'{"amount":"1.5"}', b'{"amount":1}', b'{"amount":"1"}')
    assert 4 == len({parse_operation(operation(), {}, "", body).canonical for body in bodies})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"usage": {"rows": 3}}', Decimal(3)),
        (b'{"usage": {"rows": "3.5"}}', Decimal("3.5")),
        (b'{"usage": {}}', None),
        (b'{"usage": 3}', None),
        (b"not json", None),
        (b'{"usage": {"rows": 1, "rows": 2}}', None),
        (b"", None),
    ],
)
def test_numbers_of_a_response(raw: bytes, expected: Decimal | None) -> None:
    """A number of the answer is read where it stands; an answer that cannot be read has none."""
    request = parse_operation(operation(), {}, "", b'{"amount": 1}')
    assert expected == response_reader(request, raw)(("response", "usage", "rows"))
    assert Decimal(1) == response_reader(request, raw)(("body", "amount"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b", ["a", "b"]),
        ("a", ["a"]),
        ("a/b c", ["a", "b c"]),
        ("a/é", ["a", "é"]),
        ("a/%41", ["a", "A"]),
        ("a;x=1", ["a;x=1"]),
    ],
)
def test_segments_of_a_path(path: str, expected: list[str]) -> None:
    """Segments are decoded."""
    assert expected == path_segments(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "a/", "/a", "a//b", "a/../b", "a/./b", "..", "a/%2e%2e", "a/%2e", "a/%2fb", "a/%5cb", "a\\b"),
        *("a/%00", "a/%0a", "a/%3fx", "a/%23x", "a/%25", "a/\x7f", "a/%ff"),
        *("a/..;", "a/..;x=1/b", "a/.;/b", "a/;x", "a/%2e%2e%3b"),
    ],
)
def test_segments_that_climb_or_hide_something(path: str) -> None:
    """A path that another reader could take for another path is refused."""
    with pytest.raises(CallError) as caught:
        path_segments(path)
    assert "path" == caught.value.field


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "application/json"),
        ({"content-type": "application/json"}, "application/json"),
        ({"content-type": "Application/JSON; Charset=UTF-8"}, "Application/JSON; Charset=UTF-8"),
        ({"content-type": "application/vnd.api+json; v=1"}, "application/vnd.api+json; v=1"),
        ({"content-type": "text/json", "content-encoding": "identity"}, "text/json"),
    ],
)
def test_the_content_type_that_is_forwarded(headers: dict[str, str], expected: str) -> None:
    """It is what the caller said, or JSON where the caller said nothing."""
    assert expected == json_type(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=utf-7"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json, text/plain"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-encoding": "br, identity"},
    ],
)
def test_a_body_may_not_be_called_anything_else(headers: dict[str, str]) -> None:
    """The bytes that were judged as JSON in UTF-8 may not reach the upstream as a form or in another encoding."""
    with pytest.raises(CallError, match=r"body"):
        json_type(headers)
