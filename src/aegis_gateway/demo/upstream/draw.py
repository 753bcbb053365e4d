"""How long the answers are: pure, the same for the same (conversation, directives, limit)."""

from typing import Literal
from zlib import crc32

import msgspec

from aegis_gateway.demo.upstream import prose
from aegis_gateway.demo.upstream.directives import Directives
from aegis_gateway.demo.upstream.prices import Model
from aegis_gateway.demo.upstream.script import FunctionCall, Turn
from aegis_gateway.demo.upstream.tokens import quarter
from aegis_gateway.demo.upstream.wire import encode

LENGTH_MIN = 12
LENGTH_SPREAD = 160
"""A natural completion has ``LENGTH_MIN`` to ``LENGTH_MIN + LENGTH_SPREAD - 1`` tokens."""

CHARACTERS_PER_TOKEN = 4
"""Of what is said or called by order."""

FinishReason = Literal["stop", "length", "tool_calls"]


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One of the answers: ``tokens`` words of the passage from word ``start`` on, or what was ordered instead."""

    start: int
    tokens: int
    finish_reason: FinishReason
    said: str | None = None
    calls: tuple[FunctionCall, ...] = ()

    @property
    def text(self) -> str:
        """What is said, whole."""
        return prose.text(self.start, self.tokens) if self.said is None else self.said

    def pieces(self) -> list[str]:
        """What is said, token by token."""
        if self.said is None:
            return [piece.decode() for piece in prose.pieces(self.start, self.tokens)]
        return quarters(self.said)

    def encoded_pieces(self) -> list[bytes]:
        """The same, as it stands within a JSON string."""
        if self.said is None:
            return prose.pieces(self.start, self.tokens)
        return [encode(piece)[1:-1] for piece in quarters(self.said)]


class Draw(msgspec.Struct, frozen=True, gc=False):
    """The answers, with the tokens to bill for all of them; ``tokens`` include ``reasoning_tokens``."""

    tokens: int
    reasoning_tokens: int
    choices: list[Choice]


def draw(
    seen: int, model: Model, directives: Directives, *, limit: int | None, wanted: int, thinks: bool
) -> Draw:
    """``wanted`` answers of at most ``limit`` tokens each, by ``seen``, the conversation's number.

    ``thinks`` says whether some of a natural answer is reasoning.
    """
    ceiling = model.output_tokens_max if limit is None else limit
    ordered, reasoning, over = directives.tokens, directives.reasoning, directives.over
    filled = over > 0 and limit is not None
    total = reasoned = 0
    choices = []
    for index in range(wanted):
        chance = seen if not index else crc32(index.to_bytes(4, "big"), seen)
        thought = reasoning
        if thought is None:
            thought = chance // LENGTH_SPREAD % 64 if thinks and ordered is None else 0
        # `tokens` orders the whole completion; a natural one is what is shown plus what was thought.
        whole = LENGTH_MIN + chance % LENGTH_SPREAD + thought if ordered is None else ordered
        cut = filled or whole > ceiling
        spent = ceiling if cut else whole
        if thought > spent:
            thought = spent
        total += spent
        reasoned += thought
        choices.append(
            Choice(
                prose.LEAK if directives.leak else prose.opening(chance >> 8),
                spent - thought,
                "length" if cut else "stop",
            )
        )
    return Draw(total + over, reasoned, choices)


def ordered(turn: Turn, model: Model, *, limit: int | None, wanted: int) -> Draw:
    """``wanted`` times what a script says; a call that the limit would cut isn't made."""
    ceiling = model.output_tokens_max if limit is None else limit
    tokens = quarter(sum(len(call.name) + len(call.arguments) for call in turn.calls) or len(turn.text))
    if tokens > ceiling:
        choice = Choice(0, ceiling, "length", turn.text[: ceiling * CHARACTERS_PER_TOKEN])
    elif turn.calls:
        choice = Choice(0, tokens, "tool_calls", "", turn.calls)
    else:
        choice = Choice(0, tokens, "stop", turn.text)
    return Draw(choice.tokens * wanted, 0, [choice] * wanted)


def quarters(text: str) -> list[str]:
    """A text token by token."""
    size = CHARACTERS_PER_TOKEN
    return [text[place : place + size] for place in range(0, len(text), size)]
