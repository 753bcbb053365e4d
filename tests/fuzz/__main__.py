"""`python -m tests.fuzz`: fuzz every target for its share of the time, each in a process of its own.

A target fails where a reader raises anything but what it promises, or where what it says of its input is not so. The
input that made it fail is written to `.fuzz/`, and fails again with `--target NAME FILE`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CORPUS = Path(".fuzz")
SLOWEST_S = 5
INPUT_BYTES_MAX = 65_536

_EXECUTED = "stat::number_of_executed_units"


def main() -> int:
    """Fuzz as the command line says; the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz what reads outside bytes.")
    parser.add_argument("--seconds", type=int, default=600, help="in all (default: 600)")
    parser.add_argument("--target", help="only this one, in this process")
    parser.add_argument("file", nargs="?", help="with --target: only this input")
    options = parser.parse_args()
    if options.target is not None:
        return fuzz(options.target, options.seconds, options.file)
    from tests.fuzz.targets import TARGETS

    share = max(1, options.seconds // len(TARGETS))
    failed = []
    for name in TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", str(share)]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        runs = next((line.rpartition(" ")[2] for line in run.stderr.splitlines() if _EXECUTED in line), "?")
        print(f"{name:12} {'ok' if run.returncode == 0 else 'FAILED'}  {runs} inputs", flush=True)
        if run.returncode:
            failed.append(name)
            print(run.stdout[-4_000:], run.stderr[-8_000:], sep="\n")
    print(f"{len(TARGETS) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def fuzz(name: str, seconds: int, file: str | None) -> int:
    """Fuzz one target in this process, which ends with it."""
    try:
        import atheris  # type: ignore[import-untyped,unused-ignore]  # no stubs, and not everywhere
    except ImportError:
        print(
            "atheris is not here: there are wheels for Linux on x86-64 with Python 3.11 to 3.13",
            file=sys.stderr,
        )
        return 1
    # What is fuzzed is imported here and nowhere before: instrumenting all that is loaded takes half a minute.
    with atheris.instrument_imports(include=["aegis_gateway.entrypoints.data_plane"]):
        from tests.fuzz.targets import TARGETS
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name]
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [sys.argv[0], f"-max_total_time={seconds}", f"-artifact_prefix={corpus}/failed-"]
    arguments += [
        f"-timeout={SLOWEST_S}",
        f"-max_len={INPUT_BYTES_MAX}",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([*arguments, file or str(corpus)], target.check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
