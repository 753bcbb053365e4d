"""Rolling windows: what was spent within the last hour, day, week…, in buckets of fixed UTC times.

Rule 1: an amount stands in the bucket of its call's admission, however late it settles.
Rule 2: only buckets that lie wholly before the window are left out: at most one bucket too much counts, never too
        little.
"""

from __future__ import annotations

from aegis_gateway.domain.ledger import Standing

_SECOND_NS = 1_000_000_000
_HOUR_NS = 3_600 * _SECOND_NS
_DAY_NS = 24 * _HOUR_NS

_WIDTHS = ((_HOUR_NS, 60 * _SECOND_NS), (_DAY_NS, 15 * 60 * _SECOND_NS), (7 * _DAY_NS, _HOUR_NS))
"""Up to which length a window has buckets of which width: 60 an hour, 96 a day, 168 a week. Longer ones have days."""

_LABEL = "rolling-"


def bucket_ns(length_ns: int) -> int:
    """How wide the buckets of a window are."""
    return next((width for longest, width in _WIDTHS if length_ns <= longest), _DAY_NS)


def rolling_label(length_ns: int) -> str:
    """The name of a window by its length: another length is another window."""
    return f"{_LABEL}{length_ns // _SECOND_NS}s"


def length_of(label: str) -> int | None:
    """The length of a rolling window by its name; None for the name of another one."""
    if not label.startswith(_LABEL):
        return None
    return int(label.removeprefix(_LABEL).removesuffix("s")) * _SECOND_NS


def rolled(standing: Standing, length_ns: int, now_ns: int) -> Standing:
    """A balance without what lies wholly before the window."""
    buckets = standing.buckets
    if not buckets:
        return standing
    width = bucket_ns(length_ns)
    gone = [number for number in buckets if (number + 1) * width <= now_ns - length_ns]
    if not gone:
        return standing
    return Standing(
        pending=standing.pending,
        posted=standing.posted - sum(buckets[number] for number in gone),
        buckets={number: amount for number, amount in buckets.items() if number not in gone},
        notes=standing.notes,
    )


def settle_rolling(
    standing: Standing, reserved: int, actual: int, length_ns: int, admitted_ns: int, now_ns: int
) -> Standing:
    """A balance with a reservation replaced by what was really spent, put down to when it was admitted.

    Raises:
        IllegalTransition: more would be given back than is pending; the ledger would be wrong.
    """
    settled = rolled(standing, length_ns, now_ns).settle(reserved, actual)
    width = bucket_ns(length_ns)
    number = admitted_ns // width
    buckets = dict(settled.buckets or {})
    buckets[number] = buckets.get(number, 0) + actual
    return rolled(
        Standing(pending=settled.pending, posted=settled.posted, buckets=buckets, notes=settled.notes),
        length_ns,
        now_ns,
    )
