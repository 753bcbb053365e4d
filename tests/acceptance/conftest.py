"""What many acceptance tests stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled providers and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream
