"""`GET /v1/capabilities` and `GET /v1/models/pricing`: what the SDK may expect here, and what a model costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.directory import TenantView
from aegis_gateway.domain.money import NANO_PER_USD, UnitPrice
from aegis_gateway.domain.price import Kind, ModelPrice, UnitPrices, price_of
from aegis_gateway.domain.registry import FREE, Model
from aegis_gateway.entrypoints.data_plane.aegislib.telemetry import BODY_BYTES_MAX, SPANS_MAX
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, api_key

CAPABILITIES = "/v1/capabilities"
PRICING = "/v1/models/pricing"

_TOKENS = 1_000_000
_FIELDS: tuple[tuple[str, Kind], ...] = (
    ("input_price_per_1m", "input"),
    ("output_price_per_1m", "output"),
    ("cache_read_price_per_1m", "cache_read"),
    ("cache_write_price_per_1m", "cache_write"),
)
_FEATURES = ("decisions", "decision_batch", "decision_status", "models_pricing", "settlement_by_spans")
_JSON = [("content-type", "application/json")]
_encode = msgspec.json.Encoder().encode


class CapabilitiesDoor:
    """What is true here of what the SDK asks about before it exports spans."""

    def __init__(self, calls: Calls) -> None:
        """Build on the use cases."""
        self._calls = calls

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        view = await self._calls.callers.view(api_key(scope))
        capabilities = {
            "api_version": "1.0",
            "deployment": "on_prem",
            "storage_profile": None,
            "max_batch_spans": SPANS_MAX,
            "max_body_bytes": BODY_BYTES_MAX,
            "content_offload_supported": False,
            "features": _FEATURES,
            "pricing_catalog_version": _version(view),
        }
        protocol.response_bytes(200, _JSON, _encode(capabilities))


class PricingDoor:
    """The tenant's models with what a million tokens of them cost, in dollars; those without a price stand apart."""

    def __init__(self, calls: Calls) -> None:
        """Build on the use cases."""
        self._calls = calls

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        view = await self._calls.callers.view(api_key(scope))
        models = view.registry.models.values()
        pricing = {
            "catalog_version": _version(view),
            "currency": "USD",
            "models": [_entry(model, model.price) for model in models if model.price is not None],
            "unpriced": [model.id for model in models if model.price is None],
        }
        protocol.response_bytes(200, _JSON, _encode(pricing))


def _version(view: TenantView) -> str:
    """Prices change with the configuration only."""
    return str(view.config_version)


def _entry(model: Model, price: ModelPrice) -> dict[str, Any]:
    """A model's prices, and those that hold above so many tokens of input, where there are some."""
    first, *higher = price.tiers
    entry: dict[str, Any] = {"model": model.id, **_prices(first.prices)}
    if higher:
        entry["tiers"] = [
            {"above_input_tokens": tier.above_input_tokens, **_prices(tier.prices)} for tier in higher
        ]
    return entry


def _prices(prices: UnitPrices) -> dict[str, msgspec.Raw]:
    """The prices that there are. What has none of its own costs what it is a part of.

    Input and output are always said. A model whose price has no output is never billed for any: it embeds.
    """
    known = {field: price for field, kind in _FIELDS if (price := price_of(prices, kind)) is not None}
    billed: dict[str, UnitPrice] = {"input_price_per_1m": FREE, "output_price_per_1m": FREE, **known}
    return {field: _per_million(price) for field, price in billed.items()}


def _per_million(price: UnitPrice) -> msgspec.Raw:
    """Dollars for a million, as an exact number."""
    dollars = Decimal(price.nano_usd * _TOKENS) / (price.per * NANO_PER_USD)
    return msgspec.Raw(format(dollars.normalize(), "f").encode())
