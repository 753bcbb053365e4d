"""Connectors and models for the dialects' tests."""

from __future__ import annotations

from aegis_gateway.domain.registry import Connector, ConnectorKind, Model


def connector(kind: ConnectorKind) -> Connector:
    """An upstream of a kind."""
    version = "2024-10-21" if kind == "azure" else ""
    return Connector(id="c", kind=kind, base_url="http://upstream.example/v1", api_version=version)


def model(upstream: str = "u") -> Model:
    """A model that the upstream knows by a name."""
    return Model(id="m", connector="c", upstream=upstream, price=None)
