"""When somebody last looked from outside, by what they look with, as rows; of all gateways on a store together."""

from __future__ import annotations

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.rollout_facts import Dashboard

_NOTE_SEEN = """
insert into last_seen (name, at_ns) values (?, ?) on conflict (name) do update set at_ns = excluded.at_ns
"""


class LastSeenRows(Statements):
    """Who looked from outside, in a transaction."""

    def note_seen(self, name: Dashboard, at_ns: int) -> None:
        """Write down that somebody looked."""
        self._do(_NOTE_SEEN, (name, at_ns))
