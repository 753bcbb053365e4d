"""From the entries of models to models with prices and bounds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aegis_gateway.configuration.document import (
    ConnectorEntry,
    HostedToolEntry,
    HostedToolsEntry,
    ModelEntry,
    ModelPriceEntry,
)
from aegis_gateway.configuration.prices import Prices
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.scaling import digest, unit_price
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.price import CALL_KINDS, KINDS, Kind, ModelPrice, Tier, UnitPrices
from aegis_gateway.domain.registry import HostedTool, Model

PROVIDERS = {"openai": "openai", "azure": "azure", "anthropic": "anthropic", "gemini": "google"}
"""Whose list prices hold at a kind of connector that doesn't say."""
CONTRACT = "contract"

_MILLION = 1_000_000


def compile_model(
    name: str,
    entry: ModelEntry,
    connectors: Mapping[str, ConnectorEntry],
    prices: Prices,
    path: Path,
    problems: Problems,
) -> Model:
    """A model, priced by contract or else by the catalogue; without a price where neither has one."""
    upstream = entry.upstream or name
    connector = connectors.get(entry.connector)
    price = None
    if entry.price is not None:
        price = _contract_price(entry.price, (*path, "price"), problems)
    elif connector is not None:
        price = prices.model_price(connector.provider or PROVIDERS.get(connector.kind, ""), upstream)
    price, hosted = _with_hosted_tools(price, entry.hosted_tools, (*path, "hosted_tools"), problems)
    model = Model(
        id=name,
        connector=entry.connector,
        upstream=upstream,
        price=price,
        max_output_tokens=entry.max_output_tokens,
        max_input_tokens=entry.max_input_tokens,
        hosted=hosted,
    )
    most = entry.max_output_tokens
    default = entry.default_output_tokens or _at_most(model.default_output_tokens, most)
    least = entry.min_output_tokens or min(model.min_output_tokens, default)
    expected = entry.expected_output_tokens or _at_most(model.expected_output_tokens, most)
    for setting, lower, upper in (
        ("default_output_tokens", default, most),
        ("min_output_tokens", least, default),
        ("expected_output_tokens", expected, most),
    ):
        if upper is not None and lower > upper:
            limit = "default_output_tokens" if setting == "min_output_tokens" else "max_output_tokens"
            problems.add(
                (*path, setting), f"is `{lower}`, above `{limit}`, {upper}; lower the one or raise the other"
            )
    return msgspec.structs.replace(
        model, default_output_tokens=default, min_output_tokens=least, expected_output_tokens=expected
    )


def _contract_price(entry: ModelPriceEntry, path: Path, problems: Problems) -> ModelPrice:
    prices: UnitPrices = {}
    for kind in KINDS:
        setting = f"{kind}_per_million"
        stated = unit_price(getattr(entry, setting, None), _MILLION, (*path, setting), problems)
        if stated is not None:
            prices[kind] = stated
    return ModelPrice(
        tiers=(Tier(above_input_tokens=0, prices=prices),),
        source=CONTRACT,
        version=digest(prices),
    )


def _with_hosted_tools(
    price: ModelPrice | None, entry: HostedToolsEntry, path: Path, problems: Problems
) -> tuple[ModelPrice | None, dict[Kind, HostedTool]]:
    """The provider's own tools that a model may use, and its price with what calls of them cost by contract."""
    tools: dict[Kind, HostedTool] = {}
    stated: UnitPrices = {}
    for kind in CALL_KINDS:
        tool: HostedToolEntry | None = getattr(entry, kind)
        if tool is None:
            continue
        tools[kind] = HostedTool(calls_max=tool.max_calls)
        per_call = unit_price(tool.price_per_call, 1, (*path, kind, "price_per_call"), problems)
        if per_call is not None:
            stated[kind] = per_call
        elif price is not None and price.dearest(0, (kind,)) is None:
            problems.add(
                (*path, kind),
                "has no `price_per_call`, and the catalogue knows none for this model; state one, if only 0",
            )
    if price is None or not stated:
        return price, tools
    tiers = tuple(msgspec.structs.replace(tier, prices={**tier.prices, **stated}) for tier in price.tiers)
    version = f"{price.version}+{digest(stated)}"
    return msgspec.structs.replace(price, tiers=tiers, version=version), tools


def _at_most(number: int, most: int | None) -> int:
    return number if most is None else min(number, most)
