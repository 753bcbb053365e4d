"""Settings of a process: the address of a tracing backend, which links in pages are made of; idle connections."""

from __future__ import annotations

import pytest

from aegis_gateway.configuration.settings import read_settings
from aegis_gateway.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    "text",
    [
        "https://traces.example/trace/{trace_id}",
        "http://127.0.0.1:16686/trace/{trace_id}?uiFind={span_id}",
        "https://g.example/explore?left=%7B%22q%22:%22{trace_id}%22%7D&orgId=1#it's",
        "https://[::1]:3000/a/{trace_id}",
    ],
)
def test_an_address_of_traces(text: str) -> None:
    """It is taken as it stands; without one there are no links."""
    assert text == read_settings({"AEGIS_TRACE_URL": text}).trace_url
    assert read_settings({}).trace_url is None
    assert read_settings({"AEGIS_TRACE_URL": ""}).trace_url is None


@pytest.mark.parametrize(
    "text",
    [
        "https://traces.example/trace",
        "https://traces.example/{traceid}",
        "https://traces.example/{trace_id}/{other}",
        "https://traces.example/{{trace_id}}",
        "https://{trace_id}.example/",
        "https://{trace_id}@traces.example/",
        "https://me:pass@traces.example/{trace_id}",
        "traces.example/{trace_id}",
        "javascript:alert('{trace_id}')",
        "data:text/html,{trace_id}",
        "https:///{trace_id}",
        "https://traces.example:99999/{trace_id}",
        'https://traces.example/{trace_id}"onclick="x',
        "https://traces.example/{trace_id}\n",
        "https://traces.example/ {trace_id}",
        "https://trâces.example/{trace_id}",
        "https://[::1/{trace_id}",
    ],
)
def test_what_is_no_address_of_traces(text: str) -> None:
    """It is told at the start, with how to write one."""
    with pytest.raises(ConfigurationError, match="AEGIS_TRACE_URL is `") as fault:
        read_settings({"AEGIS_TRACE_URL": text})
    assert "as in https://traces.example/trace/{trace_id}" in str(fault.value)


LONGEST_POOL_S = 90
"""How long clients keep a connection that they don't use, by default: Go's and Rust's so long, others less."""


def test_how_long_connections_may_be_idle() -> None:
    """Longer than those before the gateway keep them, unless it is said how long."""
    assert LONGEST_POOL_S < read_settings({}).keep_alive_s
    assert 620 == read_settings({"AEGIS_KEEP_ALIVE_SECONDS": "620"}).keep_alive_s
    for text in ("0", "soon", "86401"):
        with pytest.raises(ConfigurationError, match="AEGIS_KEEP_ALIVE_SECONDS is `"):
            read_settings({"AEGIS_KEEP_ALIVE_SECONDS": text})
