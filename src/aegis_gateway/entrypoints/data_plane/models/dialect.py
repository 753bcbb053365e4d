"""What a model API's dialect is to the door: how its requests are read and changed, its answers counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import msgspec

from aegis_gateway.domain.price import Usage
from aegis_gateway.domain.quote import ModelShape
from aegis_gateway.domain.registry import Connector, ConnectorKind, Model
from aegis_gateway.entrypoints.data_plane.error_forms import ErrorForm
from aegis_gateway.entrypoints.data_plane.models.body import JsonBody
from aegis_gateway.entrypoints.data_plane.redacting import Content

CHAT = "chat"
EMBED = "embed"
COUNT_TOKENS = "count-tokens"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request stands in its address: the model, for APIs that put it there, and the query."""

    model: str = ""
    query: str = ""


NO_ADDRESS = Address()


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a model in whatever API, checked as far as its price and its decision depend on it.

    `arguments` is what policies see of it, `summary` what the record shows: sizes and counts, none of the content.
    """

    model: str
    body: JsonBody
    shape: ModelShape
    arguments: dict[str, object]
    summary: dict[str, object]
    stream: bool = False
    hides_usage: bool = False
    query: str = ""


Channel = tuple[str | int, ...]
"""Which of a stream's texts something is a part of: a choice's content, a block's, a tool call's arguments."""


class StreamedText(NamedTuple):
    """A part of a text that comes in several events: where it stands. `is_json`: the whole of it is JSON."""

    channel: Channel
    holder: dict[str, Any]
    name: str
    is_json: bool = False


class StreamWatch(Protocol):
    """Reads an answer's stream as it passes: finds the usage, holds back the end until the cost is on disk."""

    @property
    def usage(self) -> Usage | None:
        """What was used, as far as the stream has told."""

    @property
    def is_done(self) -> bool:
        """Whether the stream came to the end that its API promises."""

    @property
    def last(self) -> bytes:
        """What was held back."""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece from the upstream, give what may be passed on now.

        Raises:
            ValueError: an event is longer than any may be.
        """

    def end(self) -> None:
        """Take note that nothing more comes."""


class Dialect(Protocol):
    """One model API."""

    action: str
    """What policies call it: `chat` for all that generate, `embed`, `count-tokens`."""
    title: str
    """What people call it."""
    kinds: tuple[ConnectorKind, ...]
    """The kinds of connectors that speak it."""
    errors: ErrorForm
    is_free: bool
    """Whether the providers charge nothing for it."""
    content: Content
    """Where in its requests and answers the content is, for redaction."""

    def parse(self, address: Address, raw: bytes) -> ModelRequest:
        """Read a request.

        Raises:
            CallError: it is not JSON, or a field that matters is missing or wrong, with its path.
        """

    def url(self, connector: Connector, model: Model, request: ModelRequest) -> str:
        """Where the request goes."""

    def body(
        self, connector: Connector, model: Model, request: ModelRequest, output_tokens: int | None
    ) -> bytes:
        """The body to send: the upstream's model name, the output limit that was reserved, usage asked for."""

    def usage(self, answer: bytes) -> Usage | None:
        """The usage of a whole answer; None where it is missing or makes no sense. An explicit zero is zero."""

    def watch(self, request: ModelRequest) -> StreamWatch:
        """What reads the answer to a request that asked for a stream."""

    def streamed(self, event: dict[str, Any]) -> Iterable[StreamedText]:
        """The texts of an event of a stream that go on in other events."""

    def ended(self, event: dict[str, Any]) -> Iterable[Channel]:
        """The channels, or beginnings of them, whose texts end with an event."""


STRUCTURAL = frozenset(
    (
        "model", "role", "type", "id", "name", "object", "call_id", "tool_call_id", "tool_use_id", "item_id",
        "previous_response_id", "conversation", "system_fingerprint", "signature", "encrypted_content", "obfuscation",
    )
)  # fmt: skip
"""Members whose texts are no content in any API: what a body is built of, and what only its provider reads."""


def index_of(fields: dict[str, Any], name: str = "index") -> int:
    """Which of several a part of a stream is of; the first, where that isn't said."""
    index = fields.get(name)
    return index if isinstance(index, int) else 0


def azure_url(connector: Connector, deployment: str, operation: str) -> str:
    """The address of an operation at Azure, whose deployments stand in the path."""
    return f"{connector.base_url}/openai/deployments/{deployment}/{operation}?api-version={connector.api_version}"


def with_model(body: JsonBody, model: Model) -> dict[str, object]:
    """The change that names the upstream's model, where the caller named it otherwise."""
    return {} if body.fields.get("model") == model.upstream else {"model": model.upstream}


def with_model_and_limit(
    body: JsonBody, model: Model, limit: str, output_tokens: int | None
) -> dict[str, object]:
    """The same, and the output limit that was reserved, under the API's name for it."""
    changes = with_model(body, model)
    if output_tokens is not None and body.fields.get(limit) != output_tokens:
        changes[limit] = output_tokens
    return changes
