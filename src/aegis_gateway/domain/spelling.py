"""What somebody meant who wrote a name that nothing has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(written: object, known: Iterable[str]) -> str | None:
    """The known name that comes closest, if any is close: people rather misspell a name's end than its beginning."""
    names = {name.lower(): name for name in sorted(known)}
    meant = str(written).lower()[:200]
    close = difflib.get_close_matches(meant, names, cutoff=0.6)
    return names[max(close, key=lambda name: name[:2] == meant[:2])] if close else None
