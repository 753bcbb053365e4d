"""What a call of one of the newer APIs used, and what that costs.

Rule: ``input_tokens`` hold every token of the prompt, cached, written or heard; these share it and never
overlap, so that the request body's bytes stay an upper bound of their sum.
"""

import msgspec

from aegis_gateway.demo.upstream.directives import DirectiveError, Directives
from aegis_gateway.demo.upstream.draw import Draw
from aegis_gateway.demo.upstream.prices import CODE_RUN_NANO_USD, FILE_SEARCH_NANO_USD, Model


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of hosted tools."""

    searches: int = 0
    file_searches: int = 0
    code_runs: int = 0
    mcp_calls: int = 0

    @property
    def nano_usd_without_searches(self) -> int:
        """What they cost at prices that are the same for every model."""
        return self.file_searches * FILE_SEARCH_NANO_USD + self.code_runs * CODE_RUN_NANO_USD


NO_CALLS = Calls()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """``output_tokens`` include reasoning and audio; ``tool_input_tokens`` stand beside ``input_tokens``."""

    input_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    written_1h_tokens: int = 0
    audio_input_tokens: int = 0
    tool_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0
    calls: Calls = NO_CALLS

    @property
    def plain_input_tokens(self) -> int:
        """The prompt's tokens that are neither read from the cache nor written to it."""
        return self.input_tokens - self.cached_tokens - self.written_tokens - self.written_1h_tokens

    def cost_nano_usd(self, model: Model) -> int:
        """What this costs on ``model``."""
        return (
            model.cost_nano_usd(
                prompt_tokens=self.input_tokens + self.tool_input_tokens,
                cached_tokens=self.cached_tokens,
                completion_tokens=self.output_tokens,
            )
            + model.write_surcharge_nano_usd(
                written_tokens=self.written_tokens, written_1h_tokens=self.written_1h_tokens
            )
            + model.audio_surcharge_nano_usd(
                prompt_tokens=self.audio_input_tokens, completion_tokens=self.audio_output_tokens
            )
            + self.calls.searches * model.search_nano_usd
            + self.calls.nano_usd_without_searches
        )

    def quantities(self) -> dict[str, int]:
        """The quantities of the bill: those that chat has too, and of the others those above zero."""
        rare = {
            "cache_write_tokens": self.written_tokens,
            "cache_write_1h_tokens": self.written_1h_tokens,
            "audio_prompt_tokens": self.audio_input_tokens,
            "audio_completion_tokens": self.audio_output_tokens,
            "tool_prompt_tokens": self.tool_input_tokens,
            "web_searches": self.calls.searches,
            "file_searches": self.calls.file_searches,
            "code_runs": self.calls.code_runs,
            "mcp_calls": self.calls.mcp_calls,
        }
        return {
            "prompt_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            **{kind: quantity for kind, quantity in rare.items() if quantity},
        }


def used(
    model: Model,
    directives: Directives,
    drawn: Draw,
    *,
    prompt_tokens: int,
    tool_input_tokens: int = 0,
    calls: Calls = NO_CALLS,
) -> Usage:
    """The usage of a call: the prompt split as the directives say, as far as it goes round."""
    if directives.usage == "zero":
        return Usage()
    cached = min(directives.cached, prompt_tokens)
    rest = prompt_tokens - cached
    written = 0 if model.cache_write_nano_usd is None else min(directives.written, rest)
    rest -= written
    written_1h = 0 if model.cache_write_1h_nano_usd is None else min(directives.written_1h, rest)
    return Usage(
        input_tokens=prompt_tokens,
        cached_tokens=cached,
        written_tokens=written,
        written_1h_tokens=written_1h,
        audio_input_tokens=min(directives.audio_in, rest - written_1h),
        tool_input_tokens=tool_input_tokens,
        output_tokens=drawn.tokens,
        reasoning_tokens=drawn.reasoning_tokens,
        audio_output_tokens=min(directives.audio_out, drawn.tokens - drawn.reasoning_tokens),
        calls=calls,
    )


def refuse_unheard(directives: Directives, model: Model) -> None:
    """Refuse an order for audio from a model that has no price for it."""
    if directives.audio_in and model.audio_input_nano_usd is None:
        raise DirectiveError(f"can't follow `audio_in`: `{model.name}` hears nothing")
    if directives.audio_out and model.audio_output_nano_usd is None:
        raise DirectiveError(f"can't follow `audio_out`: `{model.name}` says nothing aloud")
