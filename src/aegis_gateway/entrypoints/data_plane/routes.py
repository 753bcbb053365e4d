"""Which door a request goes to, by method and path alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.estimates import Estimates
from aegis_gateway.application.ports import Secrets, Upstream
from aegis_gateway.entrypoints.data_plane.aegislib import telemetry
from aegis_gateway.entrypoints.data_plane.aegislib.deciding import DecidingDoor
from aegis_gateway.entrypoints.data_plane.aegislib.listing import (
    CAPABILITIES,
    PRICING,
    CapabilitiesDoor,
    PricingDoor,
)
from aegis_gateway.entrypoints.data_plane.aegislib.words import AEGISLIB, DECISION
from aegis_gateway.entrypoints.data_plane.approvals import ApprovalsDoor
from aegis_gateway.entrypoints.data_plane.authzen.access_requests import AccessRequests
from aegis_gateway.entrypoints.data_plane.authzen.door import AUTHZEN, AuthzenDoor
from aegis_gateway.entrypoints.data_plane.authzen.door import CONFIGURATION as AUTHZEN_CONFIGURATION
from aegis_gateway.entrypoints.data_plane.authzen.door import PREFIX as AUTHZEN_PREFIX
from aegis_gateway.entrypoints.data_plane.connect import PREFIX as CONNECT
from aegis_gateway.entrypoints.data_plane.connect import ConnectDoor, Directly
from aegis_gateway.entrypoints.data_plane.decisions import DECISIONS, DecisionsDoor
from aegis_gateway.entrypoints.data_plane.envoy.access import EnvoyAccess
from aegis_gateway.entrypoints.data_plane.envoy.authorization import PREFIX as EXT_AUTHZ
from aegis_gateway.entrypoints.data_plane.envoy.authorization import AuthorizationDoor
from aegis_gateway.entrypoints.data_plane.error_forms import OPENAI, ErrorForm
from aegis_gateway.entrypoints.data_plane.estimates import ESTIMATES, EstimatesDoor
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, nothing_at, send_error
from aegis_gateway.entrypoints.data_plane.mcp.door import PREFIX as MCP_PREFIX
from aegis_gateway.entrypoints.data_plane.mcp.door import McpDoor
from aegis_gateway.entrypoints.data_plane.mcp.replaying import OwnId
from aegis_gateway.entrypoints.data_plane.models import gemini, messages
from aegis_gateway.entrypoints.data_plane.models.chat import ChatDialect
from aegis_gateway.entrypoints.data_plane.models.dialect import Address, Dialect
from aegis_gateway.entrypoints.data_plane.models.door import ModelDoor
from aegis_gateway.entrypoints.data_plane.models.embeddings import EmbeddingsDialect
from aegis_gateway.entrypoints.data_plane.models.listing import (
    anthropic_listing,
    gemini_listing,
    openai_listing,
)
from aegis_gateway.entrypoints.data_plane.models.responses import ResponsesDialect
from aegis_gateway.entrypoints.data_plane.refusals import APPROVALS, misunderstood
from aegis_gateway.entrypoints.data_plane.runs import RUNS, RunsDoor
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecisions
from aegis_gateway.entrypoints.people.door import is_for_people

Door = Callable[[Scope, HttpProtocol], Awaitable[None]]

_MODELS = "/v1/models"
_GEMINI = ("/v1beta/models", "/v1/models")
_GEMINI_KEY = "key="
_AZURE = "/openai/deployments/"
_AZURE_V1 = "/openai/v1/"


def _as_it_was(protocol: HttpProtocol) -> HttpProtocol:
    return protocol


class Route(NamedTuple):
    """A door, and the form that errors at it have. `counts`: whether it takes part in what the gateway can bear.

    `again` is how an answer that was given before is given again; `keeps`: whether what it answers to a named call is
    kept for that at all. `name` is what the door is called where requests are counted.
    """

    door: Door
    errors: ErrorForm = OPENAI
    counts: bool = True
    again: Callable[[HttpProtocol], HttpProtocol] = _as_it_was
    keeps: bool = True
    name: str = "other"


class Routes:
    """All doors, by where they are found."""

    def __init__(
        self,
        calls: Calls,
        upstream: Upstream,
        secrets: Secrets,
        decisions: ToolDecisions,
        estimates: Estimates,
        mcp: McpDoor,
        envoys: EnvoyAccess | None,
        people: Door | None = None,
        access: AccessRequests | None = None,
    ) -> None:
        """Build the doors."""

        def model_door(dialect: Dialect) -> ModelDoor:
            return ModelDoor(dialect, calls, upstream, secrets)

        self._connect = Route(ConnectDoor(calls, Directly(upstream, secrets)), name="connect")
        self._decisions = Route(DecisionsDoor(calls, decisions), name="decisions")
        self._estimates = Route(EstimatesDoor(calls, estimates))
        self._mcp = Route(mcp, mcp.errors, again=OwnId, name="mcp")
        self._authorization = _NOWHERE
        if envoys is not None:
            self._authorization = Route(AuthorizationDoor(calls, secrets, envoys), keeps=False, name="envoy")
        self._aegislib = Route(DecidingDoor(calls, decisions), AEGISLIB, keeps=False, name="aegislib")
        self._telemetry = Route(
            telemetry.TelemetryDoor(calls, decisions), AEGISLIB, keeps=False, name="aegislib"
        )
        self._runs = Route(RunsDoor(calls, decisions))
        self._approvals = _NOWHERE
        if calls.approvals is not None:
            self._approvals = Route(ApprovalsDoor(calls, calls.approvals), keeps=False)
        self._authzen = Route(
            AuthzenDoor(calls, decisions, estimates, access), AUTHZEN, keeps=False, name="authzen"
        )
        self._at_azure: dict[str, ModelDoor] = {
            "chat/completions": model_door(ChatDialect()),
            "embeddings": model_door(EmbeddingsDialect()),
        }
        self._openai: dict[str, ModelDoor] = {**self._at_azure, "responses": model_door(ResponsesDialect())}
        self._messages = {
            "messages": model_door(messages.MessagesDialect()),
            "messages/count_tokens": model_door(messages.CountTokensDialect()),
        }
        self._gemini: dict[str, ModelDoor] = {
            "generateContent": model_door(gemini.GeminiDialect("generateContent")),
            "streamGenerateContent": model_door(gemini.GeminiDialect("streamGenerateContent")),
            "countTokens": model_door(gemini.CountTokensDialect()),
        }
        self._people = _NOWHERE if people is None else Route(people, counts=False, keeps=False, name="people")
        self._openai_models = openai_listing(calls)
        self._anthropic_models = anthropic_listing(calls)
        self._gemini_models = gemini_listing(calls)
        self._fixed: dict[tuple[str, str], Route] = {
            ("GET", "/healthz"): Route(_healthy, counts=False),
            ("GET", "/readyz"): Route(partial(_ready, calls), counts=False),
            ("GET", CAPABILITIES): Route(CapabilitiesDoor(calls), AEGISLIB),
            ("GET", PRICING): Route(PricingDoor(calls), AEGISLIB),
            **{
                ("POST", prefix + path): Route(door, door.errors, name="models")
                for path, door in self._openai.items()
                for prefix in ("/v1/", _AZURE_V1)
            },
        }

    def of(self, scope: Scope) -> Route:
        """The route of a request: to a door of the data plane, or else to people's."""
        found = self._of(scope)
        return self._people if found is _NOWHERE and is_for_people(scope.path) else found

    def _of(self, scope: Scope) -> Route:
        path = scope.path
        found = self._fixed.get((scope.method, path))
        if found is not None:
            return found
        if path.startswith(CONNECT):
            return self._connect
        if path == MCP_PREFIX or path.startswith(f"{MCP_PREFIX}/"):
            return self._mcp
        if path.startswith(EXT_AUTHZ):
            return self._authorization
        if path == DECISIONS or path.startswith(f"{DECISIONS}/"):
            return self._decisions
        if path == ESTIMATES or path.startswith(f"{ESTIMATES}/"):
            return self._estimates
        if path == DECISION or path.startswith(f"{DECISION}/"):
            return self._aegislib
        if path.startswith(AUTHZEN_PREFIX) or path == AUTHZEN_CONFIGURATION:
            return self._authzen
        if path.startswith(telemetry.PREFIX):
            return self._telemetry
        if path == RUNS or path.startswith(f"{RUNS}/"):
            return self._runs
        if path.startswith(f"{APPROVALS}/"):
            return self._approvals
        if scope.method == "POST":
            return self._posted(scope)
        if scope.method == "GET" and path.startswith((*_GEMINI, f"{_AZURE_V1}models")):
            return self._listed(scope)
        return _NOWHERE

    def _posted(self, scope: Scope) -> Route:
        path = scope.path
        door = self._messages.get(path.removeprefix("/v1/"))
        if door is not None and path.startswith("/v1/"):
            return _at(door, Address(query=scope.query_string))
        if path.startswith(_AZURE):
            model, _, operation = path.removeprefix(_AZURE).partition("/")
            door = self._at_azure.get(operation)
            return _at(door, Address(model=model)) if door is not None and model else _NOWHERE
        for prefix in _GEMINI:
            if path.startswith(f"{prefix}/"):
                model, _, verb = path.removeprefix(f"{prefix}/").rpartition(":")
                door = self._gemini.get(verb)
                if door is not None and model:
                    return _at(door, Address(model=model, query=_without_key(scope.query_string)))
        return _NOWHERE

    def _listed(self, scope: Scope) -> Route:
        path = scope.path
        # Three APIs have their lists at one address: whose client asks is told by a header that is its own.
        if path.startswith(_GEMINI[0]):
            listing, prefix = self._gemini_models, _GEMINI[0]
        elif scope.headers.get("x-goog-api-key") is not None:
            listing, prefix = self._gemini_models, _MODELS
        elif scope.headers.get("anthropic-version") is not None:
            listing, prefix = self._anthropic_models, _MODELS
        elif path.startswith(_AZURE_V1):
            listing, prefix = self._openai_models, f"{_AZURE_V1}models"
        else:
            listing, prefix = self._openai_models, _MODELS
        rest = path.removeprefix(prefix)
        if rest and not rest.startswith("/"):
            return _NOWHERE
        return Route(partial(listing, name=rest[1:]), listing.errors)


def _at(door: ModelDoor, address: Address) -> Route:
    return Route(partial(door, address=address), door.errors, name="models")


def _without_key(query: str) -> str:
    """A query without the caller's key, which is for us and not for the upstream."""
    return "&".join(part for part in query.split("&") if part and not part.startswith(_GEMINI_KEY))


async def _healthy(_scope: Scope, protocol: HttpProtocol) -> None:
    protocol.response_bytes(200, [("content-type", "application/json")], b'{"status":"ok"}')


async def _ready(calls: Calls, _scope: Scope, protocol: HttpProtocol) -> None:
    """Says which configuration is in force here, and why, where it isn't the newest."""
    copy = calls.directory.copy
    ready: dict[str, object] = {"status": "ok", "config_version": copy.version}
    if copy.canary is not None:
        ready["canary_version"] = copy.canary
    if copy.warning:
        ready["warning"] = copy.warning
    protocol.response_bytes(200, [("content-type", "application/json")], msgspec.json.encode(ready))


async def _nowhere(scope: Scope, protocol: HttpProtocol) -> None:
    send_error(protocol, misunderstood(nothing_at(scope)))


_NOWHERE = Route(_nowhere)
