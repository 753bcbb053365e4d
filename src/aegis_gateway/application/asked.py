"""What policies saw of a call that the rest of its entry does not tell: enough to judge it anew (`replay.py`).

Rule: what is written here is read here. Amounts are strings in entries, and become integers again when they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.entry import amounts_text
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.quote import ModelShape, OutputBound, Quote
from aegis_gateway.domain.registry import ConnectorKind

if TYPE_CHECKING:
    from aegis_gateway.application.judgement import Described


def asked_record(
    asked: Described,
    sent: Quote | None,
    *,
    is_downgraded: bool,
    is_proxied: bool,
    opens_run: bool,
    judged_ns: int,
) -> dict[str, object] | None:
    """What is kept of a call as it was asked for; `sent` is its quote as it is sent, which its entry has.

    A call without a quote was refused before any policy saw it; nothing is kept of it.
    """
    quote = asked.quote
    if isinstance(quote, Reason) or sent is None:
        return None
    record: dict[str, object] = {"judged_ns": str(judged_ns)}
    if opens_run:
        record["opens_run"] = True
    if is_proxied:
        record["proxied"] = True
    if asked.also:
        record["also"] = list(asked.also)
    if asked.kinds:
        record["kinds"] = list(asked.kinds)
    if asked.shape is not None:
        shape = msgspec.to_builtins(asked.shape, order="deterministic")
        record["shape"] = {name: value for name, value in shape.items() if value != []}
    if is_downgraded:
        record["connector"] = asked.connector
    if quote.expected != sent.expected:
        record["expected"] = amounts_text(quote.expected)
    if quote.unbounded:
        record["unbounded"] = quote.unbounded
    if quote.output is not None:
        output = quote.output
        record["output"] = {
            "tokens": output.tokens,
            "min_tokens": output.min_tokens,
            "choices": output.choices,
            "nano_usd": str(output.price.nano_usd),
            "per": str(output.price.per),
            "fixed_nano_usd": str(output.fixed_nano_usd),
            "fixed_tokens": str(output.fixed_tokens),
        }
    elif quote.maximum != sent.maximum:
        record["maximum"] = amounts_text(quote.maximum)
    return record


class AskedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a quote that a lower output limit lowers, as an entry has it."""

    tokens: int
    min_tokens: int
    choices: int
    nano_usd: int
    per: int
    fixed_nano_usd: int
    fixed_tokens: int


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry tells of a call as it was asked for. `connector`, `expected` and `maximum` stand there if they
    differ from the entry's own, and don't follow from `output`.
    """

    judged_ns: int
    expected: dict[str, int] | None = None
    maximum: dict[str, int] | None = None
    unbounded: dict[str, str] = {}
    output: AskedOutput | None = None
    opens_run: bool = False
    proxied: bool = False
    also: tuple[str, ...] = ()
    kinds: tuple[ConnectorKind, ...] = ()
    shape: ModelShape | None = None
    connector: str | None = None

    def quote(self, expected: dict[str, int], maximum: dict[str, int], source: str, version: str) -> Quote:
        """The quote that policies saw; the rest of it is the entry's own."""
        output = self.output
        if output is None:
            return Quote(
                expected=expected if self.expected is None else self.expected,
                maximum=maximum if self.maximum is None else self.maximum,
                unbounded=self.unbounded,
                price_source=source,
                price_version=version,
            )
        bound = OutputBound(
            tokens=output.tokens,
            min_tokens=output.min_tokens,
            choices=output.choices,
            price=UnitPrice(nano_usd=output.nano_usd, per=output.per),
            fixed_nano_usd=output.fixed_nano_usd,
            fixed_tokens=output.fixed_tokens,
        )
        return Quote(
            expected=expected if self.expected is None else self.expected,
            maximum={**maximum, **bound.maximum(output.tokens)},
            unbounded=self.unbounded,
            output=bound,
            price_source=source,
            price_version=version,
        )
