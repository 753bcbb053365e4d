"""The waiting agent: how its request for a person's word stands, and connections that are held until it is decided.

GET /v1/approvals/{id}            how it stands; of the agent that asked, others have none of that id
GET /v1/approvals/{id}?wait=30    the same, as soon as it is decided, and after so many seconds at the latest

A call with the header `Aegis-Approval-Wait: 30` is held for so many seconds, as far as the tenant lets (`hold`), and
goes on by itself once it is granted: it is decided again, as if it had been repeated. A caller who leaves meanwhile
has asked, and nothing else is done.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.judgement import Described
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.errors import CallerLeft, CallError
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, api_key, nothing_at
from aegis_gateway.entrypoints.data_plane.refusals import APPROVALS

WAIT_S_MAX = 60
"""How long a question may wait for its answer."""

_WAIT = "aegis-approval-wait"
_PATH = re.compile(r"/v1/approvals/(apr_[0-9a-f]{20})")
_JSON = [("content-type", "application/json")]

_encode = msgspec.json.Encoder().encode
D = TypeVar("D", bound=Described)


class ApprovalsDoor:
    """Tells agents how their requests stand."""

    def __init__(self, calls: Calls, watch: ApprovalWatch) -> None:
        """Build the door; `watch` waits for people's words."""
        self._calls = calls
        self._watch = watch

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        match = _PATH.fullmatch(scope.path)
        if scope.method != "GET" or match is None:
            await self._calls.callers.identify(key)
            raise nothing_at(scope)
        found = await self._own(key, match[1])
        wait_s = _seconds(parse_qs(scope.query_string).get("wait", ["0"])[0], "wait")
        if found.state == "waiting" and wait_s:
            if not await _stays(protocol, self._watch, found.id, min(wait_s, WAIT_S_MAX)):
                return
            found = await self._own(key, match[1])
        protocol.response_bytes(200, _JSON, _encode(_shown(found)))

    async def _own(self, key: str | None, approval: str) -> Approval:
        """One of the caller's, or of an agent that it may ask for.

        Raises:
            CallError: it has none of that id.
        """
        known = await self._calls.callers.valid_caller(key)
        found = await self._watch.find(known.view.registry.tenant, approval)
        agent = known.agent
        if found is None or agent is None or found.kind != "call" or not agent.may_ask_for(found.requester):
            raise CallError(f"agent `{known.key.agent}` has no approval `{approval}`", status=404)
        return found


async def held(
    calls: Calls,
    scope: Scope,
    protocol: HttpProtocol,
    decide: Callable[[], Awaitable[Decided[D]]],
    *,
    wait_s: int | None = None,
) -> Decided[D]:
    """Decide for a call; where it waits for a person's word and its caller with it, once more when that is given.

    The caller waits for as long as its header says, or for `wait_s` where its door knows that, and the tenant lets.

    Raises:
        CallerLeft: nothing more is done for it.
    """
    decided = await decide()
    note, watch = decided.admitted.approval, calls.approvals
    is_asked = wait_s is not None or _WAIT in scope.headers
    if not is_asked or watch is None or note is None or note.state != "waiting":
        return decided
    view = calls.directory.copy.tenants.get(decided.tenant)
    hold_s = view.registry.approvals.hold_ns / 1_000_000_000 if view is not None else 0.0
    patience_s = wait_s if wait_s is not None else _seconds(scope.headers.get(_WAIT), _WAIT)
    held_s = min(hold_s, float(patience_s))
    if not held_s:
        return decided
    if not await _stays(protocol, watch, note.id, held_s):
        raise CallerLeft("the caller left while its call waited for a person's word")
    return await decide()


async def _stays(protocol: HttpProtocol, watch: ApprovalWatch, approval: str, within_s: float) -> bool:
    """Wait for a request to be decided, or for the time to be over; whether the caller is still there."""
    waiting = asyncio.ensure_future(watch.until_decided(approval, within_s))
    leaving = asyncio.ensure_future(protocol.client_disconnect())
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.done()
    finally:
        waiting.cancel()
        leaving.cancel()


def _seconds(text: str | None, field: str) -> int:
    if text is None or not text.isdecimal() or len(text) > 4:
        raise CallError(f"`{field}` is a whole number of seconds, as in 30", field=field)
    return int(text)


def _shown(approval: Approval) -> dict[str, Any]:
    last = approval.answers[-1] if approval.answers and approval.state != "waiting" else None
    return {
        "id": approval.id,
        "state": approval.state,
        "tool": approval.about,
        "created_at": time_text(approval.created_ns),
        "expires_at": time_text(approval.deadline_ns),
        "use_until": None if approval.valid_until_ns is None else time_text(approval.valid_until_ns),
        "used_by": approval.used_by,
        "reason": last.reason if last is not None else None,
        "status_url": f"{APPROVALS}/{approval.id}",
    }
