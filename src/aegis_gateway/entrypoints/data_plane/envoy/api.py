"""What of Envoy's API is spoken here: messages of ext_authz and ext_proc, as fields with their numbers.

Rule 1: declared here and held in a pool of their own, so that nothing of another package's protobuf is touched.
Rule 2: only what is read or written is declared; what an Envoy says beside it is skipped, as protobuf has it. That the
        numbers are Envoy's is checked against its own stubs in the tests.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto and
https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import DESCRIPTOR as STRUCT

PACKAGE = "aegis.envoy"
AUTHORIZATION = "envoy.service.auth.v3.Authorization"
EXTERNAL_PROCESSOR = "envoy.service.ext_proc.v3.ExternalProcessor"

OVERWRITE, APPEND = 2, 0
"""`HeaderValueOption.append_action`: instead of what is there, or besides."""
BUFFERED = 2
"""`ProtocolConfiguration.*_body_mode`: the whole body in one message."""

_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "enum": FieldDescriptorProto.TYPE_INT32,  # on the wire an enum is a number, and numbers are what we compare
}


class Field(NamedTuple):
    """A field: its number, its name, and a scalar or one of our messages; `form` is `one`, `many` or `map`."""

    number: int
    name: str
    type: str
    form: str = "one"


MESSAGES: dict[str, tuple[Field, ...]] = {
    "envoy.config.core.v3.HeaderValue": (
        Field(1, "key", "string"),
        Field(2, "value", "string"),
        Field(3, "raw_value", "bytes"),
    ),
    "envoy.config.core.v3.HeaderMap": (Field(1, "headers", "envoy.config.core.v3.HeaderValue", "many"),),
    "envoy.config.core.v3.HeaderValueOption": (
        Field(1, "header", "envoy.config.core.v3.HeaderValue"),
        Field(3, "append_action", "enum"),
    ),
    "envoy.type.v3.HttpStatus": (Field(1, "code", "enum"),),
    "google.rpc.Status": (Field(1, "code", "int32"), Field(2, "message", "string")),
    # -- ext_authz
    "envoy.service.auth.v3.AttributeContext.HttpRequest": (
        Field(2, "method", "string"),
        Field(3, "headers", "string", "map"),
        Field(4, "path", "string"),
        Field(10, "protocol", "string"),
        Field(11, "body", "string"),
        Field(12, "raw_body", "bytes"),
        Field(13, "header_map", "envoy.config.core.v3.HeaderMap"),
    ),
    "envoy.service.auth.v3.AttributeContext.Request": (
        Field(2, "http", "envoy.service.auth.v3.AttributeContext.HttpRequest"),
    ),
    "envoy.service.auth.v3.AttributeContext": (
        Field(4, "request", "envoy.service.auth.v3.AttributeContext.Request"),
        Field(10, "context_extensions", "string", "map"),
    ),
    "envoy.service.auth.v3.CheckRequest": (Field(1, "attributes", "envoy.service.auth.v3.AttributeContext"),),
    "envoy.service.auth.v3.DeniedHttpResponse": (
        Field(1, "status", "envoy.type.v3.HttpStatus"),
        Field(2, "headers", "envoy.config.core.v3.HeaderValueOption", "many"),
        Field(3, "body", "string"),
    ),
    "envoy.service.auth.v3.OkHttpResponse": (
        Field(2, "headers", "envoy.config.core.v3.HeaderValueOption", "many"),
        Field(5, "headers_to_remove", "string", "many"),
        Field(6, "response_headers_to_add", "envoy.config.core.v3.HeaderValueOption", "many"),
    ),
    "envoy.service.auth.v3.CheckResponse": (
        Field(1, "status", "google.rpc.Status"),
        Field(2, "denied_response", "envoy.service.auth.v3.DeniedHttpResponse"),
        Field(3, "ok_response", "envoy.service.auth.v3.OkHttpResponse"),
    ),
    # -- ext_proc
    "envoy.service.ext_proc.v3.HttpHeaders": (
        Field(1, "headers", "envoy.config.core.v3.HeaderMap"),
        Field(3, "end_of_stream", "bool"),
    ),
    "envoy.service.ext_proc.v3.HttpBody": (
        Field(1, "body", "bytes"),
        Field(2, "end_of_stream", "bool"),
    ),
    "envoy.service.ext_proc.v3.ProtocolConfiguration": (
        Field(1, "request_body_mode", "enum"),
        Field(2, "response_body_mode", "enum"),
    ),
    "envoy.service.ext_proc.v3.ProcessingRequest": (
        Field(2, "request_headers", "envoy.service.ext_proc.v3.HttpHeaders"),
        Field(3, "response_headers", "envoy.service.ext_proc.v3.HttpHeaders"),
        Field(4, "request_body", "envoy.service.ext_proc.v3.HttpBody"),
        Field(5, "response_body", "envoy.service.ext_proc.v3.HttpBody"),
        Field(9, "attributes", "google.protobuf.Struct", "map"),
        Field(10, "observability_mode", "bool"),
        Field(11, "protocol_config", "envoy.service.ext_proc.v3.ProtocolConfiguration"),
    ),
    "envoy.service.ext_proc.v3.HeaderMutation": (
        Field(1, "set_headers", "envoy.config.core.v3.HeaderValueOption", "many"),
        Field(2, "remove_headers", "string", "many"),
    ),
    "envoy.service.ext_proc.v3.BodyMutation": (Field(1, "body", "bytes"),),
    "envoy.service.ext_proc.v3.CommonResponse": (
        Field(2, "header_mutation", "envoy.service.ext_proc.v3.HeaderMutation"),
        Field(3, "body_mutation", "envoy.service.ext_proc.v3.BodyMutation"),
    ),
    "envoy.service.ext_proc.v3.HeadersResponse": (
        Field(1, "response", "envoy.service.ext_proc.v3.CommonResponse"),
    ),
    "envoy.service.ext_proc.v3.BodyResponse": (
        Field(1, "response", "envoy.service.ext_proc.v3.CommonResponse"),
    ),
    "envoy.service.ext_proc.v3.ImmediateResponse": (
        Field(1, "status", "envoy.type.v3.HttpStatus"),
        Field(2, "headers", "envoy.service.ext_proc.v3.HeaderMutation"),
        Field(3, "body", "bytes"),
        Field(5, "details", "string"),
    ),
    "envoy.service.ext_proc.v3.ProcessingResponse": (
        Field(1, "request_headers", "envoy.service.ext_proc.v3.HeadersResponse"),
        Field(2, "response_headers", "envoy.service.ext_proc.v3.HeadersResponse"),
        Field(3, "request_body", "envoy.service.ext_proc.v3.BodyResponse"),
        Field(4, "response_body", "envoy.service.ext_proc.v3.BodyResponse"),
        Field(7, "immediate_response", "envoy.service.ext_proc.v3.ImmediateResponse"),
    ),
}
"""By the name that Envoy has for a message, what of it is spoken here."""


def _local(name: str) -> str:
    """A message's name in our pool, which is flat."""
    return name.replace(".", "_")


