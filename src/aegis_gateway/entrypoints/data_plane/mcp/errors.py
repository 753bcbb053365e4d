"""Errors of the protocol: JSON-RPC bodies with the HTTP status that goes with them.

Rule: of the range that JSON-RPC reserves only codes that JSON-RPC or MCP define are used, as they define them. What is
Aegis's own (an unknown key, an upstream that failed) has the HTTP status as its code, and a word in its data.
"""

from __future__ import annotations

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.error_forms import More
from aegis_gateway.entrypoints.data_plane.mcp.messages import Id, error_response
from aegis_gateway.entrypoints.data_plane.mcp.versions import MODERN

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022
ADDRESS_TO_VISIT = -32042
"""Somebody has to visit an address first; of the form of 2025-11-25 alone."""

NOT_DONE = frozenset(
    (
        PARSE_ERROR,
        INVALID_REQUEST,
        METHOD_NOT_FOUND,
        INVALID_PARAMS,
        HEADER_MISMATCH,
        MISSING_CAPABILITY,
        UNSUPPORTED_VERSION,
        ADDRESS_TO_VISIT,
    )
)
"""Errors by which a server says that it did not take the request up."""

_STATUS = {METHOD_NOT_FOUND: 404}


class ProtocolFault(Exception):
    """A message that isn't as the protocol wants it, or can't be served: answered with an error, and nothing else.

    `status` is that of the HTTP answer, if it isn't the code's usual one.
    """

    def __init__(self, code: int, message: str, data: object = None, *, status: int | None = None) -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.code = code
        self.data = data
        self.status = status if status is not None else _STATUS.get(code, 400)

    def body(self, id_: Id | None) -> bytes:
        """The answer's body."""
        return error_response(id_, self.code, str(self), self.data)


def unsupported(requested: str) -> ProtocolFault:
    """The version that a request names is none that is spoken here. The legacy ones no request names: sessions do."""
    return ProtocolFault(
        UNSUPPORTED_VERSION,
        "unsupported protocol version",
        {"supported": [MODERN], "requested": requested[:64]},
    )


def unknown_method(method: str) -> ProtocolFault:
    """There is no such method here."""
    return ProtocolFault(METHOD_NOT_FOUND, f"method `{method[:64]}` is not served here")


def misread(fault: CallError) -> ProtocolFault:
    """A body that can't be read as a message."""
    code = PARSE_ERROR if "not valid JSON" in str(fault) else INVALID_REQUEST
    return ProtocolFault(code, str(fault), status=fault.status)


class McpErrors:
    """How errors look that no message is answered with: of a caller whom nobody knows, of a gateway that failed."""

    def body(
        self, status: int, code: str, message: str, param: str | None = None, more: More = None
    ) -> bytes:
        """A JSON-RPC error without an id, for the request could not be read, or was not looked at."""
        data = {"code": code} if param is None else {"code": code, "field": param}
        return error_response(None, status, message, {**data, **(more or {})})

    def event(self, status: int, code: str, message: str) -> bytes:
        """The same as an event."""
        return b"event: message\ndata: " + self.body(status, code, message) + b"\n\n"


MCP = McpErrors()


def event(message: bytes) -> bytes:
    """A message as an event of a stream."""
    return b"event: message\ndata: " + message + b"\n\n"
