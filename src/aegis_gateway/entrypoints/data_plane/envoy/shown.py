"""A request as an Envoy shows it, and what of it the Envoy has to change before it is sent on.

Rule 1: what arrives at the upstream is what `/connect/` would have sent: none of the caller's credentials, nothing that
        makes an upstream do something else than was judged, the connector's own credential.
Rule 2: what is an Envoy's own business stays: the connection, the lengths, who forwarded what.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from aegis_gateway.application.call_context import Leaves
from aegis_gateway.application.ports import UpstreamAnswer
from aegis_gateway.entrypoints.data_plane.connect import PREFIX
from aegis_gateway.entrypoints.data_plane.exchange import (
    HOP_BY_HOP,
    NEVER_FORWARDED,
    RequestHeaders,
    StreamTransport,
)
from aegis_gateway.entrypoints.data_plane.refusals import Headers

ENVOYS_OWN = (HOP_BY_HOP - {"proxy-authenticate", "proxy-authorization"}) | {
    "content-length", "forwarded", "host", "via",
}  # fmt: skip
"""Headers that an Envoy keeps right by itself."""

ALWAYS_REMOVED = tuple(
    sorted(
        (NEVER_FORWARDED - ENVOYS_OWN - {"content-type"})
        | {"aegis-run-id", "aegis-parent-id", "aegis-customer"}
    )
)
"""Headers that no upstream gets from a caller, whether or not we were shown them."""


class ShownHeaders:
    """Headers of a request by name in lower case. Of one that was sent several times, the values stand side by side."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Take the headers, without HTTP/2's pseudo-headers."""
        self._headers: dict[str, str] = {}
        for name, value in pairs:
            lower = name.lower()
            before = self._headers.get(lower)
            self._headers[lower] = value if before is None else f"{before}, {value}"

    def __contains__(self, key: str) -> bool:
        """Whether there is such a header."""
        return key in self._headers

    def get(self, key: str, default: Any = None) -> Any:
        """One header's value."""
        return self._headers.get(key, default)

    def items(self) -> list[tuple[str, str]]:
        """All of them."""
        return list(self._headers.items())


class ShownRequest(msgspec.Struct, kw_only=True):
    """A request that an Envoy asks about, as one of `/connect/{connector}/…`; a `Scope`."""

    method: str
    path: str
    query_string: str
    headers: RequestHeaders


def shown_request(
    connector: str, method: str, target: str, headers: Iterable[tuple[str, str]]
) -> ShownRequest:
    """A request by what it is sent with; `target` is its path and query."""
    path, _, query = target.partition("?")
    return ShownRequest(
        method=method,
        # A target that isn't a path has no operation; joined to the connector's name it could be another connector's.
        path=f"{PREFIX}{connector}/{path.removeprefix('/')}" if path.startswith("/") else f"{PREFIX}?",
        query_string=query,
        headers=ShownHeaders(headers),
    )


def header_pairs(headers: Iterable[Any]) -> list[tuple[str, str]]:
    """Headers as an Envoy tells them by gRPC: as bytes, or as text where it was told to."""
    return [(header.key, _text(header.raw_value) if header.raw_value else header.value) for header in headers]


def _text(raw: bytes) -> str:
    """A header's value as a text, whatever bytes it is."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class HeldAnswer:
    """What a door reads of a request whose body is known, and what it answers, held until it can be told."""

    def __init__(self, body: bytes, leaves: Leaves) -> None:
        """Hold a request's body; `leaves` waits until the Envoy waits for the answer no longer."""
        self._body = body
        self._leaves = leaves
        self.answer: UpstreamAnswer | None = None

    async def __call__(self) -> bytes:
        """The whole body."""
        return self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces."""
        yield self._body

    async def client_disconnect(self) -> None:
        """Never: whether an Envoy still waits is told to whoever talks to it."""
        await asyncio.Event().wait()

    async def caller_left(self) -> None:
        """Wait until the Envoy waits for the answer no longer."""
        await self._leaves()

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer."""
        self.answer = UpstreamAnswer(status=status, headers=headers, body=body)

    def response_stream(self, status: int, headers: Headers) -> StreamTransport:  # noqa: ARG002 - RSGI's signature
        """Connectors' answers are whole."""
        raise AssertionError("a connector's answer is given whole")


class HeaderChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What has to change of headers: set instead of what was there, added besides, removed."""

    set: Headers
    removed: list[str]
    added: Headers = []


def changes(old: Headers, new: Headers, keep: Iterable[str] = ENVOYS_OWN) -> HeaderChanges:
    """What makes one list of headers the other; those in `keep` stay as they are."""
    kept = frozenset(keep)
    before, after = _by_name(old), _by_name(new)
    changed = {
        name: values
        for name, values in after.items()
        if values != before.get(name) and not _is_kept(name, kept)
    }
    return HeaderChanges(
        set=[(name, values[0]) for name, values in changed.items()],
        added=[(name, value) for name, values in changed.items() for value in values[1:]],
        removed=[name for name in before if name not in after and not _is_kept(name, kept)],
    )


def request_changes(shown: Headers, wanted: Headers, keep: Iterable[str] = ENVOYS_OWN) -> HeaderChanges:
    """What makes the headers of a request those that its upstream gets. What an Envoy didn't show us goes too."""
    found = changes(shown, wanted, keep)
    sent = {name for name, _ in wanted}
    unwanted = (name for name in ALWAYS_REMOVED if name not in sent)
    return msgspec.structs.replace(found, removed=list(dict.fromkeys((*found.removed, *unwanted))))


def _by_name(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found


def _is_kept(name: str, kept: frozenset[str]) -> bool:
    return name in kept or name.startswith((":", "x-forwarded-", "x-envoy-"))
