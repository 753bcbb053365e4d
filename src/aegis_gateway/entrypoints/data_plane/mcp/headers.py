"""The headers of a modern request, which repeat what its body says: both have to say the same.

Whoever is between caller and server may go by the headers; the gateway goes by the body. Where they differ somebody
would be deceived, so such a request is refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from aegis_gateway.entrypoints.data_plane.exchange import RequestHeaders
from aegis_gateway.entrypoints.data_plane.mcp.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    ProtocolFault,
    unsupported,
)
from aegis_gateway.entrypoints.data_plane.mcp.messages import CallerMessage
from aegis_gateway.entrypoints.data_plane.mcp.versions import (
    LEGACY,
    META_CAPABILITIES,
    META_VERSION,
    METHOD_HEADER,
    MODERN,
    NAME_HEADER,
    NAMED,
    VERSION_HEADER,
    Era,
)

_ROUTING = frozenset((VERSION_HEADER, METHOD_HEADER, NAME_HEADER))
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")
_PLAIN = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def era_of(headers: RequestHeaders, message: CallerMessage) -> Era:
    """In which form of the protocol a message is; a modern one is checked.

    Raises:
        ProtocolFault: it is of a version that nobody speaks here, or header and body differ.
    """
    said = [name for name, _ in headers.items() if name in _ROUTING]
    if len(said) != len(set(said)):
        raise _mismatch(next(name for name in said if said.count(name) > 1), "stands there more than once")
    version: str | None = headers.get(VERSION_HEADER)
    if version is None and VERSION_HEADER in headers:
        raise _mismatch(VERSION_HEADER, "is no text")
    is_modern = version == MODERN or META_VERSION in message.meta
    if not is_modern and version is not None and version not in LEGACY:
        # With the version in its body it would have been told the same, below.
        raise unsupported(version)
    if not is_modern or message.kind != "request":
        return "modern" if is_modern else "legacy"
    for key in (META_VERSION, META_CAPABILITIES):
        if key not in message.meta:
            raise ProtocolFault(INVALID_PARAMS, f"`params._meta` has no `{key}`, which each request needs")
    stated = message.meta[META_VERSION]
    if version != stated:
        raise _mismatch(VERSION_HEADER, f"and `_meta` must say the same; it says `{_shown(stated)}`")
    if headers.get(METHOD_HEADER) != message.method:
        raise _mismatch(METHOD_HEADER, f"must be the body's method, `{message.method[:64]}`")
    _check_name(headers, message)
    if stated != MODERN:
        raise unsupported(str(stated))
    return "modern"


def _check_name(headers: RequestHeaders, message: CallerMessage) -> None:
    name = NAMED.get(message.method)
    if name is None:
        return
    wanted = message.param(name)
    if isinstance(wanted, str) and decoded(headers.get(NAME_HEADER)) != wanted:
        raise _mismatch(NAME_HEADER, f"must be the body's `{name}`, `{wanted[:64]}`")


def _mismatch(header: str, what: str) -> ProtocolFault:
    return ProtocolFault(HEADER_MISMATCH, f"header `{header}` {what}")


def _shown(value: object) -> str:
    return str(value)[:64]


def encoded(value: str) -> str:
    """A text as a header's value, in base64 where it can't stand as it is."""
    if not value or (_PLAIN.fullmatch(value) and not _ENCODED.fullmatch(value)):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decoded(value: str | None) -> str | None:
    """The text that a header's value stands for; None where there is none."""
    match = _ENCODED.fullmatch(value) if value is not None else None
    if value is None or match is None:
        return value
    try:
        found = base64.b64decode(match[1], validate=True)
        is_canonical = base64.b64encode(found).decode() == match[1]
        return found.decode() if is_canonical else None
    except ValueError:  # it isn't ASCII, or base64, or UTF-8
        return None


def declared_capabilities(meta: Mapping[str, Any]) -> frozenset[str]:
    """What a modern request says that its client can be asked for."""
    found = meta.get(META_CAPABILITIES)
    return frozenset(found) if isinstance(found, Mapping) else frozenset()
