from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.models.body import DEPTH_MAX, read_body_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', "a", "b"]
)


class Pairs(list[tuple[str, object]]):
    """An object as its members stand, keys that stand twice included."""


def values() -> st.SearchStrategy[object]:
    """JSON values whose objects may have a key twice."""
    return st.recursive(
        st.none() | st.booleans() | st.integers(-(10**15), 10**15) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | members(inner),
        max_leaves=10,
    )


def members(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Objects."""
    return st.lists(st.tuples(TEXTS, inner), max_size=4).map(Pairs)


def written(value: object, *, ascii_only: bool) -> str:
    """A value as JSON, its members as they stand."""
    if isinstance(value, Pairs):
        inner = (
            f"{json.dumps(name, ensure_ascii=ascii_only)} : {written(each, ascii_only=ascii_only)}"
            for name, each in value
        )
        return "{ " + " ,".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(each, ascii_only=ascii_only) for each in value) + " ]"
    return json.dumps(value, ensure_ascii=ascii_only)


def has_a_key_twice(value: object) -> bool:
    """Whether any object in a value has a key twice."""
    if isinstance(value, Pairs):
        names = [name for name, _ in value]
        return len(names) != len(set(names)) or any(has_a_key_twice(each) for _, each in value)
    return isinstance(value, list) and any(map(has_a_key_twice, value))


@given(members(values()), st.booleans())
def test_a_key_that_stands_twice_is_refused_and_nothing_else(value: object, ascii_only: bool) -> None:
    """Whatever escapes, spaces and depths there are, an object with a key twice is told from one without."""
    raw = written(value, ascii_only=ascii_only).encode()
    if has_a_key_twice(value):
        with pytest.raises(CallError, match="a key twice"):
            read_body_json(raw)
    else:
        assert json.loads(raw) == read_body_json(raw).fields


@given(
    st.dictionaries(
        TEXTS, st.integers() | TEXTS | st.dictionaries(TEXTS, st.integers(), max_size=3), max_size=4
    ),
    st.dictionaries(
        TEXTS, st.integers(0, 99) | st.dictionaries(TEXTS, st.integers(0, 9), max_size=2), max_size=3
    ),
    st.sampled_from([None, 2]),
)
def test_what_is_changed_is_changed_and_nothing_else(
    fields: dict[str, Any], changes: dict[str, Any], indent: int | None
) -> None:
    """Members are replaced or added, members of members too, and all else stays."""
    body = read_body_json(json.dumps(fields, indent=indent).encode())
    expected = dict(fields)
    for name, change in changes.items():
        old = fields.get(name)
        if isinstance(change, dict) and isinstance(old, dict):
            change = {**old, **change}
        expected[name] = change
    assert expected == json.loads(body.changed(changes))


def test_what_is_not_changed_leaves_as_it_came() -> None:
    """White space, order, escapes and the way numbers are written stay, byte for byte."""
    raw = b' {"b" : 1.50,\n "\\u0061":[1E2, "\\/"] , "x":{"y" : 0.10, "z":-0}}\n'
    body = read_body_json(raw)
    assert raw == body.changed({})
    assert raw.replace(b"0.10", b"7") == body.changed({"x": {"y": 7}})
    assert raw.replace(b"1.50", b"7") == body.changed({"b": 7})
    assert raw.replace(b'{"b"', b'{"new":7,"b"') == body.changed({"new": 7})
    assert b'{"new":7}' == read_body_json(b"{}").changed({"new": 7})


@pytest.mark.parametrize("around", [b"[%s]", b'{"a":%s}'])
def test_how_deep_a_body_may_be_nested(around: bytes) -> None:
    """Down to a stated depth, and not a level further."""
    inner = b"1"
    for _ in range(DEPTH_MAX - 1):
        inner = around.replace(b"%s", inner)
    assert read_body_json(b'{"x":' + inner + b"}").fields
    with pytest.raises(CallError, match="nested too deeply"):
        read_body_json(b'{"x":' + around.replace(b"%s", inner) + b"}")
