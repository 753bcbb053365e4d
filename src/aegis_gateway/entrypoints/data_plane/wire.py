"""Wire: how requests to connectors' operations are read. (Those to models are read by the dialects in `models`.)

Rule 1: what is judged is what is sent. A body is passed on byte for byte, and refused if it has anything that could
        mean one thing here and another upstream: duplicate keys, `NaN`, keys that Cedar would read as entities.
Rule 2: every fault names its path in the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from aegis_gateway.configuration.json_schema import body_fault
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.quote import Read
from aegis_gateway.domain.registry import Argument, Operation

T = TypeVar("T")

_NUMBER_CHARACTERS_MAX = 64
_INTEGER_MAX = 2**63 - 1
_FORBIDDEN_KEYS = ("__entity", "__extn")


class SupportsGet(Protocol):
    """Headers by name."""

    def get(self, key: str, default: Any = None) -> Any:
        """One header's value."""


def json_type(headers: SupportsGet) -> str:
    """The content type to forward with a body that was read as JSON: what the caller said, if it says just that.

    A form, another character set or a compression would make the same bytes mean something else upstream.

    Raises:
        CallError: the headers call the body anything but JSON in UTF-8.
    """
    stated: str = headers.get("content-type") or JSON
    media, *parameters = (part.strip().lower() for part in stated.split(";"))
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise CallError("the body is compressed; send it as it is", field="content-encoding")
    charsets = [part for part in parameters if part.startswith("charset")]
    if not _JSON_MEDIA.fullmatch(media) or not all(charset in _UTF8 for charset in charsets):
        raise CallError(
            f"the body must be JSON and be called so; send `content-type: {JSON}`", field="content-type"
        )
    return stated


JSON = "application/json"
_JSON_MEDIA = re.compile(r"(application|text)/([a-z0-9!#$&^_.-]+\+)?json")
_UTF8 = ("charset=utf-8", 'charset="utf-8"')


class OperationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a connector's operation, checked; `values` are the declared arguments, typed."""

    operation: Operation
    values: dict[str, object]
    summary: dict[str, object]
    canonical: bytes
    read: Read


def parse_operation(
    operation: Operation, path_values: Mapping[str, str], query_string: str, raw: bytes
) -> OperationRequest:
    """Read a request to an operation and type its declared arguments.

    Raises:
        CallError: the body is not the JSON it should be or doesn't fit the operation's schema, or an argument is
            missing or of another type.
    """
    query = _query(query_string)
    body = strict_json(raw) if raw else None
    _fit_schema(operation, body, is_there=bool(raw))
    sources: dict[str, object] = {"body": body, "query": query, "path": dict(path_values)}
    values: dict[str, object] = {}
    summary: dict[str, object] = {}
    for argument in operation.arguments:
        found = _at(sources, argument.source)
        if found is None:
            if argument.required:
                path = ".".join(argument.source)
                raise CallError(f"`{path}` is missing; operation `{operation.id}` needs it", field=path)
            continue
        value = _typed(argument, found)
        values[argument.name] = value
        summary[argument.name] = _shown(argument, value)
    return OperationRequest(
        operation=operation,
        values=values,
        summary=summary,
        canonical=_canonical(sources),
        read=number_reader(sources),
    )


def _fit_schema(operation: Operation, body: object, *, is_there: bool) -> None:
    if not operation.body_schema:
        return
    if not is_there:
        raise CallError(f"the body is missing; operation `{operation.id}` needs one", field="body")
    fault = body_fault(operation.body_schema, body)
    if fault is not None:
        path, words = fault
        raise CallError(
            f"`{path}` does not fit the schema of operation `{operation.id}`: {words}", field=path
        )


def response_reader(request: OperationRequest, raw: bytes) -> Read:
    """Reads numbers out of a request and, under `response`, out of its answer."""
    try:
        answer = strict_json(raw) if raw else None
    except CallError:
        answer = None
    return _either(request.read, number_reader({"response": answer}))


def number_reader(sources: Mapping[str, object]) -> Read:
    """Reads a number at a path; numbers in strings count, as money is often sent."""

    def read(path: tuple[str, ...]) -> Decimal | None:
        return _number(_at(sources, path), ".".join(path))

    return read


def path_segments(path: str) -> list[str]:
    """The decoded segments of a connector path.

    Raises:
        CallError: a segment climbs, is empty, or hides a separator behind an escape.
    """
    segments = path.split("/")
    try:
        decoded = [unquote(segment, errors="strict") if "%" in segment else segment for segment in segments]
    except UnicodeDecodeError as fault:
        raise CallError("the path is not UTF-8 behind its escapes", field="path") from fault
    for segment in decoded:
        # Some servers take what is behind a `;` for parameters of a segment, and climb by what is before it.
        if segment.partition(";")[0] in ("", ".", "..") or _UNSAFE_SEGMENT.search(segment):
            raise CallError("the path has an empty, climbing or disguised segment", field="path")
    return decoded


