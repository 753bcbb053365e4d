"""Amounts as people write and read them, exactly, whatever they count."""

from __future__ import annotations

from decimal import Decimal

from aegis_gateway.domain.currency import units_text
from aegis_gateway.domain.errors import ConfigurationError, MoneyError
from aegis_gateway.domain.money import scaled_integer, usd_text
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Budget, Quantity, Registry


def exact_text(amount: int, quantity: Quantity) -> str:
    """An amount in a quantity's smallest unit: `$20.00`, `1,500 tokens`."""
    if quantity.is_money:
        return usd_text(amount)
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), quantity.scale)
    decimals = f"{rest:0{len(str(quantity.scale)) - 1}d}".rstrip("0") if rest else ""
    number = f"{sign}{whole:,}.{decimals}" if decimals else f"{sign}{whole:,}"
    return f"{number} {quantity.id}"


def limit_text(amount: int, unit: str, registry: Registry) -> str:
    """An amount in the unit of a limit: `12.50 EUR`; a unit that is gone is counted as it was."""
    quantity = {**BUILT_IN_QUANTITIES, **registry.quantities}.get(unit)
    if quantity is not None:
        return exact_text(amount, quantity)
    if unit in registry.currencies:
        return f"{units_text(Decimal(amount) / BUILT_IN_QUANTITIES['usd'].scale)} {unit}"
    return exact_text(amount, Quantity(id=unit, scale=1))


def amount_of(text: str, budget: Budget, registry: Registry) -> int:
    """An amount in the unit of a budget's limit, from what somebody wrote.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return scaled_integer(text.strip().removeprefix("$"), registry.quantities[budget.quantity].scale)
    except MoneyError as fault:
        raise ConfigurationError(str(fault)) from None
