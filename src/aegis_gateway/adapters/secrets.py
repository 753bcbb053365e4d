"""References to secrets: `env:NAME` and `file:PATH`, resolved when they are used, never written anywhere."""

from __future__ import annotations

import os
from pathlib import Path

from aegis_gateway.domain.errors import ConfigurationError

_FILE_BYTES_MAX = 64 * 1024


class ReferencedSecrets:
    """Resolves references. A file is read again when it has changed, so that rotation needs no restart."""

    def __init__(self) -> None:
        """Start with nothing resolved."""
        self._files: dict[str, tuple[tuple[int, int], str]] = {}

    def resolve(self, reference: str) -> str:
        """The value behind a reference, without surrounding white space.

        Raises:
            ConfigurationError: there is none; the message names the reference, never a value.
        """
        kind, _, name = reference.partition(":")
        if kind == "env":
            value = os.environ.get(name, "").strip()
            if not value:
                raise ConfigurationError(
                    f"`{reference}` is not set; set the variable where the gateway starts"
                )
            return value
        if kind == "file":
            return self._from_file(reference, Path(name))
        raise ConfigurationError("a secret is given by reference: env:NAME or file:PATH")

    def _from_file(self, reference: str, path: Path) -> str:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._files.get(reference)
            if known is not None and known[0] == stamp:
                return known[1]
            if status.st_size > _FILE_BYTES_MAX:
                raise ConfigurationError(f"`{reference}` is too large to be a secret")
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigurationError(
                f"`{reference}` cannot be read; is it there, and may the gateway?"
            ) from fault
        if not value:
            raise ConfigurationError(f"`{reference}` is empty")
        self._files[reference] = (stamp, value)
        return value
