"""Reads the operator's directory: `aegis.yaml` and the policies, and nothing else.

Rule 1: what looks like a policy and isn't read is a mistake that is told, not a rule that silently fails.
Rule 2: only regular files inside the directory, of bounded size and number, are opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from aegis_gateway.configuration import yaml_source
from aegis_gateway.configuration.load import MAIN_FILE, POLICY_BYTES_MAX
from aegis_gateway.domain.errors import ConfigurationError, Problem

POLICIES = "policies"
TESTS = "tests"
POLICY_FILES_MAX = 2_000

_MISNAMED = ("aegis.yml", "aegis.YAML", "Aegis.yaml")


def read_directory(path: Path | str) -> dict[str, str]:
    """The texts of a directory's configuration files, by relative path.

    Raises:
        ConfigurationError: there is no configuration there, or some of it can't be read.
    """
    directory = Path(path)
    main = directory / MAIN_FILE
    if not main.is_file():
        raise ConfigurationError(_not_found(directory))
    problems: list[Problem] = []
    files = _texts((main, *_policies(directory, problems)), directory, problems)
    if problems:
        raise ConfigurationError(problems=tuple(problems))
    return files


def read_tests(path: Path | str) -> dict[str, str]:
    """The texts of the tests of a directory's policies, `policies/tests/*.yaml`, by relative path.

    Raises:
        ConfigurationError: some of them can't be read.
    """
    directory = Path(path)
    problems: list[Problem] = []
    # What else stands there may be the policies of a tenant of that name.
    tests = [file for file in _sorted(directory / POLICIES / TESTS) if file.suffix in (".yaml", ".yml")]
    files = _texts(tests, directory, problems)
    if problems:
        raise ConfigurationError(problems=tuple(problems))
    return files


def _texts(files: Iterable[Path], directory: Path, problems: list[Problem]) -> dict[str, str]:
    """Files' texts by relative path; what can't be read is told of."""
    texts: dict[str, str] = {}
    root = directory.resolve()
    for file in files:
        name = file.relative_to(directory).as_posix()
        most = POLICY_BYTES_MAX if _is_policy(file) else yaml_source.BYTES_MAX
        text = _read(file, name, root, most)
        if isinstance(text, Problem):
            problems.append(text)
        else:
            texts[name] = text
    return texts


def _not_found(directory: Path) -> str:
    for name in _MISNAMED:
        if (directory / name).exists():
            return f"`{directory / name}` is not read; rename it to {MAIN_FILE}"
    return f"there is no {MAIN_FILE} in `{directory}`; run `aegis init {directory}` for a commented example"


def _policies(directory: Path, problems: list[Problem]) -> Iterator[Path]:
    """The policy files in order. Files that only look like some are told of."""
    count = 0
    for file in _sorted(directory):
        if _is_policy(file) and not file.is_dir():
            problems.append(_misplaced(file.name))
    for entry in _sorted(directory / POLICIES):
        for file in _sorted(entry) if entry.is_dir() else [entry]:
            name = file.relative_to(directory).as_posix()
            if file.is_dir():
                problems += [
                    _misplaced(f"{name}/{inner.name}") for inner in _sorted(file) if _is_policy(inner)
                ]
            elif _is_policy(file):
                count += 1
                if count > POLICY_FILES_MAX:
                    message = f"there are more than {POLICY_FILES_MAX:,} policy files; put several into one"
                    problems.append(Problem(file=name, message=message))
                    return
                yield file


def _sorted(directory: Path) -> list[Path]:
    """What is in a directory, without what editors, git and Kubernetes hide there."""
    if not directory.is_dir():
        return []
    return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))


def _is_policy(file: Path) -> bool:
    return file.suffix.lower() == ".cedar"


def _misplaced(name: str) -> Problem:
    message = f"this is not read; policies are {POLICIES}/NAME.cedar, or {POLICIES}/TENANT/NAME.cedar"
    return Problem(file=name, message=message)


def _read(file: Path, name: str, root: Path, bytes_max: int) -> str | Problem:
    try:
        real = file.resolve(strict=True)
        if not real.is_relative_to(root):
            return Problem(file=name, message="this links to outside the directory; put the file itself here")
        if not real.is_file():
            return Problem(file=name, message="this is not a file; put the text here")
        with real.open("rb") as stream:
            raw = stream.read(bytes_max + 1)
    except (OSError, RuntimeError):
        return Problem(file=name, message="this cannot be read; is it there, and may you read it?")
    if len(raw) > bytes_max:
        return Problem(file=name, message=f"the file is larger than {bytes_max // 1024} KiB; split it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = raw.count(b"\n", 0, fault.start) + 1
        return Problem(file=name, line=line, message="this is not UTF-8; save the file in that encoding")
