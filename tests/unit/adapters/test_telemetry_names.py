"""The names of what spans say: those in the docs are those that are sent, and the conventions' are the conventions'."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, mcp_attributes
from opentelemetry.semconv.attributes import error_attributes

from aegis_gateway import bootstrap
from aegis_gateway.adapters.telemetry.attributes import call_attributes, named
from aegis_gateway.adapters.telemetry.meters import Meters
from aegis_gateway.adapters.telemetry.spans import OtelObserver
from aegis_gateway.application.commands import Admit, Admitted, ApprovalNote, Moved
from aegis_gateway.application.runs import Delegator, Runs
from aegis_gateway.application.tracing import AnswerOrigin, CallAsked
from aegis_gateway.domain.approval import Approval, ApprovalAnswer
from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.decision import Reason, Shadow, Verdict
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import KINDS, charge_line
from tests.gateways import configuration
from tests.ledgers import ATTRIBUTION, admission
from tests.unit.adapters.test_span_ends import Spans

DOCS = Path(__file__).parents[3] / "docs" / "telemetry.md"
NEWER = {
    "gen_ai.usage.audio.input_tokens",
    "gen_ai.usage.audio.output_tokens",
    "gen_ai.usage.image.input_tokens",
    "gen_ai.usage.video.input_tokens",
}
"""Names of the GenAI conventions' own repository that the package hasn't yet."""
PROPOSED = {
    "gen_ai.usage.cost",
    "gen_ai.usage.cost.amount",
    "gen_ai.usage.cost.currency",
    "gen_ai.usage.cost.source",
}
PLAIN = {
    "cost_per_call",
    "tool_name",
    "decision",
    "agent_id",
    "decision_reason",
    "estimated_cost",
    "parent_agent_id",
    "approval_id",
    "policy_version",
}
REASON = Reason(code="permitted", message="policy `p` permits this")
APPROVAL = Approval(
    id="apr_0",
    tenant="acme",
    kind="call",
    requester="bot",
    about="api.pay",
    route=Route(),
    policies=("ask",),
    policy_version="p1",
    expected_nano_usd=5,
    sequence=1,
    created_ns=1,
    deadline_ns=2,
    state="granted",
    answers=(ApprovalAnswer(by="ben", behind=("ben",), kind="grant", reason="yes", at_ns=2, via="page"),),
)


def asked(**attribution: Any) -> CallAsked:
    """A call of which everything is known that can be."""
    registry = bootstrap.configuration(configuration("http://127.0.0.1:9")).registries["acme"]
    who = msgspec.structs.replace(
        ATTRIBUTION,
        **{
            "project": "p",
            "region": "eu",
            "run": "run_1",
            "parent": "call_0",
            "depth": 1,
            "asked_by": "boss",
            "downgraded_from": "gpt-4o-mini",
            **attribution,
        },
    )
    verdict = Verdict(effect="allow", reasons=(REASON,), shadow=(Shadow(rule="s", would="deny"),))
    command: Admit = admission("call_1", attribution=who, verdict=verdict)
    return CallAsked(command=command, registry=registry, mcp={})


def sent() -> set[str]:
    """The names on spans of all kinds, each with all that it can say."""
    spans = Spans()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(spans)
    observer = OtelObserver(tracers, Meters(MeterProvider(shutdown_on_exit=False), "test"), lambda: None)
    model = asked(connector="provider", tool="chat", model="gpt-4o-mini")
    tool = msgspec.structs.replace(
        asked(connector="api", tool="api.pay", model=None),
        mcp={"mcp.method.name": "tools/call", "mcp.protocol.version": "2026-07-28"},
    )
    note = ApprovalNote(id="apr_0", state="granted", deadline_ns=1)
    admitted = Admitted(
        call="call_1",
        effect="allow",
        reasons=(REASON,),
        sequence=1,
        state="dispatched",
        maximum={"usd": 9},
        wait_ns=5_000_000,
        approval=note,
    )
    kinds = (*KINDS, "stated")
    lines = tuple(charge_line(kind, 3, "token", UnitPrice(nano_usd=2), "v1") for kind in kinds)
    evidence = Evidence(source="usage", lines=lines)
    moved = Moved(call="call_1", state="settled", sequence=2, cost_nano_usd=9, overrun=True)
    for each in (model, tool):
        whole = observer.begin(None)
        whole.asked(each)
        whole.decided(admitted)
        whole.answered(AnswerOrigin(model="m", id="i"))
        whole.settled(evidence, moved, 1)
        for end in ("undecided", "repeated"):
            none = observer.begin(None)
            none.asked(each)
            assert none.trace is not None
            getattr(none, end)("call_0")
        handed = observer.begin(None)
        handed.asked(each)
        handed.decided(admitted)
        handed.handed_over()
        handed.settled(evidence, moved, 1)
        lost = observer.begin(None)
        lost.asked(each)
        lost.decided(admitted)
        lost.lost("in doubt")
    observer.approval_ended(APPROVAL, 3)
    assert (0, 2 * 6 + 1) == (spans.live, len(spans.ended))
    return {name for span in spans.ended for name in span.attributes or {}}


def documented() -> set[str]:
    """The names in the docs' table."""
    section = DOCS.read_text().partition("## What a span says\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.fixture(scope="module")
def names() -> set[str]:
    """The names on spans of all kinds."""
    return sent()


def test_the_docs_have_every_name_and_no_other(names: set[str]) -> None:
    """Whoever looks a name up finds it, and whoever builds on one gets it."""
    assert names == documented()


def test_the_conventions_names_are_those_of_the_conventions(names: set[str]) -> None:
    """Each of theirs is in the package that has them, is newer, or is said to be proposed; none is outdated."""
    known = {
        value
        for module in (gen_ai_attributes, mcp_attributes, error_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    theirs = {name for name in names if name.startswith(("gen_ai.", "mcp.", "error."))}
    assert set() == theirs - known - NEWER - PROPOSED
    assert set() == (NEWER | PROPOSED) & known, "the package has them by now"
    assert set() == theirs & {"gen_ai.system", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"}


def test_the_plain_names_are_there(names: set[str]) -> None:
    """Those that dashboards were promised."""
    assert set() == PLAIN - names


@pytest.mark.parametrize(("asked_by", "parent"), [("boss", "boss"), (None, "lead")])
def test_the_agent_above_is_who_asked_or_who_delegated(asked_by: str | None, parent: str) -> None:
    """Whoever asks in another's name goes before whoever delegated the run; of a run of one's own there is none."""
    runs = Runs(b"pepper", lambda length: bytes(length))
    own = runs.open("acme", "lead", "key_1", 1)
    delegated = runs.delegate(
        "acme", own, Delegator(agent="lead", key="key_1"), "bot", parent=None, depth=1, now_ns=2
    )
    call = asked(run=delegated.id, asked_by=asked_by)
    assert parent == call_attributes(call, named(call, "allow"))["parent_agent_id"]
    alone = asked(run=own.id, asked_by=None)
    assert "parent_agent_id" not in call_attributes(alone, named(alone, "allow"))
