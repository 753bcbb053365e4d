"""What a call would cost, and what would be decided, before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aegis_sdk.decision import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLeft:
    """A budget that the call would count against: what is left, what the call needs of it, and whether that fits.

    Amounts are in the budget's quantity: dollars where it counts money (`is_money`). `needs` is missing where nothing
    bounds it.
    """

    budget: str
    scope: str
    window: str
    quantity: str
    is_money: bool
    limit: Decimal
    left: Decimal
    needs: Decimal | None
    fits: bool
    mode: str
    hard: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheaperModel:
    """A model that would do instead, what it is expected to save, and whether it would be allowed or asked about."""

    model: str
    saving_usd: Decimal
    effect: str
    expected_usd: Decimal | None = None
    maximum_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call would come to, as things stand. Nothing is recorded or reserved.

    What nobody knows is missing, and never 0; `unbounded` says why there is no maximum. `details` is all that the
    gateway told.
    """

    tool: str
    effect: str
    model: str | None = None
    reasons: tuple[Reason, ...] = ()
    expected_usd: Decimal | None = None
    maximum_usd: Decimal | None = None
    unbounded: Mapping[str, str] = field(default_factory=dict)
    budgets: tuple[BudgetLeft, ...] = ()
    cheaper: tuple[CheaperModel, ...] = ()
    policy_version: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def allowed(self) -> bool:
        """Whether the call would be allowed now."""
        return self.effect == "allow"
