"""A model request without what is to be redacted in it.

Rule: what can't be read can't be redacted, and is not sent: an image, tokens given as numbers; nor is a request whose
answer couldn't be read, since that would be paid for and withheld.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.domain.redaction import Counts, Redactions
from aegis_gateway.entrypoints.data_plane.models.dialect import EMBED, Address, Dialect, ModelRequest
from aegis_gateway.entrypoints.data_plane.redacting import redacted_json

_CARRIED = ("messages", "input", "contents", "system")
"""Where content stands; what is unbounded elsewhere (a stored prompt) isn't sent with the request."""


def redacted_request(
    dialect: Dialect, request: ModelRequest, redactions: Redactions, key: bytes
) -> tuple[ModelRequest, Counts]:
    """A request as it may be sent, read anew, and how much was redacted.

    Raises:
        NotRedactable: it has something in it, or asks for something, that can't be read or redacted.
    """
    if redactions.response and (field := _unreadable_answer(request.body.fields)):
        raise NotRedactable(f"`{field}` asks for an answer that isn't all text; leave it out")
    if not redactions.arguments:
        return request, {}
    if field := _unreadable(dialect, request):
        raise NotRedactable(f"`{field}` is no text that could be redacted")
    redactor = TextRedactor(redactions.arguments, key)
    raw = redacted_json(request.body.raw, redactor, dialect.content)
    if raw is not request.body.raw:
        request = dialect.parse(Address(model=request.model, query=request.query), raw)
    return request, redactor.counts


def _unreadable(dialect: Dialect, request: ModelRequest) -> str | None:
    """The first part of a request that is no text."""
    field = request.shape.unbounded_input_by
    if field is not None and field.startswith(_CARRIED):
        return field
    given = request.body.fields.get("input")
    if dialect.action == EMBED and isinstance(given, list) and not isinstance(given[0], str):
        return "input"
    return None


def _unreadable_answer(fields: Mapping[str, Any]) -> str | None:
    """The first field by which an answer would have something in it that is cut into tokens, or no text."""
    for name in ("logprobs", "top_logprobs", "audio"):
        if fields.get(name):
            return name
    if fields.get("modalities") not in (None, ["text"]):
        return "modalities"
    include = fields.get("include")
    if isinstance(include, list) and any("logprobs" in str(each) for each in include):
        return "include"
    for name in ("generationConfig", "generation_config"):
        config = fields.get(name)
        for setting, value in config.items() if isinstance(config, dict) else ():
            if "logprobs" in setting.lower() and value:
                return f"{name}.{setting}"
    return None
