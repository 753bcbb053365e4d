"""What holding keys reads: balances of which thresholds are passed, and who has keys that are held, by indexes; and
what those who look are told of words that thresholds wait for.
"""

from __future__ import annotations

from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.rows import standing
from aegis_gateway.application.holding import PassedBalance
from aegis_gateway.application.words import AskedWord, word_fingerprint
from aegis_gateway.domain.admit import StandingKey
from aegis_gateway.domain.watched import WatchedThreshold

_PASSED = """
select tenant, budget, scope, "window" as label, quantity, ends_ns, pending, posted, buckets, notes
  from standing where passed is not null order by tenant, ends_ns
"""
_ASKED = "select approval from approval where tenant = ? and fingerprint = ? order by sequence desc limit 1"
_WAITING = """
select tenant, approval, fingerprint from approval
 where due_ns is not null and kind = 'measure' and state = 'waiting' order by due_ns
"""
_HELD = "select distinct tenant from api_key where holds is not null"


def passed_balances(query: Query) -> list[PassedBalance]:
    """All balances of which thresholds are passed."""
    return [
        PassedBalance(
            tenant=row["tenant"],
            key=(row["budget"], row["scope"], row["label"]),
            quantity=row["quantity"],
            ends_ns=row["ends_ns"],
            standing=standing(row["pending"], row["posted"], row["buckets"], row["notes"]),
        )
        for row in query(_PASSED, ())
    ]


def words_asked(query: Query) -> list[AskedWord]:
    """All requests about thresholds that wait for an answer; they are few."""
    return [(row["tenant"], row["approval"], row["fingerprint"]) for row in query(_WAITING, ())]


class WordsAsked:
    """Which requests thresholds wait for, of one tenant."""

    def __init__(self, query: Query, tenant: str) -> None:
        """Read nothing yet."""
        self._query = query
        self._tenant = tenant

    def __call__(self, key: StandingKey, threshold: WatchedThreshold) -> str | None:
        """The request for a word on a threshold of a balance; None while nobody was asked."""
        rows = self._query(_ASKED, (self._tenant, word_fingerprint(key, threshold)))
        return next((str(row["approval"]) for row in rows), None)


def tenants_with_held_keys(query: Query) -> list[str]:
    """The tenants that have keys which are held."""
    return [row["tenant"] for row in query(_HELD, ())]
