"""One rule is taken out of shadow in files that stay as people wrote them, or nothing is touched."""

from __future__ import annotations

import pytest

from aegis_gateway.configuration.unshadow import taken_out_of_shadow
from aegis_gateway.domain.errors import ConfigurationError

MAIN = """\
version: 1
tenants:
  acme:
    budgets:
      day: {limit: 5.00, mode: shadow}  # tried since monday
      week:
        limit: 9.00
        mode: "shadow"  # mode of shadow
      two: {limit: 1, mode: shadow, note: {mode: shadow}}
    rules:
      quiet: {mode: shadow}
"""
CEDAR = """\
@id("first") @mode("shadow") permit (principal, action, resource);
// @id("commented")
@id("second")
@mode("shadow")
forbid (principal, action, resource);
@id("loud") forbid (principal, action, resource);
"""
FILES = {
    "aegis.yaml": MAIN,
    "policies/all.cedar": CEDAR,
    "policies/zeta/own.cedar": CEDAR.replace("first", "z"),
}


@pytest.mark.parametrize(
    ("rule", "file", "was", "now"),
    [
        ("budget:day", "aegis.yaml", "5.00, mode: shadow}", "5.00, mode: enforce}"),
        ("budget:week", "aegis.yaml", 'mode: "shadow"', "mode: enforce"),
        ("quiet", "aegis.yaml", "quiet: {mode: shadow}", "quiet: {mode: enforce}"),
        ("first", "policies/all.cedar", '@mode("shadow") permit', "permit"),
        ("second", "policies/all.cedar", '@mode("shadow")\nforbid', "forbid"),
    ],
)
def test_one_word_is_changed(rule: str, file: str, was: str, now: str) -> None:
    """And nothing else."""
    assert {**FILES, file: FILES[file].replace(was, now, 1)} == taken_out_of_shadow(FILES, "acme", rule)


@pytest.mark.parametrize(
    "rule", ["budget:two", "budget:none", "loud", "none", "rate:day", "replication:depth", "z"]
)
def test_what_is_not_certain_is_not_touched(rule: str) -> None:
    """It is said what to do instead."""
    with pytest.raises(ConfigurationError, match="change it in your directory"):
        taken_out_of_shadow(FILES, "acme", rule)
