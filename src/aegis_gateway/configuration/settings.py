"""Settings of one process, read once from the environment, frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from aegis_gateway.configuration.telemetry import NO_TELEMETRY, TelemetrySettings, read_telemetry
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.trace_place import SPAN_ID, TRACE_ID

DEFAULT_STORE = "sqlite:aegis-data/aegis.db"
DEFAULT_PEPPER = "file:aegis-data/pepper"
DEFAULT_SIGNING_KEY = "file:aegis-data/signing-key.pem"
DEFAULT_PORT = 8700
DEFAULT_KEEP_ALIVE_S = 120
"""Longer than clients' pools and balancers keep a connection that they don't use, which is 90 s at most by default."""
KEEP_ALIVE_S_MAX = 86_400

_EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 - what is compared with, not listened on
_NOT_IN_URLS = re.compile(r"[^!#-;=?-\[\]_a-z~]")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is, how the door is served, and the references to the installation's pepper and signing key.

    `pepper` keys the hashes of API keys and of arguments; all replicas need the same one, and without it no key
    is valid any more. `signing_key` signs the configurations that are applied; a gateway runs on none that it, or a
    public key beside it, did not sign. `hosts` are the names by which MCP clients reach the gateway; without any, one
    that listens on this machine alone answers to its names, and another one to all. `envoy_token` is
    the reference to what Envoys show that ask here, which is off without it; `grpc_port` is where they ask by gRPC.
    `url` is where people find the gateway's pages, for the links that they are sent; without it, the address that it
    listens on. `keep_alive_s` is how long a connection may be idle, and how long the head of a request may take: the
    HTTP server has one clock for both. `telemetry` is off unless a receiver is named; `trace_url` is where a tracing
    backend shows a trace, with `{trace_id}` in it.
    """

    store: str = DEFAULT_STORE
    pepper: str = DEFAULT_PEPPER
    signing_key: str = DEFAULT_SIGNING_KEY
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    workers: int = 1
    hosts: tuple[str, ...] = ()
    envoy_token: str | None = None
    grpc_port: int | None = None
    url: str | None = None
    keep_alive_s: int = DEFAULT_KEEP_ALIVE_S
    telemetry: TelemetrySettings = NO_TELEMETRY
    trace_url: str | None = None

    @property
    def pages_url(self) -> str:
        """Where people find the pages, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{'127.0.0.1' if host in _EVERYWHERE else host}:{self.port}"

    @property
    def page_hosts(self) -> tuple[str, ...]:
        """The names under which the pages answer; none: see `hosts`."""
        named = (urlsplit(self.url).hostname or "",) if self.url else ()
        is_bound = self.hosts or self.host in ("localhost", "127.0.0.1", "::1")
        return (*self.hosts, *named) if is_bound else ()

    @property
    def data_directory(self) -> Path:
        """Where sockets and other files of a running gateway belong: beside a SQLite store."""
        if self.store.startswith("sqlite:"):
            return Path(self.store.removeprefix("sqlite:")).absolute().parent
        return Path("aegis-data").absolute()


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `AEGIS_STORE`, `AEGIS_PEPPER`, `AEGIS_SIGNING_KEY`, `AEGIS_HOST`, `AEGIS_PORT`, `AEGIS_WORKERS`,
    `AEGIS_HOSTS` (names, with commas between them), `AEGIS_KEEP_ALIVE_SECONDS`, `AEGIS_ENVOY_TOKEN`, `AEGIS_GRPC_PORT`,
    `AEGIS_URL` and `AEGIS_TRACE_URL`;
    telemetry from OpenTelemetry's own variables, by `read_telemetry`.

    Pepper and signing key are beside the store unless it is said where: keys are worth nothing without the pepper they
    were issued under, from whatever directory a command is run.

    Raises:
        ConfigurationError: a number is none, or out of range, an address is none, or telemetry is to be sent as it
            can't be.
    """
    variables = os.environ if environment is None else environment
    store = variables.get("AEGIS_STORE") or DEFAULT_STORE
    defaults = Settings(store=store)
    if store != DEFAULT_STORE:
        folder = defaults.data_directory
        defaults = Settings(
            store=store, pepper=f"file:{folder / 'pepper'}", signing_key=f"file:{folder / 'signing-key.pem'}"
        )
    by_grpc = bool(variables.get("AEGIS_GRPC_PORT"))
    return Settings(
        store=store,
        pepper=variables.get("AEGIS_PEPPER") or defaults.pepper,
        signing_key=variables.get("AEGIS_SIGNING_KEY") or defaults.signing_key,
        host=variables.get("AEGIS_HOST", "127.0.0.1"),
        port=_number(variables, "AEGIS_PORT", DEFAULT_PORT, 65_535),
        workers=_number(variables, "AEGIS_WORKERS", 1, 64),
        hosts=tuple(host.strip() for host in variables.get("AEGIS_HOSTS", "").split(",") if host.strip()),
        keep_alive_s=_number(variables, "AEGIS_KEEP_ALIVE_SECONDS", DEFAULT_KEEP_ALIVE_S, KEEP_ALIVE_S_MAX),
        envoy_token=variables.get("AEGIS_ENVOY_TOKEN") or None,
        url=_url(variables.get("AEGIS_URL")),
        trace_url=_trace_url(variables.get("AEGIS_TRACE_URL")),
        grpc_port=_number(variables, "AEGIS_GRPC_PORT", 0, 65_535) if by_grpc else None,
        telemetry=read_telemetry(variables),
    )


def _url(text: str | None) -> str | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigurationError(
            f"AEGIS_URL is `{text}`; write the address of the gateway's pages, as in https://aegis.example"
        )
    return text.rstrip("/")


def _trace_url(text: str | None) -> str | None:
    """An address with a place for a trace's id in it. Links lead there, so it is a page's and nothing else."""
    if not text:
        return None
    if TRACE_ID not in text or not _is_address(text.replace(TRACE_ID, "1").replace(SPAN_ID, "1"), text):
        raise ConfigurationError(
            f"AEGIS_TRACE_URL is `{text}`; write where your tracing backend shows a trace, with {{trace_id}} where its "
            "id belongs ({span_id} may be there too, and other braces are written %7B and %7D), as in "
            "https://traces.example/trace/{trace_id}"
        )
    return text


def _is_address(text: str, template: str) -> bool:
    """Whether a text is a page's address, at a host that is the same for all that the template makes."""
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0 and parts.username is None
        is_one_host = parts.netloc == urlsplit(template).netloc
    except ValueError:  # a port or a host that is none
        return False
    return parts.scheme in ("http", "https") and is_whole and is_one_host and not _NOT_IN_URLS.search(text)


def _number(variables: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = variables.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ConfigurationError(f"{name} is `{text}`; write a whole number from 1 to {most}")
    return int(text)
