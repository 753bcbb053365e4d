"""Lists of tools as an agent gets them: what it may call, and nothing else.

Rule: a list is its caller's alone, so nobody may keep it for another. A tool's definition keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from aegis_gateway.entrypoints.data_plane.mcp.messages import Members, members, raw_json
from aegis_gateway.entrypoints.data_plane.mcp.versions import Era
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

TASKS = "tasks"
TASKS_EXTENSION = "io.modelcontextprotocol/tasks"


class Named(msgspec.Struct, frozen=True):
    """A tool, as far as it has to be known to tell whose it is."""

    name: str


_definitions = msgspec.json.Decoder(list[msgspec.Raw]).decode
_named = msgspec.json.Decoder(Named).decode

Definitions = dict[str, msgspec.Raw]
"""Tools' definitions by their names."""


def definitions_of(listed: msgspec.Raw) -> Definitions:
    """A list's tools. Of those that have one name none is there: nobody can tell which of them would be called."""
    found: Definitions = {}
    twice: set[str] = set()
    for definition in _definitions(listed):
        try:
            name = _named(definition).name
        except UNREADABLE:
            continue
        if name in found:
            twice.add(name)
        found[name] = definition
    return {name: definition for name, definition in found.items() if name not in twice}


def shown_list(
    result: Members, visible: Callable[[Iterable[str]], frozenset[str]], era: Era
) -> dict[str, msgspec.Raw]:
    """What of a list of tools becomes another, for who may call those that are `visible`.

    Raises:
        msgspec.MsgspecError: it is no list of tools.
    """
    found = definitions_of(result.get("tools", msgspec.Raw(b"null")))
    seen = visible(found)
    shown = [definition for name, definition in found.items() if name in seen]
    return {"tools": raw_json(shown), **private(era)}


def private(era: Era) -> dict[str, msgspec.Raw]:
    """What says that a result is its caller's alone, and of this moment."""
    return {"ttlMs": raw_json(0), "cacheScope": raw_json("private")} if era == "modern" else {}


def without_tasks(result: Members) -> dict[str, msgspec.Raw]:
    """What of a server's description becomes another: tasks go on after their answer, so they are not offered."""
    try:
        capabilities = members(result.get("capabilities", msgspec.Raw(b"{}")))
        extensions = members(capabilities.get("extensions", msgspec.Raw(b"{}")))
    except UNREADABLE:
        return {}
    if TASKS not in capabilities and TASKS_EXTENSION not in extensions:
        return {}
    kept: Members = {name: value for name, value in capabilities.items() if name != TASKS}
    if TASKS_EXTENSION in extensions:
        others = {name: value for name, value in extensions.items() if name != TASKS_EXTENSION}
        kept["extensions"] = raw_json(others)
    return {"capabilities": raw_json(kept)}
