"""Named calls, read from outside the ledger by whoever uses a name again."""

from __future__ import annotations

import threading
from collections.abc import Callable

from aegis_gateway.application.ports import NamedCall, NamedCallFound, NameKey, Store

_FIND = """
select named_call.call, named_call.request, named_call.expires_ns, named_call.is_closed, named_call.answer,
       call.state, call.settled_ns
  from named_call join call on call.call = named_call.call
 where named_call.tenant = ? and named_call.agent = ? and named_call.name = ?
"""


class StoredNamedCalls:
    """Reads on a connection of its own, opened when it is first needed; one thread at a time."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        """Open by `open_store`."""
        self._open = open_store
        self._store: Store | None = None
        self._reading = threading.Lock()

    def find(self, key: NameKey) -> NamedCallFound | None:
        """What is known of a name."""
        with self._reading:
            if self._store is None:
                self._store = self._open()
            rows = self._store.query(_FIND, key)
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
