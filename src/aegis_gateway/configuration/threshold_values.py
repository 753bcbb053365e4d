"""The values that thresholds are made of: shares of a limit, and what is done."""

from __future__ import annotations

import re
from decimal import Decimal

from pydantic import ValidationInfo

from aegis_gateway.configuration import references, values
from aegis_gateway.configuration.words import instead, listed, shown, unfit
from aegis_gateway.domain.share import WHOLE
from aegis_gateway.domain.threshold import ACT_KINDS, ActKind, ThresholdAct

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)%")
_SHARE_MAX = 2 * WHOLE
_WITH_SETTINGS: dict[ActKind, str] = {
    "throttle": "throttle: {limit: 10, every: 1m}",
    "downgrade": "downgrade: MODEL",
    "throttle_keys": "throttle_keys: {limit: 10, every: 1m}",
}


def share_of_limit(value: object) -> int:
    """A share of a limit from 1% to 200%, in ten-thousandths."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    found = int(Decimal(match[1]) * 100) if match else 0
    if not 100 <= found <= _SHARE_MAX:
        unfit(f"is {shown(value)}; write a share of the limit from 1% to 200%, as in 80%")
    return found


def acts(value: object, info: ValidationInfo) -> tuple[ThresholdAct, ...]:
    """What is done: a list of words, or of words with their settings."""
    if not isinstance(value, list) or not value:
        unfit(f"is {shown(value)}; write a list of what is done, as in [notify, downgrade: MODEL]")
    acts = tuple(_act(each, info) for each in value)
    for act in acts:
        if sum(other.kind == act.kind for other in acts) > 1:
            unfit(f"has `{act.kind}` twice; write it once")
    return acts


def _act(value: object, info: ValidationInfo) -> ThresholdAct:
    kind, settings = value, None
    if isinstance(value, dict) and len(value) == 1:
        kind, settings = next(iter(value.items()))
    if not isinstance(kind, str) or kind not in ACT_KINDS:
        unfit(f"has {shown(kind)}; {instead(kind, ACT_KINDS, f'there are {listed(ACT_KINDS)}')}")
    example = _WITH_SETTINGS.get(kind)
    if (settings is None) != (example is None):
        unfit(f"has `{kind}`, which " + (f"is written as in {example}" if example else "has no settings"))
    if kind == "downgrade":
        return ThresholdAct(kind=kind, model=references.reference("model")(settings, info))
    if settings is None:
        return ThresholdAct(kind=kind)
    if not isinstance(settings, dict) or set(settings) != {"limit", "every"}:
        unfit(f"has `{kind}`, which is written as in {example}")
    limit, period_ns = values.whole(1, 1_000_000)(settings["limit"]), values.duration(settings["every"])
    return ThresholdAct(kind=kind, limit=limit, period_ns=period_ns)
