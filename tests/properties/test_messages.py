"""Messages about whatever an agent asks for: what it says in its arguments can neither hold up nor hide anything."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from aegis_gateway.domain.message import FACT_CHARACTERS_MAX, FACTS_MAX, Message, message_of
from aegis_gateway.domain.notice import Notice

NAMES = st.text(max_size=20) | st.sampled_from(["until_ns", "fee_nano_usd", "amount", "facts", "maximum"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def told(arguments: dict[str, object]) -> Message:
    """What people are told of a call with some arguments that waits for their word."""
    facts: dict[str, object] = {
        "agent": "bot",
        "arguments": arguments,
        "changed": {name: {"was": None, "is": value} for name, value in arguments.items()},
        "policies": [{"id": "big", "words": "above $5,000 needs a person"}],
        "budgets": [
            {"budget": "day", "quantity": "usd", "left": "20000000000", "limit": "41100000000"},
            {"budget": "rows", "quantity": "rows", "left": "5", "limit": "9"},
        ],
        "risk": ["nothing like it was asked before"],
        "maximum_nano_usd": "250000000",
    }
    what: dict[str, object] = {"approval": "apr_1", "kind": "call", "requester": "bot", "about": "api.pay"}
    body = {**what, "facts": facts}
    notice = Notice(
        tenant="acme", sequence=1, kind="approval_requested", subject="approval:apr_1", at_ns=0, body=body
    )
    return message_of(notice, "Acme", "https://aegis.example")


@example({"note": "1" * 5_000})
@example({"until_ns": "9" * 30})
@example({f"a{number:02}": number for number in range(40)})
@given(st.dictionaries(NAMES, VALUES, max_size=40))
def test_an_agents_arguments_hold_up_and_hide_nothing(arguments: dict[str, object]) -> None:
    """There is a message whatever they are, with the policies, the risks and the cost; what is left out is counted."""
    message = told(arguments)
    facts = dict(message.facts)
    assert ("above $5,000 needs a person", "nothing like it was asked before", "$0.25") == (
        facts["policies"],
        facts["risk"],
        facts["maximum"],
    )
    assert len(message.facts) <= FACTS_MAX
    assert all(len(text) <= FACT_CHARACTERS_MAX for fact in message.facts for text in fact)
    some = [value for value in arguments.values() if value not in (None, "")]
    assert (7 + len(some) + len(arguments) > FACTS_MAX) == ("not shown here" in facts)


def test_what_budgets_have_left_is_told_in_dollars() -> None:
    """In those of money; others are named."""
    assert "day $20.00 of $41.10 left, rows" == dict(told({}).facts)["budgets"]


def test_an_agents_words_turn_nothing_around_them() -> None:
    """Signs that turn the order of text, or steer a terminal, are shown as signs."""
    facts = dict(told({"to": "x\u202eevil\x1b[2J", "a\u2066": "1"}).facts)
    assert ("x\ufffdevil\ufffd[2J", "1") == (facts["arguments to"], facts["arguments a\ufffd"])


def test_an_agents_words_are_no_units_of_ours() -> None:
    """What an argument is called makes no time and no amount of it."""
    facts = dict(told({"until_ns": 5, "fee_nano_usd": "1500000000"}).facts)
    assert ("5", "1500000000") == (facts["arguments until_ns"], facts["arguments fee_nano_usd"])
