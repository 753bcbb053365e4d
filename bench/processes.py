"""What Linux says of processes: their CPU time, their children, who listens on a port, what the machine did."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"
_POLL_S = 0.002
_PACE_STEPS = 100_000


class NotReady(RuntimeError):
    """Something that was started ended, or didn't answer in time."""


class MachineTime(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time of the whole machine since it started: all of it, what was in use, what its host took."""

    all_us: int
    used_us: int
    stolen_us: int


def cpu_us(pid: int) -> int:
    """The CPU time that a process has used, in user and kernel, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_US


def machine_time() -> MachineTime:
    """The machine's CPU time until now."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    user, nice, system, idle, wait, interrupts, soft, stolen = (int(each) for each in line.split()[1:9])
    used = user + nice + system + interrupts + soft
    return MachineTime(
        all_us=(used + idle + wait + stolen) * _TICK_US, used_us=used * _TICK_US, stolen_us=stolen * _TICK_US
    )


def pace_us() -> int:
    """How long this core takes just now, in CPU time, for a fixed piece of Python.

    A virtual machine's cores are not always as fast: what its host's other guests do on them can't be seen from
    within, except by this.
    """
    begin = time.process_time_ns()
    total = 0
    for number in range(_PACE_STEPS):
        total += number * number % 7
    return (time.process_time_ns() - begin) // 1_000


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    pids: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        pids += [int(child) for child in (task / "children").read_text().split()]
    return sorted(pids)


def running(pid: int) -> str:
    """The Python module that a process runs."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return words[words.index("-m") + 1]


def listeners(port: int) -> int:
    """How many sockets listen on a port."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port for row in rows)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def answers(port: int, path: str) -> bool:
    """Whether `GET path` is answered with 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def wait_until(is_so: Callable[[], bool], what: str, *, seconds_max: float) -> None:
    """Ask again and again until it is so.

    Raises:
        NotReady: it wasn't in time.
    """
    deadline = time.monotonic() + seconds_max
    while not is_so():
        if time.monotonic() > deadline:
            raise NotReady(f"{what} after {seconds_max:g} s")
        time.sleep(_POLL_S)


def memory_mib(pid: int) -> float:
    """The memory that a process has in use."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1_024
