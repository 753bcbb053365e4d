"""Prints the fields that Envoy's own stubs have for the messages named on the command line, as JSON."""

import importlib
import json
import sys
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

STUBS = (
    "envoy.service.auth.v3.external_auth_pb2",
    "envoy.service.ext_proc.v3.external_processor_pb2",
)
SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_ENUM: "enum",
}


def all_messages() -> dict[str, Any]:
    """Every message that the stubs lead to, by its full name."""
    found: dict[str, Any] = {}
    waiting: list[Any] = []
    for name in STUBS:
        waiting += importlib.import_module(name).DESCRIPTOR.message_types_by_name.values()
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found[message.full_name] = message
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return found


def told(field: Any) -> list[Any]:
    """A field as our declarations have it: number, name, type, form."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        value = message.fields_by_name["value"]
        return [field.number, field.name, type_of(value), "map"]
    return [field.number, field.name, type_of(field), "many" if field.is_repeated else "one"]


def type_of(field: Any) -> str:
    """The name of what a field holds."""
    return field.message_type.full_name if field.message_type is not None else SCALARS.get(field.type, "?")


def main() -> None:
    """Print the fields of each message."""
    messages = all_messages()
    print(json.dumps({name: [told(field) for field in messages[name].fields] for name in sys.argv[1:]}))


main()
