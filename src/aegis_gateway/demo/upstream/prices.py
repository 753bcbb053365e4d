"""The provider's price list: public list prices of OpenAI models, in whole nano-USD per token.

Written by hand from the published prices ($ per million tokens x 1,000 = nano-USD per token); a test compares
them with the catalogue of ``genai_prices``, which the gateway uses and this package must not.
"""

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model on offer. ``snapshot`` is the dated name that answers carry, as the real API does."""

    name: str
    snapshot: str
    created: int
    input_nano_usd: int
    cached_input_nano_usd: int
    output_nano_usd: int
    output_tokens_max: int
    reasons: bool = False

    def cost_nano_usd(self, *, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
        """The price of a usage; ``cached_tokens`` are part of ``prompt_tokens``, at their own price."""
        return (
            (prompt_tokens - cached_tokens) * self.input_nano_usd
            + cached_tokens * self.cached_input_nano_usd
            + completion_tokens * self.output_nano_usd
        )


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

MODELS = {name: model for model in _ALL for name in (model.name, model.snapshot)}
"""Alias and dated name -> model. The bill always uses the alias."""
