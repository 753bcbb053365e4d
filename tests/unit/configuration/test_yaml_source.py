import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.configuration.yaml_source import BYTES_MAX, YamlSource, read_yaml
from aegis_gateway.domain.errors import ConfigurationError, Problem


def read(text: str) -> YamlSource:
    """A text, read."""
    return read_yaml("aegis.yaml", text)


def mistakes(text: str) -> list[str]:
    """What reading a text tells of."""
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("", None),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("0.15", Decimal("0.15")),
        ("20.00", Decimal("20.00")),
        (".5", Decimal("0.5")),
        ("1.5e3", Decimal("1.5e3")),
        ("0.1234567890123456789012345", Decimal("0.1234567890123456789012345")),
        ("012", "012"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("2026-10-01", "2026-10-01"),
        ("2026-10-01T00:00:00Z", "2026-10-01T00:00:00Z"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("nan", "nan"),
        ("=", "="),
    ],
)
def test_scalars_are_what_they_look_like(written: str, meant: object) -> None:
    """Flags, integers and exact decimals are told by their look; everything else is text."""
    data = read(f"a: {written}").data
    assert {"a": meant} == data
    assert isinstance(data, dict)
    assert type(meant) is type(data["a"])


def test_keys_are_always_text() -> None:
    """A key is the word that was written, whatever it would be as a value."""
    assert {"on": 1, "1": 2, "true": 3, "2026-10-01": 4} == read("on: 1\n1: 2\ntrue: 3\n2026-10-01: 4").data


def test_every_path_has_its_line() -> None:
    """Keys, nested keys and items of lists each know their line; what is missing points to what is around it."""
    source = read("a:\n  b: 1\n  c:\n    - x\n    - {d: 2,\n       e: 3}\n")
    lines = {path: source.line(path) for path in [("a",), ("a", "b"), ("a", "c", 1), ("a", "c", 1, "e")]}
    assert {("a",): 1, ("a", "b"): 2, ("a", "c", 1): 5, ("a", "c", 1, "e"): 6} == lines
    assert 2 == source.line(("a", "b", "missing", 7))
    assert 1 == source.line(("nothing",))


def test_aliases_repeat_a_value() -> None:
    """An alias stands for what its anchor names."""
    assert {"a": {"x": 1}, "b": {"x": 1}} == read("a: &one {x: 1}\nb: *one").data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "3: a stands twice; it is on line 1 already, keep one of them"),
        ("a:\n  b: 1\n  b: 2", "3: a.b stands twice; it is on line 2 already, keep one of them"),
        ("a: 1e400", "1: `1e400` is too large or too small a number; quote it if it is text"),
        ("a: 1e-400", "1: `1e-400` is too large or too small a number; quote it if it is text"),
        ("a: " + "9" * 60, "1: `99999999999999999999…` has too many digits; quote it if it is text"),
        ("a: .nan", "1: `.nan` is not a number to count with; write one as in 20.00"),
        ("a: -.inf", "1: `-.inf` is not a number to count with; write one as in 20.00"),
        ("a: !!float 3", "1: a type (`!`) stands before a value; leave it out, and quote what is text"),
        ("a: !x {}", "1: a type (`!`) stands before a value; leave it out, and quote what is text"),
        ("? [a]\n: b", "1: a key must be a word before a `:`"),
        ("~: b", "1: a key must be a word before a `:`"),
        (
            "a: &x {b: 1}\nc: {<<: *x}",
            "2: merging (`<<`) is not read here; repeat the values, or use an alias for each",
        ),
        ("a: *x", "1: an alias (`*name`) without its anchor (`&name`) above; write the value out"),
        ("&a a: 1\n&a b: 2", "2: an anchor (`&name`) is defined twice; give each its own name"),
        (
            "a: 1\n\tb: 2",
            "2: a tab or another sign that YAML keeps for itself; indent with spaces, quote text",
        ),
        ("a: @x", "1: a tab or another sign that YAML keeps for itself; indent with spaces, quote text"),
        ("a: b: c", "1: a `:` where none may stand; quote text that has one, or mend the indentation"),
        ("a: 1\nb\nc: 1", "3: neither a key with its `:` nor part of a value; mend the line, or quote it"),
        ("- a\nb: c", "2: the indentation does not fit the lines above; align the keys of one level"),
        ("a: 'x", "1: a quote or bracket is opened and never closed; close it"),
        ("a: [1, 2\nb: 1", "2: a bracket is not closed, or a comma is missing between two values"),
        ('a: "\\q"', "1: a backslash before a sign that it can't escape; use 'single quotes'"),
        ("---\na: 1\n---\nb: 1", "3: a second document begins (`---`); one file holds one document"),
        ("a: 1\nb: \x00", "2: a character stands here that text files don't hold; write the line again"),
        ("a: " + "[" * 40 + "]" * 40, "1: this is nested more than 32 levels deep"),
        (
            "a: &a [*a]",
            "1: aliases (`*name`) repeat too much; the values may come to 100,000 in all, write fewer",
        ),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, expected: str) -> None:
    """What isn't read has a line and says what to write instead."""
    assert [f"aegis.yaml:{expected}"] == mistakes(text)


def test_all_mistakes_of_one_reading_are_told() -> None:
    """Mistakes that don't end the reading are told together."""
    assert [1, 2, 4] == [int(line.split(":")[1]) for line in mistakes("a: .nan\nb: 1e99\nc: 1\nc: 2\n")]


def test_aliases_cannot_multiply_without_bound() -> None:
    """A billion laughs end after a hundred thousand values."""
    names = "abcdefghijkl"
    lines = ["a: &a [" + ", ".join(["ha"] * 10) + "]"]
    lines += [
        f"{name}: &{name} [" + ", ".join([f"*{before}"] * 10) + "]"
        for before, name in itertools.pairwise(names)
    ]
    found = mistakes("\n".join(lines))
    assert 1 == len(found)
    assert "aliases (`*name`) repeat too much" in found[0]


def test_size_is_bounded() -> None:
    """A file above the limit isn't parsed at all."""
    expected = ["aegis.yaml: the file is larger than 1024 KiB; split it"]
    assert expected == mistakes("a: " + "x" * BYTES_MAX)


def test_depth_is_bounded_before_python_s_stack_is() -> None:
    """Half a million brackets are a mistake, not a crash."""
    assert ["aegis.yaml:1: this is nested more than 32 levels deep"] == mistakes("[" * 500_000)


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@ \n\t,.019e~<"), max_size=60))
def test_any_text_is_read_or_told_of(text: str) -> None:
    """No text raises anything but a configuration error with our own words."""
    problems: tuple[Problem, ...] | None = None
    try:
        read(text)
    except ConfigurationError as fault:
        problems = fault.problems
    assert problems != ()
