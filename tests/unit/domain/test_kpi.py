"""Key figures are fractions of what was counted, and say so where there is nothing to divide by."""

from __future__ import annotations

from fractions import Fraction

import pytest

from aegis_gateway.domain.kpi import Figure, Totals, calls_for, deviation, figures
from aegis_gateway.domain.usage import UsageSum


def totals(**sums: int) -> Totals:
    """Totals of a period, of which a part is of models, and a part was refused."""
    return Totals(
        sums=UsageSum(**sums),
        active_agents=3,
        model_cost=600,
        attributed_cost=900,
        violations=4,
        refused_cost=70,
    )


def by_id(found: tuple[Figure, ...]) -> dict[str, Figure]:
    """Figures by their ids."""
    return {each.id: each for each in found}


def test_each_figure_is_its_formula() -> None:
    """Exactly, and with what it is made of."""
    found = by_id(
        figures(totals(calls=20, transactions=7, settled_calls=9, cost=1_000, tokens=64, saved=5, unpriced=2))
    )
    assert {
        "spent": Fraction(1_000),
        "cost_per_agent": Fraction(1_000, 3),
        "cost_per_transaction": Fraction(1_000, 7),
        "cost_per_call": Fraction(1_000, 9),
        "cost_per_1k_tokens": Fraction(600_000, 64),
        "allocation_coverage": Fraction(9, 10),
        "violations": Fraction(4),
        "unpriced_calls": Fraction(2),
        "saved_by_downgrades": Fraction(5),
        "not_spent": Fraction(70),
    } == {name: figure.value for name, figure in found.items()}
    assert (1_000, 7) == (found["cost_per_transaction"].numerator, found["cost_per_transaction"].denominator)


def test_what_has_no_denominator_has_no_value() -> None:
    """It is not 0."""
    found = by_id(figures(totals()))
    assert found["cost_per_transaction"].value is None
    assert found["cost_per_1k_tokens"].value is None
    assert found["allocation_coverage"].value is None
    assert 0 == found["spent"].value


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        (0, "within"),
        (100, "within"),
        (101, "note"),
        (105, "note"),
        (106, "investigate"),
        (110, "investigate"),
        (111, "corrective plan"),
        (120, "corrective plan"),
        (121, "executive review"),
    ],
)
def test_the_ladder_of_deviations(spent: int, said: str) -> None:
    """Above 0, 5, 10 and 20 percent of the limit."""
    assert said == calls_for(deviation(spent, 100))


def test_without_a_limit_nothing_deviates() -> None:
    """A limit of nothing has no share."""
    assert deviation(5, 0) is None
    assert "within" == calls_for(None)
