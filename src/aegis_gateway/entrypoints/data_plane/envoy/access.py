"""Who may ask as an Envoy: whoever shows the installation's Envoy token.

Rule: an answer to an Envoy has the connector's credential in it, which agents must never hold; so an agent's key alone
is answered nothing here, over HTTP or gRPC.
"""

from __future__ import annotations

import hmac
from importlib.util import find_spec

from aegis_gateway.application.ports import Secrets
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError

TOKEN_HEADER = "aegis-envoy-token"  # noqa: S105 - the header's name
TOKEN_CHARACTERS_MIN = 24

_PACKAGES = ("grpc", "google.protobuf")


class EnvoyAccess:
    """Tells whether whoever asks is one of the installation's Envoys."""

    def __init__(self, token: str) -> None:
        """Know the token."""
        self._token = token.encode()

    def is_given_by(self, shown: str | None) -> bool:
        """Whether what somebody shows is the token."""
        return hmac.compare_digest((shown or "").encode("utf-8", "surrogateescape"), self._token)


def envoy_access(settings: Settings, secrets: Secrets) -> EnvoyAccess | None:
    """Who may ask as an Envoy; None where Envoys aren't served.

    Raises:
        ConfigurationError: the token can't be read or is too short, or Envoys shall ask by gRPC and can't.
    """
    if settings.grpc_port is not None:
        _check_grpc(settings)
    if settings.envoy_token is None:
        return None
    token = secrets.resolve(settings.envoy_token)
    if len(token) < TOKEN_CHARACTERS_MIN or not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigurationError(
            f"AEGIS_ENVOY_TOKEN is `{settings.envoy_token}`, whose value is no token: it needs {TOKEN_CHARACTERS_MIN} "
            "printable ASCII characters or more, without spaces; `openssl rand -hex 32` makes one"
        )
    return EnvoyAccess(token)


def _check_grpc(settings: Settings) -> None:
    if settings.envoy_token is None:
        raise ConfigurationError(
            f"AEGIS_GRPC_PORT is `{settings.grpc_port}`, and nobody could ask there; say what Envoys show by "
            "AEGIS_ENVOY_TOKEN, as `env:NAME` or `file:PATH`"
        )
    if not all(_is_installed(package) for package in _PACKAGES):
        raise ConfigurationError(
            f"AEGIS_GRPC_PORT is `{settings.grpc_port}`, and what serves it isn't installed; run "
            "`pip install 'aegis-gateway[envoy]'`, or unset it"
        )
    if settings.grpc_port == settings.port:
        raise ConfigurationError(
            f"AEGIS_GRPC_PORT is `{settings.grpc_port}`, which is AEGIS_PORT; write another one"
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent isn't there either
        return False
