"""What digests tell, put together from what is kept: for the steward, which sends them, and for people who look now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aegis_gateway.adapters.digest_figures import DigestFigures
from aegis_gateway.adapters.shadow_figures import shadow_figures
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.digest_content import digest_message
from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.message import Message
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.shadow_digest import shadow_message
from aegis_gateway.domain.window import Window


def message_of_digest(
    store: Store,
    registry: Registry,
    policies: Iterable[Policy],
    digest: Digest,
    window: Window,
    pages_url: str,
    missing: Sequence[Window] = (),
) -> Message:
    """The message of a digest about a period, as things stand now."""
    if digest.what == "shadow":
        return shadow_message(digest, shadow_figures(store, registry, policies, window, missing), pages_url)
    figures = DigestFigures(store, registry).of(digest, window, store.clock_ns(), missing)
    return digest_message(digest, figures, pages_url)
