"""What people are shown of a call that waits for their word: who, what, what is new about it, cost, and what it risks.

Rule: facts are made once, when the request is made, and are what the answer is about. Arguments are redacted before
      they come here; amounts are whole smallest units, as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.entry import bounded_summary
from aegis_gateway.domain.money import usd_text

_WORDS_CHARACTERS_MAX = 500
_CHANGED_MAX = 20


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a budget before the call, in the quantity's smallest unit."""

    budget: str
    quantity: str
    window: str
    left: int
    limit: int


def call_facts(
    who: Mapping[str, object],
    arguments: dict[str, object],
    asks: Sequence[Reason],
    expected_nano_usd: int | None,
    maximum_nano_usd: int | None,
    left: Sequence[Left],
    before: Mapping[str, object] | None,
    moves: Sequence[str] = (),
) -> dict[str, object]:
    """The facts of a call; `before` are those of the last request of the same agent and tool, if there was one.

    `moves` is the money that it moves beside what it costs, in words.
    """
    changed = _changed(before, arguments)
    facts: dict[str, object] = {
        **who,
        "arguments": bounded_summary(arguments),
        "policies": [{"id": each.subject, "words": each.message[:_WORDS_CHARACTERS_MAX]} for each in asks],
        "budgets": [
            {
                "budget": each.budget,
                "quantity": each.quantity,
                "window": each.window,
                "left": str(each.left),
                "limit": str(each.limit),
            }
            for each in left
        ],
        "changed": changed,
        "risk": _risk(before, changed, maximum_nano_usd, left),
    }
    if moves:
        facts["moves"] = ", ".join(moves)
    if expected_nano_usd is not None:
        facts["expected_nano_usd"] = str(expected_nano_usd)
    if maximum_nano_usd is not None:
        facts["maximum_nano_usd"] = str(maximum_nano_usd)
    return facts


def _changed(before: Mapping[str, object] | None, arguments: dict[str, object]) -> dict[str, object]:
    """Which arguments are others than in the last request, and what they were and are."""
    was = before.get("arguments") if before is not None else None
    if not isinstance(was, dict):
        return {}
    names = [name for name in sorted({*was, *arguments}) if was.get(name) != arguments.get(name)]
    return {name: {"was": was.get(name), "is": arguments.get(name)} for name in names[:_CHANGED_MAX]}


def _risk(
    before: Mapping[str, object] | None,
    changed: dict[str, object],
    maximum_nano_usd: int | None,
    left: Sequence[Left],
) -> list[str]:
    risks = []
    if before is None:
        risks.append("this agent has not asked for this tool before")
    elif changed:
        risks.append(f"other than in its last request: {', '.join(changed)}")
    if maximum_nano_usd is None:
        risks.append("nothing bounds what it may cost")
    for each in left:
        if each.quantity == "usd" and maximum_nano_usd is not None and 2 * maximum_nano_usd > each.left:
            share = f"{usd_text(maximum_nano_usd)} of the {usd_text(each.left)} left"
            risks.append(f"it may take {share} of budget `{each.budget}`")
    return risks
