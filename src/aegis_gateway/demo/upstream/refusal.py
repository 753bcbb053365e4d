"""Requests that get an error instead of an answer, and the bodies that OpenAI's APIs give them."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

_Decoded = TypeVar("_Decoded")


class Refused(Exception):
    """Nothing is billed. ``kind`` is what the API calls the error, or empty for what the status suggests."""

    def __init__(
        self, status: int, message: str, *, kind: str = "", param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code


def decoded(decode: Callable[[bytes], _Decoded], body: bytes) -> _Decoded:
    """``body`` as ``decode`` reads it, or a refusal."""
    try:
        return decode(body)
    except msgspec.ValidationError as wrong:
        raise Refused(400, f"Invalid request: {wrong}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "We could not parse the JSON body of your request.") from None


def error(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """The body of a refusal or fault, in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def body_of(refused: Refused) -> dict[str, object]:
    """The body of a refusal, in OpenAI's form."""
    kind = refused.kind or "invalid_request_error"
    return error(str(refused), kind, param=refused.param, code=refused.code)


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """The body for a request that can't be served as it is."""
    return error(message, "invalid_request_error", param=param, code=code)


def no_model(name: str) -> dict[str, object]:
    """The body for a model that isn't on offer."""
    if not name:
        return invalid("you must provide a model parameter")
    message = f"The model `{name}` does not exist or you do not have access to it."
    return invalid(message, code="model_not_found")


def unknown_key(authorization: str | None) -> dict[str, object]:
    """The body for a missing or wrong key."""
    if not authorization:
        return invalid("You didn't provide an API key: send it as `Authorization: Bearer YOUR_KEY`.")
    return invalid("Incorrect API key provided.", code="invalid_api_key")


def ordered_failure(status: int) -> dict[str, object]:
    """The body of a failure that the request asked for."""
    message = f"This request asked to fail with {status}."
    if status == 429:
        return error(message, "requests", code="rate_limit_exceeded")
    return error(message, "server_error" if status >= 500 else "invalid_request_error")
