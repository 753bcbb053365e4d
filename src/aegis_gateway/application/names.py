"""Callers' names for calls, as one transaction of the ledger reads and changes them.

Rule: a name is its call's for good, unless nothing was done under it: then it is free for the next call.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from aegis_gateway.application.commands import Admit, Keep
from aegis_gateway.application.ports import CallRow, Changes, LockedTenants, NamedCall, NameKey

ANSWER_KEPT_NS = 24 * 3600 * 1_000_000_000
"""How long the answer to a named call is kept."""


class Names:
    """The names that a batch's admissions ask for, and those of its calls."""

    def __init__(self, locked: LockedTenants, admits: Iterable[Admit], rows: Iterable[CallRow]) -> None:
        """Read what is known of them."""
        keys = [key for command in admits if (key := asked_name(command)) is not None]
        keys += [key for row in rows if (key := _name_of(row)) is not None]
        self._names = locked.named_calls(keys) if keys else {}
        self._changed: dict[NameKey, NamedCall | None] = {}

    def known(self, command: Admit) -> NamedCall | None:
        """What is known under the name that an admission asks for."""
        key = asked_name(command)
        return self._names.get(key) if key is not None else None

    def take(self, command: Admit, now_ns: int) -> None:
        """Give an admitted call the name that it asks for, if it does."""
        key = asked_name(command)
        if key is not None and command.name is not None:
            expires_ns = now_ns + ANSWER_KEPT_NS
            self._set(
                NamedCall(key=key, call=command.call, request=command.name.request, expires_ns=expires_ns)
            )

    def free(self, row: CallRow) -> None:
        """Give up a call's name: nothing was done under it, so the next call may have it."""
        named = self._of(row)
        if named is not None:
            del self._names[named.key]
            self._changed[named.key] = None

    def keep(self, row: CallRow, command: Keep) -> None:
        """Close a call's name with the answer that is kept under it, or free it."""
        named = self._of(row)
        if named is None or named.is_closed:
            return
        is_settled = row.state == "settled"
        if command.may_repeat and is_settled and row.cost_nano_usd == 0:
            self.free(row)
        else:
            answer = command.answer if is_settled else None
            self._set(msgspec.structs.replace(named, is_closed=True, answer=answer))

    def write(self, changes: Changes) -> None:
        """Say what changed."""
        changes.names = [named for named in self._changed.values() if named is not None]
        changes.freed_names = [key for key, named in self._changed.items() if named is None]

    def _of(self, row: CallRow) -> NamedCall | None:
        """What is known under a call's name, while that is the call's."""
        key = _name_of(row)
        named = self._names.get(key) if key is not None else None
        return named if named is not None and named.call == row.call else None

    def _set(self, named: NamedCall) -> None:
        self._names[named.key] = self._changed[named.key] = named


def asked_name(command: Admit) -> NameKey | None:
    """The name that an admission asks for, if it does."""
    if command.name is None:
        return None
    return (command.tenant, command.attribution.agent, command.name.name)


def _name_of(row: CallRow) -> NameKey | None:
    """The name that a call was given, if it was."""
    return None if row.name is None else (row.tenant, row.agent, row.name)
