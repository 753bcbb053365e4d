"""The commented example that `aegis init DIR` writes: the files beside this one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from aegis_gateway.configuration.load import MAIN_FILE
from aegis_gateway.configuration.read import POLICIES, TESTS
from aegis_gateway.domain.errors import ConfigurationError

EXAMPLE_TESTS = (f"{POLICIES}/{TESTS}/payments.yaml",)
EXAMPLE_FILES = (MAIN_FILE, f"{POLICIES}/10-starting-pack.cedar", f"{POLICIES}/20-payments.cedar")


def example_files() -> dict[str, str]:
    """The texts of the example's configuration, by relative path."""
    return {name: _text(name) for name in EXAMPLE_FILES}


def example_tests() -> dict[str, str]:
    """The texts of the tests of the example's policies, by relative path."""
    return {name: _text(name) for name in EXAMPLE_TESTS}


def _text(name: str) -> str:
    return resources.files(__name__).joinpath(*name.split("/")).read_text(encoding="utf-8")


def write_example(directory: Path | str) -> list[Path]:
    """Write the example into a directory, which is made if need be; returns what was written.

    Raises:
        ConfigurationError: a file of that name is there, and then nothing is written; or it can't be.
    """
    target = Path(directory)
    for name in (*EXAMPLE_FILES, *EXAMPLE_TESTS):
        if (target / name).exists() or (target / name).is_symlink():
            raise ConfigurationError(f"`{target / name}` is there already; name an empty directory")
    written = []
    try:
        for name, text in {**example_files(), **example_tests()}.items():
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            written.append(file)
    except OSError as fault:
        words = (fault.strerror or "it failed").lower()
        raise ConfigurationError(f"`{target}` cannot be written to: {words}; name another one") from fault
    return written
