"""Python values as the JSON that they mean."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import os
import uuid
from collections.abc import Mapping, Set
from decimal import Decimal
from typing import Any

from aegis_sdk.errors import InvalidRequest


def encoded(value: object, what: str) -> bytes:
    """A value as JSON. Decimals keep their value; those that no float has become texts, which the gateway reads alike.

    Raises:
        InvalidRequest: something in it has no JSON; it says what.
    """
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except Exception as fault:  # whatever the values' own methods raise
        raise InvalidRequest(f"{what} can't be written as JSON: {_words(fault)}", field=what) from fault


def fields_of(value: object) -> Mapping[Any, object] | None:
    """The fields of what has some: a mapping, a dataclass, a pydantic or msgspec model, a named tuple."""
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    # Models of libraries that this package need not know, by the names that those give to what they declare.
    for declared in ("model_fields", "__struct_fields__", "_fields"):
        names = getattr(type(value), declared, None)
        if names is not None and not isinstance(value, type):
            return {name: getattr(value, name, None) for name in names}
    return None


def _words(fault: Exception) -> str:
    if isinstance(fault, RecursionError):
        return "it is nested too deeply"
    try:
        return str(fault)
    except Exception:  # the fault is of the value's own, and so are its words
        return type(fault).__name__


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is no number")
        # Python writes a float by the shortest digits that mean it: where those are the decimal's, nothing is lost.
        near = float(value)
        return near if Decimal(repr(near)) == value else str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Set):
        return sorted(value)
    dump = getattr(value, "model_dump", None)  # pydantic's
    if callable(dump):
        return dump(mode="json")
    fields = fields_of(value)
    if fields is None:
        raise TypeError(f"a {type(value).__name__} has no JSON")
    return dict(fields)
