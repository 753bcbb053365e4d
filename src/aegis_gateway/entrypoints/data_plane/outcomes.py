"""What became of a run, as its agent reports it.

POST /v1/runs/{id}/outcome   `{"outcome": "success", "name": "refund 4711", "value_usd": "12.50", "note": "…"}`

`outcome` is `success`, `partial`, `failure` or `cancelled`. `transactions` is how many the run has finished in all: a
number, or their names, each once; a run of which nothing is said is one. With `transactions` the outcome may be left
out while the run goes on. A report replaces the one before, as a whole, and the record keeps both; the same again
changes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.domain.errors import CallError, MoneyError
from aegis_gateway.domain.money import NANO_PER_USD, nano_usd
from aegis_gateway.domain.outcome import (
    NAME_CHARACTERS_MAX,
    NAMES_CHARACTERS_MAX,
    NAMES_MAX,
    NOTE_CHARACTERS_MAX,
    RESULTS,
    TRANSACTIONS_MAX,
    VALUE_NANO_USD_MAX,
    Report,
)
from aegis_gateway.entrypoints.data_plane.wire import body_as, number_reader, strict_json

_NOT_GIVEN = msgspec.Raw()


class OutcomeRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is reported."""

    outcome: str | None = None
    name: str = ""
    note: str = ""
    value_usd: msgspec.Raw = _NOT_GIVEN
    transactions: int | list[str] | None = None


def report_of(raw: bytes) -> Report:
    """A report as it was sent.

    Raises:
        CallError: it is none.
    """
    strict_json(raw)  # nothing that could mean one thing here and another elsewhere
    asked = body_as(OutcomeRequest, raw)
    result: Any = asked.outcome or ""
    if result not in ("", *RESULTS) or (asked.outcome is not None and not result):
        listed = ", ".join(f"`{each}`" for each in RESULTS)
        raise CallError(f"`{str(asked.outcome)[:64]}` is no outcome; write one of {listed}", field="outcome")
    if not result and asked.transactions is None:
        raise CallError(
            "say what became of the run (`outcome`), or what it finished (`transactions`)", field="outcome"
        )
    transactions, names = _transactions(asked.transactions)
    return Report(
        result=result,
        name=_text(asked.name, "name", NAME_CHARACTERS_MAX),
        note=_text(asked.note, "note", NOTE_CHARACTERS_MAX, lines=True),
        value_nano_usd=_value(bytes(asked.value_usd)),
        transactions=transactions,
        names=names,
    )


def _transactions(told: int | list[str] | None) -> tuple[int | None, tuple[str, ...]]:
    if told is None:
        return None, ()
    if isinstance(told, int):
        if not 0 <= told <= TRANSACTIONS_MAX:
            raise CallError(f"a run finishes 0 to {TRANSACTIONS_MAX:,} transactions", field="transactions")
        return told, ()
    names = tuple(dict.fromkeys(told))
    if len(names) > NAMES_MAX:
        raise CallError(
            f"{len(names)} transactions are named, and {NAMES_MAX} is the most; tell how many they are",
            field="transactions",
        )
    for name in names:
        if not name:
            raise CallError("a transaction's name has at least one character", field="transactions")
        _text(name, "transactions", NAME_CHARACTERS_MAX)
    if sum(map(len, names)) > NAMES_CHARACTERS_MAX:
        raise CallError(
            f"transactions' names have at most {NAMES_CHARACTERS_MAX:,} characters together; tell how many they are",
            field="transactions",
        )
    return len(names), names


def _text(told: str, field: str, most: int, *, lines: bool = False) -> str:
    text = told.replace("\n", " ").replace("\r", " ").replace("\t", " ") if lines else told
    if len(told) > most or not text.isprintable():
        raise CallError(f"`{field}` has at most {most:,} printable characters", field=field)
    return told


def _value(told: bytes) -> int | None:
    if not told or told == b"null":
        return None
    number = number_reader({"value_usd": strict_json(told)})(("value_usd",))
    try:
        value = None if number is None else int(nano_usd(number))
    except MoneyError as fault:
        raise CallError(str(fault), field="value_usd") from fault
    if value is None or not 0 <= value <= VALUE_NANO_USD_MAX:
        most = VALUE_NANO_USD_MAX // NANO_PER_USD
        raise CallError(f"`value_usd` is an amount of dollars from 0 to {most:,}", field="value_usd")
    return value
