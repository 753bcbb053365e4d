"""OpenAI's Embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Usage
from aegis_gateway.domain.quote import ModelShape
from aegis_gateway.domain.registry import Connector, ConnectorKind, Model
from aegis_gateway.entrypoints.data_plane.error_forms import OPENAI
from aegis_gateway.entrypoints.data_plane.models.body import read_body_json
from aegis_gateway.entrypoints.data_plane.models.chat import chat_usage
from aegis_gateway.entrypoints.data_plane.models.dialect import (
    EMBED,
    STRUCTURAL,
    Address,
    Channel,
    ModelRequest,
    StreamedText,
    StreamWatch,
    azure_url,
    with_model,
)
from aegis_gateway.entrypoints.data_plane.models.reading import model_name, parsed_object
from aegis_gateway.entrypoints.data_plane.redacting import Content


class EmbeddingsDialect:
    """`POST /v1/embeddings`."""

    action = EMBED
    title = "OpenAI Embeddings"
    kinds: tuple[ConnectorKind, ...] = ("openai", "azure")
    errors = OPENAI
    is_free = False
    content = Content(structural=STRUCTURAL | {"embedding", "encoding_format"})

    def parse(self, address: Address, raw: bytes) -> ModelRequest:
        """Read a request. A token given as a number takes a byte at least, so bytes bound those too."""
        body = read_body_json(raw)
        model = address.model or model_name(body.fields)
        given = body.fields.get("input")
        if not isinstance(given, str | list) or not given:
            raise CallError("`input` must be a text, or a list of texts or tokens", field="input")
        unbounded_by = _first_odd(given) if isinstance(given, list) else None
        inputs = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
        return ModelRequest(
            model=model,
            body=body,
            shape=ModelShape(input_bytes=len(raw), has_output=False, unbounded_input_by=unbounded_by),
            arguments={"inputs": inputs},
            summary={"inputs": inputs, "bytes": len(raw)},
        )

    def url(self, connector: Connector, model: Model, request: ModelRequest) -> str:
        """Where the request goes."""
        if connector.kind == "azure":
            return azure_url(connector, model.upstream, "embeddings")
        return f"{connector.base_url}/embeddings"

    def body(
        self, connector: Connector, model: Model, request: ModelRequest, output_tokens: int | None
    ) -> bytes:
        """The body to send."""
        return request.body.changed(with_model(request.body, model))

    def usage(self, answer: bytes) -> Usage | None:
        """The usage of a whole answer."""
        return chat_usage(parsed_object(answer).get("usage"))

    def watch(self, request: ModelRequest) -> StreamWatch:
        """Embeddings are not streamed."""
        raise AssertionError("no request for embeddings asks for a stream")

    def streamed(self, event: dict[str, Any]) -> Iterable[StreamedText]:
        """Nor is any part of them."""
        return ()

    def ended(self, event: dict[str, Any]) -> Iterable[Channel]:
        """So nothing ends."""
        return ()


def _first_odd(given: list[object]) -> str | None:
    """The first input that is neither text nor tokens, and so of no size that is known."""
    for number, item in enumerate(given):
        if not isinstance(item, str | int | list):
            return f"input[{number}]"
    return None
