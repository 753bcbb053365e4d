"""JSON Schemas of what operations' bodies may be: checked when they are loaded, compiled once.

Rule 1: a schema is all there is to it: nothing is fetched, whatever it refers to.
Rule 2: patterns are matched in linear time, so no body can keep the gateway busy with one.

The dialect is JSON Schema 2020-12, unless the schema's own `$schema` names another.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast, get_args

import jsonschema_rs
import msgspec

from aegis_gateway.configuration.words import unfit
from aegis_gateway.domain.registry import ArgumentType

_WORDS_MAX = 300
_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode

_TYPES: tuple[ArgumentType, ...] = get_args(ArgumentType)


def schema_text(value: object) -> bytes:
    """A schema as JSON; what is none is unfit."""
    if not isinstance(value, dict):
        unfit("is no JSON Schema; write one, as in {type: object, required: [amount]}")
    text = _encode(value)
    try:
        _validator(text)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as fault:
        at = _written(getattr(fault, "instance_path", ()))
        words = str(getattr(fault, "message", fault)).splitlines()[0]
        unfit(f"is no JSON Schema{f': `{at}`' if at else ''}: {words[:_WORDS_MAX]}")
    return text


def body_fault(schema: bytes, body: object) -> tuple[str, str] | None:
    """What about a body doesn't fit a schema first: its path in the request, and why; None where all of it fits.

    No value of the body is in the words.
    """
    fault = next(_validator(schema).iter_errors(body), None)
    if fault is None:
        return None
    at = _written(fault.instance_path)
    return ("body" if not at else f"body{at}" if at.startswith("[") else f"body.{at}"), fault.message[
        :_WORDS_MAX
    ]


def type_at(schema: bytes, path: tuple[str, ...]) -> ArgumentType | None:
    """What kind of value a schema says there is at a path below the body; None where it doesn't say just that."""
    found: Any = msgspec.json.decode(schema)
    for name in path:
        found = found.get("properties", {}).get(name) if isinstance(found, Mapping) else None
    stated = found.get("type") if isinstance(found, Mapping) else None
    return cast(ArgumentType, stated) if stated in _TYPES else None


@lru_cache(maxsize=4_096)
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        msgspec.json.decode(schema), mask="it", offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def _written(path: Any) -> str:
    """A path as people write it: `items[0].amount`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
