"""Deliveries: one message to one channel, and what became of it.

    waiting ──▶ sent
       └──────▶ dead ──▶ waiting (a person had it tried again)

Rule 1: a delivery is made once, in the transaction that takes its notice as passed on: its id follows from what it is.
Rule 2: it is tried at least once and, if a try's end is not known, again. The receiver gets its id with each try, and
        can tell by it that it has the message already.
Rule 3: what the other side will never take is dead at once, what it may take later is tried again, ever more rarely,
        and dead after `TRIES_MAX` tries. A dead one is kept with the reason, until somebody has it tried again.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from aegis_gateway.domain.channel import Target
from aegis_gateway.domain.message import Message

DeliveryState = Literal["waiting", "sent", "dead"]

TRIES_MAX = 20
PAUSE_NS = 1_000_000_000
PAUSE_NS_MAX = 7_200 * PAUSE_NS
RETRY_AFTER_NS_MAX = 86_400 * PAUSE_NS
LEASE_NS = 60 * PAUSE_NS
"""How long whoever has taken a delivery may be at it, before another one may: longer than any try takes."""

TRIED = "tried"
"""The act of an entry that says what came of a channel's test."""

FAULT_CHARACTERS_MAX = 300


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one channel; times in nanoseconds since 1970.

    `kind` is the notice's, or `digest` or `test`; `sequence` the notice's place. `reference` is how the channel calls
    the message that was sent, which one about the same `subject` takes the place of.
    """

    id: str
    tenant: str
    sequence: int
    kind: str
    subject: str
    channel: str
    recipient: str
    message: Message
    made_ns: int
    state: DeliveryState = "waiting"
    tries: int = 0
    next_ns: int = 0
    fault: str = ""
    reference: str = ""
    sent_ns: int | None = None


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The other side has it; `reference` is how it calls it."""

    reference: str = ""


class NotSent(msgspec.Struct, frozen=True, kw_only=True):
    """The other side doesn't have it, or nobody knows. `is_final`: it would not take it later either."""

    fault: str
    is_final: bool = False
    retry_after_ns: int = 0


Outcome = Sent | NotSent


def delivery_of(
    *, tenant: str, sequence: int, kind: str, subject: str, target: Target, message: Message, made_ns: int
) -> Delivery:
    """A message to a place; the same for the same always has the same id."""
    parts = (tenant, str(sequence), kind, subject, target.channel, target.recipient)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Delivery(
        id=f"dlv_{digest[:24]}",
        tenant=tenant,
        sequence=sequence,
        kind=kind,
        subject=subject,
        channel=target.channel,
        recipient=target.recipient,
        message=message,
        made_ns=made_ns,
        next_ns=made_ns,
    )


def pause_ns(tries: int, jitter: float, retry_after_ns: int = 0) -> int:
    """How long to wait after so many tries: twice as long each time, spread by a number from 0 to 1, and no shorter
    than the other side asks for.
    """
    longest = min(PAUSE_NS << min(tries - 1, 32), PAUSE_NS_MAX)
    spread = longest // 2 + int(longest / 2 * jitter)
    return max(spread, min(retry_after_ns, RETRY_AFTER_NS_MAX))


def after_try(delivery: Delivery, outcome: Outcome, now_ns: int, jitter: float) -> Delivery:
    """A delivery after one more try."""
    tried = msgspec.structs.replace(delivery, tries=delivery.tries + 1)
    if isinstance(outcome, Sent):
        return msgspec.structs.replace(
            tried, state="sent", fault="", reference=outcome.reference, sent_ns=now_ns
        )
    fault = outcome.fault[:FAULT_CHARACTERS_MAX]
    if outcome.is_final or tried.tries >= TRIES_MAX:
        return msgspec.structs.replace(tried, state="dead", fault=fault)
    next_ns = now_ns + pause_ns(tried.tries, jitter, outcome.retry_after_ns)
    return msgspec.structs.replace(tried, fault=fault, next_ns=next_ns)


def again(delivery: Delivery, now_ns: int) -> Delivery | None:
    """A delivery that is dead or waits, due now and with all its tries before it; None for one that was sent.

    What went wrong last is still told, until it is tried.
    """
    if delivery.state == "sent":
        return None
    return msgspec.structs.replace(delivery, state="waiting", tries=0, next_ns=now_ns)
