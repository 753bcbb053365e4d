"""What a change of who is told of what does: to be told of less disarms, as an alarm that is switched off does.

Rule: what one rule told has to be told by one rule again, or it counts as told to fewer. So what can't be told by
      looking at two rules is safe.
"""

from __future__ import annotations

from aegis_gateway.domain.channel import NotifyRule
from aegis_gateway.domain.notice import NOTICE_KINDS
from aegis_gateway.domain.risk import Judged


def notify_risk(old: tuple[NotifyRule, ...], new: tuple[NotifyRule, ...]) -> Judged:
    """Whether everybody who was told of something still is."""
    for rule in old:
        for kind in rule.what or NOTICE_KINDS:
            for place in rule.to:
                if not any(_covers(other, rule, kind, place) for other in new):
                    return "widening", f"tells `{place}` of less"
    return "neutral", "tells more, or the same"


def _covers(rule: NotifyRule, old: NotifyRule, kind: str, place: str) -> bool:
    """Whether a rule tells a place of all that the old one did of a kind."""
    if place not in rule.to or (rule.what and kind not in rule.what):
        return False
    pairs = ((rule.budgets, old.budgets), (rule.agents, old.agents), (rule.teams, old.teams))
    return all(not names or (bool(before) and set(before) <= set(names)) for names, before in pairs)
