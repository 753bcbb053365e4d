"""What one installation runs on: its store and secrets, the ways out of it, what telemetry is made by."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aegis_gateway.adapters.balances import StoredBalances
from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.adapters.faults import FaultyStore, FaultyUpstream, break_disk, planted_fault
from aegis_gateway.adapters.named_calls import StoredNamedCalls
from aegis_gateway.adapters.reading import Reading
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.sealing import AesSealer
from aegis_gateway.adapters.secrets import ReferencedSecrets
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.adapters.upstream import PyreqwestUpstream
from aegis_gateway.application.ports import Clock, Signatures, Store, Upstream
from aegis_gateway.application.tracing import Observer
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError

_PEPPER_BYTES = 32


def system_clock() -> Clock:
    """The machine's clock."""
    return SystemClock()


def ledger_store(settings: Settings) -> Store:
    """The store for the process that keeps the ledger, with the fault of a drill, if one is asked for.

    Raises:
        StoreError: it cannot be opened.
        ConfigurationError: it is no fault.
    """
    fault = planted_fault(os.environ)
    if fault is None:
        return store(settings)
    break_disk(fault)
    return cast(Store, FaultyStore(store(settings), fault))


def store(settings: Settings, *, read_only: bool = False) -> Store:
    """The store that the settings name.

    Raises:
        StoreError: it cannot be opened.
    """
    # Without a clock of ours, each store takes its own: PostgreSQL's is one for all gateways.
    return open_store(settings.store, None, read_only=read_only)


def pepper(settings: Settings) -> bytes:
    """The installation's pepper; a file that does not exist yet is made, readable by its owner only.

    Raises:
        ConfigurationError: it cannot be read, or is shorter than 32 bytes.
    """
    _make_once(settings.pepper, lambda: secrets.token_hex(_PEPPER_BYTES))
    value = ReferencedSecrets().resolve(settings.pepper).encode()
    if len(value) < _PEPPER_BYTES:
        raise ConfigurationError(
            f"`{settings.pepper}` is shorter than {_PEPPER_BYTES} characters; make it longer"
        )
    return value


def signatures(settings: Settings, *, make: bool = False) -> Signatures:
    """What signs configurations and verifies them. With `make`, a key's file that does not exist yet is made.

    Raises:
        ConfigurationError: there is no key, or it is none.
    """
    from aegis_gateway.adapters.signing import Ed25519Signatures, new_private_key

    if make:
        _make_once(settings.signing_key, new_private_key)
    try:
        pem = ReferencedSecrets().resolve(settings.signing_key)
    except ConfigurationError as fault:
        words = "AEGIS_SIGNING_KEY says where the key is that configurations are signed with"
        raise ConfigurationError(f"{fault} {words}; all gateways of one database need the same") from fault
    return Ed25519Signatures(pem, settings.signing_key)


def _make_once(reference: str, make: Callable[[], str]) -> None:
    """Make the file of a secret that isn't there yet, readable by its owner only. Two that do so at once make one."""
    kind, _, name = reference.partition(":")
    path = Path(name)
    if kind != "file" or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


def observer(settings: Settings) -> Observer | None:
    """What spans and metrics are made by, for one process; None where no telemetry is sent.

    Raises:
        ConfigurationError: what sends it isn't installed, or can't be set up as the variables say.
    """
    wanted = settings.telemetry
    if not wanted:
        return None
    check_telemetry(settings)
    from aegis_gateway.adapters.telemetry.otlp import otlp_observer

    try:
        return otlp_observer(wanted.traces, wanted.metrics)
    except ValueError as fault:
        raise ConfigurationError(f"telemetry can't be sent as the OTEL_… variables say: {fault}") from fault


def check_telemetry(settings: Settings) -> None:
    """Make sure that what sends telemetry is installed where it is wanted, without loading it.

    Raises:
        ConfigurationError: it isn't.
    """
    if settings.telemetry and not _is_installed("opentelemetry.sdk", "opentelemetry.exporter.otlp"):
        raise ConfigurationError(
            "telemetry is wanted (OTEL_…), and what sends it isn't installed; install `aegis-gateway[otel]`, or unset "
            "those variables"
        )


def _is_installed(*modules: str) -> bool:
    try:
        return all(importlib.util.find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:
        return False


def reading(settings: Settings) -> Reading:
    """A connection that is only read from, opened when something is."""
    return Reading(lambda: store(settings, read_only=True))


def named_calls(settings: Settings) -> StoredNamedCalls:
    """What is known of calls that their callers named."""
    return StoredNamedCalls(reading(settings).query)


def reports(settings: Settings) -> Reports:
    """What is asked of the record while a gateway runs."""
    return Reports(reading(settings).query)


def balances(settings: Settings) -> StoredBalances:
    """What stands of budgets and rates, for those who only look."""
    return StoredBalances(reading(settings).query)


def sealer(settings: Settings) -> AesSealer:
    """What encrypts kept answers."""
    return AesSealer(pepper(settings))


def upstream() -> Upstream:
    """The way to the upstreams."""
    fault = planted_fault(os.environ)
    return PyreqwestUpstream() if fault is None else FaultyUpstream(PyreqwestUpstream(), fault)


def reference_secrets() -> ReferencedSecrets:
    """What resolves references to secrets."""
    return ReferencedSecrets()
