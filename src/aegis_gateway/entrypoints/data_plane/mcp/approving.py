"""Calls of tools that wait for a person's word, where that person may sit before the client: it is sent to their page.

Rule 1: only clients are sent that said that they can send somebody to an address, and only where the tenant wants it
        (`approvals: {elicit: true}`). All others get a result in words, as of any refusal.
Rule 2: a client is sent once for a call. Where it comes back and nobody has agreed yet it is held, for as long as the
        tenant lets (`hold`), and then gets those words: clients come back ten times within two seconds, and nobody
        reads and decides so fast.
Rule 3: what comes back opens nothing. It says for which approval the client was sent off, and the call is decided like
        any other: that approval has to be granted for this very call, and is used up by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aegis_gateway.application.commands import ApprovalNote
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.ports import Sealer
from aegis_gateway.domain.entry import time_text
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.mcp.asked_back import ELICITS_BY_ADDRESS, elicits_by_address
from aegis_gateway.entrypoints.data_plane.mcp.errors import ADDRESS_TO_VISIT
from aegis_gateway.entrypoints.data_plane.mcp.messages import error_response, response
from aegis_gateway.entrypoints.data_plane.mcp.refusals import decision_meta
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.states import States
from aegis_gateway.entrypoints.data_plane.mcp.versions import LEGACY_NEWEST, META_CAPABILITIES, OUR_META
from aegis_gateway.entrypoints.data_plane.refusals import approval_record

_NAME = "approval"
_PURPOSE = "mcp-approval"
_HELD_S = 600
"""How long a client would wait that comes back: longer than any tenant holds it."""

BROUGHT: dict[str, msgspec.Raw | None] = {"requestState": None, "inputResponses": None}
"""What of a request is for the gateway, where the client was sent to a page: the server gets it without."""


class Approving:
    """Sends clients to the pages of approvals, and knows them when they come back."""

    def __init__(self, sealer: Sealer, pages_url: str) -> None:
        """`pages_url` is where people find the pages."""
        self._states = States(sealer, _PURPOSE)
        self._pages_url = pages_url

    def brought(self, request: Request, server: str) -> str | None:
        """The approval that a client was sent off for with this very call; None where it wasn't, or for another."""
        who, state = request.who, request.message.param("requestState")
        if request.era != "modern" or not isinstance(state, str):
            return None
        return self._states.open(who.tenant, who.agent.id, server, request.message, state, who.now_ns)

    def patience_s(self, request: Request, approval: str | None) -> int | None:
        """How long a call waits for a person's word: where its client is still to be sent to the page not at all, and
        where it went there (for an `approval`) as long as may be. None: for as long as its headers say.
        """
        if approval is not None:
            return _HELD_S if _went(request) else 0
        is_sent = request.who.view.registry.approvals.elicit and _can_be_sent(request)
        return 0 if is_sent else None

    def asked(self, request: Request, server: str, decided: Decided[OperationCall]) -> bytes | None:
        """What a client is asked for a call that waits; None where it can't be asked, or was before."""
        note, who = decided.admitted.approval, request.who
        if (
            note is None
            or note.state != "waiting"
            or decided.admitted.effect != "require_approval"
            or not who.view.registry.approvals.elicit
        ):
            return None
        if request.era == "modern":
            return self._sent_off(request, server, decided, note)
        session = request.session
        is_able = session is not None and ELICITS_BY_ADDRESS in session.capabilities
        if session is None or not is_able or session.version != LEGACY_NEWEST:
            return None
        asked = {**self._visit(decided, note), "elicitationId": note.id}
        words = f"a person has to agree first; call it again as it is once somebody has ({note.id})"
        return error_response(request.message.id, ADDRESS_TO_VISIT, words, {"elicitations": [asked]})

    def _sent_off(
        self, request: Request, server: str, decided: Decided[OperationCall], note: ApprovalNote
    ) -> bytes | None:
        who, message = request.who, request.message
        if not _can_be_sent(request):
            return None
        sealed = self._states.seal(who.tenant, who.agent.id, server, message, note.id, who.now_ns)
        result = {
            "resultType": "input_required",
            "inputRequests": {
                _NAME: {"method": "elicitation/create", "params": self._visit(decided, note)},
            },
            "requestState": sealed,
            "_meta": {OUR_META: {**decision_meta(decided, None), **approval_record(note)}},
        }
        return response(message.id, result)

    def _visit(self, decided: Decided[OperationCall], note: ApprovalNote) -> dict[str, Any]:
        """The page to visit, and why."""
        why = "; ".join(reason.message for reason in decided.admitted.reasons)
        until = time_text(note.deadline_ns)
        return {
            "mode": "url",
            "message": f"`{decided.described.tool}` waits for a person's word until {until}: {why}",
            "url": f"{self._pages_url}/approvals/{note.id}",
        }


def _can_be_sent(request: Request) -> bool:
    """Whether a client can be sent to an address with this request, in the form of 2026-07-28."""
    message = request.message
    said = message.meta.get(META_CAPABILITIES)
    if request.era != "modern" or not isinstance(said, Mapping) or not elicits_by_address(said):
        return False
    # One that comes back from somewhere would lose what it brings.
    return message.param("requestState") is None and "inputResponses" not in message.params


def _went(request: Request) -> bool:
    """Whether somebody went to the page, by what the client brings back."""
    answers = request.message.param("inputResponses")
    answer = answers.get(_NAME) if isinstance(answers, Mapping) else None
    return isinstance(answer, Mapping) and answer.get("action") == "accept"
