"""What every dialect reads alike: names of models, limits, flags, counts of usage.

Rule: a count that an upstream reports is taken only if it is a whole number that can be one; else there is no usage,
which is not the same as a usage of zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Kind, Usage
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

OUTPUT_TOKENS_MAX = 10_000_000
CHOICES_MAX = 128
_COUNT_MAX = 2**53

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_decode = msgspec.json.Decoder().decode


def model_name(fields: Mapping[str, Any]) -> str:
    """The `model` of a request.

    Raises:
        CallError: it is missing, or no name.
    """
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise CallError("`model` is missing; name one of the models that `/v1/models` lists", field="model")
    return checked_name(model)


def checked_name(model: str) -> str:
    """A model's name.

    Raises:
        CallError: it has control characters, which no name has.
    """
    if _CONTROL.search(model):
        raise CallError("`model` has control characters; name one that `/v1/models` lists", field="model")
    return model


def positive(fields: Mapping[str, Any], field: str, most: int, path: str | None = None) -> int | None:
    """A whole number from 1; None where there is none.

    Raises:
        CallError: it is anything else. `path` is what the caller knows the field by.
    """
    value = fields.get(field)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        name = path or field
        raise CallError(f"`{name}` must be a whole number from 1 to {most}", field=name)
    return value


def flag(fields: Mapping[str, Any], field: str) -> bool:
    """A true or false; false where there is none.

    Raises:
        CallError: it is anything else.
    """
    value = fields.get(field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise CallError(f"`{field}` must be true or false", field=field)
    return value


def listed(fields: Mapping[str, Any], field: str, path: str | None = None) -> list[Any]:
    """A list; empty where there is none.

    Raises:
        CallError: it is anything else.
    """
    value = fields.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise CallError(f"`{path or field}` must be a list", field=path or field)
    return value


def record(value: object, path: str) -> dict[str, Any]:
    """An object.

    Raises:
        CallError: it is anything else.
    """
    if not isinstance(value, dict):
        raise CallError(f"`{path}` must be an object", field=path)
    return value


def parsed(raw: bytes) -> Any:
    """An upstream's JSON; None where it is none."""
    try:
        return _decode(raw)
    except UNREADABLE:
        return None


def parsed_object(raw: bytes) -> dict[str, Any]:
    """An upstream's JSON object; an empty one for anything else, whatever it is."""
    value = parsed(raw)
    return value if isinstance(value, dict) else {}


def count(fields: Mapping[str, Any], *names: str) -> int | None:
    """A count at a path, zero where the path ends early or holds null; None where what stands there is none."""
    found: Any = fields
    for name in names:
        if found is None:
            return 0
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    if found is None:
        return 0
    return found if type(found) is int and 0 <= found < _COUNT_MAX else None


def required(fields: Mapping[str, Any], name: str) -> int | None:
    """A count that has to be there; None where it is missing, null, or no count."""
    return None if fields.get(name) is None else count(fields, name)


def usage_of(units: Mapping[Kind, int | None]) -> Usage | None:
    """A usage of counts, or None where one of them is none."""
    counted: dict[Kind, int] = {}
    for kind, number in units.items():
        if number is None:
            return None
        if number > 0:
            counted[kind] = number
    return Usage(units=counted)
