"""End this process when its parent has ended, however that happened."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys

POLL_SECONDS = 0.5

_PR_SET_PDEATHSIG = 1


async def die_with_parent() -> None:
    """Run until the process that started this one is gone, then end at once.

    Polling finds it on every system; on Linux the kernel also says so at once. The kernel's word is only a
    hint: it is about the *thread* that started this process, which may end long before the parent does.
    """
    parent = os.getppid()

    def end_if_orphaned() -> None:
        if os.getppid() != parent:
            os._exit(0)

    if sys.platform == "linux":
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, end_if_orphaned)
        # A libc without prctl leaves the polling.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
    while True:
        await asyncio.sleep(POLL_SECONDS)
        end_if_orphaned()
