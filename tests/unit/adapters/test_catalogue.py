from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache

import pytest
from genai_prices import data_snapshot
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot
from genai_prices.types import Usage as CatalogueUsage
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.adapters.catalogue import CataloguePrices, Unpriced
from aegis_gateway.domain.money import NANO_PER_USD, UnitPrice
from aegis_gateway.domain.price import Kind, ModelPrice, Usage, model_charges, price_of

DAY = date(2026, 11, 23)
NOON = datetime.combine(DAY, time(12), tzinfo=UTC)


@cache
def catalogue() -> CataloguePrices:
    """The catalogue as of one day."""
    return CataloguePrices(DAY)


@cache
def compiled() -> tuple[tuple[str, str, ModelPrice], ...]:
    """Every model of the catalogue that has a price, with its provider."""

    def found() -> Iterator[tuple[str, str, ModelPrice]]:
        for provider in providers:
            for model in provider.models:
                price = catalogue().model_price(provider.id, model.id)
                if price is not None:
                    yield provider.id, model.id, price

    return tuple(found())


FIELDS: dict[str, tuple[Kind, ...]] = {
    "input_tokens": (
        *("input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "cache_read_audio"),
        *("input_image", "cache_read_image", "input_video"),
    ),
    "cache_read_tokens": ("cache_read", "cache_read_audio", "cache_read_image"),
    "cache_write_tokens": ("cache_write", "cache_write_1h"),
    "cache_write_1h_tokens": ("cache_write_1h",),
    "input_audio_tokens": ("input_audio", "cache_read_audio"),
    "cache_audio_read_tokens": ("cache_read_audio",),
    "input_image_tokens": ("input_image", "cache_read_image"),
    "cache_image_read_tokens": ("cache_read_image",),
    "input_video_tokens": ("input_video",),
    "output_tokens": ("output", "reasoning", "output_audio", "output_image"),
    "output_reasoning_tokens": ("reasoning",),
    "output_audio_tokens": ("output_audio",),
    "output_image_tokens": ("output_image",),
    "web_searches": ("web_search",),
    "storage_searches": ("file_search",),
    "code_executions": ("code_execution",),
}
"""The catalogue's counts, which hold one another, by our kinds, which don't."""

SIZES = st.one_of(
    st.integers(0, 5_000_000),
    *(
        st.just(start + more)
        for start in (100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000)
        for more in (0, 1)
    ),
)


@st.composite
def usages(draw: st.DrawFn, price: ModelPrice) -> Usage:
    """Usages of what a model has a price for, most of them around where tiers begin."""
    left = draw(SIZES)
    units: dict[Kind, int] = {}
    priced = price.tiers[0].prices
    into = [kind for kind in FIELDS["input_tokens"] if price_of(priced, kind) is not None]
    for kind in draw(st.permutations(into)):
        units[kind] = left if kind == "input" else draw(st.integers(0, left))
        left -= units[kind]
    for kind in (*FIELDS["output_tokens"], "web_search", "file_search", "code_execution"):
        if price_of(priced, kind) is not None:
            units[kind] = draw(st.integers(0, 1_000_000))
    return Usage(units=units)


def catalogue_price(provider: str, model: str, usage: Usage) -> Decimal:
    """What genai-prices itself makes of a usage, in nano-dollars."""
    counts = {
        field: sum(usage.units.get(kind, 0) for kind in kinds)
        for field, kinds in FIELDS.items()
        if any(kind in usage.units for kind in kinds)
    }
    calculation = data_snapshot.get_snapshot().calc(CatalogueUsage(**counts), model, provider, None, NOON)
    return calculation.total_price * NANO_PER_USD


@given(st.data())
def test_bills_equal_the_catalogue_s(data: st.DataObject) -> None:
    """On any usage of any model our sum is genai-prices', rounded up by less than a nano-dollar a line."""
    provider, model, price = data.draw(st.sampled_from(compiled()))
    usage = data.draw(usages(price))
    lines = model_charges(price, usage)
    assert lines is not None
    ours = sum(line.nano_usd for line in lines)
    theirs = catalogue_price(provider, model, usage)
    assert theirs <= ours
    assert ours < theirs + max(1, len(lines))
    if all(line.unit_price.nano_usd % line.unit_price.per == 0 for line in lines):
        assert theirs == ours


def test_every_priced_model_bills_like_the_catalogue() -> None:
    """One usage over all models, in their highest tiers, of every kind that they have a price for."""
    wrong = []
    for provider, model, price in compiled():
        priced = price.tiers[0].prices
        units = {
            kind: 1_000_003 for kind in dict.fromkeys(sum(FIELDS.values(), ())) if price_of(priced, kind)
        }
        usage = Usage(units=units)
        lines = model_charges(price, usage) or ()
        excess = sum(line.nano_usd for line in lines) - catalogue_price(provider, model, usage)
        if not 0 <= excess < max(1, len(lines)):
            wrong.append((provider, model, excess))
    assert [] == wrong


def test_most_of_the_catalogue_is_priced() -> None:
    """A change of the package that loses many models is noticed."""
    total = sum(len(provider.models) for provider in providers)
    assert len(compiled()) > 0.75 * total


def test_a_price_as_it_is_compiled() -> None:
    """Dollars per million tokens become integers; source and version say whence."""
    price = catalogue().model_price("openai", "gpt-4o-mini")
    assert price is not None
    expected = {
        "input": UnitPrice(nano_usd=150_000_000, per=1_000_000),
        "output": UnitPrice(nano_usd=600_000_000, per=1_000_000),
        "cache_read": UnitPrice(nano_usd=75_000_000, per=1_000_000),
        "web_search": UnitPrice(nano_usd=10_000_000_000, per=1_000),
        "file_search": UnitPrice(nano_usd=2_500_000_000, per=1_000),
    }
    assert (expected,) == tuple(tier.prices for tier in price.tiers)
    assert "genai-prices" == price.source
    assert price.version.startswith("genai-prices/")


def test_a_dated_name_is_the_same_model() -> None:
    """The upstream's snapshot names are found as the catalogue finds them."""
    dated = catalogue().model_price("openai", "gpt-4o-mini-2024-07-18")
    assert dated is not None
    assert catalogue().model_price("openai", "gpt-4o-mini") == dated


def test_tiers_hold_all_kinds_of_token() -> None:
    """From each tier on, every kind has the price that holds there; the first tier begins at nothing."""
    price = catalogue().model_price("anthropic", "claude-sonnet-4-5")
    assert price is not None
    assert [0, 200_000] == [tier.above_input_tokens for tier in price.tiers]
    assert [Decimal(3), Decimal(6)] == [
        Decimal(tier.prices["input"].nano_usd) / NANO_PER_USD for tier in price.tiers
    ]
    assert [Decimal("0.3"), Decimal("0.6")] == [
        Decimal(tier.prices["cache_read"].nano_usd) / NANO_PER_USD for tier in price.tiers
    ]


def test_prices_are_those_of_the_day() -> None:
    """A dated price holds from its day on, and not before."""
    prices = [
        CataloguePrices(day).model_price("openai", "o3") for day in (date(2025, 6, 9), date(2025, 6, 10))
    ]
    assert [Decimal(10), Decimal(2)] == [
        Decimal(price.tiers[0].prices["input"].nano_usd) / NANO_PER_USD
        for price in prices
        if price is not None
    ]


def test_prices_are_valid_through_the_day_before_the_next_change() -> None:
    """Whoever keeps prices knows when to read them anew; after the last known change there is no such day."""
    assert date(2025, 6, 9) == CataloguePrices(date(2025, 6, 9)).valid_through
    assert CataloguePrices(date(2199, 1, 1)).valid_through is None
    day, changes = date(2026, 1, 1), 0
    while (last := CataloguePrices(day).valid_through) is not None:
        assert day <= last
        day, changes = last + timedelta(days=1), changes + 1
    assert changes > 1


@pytest.mark.parametrize(
    ("provider", "model", "why"),
    [
        ("openai", "no-such-model", "is not in the catalogue's list of provider `openai`"),
        ("opanai", "gpt-4o", "is of provider `opanai`, which the catalogue does not have"),
        ("deepseek", "deepseek-chat", "has prices that change with the hour of the day"),
        ("openai", "gpt-4o-search-preview", "searches the web by itself, which is charged apart from tokens"),
        ("perplexity", "sonar", "searches the web by itself, which is charged apart from tokens"),
        ("openai", "whisper-1", "has no price for its input tokens in the catalogue"),
        ("openrouter", "deepseek-r1:free", "has no price for its input tokens in the catalogue"),
    ],
)
def test_what_nothing_bounds_has_no_price_and_a_reason(provider: str, model: str, why: str) -> None:
    """A missing price is never nothing: it is none, and says why."""
    assert Unpriced(why=why) == catalogue().find(provider, model)
    assert catalogue().model_price(provider, model) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("google", "gemini-2.5-flash"),
        ("google", "gemini-2.5-flash-image"),
        ("openai", "gpt-audio"),
        ("openai", "text-embedding-3-small"),
        ("anthropic", "claude-sonnet-4-5"),
        ("huggingface_novita", "NousResearch/Hermes-2-Pro-Llama-3-8B"),
    ],
)
def test_what_is_charged_by_tokens_and_calls_is_priced(provider: str, model: str) -> None:
    """What hears, speaks, draws, embeds or searches when asked to has prices, each of its kinds its own."""
    assert catalogue().model_price(provider, model) is not None


def test_a_custom_snapshot_changes_nothing() -> None:
    """What an updater or anybody else in the process sets isn't what we charge by."""
    before = catalogue().model_price("openai", "gpt-4o")
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert before == CataloguePrices(DAY).model_price("openai", "gpt-4o")
    finally:
        set_custom_snapshot(None)


def test_no_network() -> None:
    """Reading every price works where sockets don't, and starts no thread that could update them later."""
    script = (
        "import socket, threading\n"
        "def no(*_, **__): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = no; socket.getaddrinfo = no\n"
        "from datetime import date\n"
        "from aegis_gateway.adapters.catalogue import CataloguePrices\n"
        "prices = CataloguePrices(date(2026, 11, 23))\n"
        "assert prices.model_price('openai', 'gpt-4o-mini') is not None\n"
        "assert [threading.main_thread()] == threading.enumerate()\n"
    )
    run = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (0, "") == (run.returncode, run.stderr)


def test_the_import_is_cheap() -> None:
    """Who doesn't ask for prices doesn't pay a third of a second for them."""
    script = "import sys, aegis_gateway.adapters.catalogue; sys.exit('genai_prices' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", script], check=False).returncode
