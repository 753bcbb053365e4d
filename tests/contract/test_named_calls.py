"""Names that callers give to calls: one call each, for a day."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.named_calls import StoredNamedCalls
from aegis_gateway.application.batch import NAME_HOLDS_NS
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    CallName,
    Keep,
    Kept,
    Known,
    Lose,
    Reply,
    Settle,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import NameKey, Store
from aegis_gateway.domain.decision import Reason, Verdict
from tests.ledgers import ATTRIBUTION, TurnableClock, admission, cost

KEY: NameKey = ("acme", ATTRIBUTION.agent, "mine")


def named(call: str, request: bytes = b"r", *, name: str = "mine", verdict: Verdict | None = None) -> Admit:
    """An admission under a name."""
    plain = admission(call, verdict=verdict) if verdict is not None else admission(call)
    return msgspec.structs.replace(plain, name=CallName(name=name, request=request))


def keep(call: str, answer: bytes | None = b"sealed", *, is_unsent: bool = False) -> Keep:
    """What is kept of a call's answer."""
    return Keep(call=call, tenant="acme", agent=KEY[1], name=KEY[2], answer=answer, is_unsent=is_unsent)


def one(ledger: Ledger, command: Admit | Keep | Settle | Lose) -> Reply:
    """The answer to one command."""
    return ledger.process([command])[0]


def test_a_name_is_one_call_s(ledger: Ledger, store: Store) -> None:
    """A second call of the name is told of the first, and whether it asks for the same; nothing is decided."""
    assert isinstance(one(ledger, named("first")), Admitted)
    assert Known(call="second", first="first", is_same=True) == one(ledger, named("second"))
    assert Known(call="third", first="first", is_same=False) == one(ledger, named("third", b"other"))
    assert isinstance(one(ledger, named("fourth", name="another")), Admitted)
    assert ["first", "fourth"] == [row["call"] for row in store.query("select call from call order by call")]


def test_two_in_one_batch(ledger: Ledger) -> None:
    """They are told apart like any others: the first in line has the name."""
    replies = ledger.process([named("first"), named("second")])
    assert isinstance(replies[0], Admitted)
    assert Known(call="second", first="first", is_same=True) == replies[1]


def test_a_refused_call_has_no_name(ledger: Ledger) -> None:
    """A refusal consumes nothing, the name included."""
    denied = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="no"),))
    assert isinstance(one(ledger, named("first", verdict=denied)), Admitted)
    reply = one(ledger, named("second"))
    assert isinstance(reply, Admitted)
    assert "allow" == reply.effect


def test_what_is_kept(ledger: Ledger, reader: Store) -> None:
    """An answer is kept once, under its own call only, and found with the call's state."""
    find = StoredNamedCalls(lambda: reader).find
    assert None is find(KEY)
    ledger.process([named("first")])
    found = find(KEY)
    assert found is not None
    assert ("dispatched", False) == (found.state, found.named.is_closed)
    ledger.process([Settle(call="first", tenant="acme", evidence=cost(1)), keep("first", b"\x00sealed")])
    ledger.process([keep("first", b"another")])
    found = find(KEY)
    assert found is not None
    assert ("settled", b"\x00sealed", True) == (found.state, found.named.answer, found.named.is_closed)


def test_another_call_s_name_is_left_alone(ledger: Ledger, reader: Store) -> None:
    """Nobody keeps an answer under a name that is not theirs, or frees it."""
    ledger.process([named("first"), named("other", name="theirs")])
    assert Kept(call="other") == one(ledger, keep("other"))
    assert Kept(call="other") == one(ledger, keep("other", is_unsent=True))
    found = StoredNamedCalls(lambda: reader).find(KEY)
    assert found is not None
    assert ("first", False) == (found.named.call, found.named.is_closed)


def test_what_was_never_sent_frees_its_name(ledger: Ledger) -> None:
    """The next call has it, in the same batch already."""
    ledger.process([named("first")])
    replies = ledger.process([keep("first", None, is_unsent=True), named("second")])
    assert isinstance(replies[1], Admitted)
    assert Known(call="third", first="second", is_same=True) == one(ledger, named("third"))


def test_a_name_holds_for_a_day(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """To the nanosecond; then another call may have it, and what was kept is forgotten."""
    ledger.process([named("first")])
    ledger.process([keep("first")])
    clock.turn(NAME_HOLDS_NS - 1)
    assert isinstance(one(ledger, named("second")), Known)
    ledger.sweep()
    assert 1 == len(store.query("select 1 from named_call"))
    clock.turn(1)
    assert isinstance(one(ledger, named("third")), Admitted)
    clock.turn(NAME_HOLDS_NS)
    ledger.sweep()
    assert [] == store.query("select 1 from named_call")
