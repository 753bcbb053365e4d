from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import ToolPrice
from aegis_gateway.domain.registry import Connector, ConnectorKind, Operation, Registry
from aegis_gateway.entrypoints.data_plane.aegislib.allowance import AGENTS_MAX, Allowance
from aegis_gateway.entrypoints.data_plane.aegislib.reports import read_span, report_of
from aegis_gateway.entrypoints.data_plane.tool_names import tool_named

CALL = "call_0123456789abcdef0123456789abcdef"


def registry(**operations: tuple[ConnectorKind, list[str]]) -> Registry:
    """A registry of connectors, each of a kind and with operations."""
    connectors = {
        id_: Connector(
            id=id_,
            kind=kind,
            base_url="",
            operations=tuple(Operation(id=name, method="", path="", price=ToolPrice()) for name in names),
        )
        for id_, (kind, names) in operations.items()
    }
    return Registry(
        tenant="acme", name="", zone="UTC", teams={}, projects={}, agents={}, connectors=connectors, models={},
        quantities={}, budgets={}, rates={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "short_name", "expected"),
    [
        ("desk.rank", False, "desk rank"),
        ("desk.rank", True, "desk rank"),
        ("rank", False, "is not configured here"),
        ("rank", True, "desk rank"),
        ("copy", True, "could be any of `desk.copy`, `lab.copy`"),
        ("lab.copy", True, "lab copy"),
        ("slack.post", True, "lab slack.post"),
        ("lab.slack.post", True, "lab slack.post"),
        ("lab.sum", True, "lab sum"),  # a full name comes before desk's `lab.sum`
        ("pay", True, "is not configured here"),
        ("bank.pay", True, "bank pay"),
        ("m", True, "is not configured here"),
        ("provider.m", True, "is not configured here"),
        ("", True, "is not configured here"),
    ],
)
def test_tools_have_full_and_short_names(name: str, short_name: bool, expected: str) -> None:
    """A full one is found first; a short one where only one local connector has it."""
    known = registry(
        desk=("local", ["rank", "copy", "lab.sum"]),
        lab=("local", ["copy", "slack.post", "sum"]),
        bank=("http", ["pay"]),
        provider=("openai", ["m"]),
    )
    found = tool_named(known, name, short_name=short_name)
    if isinstance(found, Reason):
        assert expected in found.message
    else:
        assert expected == f"{found[0].id} {found[1].id}"


def test_what_is_no_name_can_be_stored_all_the_same() -> None:
    """PostgreSQL takes no NUL, and nobody is to be shown what turns the rest of a line around."""
    found = tool_named(registry(), "a\0b\u202e\n" + "c" * 200)
    assert isinstance(found, Reason)
    assert "a?b??" + "c" * 123 == found.subject


def span(**fields: Any) -> msgspec.Raw:
    """A tool's span that has ended."""
    ended = {"span_id": "s-1", "status": "success", "end_time": "t", "decision_id": f"{CALL}.A-_="}
    return msgspec.Raw(msgspec.json.encode({**ended, **fields}))


def test_a_result_is_what_the_span_says_in_numbers() -> None:
    """Its own numbers before what the code said, and that before what was returned; exact, as they were sent."""
    raw = msgspec.Raw(
        b'{"span_id": "s-1", "trace_id": "t-1", "status": "error", "end_time": "t", "span_type": "tool",'
        b' "decision_id": "%s.A-_=",'
        b' "output": {"pages": 1, "rows": 12345678901234567890123, "cost_usd": 5}, "properties": {"pages": 0.10},'
        b' "cost_usd": 1e-05, "input_tokens": null}' % CALL.encode()
    )
    report = report_of(read_span(raw))
    assert report is not None
    assert (CALL, "A-_=") == (report.call, report.token)
    assert b'{"pages":0.10,"rows":12345678901234567890123,"cost_usd":1e-05}' == report.result
    assert "reported by span s-1 of trace t-1, which ended in error" == report.note


@pytest.mark.parametrize("output", ["text", [1], 5, True, None, {"a": {"b": 1}}])
def test_a_result_that_is_no_object_has_no_members(output: Any) -> None:
    """It settles all the same, by what else is said."""
    report = report_of(read_span(span(output=output, latency_ms=5)))
    assert report is not None
    members = output if isinstance(output, dict) else {}
    assert {**members, "latency_ms": 5} == json.loads(report.result)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"5",
        b"null",
        b"{}",
        b'{"span_id": 5}',
        b'{"span_id": "a b"}',
        b'{"span_id": "a", "trace_id": ""}',
        b"\xff",
        b"[" * 9_999,
    ],
)
def test_what_is_no_span(raw: bytes) -> None:
    """It is refused by itself."""
    with pytest.raises(CallError, match="the span"):
        read_span(msgspec.Raw(raw))


def test_an_allowance_comes_back_with_time() -> None:
    """Up to its burst, and for each agent by itself."""
    allowance = Allowance(per_s=10, burst=20)
    assert [True, False, True] == [allowance.takes("a", units, 0.0) for units in (15, 6, 5)]
    assert allowance.takes("b", 20, 0.0)
    assert [False, True, False] == [allowance.takes("a", units, 1.0) for units in (11, 10, 1)]
    assert [False, True] == [allowance.takes("a", units, 1_000.0) for units in (21, 20)]


def test_allowances_are_bounded() -> None:
    """Whose is whole again is forgotten, so that nothing grows with those who were here once."""
    allowance = Allowance(per_s=10, burst=20)
    for number in range(AGENTS_MAX):
        allowance.takes(number, 20, 0.0)
    assert not allowance.takes("new", 21, 1.0)
    assert allowance.takes("new", 20, 1.0)
    assert allowance.takes(0, 20, 5.0)
