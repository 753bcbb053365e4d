"""Headers that repeat a call's arguments (`Mcp-Param-…`), where something was redacted in those."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aegis_gateway.entrypoints.data_plane.exchange import RequestHeaders
from aegis_gateway.entrypoints.data_plane.mcp.headers import decoded, encoded
from aegis_gateway.entrypoints.data_plane.mcp.versions import PARAMETER_HEADER
from aegis_gateway.entrypoints.data_plane.refusals import Headers


def redacted_headers(headers: RequestHeaders, before: object, after: bytes) -> Headers:
    """The headers that repeat arguments, as they have to be once the arguments were redacted.

    One that repeats a value that was redacted anywhere repeats what stands there now.
    """
    old, new = dict(_leaves(before)), dict(_leaves(msgspec.json.decode(after)))
    instead = {
        _rendered(value): new[path] for path, value in old.items() if path in new and new[path] != value
    }
    return [
        (name, encoded(_rendered(instead[given])) if (given := decoded(value)) in instead else value)
        for name, value in headers.items()
        if name.startswith(PARAMETER_HEADER)
    ]


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, str | int | bool):
        yield path, value


def _rendered(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Annotated(msgspec.Struct, frozen=True, rename={"header": "x-mcp-header"}):
    """A schema, as far as it says which values stand in headers too."""

    header: str = ""
    properties: dict[str, Any] = {}


class _Definition(msgspec.Struct, frozen=True, rename="camel"):
    """A tool's definition, as far as its arguments' schema."""

    input_schema: msgspec.Raw = msgspec.Raw(b"{}")


def mirrored_headers(definition: msgspec.Raw, arguments: object) -> Headers:
    """The headers that repeat a call's arguments, as the tool's definition wants them."""
    try:
        schema = msgspec.json.decode(msgspec.json.decode(definition, type=_Definition).input_schema)
        annotated = list(_headers_of(schema))
    except msgspec.MsgspecError:
        return []
    values = dict(_leaves(arguments))
    return [
        (f"{PARAMETER_HEADER}{name.lower()}", encoded(_rendered(values[path])))
        for path, name in annotated
        if path in values
    ]


def _headers_of(schema: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    found = msgspec.convert(schema, _Annotated, strict=False)
    if found.header and path:
        yield path, found.header
    for name, inner in found.properties.items():
        if isinstance(inner, dict):
            yield from _headers_of(inner, (*path, name))
