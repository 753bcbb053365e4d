"""The steward's process: there while the ledger process is, and no longer."""

from __future__ import annotations

import os
import signal

from tests.gateways import Gateway, until


def test_it_lives_with_the_ledger_process() -> None:
    """Killed, it is started again; it ends with a ledger process that is killed, and with one that is stopped."""
    with Gateway(None) as gateway:
        (first,) = gateway.stewards()
        os.kill(first, signal.SIGKILL)
        until(lambda: gateway.stewards() not in ([], [first]), "there is no other steward")
        gateway.kill()  # waits until all that it started has ended
        gateway.start()
        children = gateway.children()
        assert 1 == len(gateway.stewards())
        assert 0 == gateway.stop()
        assert not any(os.path.exists(f"/proc/{child}") for child in children)
