"""Where tests keep what they throw away: in memory, where that can be written to as files.

Every commit of a ledger waits until it is on disk, and a run of the tests commits hundreds of thousands of times. What
is killed is a process, never the machine, so what survives is the same; all that is durable about it (`synchronous`,
`fsync`) is set, read back and asked for as on any disk. `AEGIS_TEST_SCRATCH` names another directory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_WANTED_BYTES = 4 * 1024**3
"""Two PostgreSQL servers, each with its log, and all that tests have open at a time take a good gigabyte."""


def use_scratch() -> None:
    """Let this process, and all that it starts, keep temporary files where tests do."""
    named = os.environ.get("AEGIS_TEST_SCRATCH") or (str(_MEMORY) if _is_usable(_MEMORY) else None)
    if named is not None:
        tempfile.tempdir = os.environ["TMPDIR"] = named


def _is_usable(directory: Path) -> bool:
    """Whether there is room, and programs that tests install there may be run; a container's may be 64 MB."""
    if not os.access(directory, os.W_OK | os.X_OK):
        return False
    forbids_programs = os.statvfs(directory).f_flag & getattr(os, "ST_NOEXEC", 0)
    return not forbids_programs and shutil.disk_usage(directory).free >= _WANTED_BYTES
