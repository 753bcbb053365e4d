"""Since when something is looked at, as an address says it: a span of time up to now, as in `24h`, or `ever`."""

from __future__ import annotations

from aegis_gateway.domain.duration import duration_ns

EVER = "ever"
_WORDS = {
    "15m": "15 minutes",
    "1h": "hour",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
}


def since_of(text: str, otherwise: str) -> str:
    """What a text says; something else where it says nothing that is understood."""
    return text if text == EVER or duration_ns(text) is not None else otherwise


def since_ns(since: str, now_ns: int) -> int | None:
    """The instant that is meant, at another one; None for ever."""
    length_ns = duration_ns(since)
    return None if length_ns is None else now_ns - length_ns


def since_words(since: str) -> str:
    """The period in words: `the last 7 days`."""
    return "all time" if since == EVER else f"the last {_WORDS.get(since, since)}"


def since_choices(since: str) -> dict[str, str]:
    """What a form offers beside all time, by what the address says: what it says now as well, whatever it is."""
    return _WORDS if since in (*_WORDS, EVER) else {**_WORDS, since: since}
