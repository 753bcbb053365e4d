"""The door for enforcement points that speak AuthZEN, Authorization API 1.0.

POST /access/v1/evaluation          whether a subject may do an action to a resource
POST /access/v1/evaluations         the same for many
POST /access/v1/search/subject      who may
POST /access/v1/search/resource     to what
POST /access/v1/search/action       what
POST /access/v1/requests            how a person's word is waited for that an evaluation wants
GET  /access/v1/requests/{task}     whether it was given
GET  /.well-known/authzen-configuration   where these are, and what obligations there may be

A denial is an answer like others; 400 is for what can't be understood, 403 for a subject that the asker may not ask
for. `X-Request-ID` is given back with whatever is answered.
"""

from __future__ import annotations

import re

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.estimates import Estimates
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.entrypoints.data_plane.authzen.access_requests import (
    CAPABILITY,
    REQUESTS,
    AccessRequests,
    Written,
)
from aegis_gateway.entrypoints.data_plane.authzen.answers import CUSTOM, Answer
from aegis_gateway.entrypoints.data_plane.authzen.evaluating import Evaluating
from aegis_gateway.entrypoints.data_plane.authzen.requests import (
    AccessRequest,
    ActionSearch,
    Evaluation,
    ResourceSearch,
    SubjectSearch,
    checked_json,
    read,
    read_batch,
)
from aegis_gateway.entrypoints.data_plane.authzen.searching import Searching
from aegis_gateway.entrypoints.data_plane.error_forms import More
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    leaving_of,
    read_body,
    trace_of,
)
from aegis_gateway.entrypoints.data_plane.refusals import Headers, misunderstood, unavailable
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecisions

PREFIX = "/access/v1/"
CONFIGURATION = "/.well-known/authzen-configuration"

_EVALUATION, _EVALUATIONS = f"{PREFIX}evaluation", f"{PREFIX}evaluations"
_SUBJECTS, _RESOURCES, _ACTIONS = (f"{PREFIX}search/{what}" for what in ("subject", "resource", "action"))
_REQUEST_ID = "x-request-id"
_NAME = "idempotency-key"
_JSON = [("content-type", "application/json"), ("cache-control", "no-store")]
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_SCHEMES = ("http", "https")

_encode = msgspec.json.Encoder(decimal_format="string").encode


class AuthzenErrors:
    """How errors look at this door; the specification leaves it open."""

    def body(
        self, status: int, code: str, message: str, param: str | None = None, more: More = None
    ) -> bytes:
        """`{"error": {"status", "code", "message", "field"}}`."""
        error: Answer = {"status": status, "code": code, "message": message}
        if param is not None:
            error["field"] = param
        return _encode({"error": {**error, **(more or {})}})

    def event(self, status: int, code: str, message: str) -> bytes:
        """The same; nothing is streamed here."""
        return self.body(status, code, message)


AUTHZEN = AuthzenErrors()


