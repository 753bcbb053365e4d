"""Names that callers give to calls: one call each, answered alike for a day."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.adapters.named_calls import StoredNamedCalls
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    CallName,
    Command,
    Keep,
    Kept,
    Known,
    Lose,
    Release,
    Reply,
    Settle,
    Withdraw,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.names import ANSWER_KEPT_NS
from aegis_gateway.application.ports import NameKey, Store
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.ledger import Evidence
from tests.ledgers import ATTRIBUTION, TurnableClock, admission, cost

KEY: NameKey = ("acme", ATTRIBUTION.agent, "mine")


def named(call: str, request: bytes = b"r", *, name: str = "mine", verdict: Verdict | None = None) -> Admit:
    """An admission under a name."""
    plain = admission(call, verdict=verdict) if verdict is not None else admission(call)
    return msgspec.structs.replace(plain, name=CallName(name=name, request=request))


def keep(call: str, answer: bytes | None = b"sealed", *, may_repeat: bool = False) -> Keep:
    """What is kept of a call's answer."""
    return Keep(call=call, tenant="acme", answer=answer, may_repeat=may_repeat)


def settled(call: str, nano_usd: int = 1) -> Settle:
    """A call's settlement."""
    return Settle(call=call, tenant="acme", evidence=cost(nano_usd))


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
    find = StoredNamedCalls(reader.query).find
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


def test_a_call_in_doubt_keeps_no_answer(ledger: Ledger, reader: Store) -> None:
    """What was answered before the cost is known is not given again; the name stays the call's."""
    ledger.process([named("first"), Lose(call="first", tenant="acme"), keep("first")])
    found = StoredNamedCalls(reader.query).find(KEY)
    assert found is not None
    assert (True, None) == (found.named.is_closed, found.named.answer)
    assert isinstance(one(ledger, named("second")), Known)


def test_an_answer_comes_too_late_for_a_name_that_is_another_s(ledger: Ledger, reader: Store) -> None:
    """Nobody keeps an answer under a name that is not theirs any more, or frees it."""
    unsent = Settle(call="first", tenant="acme", evidence=Evidence(source="not_sent"))
    ledger.process([named("first"), unsent])
    ledger.process([named("second")])
    assert Kept(call="first") == one(ledger, keep("first"))
    assert Kept(call="first") == one(ledger, keep("first", None, may_repeat=True))
    found = StoredNamedCalls(reader.query).find(KEY)
    assert found is not None
    assert ("second", False) == (found.named.call, found.named.is_closed)


@pytest.mark.parametrize(
    "end",
    [
        [Settle(call="first", tenant="acme", evidence=Evidence(source="not_sent"))],
        [settled("first", 0), keep("first", None, may_repeat=True)],
    ],
    ids=["not sent", "told to try again"],
)
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_where_nothing_was_done_the_name_is_free(
    ledger: Ledger, end: list[Command], in_one_batch: bool
) -> None:
    """The next call has it, in the same batch already."""
    ledger.process([named("first")])
    if in_one_batch:
        reply = ledger.process([*end, named("second")])[-1]
    else:
        for command in end:
            ledger.process([command])
        reply = one(ledger, named("second"))
    assert isinstance(reply, Admitted)
    assert Known(call="third", first="second", is_same=True) == one(ledger, named("third"))


@pytest.mark.parametrize("how", ["released", "expired", "withdrawn"])
def test_a_reservation_that_ends_unsent_frees_the_name(
    ledger: Ledger, clock: TurnableClock, how: str
) -> None:
    """However it ends."""
    reserved = msgspec.structs.replace(named("first"), reserve_for_ns=1_000)
    admitted = one(ledger, reserved)
    assert isinstance(admitted, Admitted)
    assert "reserved" == admitted.state
    if how == "released":
        ledger.process([Release(call="first", tenant="acme")])
    elif how == "withdrawn":
        ledger.process([Withdraw(call="first", tenant="acme", not_before=admitted.sequence)])
    else:
        clock.turn(1_000)
        assert 1 == ledger.sweep()
    assert isinstance(one(ledger, named("second")), Admitted)


def test_what_was_charged_is_never_made_again(ledger: Ledger) -> None:
    """Whatever its answer said."""
    ledger.process([named("first"), settled("first", 1), keep("first", None, may_repeat=True)])
    assert isinstance(one(ledger, named("second")), Known)


def test_an_answer_is_kept_for_a_day(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """To the nanosecond; then it is forgotten, and the name stays its call's."""

    def answers() -> list[object]:
        return [row["answer"] for row in store.query("select answer from named_call")]

    ledger.process([named("first")])
    ledger.process([settled("first"), keep("first")])
    clock.turn(ANSWER_KEPT_NS - 1)
    ledger.sweep()
    assert [None] != answers()
    clock.turn(1)
    ledger.sweep()
    assert [None] == answers()
    assert isinstance(one(ledger, named("second")), Known)
