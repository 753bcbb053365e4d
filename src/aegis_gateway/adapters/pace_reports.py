"""What gateways measured in the last minutes, read by pages and commands."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.reports import Query
from aegis_gateway.domain.pace import PaceRow, PaceSums

_LATELY = "select at_ns, counts from pace where tenant = ? and at_ns > ? and at_ns <= ?"

_decode = msgspec.msgpack.Decoder(tuple[PaceRow, ...]).decode


class PaceReports:
    """What was measured lately, over all gateways. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def slices(self, tenant: str, since_ns: int, length_ns: int, number: int) -> list[PaceSums]:
        """What was counted of a tenant's calls in so many stretches of this length, the first after an instant."""
        found = [PaceSums() for _ in range(number)]
        for row in self._query(_LATELY, (tenant, since_ns, since_ns + number * length_ns)):
            found[(row["at_ns"] - 1 - since_ns) // length_ns].add(_decode(bytes(row["counts"])))
        return found
