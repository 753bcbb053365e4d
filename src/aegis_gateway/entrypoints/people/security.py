"""What every answer to a person says to their browser, and which requests are answered at all.

Rule 1: a page runs its own scripts and styles only, from files of this host; nothing is inline, and no other host is
        asked.
Rule 2: nothing is answered under a name that isn't the gateway's, or to a page of another (`Origins`): a name that was
        made to resolve here gives its page no hold on the reader's session.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.mcp.origins import Origins
from aegis_gateway.entrypoints.people.bridge import AsgiApp, Message, Receive, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    # Not `no-referrer`: then a form's own page would have the origin `null`.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_NOT_KEPT = (b"cache-control", b"no-store")


class Secured:
    """An application whose answers say all that, and which only hears of requests that come from where they may."""

    def __init__(self, app: AsgiApp, origins: Origins, trusted_prefixes: tuple[str, ...] = ()) -> None:
        """`trusted_prefixes` are of paths that no browser calls, and that tell who calls by a signature."""
        self._app = app
        self._origins = origins
        self._trusted = trusted_prefixes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                said = {name for name, _ in headers}
                headers += [item for item in (*HEADERS.items(), _NOT_KEPT) if item[0] not in said]
                message = {**message, "headers": headers}
            await send(message)

        if not scope["path"].startswith(self._trusted):
            try:
                self._origins.check(_Headers(scope["headers"]))
            except CallError as fault:
                await _refuse(send_secured, fault)
                return
        await self._app(scope, receive, send_secured)


async def _refuse(send: Send, fault: CallError) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{fault}\n".encode()})


class _Headers:
    """A request's headers, as the door's are."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
        self._by_name = dict(reversed(self._pairs))

    def __contains__(self, key: str) -> bool:
        return key in self._by_name

    def get(self, key: str, default: Any = None) -> Any:
        return self._by_name.get(key, default)

    def items(self) -> list[tuple[str, str]]:
        return self._pairs
