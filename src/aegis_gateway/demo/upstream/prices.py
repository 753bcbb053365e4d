"""The provider's price list: public list prices of OpenAI's, Anthropic's and Google's models, in whole
nano-USD per token.

Written by hand from the published prices ($ per million tokens x 1,000 = nano-USD per token); a test compares
them with the catalogue of ``genai_prices``, which the gateway uses and this package must not.
"""

import msgspec

FILE_SEARCH_NANO_USD = 2_500_000
CODE_RUN_NANO_USD = 30_000_000


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model on offer. ``snapshot`` is the dated name that answers carry, as the real API does.

    A price of None: the model doesn't write caches, hear or speak. ``input_tokens_max`` stays below the tier
    from which the real model costs more, so that one price is true for every prompt.
    """

    name: str
    snapshot: str
    created: int
    input_nano_usd: int
    cached_input_nano_usd: int
    output_nano_usd: int
    output_tokens_max: int
    reasons: bool = False
    cache_write_nano_usd: int | None = None
    cache_write_1h_nano_usd: int | None = None
    audio_input_nano_usd: int | None = None
    audio_output_nano_usd: int | None = None
    search_nano_usd: int = 10_000_000
    input_tokens_max: int | None = None

    def cost_nano_usd(self, *, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
        """The price of a usage; ``cached_tokens`` are part of ``prompt_tokens``, at their own price."""
        return (
            (prompt_tokens - cached_tokens) * self.input_nano_usd
            + cached_tokens * self.cached_input_nano_usd
            + completion_tokens * self.output_nano_usd
        )

    def audio_surcharge_nano_usd(self, *, prompt_tokens: int, completion_tokens: int) -> int:
        """What so many tokens, counted as text already, cost more because they are audio."""
        heard, spoken = self.audio_input_nano_usd, self.audio_output_nano_usd
        cost = 0 if heard is None else prompt_tokens * (heard - self.input_nano_usd)
        return cost if spoken is None else cost + completion_tokens * (spoken - self.output_nano_usd)

    def write_surcharge_nano_usd(self, *, written_tokens: int, written_1h_tokens: int) -> int:
        """What so many tokens, counted as plain input already, cost more because they are written to the cache."""
        short, long = self.cache_write_nano_usd, self.cache_write_1h_nano_usd
        cost = 0 if short is None else written_tokens * (short - self.input_nano_usd)
        return cost if long is None else cost + written_1h_tokens * (long - self.input_nano_usd)


_ALL = (
    Model(
        name="gpt-4o",
        snapshot="gpt-4o-2024-08-06",
        created=1_715_367_049,
        input_nano_usd=2_500,
        cached_input_nano_usd=1_250,
        output_nano_usd=10_000,
        output_tokens_max=16_384,
    ),
    Model(
        name="gpt-4o-mini",
        snapshot="gpt-4o-mini-2024-07-18",
        created=1_721_172_741,
        input_nano_usd=150,
        cached_input_nano_usd=75,
        output_nano_usd=600,
        output_tokens_max=16_384,
    ),
    Model(
        name="gpt-4.1",
        snapshot="gpt-4.1-2025-04-14",
        created=1_744_316_542,
        input_nano_usd=2_000,
        cached_input_nano_usd=500,
        output_nano_usd=8_000,
        output_tokens_max=32_768,
    ),
    Model(
        name="gpt-4.1-mini",
        snapshot="gpt-4.1-mini-2025-04-14",
        created=1_744_318_173,
        input_nano_usd=400,
        cached_input_nano_usd=100,
        output_nano_usd=1_600,
        output_tokens_max=32_768,
    ),
    Model(
        name="gpt-4.1-nano",
        snapshot="gpt-4.1-nano-2025-04-14",
        created=1_744_321_707,
        input_nano_usd=100,
        cached_input_nano_usd=25,
        output_nano_usd=400,
        output_tokens_max=32_768,
    ),
    Model(
        name="gpt-5-mini",
        snapshot="gpt-5-mini-2025-08-07",
        created=1_754_425_928,
        input_nano_usd=250,
        cached_input_nano_usd=25,
        output_nano_usd=2_000,
        output_tokens_max=128_000,
        reasons=True,
    ),
)

_HEAR_AND_SPEAK = (
    Model(
        name="gpt-audio",
        snapshot="gpt-audio-2025-08-28",
        created=1_756_256_146,
        input_nano_usd=2_500,
        cached_input_nano_usd=2_500,
        output_nano_usd=10_000,
        output_tokens_max=16_384,
        audio_input_nano_usd=32_000,
        audio_output_nano_usd=64_000,
    ),
)

_WRITE_CACHES = (
    Model(
        name="gpt-6-luna",
        snapshot="gpt-6-luna",
        created=1_790_000_000,
        input_nano_usd=100,
        cached_input_nano_usd=10,
        cache_write_nano_usd=125,
        output_nano_usd=500,
        output_tokens_max=128_000,
        input_tokens_max=272_000,
        reasons=True,
    ),
)

_EMBED = (
    Model(
        name="text-embedding-3-small",
        snapshot="text-embedding-3-small",
        created=1_705_948_997,
        input_nano_usd=20,
        cached_input_nano_usd=20,
        output_nano_usd=0,
        output_tokens_max=0,
        input_tokens_max=8_192,
    ),
    Model(
        name="text-embedding-3-large",
        snapshot="text-embedding-3-large",
        created=1_705_953_180,
        input_nano_usd=130,
        cached_input_nano_usd=130,
        output_nano_usd=0,
        output_tokens_max=0,
        input_tokens_max=8_192,
    ),
)

_CLAUDE = (
    Model(
        name="claude-sonnet-4-5",
        snapshot="claude-sonnet-4-5-20250929",
        created=1_759_104_000,
        input_nano_usd=3_000,
        cached_input_nano_usd=300,
        cache_write_nano_usd=3_750,
        cache_write_1h_nano_usd=6_000,
        output_nano_usd=15_000,
        output_tokens_max=64_000,
        input_tokens_max=200_000,
    ),
    Model(
        name="claude-haiku-4-5",
        snapshot="claude-haiku-4-5-20251001",
        created=1_759_276_800,
        input_nano_usd=1_000,
        cached_input_nano_usd=100,
        cache_write_nano_usd=1_250,
        cache_write_1h_nano_usd=2_000,
        output_nano_usd=5_000,
        output_tokens_max=64_000,
        input_tokens_max=200_000,
    ),
)

_GEMINI = (
    Model(
        name="gemini-2.5-flash",
        snapshot="gemini-2.5-flash",
        created=1_750_118_400,
        input_nano_usd=300,
        cached_input_nano_usd=30,
        output_nano_usd=2_500,
        output_tokens_max=65_536,
        reasons=True,
        audio_input_nano_usd=1_000,
        search_nano_usd=35_000_000,
        input_tokens_max=1_048_576,
    ),
    Model(
        name="gemini-2.5-pro",
        snapshot="gemini-2.5-pro",
        created=1_750_118_400,
        input_nano_usd=1_250,
        cached_input_nano_usd=125,
        output_nano_usd=10_000,
        output_tokens_max=65_536,
        reasons=True,
        audio_input_nano_usd=1_250,
        search_nano_usd=35_000_000,
        input_tokens_max=200_000,
    ),
)


def _by_name(*models: Model) -> dict[str, Model]:
    return {name: model for model in models for name in (model.name, model.snapshot)}


# Each maps alias and dated name -> model. The bill always uses the alias.
MODELS = _by_name(*_ALL)
CHAT_MODELS = _by_name(*_ALL, *_HEAR_AND_SPEAK)
RESPONSES_MODELS = _by_name(*_ALL, *_WRITE_CACHES)
EMBEDDING_MODELS = _by_name(*_EMBED)
CLAUDE_MODELS = _by_name(*_CLAUDE)
GEMINI_MODELS = _by_name(*_GEMINI)
