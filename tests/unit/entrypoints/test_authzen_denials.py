"""Denials as their askers hold them: what is the same denial, and what is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aegis_gateway.adapters.sealing import AesSealer
from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.authzen.denials import Denial, Denials, digest_of
from aegis_gateway.entrypoints.data_plane.authzen.requests import AccessRequest, Evaluation, read

DENIAL = Denial("pep", "call_1", b"digest", "apr_1", 100)


def digest(*, kind: type[Evaluation] = Evaluation, **changed: Any) -> bytes:
    """The digest of an evaluation."""
    asked = {
        "subject": {"type": "agent", "id": "alice", "properties": {"act": {"sub": "x"}, "level": 2}},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "desk.note", "properties": {"n": 1.50}},
        "context": {"arguments": {"b": 5, "a": [1, True, None]}, "time": "now"},
        **changed,
    }
    return digest_of(read(kind, msgspec.json.encode(asked)))


def test_the_same_however_it_is_written() -> None:
    """Names' order, the form of a number, who acts, other context, and being a request for access change nothing."""
    assert digest() == digest(context={"arguments": {"a": [1.0, True, None], "b": 5.00}, "why": "x"})
    assert digest() == digest(subject={"type": "agent", "id": "alice", "properties": {"level": 2e0}})
    assert digest() == digest(kind=AccessRequest, denial={"binding_token": "x"})


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": {"type": "agent", "id": "alice"}},
        {"action": {"name": "invoke"}},
        {"resource": {"type": "tool", "id": "desk.note"}},
        {"context": {"arguments": {"b": "5", "a": [1, True, None]}}},
        {"context": {"arguments": {"b": 5, "a": [1, 1, None]}}},
        {"context": {"arguments": {"b": 5, "a": [1, True]}}},
        {"context": {"arguments": {"b": 5, "a": [1, True, None]}, "aegis": {"customer": "c"}}},
        {"context": {}},
    ],
)
def test_anything_else_is_another(changed: dict[str, Any]) -> None:
    """Another subject, action, resource, argument or customer."""
    assert digest() != digest(**changed)


def test_what_is_nested_too_deeply_is_told() -> None:
    """It is a request that can't be understood, and no fault of the gateway."""
    deep = msgspec.Raw(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}")
    with pytest.raises(CallError):
        digest(context={"arguments": deep})


def test_a_denial_is_held_sealed() -> None:
    """It is opened in its tenant alone, and only as it was given."""
    denials = Denials(AesSealer(b"p" * 32))
    token = denials.seal("acme", DENIAL)
    assert DENIAL == denials.open("acme", token)
    broken = (token[:-6] + "AAAAA=", token[1:], "", "é", "a" * 100)
    assert [None] * 6 == [denials.open("zeta", token), *(denials.open("acme", each) for each in broken)]
