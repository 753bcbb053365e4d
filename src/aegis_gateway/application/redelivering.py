"""What people do about deliveries: have them tried again, and have a channel tried out.

Rule 1: each act is in the tenant's record, with who did it, before anything is sent; what came of a test, after it.
Rule 2: what was sent is never sent again by this; what is under way isn't begun a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec

from aegis_gateway.application.delivering import tried
from aegis_gateway.application.operators import Act, Caller, Operators
from aegis_gateway.application.ports import Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.channel import Channel, Target, places_of
from aegis_gateway.domain.delivery import TRIED, Delivery, NotSent, Outcome, again, delivery_of
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.message import Message

ENTRY = "notification"

AT_ONCE = 500
"""How many are taken in one transaction: as many as one entry has room for the names of."""

Send = Callable[[Delivery], Outcome]
"""Sends by a channel. May block, for as long as its deadlines say."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What the other side of a channel said to a test; `delivery` names the message there."""

    delivery: str
    target: Target
    outcome: Outcome


class Redelivering:
    """What somebody does about deliveries."""

    def __init__(self, store: Store, pepper: bytes, caller: Caller) -> None:
        """In the name of a caller; `pepper` is the installation's secret that tokens are hashed under."""
        self._operators = Operators(store, pepper, caller)
        self._via = caller.via

    def retry(self, tenant: str, name: str) -> Delivery:
        """Have one that is dead or waits tried again now.

        Raises:
            NotPermitted: the caller may not, or it was sent.
            ConfigurationError: there is none of that name in the tenant.
        """
        with self._operators.act("notifications", [tenant]) as act:
            act.require([tenant])
            found = act.change.delivery(name)
            if found is None or found.tenant != tenant:
                raise ConfigurationError(f"there is no delivery `{name}` in `{tenant}`")
            moved = again(found, act.change.now_ns)
            if moved is None:
                raise NotPermitted(f"`{name}` was sent; it isn't sent again")
            self._send_again(act, [moved])
        return moved

    def retry_dead(self, tenant: str, channel: str = "") -> int:
        """Have all that were given up tried again, of one channel if it is named; how many these are.

        Raises:
            NotPermitted: the caller may not.
        """
        done = 0
        while True:
            with self._operators.act("notifications", [tenant]) as act:
                act.require([tenant])
                found = act.change.dead_deliveries(tenant, channel, AT_ONCE)
                moved = [
                    each for each in (again(one, act.change.now_ns) for one in found) if each is not None
                ]
                if moved:
                    self._send_again(act, moved)
            done += len(moved)
            if len(found) < AT_ONCE:
                return done

    def test(self, tenant: str, channel: Channel, send: Send, recipient: str = "") -> list[Tried]:
        """Send one message by a channel and say what the other side said: to each place that it is, or, by e-mail, to
        somebody else. May block.

        Raises:
            NotPermitted: the caller may not.
        """
        with self._operators.act("notifications", [tenant]) as act:
            act.require([tenant])
            sequence = self._enter(act, tenant, {"act": "test", "channel": channel.id})
            now_ns, by = act.change.now_ns, act.operator.name
        places = (Target(channel=channel.id, recipient=recipient),) if recipient else places_of(channel)
        deliveries = _tests(tenant, channel, places, sequence, by, now_ns)
        done = [
            Tried(delivery=each.id, target=_place(each), outcome=tried(each, partial(send, each)))
            for each in deliveries
        ]
        failed = sum(isinstance(each.outcome, NotSent) for each in done)
        came: dict[str, object] = {
            "act": TRIED,
            "channel": channel.id,
            "sent": len(done) - failed,
            "failed": failed,
        }
        with self._operators.act("notifications", [tenant]) as act:
            self._enter(act, tenant, came)
        return done

    def _send_again(self, act: Act, moved: list[Delivery]) -> None:
        for each in moved:
            act.change.send_again(each)
        names = [each.id for each in moved]
        self._enter(act, moved[0].tenant, {"act": "retry", "deliveries": names})

    def _enter(self, act: Act, tenant: str, record: dict[str, object]) -> int:
        recording = RegistryRecording(act.change, act.operator.name)
        return recording.enter(tenant, None, ENTRY, {**record, "via": self._via})


def _tests(
    tenant: str, channel: Channel, places: Iterable[Target], sequence: int, by: str, now_ns: int
) -> Iterator[Delivery]:
    message = Message(
        title=f"A test of channel {channel.id}",
        text="Nothing happened. Whoever reads this is told what Aegis sends to this channel.",
        facts=(("tenant", tenant), ("sent by", by)),
        tenant=tenant,
        at_ns=now_ns,
    )
    for target in places:
        yield delivery_of(
            tenant=tenant,
            sequence=sequence,
            kind="test",
            subject=f"channel:{channel.id}",
            target=target,
            message=message,
            made_ns=now_ns,
        )


def _place(delivery: Delivery) -> Target:
    return Target(channel=delivery.channel, recipient=delivery.recipient)
