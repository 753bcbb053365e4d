"""The machine and the versions that a result belongs to."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import msgspec

_LIBRARIES = ("granian", "pyreqwest", "uvloop", "msgspec", "apsw", "cedarpy")
_SYNCS = 300


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a result depends on besides the code."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    filesystem: str
    fsync_p50_us: int
    fsync_p99_us: int
    python: str
    libraries: dict[str, str]
    revision: str


def this_machine(data: Path) -> Machine:
    """This machine, with the time that a directory's disk takes to have 4 KB on it."""
    syncs = _sync_times_us(data / "sync")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        filesystem=_filesystem(data),
        fsync_p50_us=syncs[len(syncs) // 2],
        fsync_p99_us=syncs[len(syncs) * 99 // 100],
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries={name: version(name) for name in _LIBRARIES},
        revision=_revision(),
    )


def _sync_times_us(path: Path) -> list[int]:
    """How long `fdatasync` takes after 4 KB were appended to a file, sorted."""
    times = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(_SYNCS):
            os.write(descriptor, b"\0" * 4_096)
            begin = time.perf_counter_ns()
            os.fdatasync(descriptor)
            times.append((time.perf_counter_ns() - begin) // 1_000)
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(times)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _filesystem(data: Path) -> str:
    """The kind of file system that a directory is on: the longest mount point above it."""
    found = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if data.resolve().is_relative_to(place):
            found = max(found, (place, kind), key=lambda mount: len(mount[0]))
    return found[1]


def _revision() -> str:
    """The commit, with a mark where the tree has changes that aren't in it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    if commit.returncode:
        return "no commit"
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout
    return commit.stdout.strip() + ("+" if changed else "")
