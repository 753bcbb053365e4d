"""`aegis doctor`: whether what is stored, what runs and what both stand on is in order.

Rule: it changes nothing, and finds out as much as it can: a check that fails does not keep others from being made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
import typer
from rich.text import Text

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.application.ports import GatewayRow
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption
from aegis_gateway.entrypoints.cli.output import DIM, GOOD, WARNING, out, print_json, utc
from aegis_gateway.entrypoints.cli.session import Session, opened

WRONG = 3

SEEN_WITHIN_NS = 15 * 1_000_000_000
"""A gateway process tells what it runs every few seconds; one that was not heard of for longer hangs, or is cut off."""
TAKEN_OVER_WITHIN_NS = 5 * 1_000_000_000
CLOCKS_APART_NS_MAX = 2 * 1_000_000_000
PASSED_WITHIN_NS = 60 * 1_000_000_000
"""A steward passes notices on several times in a second."""
PRICES_AGE_DAYS = 180
DISK_FREE_BYTES_MIN = 1024**3

_DIGEST_SHOWN = 12

State = Literal["ok", "warning", "wrong"]
Found = Iterator[tuple[State, str]]

_SIGNS = {"ok": ("✓", GOOD), "warning": ("!", WARNING), "wrong": ("✗", "red")}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, and what was found."""

    name: str
    state: State
    message: str


