"""Wire: the only parser of outside JSON. What it returns has been checked; nothing else looks into a raw body.

Rule 1: what is judged is what is sent. A model request is written anew from what was parsed, so no duplicate key
        or odd number can mean one thing here and another upstream; a connector's body is refused if it has any.
Rule 2: every fault names its path in the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Usage
from aegis_gateway.domain.quote import ChatShape, Read
from aegis_gateway.domain.registry import Argument, Operation

_OUTPUT_TOKENS_MAX = 10_000_000
_CHOICES_MAX = 128
_NUMBER_CHARACTERS_MAX = 64
_INTEGER_MAX = 2**63 - 1
_FORBIDDEN_KEYS = ("__entity", "__extn")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode

_UNBOUNDED_FIELDS = ("audio", "web_search_options", "prediction")
_TEXT_PARTS = ("text", "refusal")
_OWN_TOOLS = ("function", "custom")  # others the provider runs itself, and charges for
_PLAIN_TIERS = (None, "auto", "default")


class SupportsGet(Protocol):
    """Headers by name."""

    def get(self, key: str, default: Any = None) -> Any:
        """One header's value."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A Chat Completions request, checked as far as its price and its decision depend on it."""

    body: dict[str, Any]
    model: str
    stream: bool
    wants_usage: bool
    shape: ChatShape
    canonical: bytes

    def arguments(self) -> dict[str, object]:
        """What policies see of it."""
        tools = self.body.get("tools")
        arguments: dict[str, object] = {
            "stream": self.stream,
            "choices": self.shape.choices,
            "tools": len(tools) if isinstance(tools, list) else 0,
        }
        if self.shape.output_tokens is not None:
            arguments["max_output_tokens"] = self.shape.output_tokens
        return arguments

    def summary(self) -> dict[str, object]:
        """What the record shows of it: sizes and counts, none of the content."""
        return {
            "messages": len(self.body["messages"]),
            "bytes": self.shape.input_bytes,
            **self.arguments(),
        }

    def upstream_body(self, model: str, output_tokens: int | None) -> bytes:
        """The body to send: the upstream's model name, the output limit that was reserved, usage asked for."""
        body = dict(self.body)
        body["model"] = model
        if output_tokens is not None:
            fields = [
                field for field in ("max_tokens", "max_completion_tokens") if body.get(field) is not None
            ]
            for field in fields or ["max_completion_tokens"]:
                body[field] = output_tokens
        if self.stream:
            options = body.get("stream_options")
            body["stream_options"] = {**(options or {}), "include_usage": True}
        return _encode(body)