class AuthzenDoor:
    """Answers enforcement points."""

    errors = AUTHZEN

    def __init__(
        self,
        calls: Calls,
        decisions: ToolDecisions,
        estimates: Estimates,
        access: AccessRequests | None = None,
    ) -> None:
        """Build the door on decisions, and on what would be decided; without `access`, nobody's word is asked for."""
        self._calls = calls
        self._access = access
        self._evaluating = Evaluating(calls, decisions, estimates, access)
        self._searching = Searching(calls)

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request, under its own id if it has one."""
        request_id = scope.headers.get(_REQUEST_ID)
        headers: Headers = [(_REQUEST_ID, request_id)] if request_id is not None else []
        try:
            answer = await self._answer(scope, protocol)
        except CallError as fault:
            refused = misunderstood(fault, AUTHZEN)
            protocol.response_bytes(refused.status, [*refused.headers, *headers], refused.body)
        except AegisError as fault:
            refused = unavailable(str(fault), AUTHZEN)
            protocol.response_bytes(refused.status, [*refused.headers, *headers], refused.body)
        else:
            if not isinstance(answer, Written):
                answer = Written(status=200, body=answer)
            kind = [] if answer.is_problem else _JSON
            protocol.response_bytes(answer.status, [*kind, *answer.headers, *headers], _encode(answer.body))

    async def _answer(self, scope: Scope, protocol: HttpProtocol) -> Answer | Written:
        if (scope.method, scope.path) == ("GET", CONFIGURATION):
            return _configuration(_base_url(scope), self._access is not None)
        key = api_key(scope)
        await self._calls.callers.identify(key)
        raw = await read_body(scope, protocol)
        if self._access is not None and scope.path.startswith(REQUESTS):
            return await self._requested(self._access, scope, key, raw)
        if scope.method != "POST":
            raise _nothing_at(scope)
        checked_json(scope.headers, raw)
        if scope.path in (_EVALUATION, _EVALUATIONS):
            batch = read_batch(raw) if scope.path == _EVALUATIONS else None
            if batch is None:
                return await self._evaluating.evaluate(
                    key, read(Evaluation, raw), _base_url(scope), trace_of(scope), leaving_of(protocol)
                )
            return await self._evaluating.evaluate_all(
                key, batch, _base_url(scope), trace_of(scope), leaving_of(protocol)
            )
        if scope.path == _SUBJECTS:
            return await self._searching.subjects(key, read(SubjectSearch, raw))
        if scope.path == _RESOURCES:
            return await self._searching.resources(key, read(ResourceSearch, raw))
        if scope.path == _ACTIONS:
            return await self._searching.actions(key, read(ActionSearch, raw))
        raise _nothing_at(scope)

    async def _requested(self, access: AccessRequests, scope: Scope, key: str | None, raw: bytes) -> Written:
        """A request for access, or how one stands."""
        base_url = _base_url(scope)
        if (scope.method, scope.path) == ("POST", REQUESTS):
            checked_json(scope.headers, raw)
            asked, name = read(AccessRequest, raw), scope.headers.get(_NAME)
            return await access.submit(await self._calls.callers.caller(key), asked, name, base_url)
        task = scope.path.removeprefix(f"{REQUESTS}/")
        if scope.method == "GET" and scope.path != task and "/" not in task:
            return await access.status(await self._calls.callers.caller(key), task, base_url)
        words = f"{scope.method[:16]} is not done to that; `POST {REQUESTS}` asks, and `GET` of a task says how it is"
        raise CallError(words, status=405)


def _configuration(base_url: str, has_requests: bool) -> Answer:
    more = {"access_request_endpoint": base_url + REQUESTS, "capabilities": [CAPABILITY]}
    return {
        "policy_decision_point": base_url,
        "access_evaluation_endpoint": base_url + _EVALUATION,
        "access_evaluations_endpoint": base_url + _EVALUATIONS,
        "search_subject_endpoint": base_url + _SUBJECTS,
        "search_resource_endpoint": base_url + _RESOURCES,
        "search_action_endpoint": base_url + _ACTIONS,
        "obligations_supported": [CUSTOM],
        **(more if has_requests else {}),
    }


def _base_url(scope: Scope) -> str:
    """Where the caller reaches this gateway, by its own words: only it is told.

    Raises:
        CallError: it doesn't say by which name it called.
    """
    host = scope.headers.get("host") or ""
    if not _HOST.fullmatch(host):
        raise CallError("the `Host` header names no host", field="host")
    forwarded = (scope.headers.get("x-forwarded-proto") or "").strip().lower()
    return f"{forwarded if forwarded in _SCHEMES else 'http'}://{host}"


def _nothing_at(scope: Scope) -> CallError:
    words = f"there is nothing at {scope.method[:16]} {scope.path[:256]}; `GET {CONFIGURATION}` says what is"
    return CallError(words, status=404)
