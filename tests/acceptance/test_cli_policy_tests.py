"""`aegis test`, and what `aegis plan` and `aegis apply` make of tests that fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aegis_gateway.configuration.packs import write_pack
from aegis_gateway.entrypoints.cli.main import build


def aegis(*arguments: str | Path) -> Result:
    """Run a command."""
    return CliRunner().invoke(build(), [str(each) for each in arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The example."""
    write_pack(tmp_path / "conf")
    return tmp_path / "conf"


def written(directory: Path, text: str) -> Path:
    """Have a file of tests beside the example's own."""
    file = directory / "policies" / "tests" / "more.yaml"
    file.write_text("tests:\n" + text)
    return file


PAYMENT = "  - {name: it, agent: payments-bot, call: payments.create-payment, args: {amount: %s, currency: USD}, %s}\n"


def test_the_example_passes(directory: Path) -> None:
    """All its tests, told one by one, and counted for programs."""
    told = aegis("test", directory)
    assert 0 == told.exit_code, told.output
    assert "✓ a cent above the ceiling is for a person" in told.output
    assert "5 passed" in told.output
    record = json.loads(aegis("test", directory, "--json").stdout)
    assert (5, 0) == (record["passed"], record["failed"])
    assert ["payment-ceiling", "denied_by_policy"] == record["tests"][1]["decided"]["names"]


@pytest.mark.parametrize(
    ("amount", "effect", "because"),
    [
        ("5000", "allow", "treasury-may-pay"),
        ("5000.00", "allow", "treasury-may-pay"),
        ("5000.01", "deny", "payment-ceiling"),
        ('"5000.01"', "deny", "payment-ceiling"),
        ("1000000000", "deny", "payment-ceiling"),
        ("null", "error", "body.amount"),
        ("many", "error", "body.amount"),
        ("5000.00001", "error", "context.args.amount"),
    ],
)
def test_amounts_are_read_as_the_door_reads_them(
    directory: Path, amount: str, effect: str, because: str
) -> None:
    """The test's call is typed, priced and judged like one that comes over the wire."""
    written(directory, PAYMENT % (amount, f"expect: {effect}, because: {because}"))
    told = aegis("test", directory)
    assert 0 == told.exit_code, told.output


@pytest.mark.parametrize(
    "expectation", ["expect: allow", "expect: error", "expect: deny, because: another-policy"]
)
def test_a_test_that_fails(directory: Path, expectation: str) -> None:
    """It says where it stands, what it expects, what was decided and why; nothing can be planned or applied so."""
    file = written(directory, "\n" + PAYMENT % ("9000", expectation))
    told = aegis("test", directory)
    assert 3 == told.exit_code
    assert f"{file}:3" in told.output.replace("\n", "")
    assert "payments above $5,000 need a person" in told.output
    assert "5 passed, 1 failed" in told.output
    store = f"sqlite:{directory.parent / 'aegis.db'}"
    for command in (("plan", directory), ("apply", directory, "--yes")):
        refused = aegis(*command, "--store", store)
        assert 1 == refused.exit_code
        assert "test `it` expects" in refused.output
    assert not (directory.parent / "aegis.db").exists()


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (
            "{name: a, agent: payment-bot, call: chat, model: gpt-4o-mini, expect: deny}",
            "did you mean `payments-bot`?",
        ),
        ("{name: a, agent: loan-bot, call: chatt, model: gpt-4o-mini, expect: deny}", "did you mean `chat`?"),
        ("{name: a, agent: loan-bot, call: chat, expect: deny}", "has no `model`"),
        ("{name: a, agent: loan-bot, call: chat, model: gpt-4o-mini}", "has no `expect`"),
        ("{name: a, agent: loan-bot, call: chat, model: gpt-4o-mini, expect: no}", "is `no`"),
        (
            "{name: a, agent: loan-bot, call: chat, model: gpt-4o-mini, expected: deny}",
            "did you mean `expect`?",
        ),
        (
            "{name: a, agent: loan-bot, call: payments.create-payment, args: {amuont: 1}, expect: deny}",
            "did you mean `amount`?",
        ),
        (
            "{name: a, agent: loan-bot, call: chat, model: gpt-4o-mini, api: embeddings, expect: deny}",
            "no way to",
        ),
        ("just words", "write its settings below it"),
    ],
)
def test_a_test_that_makes_no_sense(directory: Path, test: str, words: str) -> None:
    """It is told by file and line, with what to write instead."""
    file = written(directory, f"  - {test}\n")
    told = aegis("test", directory)
    assert 1 == told.exit_code
    flat = told.output.replace("\n", " ")
    assert f"{file}:2" in told.output.replace("\n", "")
    assert words in flat


