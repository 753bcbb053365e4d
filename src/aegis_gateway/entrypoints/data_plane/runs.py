"""Runs, opened and ended as such: one session of an agent, on budgets of its own, or in another agent's name.

POST   /v1/runs               open one
DELETE /v1/runs/{id}          end it, and what was delegated in it; nothing is called in them any more
POST   /v1/runs/{id}/outcome  report what became of it (`outcomes.py`)

`{}` opens one for oneself. `{"parent": "call_…", "agent": "researcher"}` delegates one: below a call of one's own, to
an agent, which then sends its id as `Aegis-Run-Id` with its own key; `run` in place of `parent` delegates from a run of
one's own. The same `name` is the same run. The answer: `run` (its id), `agent`, `root`, `parent`, `depth`, `expires`.

What is called in a delegated run counts on the budgets of those who delegated it as well, and on the budgets for each
run of the run that its tree began with.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from aegis_gateway.application.callers_runs import RunAsked
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.runs import NAME_CHARACTERS_MAX, KnownRun, recorded_run
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    nothing_at,
    read_body,
    send_error,
)
from aegis_gateway.entrypoints.data_plane.outcomes import report_of
from aegis_gateway.entrypoints.data_plane.refusals import run_refused
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecisions
from aegis_gateway.entrypoints.data_plane.wire import body_as, json_type

RUNS = "/v1/runs"

_JSON = [("content-type", "application/json")]
_PATH = re.compile(r"/v1/runs/(run_[0-9A-Za-z_-]{36,2048})(/outcome)?")

_encode = msgspec.json.Encoder().encode


class RunRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A run to open."""

    agent: str | None = None
    parent: str | None = None
    run: str | None = None
    name: str | None = None


class RunsDoor:
    """Opens and ends runs."""

    def __init__(self, calls: Calls, decisions: ToolDecisions) -> None:
        """Build the door on the use cases; `decisions` find a caller's calls."""
        self._calls = calls
        self._decisions = decisions

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        await self._calls.callers.identify(key)
        raw = await read_body(scope, protocol)
        if raw:
            json_type(scope.headers)
        match = _PATH.fullmatch(scope.path)
        if (scope.method, scope.path) == ("POST", RUNS):
            await self._open(scope, protocol, key, raw)
        elif scope.method == "DELETE" and match is not None and match[2] is None:
            await self._end(protocol, key, match[1])
        elif scope.method == "POST" and match is not None and match[2] is not None:
            await self._tell_outcome(protocol, key, match[1], raw)
        else:
            raise nothing_at(scope)

    async def _open(self, scope: Scope, protocol: HttpProtocol, key: str | None, raw: bytes) -> None:
        asked = body_as(RunRequest, raw or b"{}")
        name = asked.name if asked.name is not None else scope.headers.get("idempotency-key")
        if name is not None and not (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()):
            raise CallError(f"a name has 1 to {NAME_CHARACTERS_MAX} printable characters", field="name")
        above = None if asked.parent is None else await self._above(key, asked.parent, asked.run)
        opened = await self._calls.runs.open(
            key,
            RunAsked(agent=asked.agent, run=asked.run, parent=asked.parent, above=above, name=name),
        )
        if opened.effect != "allow":
            send_error(protocol, run_refused(opened.reasons))
            return
        run = opened.run
        answer: dict[str, Any] = {
            "run": run.id,
            "agent": run.agent,
            "root": run.scope,
            "parent": run.parent,
            "depth": run.depth,
            "expires": time_text(run.over_ns),
        }
        protocol.response_bytes(200, [*_JSON, ("aegis-run-id", run.id)], _encode(answer))

    async def _above(self, key: str | None, parent: str, run: str | None) -> KnownRun:
        """The run that a call of the caller's is of.

        Raises:
            CallError: the caller made no such call, or it wasn't allowed, or it is of another run than is said.
        """
        found = await self._decisions.find_own(key, parent[:128])
        if found.effect != "allow":
            raise CallError(
                f"call `{found.call}` was refused, and nothing is delegated below it",
                status=403,
                field="parent",
            )
        if run is not None and run != found.run:
            raise CallError(f"call `{found.call}` is of another run", field="run")
        return recorded_run(found.run or "")

    async def _end(self, protocol: HttpProtocol, key: str | None, run: str) -> None:
        ended = await self._calls.runs.end(key, run)
        state = "ended" if ended.is_counted else "not_counted"
        protocol.response_bytes(200, _JSON, _encode({"run": run, "state": state, "below": ended.below}))

    async def _tell_outcome(self, protocol: HttpProtocol, key: str | None, run: str, raw: bytes) -> None:
        report = report_of(raw)
        told = await self._calls.runs.tell_outcome(key, run, report)
        answer = {
            "run": run,
            "outcome": report.result or None,
            "state": told.state,
            "counted": told.is_counted,
        }
        protocol.response_bytes(200, _JSON, _encode(answer))
