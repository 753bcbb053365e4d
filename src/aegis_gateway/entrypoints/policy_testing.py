"""Runs tests of policies: a made-up call goes the way of a real one, as far as the policies' verdict.

Rule: nothing here reads, prices or judges by itself. A test that passes says what the gateway would decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.judgement import Circumstances, Describe, Described, judgement_of
from aegis_gateway.configuration.policy_tests import Expectation, PolicyTest, operation_of
from aegis_gateway.domain.decision import Verdict
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.registry import ConnectorKind, Operation
from aegis_gateway.entrypoints.data_plane import connect
from aegis_gateway.entrypoints.data_plane.models.call import describe
from aegis_gateway.entrypoints.data_plane.models.dialect import Address
from aegis_gateway.entrypoints.dialects import DIALECTS

_API_OF_KIND: dict[ConnectorKind, str] = {
    "openai": "chat",
    "azure": "chat",
    "anthropic": "messages",
    "gemini": "gemini",
}
_HELLO = [{"role": "user", "content": "hello"}]
_REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {"messages": _HELLO},
    "responses": {"input": "hello"},
    "messages": {"messages": _HELLO, "max_tokens": 64},
    "gemini": {"contents": [{"parts": [{"text": "hello"}]}]},
    "embeddings": {"input": "hello"},
}
"""What a model is asked where a test does not say."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a test came to: the decision, the names of what decided, and the words a caller would read."""

    test: PolicyTest
    effect: Expectation
    names: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether it was decided as expected, and because of all that the test names."""
        return self.effect == self.test.expect and set(self.test.because) <= set(self.names)

    @property
    def expected(self) -> str:
        """What the test expects: `deny because of payment-ceiling`."""
        because = f" because of {', '.join(self.test.because)}" if self.test.because else ""
        return f"{self.test.expect}{because}"

    @property
    def decided(self) -> str:
        """What was decided, by what, in which words."""
        names = f" by {', '.join(self.names)}" if self.names else ""
        return f"{self.effect}{names}: {'; '.join(self.words)}"


def run(tests: Iterable[PolicyTest], view: TenantView) -> list[Outcome]:
    """Run one tenant's tests against its registry and policies, as if they were enforced where they are not."""
    view = msgspec.structs.replace(view, registry=msgspec.structs.replace(view.registry, proxy=None))
    return [_outcome(test, view) for test in tests]


def _outcome(test: PolicyTest, view: TenantView) -> Outcome:
    try:
        verdict = _verdict(test, view)
    except CallError as fault:
        field = (fault.field,) if fault.field else ()
        return Outcome(test=test, effect="error", names=field, words=(str(fault),))
    reasons = (*verdict.reasons, *verdict.asks)
    names = tuple(name for reason in reasons for name in (reason.subject, reason.code) if name)
    words = tuple(reason.message for reason in verdict.asks or verdict.reasons)
    effect: Expectation = "deny" if not verdict.permits else "require_approval" if verdict.asks else "allow"
    return Outcome(test=test, effect=effect, names=names, words=words)


def _verdict(test: PolicyTest, view: TenantView) -> Verdict:
    agent = view.registry.agents[test.agent]
    circumstances = Circumstances(
        now_ns=_instant_ns(test, view), customer=test.customer, depth=test.depth, utilisation=test.utilisation
    )
    return judgement_of(view, agent, _describing(test, view), circumstances).verdict


def _instant_ns(test: PolicyTest, view: TenantView) -> int:
    there = test.at.replace(tzinfo=ZoneInfo(view.registry.zone))
    return int(there.timestamp()) * 1_000_000_000


def _describing(test: PolicyTest, view: TenantView) -> Describe[Described]:
    """How the door that the call would come through describes it."""
    found = operation_of(view.registry, test.call)
    if found is not None:
        connector, operation = found
        segments, query, body = _asked(operation, test.args)
        return lambda view, _model, redactions: connect.describe(
            view, connector, operation.method, segments, query, body, redactions
        )
    assert test.model is not None, "a test of a model names it"
    api = test.api or _api(test, view)
    dialect = DIALECTS[api]
    fields = {"model": test.model, **_REQUESTS[api], **test.request}
    request = dialect.parse(Address(model=test.model), _encode(fields))
    return lambda view, model, redactions: describe(view, dialect, request, model, redactions)


def _api(test: PolicyTest, view: TenantView) -> str:
    """The API that a model's connector speaks."""
    if test.call == "embed":
        return "embeddings"
    assert test.model is not None, "a test of a model names it"
    connector = view.registry.models[test.model].connector
    return _API_OF_KIND[view.registry.connectors[connector].kind]


def _asked(operation: Operation, args: dict[str, Any]) -> tuple[list[str], str, bytes]:
    """Path, query and body of a request with such arguments. What stands in the path and is not given is `x`."""
    places: dict[str, dict[str, Any]] = {"body": {}, "query": {}, "path": {}}
    for argument in operation.arguments:
        if argument.name in args:
            root, *way, last = argument.source
            place = places[root]
            for name in way:
                place = place.setdefault(name, {})
            place[last] = args[argument.name]
    template = operation.path.strip("/").split("/")
    segments = [
        str(places["path"].get(part[1:-1], "x")) if part.startswith("{") and part.endswith("}") else part
        for part in template
    ]
    query = urlencode({name: str(value) for name, value in places["query"].items()})
    return segments, query, _encode(places["body"]) if places["body"] else b""
