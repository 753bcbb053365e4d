"""Model prices from the catalogue that ships with genai-prices, compiled to integers.

Rule 1: a price is compiled only if it bounds what a call costs that is made of tokens and of calls of tools. Where
        it doesn't there is none, with a reason; a missing price is never $0.
Rule 2: prices change with the pinned package, never over the network: the snapshot is built here from the
        package's data, so that neither an updater nor a custom snapshot in the process changes it.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from aegis_gateway.domain.errors import MoneyError
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import Kind, ModelPrice, Tier

if TYPE_CHECKING:
    from genai_prices import types

SOURCE = "genai-prices"

_DEFAULT_TIER = {"service_tier": "default"}

_KINDS: dict[str, Kind] = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cache_read_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cache_read_image",
    "input_video_mtok": "input_video",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "web_searches_kcount": "web_search",
    "storage_searches_kcount": "file_search",
    "code_executions_kcount": "code_execution",
}
_PER = {"mtok": 1_000_000, "kcount": 1_000}
# These search the web with every call, asked or not, and charge for it apart from the tokens.
_SEARCHES_BY_ITSELF = re.compile(r"(?<!re)search|deep-research|sonar")


class Unpriced(msgspec.Struct, frozen=True, kw_only=True):
    """No price, and why: the words follow the model's name."""

    why: str


class CataloguePrices:
    """The catalogue's prices as they are in force on one day."""

    def __init__(self, on: date) -> None:
        """Read the snapshot as of a day in UTC; see `valid_through`."""
        # Its import takes a third of a second, which only those who ask for prices should pay.
        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot
        from genai_prices.data_units import unit_data

        self._snapshot = DataSnapshot(providers=providers, from_auto_update=False)
        self._units: dict[str, Mapping[str, str]] = {
            unit["price_key"]: unit["dimensions"] for unit in unit_data.values()
        }
        self._noon = datetime.combine(on, time(12), tzinfo=UTC)
        self.version = f"{SOURCE}/{importlib.metadata.version('genai-prices')}"

    @property
    def valid_through(self) -> date | None:
        """The last day (UTC) on which all these prices hold; None where no later ones are known.

        A model's price may double overnight. Whoever keeps prices has to read them anew after this day.
        """
        today = self._noon.date()
        starts = [start for start in self._starts() if start > today]
        return min(starts) - timedelta(days=1) if starts else None

    @property
    def newest_start(self) -> date | None:
        """The last day on which a price began that holds: the catalogue is at least as new."""
        return max((start for start in self._starts() if start <= self._noon.date()), default=None)

    def model_price(self, provider: str, model: str) -> ModelPrice | None:
        """The price of a provider's model, or None where the catalogue has none that bounds a bill."""
        found = self.find(provider, model)
        return found if isinstance(found, ModelPrice) else None

    def find(self, provider: str, model: str) -> ModelPrice | Unpriced:
        """The price of a provider's model, or why there is none."""
        if all(provider != known.id for known in self._snapshot.providers):
            return Unpriced(why=f"is of provider `{provider}`, which the catalogue does not have")
        try:
            _, entry = self._snapshot.find_provider_model(model, None, provider, None)
        except LookupError:
            return Unpriced(why=f"is not in the catalogue's list of provider `{provider}`")
        if _SEARCHES_BY_ITSELF.search(f"{model} {entry.id}".lower()):
            return Unpriced(why="searches the web by itself, which is charged apart from tokens")
        if self._changes_by_the_hour(entry):
            return Unpriced(why="has prices that change with the hour of the day")
        return self._compile(_stated(entry.get_prices(self._noon, _DEFAULT_TIER)))

    def _starts(self) -> Iterator[date]:
        """The days on which prices of the catalogue begin."""
        for provider in self._snapshot.providers:
            for entry in provider.models:
                for conditional in entry.prices if isinstance(entry.prices, list) else ():
                    start = getattr(conditional.constraint, "start_date", None)
                    if start is not None:
                        yield start

    def _changes_by_the_hour(self, entry: types.ModelInfo) -> bool:
        """Whether a price that holds for some hours of the day comes before one that holds all day."""
        if not isinstance(entry.prices, list):
            return False
        for conditional in reversed(entry.prices):
            start = getattr(conditional.constraint, "start_date", None)
            if conditional.constraint is None:
                return False
            if start is None:
                return True
            if start <= self._noon.date():
                return False
        return False

    def _compile(self, stated: dict[str, Decimal | types.TieredPrices]) -> ModelPrice | Unpriced:
        if "input_mtok" not in stated:
            return Unpriced(why="has no price for its input tokens in the catalogue")
        for kind in stated:
            if kind not in _KINDS and not self._is_a_tool_that_must_be_turned_on(kind):
                return Unpriced(why=f"is charged by `{kind}` too, which nothing bounds yet")
        try:
            tiers = tuple(_tiers(stated))
        except MoneyError as fault:
            return Unpriced(why=f"has a price that cannot be counted with: {fault}")
        return ModelPrice(tiers=tiers, source=SOURCE, version=self.version)

    def _is_a_tool_that_must_be_turned_on(self, kind: str) -> bool:
        """Whether a price is for calls of a tool. One that we know no kind of is refused when a request names it."""
        return self._units.get(kind, {}).get("family") == "tool_calls"


def _stated(prices: types.ModelPrice) -> dict[str, Decimal | types.TieredPrices]:
    return {kind: price for kind, price in vars(prices).items() if price is not None}


def _tiers(stated: Mapping[str, Decimal | types.TieredPrices]) -> Iterator[Tier]:
    """The catalogue has tiers for each kind of token; here each tier has all kinds."""
    starts = {0} | {tier.start for price in stated.values() for tier in getattr(price, "tiers", ())}
    for start in sorted(starts):
        yield Tier(
            above_input_tokens=start,
            prices={
                kind: UnitPrice.of(_price_above(stated[name], start), per=_PER[name.rpartition("_")[2]])
                for name, kind in _KINDS.items()
                if name in stated
            },
        )


def _price_above(price: Decimal | types.TieredPrices, start: int) -> Decimal:
    """The price that holds for calls with more input tokens than `start`, up to the next tier."""
    if isinstance(price, Decimal):
        return price
    applicable = price.base
    for tier in price.tiers:
        if tier.start <= start:
            applicable = tier.price
    return applicable
