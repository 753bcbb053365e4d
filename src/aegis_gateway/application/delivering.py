"""Delivering: what is to be sent is sent, channel by channel.

Rule 1: no transaction is open while something is sent. A delivery is taken for a minute, tried, and written down; if
        whoever took it is gone, it is tried again by another after that.
Rule 2: each channel has at most one delivery under way here. One that hangs holds up no other.
Rule 3: what goes wrong with a channel is kept with its deliveries, and nothing else fails by it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from aegis_gateway.application.delivery_ports import ChannelSender
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.delivery import Delivery, NotSent, Outcome, after_try
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.domain.notice import ENDS

BUSY_MAX = 32
WAIT_S = 0.1

Place = tuple[str, str]
"""Tenant and channel."""

SenderOf = Callable[[str, str], ChannelSender | None]
"""The channel of a tenant, as it is configured now; None if there is none of that name any more. May block."""

_DUE = (
    "select distinct tenant, channel from delivery where state = 'waiting' and next_ns <= ? and lease_ns <= ?"
)

_log = logging.getLogger("aegis.notifications")


class Delivering:
    """Sends what is due."""

    def __init__(self, store: Store, sender_of: SenderOf, random: Callable[[], float]) -> None:
        """`random` gives a number from 0 to 1, by which retries of many are spread."""
        self._store = store
        self._sender_of = sender_of
        self._random = random
        self._busy: set[Place] = set()
        self._done: queue.Queue[tuple[Delivery, Outcome]] = queue.Queue()

    def __call__(self) -> bool:
        """Begin what is due and write down what has ended; whether there was anything.

        Raises:
            LedgerUnavailable: the store cannot be read, or did not take it.
        """
        now_ns = self._store.clock_ns()
        for tenant, channel in self._store.rows(_DUE, (now_ns, now_ns)):
            if (tenant, channel) not in self._busy and len(self._busy) < BUSY_MAX:
                self._begin(tenant, channel)
        if not self._busy:
            return False
        self._collect(WAIT_S)
        return True

    def finish(self, within_s: float) -> None:
        """Wait for what is under way, and write it down."""
        waited_s = 0.0
        while self._busy and waited_s < within_s:
            self._collect(WAIT_S)
            waited_s += WAIT_S

    def _begin(self, tenant: str, channel: str) -> None:
        with self._store.change([]) as change:
            delivery = change.take_delivery(tenant, channel, change.now_ns)
            if delivery is None:
                return
            # Anything else is a message of its own: nobody is told of what was changed in an old one.
            before = change.references_before(delivery) if delivery.kind in ENDS else ()
        self._busy.add((tenant, channel))
        threading.Thread(
            target=self._send, args=(delivery, before), name=f"channel {channel}", daemon=True
        ).start()

    def _send(self, delivery: Delivery, before: tuple[str, ...]) -> None:
        self._done.put((delivery, tried(delivery, lambda: self._outcome(delivery, before))))

    def _outcome(self, delivery: Delivery, before: tuple[str, ...]) -> Outcome:
        sender = self._sender_of(delivery.tenant, delivery.channel)
        if sender is None:
            return NotSent(fault=f"there is no channel `{delivery.channel}` any more", is_final=True)
        return sender.send(delivery, before)

    def _collect(self, wait_s: float) -> None:
        try:
            ended = [self._done.get(timeout=wait_s)]
        except queue.Empty:
            return
        while not self._done.empty():
            ended.append(self._done.get_nowait())
        try:
            with self._store.change([]) as change:
                for delivery, outcome in ended:
                    moved = after_try(delivery, outcome, change.now_ns, self._random())
                    change.move_delivery(moved)
                    if moved.state == "dead":
                        _log.warning("`%s` to `%s` is given up: %s", moved.id, moved.channel, moved.fault)
        finally:
            # What could not be written down is tried again when its minute is over.
            self._busy -= {(delivery.tenant, delivery.channel) for delivery, _ in ended}


def tried(delivery: Delivery, send: Callable[[], Outcome]) -> Outcome:
    """What comes of sending a delivery. A fault of ours is one of the delivery, and says no more than it may."""
    try:
        return send()
    except AegisError as fault:  # a secret that isn't there, as its message says
        return NotSent(fault=str(fault))
    except Exception as fault:  # whatever it is, it is this delivery's; its own words may have secrets
        _log.error("`%s` could not be sent: %s", delivery.id, type(fault).__name__)
        return NotSent(fault=f"it failed inside of Aegis: {type(fault).__name__}")
