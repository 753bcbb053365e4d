"""The port through which a configuration learns what a model costs where the file doesn't say."""

from __future__ import annotations

from typing import Protocol

from aegis_gateway.domain.price import ModelPrice


class Prices(Protocol):
    """A catalogue of model prices."""

    def model_price(self, provider: str, model: str) -> ModelPrice | None:
        """The price of a provider's model, or None where it isn't known well enough to bound a bill."""


class NoPrices:
    """A catalogue without prices: only what the file states has one."""

    def model_price(self, provider: str, model: str) -> ModelPrice | None:  # noqa: ARG002  # the port's signature
        """No price."""
        return None


NO_PRICES = NoPrices()