_UNSAFE_SEGMENT = re.compile(r"[/\\%?#\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _either(first: Read, second: Read) -> Read:
    return lambda path: second(path) if path[0] == "response" else first(path)


UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""How what is not JSON shows: msgspec's own faults, and Python's where the text is not UTF-8."""


def decoder_words(fault: Exception) -> str:
    """A fault of a JSON decoder, in words for whoever wrote the text."""
    if isinstance(fault, RecursionError):
        return "it is nested too deeply"
    if isinstance(fault, UnicodeError):
        return "it is not UTF-8"
    words = str(fault).removeprefix("JSON is malformed: ")
    return words[0].lower() + words[1:]


def body_as(kind: type[T], raw: bytes) -> T:
    """A body of one of Aegis's own forms.

    Raises:
        CallError: it is not what it should be.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as fault:
        raise CallError(f"the body is not what it should be: {decoder_words(fault)}", field="body") from fault


def _query(query_string: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query_string, keep_blank_values=True, max_num_fields=256, errors="strict")
    except ValueError as fault:
        raise CallError("the query cannot be read", field="query") from fault
    query = dict(pairs)
    if len(query) != len(pairs):
        raise CallError("a name stands twice in the query; each may stand once", field="query")
    return query


def strict_json(raw: bytes) -> object:
    """Read JSON that can't mean one thing here and another elsewhere; numbers with decimals are `Decimal`.

    Raises:
        CallError: it is none.
    """
    try:
        return json.loads(
            raw.decode(),  # of bytes, `loads` would also take UTF-16 and UTF-32
            parse_float=_bounded_decimal,
            parse_int=_bounded_integer,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
        )
    except (ValueError, RecursionError) as fault:
        raise CallError(f"the body is not valid JSON: {decoder_words(fault)}") from fault


def _canonical(sources: Mapping[str, object]) -> bytes:
    """Body, query and path in one form, whatever order they came in."""
    try:
        text = json.dumps(
            sources, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_told_apart
        )
        return text.encode()
    except RecursionError as fault:
        raise CallError("the body is not valid JSON: it is nested too deeply") from fault
    except UnicodeEncodeError as fault:
        raise CallError(
            "the body is not valid JSON: a text has half a character (a lone surrogate)"
        ) from fault


def _told_apart(number: object) -> dict[str, str]:
    """A number with decimals, in a form that no body can have: it isn't the same as a text that reads like it."""
    return {"__extn": str(number)}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is not a number")


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key stands twice in one object")
    for key in _FORBIDDEN_KEYS:
        if key in record:
            raise ValueError(f"`{key}` may not be a key")
    return record


def _bounded_decimal(text: str) -> Decimal:
    if len(text) > _NUMBER_CHARACTERS_MAX:
        raise ValueError("a number is too long")
    try:
        return Decimal(text)
    except InvalidOperation as fault:  # JSON bounds no exponent, and decimals do
        raise ValueError("a number's exponent is too large") from fault


def _bounded_integer(text: str) -> int:
    if len(text) > _NUMBER_CHARACTERS_MAX:
        raise ValueError("a number is too long")
    return int(text)


def _at(sources: Mapping[str, object], path: tuple[str, ...]) -> object:
    found: object = sources
    for step in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _number(found: object, path: str) -> Decimal | None:
    if found is None or isinstance(found, bool):
        return None
    if isinstance(found, int | Decimal):
        return Decimal(found)
    if isinstance(found, str) and len(found) <= _NUMBER_CHARACTERS_MAX:
        try:
            number = Decimal(found)
        except InvalidOperation:
            pass
        else:
            if number.is_finite():
                return number
    raise CallError(f"`{path}` must be a number", field=path)


def _typed(argument: Argument, found: object) -> object:
    path = ".".join(argument.source)
    value: object
    match argument.type:
        case "integer":
            value = _integer(found, path)
        case "number":
            value = _number(found, path)
        case "string":
            value = found if isinstance(found, str) else None
        case "boolean":
            value = found if isinstance(found, bool) else None
    if value is None:
        raise CallError(f"`{path}` must be of type {argument.type}", field=path)
    return value


def _integer(found: object, path: str) -> int | None:
    number = _number(found, path)
    # Looked at before it is written out: `1e999999999` is a short text and an endless integer.
    if number is None or number.adjusted() > 18 or number != number.to_integral_value():
        return None
    integer = int(number)
    return integer if abs(integer) <= _INTEGER_MAX else None


def _shown(argument: Argument, value: object) -> object:
    """What the record shows of an argument: numbers and flags; texts only where the operation says so."""
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and not argument.shown:
        return f"({len(value)} characters)"
    return value
