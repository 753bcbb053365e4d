"""What is to be redacted, and the tokens that stand in its place."""

from __future__ import annotations

import re

from aegis_gateway.domain.redaction import Redaction, is_token, token, told, total, union

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def test_a_union_takes_out_what_any_takes_out() -> None:
    """Kinds and fields of all, each once, in one order."""
    first = Redaction(kinds=("ssn",), fields=("note",))
    second = Redaction(kinds=("dob", "ssn"), fields=("code",))
    assert Redaction(kinds=("dob", "ssn"), fields=("code", "note")) == union((first, second))
    assert union((first, second)) == union((second, first))
    assert not union(())


def test_fields_are_known_by_name_however_it_is_written() -> None:
    """A kind's fields are of that kind, named fields of theirs or of none; others aren't redacted."""
    redaction = Redaction(kinds=("name",), fields=("account_code", "dob"))
    assert ["name", "name", "field", "field", "dob", None, None] == [
        redaction.kind_of(name)
        for name in ("patient_name", "patientName", "Account-Code", "accountCode", "dob", "mrn", "name")
    ]  # fmt: skip


def test_tokens_say_the_kind_and_nothing_else() -> None:
    """The same value has the same token under one key, another under another key or kind; none has the value in it."""
    made = token("ssn", b"123456789", KEY)
    assert re.fullmatch(r"\[SSN:[0-9a-f]{12}\]", made)
    assert is_token(made)
    assert not is_token(f"{made} and more")
    assert made == token("ssn", b"123456789", KEY)
    assert 4 == len(
        {
            made,
            token("ssn", b"123456789", OTHER_KEY),
            token("mrn", b"123456789", KEY),
            token("ssn", b"123456780", KEY),
        }
    )


def test_counts_are_added_and_told() -> None:
    """Counts by kind, in words."""
    assert {"ssn": 3, "email": 1} == total({"ssn": 2}, {"ssn": 1, "email": 1})
    assert "1 email, 3 ssn" == told({"ssn": 3, "email": 1})
