"""What a tool returned, as the numbers that it is settled by. Nothing but numbers is sent of a result by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aegis_sdk.jsonable import fields_of

_DEPTH_MAX = 4
_NUMBERS_MAX = 256


def numbers_of(result: object) -> dict[str, Any]:
    """The numbers among the fields of a result, and of what is nested in it; empty where it has no fields."""
    return _numbers(result, _DEPTH_MAX) or {}


def _numbers(value: object, depth: int) -> dict[str, Any] | None:
    fields = fields_of(value) if depth else None
    if fields is None:
        return None
    found: dict[str, Any] = {}
    for name, field in _first(fields):
        if is_number(field):
            found[name] = field
        elif nested := _numbers(field, depth - 1):
            found[name] = nested
    return found


def is_number(value: object) -> bool:
    """Whether it is a number that can be told."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    try:
        return math.isfinite(value)
    except (OverflowError, ValueError):  # more than any float holds, or a decimal's signalling NaN
        return False


def _first(fields: Mapping[Any, object]) -> list[tuple[str, object]]:
    named = [(name, field) for name, field in fields.items() if isinstance(name, str)]
    return named[:_NUMBERS_MAX]
