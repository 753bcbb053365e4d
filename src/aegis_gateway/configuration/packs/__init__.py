"""What `aegis init DIR` writes: the commented example, or a pack that is made for one kind of house.

A pack is a whole configuration: registry, policies, and tests of the policies. It stands in a folder beside this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from aegis_gateway.configuration.read import POLICIES, TESTS
from aegis_gateway.domain.errors import ConfigurationError

EXAMPLE = "example"
PACKS = (EXAMPLE, "fintech", "saas", "healthcare")


def pack_files(name: str = EXAMPLE) -> dict[str, str]:
    """The texts of a pack's configuration, by relative path."""
    return {path: text for path, text in _files(name).items() if not _is_test(path)}


def pack_tests(name: str = EXAMPLE) -> dict[str, str]:
    """The texts of the tests of a pack's policies, by relative path."""
    return {path: text for path, text in _files(name).items() if _is_test(path)}


def _is_test(path: str) -> bool:
    return path.startswith(f"{POLICIES}/{TESTS}/")


def _files(name: str) -> dict[str, str]:
    def below(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                yield from below(entry, f"{path}{entry.name}/")
            elif entry.name.endswith((".yaml", ".cedar")):
                yield f"{path}{entry.name}", entry.read_text(encoding="utf-8")

    return dict(below(resources.files(__name__).joinpath(name), ""))


def write_pack(directory: Path | str, name: str = EXAMPLE) -> list[Path]:
    """Write a pack into a directory, which is made if need be; returns what was written.

    Raises:
        ConfigurationError: a file of that name is there, and then nothing is written; or it can't be.
    """
    target = Path(directory)
    files = _files(name)
    for path in files:
        if (target / path).exists() or (target / path).is_symlink():
            raise ConfigurationError(f"`{target / path}` is there already; name an empty directory")
    written = []
    try:
        for path, text in files.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            written.append(file)
    except OSError as fault:
        words = (fault.strerror or "it failed").lower()
        raise ConfigurationError(f"`{target}` cannot be written to: {words}; name another one") from fault
    return written
