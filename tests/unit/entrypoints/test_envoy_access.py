"""Who may ask as an Envoy, and what has to be there to serve Envoys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aegis_gateway.adapters.secrets import ReferencedSecrets
from aegis_gateway.configuration.settings import Settings, read_settings
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.entrypoints.data_plane.envoy.access import EnvoyAccess, envoy_access

TOKEN = "0123456789abcdef01234567"


def settings(tmp_path: Path, token: str | None = TOKEN, grpc_port: int | None = 8701) -> Settings:
    """Settings with a token in a file."""
    if token is None:
        return Settings(grpc_port=grpc_port)
    file = tmp_path / "token"
    file.write_text(token)
    return Settings(grpc_port=grpc_port, envoy_token=f"file:{file}")


def test_who_shows_the_token(tmp_path: Path) -> None:
    """The token and nothing else."""
    access = envoy_access(settings(tmp_path), ReferencedSecrets())
    assert access is not None
    assert access.is_given_by(TOKEN)
    assert [False] * 5 == [
        access.is_given_by(each) for each in (None, "", TOKEN[:-1], f"{TOKEN}x", "\udc80é")
    ]


def test_off_without_a_token(tmp_path: Path) -> None:
    """Where no token is set, no Envoy is served."""
    assert None is envoy_access(settings(tmp_path, None, None), ReferencedSecrets())


@pytest.mark.parametrize("token", ["short", "x" * 23, "with a space in the middle", "ümlaut" * 6])
def test_tokens_that_are_none(tmp_path: Path, token: str) -> None:
    """A short or odd token is refused without being repeated."""
    with pytest.raises(ConfigurationError, match="is no token") as found:
        envoy_access(settings(tmp_path, token), ReferencedSecrets())
    assert token not in str(found.value)


def test_a_grpc_port_without_a_token(tmp_path: Path) -> None:
    """Nobody could ask there."""
    with pytest.raises(ConfigurationError, match="AEGIS_ENVOY_TOKEN"):
        envoy_access(settings(tmp_path, None), ReferencedSecrets())


def test_the_same_port_twice(tmp_path: Path) -> None:
    """Two servers can't share a port."""
    with pytest.raises(ConfigurationError, match="which is AEGIS_PORT"):
        envoy_access(settings(tmp_path, grpc_port=8700), ReferencedSecrets())


def test_settings() -> None:
    """Both are off unless set, and an empty variable is none."""
    assert (None, None) == (read_settings({}).envoy_token, read_settings({}).grpc_port)
    given = {"AEGIS_ENVOY_TOKEN": "env:T", "AEGIS_GRPC_PORT": "8701"}
    assert ("env:T", 8701) == (read_settings(given).envoy_token, read_settings(given).grpc_port)
    assert None is read_settings({"AEGIS_GRPC_PORT": "", "AEGIS_ENVOY_TOKEN": ""}).grpc_port
    with pytest.raises(ConfigurationError, match="AEGIS_GRPC_PORT is `no`"):
        read_settings({"AEGIS_GRPC_PORT": "no"})


WITHOUT_THE_EXTRA = """
import sys
sys.modules.update({"grpc": None, "google.protobuf": None})
import aegis_gateway.entrypoints.worker
from aegis_gateway.adapters.secrets import ReferencedSecrets
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.entrypoints.data_plane.envoy.access import envoy_access
assert envoy_access(Settings(envoy_token="env:TOKEN"), ReferencedSecrets()) is not None
try:
    envoy_access(Settings(envoy_token="env:TOKEN", grpc_port=8701), ReferencedSecrets())
except ConfigurationError as fault:
    print(fault)
"""


def test_without_the_extra() -> None:
    """The gateway is whole without gRPC, ext_authz over HTTP included; a gRPC port says what to install."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        env={"TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "" == done.stderr
    assert "pip install 'aegis-gateway[envoy]'" in done.stdout


def test_access_knows_only_what_it_was_given() -> None:
    """Two installations' tokens are two."""
    assert not EnvoyAccess(TOKEN).is_given_by(TOKEN[::-1])
