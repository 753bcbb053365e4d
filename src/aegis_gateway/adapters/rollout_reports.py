"""What is kept for the rollout: reviews, tests of channels, who looked from outside; the same SQL in either store."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.domain.delivery import TRIED
from aegis_gateway.domain.review import Review
from aegis_gateway.domain.rollout_facts import Dashboard

_READ_MAX = 1_000

_REVIEWS = """
select sequence, at_ns, body from entry where tenant = ? and type = 'review' order by sequence desc limit ?
"""
"""By the index on reviews."""

_NOTIFICATIONS = """
select at_ns, body from entry where tenant = ? and type = 'notification' order by sequence desc limit ?
"""
"""By the index on what people did about notifications."""

_SEEN = "select name, at_ns from last_seen"


class _Reviewed(msgspec.Struct):
    actor: str
    note: str = ""
    next_ns: str = "0"


class _Tried(msgspec.Struct):
    act: str = ""
    channel: str = ""
    sent: int = 0
    failed: int = 0


_reviewed = msgspec.json.Decoder(_Reviewed)
_tried = msgspec.json.Decoder(_Tried)


class RolloutReports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def reviews(self, tenant: str, limit: int) -> list[Review]:
        """A tenant's reviews, the newest first."""
        found = []
        for row in self._query(_REVIEWS, (tenant, limit)):
            body = _reviewed.decode(bytes(row["body"]))
            found.append(
                Review(
                    sequence=row["sequence"],
                    at_ns=row["at_ns"],
                    by=body.actor,
                    note=body.note,
                    next_ns=int(body.next_ns),
                )
            )
        return found

    def tested(self, tenant: str) -> dict[str, int]:
        """When each channel was last tested with all of the test sent, by its name; others are absent."""
        found: dict[str, int] = {}
        for row in self._query(_NOTIFICATIONS, (tenant, _READ_MAX)):
            body = _tried.decode(bytes(row["body"]))
            if body.act == TRIED and body.sent and not body.failed:
                found.setdefault(body.channel, row["at_ns"])
        return found

    def seen(self) -> dict[Dashboard, int]:
        """When somebody last looked from outside, by what they look with."""
        return {row["name"]: int(row["at_ns"]) for row in self._query(_SEEN)}