def parse_chat(raw: bytes) -> ChatRequest:
    """Read a Chat Completions request.

    Raises:
        CallError: it is not JSON, or a field that matters is missing or wrong, with its path.
    """
    body = _json_object(raw)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise CallError("`model` is missing; name one of the models that `/v1/models` lists", field="model")
    if _CONTROL.search(model):
        raise CallError("`model` has control characters; name one that `/v1/models` lists", field="model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise CallError("`messages` must be a list with at least one message", field="messages")
    limits = [_positive(body, field, _OUTPUT_TOKENS_MAX) for field in ("max_tokens", "max_completion_tokens")]
    given = [limit for limit in limits if limit is not None]
    stream = _boolean(body, "stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise CallError("`stream_options` must be an object", field="stream_options")
    shape = ChatShape(
        input_bytes=len(raw),
        output_tokens=min(given) if given else None,
        choices=_positive(body, "n", _CHOICES_MAX) or 1,
        unbounded_by=_unbounded_field(body, messages),
    )
    return ChatRequest(
        body=body,
        model=model,
        stream=stream,
        wants_usage=bool(options and options.get("include_usage")),
        shape=shape,
        canonical=_encode_sorted(body),
    )


def parse_usage(usage: object) -> Usage | None:
    """Read the `usage` of an answer; None where it is missing or makes no sense. An explicit zero is zero."""
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    written = details.get("cache_write_tokens") if isinstance(details, Mapping) else 0
    counts = [prompt, completion, cached or 0, written or 0]
    if not all(type(count) is int and 0 <= count < 2**53 for count in counts):
        return None
    if counts[2] + counts[3] > counts[0]:
        return None
    return Usage(input=counts[0], output=counts[1], cache_read=counts[2], cache_write=counts[3])


def answer_usage(raw: bytes) -> Usage | None:
    """The usage of a whole answer; None where there is none or the answer is not JSON."""
    answer = _object_or_none(raw)
    return parse_usage(answer.get("usage")) if answer is not None else None


def chunk_usage(raw: bytes) -> tuple[Usage | None, bool]:
    """The usage of one chunk of a stream, and whether the chunk carries nothing else."""
    chunk = _object_or_none(raw)
    if chunk is None:
        return None, False
    return parse_usage(chunk.get("usage")), not chunk.get("choices")


def is_error_object(raw: bytes) -> bool:
    """Whether an answer is an API's own error object, and so the provider's word that it did not do the work."""
    return "error" in (_object_or_none(raw) or ())


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
        CallError: the body is not the JSON it should be, or an argument is missing or of another type.
    """
    query = _query(query_string)
    body = _strict_json(raw) if raw else None
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


def response_reader(request: OperationRequest, raw: bytes) -> Read:
    """Reads numbers out of a request and, under `response`, out of its answer."""
    try:
        answer = _strict_json(raw) if raw else None
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
        if segment in ("", ".", "..") or _UNSAFE_SEGMENT.search(segment):
            raise CallError("the path has an empty, climbing or disguised segment", field="path")
    return decoded


_UNSAFE_SEGMENT = re.compile(r"[/\\%?#\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _either(first: Read, second: Read) -> Read:
    return lambda path: second(path) if path[0] == "response" else first(path)


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = _decode(raw)
    except _UNREADABLE as fault:
        raise CallError(f"the body is not valid JSON: {_decoder_words(fault)}") from fault
    if not isinstance(body, dict):
        raise CallError("the body must be a JSON object")
    return body


def _object_or_none(raw: bytes) -> dict[str, Any] | None:
    """An upstream's JSON object; None for anything else, whatever it is."""
    try:
        value = _decode(raw)
    except _UNREADABLE:
        return None
    return value if isinstance(value, dict) else None


_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""How what is not JSON shows: msgspec's own faults, and Python's where the text is not UTF-8."""


def _decoder_words(fault: Exception) -> str:
    if isinstance(fault, RecursionError):
        return "it is nested too deeply"
    if isinstance(fault, UnicodeError):
        return "it is not UTF-8"
    words = str(fault).removeprefix("JSON is malformed: ")
    return words[0].lower() + words[1:]


def _positive(body: Mapping[str, Any], field: str, most: int) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise CallError(f"`{field}` must be a whole number from 1 to {most}", field=field)
    return value


def _boolean(body: Mapping[str, Any], field: str) -> bool:
    value = body.get(field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise CallError(f"`{field}` must be true or false", field=field)
    return value


def _unbounded_field(body: Mapping[str, Any], messages: list[Any]) -> str | None:
    """The first field whose cost no count of bytes bounds."""
    for field in _UNBOUNDED_FIELDS:
        if body.get(field) is not None:
            return field
    if body.get("service_tier") not in _PLAIN_TIERS:
        return "service_tier"
    modalities = body.get("modalities")
    if modalities is not None and modalities != ["text"]:
        return "modalities"
    tools = body.get("tools")
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict) or tool.get("type") not in _OWN_TOOLS:
            return f"tools[{number}]"
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise CallError(f"`messages[{number}]` must be an object", field=f"messages[{number}]")
        if message.get("audio") is not None:
            return f"messages[{number}].audio"
        content = message.get("content")
        if isinstance(content, list):
            for place, part in enumerate(content):
                if not isinstance(part, dict) or part.get("type") not in _TEXT_PARTS:
                    return f"messages[{number}].content[{place}]"
    return None


def _query(query_string: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query_string, keep_blank_values=True, max_num_fields=256, errors="strict")
    except ValueError as fault:
        raise CallError("the query cannot be read", field="query") from fault
    query = dict(pairs)
    if len(query) != len(pairs):
        raise CallError("a name stands twice in the query; each may stand once", field="query")
    return query


def _strict_json(raw: bytes) -> object:
    try:
        return json.loads(
            raw.decode(),  # of bytes, `loads` would also take UTF-16 and UTF-32
            parse_float=_bounded_decimal,
            parse_int=_bounded_integer,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
        )
    except (ValueError, RecursionError) as fault:
        raise CallError(f"the body is not valid JSON: {_decoder_words(fault)}") from fault


def _canonical(sources: Mapping[str, object]) -> bytes:
    """Body, query and path in one form, whatever order they came in."""
    try:
        text = json.dumps(sources, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        return text.encode()
    except RecursionError as fault:
        raise CallError("the body is not valid JSON: it is nested too deeply") from fault
    except UnicodeEncodeError as fault:
        raise CallError(
            "the body is not valid JSON: a text has half a character (a lone surrogate)"
        ) from fault


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
    return Decimal(text)


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
