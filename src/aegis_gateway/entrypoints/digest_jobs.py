"""The steward's job that makes digests when they are due."""

from __future__ import annotations

from collections.abc import Sequence

from aegis_gateway.application.jobs import Job, Work
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.message import Message
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.window import Window
from aegis_gateway.entrypoints.in_force import InForce, has_word

PERIOD_S = 20.0


def digest_jobs(settings: Settings, in_force: InForce) -> tuple[Job, ...]:
    """What makes digests."""
    return (Job(name="digests", period_s=PERIOD_S, begin=lambda store: _digests(settings, in_force, store)),)


def _digests(settings: Settings, in_force: InForce, store: Store) -> Work:
    def content(registry: Registry, digest: Digest, window: Window, missing: Sequence[Window]) -> Message:
        from aegis_gateway.entrypoints.digests import message_of_digest

        policies = in_force()[registry.tenant].policies.rules.values()
        return message_of_digest(store, registry, policies, digest, window, settings.pages_url, missing)

    def work() -> bool:
        if has_word(store, "digests"):
            from aegis_gateway.adapters.delivery_reports import DeliveryReports
            from aegis_gateway.application.digesting import Digesting

            registries = {tenant: view.registry for tenant, view in in_force().items()}
            Digesting(store, lambda: registries, DeliveryReports(store.rows).last_digest, content)()
        return False

    return work