def doctor(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check the installation: version and digest in force against what each gateway process runs, clock, store, pepper,
    signing key, what Envoys need, whether people are told of notices, prices, disk.

    Exit code 3 says that something is wrong, and the line with ✗ what to do.
    """
    with opened(store) as session:
        checks = [check for name, look in _LOOKS for check in _looked(name, look, session)]
        gateways = session.reports.gateways()
        now_ns = session.store.clock_ns()
    if as_json:
        print_json(
            {
                "ok": all(check.state != "wrong" for check in checks),
                "checks": checks,
                "gateways": [
                    {**msgspec.structs.asdict(each), "seen_seconds_ago": (now_ns - each.seen_ns) // 10**9}
                    for each in gateways
                ],
            }
        )
    else:
        for check in checks:
            out().print(Text.assemble(_SIGNS[check.state], f" {check.name:<12} ", (check.message, "")))
        for each in gateways:
            canary = f", canary {each.canary}" if each.canary is not None else ""
            words = f"configuration {each.version} ({each.digest[:_DIGEST_SHOWN]}){canary}"
            out().print(Text(f"  {each.process}  {words}, up since {utc(each.started_ns)}", style=DIM))
    if any(check.state == "wrong" for check in checks):
        raise typer.Exit(WRONG)


def _looked(name: str, look: Callable[[Session], Found], session: Session) -> Iterator[Check]:
    try:
        for state, message in look(session):
            yield Check(name=name, state=state, message=message)
    except AegisError as fault:
        yield Check(name=name, state="wrong", message=str(fault))


def _version(session: Session) -> Found:
    config, canary = session.state.config, session.state.canary
    if config is None:
        yield (
            "warning",
            "no configuration is in force yet, so every call is refused; `aegis apply DIR` applies one",
        )
        return
    session.verify()
    beside = f"; canary {canary.version} decides for some" if canary is not None else ""
    yield "ok", f"configuration {config.version} ({config.bundle_digest[:_DIGEST_SHOWN]}) is in force{beside}"


def _gateways(session: Session) -> Found:
    config, canary = session.state.config, session.state.canary
    gateways, now_ns = session.reports.gateways(), session.store.clock_ns()
    if not gateways:
        yield "warning", "no gateway process runs; `aegis up` starts some"
    for each in gateways:
        words = _gateway_problem(each, now_ns)
        if words is None and config is not None:
            newest_ns = (canary or config).applied_ns
            runs = (each.version, each.canary, each.digest)
            wanted = (config.version, canary.version if canary else None, config.bundle_digest)
            if runs != wanted and each.seen_ns - newest_ns > TAKEN_OVER_WITHIN_NS:
                words = (
                    f"runs configuration {each.version} ({each.digest[:_DIGEST_SHOWN]}), not what is stored"
                )
        yield (
            ("ok", f"{each.process} runs what is stored")
            if words is None
            else ("wrong", f"{each.process} {words}")
        )


def _gateway_problem(gateway: GatewayRow, now_ns: int) -> str | None:
    if gateway.warning:
        return gateway.warning
    age_ns = now_ns - gateway.seen_ns
    if age_ns > SEEN_WITHIN_NS:
        return f"was not heard of for {age_ns // 10**9} s; is it stopped, or does it hang?"
    return None


def _clock(session: Session) -> Found:
    apart_ns = abs(session.store.clock_ns() - session.clock.now_ns())
    if apart_ns > CLOCKS_APART_NS_MAX:
        yield (
            "wrong",
            f"the database's clock and this machine's are {apart_ns / 10**9:.1f} s apart; set them by NTP",
        )
    last_ns = session.reports.last_ns()
    ahead_ns = last_ns - session.store.clock_ns()
    if ahead_ns > CLOCKS_APART_NS_MAX:
        yield (
            "wrong",
            f"the clock fell back: the record goes to {utc(last_ns)}, {ahead_ns / 10**9:.1f} s from now",
        )
    elif apart_ns <= CLOCKS_APART_NS_MAX:
        yield "ok", "the clock is not behind the record"


def _store(session: Session) -> Found:
    kind = "SQLite" if session.settings.store.startswith("sqlite:") else "PostgreSQL"
    said = session.store.durability()
    for name, value in said.items():
        if value != "ok":
            yield (
                "wrong",
                f"{kind}: {name} is {value}; a commit may not be on disk, or a record can be changed",
            )
    if all(value == "ok" for value in said.values()):
        yield "ok", f"{kind}: {', '.join(said)} are as they must be"


def _pepper(session: Session) -> Found:
    from aegis_gateway.adapters.secrets import ReferencedSecrets

    ReferencedSecrets().resolve(session.settings.pepper)
    yield "ok", f"`{session.settings.pepper}` is there"


def _signing_key(session: Session) -> Found:
    from aegis_gateway import bootstrap

    key = bootstrap.signatures(session.settings).public_key
    yield "ok", f"`{session.settings.signing_key}` is there, public key id {key[:16]}"


def _envoys(session: Session) -> Found:
    from aegis_gateway.adapters.secrets import ReferencedSecrets
    from aegis_gateway.entrypoints.data_plane.envoy.access import envoy_access

    settings = session.settings
    if envoy_access(settings, ReferencedSecrets()) is None:
        yield "ok", "no Envoys are served; AEGIS_ENVOY_TOKEN says what those would show that ask here"
    elif settings.grpc_port is None:
        yield "ok", "Envoys may ask over HTTP (ext_authz); AEGIS_GRPC_PORT says where they may ask by gRPC"
    else:
        yield (
            "ok",
            f"Envoys may ask over HTTP (ext_authz), and by gRPC (ext_authz, ext_proc) at port {settings.grpc_port}",
        )


def _telemetry(session: Session) -> Found:
    """Whether spans and metrics would be sent under this command's variables; the gateway's may be others."""
    from aegis_gateway.bootstrap import check_telemetry

    wanted = session.settings.telemetry
    check_telemetry(session.settings)
    sent = [
        f"{signal} by {protocol}"
        for signal, protocol in (("spans", wanted.traces), ("metrics", wanted.metrics))
        if protocol is not None
    ]
    yield (
        "ok",
        f"OpenTelemetry gets {' and '.join(sent)}"
        if sent
        else "no telemetry is sent; OTEL_EXPORTER_OTLP_ENDPOINT says where to",
    )


def _programs(session: Session) -> Found:
    """The MCP servers that are programs: whether they are installed here, where the gateways may run too."""
    if session.state.config is None:
        return
    try:
        registries = session.configuration.registries.values()
    except AegisError:
        return  # which is told of the version
    connectors = [
        connector
        for registry in registries
        for connector in registry.connectors.values()
        if connector.command
    ]
    missing = [each for each in connectors if shutil.which(each.command[0]) is None]
    for connector in missing:
        words = f"MCP server `{connector.id}` is the program `{connector.command[0]}`, which is not installed here"
        yield "warning", f"{words}; it has to be where the gateway runs"
    if connectors and not missing:
        yield "ok", f"all MCP servers that are programs ({len(connectors)}) are installed"


def _notices(session: Session) -> Found:
    """Whether people hear of what they are to hear of."""
    reports, now_ns = DeliveryReports(session.store.rows), session.store.clock_ns()
    oldest_ns = reports.oldest_notice_ns()
    is_late = oldest_ns is not None and now_ns - oldest_ns > PASSED_WITHIN_NS
    if oldest_ns is not None and is_late:
        waits_s = (now_ns - oldest_ns) // 10**9
        yield (
            "wrong" if session.reports.gateways() else "warning",
            f"a notice waits since {waits_s} s to be passed on, as a steward does that `aegis up` starts; see its log",
        )
    dead = {tenant: reports.count(tenant, "dead") for tenant in sorted(session.state.tenants)}
    for tenant in filter(dead.get, dead):
        how = f"`aegis notifications --dead --tenant {tenant}` says why"
        yield "warning", f"{dead[tenant]} of `{tenant}` could not be sent; {how}"
    if not is_late and not any(dead.values()):
        yield "ok", "notices are passed on, and none was given up"


def _prices(_session: Session) -> Found:
    from aegis_gateway import bootstrap

    version, days = bootstrap.prices_age()
    if days is None or days > PRICES_AGE_DAYS:
        age = "of an unknown day" if days is None else f"{days} days old"
        yield (
            "warning",
            f"the newest price of {version} is {age}; newer ones come with a newer Aegis, or state them",
        )
    else:
        yield "ok", f"the newest price of {version} is {days} days old"


def _disk(session: Session) -> Found:
    folder = session.settings.data_directory
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    words = f"{free / 1024**3:.1f} GiB are free at `{folder}`"
    yield (
        ("ok", words)
        if free >= DISK_FREE_BYTES_MIN
        else ("wrong", f"{words}; without room nothing is decided")
    )


_LOOKS: tuple[tuple[str, Callable[[Session], Found]], ...] = (
    ("version", _version),
    ("gateways", _gateways),
    ("clock", _clock),
    ("store", _store),
    ("pepper", _pepper),
    ("signing key", _signing_key),
    ("envoys", _envoys),
    ("telemetry", _telemetry),
    ("programs", _programs),
    ("notices", _notices),
    ("prices", _prices),
    ("disk", _disk),
)
