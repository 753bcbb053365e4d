"""Connections on which nothing is asked: the gateway closes them when its setting says so, and not before."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.gateways import HOST, WAIT_S, Gateway, configuration

pytestmark = pytest.mark.xdist_group("idle-connections")

KEEP_ALIVE_S = 2
REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """One that keeps idle connections for a moment."""
    environment = {"AEGIS_KEEP_ALIVE_SECONDS": str(KEEP_ALIVE_S)}
    with Gateway(configuration("http://127.0.0.1:9"), environment=environment) as gateway:
        yield gateway


def answered(connection: socket.socket) -> None:
    """Ask, and read the answer."""
    connection.sendall(REQUEST)
    answer = b""
    while b'{"status":"ok"}' not in answer:
        piece = connection.recv(4_096)
        assert piece, "it was closed before it answered"
        answer += piece


@pytest.mark.parametrize("said", [b"", REQUEST[:9]], ids=["idle", "half a head"])
@pytest.mark.parametrize("asked", [0, 2])
def test_a_connection_is_kept_as_long_as_it_is_said(gateway: Gateway, asked: int, said: bytes) -> None:
    """From its last answer on, or from when it was made; what has come of a next request gives it no more time."""
    with socket.create_connection((HOST, gateway.settings.port), timeout=WAIT_S) as connection:
        for _ in range(asked):
            answered(connection)
        began = time.monotonic()
        connection.sendall(said)
        assert b"" == connection.recv(1)
        assert KEEP_ALIVE_S - 0.2 < time.monotonic() - began < KEEP_ALIVE_S + 5
