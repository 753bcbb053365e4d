"""How each model API writes an error, so that its own clients understand ours: as a body, and inside a stream."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

_encode = msgspec.json.Encoder().encode

More = dict[str, Any] | None


class ErrorForm(Protocol):
    """One API's way to write an error."""

    def body(
        self, status: int, code: str, message: str, param: str | None = None, more: More = None
    ) -> bytes:
        """The body of an answer with an error status. `code` is ours, a stable word for programs; `more` stands
        beside it.
        """

    def event(self, status: int, code: str, message: str) -> bytes:
        """An error inside a stream that has begun."""


_OPENAI_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "service_unavailable",
    504: "upstream_error",
}


class OpenAiErrors:
    """OpenAI's form, which connectors' callers get as well."""

    def body(
        self, status: int, code: str, message: str, param: str | None = None, more: More = None
    ) -> bytes:
        """`{"error": {"message", "type", "param", "code"}}`."""
        kind = _OPENAI_TYPES.get(status, "invalid_request_error")
        error = {"message": message, "type": kind, "param": param, "code": code, **(more or {})}
        return _encode({"error": error})

    def event(self, status: int, code: str, message: str) -> bytes:
        """A data line with the error's body."""
        return b"data: " + self.body(status, code, message) + b"\n\n"


_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class AnthropicErrors:
    """Anthropic's form; the code stands beside the type, which is one of a closed list."""

    def body(
        self, status: int, code: str, message: str, param: str | None = None, more: More = None
    ) -> bytes:
        """`{"type": "error", "error": {"type", "message", "code"}}`."""
        error: dict[str, Any] = {
            "type": _ANTHROPIC_TYPES.get(status, "invalid_request_error"),
            "message": message,
            "code": code,
        }
        if param is not None:
            error["param"] = param
        error |= more or {}
        return _encode({"type": "error", "error": error, "request_id": None})

    def event(self, status: int, code: str, message: str) -> bytes:
        """An event named `error`."""
        return b"event: error\ndata: " + self.body(status, code, message) + b"\n\n"


_GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class GeminiErrors:
    """Google's form (google.rpc.Status); the code is the reason of an ErrorInfo among the details."""

    def body(
        self, status: int, code: str, message: str, param: str | None = None, more: More = None
    ) -> bytes:
        """`{"error": {"code", "message", "status", "details"}}`."""
        info: dict[str, Any] = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": code.upper(),
            "domain": "aegis",
        }
        if param is not None:
            info["metadata"] = {"field": param}
        kind = _GEMINI_STATUSES.get(status, "INVALID_ARGUMENT")
        error = {"code": status, "message": message, "status": kind, "details": [info], **(more or {})}
        return _encode({"error": error})

    def event(self, status: int, code: str, message: str) -> bytes:
        """A data line with the error's body."""
        return b"data: " + self.body(status, code, message) + b"\r\n\r\n"


OPENAI: ErrorForm = OpenAiErrors()
ANTHROPIC: ErrorForm = AnthropicErrors()
GEMINI: ErrorForm = GeminiErrors()
