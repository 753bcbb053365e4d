import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aegis_gateway.domain.errors import KeyFormatError
from aegis_gateway.domain.keys import KeyKind, check_key, key_from_random, key_hash, key_hint

NUMBERS = st.integers(0, 62**30 - 1)
KINDS: st.SearchStrategy[KeyKind] = st.sampled_from(["live", "test", "person"])


def test_a_key_as_it_looks() -> None:
    """The format is frozen: scanners of secrets look for it."""
    assert "aegis_live_000000000000000000000000000000" == key_from_random(0)[: 11 + 30]
    assert 11 + 36 == len(key_from_random(62**30 - 1))
    assert "aegis_live_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz" == key_from_random(62**30 - 1)[: 11 + 30]


@given(NUMBERS, KINDS)
def test_keys_are_well_formed(number: int, kind: KeyKind) -> None:
    """What is issued is recognised, with its kind."""
    assert kind == check_key(key_from_random(number, kind))


@given(NUMBERS, NUMBERS)
def test_different_numbers_are_different_keys(one: int, other: int) -> None:
    """No two random numbers make one key."""
    assume(one != other)
    assert key_from_random(one) != key_from_random(other)


@given(NUMBERS, st.integers(0, 35), st.characters(codec="ascii"))
def test_a_mistyped_character_is_noticed(number: int, place: int, typed: str) -> None:
    """One wrong character anywhere, and the checksum or the alphabet tells."""
    key = key_from_random(number)
    position = len("aegis_live_") + place
    assume(key[position] != typed)
    with pytest.raises(KeyFormatError):
        check_key(key[:position] + typed + key[position + 1 :])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "this is not an Aegis key; they begin with `aegis_live_` or `aegis_test_`"),
        ("sk-abc", "this is not an Aegis key; they begin with `aegis_live_` or `aegis_test_`"),
        ("aegis_live", "this is not an Aegis key; they begin with `aegis_live_` or `aegis_test_`"),
        (
            "AEGIS_LIVE_" + "0" * 36,
            "this is not an Aegis key; they begin with `aegis_live_` or `aegis_test_`",
        ),
        ("aegis_live_", "the key has the wrong length or characters; was it cut when copied?"),
        (key_from_random(7)[:-1], "the key has the wrong length or characters; was it cut when copied?"),
        (key_from_random(7) + "0", "the key has the wrong length or characters; was it cut when copied?"),
        ("aegis_live_" + "é" * 36, "the key has the wrong length or characters; was it cut when copied?"),
        ("aegis_live_" + "0" * 36, "the key's checksum is wrong; was it mistyped?"),
    ],
)
def test_what_is_no_key_is_told(key: str, message: str) -> None:
    """A foreign, cut or mistyped key each has its own words, and none repeats the key."""
    with pytest.raises(KeyFormatError) as caught:
        check_key(key)
    assert message == str(caught.value)


@given(NUMBERS, st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_a_hash_needs_the_pepper(number: int, pepper: bytes, other: bytes) -> None:
    """The same key under the same pepper is the same 32 bytes; under another it isn't."""
    # HMAC pads short keys with zeros, so trailing zeros tell no peppers apart.
    assume(pepper.rstrip(b"\0") != other.rstrip(b"\0"))
    key = key_from_random(number)
    assert key_hash(key, pepper) == key_hash(key, pepper)
    assert 32 == len(key_hash(key, pepper))
    assert key_hash(key, pepper) != key_hash(key, other)


def test_a_hint_shows_the_end_alone() -> None:
    """People tell keys apart by it, and nobody can use it."""
    key = key_from_random(123456789, "test")
    assert f"aegis_test_…{key[-4:]}" == key_hint(key)
