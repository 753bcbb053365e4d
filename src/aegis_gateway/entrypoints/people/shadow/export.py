"""Rules in shadow as files have them: what each would have done, one way a row."""

from __future__ import annotations

from collections.abc import Iterator

from aegis_gateway.domain.shadow_digest import ShadowFigures
from aegis_gateway.entrypoints.people.columns import Column, Row

SHADOW_COLUMNS = (
    *(Column(each) for each in ("tenant", "rule", "kind", "would")),
    Column("calls", "count"),
    Column("cost_usd", "usd"),
    Column("agents", "count"),
    Column("agreed_by_people", "count"),
    Column("speaks_against_it"),
    *(Column(each, "time") for each in ("since", "until")),
)


def shadow_rows(figures: ShadowFigures) -> Iterator[Row]:
    """A row for each way; of a rule that would have changed nothing, one that says so."""
    window = (figures.window.starts_ns, figures.window.ends_ns)
    for rule, kind in figures.rules.items():
        found = [each for each in figures.findings if each.rule == rule]
        for each in found:
            hints = "; ".join(each.hints) or None
            told = (each.would, each.calls, each.nano_usd, len(each.agents), each.agreed, hints)
            yield [figures.tenant, rule, kind, *told, *window]
        if not found:
            yield [figures.tenant, rule, kind, "nothing", 0, 0, 0, 0, None, *window]
