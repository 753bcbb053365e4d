"""Names where all servers are one: tools and prompts are `{server}_{name}`, resources `aegis://{server}/{uri}`.

Rule: whose a name is follows from the name alone: no server's id begins with another's and `_` (the configuration is
      refused otherwise). What is nobody's is refused, and never tried at one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.mcp.messages import CallerMessage, Members, members, raw_json
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

SCHEME = "aegis://"
_LISTS = {
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}

Change = dict[str, msgspec.Raw | None]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """How what one server has is called; without a server, as the server calls it."""

    server: str = ""

    def name(self, own: str) -> str:
        """What a tool or prompt is called, by its name at the server."""
        return f"{self.server}_{own}" if self.server else own

    def uri(self, own: str) -> str:
        """What a resource is called, by its address at the server."""
        return f"{SCHEME}{self.server}/{own}" if self.server else own

    def own(self, called: str) -> str:
        """The name or address at the server, of what is called so."""
        if not self.server:
            return called
        if called.startswith(SCHEME):
            return called.removeprefix(f"{SCHEME}{self.server}/")
        return called.removeprefix(f"{self.server}_")

    def asked(self, message: CallerMessage) -> Change:
        """The parameters of a request that are others at the server."""
        if not self.server:
            return {}
        change: Change = {}
        for parameter in ("name", "uri"):
            called = message.param(parameter)
            if isinstance(called, str):
                change[parameter] = raw_json(self.own(called))
        reference = message.param("ref")
        if isinstance(reference, dict) and "ref" in message.params:
            kept: dict[str, Any] = dict(members(message.params["ref"]))
            for parameter in ("name", "uri"):
                if isinstance(reference.get(parameter), str):
                    kept[parameter] = raw_json(self.own(reference[parameter]))
            change["ref"] = raw_json(kept)
        return change

    def answered(self, method: str, result: Members) -> Members:
        """A result's members that are called otherwise here."""
        if not self.server:
            return {}
        try:
            if method in _LISTS:
                member, key = _LISTS[method]
                return {member: raw_json(self.listed(method, _items(result[member])))} if key else {}
            if method == "resources/read":
                return {"contents": raw_json([self._with_uri(each) for each in _items(result["contents"])])}
            if method == "tools/call" and "content" in result:
                return {"content": raw_json([self._block(each) for each in _items(result["content"])])}
        except (*UNREADABLE, KeyError):
            return {}
        return {}

    def listed(self, method: str, items: Iterable[msgspec.Raw]) -> list[msgspec.Raw]:
        """Things of a list as they are called here."""
        _, key = _LISTS[method]
        called = self.name if key == "name" else self.uri
        return [_renamed(each, key, called) for each in items]

    def _with_uri(self, item: msgspec.Raw) -> msgspec.Raw:
        return _renamed(item, "uri", self.uri)

    def _block(self, item: msgspec.Raw) -> msgspec.Raw:
        """A piece of content; one that is a resource, or leads to one, says how it is called here."""
        found = members(item)
        if "uri" in found:
            return self._with_uri(item)
        if "resource" in found:
            return raw_json({**found, "resource": self._with_uri(found["resource"])})
        return item


AS_THEY_ARE = Names()


def list_of(method: str) -> str:
    """The member of a result that a method's list is."""
    return _LISTS[method][0]


def server_of(called: str, servers: Iterable[Connector]) -> Connector | None:
    """Whose something is, by what it is called where all servers are one."""
    if called.startswith(SCHEME):
        id_ = called.removeprefix(SCHEME).partition("/")[0]
        return next((server for server in servers if server.id == id_), None)
    found = [server for server in servers if called.startswith(f"{server.id}_")]
    return found[0] if len(found) == 1 else None


def called_in(message: CallerMessage) -> str | None:
    """What a request is about, by what it is called."""
    reference = message.param("ref")
    holder = reference if isinstance(reference, dict) else {}
    for called in (message.param("name"), message.param("uri"), holder.get("name"), holder.get("uri")):
        if isinstance(called, str):
            return called
    return None


def renamed_tool(definition: msgspec.Raw, called: str) -> msgspec.Raw:
    """A tool's definition under another name."""
    return raw_json({**members(definition), "name": raw_json(called)})


def _renamed(item: msgspec.Raw, key: str, called: Callable[[str], str]) -> msgspec.Raw:
    try:
        found = members(item)
        own = msgspec.json.decode(found[key], type=str)
    except (*UNREADABLE, KeyError):
        return item
    return raw_json({**found, key: raw_json(called(own))})


def _items(raw: msgspec.Raw) -> list[msgspec.Raw]:
    return msgspec.json.decode(raw, type=list[msgspec.Raw])