def test_there_are_none(directory: Path) -> None:
    """It is said, rather than taken for success."""
    (directory / "policies" / "tests" / "payments.yaml").unlink()
    told = aegis("test", directory)
    assert 1 == told.exit_code
    assert "there are no tests" in told.output


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_model_s_own_request(directory: Path, api: str) -> None:
    """A test may say what the model is asked; what is priced is that."""
    (directory / "policies" / "30-dear.cedar").write_text(
        '@id("not-so-dear")\nforbid(principal, action == Action::"chat", resource)\n'
        'when { context.cost.maximum_usd.greaterThan(decimal("0.005")) };\n'
    )
    field = {"chat": "max_tokens", "responses": "max_output_tokens"}[api]
    call = f"agent: loan-bot, call: chat, model: gpt-4o-mini, api: {api}"
    written(
        directory,
        f"  - {{name: short, {call}, request: {{{field}: 100}}, expect: allow}}\n"
        f"  - {{name: long, {call}, request: {{{field}: 16000}}, expect: deny, because: not-so-dear}}\n",
    )
    told = aegis("test", directory)
    assert 0 == told.exit_code, told.output


@pytest.mark.parametrize("command", [("test",), ("plan",), ("apply", "--yes")])
def test_a_misspelt_argument_in_a_policy(directory: Path, command: tuple[str, ...]) -> None:
    """It is told by file and line, with what was meant, and nothing is put in force."""
    file = directory / "policies" / "20-payments.cedar"
    text = file.read_text()
    file.write_text(text.replace("args.amount", "args.amuont"))
    line = text[: text.index("args.amount")].count("\n") + 1
    store = [] if command[0] == "test" else ["--store", f"sqlite:{directory.parent / 'aegis.db'}"]
    told = aegis(command[0], directory, *command[1:], *store)
    assert 1 == told.exit_code
    assert f"{file}:{line}" in told.output.replace("\n", "")
    assert "did you mean `amount`?" in told.output.replace("\n", " ")
    assert not (directory.parent / "aegis.db").exists()


def test_a_time_of_day(directory: Path) -> None:
    """A test says when its call is made, in the tenant's zone; without it is a Wednesday at noon."""
    (directory / "policies" / "30-nights.cedar").write_text(
        '@id("not-at-night")\nforbid(principal, action == Action::"chat", resource)\n'
        "when { context.time.hour < 7 || context.time.weekday > 5 };\n"
    )
    call = "agent: loan-bot, call: chat, model: gpt-4o-mini"
    written(
        directory,
        f"  - {{name: by day, {call}, expect: allow}}\n"
        f"  - {{name: early, {call}, at: 2026-11-27T06:59, expect: deny, because: not-at-night}}\n"
        f"  - {{name: in time, {call}, at: 2026-11-27T07:00, expect: allow}}\n"
        f"  - {{name: on Saturday, {call}, at: 2026-11-28T12:00, expect: deny}}\n",
    )
    told = aegis("test", directory)
    assert 0 == told.exit_code, told.output
    file = written(directory, f"  - {{name: zoned, {call}, at: 2026-11-28T12:00Z, expect: deny}}\n")
    told = aegis("test", directory)
    assert (1, True) == (told.exit_code, "in the tenant's own zone" in told.output.replace("\n", " "))
    assert f"{file}:2" in told.output.replace("\n", "")


def test_a_home_in_shadow(directory: Path) -> None:
    """`aegis plan` warns of an agent whose own budget bounds nothing."""
    file = directory / "aegis.yaml"
    file.write_text(file.read_text().replace("limit: 5.00\n", "limit: 5.00\n        mode: shadow\n", 1))
    told = aegis("plan", directory, "--store", f"sqlite:{directory.parent / 'aegis.db'}")
    assert 0 == told.exit_code, told.output
    assert "agent `loan-bot` lives on budget `loan-day`, which is in shadow" in told.output.replace("\n", " ")
