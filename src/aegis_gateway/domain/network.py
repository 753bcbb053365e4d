"""Which addresses an upstream may have: what keeps a name from leading into the operator's own network.

Rule 1: what is link-local (where clouds tell credentials to whoever asks), unspecified, multicast or reserved is no
        upstream, whatever is configured.
Rule 2: an address that wraps another one (IPv4 within IPv6) is judged as the one it wraps.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Literal

Network = Literal["public", "private"]
NETWORKS: tuple[Network, ...] = ("public", "private")

_REMEMBERED_MAX = 1_024

_CLOUD_METADATA = IPv6Address("fd00:ec2::254")
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


@lru_cache(_REMEMBERED_MAX)
def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is written as; None for a name, and for odd spellings, which are resolved as names."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


@lru_cache(_REMEMBERED_MAX)
def may_connect(address: str, network: Network) -> bool:
    """Whether an upstream in a network may have an address. Private is the operator's word that it may be any."""
    found = literal(address)
    if found is None:
        return False
    found = _unwrapped(found)
    if found.is_link_local or found.is_multicast or found.is_unspecified or found == _CLOUD_METADATA:
        return False
    if found.is_reserved and not found.is_loopback:
        return False
    return network == "private" or found.is_global


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    wrapped = address.ipv4_mapped or address.sixtofour
    if wrapped is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)):
        wrapped = IPv4Address(int(address) & 0xFFFF_FFFF)
    return wrapped or address
