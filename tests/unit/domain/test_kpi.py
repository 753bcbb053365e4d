"""Key figures are fractions of what was counted, and say so where there is nothing to divide by."""

from __future__ import annotations

from fractions import Fraction

import pytest

from aegis_gateway.domain.kpi import Figure, IncidentTimes, Totals, calls_for, deviation, figures
from aegis_gateway.domain.outcome import OutcomeSum
from aegis_gateway.domain.usage import UsageSum

WORK = {
    "success": OutcomeSum(trees=2, begun=2, transactions=9, cost=300, claimed=900),
    "partial": OutcomeSum(trees=1, begun=1, transactions=1, cost=20),
    "failure": OutcomeSum(trees=1, begun=0, transactions=1, cost=90),
    "cancelled": OutcomeSum(trees=1, begun=1, transactions=0, cost=40),
    "": OutcomeSum(trees=1, begun=1, transactions=3, cost=8_000),
}


def totals(**sums: int) -> Totals:
    """Totals of a period, of which a part is of models, and a part was refused."""
    return Totals(
        sums=UsageSum(**sums),
        active_agents=3,
        model_cost=600,
        attributed_cost=900,
        violations=4,
        refused_cost=70,
        work=WORK if sums else {},
    )


def by_id(found: tuple[Figure, ...]) -> dict[str, Figure]:
    """Figures by their ids."""
    return {each.id: each for each in found}


def test_each_figure_is_its_formula() -> None:
    """Exactly, and with what it is made of."""
    found = by_id(
        figures(
            totals(
                calls=20,
                transactions=7,
                settled_calls=9,
                cost=1_000,
                tokens=64,
                saved=5,
                unpriced=2,
                repeated=40,
                repeats=2,
            ),
            IncidentTimes(opened=4, detecting_ns=8, closed=2, closing_ns=6),
        )
    )
    assert {
        "spent": Fraction(1_000),
        "cost_per_agent": Fraction(1_000, 3),
        "cost_per_transaction": Fraction(1_000, 7 - 5 + 14),
        "cost_per_call": Fraction(1_000, 9),
        "cost_per_1k_tokens": Fraction(600_000, 64),
        "allocation_coverage": Fraction(9, 10),
        "violations": Fraction(4),
        "unpriced_calls": Fraction(2),
        "saved_by_downgrades": Fraction(5),
        "not_spent": Fraction(70),
        "cost_per_success": Fraction(300, 2),
        "cost_per_success_in_all": Fraction(450, 2),
        "success_rate": Fraction(2, 5),
        "outcomes_reported": Fraction(4, 7),
        "wasted": Fraction(130),
        "waste_share": Fraction(130, 450),
        "value_claimed": Fraction(900),
        "cache_candidates": Fraction(40),
        "time_to_detect": Fraction(2),
        "time_to_close": Fraction(3),
    } == {name: figure.value for name, figure in found.items()}
    assert (1_000, 16) == (found["cost_per_transaction"].numerator, found["cost_per_transaction"].denominator)


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
