"""What somebody meant who wrote a name that nothing has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(written: object, known: Iterable[str]) -> str | None:
    """The known name that comes closest, if any is close."""
    names = {name.lower(): name for name in sorted(known)}
    close = difflib.get_close_matches(str(written).lower()[:200], names, n=1, cutoff=0.6)
    return names[close[0]] if close else None
