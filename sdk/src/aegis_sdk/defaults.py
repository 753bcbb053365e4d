"""The clients that are meant where none is named: those of the environment, made when they are first used."""

from __future__ import annotations

import os

from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.settings import KEY_VARIABLE, URL_VARIABLE, Settings, read_settings

_Variables = tuple[str | None, str | None]


class _Defaults:
    """One pair of clients for each address and key that the environment has named."""

    def __init__(self) -> None:
        self._settings: dict[_Variables, Settings] = {}
        self._clients: dict[Settings, Aegis] = {}
        self._async_clients: dict[Settings, AsyncAegis] = {}

    def settings(self) -> Settings:
        variables = (os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE))
        known = self._settings.get(variables)
        return known if known is not None else self._settings.setdefault(variables, read_settings(None, None))

    def client(self, of: Settings) -> Aegis:
        # `setdefault` alone would do; looking first spares making a client for each call.
        known = self._clients.get(of)
        return known if known is not None else self._clients.setdefault(of, Aegis.of(of))

    def async_client(self, of: Settings) -> AsyncAegis:
        known = self._async_clients.get(of)
        return known if known is not None else self._async_clients.setdefault(of, AsyncAegis.of(of))


_defaults = _Defaults()


def client_for(given: Aegis | AsyncAegis | None) -> Aegis:
    """The client for threads that is meant: the one given, or one with its settings, or the environment's.

    Raises:
        AegisError: the environment names no key, or an address that is none.
    """
    if isinstance(given, Aegis):
        return given
    return _defaults.client(given.settings if given is not None else _defaults.settings())


def async_client_for(given: Aegis | AsyncAegis | None) -> AsyncAegis:
    """The same for event loops."""
    if isinstance(given, AsyncAegis):
        return given
    return _defaults.async_client(given.settings if given is not None else _defaults.settings())
