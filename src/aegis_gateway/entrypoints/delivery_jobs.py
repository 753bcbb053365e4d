"""The steward's jobs that pass notices on to channels, and send them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aegis_gateway.application.delivery_ports import ChannelSender
from aegis_gateway.application.jobs import Job, Work
from aegis_gateway.application.ports import Store
from aegis_gateway.application.tracing import Observer
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.in_force import InForce

PASSING_PERIOD_S = 0.2

Registries = Callable[[], Mapping[str, Registry]]


def delivery_jobs(settings: Settings, in_force: InForce, observer: Observer | None = None) -> tuple[Job, ...]:
    """What passes notices on and sends them; `observer` is told which requests are over."""

    def registries() -> Mapping[str, Registry]:
        return {tenant: view.registry for tenant, view in in_force().items()}

    return (
        Job(
            name="passing on",
            period_s=PASSING_PERIOD_S,
            begin=lambda store: _passing(store, registries, settings, observer),
        ),
        Job(name="delivering", period_s=PASSING_PERIOD_S, begin=lambda store: _delivering(store, registries)),
    )


def _passing(store: Store, registries: Registries, settings: Settings, observer: Observer | None) -> Work:
    from aegis_gateway.application.passing import Passing

    return Passing(store, registries, settings.pages_url, observer)


def _delivering(store: Store, registries: Registries) -> Work:
    import random

    from aegis_gateway.application.delivering import Delivering

    return Delivering(store, lambda tenant, name: _sender(registries, tenant, name), random.random)


def _sender(registries: Registries, tenant: str, name: str) -> ChannelSender | None:
    from aegis_gateway.adapters.channels.opening import open_channel
    from aegis_gateway.adapters.clock import SystemClock
    from aegis_gateway.adapters.secrets import ReferencedSecrets

    registry = registries().get(tenant)
    channel = registry.channels.get(name) if registry is not None else None
    return None if channel is None else open_channel(channel, ReferencedSecrets(), SystemClock())