def _type_of(field: Field) -> dict[str, Any]:
    if field.type in _SCALARS:
        return {"type": _SCALARS[field.type]}
    name = field.type if field.type == "google.protobuf.Struct" else f"{PACKAGE}.{_local(field.type)}"
    return {"type": FieldDescriptorProto.TYPE_MESSAGE, "type_name": f".{name}"}


def _entry_name(field: Field) -> str:
    return "".join(part.capitalize() for part in field.name.split("_")) + "Entry"


def _message(name: str, fields: tuple[Field, ...]) -> DescriptorProto:
    message = DescriptorProto(name=_local(name))
    for field in fields:
        label = FieldDescriptorProto.LABEL_OPTIONAL
        if field.form != "one":
            label = FieldDescriptorProto.LABEL_REPEATED
        kind = _type_of(field)
        if field.form == "map":
            entry = message.nested_type.add(name=_entry_name(field))
            entry.options.map_entry = True
            optional = FieldDescriptorProto.LABEL_OPTIONAL
            entry.field.add(name="key", number=1, label=optional, type=FieldDescriptorProto.TYPE_STRING)
            entry.field.add(name="value", number=2, label=optional, **kind)
            place = f".{PACKAGE}.{_local(name)}.{entry.name}"
            kind = {"type": FieldDescriptorProto.TYPE_MESSAGE, "type_name": place}
        message.field.add(name=field.name, number=field.number, label=label, **kind)
    return message


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    pool.AddSerializedFile(STRUCT.serialized_pb)
    file = FileDescriptorProto(
        name="aegis/envoy.proto", package=PACKAGE, syntax="proto3", dependency=[STRUCT.name]
    )
    file.message_type.extend(_message(name, fields) for name, fields in MESSAGES.items())
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def message_class(name: str) -> Any:
    """The class of one of Envoy's messages, by Envoy's name for it."""
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{_local(name)}"))


CheckRequest = message_class("envoy.service.auth.v3.CheckRequest")
CheckResponse = message_class("envoy.service.auth.v3.CheckResponse")
ProcessingRequest = message_class("envoy.service.ext_proc.v3.ProcessingRequest")
ProcessingResponse = message_class("envoy.service.ext_proc.v3.ProcessingResponse")
