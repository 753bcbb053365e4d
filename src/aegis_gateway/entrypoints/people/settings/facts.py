"""How a tenant and the gateway are set up, in words, each with where it is changed. No secret is among them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import msgspec

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.application.directory import TenantView
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import Delivery
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.fiscal import CALENDAR_YEAR
from aegis_gateway.domain.people import Grant, Person
from aegis_gateway.domain.registry import Registry

_TESTS_LOOKED_AT = 50
_OTLP = {"grpc": "http://localhost:4317", "http/protobuf": "http://localhost:4318"}


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: what it is, how it stands, and what changes it (a key of `aegis.yaml`, a variable, a command)."""

    name: str
    value: str
    changed_by: str


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """A channel, and the last test of it that was asked for."""

    id: str
    kind: str
    place: str
    test: Delivery | None


def tenant_facts(view: TenantView) -> list[Fact]:
    """What holds in a tenant."""
    registry = view.registry
    return [
        Fact(name="name", value=registry.name, changed_by="name"),
        Fact(name="time zone", value=registry.zone, changed_by="timezone"),
        Fact(name="currency", value=_currencies(registry), changed_by="currencies"),
        Fact(name="years", value=_years(registry), changed_by="fiscal_year"),
        Fact(name="data stays in", value=", ".join(registry.regions) or "anywhere", changed_by="regions"),
        Fact(
            name="what widens",
            value="needs the word of two people" if registry.four_eyes else "needs one person’s word",
            changed_by="changes",
        ),
        Fact(
            name="in shadow first",
            value=f"for {duration_text(registry.shadow_for_ns)}" if registry.shadow_for_ns else "not needed",
            changed_by="changes",
        ),
        Fact(name="in force", value=f"version {view.config_version}", changed_by="aegis apply DIR"),
    ]


def channel_lines(registry: Registry, reports: DeliveryReports) -> list[ChannelLine]:
    """A tenant's channels."""
    found = []
    for name, channel in sorted(registry.channels.items()):
        told = reports.deliveries(registry.tenant, _TESTS_LOOKED_AT, None, name)
        test = next((each for each in told if each.kind == "test"), None)
        found.append(ChannelLine(id=name, kind=channel.kind, place=_place(channel), test=test))
    return found


def gateway_facts(settings: Settings, variables: Mapping[str, str]) -> list[Fact]:
    """What holds for all tenants."""
    return [
        Fact(name="version", value=_version(), changed_by="the package aegis-gateway"),
        Fact(name="address of the pages", value=settings.pages_url, changed_by="AEGIS_URL"),
        Fact(
            name="metrics",
            value=f"{settings.pages_url}/metrics, for a person’s token that may read",
            changed_by="docs/metrics.md",
        ),
        Fact(
            name="telemetry",
            value=_telemetry(settings, variables),
            changed_by="OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        Fact(name="store", value=urlsplit(settings.store).scheme.partition("+")[0], changed_by="AEGIS_STORE"),
        Fact(
            name="kept",
            value="the record, calls and their sums for good; sessions and links for a day after they end",
            changed_by="",
        ),
    ]


def grants_in(person: Person, tenant: str) -> list[Grant]:
    """The roles that somebody has in a tenant."""
    return [each for each in person.grants if each.tenant in (tenant, "*")]


def _currencies(registry: Registry) -> str:
    others = ", ".join(sorted(registry.currencies))
    return f"US dollars; limits also in {others}" if others else "US dollars"


def _years(registry: Registry) -> str:
    return "calendar years" if registry.year_starts == CALENDAR_YEAR else "fiscal years of its own"


def _place(channel: Channel) -> str:
    """Where it leads, as far as that is no secret: the address of a webhook can be one, and is told by its host."""
    if channel.recipients:
        return ", ".join(channel.recipients)
    return channel.place or urlsplit(channel.address).hostname or ""


def _telemetry(settings: Settings, variables: Mapping[str, str]) -> str:
    wanted = settings.telemetry
    if not wanted:
        return "off"
    told = []
    for signal, protocol in (("traces", wanted.traces), ("metrics", wanted.metrics)):
        if protocol is not None:
            named = variables.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT") or variables.get(
                "OTEL_EXPORTER_OTLP_ENDPOINT"
            )
            parts = urlsplit(named or _OTLP.get(protocol, ""))
            port = f":{parts.port}" if parts.port else ""
            told.append(f"{signal} to {parts.hostname or 'its receiver'}{port}")
    return " and ".join(told)


def _version() -> str:
    try:
        return version("aegis-gateway")
    except PackageNotFoundError:
        return "unknown"
