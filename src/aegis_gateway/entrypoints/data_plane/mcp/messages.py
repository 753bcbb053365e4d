"""JSON-RPC messages, as callers and MCP servers send them.

Rule 1: a caller's body is one message, and one that can't mean two things: what is judged is what is sent.
Rule 2: members that are not looked into keep their bytes; a message that is changed keeps those of all that isn't.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE, strict_json

Id = str | int
Members = dict[str, msgspec.Raw]

_ID_CHARACTERS_MAX = 256
_ASKED_ID_CHARACTERS_MAX = 16_384
"""The same for answers to what a server asked: it was named there, or by us, with the server's session in it."""
_ID_MAX = 2**63 - 1

encode = msgspec.json.Encoder(decimal_format="number").encode
members = msgspec.json.Decoder(Members).decode
"""An object's members, each as its bytes."""


class CallerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a caller. `values` is all of it, decoded; `params` are its parameters' bytes."""

    kind: Literal["request", "notification", "response"]
    raw: bytes
    values: Mapping[str, Any]
    id: Id | None = None
    method: str = ""
    params: Members = {}

    def param(self, name: str) -> Any:
        """One parameter, decoded."""
        found = self.values.get("params")
        return found.get(name) if isinstance(found, Mapping) else None

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the request says of itself (`_meta`)."""
        found = self.param("_meta")
        return found if isinstance(found, Mapping) else {}

    def with_params(self, changed: Mapping[str, msgspec.Raw | None], **top: object) -> bytes:
        """The message with other parameters; those that are None are left out."""
        params = {**self.params, **changed}
        kept = {name: value for name, value in params.items() if value is not None}
        return encode({**members(self.raw), **top, "params": kept})


def caller_message(raw: bytes) -> CallerMessage:
    """Read a caller's message.

    Raises:
        CallError: it is none, or could mean two things.
    """
    values = strict_json(raw)
    if isinstance(values, list):
        raise CallError("the body must be one message, not a list of them; send each by itself")
    if not isinstance(values, dict) or values.get("jsonrpc") != "2.0":
        raise CallError('the body must be a JSON-RPC message, with `"jsonrpc": "2.0"`')
    longest = _ID_CHARACTERS_MAX if "method" in values else _ASKED_ID_CHARACTERS_MAX
    if "id" in values and not _is_id(values["id"], longest):
        raise CallError("`id` must be a text or a whole number", field="id")
    if "method" not in values:
        if "id" not in values or ("result" in values) == ("error" in values):
            raise CallError("the message has neither a `method` nor one `result` or `error`", field="method")
        return CallerMessage(kind="response", raw=raw, values=values, id=values["id"])
    if not isinstance(values["method"], str) or "result" in values or "error" in values:
        raise CallError(
            "`method` must be a text, in a message that has no `result` or `error`", field="method"
        )
    if "params" in values and not isinstance(values["params"], dict):
        raise CallError("`params` must be an object", field="params")
    try:
        params = members(members(raw)["params"]) if "params" in values else {}
    except UNREADABLE as fault:
        raise CallError("the body is not valid JSON: it has a text that is none") from fault
    return CallerMessage(
        kind="request" if "id" in values else "notification",
        raw=raw,
        values=values,
        id=values.get("id"),
        method=values["method"],
        params=params,
    )


def _is_id(value: object, characters_max: int) -> bool:
    if isinstance(value, str):
        return len(value) <= characters_max
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _ID_MAX


class ServerMessage(msgspec.Struct, frozen=True):
    """A message of a server, looked into as far as the gateway needs it."""

    jsonrpc: Literal["2.0"]
    id: Id | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()

    @property
    def is_response(self) -> bool:
        """Whether it answers a request, as opposed to telling or asking something."""
        return self.method is None and (bool(bytes(self.result)) != bool(bytes(self.error)))

    @property
    def asks(self) -> bool:
        """Whether it asks the caller something."""
        return self.method is not None and self.id is not None


class ServerError(msgspec.Struct, frozen=True):
    """An error that a server answers with."""

    code: int = 0
    message: str = ""
    data: msgspec.Raw = msgspec.Raw()


_server_message = msgspec.json.Decoder(ServerMessage).decode
_server_error = msgspec.json.Decoder(ServerError).decode


def server_message(raw: bytes) -> ServerMessage | None:
    """Read a server's message; None where it is none."""
    try:
        raw.decode()  # the decoder doesn't look into the names of members that it skips
        return _server_message(raw)
    except UNREADABLE:
        return None


def error_of(message: ServerMessage) -> ServerError | None:
    """The error of a response; None where it has a result."""
    if not bytes(message.error):
        return None
    try:
        return _server_error(message.error)
    except UNREADABLE:
        return ServerError()


def result_members(message: ServerMessage) -> Members | None:
    """The members of a response's result; None where it is no object."""
    try:
        return members(message.result)
    except UNREADABLE:
        return None


def result_type(result: Members) -> str | None:
    """What a result says that it is; None where it says nothing, or what is no text.

    Its bytes don't tell: JSON has many ways to write a word.
    """
    try:
        return msgspec.json.decode(result["resultType"], type=str)
    except (KeyError, *UNREADABLE):
        return None


def with_result(raw: bytes, changed: Mapping[str, msgspec.Raw]) -> bytes:
    """A response with other members in its result."""
    top = members(raw)
    return encode({**top, "result": {**members(top["result"]), **changed}})


def raw_json(value: object) -> msgspec.Raw:
    """A value as its bytes, to stand among others'."""
    return msgspec.Raw(encode(value))


def response(id_: Id | None, result: object) -> bytes:
    """An answer with a result."""
    return encode({"jsonrpc": "2.0", "id": id_, "result": result})


def error_response(id_: Id | None, code: int, message: str, data: object = None) -> bytes:
    """An answer with an error."""
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return encode({"jsonrpc": "2.0", "id": id_, "error": error})
