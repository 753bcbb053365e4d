"""`aegis up`: the gateway, in this terminal until it is stopped."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.entrypoints.cli.configuration import (
    against,
    checked,
    put_in_force,
    show_warnings,
)
from aegis_gateway.entrypoints.cli.options import StoreOption
from aegis_gateway.entrypoints.cli.output import GOOD, STRONG, out, say
from aegis_gateway.entrypoints.cli.session import Session, check_pepper, opened, settings_for

READY_WITHIN_S = 20.0

_ASK_INTERVAL_S = 0.02
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - only told apart here, not listened on


def up(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="A configuration to apply first.", show_default=False),
    ] = None,
    store: StoreOption = None,
    host: Annotated[
        str | None, typer.Option(envvar="AEGIS_HOST", help="Where to listen.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(envvar="AEGIS_PORT", min=1, max=65_535, help="Where to listen.", show_default="8700"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            envvar="AEGIS_WORKERS", min=1, max=64, help="How many processes serve.", show_default="1"
        ),
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            envvar="AEGIS_GRPC_PORT",
            min=1,
            max=65_535,
            help="Where Envoys ask by gRPC; needs AEGIS_ENVOY_TOKEN, and `aegis-gateway[envoy]` installed.",
            show_default="off",
        ),
    ] = None,
) -> None:
    """Run the gateway until Ctrl-C, after applying a configuration if one is given.

    Prints one line with its address when it is ready. Exit code 1 says that the port is in use, or that another
    gateway keeps this store.
    """
    given = {
        "AEGIS_HOST": host,
        "AEGIS_PORT": port,
        "AEGIS_WORKERS": workers,
        "AEGIS_GRPC_PORT": grpc_port,
    }
    settings = settings_for(store, **{name: str(value) for name, value in given.items() if value is not None})
    _check_port(settings.host, settings.port, "--port")
    _check_envoys(settings)
    with opened(store, writable=True) as session:
        if session.state.canary is not None:
            session.verify()
            if directory is not None:
                say(f"canary {session.state.canary.version} is under way, so `{directory}` is not applied")
        elif directory is not None:
            _apply(session, directory)
        elif session.state.config is None:
            say("no configuration is in force yet, so every call is refused; `aegis apply DIR` applies one")
        else:
            session.verify()
        check_pepper(session)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")

    from aegis_gateway.entrypoints.supervisor import Supervisor

    supervisor = Supervisor(settings)
    threading.Thread(target=_tell_when_ready, args=(settings,), daemon=True).start()
    supervisor.run()
    say("stopped")


def _apply(session: Session, directory: Path) -> None:
    found = against(session, checked(directory))
    version = put_in_force(session, found)
    show_warnings(found)
    if isinstance(version, Proposal):
        say(f"proposal {version.number} is made: `{directory}` wants a second person's word")
        say("what was in force before goes on; `aegis proposals` shows what waits")
        return
    how = found.summary or "no change in what decides"
    say(f"configuration {version.version} is in force" + (f": {how}" if found.is_new else ", as before"))


def _check_envoys(settings: Settings) -> None:
    """Find out now whether Envoys can be served as the settings want it.

    Raises:
        ConfigurationError: they can't.
    """
    from aegis_gateway import bootstrap
    from aegis_gateway.entrypoints.data_plane.envoy.access import envoy_access

    envoy_access(settings, bootstrap.reference_secrets())
    if settings.grpc_port is not None:
        _check_port(settings.host, settings.grpc_port, "--grpc-port")


def _check_port(host: str, port: int, option: str) -> None:
    """Find out now whether a port is free: workers share theirs, and would quietly share a stranger's too.

    Raises:
        ConfigurationError: it is not, or the address is not one of this machine's.
    """
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as fault:
        words = (fault.strerror or "it failed").lower()
        raise ConfigurationError(
            f"cannot listen on {where}: {words}; stop what does, or say another place with {option} or --host"
        ) from fault


def _tell_when_ready(settings: Settings) -> None:
    """Ask the gateway itself until it answers, and say where it is."""
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if _is_ready(host, settings.port):
            shown = f"[{settings.host}]" if ":" in settings.host else settings.host
            address = f"http://{shown}:{settings.port}"
            out().print(Text.assemble(("ready ", GOOD), "at ", (address, STRONG), "; Ctrl-C stops it"))
            return
        time.sleep(_ASK_INTERVAL_S)
    say(f"not ready after {READY_WITHIN_S:.0f} s; what the gateway says above tells why")


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
