"""Values as Cedar sees them: only those of declared types, written here; nothing a caller sends is parsed as one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from aegis_gateway.domain.errors import CallError

_LONG_MAX = 2**63 - 1
_DECIMAL_PLACES = 4


def cedar_record(values: Mapping[str, object], path: str) -> dict[str, object]:
    """A record as Cedar's JSON has it; `path` is where it stands.

    Raises:
        CallError: a value does not fit, with its path.
    """
    return {name: _cedar_value(value, f"{path}.{name}") for name, value in values.items()}


def _cedar_value(value: object, path: str) -> object:
    """A value as Cedar's JSON has it: integers are longs, decimals have at most four decimals.

    Raises:
        CallError: the value does not fit, with its path.
    """
    match value:
        case bool() | str():
            return value
        case int():
            if abs(value) > _LONG_MAX:
                raise CallError(f"`{path}` does not fit into 64 bits", field=path)
            return value
        case Decimal():
            return {"__extn": {"fn": "decimal", "arg": _decimal_text(value, path)}}
        case Mapping():
            return cedar_record(value, path)
        case list() | tuple():
            return [_cedar_value(item, path) for item in value]
        case _:
            raise CallError(f"`{path}` has no type that a policy can see", field=path)


def _decimal_text(value: Decimal, path: str) -> str:
    if not value.is_finite() or value.adjusted() > 14:
        raise CallError(f"`{path}` is too large for a policy to compare", field=path)
    text = f"{value:.{_DECIMAL_PLACES}f}"
    if Decimal(text) != value:
        raise CallError(f"`{path}` has more than {_DECIMAL_PLACES} decimals", field=path)
    return text
