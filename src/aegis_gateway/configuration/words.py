"""Words about mistakes.

Rule 1: words continue the sentence that the value's path begins (`tenants.a.budgets.b.limit` *is `-5`; …*):
        what was written, in backticks, and what to write instead.
Rule 2: what may be a secret is never quoted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import NoReturn

from pydantic_core import PydanticCustomError

from aegis_gateway.domain.spelling import did_you_mean

NAMES_LISTED_MAX = 12
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def unfit(words: str) -> NoReturn:
    """Say what is wrong with a value."""
    raise PydanticCustomError("unfit", "{words}", {"words": words})


def lacking(words: str) -> NoReturn:
    """Say what an entry lacks: the words continue the entry's path, not the setting's."""
    raise PydanticCustomError("lacking", "{words}", {"words": words})


def shown(value: object) -> str:
    """What was written, as messages quote it."""
    match value:
        case None:
            return "empty"
        case bool():
            return f"`{str(value).lower()}`"
        case list():
            return "a list"
        case dict():
            return "a group of settings"
        case Decimal():
            return f"`{value:f}`"
        case _:
            text = CONTROL.sub(" ", str(value))
            return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`"


def instead(written: object, known: Collection[str], otherwise: str) -> str:
    """What to write instead of a name that nothing has."""
    close = did_you_mean(written, known)
    if close is not None:
        return f"did you mean `{close}`?"
    return otherwise


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, the first dozen of them."""
    quoted = [f"`{name}`" for name in names]
    more = len(quoted) - NAMES_LISTED_MAX
    return ", ".join(quoted[:NAMES_LISTED_MAX]) + (f" and {more} more" if more > 0 else "")
