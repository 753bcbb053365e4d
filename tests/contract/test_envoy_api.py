"""What is declared of Envoy's API is Envoy's: its own stubs, which share no environment with ours, have the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis_gateway.entrypoints.data_plane.envoy.api import (
    BUFFERED,
    MESSAGES,
    CheckRequest,
    ProcessingRequest,
    ProcessingResponse,
    message_class,
)
from tests.clients import run_client

SCRIPT = Path(__file__).parents[1] / "envoy_clients" / "fields.py"


def test_fields_are_envoys() -> None:
    """Each field has the number, name, type and form that Envoy's stubs give it."""
    theirs = json.loads(run_client("envoy", SCRIPT, *MESSAGES, env={}))
    missing = {
        name: sorted(ours)
        for name, fields in MESSAGES.items()
        if (ours := {tuple(field) for field in fields} - {tuple(field) for field in theirs[name]})
    }
    assert {} == missing


def test_unknown_fields_are_skipped() -> None:
    """What an Envoy says beside what is declared is no fault."""
    message = CheckRequest()
    message.attributes.request.http.method = "GET"
    unknown = bytes([15 << 3 | 2, 3]) + b"new"
    assert (
        "GET" == CheckRequest.FromString(message.SerializeToString() + unknown).attributes.request.http.method
    )


def test_maps_and_structs() -> None:
    """Maps of texts and of structs are read as such."""
    message = ProcessingRequest()
    message.attributes["filter"].update({"response.code_details": "via_upstream"})
    message.protocol_config.request_body_mode = BUFFERED
    read = ProcessingRequest.FromString(message.SerializeToString())
    assert {"response.code_details": "via_upstream"} == dict(read.attributes["filter"])
    assert BUFFERED == read.protocol_config.request_body_mode


@pytest.mark.parametrize("data", [b"\xff", b"\x12\x05ab", b"\x0a\xff\xff\xff\xff\x0f"])
def test_what_is_no_message(data: bytes) -> None:
    """Bytes that are no message are a fault, never half a message."""
    kind = message_class("envoy.service.ext_proc.v3.ProcessingRequest")
    with pytest.raises(Exception, match=r"(?i)parsing|decod|protobuf"):
        kind.FromString(data)


def test_a_word_without_changes_is_still_a_word() -> None:
    """An empty answer to a part says that it may go on; no answer at all would say nothing."""
    response = ProcessingResponse()
    response.request_headers.response.SetInParent()
    assert b"" != response.SerializeToString()
