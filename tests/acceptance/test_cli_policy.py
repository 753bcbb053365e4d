"""`aegis policy`, and rules on their way through the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aegis_gateway.configuration.packs import write_pack
from aegis_gateway.entrypoints.cli.main import build

RULE = """\
      evening-payments:
        who: {team: treasury}
        what: {tool: payments.create-payment}
        when: {time.hours: 18-8, args.amount: {above: 100}}
        effect: deny
        message: 'nobody pays "that much" at night'
"""


class Place:
    """The example with one more rule, and a store."""

    def __init__(self, directory: Path) -> None:
        self.conf = directory / "conf"
        self.store = f"sqlite:{directory / 'aegis.db'}"
        write_pack(self.conf)
        self.add("aegis.yaml", RULE)

    def add(self, file: str, text: str) -> int:
        """Write more into a file; returns the line on which it begins."""
        path = self.conf / file
        before = path.read_text()
        path.write_text(before + text)
        return before.count("\n") + 1

    def aegis(self, *arguments: str | Path) -> Result:
        """Run a command."""
        return CliRunner().invoke(
            build(), [*map(str, arguments)], env={"AEGIS_STORE": self.store, "COLUMNS": "200"}
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Nothing is applied yet."""
    return Place(tmp_path)


def test_policies_of_a_directory_and_in_force(place: Place) -> None:
    """Both lists are the same: rules and Cedar, each with where it is written."""
    listed = place.aegis("policy", "list", place.conf, "--json")
    assert 0 == listed.exit_code, listed.output
    policies = {each["policy"]: each for each in json.loads(listed.stdout)["policies"]}
    rule, written = policies["evening-payments"], policies["payment-ceiling"]
    assert (True, "deny", "team treasury") == (rule["is_rule"], rule["effect"], rule["who"])
    assert "time.hours 18-8, args.amount above 100" == rule["when"]
    assert (False, "policies/20-payments.cedar", 4) == (written["is_rule"], written["file"], written["line"])
    assert 0 == place.aegis("apply", place.conf, "--yes").exit_code
    assert json.loads(listed.stdout) == json.loads(place.aegis("policy", "list", "--json").stdout)
    assert "evening-payments" in place.aegis("policy", "list").output


def test_one_policy(place: Place) -> None:
    """A rule's Cedar is what would stand in a file of policies; what was written is shown as it was."""
    shown = place.aegis("policy", "show", "evening-payments", place.conf).output
    assert '@reason("nobody pays \\"that much\\" at night")' in shown
    assert 'principal in Team::"treasury",' in shown
    written = place.aegis("policy", "show", "payment-ceiling", place.conf).output
    assert 'when { context.args.amount.greaterThan(decimal("5000.0")) };' in written
    missing = place.aegis("policy", "show", "payment-celing", place.conf)
    assert (1, True) == (missing.exit_code, "did you mean `payment-ceiling`?" in missing.output)


def test_a_rule_is_tested_like_any_policy(place: Place) -> None:
    """A test of policies names it, and it decides."""
    tests = "policies/tests/payments.yaml"
    case = """\
  - name: at night
    agent: payments-bot
    call: payments.create-payment
    args: {amount: %s, currency: EUR}
    at: "2026-01-07T%s"
    expect: %s
    because: %s
"""
    place.add(tests, case % (101, "22:00", "deny", "evening-payments"))
    place.add(tests, case % (100, "22:00", "allow", "treasury-may-pay"))
    place.add(tests, case % (101, "12:00", "allow", "treasury-may-pay"))
    tested = place.aegis("test", place.conf)
    assert 0 == tested.exit_code, tested.output


@pytest.mark.parametrize(
    ("rule", "offset", "words"),
    [
        ("x: {what: {tool: chta}, effect: deny}", 0, "did you mean `chat`?"),
        ("x:\n        what: {tool: chat, connector: payments}\n        effect: deny", 1, "no tool of the connector"),
        ("x:\n        who: {tags: {chanel: web}}\n        what:\n          tool: chat\n"
         "        effect: downgrade\n        model: gpt-4o-minni", 5, "did you mean `gpt-4o-mini`?"),
        ("x:\n        effect: throttle\n        limit: 5\n        every: 1s\n        per: agnt", 0, "no kind of"),
    ],
)  # fmt: skip
def test_a_mistake(place: Place, rule: str, offset: int, words: str) -> None:
    """It is told on its line of the file, whether it is found in the rule or in the Cedar that it became."""
    line = place.add("aegis.yaml", f"      {rule}\n") + offset
    planned = place.aegis("plan", place.conf)
    assert 1 == planned.exit_code
    assert f"{place.conf / 'aegis.yaml'}:{line}: " in planned.output, planned.output
    assert words in planned.output
    assert 1 == place.aegis("apply", place.conf, "--yes").exit_code


def test_an_id_is_a_policys_or_a_rules(place: Place) -> None:
    """A rule that is called as a policy is would make the record ambiguous."""
    place.add("aegis.yaml", "      payment-ceiling: {effect: deny}\n")
    planned = place.aegis("plan", place.conf)
    assert (1, True) == (planned.exit_code, "policy id `payment-ceiling` is used twice" in planned.output)
