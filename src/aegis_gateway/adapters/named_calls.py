"""Named calls, read from outside the ledger by whoever uses a name again."""

from __future__ import annotations

from aegis_gateway.adapters.reports import Query
from aegis_gateway.application.ports import NamedCall, NamedCallFound, NameKey

_FIND = """
select named_call.call, named_call.request, named_call.expires_ns, named_call.is_closed, named_call.answer,
       call.state, call.settled_ns
  from named_call join call on call.call = named_call.call
 where named_call.tenant = ? and named_call.agent = ? and named_call.name = ?
"""


class StoredNamedCalls:
    """The question. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def find(self, key: NameKey) -> NamedCallFound | None:
        """What is known of a name."""
        rows = self._query(_FIND, key)
        for row in rows:
            answer = row["answer"]
            return NamedCallFound(
                named=NamedCall(
                    key=key,
                    call=row["call"],
                    request=bytes(row["request"]),
                    expires_ns=row["expires_ns"],
                    is_closed=bool(row["is_closed"]),
                    answer=None if answer is None else bytes(answer),
                ),
                state=row["state"],
                settled_ns=row["settled_ns"],
            )
        return None
