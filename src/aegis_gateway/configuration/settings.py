"""Settings of one process, read once from the environment, frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from aegis_gateway.domain.errors import ConfigurationError

DEFAULT_STORE = "sqlite:aegis-data/aegis.db"
DEFAULT_PEPPER = "file:aegis-data/pepper"
DEFAULT_PORT = 8700


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is, how the door is served, and the reference to the installation's pepper.

    `pepper` keys the hashes of API keys and of arguments; all replicas need the same one, and without it no key
    is valid any more.
    """

    store: str = DEFAULT_STORE
    pepper: str = DEFAULT_PEPPER
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    workers: int = 1

    @property
    def data_directory(self) -> Path:
        """Where sockets and other files of a running gateway belong: beside a SQLite store."""
        if self.store.startswith("sqlite:"):
            return Path(self.store.removeprefix("sqlite:")).absolute().parent
        return Path("aegis-data").absolute()


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `AEGIS_STORE`, `AEGIS_PEPPER`, `AEGIS_HOST`, `AEGIS_PORT` and `AEGIS_WORKERS`.

    The pepper is beside the store unless it is said where: keys are worth nothing without the one they were
    issued under, from whatever directory a command is run.

    Raises:
        ConfigurationError: a number is none, or out of range.
    """
    variables = os.environ if environment is None else environment
    store = variables.get("AEGIS_STORE") or DEFAULT_STORE
    beside = (
        DEFAULT_PEPPER
        if store == DEFAULT_STORE
        else f"file:{Settings(store=store).data_directory / 'pepper'}"
    )
    return Settings(
        store=store,
        pepper=variables.get("AEGIS_PEPPER") or beside,
        host=variables.get("AEGIS_HOST", "127.0.0.1"),
        port=_number(variables, "AEGIS_PORT", DEFAULT_PORT, 65_535),
        workers=_number(variables, "AEGIS_WORKERS", 1, 64),
    )


def _number(variables: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = variables.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ConfigurationError(f"{name} is `{text}`; write a whole number from 1 to {most}")
    return int(text)
