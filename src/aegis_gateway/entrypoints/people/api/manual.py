"""The control API's manual, read from its own description (OpenAPI), which stays true by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_METHODS = ("get", "post", "put", "patch", "delete")


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter, or a field of a body."""

    name: str
    type: str
    is_required: bool
    description: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: what it takes, what it gives, and what can be wrong."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answer: tuple[Field, ...]
    problems: tuple[tuple[str, str], ...]
    example: str


def operations(document: dict[str, Any], url: str) -> list[Operation]:
    """All operations of a description, in its order; examples call the gateway at `url`."""
    return [
        _operation(document, path, method, found[method], url)
        for path, found in document["paths"].items()
        for method in _METHODS
        if method in found
    ]


def _operation(
    document: dict[str, Any], path: str, method: str, found: dict[str, Any], url: str
) -> Operation:
    body = _schema(found.get("requestBody", {}))
    fields = tuple(_fields(document, body)) if body is not None else ()
    answers = found["responses"]
    given = _schema(answers.get("200", {}))
    way = "" if method == "get" or body is not None else f"-X {method.upper()} "
    example = [f"curl {way}{url}{path}", '-H "Authorization: Bearer $AEGIS_TOKEN"']
    if body is not None:
        example += [
            '-H "Content-Type: application/json"',
            f"-d '{msgspec.json.encode(_resolved(document, body).get('example', {})).decode()}'",
        ]
    return Operation(
        id=found["operationId"],
        method=method.upper(),
        path=path,
        summary=found["summary"],
        description=found.get("description", ""),
        parameters=tuple(
            Field(
                name=each["name"],
                type=_type(document, each["schema"]),
                is_required=each.get("required", False),
                description=each.get("description", ""),
            )
            for each in found.get("parameters", ())
        ),
        body=fields,
        answer=tuple(_fields(document, given)) if given is not None else (),
        problems=tuple(
            (status, each["description"]) for status, each in sorted(answers.items()) if status != "200"
        ),
        example=" \\\n  ".join(example),
    )


def _schema(part: dict[str, Any]) -> dict[str, Any] | None:
    content = part.get("content", {}).get("application/json")
    return content["schema"] if content is not None else None


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[Field]:
    schema = _resolved(document, schema)
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        inner = _resolved(document, each)
        described = each.get("description") or (inner.get("description", "") if inner is not each else "")
        yield Field(
            name=name, type=_type(document, each), is_required=name in required, description=described
        )


def _type(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """A type in a word or two: `list of strings`, `grant or refuse`."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_type(document, each) for each in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if schema.get("type") == "array":
        return f"list of {_type(document, schema['items'])}"
    return str(schema.get("type", "anything"))


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return found
