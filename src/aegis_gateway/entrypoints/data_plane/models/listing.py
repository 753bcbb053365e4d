"""Lists of models, in each API's form: what agents' clients ask before they call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.registry import Model
from aegis_gateway.entrypoints.data_plane.error_forms import ANTHROPIC, GEMINI, OPENAI, ErrorForm
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, api_key

_JSON = [("content-type", "application/json")]
_encode = msgspec.json.Encoder().encode

Card = Callable[[Model], dict[str, Any]]
Page = Callable[[list[Model]], dict[str, Any]]


class ModelsListing:
    """`GET /v1/models` and `GET /v1/models/{model}` in one API's form. It is told from a copy that is current."""

    def __init__(self, calls: Calls, card: Card, page: Page, errors: ErrorForm) -> None:
        """Build on the use cases, with how a model and how the list of them is written."""
        self._calls = calls
        self._card = card
        self._page = page
        self.errors = errors

    async def __call__(self, scope: Scope, protocol: HttpProtocol, name: str = "") -> None:
        """Answer one request, for all models or for the one that is named."""
        view = await self._calls.callers.view(api_key(scope))
        models: Mapping[str, Model] = view.registry.models
        if not name:
            protocol.response_bytes(200, _JSON, _encode(self._page(list(models.values()))))
            return
        model = models.get(name)
        if model is None:
            raise CallError(
                f"model `{name[:128]}` is not configured here; `GET /v1/models` lists what is",
                status=404,
                field="model",
            )
        protocol.response_bytes(200, _JSON, _encode(self._card(model)))


def openai_listing(calls: Calls) -> ModelsListing:
    """The list in OpenAI's form."""
    return ModelsListing(
        calls,
        _openai_card,
        lambda models: {"object": "list", "data": [_openai_card(model) for model in models]},
        OPENAI,
    )


def anthropic_listing(calls: Calls) -> ModelsListing:
    """The list in Anthropic's form."""
    return ModelsListing(
        calls,
        _anthropic_card,
        lambda models: {
            "data": [_anthropic_card(model) for model in models],
            "has_more": False,
            "first_id": models[0].id if models else None,
            "last_id": models[-1].id if models else None,
        },
        ANTHROPIC,
    )


def gemini_listing(calls: Calls) -> ModelsListing:
    """The list in Google's form."""
    return ModelsListing(
        calls, _gemini_card, lambda models: {"models": [_gemini_card(model) for model in models]}, GEMINI
    )


def _openai_card(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": 0, "owned_by": model.connector}


def _anthropic_card(model: Model) -> dict[str, Any]:
    return {"type": "model", "id": model.id, "display_name": model.id, "created_at": "1970-01-01T00:00:00Z"}


def _gemini_card(model: Model) -> dict[str, Any]:
    methods = ["generateContent", "streamGenerateContent", "countTokens"]
    return {"name": f"models/{model.id}", "displayName": model.id, "supportedGenerationMethods": methods}
