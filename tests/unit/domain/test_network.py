from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.network import literal, may_connect

NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fd00:ec2::254",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
]
PRIVATE = [
    "127.0.0.1",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fd12::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
]
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"]


@pytest.mark.parametrize("address", NEVER)
def test_addresses_that_no_upstream_has(address: str) -> None:
    """Whatever is configured, and however they are wrapped."""
    assert (False, False) == (may_connect(address, "public"), may_connect(address, "private"))


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_ones_own_network(address: str) -> None:
    """Only where the operator says that the upstream is there."""
    assert (False, True) == (may_connect(address, "public"), may_connect(address, "private"))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """Everywhere."""
    assert (True, True) == (may_connect(address, "public"), may_connect(address, "private"))


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "a.example", ""]
)
def test_odd_spellings_are_names(host: str) -> None:
    """What isn't written as addresses are is looked up like any name, and what comes of that is judged."""
    assert None is literal(host)
    assert not may_connect(host, "private")


@given(st.ip_addresses())
def test_public_is_within_private(address: object) -> None:
    """What may be connected to in public may be in private."""
    assert may_connect(str(address), "private") or not may_connect(str(address), "public")
