"""What becomes of a delivery: when it is tried again, when it is given up, and what makes it the same."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.domain.channel import Target
from aegis_gateway.domain.delivery import (
    FAULT_CHARACTERS_MAX,
    PAUSE_NS,
    PAUSE_NS_MAX,
    RETRY_AFTER_NS_MAX,
    TRIES_MAX,
    Delivery,
    NotSent,
    Sent,
    after_try,
    again,
    delivery_of,
    pause_ns,
)
from aegis_gateway.domain.message import Message

NOW_NS = 1_000 * PAUSE_NS


def delivery(**more: object) -> Delivery:
    """One of a budget to a channel."""
    of: dict[str, object] = {
        "tenant": "acme",
        "sequence": 7,
        "kind": "incident",
        "subject": "budget:day",
        "target": Target(channel="ops"),
        "message": Message(title="x"),
        "made_ns": 5,
    }
    return delivery_of(**{**of, **more})  # type: ignore[arg-type]  # the test says what is another


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "acm", "sequence": 7},
        {"sequence": 8},
        {"kind": "key_held"},
        {"subject": "budget:da"},
        {"target": Target(channel="ops2")},
        {"target": Target(channel="ops", recipient="ana@acme.example")},
    ],
)
def test_the_same_for_the_same_has_the_same_id(other: dict[str, object]) -> None:
    """When it was made and what it says make no other of it; anything that tells where and of what does."""
    assert delivery().id == delivery(made_ns=9, message=Message(title="y")).id
    assert delivery().id != delivery(**other).id


def test_pauses_grow_to_two_hours() -> None:
    """Twice as long each time, spread over its second half, and never shorter than is asked for, up to a day."""
    assert [1, 2, 4, 8] == [pause_ns(tries, 1.0) // PAUSE_NS for tries in (1, 2, 3, 4)]
    assert PAUSE_NS // 2 == pause_ns(1, 0.0)
    assert PAUSE_NS_MAX == pause_ns(1_000_000, 1.0)
    assert 600 * PAUSE_NS == pause_ns(1, 1.0, 600 * PAUSE_NS)
    assert PAUSE_NS == pause_ns(1, 1.0, PAUSE_NS // 2)
    assert RETRY_AFTER_NS_MAX == pause_ns(1, 1.0, 10 * RETRY_AFTER_NS_MAX)


def test_a_try_ends() -> None:
    """Sent; to be tried again; given up because it is final; given up after so many tries."""
    sent = after_try(delivery(), Sent(reference="C/1"), NOW_NS, 1.0)
    assert ("sent", 1, "C/1", NOW_NS, "") == (
        sent.state,
        sent.tries,
        sent.reference,
        sent.sent_ns,
        sent.fault,
    )
    later = after_try(delivery(), NotSent(fault="x" * 1_000), NOW_NS, 1.0)
    assert ("waiting", NOW_NS + PAUSE_NS, FAULT_CHARACTERS_MAX) == (
        later.state,
        later.next_ns,
        len(later.fault),
    )
    final = after_try(delivery(), NotSent(fault="no", is_final=True), NOW_NS, 1.0)
    assert ("dead", 1, "no") == (final.state, final.tries, final.fault)
    last = msgspec.structs.replace(delivery(), tries=TRIES_MAX - 1)
    assert ("dead", TRIES_MAX) == (
        (given_up := after_try(last, NotSent(fault="down"), NOW_NS, 1.0)).state,
        given_up.tries,
    )


def test_again() -> None:
    """What is dead or waits is due with all its tries before it; what was sent isn't sent again."""
    dead = msgspec.structs.replace(delivery(), state="dead", tries=20, fault="no")
    waits = msgspec.structs.replace(delivery(), tries=4, next_ns=NOW_NS * 2)
    for each in (dead, waits):
        moved = again(each, NOW_NS)
        assert moved is not None
        assert ("waiting", 0, NOW_NS, each.id, each.fault) == (
            moved.state,
            moved.tries,
            moved.next_ns,
            moved.id,
            moved.fault,
        )
    assert again(msgspec.structs.replace(dead, state="sent"), NOW_NS) is None
