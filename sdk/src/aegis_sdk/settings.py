"""Where the gateway is, whose key is used, and how patient to be with it."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aegis_sdk.errors import InvalidRequest, Unauthorized

URL_VARIABLE = "AEGIS_URL"
KEY_VARIABLE = "AEGIS_API_KEY"
URL = "http://127.0.0.1:8700"
TIMEOUT_S = 10.0
"""How long one call of a client may take in all, attempts and pauses between them included."""
ATTEMPTS_MAX = 3
EXIT_TIMEOUT_S = 5.0
"""How long the end of the process waits for what is still to be told to the gateway."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach the gateway.

    `prefix` stands before each path of the API. `ssl_context` is what an `https` gateway is checked by; the system's
    authorities if left out.
    """

    scheme: str
    host: str
    port: int
    prefix: str
    api_key: str = field(repr=False)
    timeout_s: float = TIMEOUT_S
    attempts_max: int = ATTEMPTS_MAX
    exit_timeout_s: float = EXIT_TIMEOUT_S
    ssl_context: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        """Where the gateway is, in words."""
        return f"{self.scheme}://{self.host}:{self.port}{self.prefix}"

    def tls(self) -> ssl.SSLContext | None:
        """What the gateway's certificate is checked by; None where there is none."""
        if self.scheme != "https":
            return None
        return self.ssl_context or ssl.create_default_context()

    @property
    def head(self) -> str:
        """The headers that every request has."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"Host: {host}:{self.port}\r\nAuthorization: Bearer {self.api_key}\r\nAccept: application/json\r\n"


def read_settings(
    url: str | None,
    api_key: str | None,
    *,
    timeout_s: float = TIMEOUT_S,
    attempts_max: int = ATTEMPTS_MAX,
    exit_timeout_s: float = EXIT_TIMEOUT_S,
    ssl_context: ssl.SSLContext | None = None,
) -> Settings:
    """What is given, or else what the environment says.

    Raises:
        InvalidRequest: the address is none, or a number is no sensible one.
        Unauthorized: there is no key, or it can't be one.
    """
    url = url or os.environ.get(URL_VARIABLE) or URL
    key = api_key or os.environ.get(KEY_VARIABLE) or ""
    if not key:
        raise Unauthorized(f"there is no API key; give `api_key`, or set {KEY_VARIABLE}")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Unauthorized("the API key has characters that no key has; is it one line?")
    if not timeout_s > 0 or attempts_max < 1 or not exit_timeout_s >= 0:
        raise InvalidRequest(
            "`timeout_s` has to be above 0, `exit_timeout_s` not below, `attempts_max` at least 1"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise InvalidRequest(f"`{url}` is no address: {fault}; write it as in {URL}", field="url") from fault
    host = parts.hostname or ""
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not plain or parts.query or parts.fragment:
        raise InvalidRequest(f"`{url}` is no address of a gateway; write it as in {URL}", field="url")
    if parts.username is not None:
        raise InvalidRequest("the address has a user in it; the key goes into `api_key`", field="url")
    return Settings(
        scheme=parts.scheme,
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        prefix=parts.path.rstrip("/"),
        api_key=key,
        timeout_s=timeout_s,
        attempts_max=attempts_max,
        exit_timeout_s=exit_timeout_s,
        ssl_context=ssl_context,
    )
