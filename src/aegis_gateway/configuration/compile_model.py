"""From the entries of models to models with prices and bounds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aegis_gateway.configuration.document import ConnectorEntry, ModelEntry, ModelPriceEntry
from aegis_gateway.configuration.prices import Prices
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.scaling import digest, unit_price
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import ModelPrice, Tier, TokenPrices
from aegis_gateway.domain.registry import Model

DEFAULT_PROVIDER = "openai"
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
        price = prices.model_price(connector.provider or DEFAULT_PROVIDER, upstream)
    model = Model(
        id=name,
        connector=entry.connector,
        upstream=upstream,
        price=price,
        max_output_tokens=entry.max_output_tokens,
        max_input_tokens=entry.max_input_tokens,
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
    def price(setting: str) -> UnitPrice | None:
        return unit_price(getattr(entry, setting), _MILLION, (*path, setting), problems)

    free = UnitPrice(nano_usd=0)
    tokens = TokenPrices(
        input=price("input_per_million") or free,
        output=price("output_per_million") or free,
        cache_read=price("cache_read_per_million"),
        cache_write=price("cache_write_per_million"),
    )
    return ModelPrice(
        tiers=(Tier(above_input_tokens=0, prices=tokens),),
        source=CONTRACT,
        version=digest(tokens),
    )


def _at_most(number: int, most: int | None) -> int:
    return number if most is None else min(number, most)
