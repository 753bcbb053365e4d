"""The `aegis` command, on real SQLite stores."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import Lose, Settle, TellOutcome
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.money import nano_usd
from aegis_gateway.domain.outcome import Report, Result
from aegis_gateway.domain.pace import PaceSums
from aegis_gateway.entrypoints.cli.main import build
from tests.ledgers import ATTRIBUTION, admission, budget, cost, quote

AEGIS = Path(sys.executable).parent / "aegis"

CONFIGURATION = """\
version: 1
tenants:
  northbank:
    name: North Bank
    quantities:
      paid_out: {unit: usd}
    teams:
      lending:
        cost_centre: CC-1001
        owner: ana@northbank.example
        default_budget: lending-day
      treasury:
        cost_centre: CC-2040
        owner: tom@northbank.example
    agents:
      loan-bot:
        owner: ana@northbank.example
        team: lending
        purpose: answers mortgage questions
        environment: production
        external_id: svc-0
    connectors:
      openai: {kind: openai, base_url: "https://api.example.com/v1"}
    models:
      small: {connector: openai, price: {input_per_million: 0.15, output_per_million: 0.60}}
    budgets:
      lending-day:
        owner: ana@northbank.example
        deputy: ben@northbank.example
        limit: 20.00
        period: yearly
        match: {team: lending}
      spare:
        owner: ana@northbank.example
        deputy: ben@northbank.example
        limit: 1.00
        period: monthly
        match: {model: small}
"""
POLICY = '@id("all") permit (principal, action, resource);\n'

REFUSED = Verdict(
    effect="deny",
    reasons=(Reason(code="denied_by_policy", message="policy `ceiling`: too dear", subject="ceiling"),),
)
ADD = ["agent", "add", "matcher", "--team", "lending", "--cost-centre", "CC-1001", "--owner", "ann@x.example"]
CSV_HEADER = "id,owner,team,cost_centre,purpose,environment,external_id\n"
CSV_ROWS = "matcher,ann,lending,CC-1001,matches,production,svc-1\nscraper,ann,lending,CC-1001,reads,test,\n"


class Aegis:
    """The command on one store and one configuration directory."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:{folder / 'data' / 'aegis.db'}"
        self.directory = folder / "conf"
        self._runner = CliRunner()
        self.environment = {
            "AEGIS_STORE": self.url,
            "AEGIS_ACTOR": "ana",
            "AEGIS_PEPPER": "",
            "AEGIS_TENANT": "",
            "COLUMNS": "200",
        }

    def run(self, *arguments: str, code: int = 0) -> str:
        """What the command prints on stdout; its exit code is as expected."""
        return self.both(*arguments, code=code)[0]

    def both(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What the command prints on stdout and on stderr."""
        environment: dict[str, str | None] = {name: value or None for name, value in self.environment.items()}
        result = self._runner.invoke(build(), list(arguments), env=environment, catch_exceptions=False)
        assert code == result.exit_code, result.output
        return result.stdout, result.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What the command prints for programs."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The installed command as a process of its own."""
        environment = {**os.environ, **{name: value for name, value in self.environment.items() if value}}
        return subprocess.Popen(
            [AEGIS, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def open(self) -> Store:
        """The store, as a gateway opens it that keeps the ledger."""
        store = open_store(self.url, SystemClock())
        store.keep_ledger()
        return store

    def write(self, configuration: str = CONFIGURATION) -> Path:
        """Write the configuration's files."""
        (self.directory / "policies").mkdir(parents=True, exist_ok=True)
        (self.directory / "aegis.yaml").write_text(configuration)
        (self.directory / "policies" / "all.cedar").write_text(POLICY)
        return self.directory

    def apply(self, configuration: str = CONFIGURATION) -> str:
        """Put the configuration in force."""
        return self.both("apply", str(self.write(configuration)), "--yes")[1]


@pytest.fixture
def aegis(tmp_path: Path) -> Aegis:
    """The command where nothing is in force yet."""
    return Aegis(tmp_path)


@pytest.fixture
def installed(aegis: Aegis) -> Aegis:
    """The command with a configuration in force."""
    aegis.apply()
    return aegis


@pytest.fixture
def gateway(installed: Aegis) -> Iterator[Store]:
    """What a running gateway has: the store, with its ledger kept."""
    store = installed.open()
    yield store
    store.close()


def decide(
    store: Store, call: str, *, maximum: str = "0.02", verdict: Verdict | None = None, agent: str = "loan-bot"
) -> None:
    """A call on the budget of the team, sent if it is allowed."""
    claim = budget("lending-day", nano_usd("20.00"), period="yearly")
    attribution = msgspec.structs.replace(ATTRIBUTION, agent=agent, model="small")
    command = admission(
        call,
        tenant="northbank",
        epoch=store.epochs()["northbank"],
        budgets=(claim,),
        quoted=quote(nano_usd(maximum)),
        attribution=attribution,
    )
    if verdict is not None:
        command = msgspec.structs.replace(command, verdict=verdict)
    (reply,) = Ledger(store).process([command])
    assert call == reply.call


def settle(store: Store, call: str, dollars: str) -> None:
    """A call's cost becomes known."""
    Ledger(store).process([Settle(call=call, tenant="northbank", evidence=cost(nano_usd(dollars)))])


def lose(store: Store, call: str) -> None:
    """A call's sender is gone."""
    Ledger(store).process([Lose(call=call, tenant="northbank", reason="gone")])


# -- configuration -----------------------------------------------------------------------------------------


def test_from_an_example_to_a_configuration_in_force(aegis: Aegis) -> None:
    """init, plan, apply, and then there is nothing to do."""
    directory = str(aegis.directory)
    assert "aegis.yaml" in aegis.run("init", directory)
    assert "+ agent loan-bot" in aegis.run("plan", directory)
    assert "configuration 1 is in force" in aegis.both("apply", directory, "--yes")[1]
    assert "nothing to do: configuration 1 is in force and the same\n" == aegis.run("plan", directory)
    assert "nothing to do: configuration 1 is in force and the same\n" == aegis.run("apply", directory)


def test_exit_codes_of_a_plan(aegis: Aegis) -> None:
    """With --detailed-exitcode: 2 where something would change, 0 where nothing would, 1 for a mistake."""
    directory = str(aegis.write())
    aegis.run("plan", directory)
    aegis.run("plan", directory, "--detailed-exitcode", code=2)
    aegis.apply()
    aegis.run("plan", directory, "--detailed-exitcode")
    aegis.write(CONFIGURATION.replace("limit:", "limt:"))
    aegis.run("plan", directory, "--detailed-exitcode", code=1)


def test_a_plan_shows_what_changes(installed: Aegis) -> None:
    """A changed limit, before and after, and nothing is changed by looking."""
    directory = str(installed.write(CONFIGURATION.replace("limit: 20.00", "limit: 25.00")))
    changed = "northbank\n  ~ budget lending-day: limit $20.00 → $25.00\n1 changed\n"
    risk = "risk: widening\n  ! budget lending-day: limit is higher\n"
    assert changed + risk == installed.run("plan", directory)
    assert [{"name": "limit", "old": "$20.00", "new": "$25.00"}] == installed.json("plan", directory)[
        "changes"
    ][0]["fields"]
    assert "limit_nano_usd" in installed.run("budget", "--json")
    assert 20_000_000_000 == installed.json("budget")["budgets"][0]["limit_nano_usd"]


def test_broken_configuration_is_told_by_file_and_line(aegis: Aegis) -> None:
    """All mistakes at once, where they stand, and what to write instead; nothing is applied."""
    broken = CONFIGURATION.replace("team: lending\n        purpose", "team: lendin\n        purpose").replace(
        "limit: 20.00", "limt: 20.00"
    )
    directory = aegis.write(broken)
    _, told = aegis.both("apply", str(directory), "--yes", code=1)
    team, limit = told.splitlines()
    assert f"error: {directory}/aegis.yaml:18: " in team
    assert "did you mean `lending`?" in team
    assert f"error: {directory}/aegis.yaml:" in limit
    assert "did you mean `limit`?" in limit
    assert not Path(aegis.url.removeprefix("sqlite:")).exists()


def test_yaml_that_is_none(aegis: Aegis) -> None:
    """A file that cannot be parsed is told by its line."""
    directory = aegis.write("version: 1\ntenants:\n  a: [\n")
    assert re.search(r"aegis\.yaml:\d+: ", aegis.both("plan", str(directory), code=1)[1])


def test_apply_asks_nobody_where_nobody_is(aegis: Aegis) -> None:
    """Without a terminal and without --yes nothing is applied."""
    _, told = aegis.both("apply", str(aegis.write()), code=1)
    assert "--yes applies it without a question" in told
    assert "no configuration is in force yet" in aegis.both("budget", code=1)[1]


def test_imported_agents_are_not_left_without(installed: Aegis) -> None:
    """A configuration that takes an imported agent's budget away is refused, naming the agent."""
    installed.run(*ADD, "--purpose", "matches", "--environment", "test", "--budget", "spare")
    without = CONFIGURATION[: CONFIGURATION.index("      spare:")]
    _, told = installed.both("plan", str(installed.write(without)), code=1)
    assert "northbank: `budget` of imported agent `matcher` is `spare`" in told


# -- agents ------------------------------------------------------------------------------------------------


def test_an_agent_that_lacks_a_tag_is_refused(installed: Aegis) -> None:
    """The message names the tag; with it the agent is there."""
    words = "refused: `purpose` is missing: what the agent is for; write it in a few words\n"
    assert words == installed.both(*ADD, "--environment", "test", code=3)[1]
    added, advice = installed.both(*ADD, "--environment", "test", "--purpose", "matches", "--tag", "a=b")
    assert "agent matcher is registered; it lives on budget lending-day\n" == added
    assert "aegis key issue matcher" in advice
    listed = installed.json("agent", "list")["agents"]
    assert [("loan-bot", "file", {}), ("matcher", "import", {"a": "b"})] == [
        (agent["agent"], agent["source"], agent["tags"]) for agent in listed
    ]


def test_an_agent_is_added_once(installed: Aegis) -> None:
    """The same again changes nothing; another one of that name is refused."""
    complete = [*ADD, "--environment", "test", "--purpose", "matches"]
    installed.run(*complete)
    before = installed.run("entries")
    installed.run(*complete)
    assert before == installed.run("entries")
    _, told = installed.both(*complete, "--budget", "spare", code=3)
    assert "`id` is `matcher`, which is registered already" in told


def test_importing_agents(installed: Aegis, tmp_path: Path) -> None:
    """A dry run tells all that is wrong and writes nothing; mended, agents come in, and again nothing changes."""
    file = tmp_path / "agents.csv"
    file.write_text(
        CSV_HEADER + "matcher,,lending,CC,x,test,\nb,ann,lendin,CC,x,test,\nloan-bot,a,lending,C,x,test,\n"
    )
    before = installed.run("entries")
    _, told = installed.both("agent", "import", str(file), "--dry-run", code=3)
    assert [
        f"refused: {file}: row 2: `owner` is missing: who answers for the agent; "
        "write a person, as in ana@northbank.example",
        f"refused: {file}: row 3: `team` is `lendin`, and there is no such team; did you mean `lending`?",
        f"refused: {file}: row 4: `id` is `loan-bot`, an agent of the configuration file; "
        "change it there and `aegis apply` it",
        f"3 mistakes; nothing of `{file}` was imported",
    ] == told.splitlines()
    installed.run("agent", "import", str(file), code=3)
    assert before == installed.run("entries")

    file.write_text("\ufeff" + (CSV_HEADER + CSV_ROWS).replace(",", ";"))
    assert "dry run, nothing was written: 2 created" in installed.run(
        "agent", "import", str(file), "--dry-run"
    )
    assert before == installed.run("entries")
    assert "2 created, 0 updated, 0 unchanged" in installed.run("agent", "import", str(file))
    assert "0 created, 0 updated, 2 unchanged" in installed.run("agent", "import", str(file))
    file.write_text(CSV_HEADER + CSV_ROWS.replace("matches", "matches invoices"))
    assert "~ matcher: purpose matches → matches invoices\n" in installed.run("agent", "import", str(file))


def test_imports_for_programs(installed: Aegis, tmp_path: Path) -> None:
    """What an import did, or would not do, as JSON."""
    file = tmp_path / "agents.csv"
    file.write_text(CSV_HEADER + CSV_ROWS)
    assert {
        "tenant": "northbank",
        "dry_run": False,
        "created": ["matcher", "scraper"],
        "updated": [],
        "unchanged": [],
        "mistakes": [],
    } == installed.json("agent", "import", str(file))
    file.write_text(CSV_HEADER + ",ann,lending,CC,x,test,\n")
    (mistake,) = installed.json("agent", "import", str(file), code=3)["mistakes"]
    assert (2, "id") == (mistake["row"], mistake["column"])


def test_files_that_are_not_read(installed: Aegis, tmp_path: Path) -> None:
    """A file that is not there, is too large, or is not UTF-8 is told as such."""
    file = tmp_path / "agents.csv"
    assert "cannot be read: no such file" in installed.both("agent", "import", str(file), code=1)[1]
    file.write_bytes(CSV_HEADER.encode() + "jürgen".encode("latin-1"))
    assert "is not UTF-8 (line 2)" in installed.both("agent", "import", str(file), code=1)[1]
    file.write_bytes(b"x" * (5 * 1024 * 1024 + 1))
    assert "is larger than 5 MiB" in installed.both("agent", "import", str(file), code=1)[1]


# -- keys --------------------------------------------------------------------------------------------------


def issue(aegis: Aegis, *more: str) -> tuple[str, str]:
    """A new key's id and secret."""
    issued = aegis.json("key", "issue", "loan-bot", *more)
    return issued["key"], issued["secret"]


def test_a_key_s_life(installed: Aegis) -> None:
    """Issued, throttled, rotated with a grace time, revoked: each state is listed, newest first."""
    old, _ = issue(installed)

    def states() -> dict[str, str]:
        return {key["key"]: key["state"] for key in installed.json("key", "list")["keys"]}

    assert {old: "valid"} == states()
    assert f"key {old} of agent loan-bot may be used 5/1s\n" == installed.run("key", "throttle", old, "5/s")
    assert {old: "throttled"} == states()
    new = installed.json("key", "rotate", old, "--grace", "24h")["key"]
    assert {new: "throttled", old: "expiring"} == states()
    installed.run("key", "throttle", new, "off")
    assert {new: "valid", old: "expiring"} == states()
    assert re.search(r"expiring in (1 d|23 h), 5/1s", installed.run("key", "list"))
    installed.run("key", "revoke", old)
    assert {new: "valid", old: "revoked"} == states()
    assert "is not valid any more" in installed.both("key", "rotate", old, code=1)[1]


def test_a_key_is_alone_on_stdout(installed: Aegis) -> None:
    """It can be piped to where it belongs; the warning that it is shown once is beside it."""
    secret, words = installed.both("key", "issue", "loan-bot", "--test")
    assert re.fullmatch(r"aegis_test_[0-9A-Za-z]{36}\n", secret)
    assert "this is the only time that it is shown" in words
    assert secret.strip() not in words


def test_a_rotated_test_key_is_a_test_key(installed: Aegis) -> None:
    """What a key says that it is for is said by the one that replaces it."""
    old, _ = issue(installed, "--test")
    assert installed.json("key", "rotate", old, "--grace", "0")["secret"].startswith("aegis_test_")
    assert ["expired", "valid"] == sorted(key["state"] for key in installed.json("key", "list")["keys"])


def test_a_key_of_nobody(installed: Aegis) -> None:
    """Agents and keys that are not there are told with what was probably meant; a secret is not repeated."""
    assert "did you mean `loan-bot`?" in installed.both("key", "issue", "loan-bt", code=1)[1]
    assert "`aegis key list` shows" in installed.both("key", "revoke", "key_x", code=1)[1]
    _, secret = issue(installed)
    _, told = installed.both("key", "revoke", secret, code=1)
    assert "never by the key itself" in told
    assert secret not in told


def test_a_lost_pepper_is_told_before_a_new_one_ruins_all_keys(installed: Aegis, tmp_path: Path) -> None:
    """No new pepper is made where keys were issued under another."""
    issue(installed)
    (tmp_path / "data" / "pepper").unlink()
    assert "1 key was issued under it; put it back" in installed.both("key", "issue", "loan-bot", code=1)[1]


def test_no_secret_is_printed_but_once(installed: Aegis, gateway: Store) -> None:
    """After it was issued no command shows a key again, nor its hash."""
    key, secret = issue(installed)
    decide(gateway, "a")
    (digest,) = [each.hash.hex() for each in gateway.state().tenants["northbank"].keys]
    shown = [
        installed.both(*command)
        for reading in (
            ["key", "list"],
            ["agent", "list"],
            ["budget"],
            ["calls"],
            ["top", "--once"],
            ["entries"],
        )
        for command in (reading, [*reading, "--json"])
    ]
    shown += [installed.both("plan", str(installed.directory)), installed.both("key", "revoke", key)]
    everything = repr(shown)
    assert key in everything
    assert secret not in everything
    assert secret[11:41] not in everything
    assert digest not in everything


# -- what is spent -----------------------------------------------------------------------------------------


def test_budgets(installed: Aegis, gateway: Store) -> None:
    """Spent, reserved and left of each, for people and for programs."""
    decide(gateway, "a")
    settle(gateway, "a", "0.0123")
    decide(gateway, "b", maximum="5.00")
    lending, spare = installed.json("budget")["budgets"]
    assert ("lending-day", "ana@northbank.example", "ben@northbank.example", "hard", "yearly") == (
        lending["budget"],
        lending["owner"],
        lending["deputy"],
        lending["kind"],
        lending["period"],
    )
    assert (20_000_000_000, 12_300_000, 5_000_000_000, 14_987_700_000) == (
        lending["limit_nano_usd"],
        lending["spent_nano_usd"],
        lending["reserved_nano_usd"],
        lending["left_nano_usd"],
    )
    assert ("$20.00", "$0.0123", "$5.00", "$14.9877", "25 %") == (
        lending["limit"],
        lending["spent"],
        lending["reserved"],
        lending["left"],
        lending["used_percent"],
    )
    assert ("spare", 0, "$1.00") == (spare["budget"], spare["spent_nano_usd"], spare["left"])
    first, owner = installed.run("budget").splitlines()[1:3]
    assert re.fullmatch(
        r"lending-day  \S+  25 %  \$0\.0123  +\$5\.00  \$14\.99  \$20\.00  \d{4} +in \d+ d", first.rstrip()
    )
    assert "  owner ana@northbank.example, deputy ben@northbank.example" == owner


def test_one_budget_in_detail(installed: Aegis, gateway: Store) -> None:
    """Its windows and its dearest agents."""
    decide(gateway, "a")
    settle(gateway, "a", "0.0123")
    found = installed.json("budget", "lending-day")
    assert [(12_300_000, 0)] == [
        (each["spent_nano_usd"], each["reserved_nano_usd"]) for each in found["windows"]
    ]
    assert [{"agent": "loan-bot", "calls": 1, "cost_nano_usd": 12_300_000, "cost": "$0.0123"}] == found[
        "agents"
    ]
    shown = installed.run("budget", "lending-day")
    assert "counts usd of team lending" in shown
    assert "loan-bot        $0.0123      1" in shown
    assert "did you mean `lending-day`?" in installed.both("budget", "lending-dy", code=1)[1]


def test_a_budget_that_did_not_hold(installed: Aegis, gateway: Store) -> None:
    """After an overrun there is less than nothing left, and --check says so."""
    decide(gateway, "a")
    installed.run("budget", "--check")
    settle(gateway, "a", "20.50")
    assert "has less than nothing left" in installed.both("budget", "--check", code=3)[1]
    assert "-$0.50" == installed.json("budget")["budgets"][0]["left"]


def test_calls_by_filter(installed: Aegis, gateway: Store) -> None:
    """What was decided, by agent, effect, state and time."""
    decide(gateway, "a")
    settle(gateway, "a", "0.0123")
    decide(gateway, "b", verdict=REFUSED)
    decide(gateway, "c", agent="other")

    def ids(*filters: str) -> list[str]:
        return [call["call"] for call in installed.json("calls", *filters)["calls"]]

    assert ["c", "b", "a"] == ids()
    assert ["c"] == ids("--agent", "other")
    assert ["b"] == ids("--effect", "deny")
    assert ["a"] == ids("--state", "settled")
    assert ["c"] == ids("--limit", "1")
    assert ["c", "b", "a"] == ids("--since", "1h")
    assert [] == ids("--since", "2200-01-01")
    assert "is too far away" in installed.both("calls", "--since", "2999-01-01", code=2)[1]
    (first,) = installed.json("calls", "--state", "settled")["calls"]
    assert (12_300_000, "$0.0123", 20_000_000) == (
        first["cost_nano_usd"],
        first["cost"],
        first["maximum_nano_usd"],
    )
    shown = installed.run("calls")
    assert "✗ deny" in shown
    assert "\n  policy `ceiling`: too dear\n" in shown
    assert "≤ $0.02" in shown
    assert (
        "`maybe` is none; write one of allow, deny, throttle"
        in installed.both("calls", "--effect", "maybe", code=2)[1]
    )


def test_settling_a_call_in_doubt(installed: Aegis, gateway: Store) -> None:
    """A person's word replaces the maximum while a gateway runs, and the record says whose word it was."""
    decide(gateway, "call_0001")
    lose(gateway, "call_0001")
    assert ["call_0001"] == [call["call"] for call in installed.json("calls", "--in-doubt")["calls"]]
    arguments = ["calls", "settle", "0001", "--cost", "0.0123", "--reason", "the provider's bill"]
    words = "call call_0001 is settled at $0.0123, on local:ana's word; it counted at $0.02\n"
    assert words == installed.run(*arguments)
    assert [] == installed.json("calls", "--in-doubt")["calls"]
    lending, _ = installed.json("budget")["budgets"]
    assert (12_300_000, 0) == (lending["spent_nano_usd"], lending["reserved_nano_usd"])
    entry = json.loads(installed.run("entries").splitlines()[-1])
    assert ("settlement", "person", "local:ana", "the provider's bill", "12300000") == (
        entry["type"],
        entry["evidence"],
        entry["actor"],
        entry["note"],
        entry["cost_nano_usd"],
    )
    _, told = installed.both("calls", "settle", "call_0001", "--cost", "0.01", "--reason", "no", code=3)
    assert "refused: call `call_0001` is settled already, at $0.0123\n" == told


def test_what_cannot_be_settled_by_a_person(installed: Aegis, gateway: Store) -> None:
    """Calls under way, refused or unknown are not, and a cost is a number of dollars."""
    decide(gateway, "a")
    decide(gateway, "b", verdict=REFUSED)

    def told(call: str, price: str = "1", reason: str = "bill", code: int = 3) -> str:
        return installed.both("calls", "settle", call, "--cost", price, "--reason", reason, code=code)[1]

    assert "`a` is under way" in told("a")
    assert "`b` was refused" in told("b")
    assert "there is no call `z`" in told("z", code=1)
    assert "`ten` is not a number" in told("a", "ten", code=2)
    assert "a cost is 0 or more" in told("a", "-1", code=2)
    assert "how you know" in told("a", "1", " ", code=2)


def test_a_call_that_cost_nothing(installed: Aegis, gateway: Store) -> None:
    """Explicit zero is zero: everything that was reserved is given back."""
    decide(gateway, "a")
    lose(gateway, "a")
    settled = installed.json("calls", "settle", "a", "--cost", "0", "--reason", "never arrived")
    assert (0, "settled") == (settled["cost_nano_usd"], settled["state"])
    assert "$20.00" == installed.json("budget")["budgets"][0]["left"]


def test_the_record_line_by_line(installed: Aegis, gateway: Store) -> None:
    """Every entry as it is kept, in order, from where one likes."""
    decide(gateway, "a")
    lines = installed.run("entries").splitlines()
    assert [1, 2] == [json.loads(line)["seq"] for line in lines]
    assert ["configuration", "decision"] == [json.loads(line)["type"] for line in lines]
    assert lines[1:] == installed.run("entries", "--since-seq", "1", "--json").splitlines()
    kept = gateway.query("select body from entry order by sequence")
    assert [bytes(row["body"]).decode() for row in kept] == lines


def test_one_frame_of_top(installed: Aegis, gateway: Store) -> None:
    """Spend, rates, budgets and the last calls."""
    decide(gateway, "a")
    settle(gateway, "a", "0.0123")
    decide(gateway, "b", verdict=REFUSED)
    decide(gateway, "c")
    lose(gateway, "c")
    shown = installed.run("top", "--once")
    assert "North Bank" in shown
    assert "spent today $0.0123 (UTC)" in shown
    assert "in doubt 1" in shown
    assert "✓ allow 0.2  ✗ deny 0.1  ≈ throttle 0.0" in shown
    assert "no call was measured" in shown, "no gateway did"
    assert "lending-day" in shown
    assert "policy `ceiling`: too dear" in shown
    found = installed.json("top")
    assert (12_300_000, "$0.0123") == (found["spent_today_nano_usd"], found["spent_today"])
    assert {"allow": 2, "deny": 1, "throttle": 0, "require_approval": 0} == found["calls_by_effect"]
    assert {"in_doubt": 1} == found["open_calls"]
    assert ({}, 0) == (found["pace"]["upstream_errors"], found["pace"]["settled_late"])
    sums = PaceSums()
    for took_ms in (1, 2, 300):
        sums.time("added", ("northbank", "models", "allow"), took_ms * 1_000_000)
    sums.count("upstream_error", ("northbank", "openai", "timeout"))
    with gateway.change([]) as change:
        change.save_pace("boot", sums.rows())
    shown = installed.run("top", "--once")
    assert "added P50 1.8 ms P99 " in shown
    assert "upstream failures 1" in shown
    assert 3 == installed.json("top")["pace"]["added_ns"]["calls"]


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_tables_fit_the_terminal(installed: Aegis, gateway: Store, columns: str) -> None:
    """No line of a table is wider than the terminal, whatever is in it."""
    issue(installed)
    decide(gateway, "call_" + "0" * 32, agent="an-agent-with-a-rather-long-name")
    settle(gateway, "call_" + "0" * 32, "0.012345678")
    installed.environment["COLUMNS"] = columns
    for command in (["budget"], ["calls"], ["top", "--once"], ["agent", "list"], ["key", "list"]):
        lines = installed.run(*command).splitlines()
        assert [] == [line for line in lines if len(line) > int(columns)]
        assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (["calls"], "`aegis key issue AGENT` makes a key"),
        (["calls", "--in-doubt"], "no call is in doubt"),
        (["key", "list"], "`aegis key issue AGENT` makes one"),
        (["key", "list", "loan-bot"], "`aegis key issue loan-bot` makes one"),
        (["entries", "--since-seq", "9"], "no entries after 9"),
    ],
)
def test_empty_states_teach(installed: Aegis, command: Sequence[str], hint: str) -> None:
    """Where there is nothing to show, the command that makes something appear is named."""
    shown, told = installed.both(*command)
    assert ("", True) == (shown, hint in told)


# -- which store, which tenant -----------------------------------------------------------------------------


def test_a_store_that_is_not_there(aegis: Aegis) -> None:
    """Reading makes no store, and says what does."""
    assert "yet; `aegis apply DIR` makes it" in aegis.both("calls", code=1)[1]
    assert not Path(aegis.url.removeprefix("sqlite:")).exists()
    assert "names no store; write sqlite:PATH" in aegis.both("calls", "--store", "nowhere", code=1)[1]


def test_the_tenant_may_be_left_out_where_there_is_one(aegis: Aegis) -> None:
    """With two, a command wants to know which, and names them."""
    aegis.apply(CONFIGURATION + "  southbank: {}\n")
    _, told = aegis.both("budget", code=1)
    assert "there are 2 tenants; name one with --tenant: `northbank`, `southbank`" in told
    assert "did you mean `southbank`?" in aegis.both("budget", "--tenant", "southbnk", code=1)[1]
    assert "no budgets yet" in aegis.both("budget", "--tenant", "southbank")[1]
    assert "lending-day" in aegis.run("budget", "--tenant", "northbank")


# -- the command itself ------------------------------------------------------------------------------------


def test_the_installed_command() -> None:
    """It says its version, and what its exit codes mean."""
    version = subprocess.run([AEGIS, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"aegis \d+\.\d+\.\d+\n", version.stdout)
    usage = subprocess.run([AEGIS, "budgets"], capture_output=True, text=True, check=False)
    assert (2, True) == (usage.returncode, "No such command 'budgets'" in usage.stderr)
    text = CliRunner().invoke(build(), ["--help"], env={"COLUMNS": "100"}).stdout
    assert "Exit codes: 0 done; 1 a fault" in text
    found = re.findall(r"^│ (\w+) +\S", text, re.MULTILINE)
    assert [
        "up",
        "init",
        "plan",
        "test",
        "replay",
        "apply",
        "versions",
        "rollback",
        "canary",
        "proposals",
        "approvals",
        "agent",
        "key",
        "people",
        "policy",
        "estimate",
        "budget",
        "kpi",
        "calls",
        "call",
        "runs",
        "shadow",
        "incidents",
        "notifications",
        "digest",
        "report",
        "rollout",
        "top",
        "entries",
        "doctor",
        "audit",
    ] == found


def test_key_figures(installed: Aegis, gateway: Store) -> None:
    """What was spent is what the ledger says; each figure with what it is made of, budgets, refusals."""
    for call in ("a", "b", "c"):
        decide(gateway, call)
    no = Reason(code="denied_by_policy", message="policy `no` denies this", subject="no")
    decide(gateway, "d", verdict=Verdict(effect="deny", reasons=(no,)))
    settle(gateway, "a", "0.01")
    settle(gateway, "b", "0.005")
    told = json.loads(installed.run("kpi", "--by", "agent", "--json"))
    figures = {
        each["id"]: (each["numerator"], each["denominator"], each["value"]) for each in told["figures"]
    }
    (row,) = gateway.query("select sum(cost_nano_usd) as cost from call")
    spent = nano_usd("0.015")
    assert spent == int(row["cost"])
    assert (spent, None, spent) == figures["spent"]
    assert (spent, 1, spent) == figures["cost_per_agent"]
    assert (spent, 2, spent // 2) == figures["cost_per_call"]
    assert (spent, 0, None) == figures["cost_per_transaction"]
    assert (1, None, 1) == figures["violations"]
    assert [("no", "deny", 1)] == [
        (each["rule"], each["effect"], each["calls"]) for each in told["violations"]
    ]
    assert [("loan-bot", spent, 4)] == [
        (each["name"], each["spent_nano_usd"], each["calls"]) for each in told["parts"]
    ]
    assert "lending-day" in [each["budget"] for each in told["budgets"]]
    by = msgspec.structs.replace(ATTRIBUTION, agent="loan-bot")
    results: tuple[Result, ...] = ("success", "failure")
    for number, result in enumerate(results):
        run, report = f"run_{number:020x}{'0' * 16}", Report(result=result, value_nano_usd=nano_usd("4.00"))
        Ledger(gateway).process(
            [TellOutcome(call=run, tenant="northbank", number=run[4:24], report=report, by=by)]
        )
    told = json.loads(installed.run("kpi", "--by", "agent", "--json"))
    assert [("failure", 1), ("success", 1)] == sorted(
        (each["outcome"], each["trees"]) for each in told["outcomes"]
    )
    assert [("no", "enforce", "deny", "loan-bot", 1)] == [
        tuple(each[name] for name in ("rule", "mode", "did", "agent", "calls")) for each in told["violators"]
    ]
    words = installed.run("kpi", "--by", "agent")
    assert "$0.015" in words
    assert "what agents reported of their work" in words
    assert "who was stopped, or would have been" in words
    assert "$8.00" in words
    assert "denied by policy" in words
    assert "leaves no time" in installed.both("kpi", "--until", "2020-01-01", code=2)[1]


def hello(app: typer.Typer) -> None:
    """Register a command, as somebody else would."""
    app.command("hello")(lambda: typer.echo("hello"))


def test_others_register_commands() -> None:
    """A command from elsewhere is one of ours; one that is missing is told of, and the rest works."""
    other = EntryPoint(name="hello", value=f"{__name__}:hello", group="aegis.commands")
    missing = EntryPoint(name="gone", value="aegis_gateway.nowhere:register", group="aegis.commands")
    result = CliRunner().invoke(build([missing, other]), ["hello"])
    assert (0, "hello\n") == (result.exit_code, result.stdout)


def test_following_calls(installed: Aegis, gateway: Store) -> None:
    """Calls are told of as they are decided and settled, until Ctrl-C."""
    decide(gateway, "a")
    with installed.start("calls", "--follow", "--json") as process:
        assert process.stdout is not None
        assert ("a", "dispatched") == read_call(process.stdout.readline())
        settle(gateway, "a", "0.01")
        assert ("a", "settled") == read_call(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(20)


def read_call(line: str) -> tuple[str, str]:
    """A call's id and state from its line."""
    call = json.loads(line)
    return call["call"], call["state"]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_envoys_that_cannot_be_served_are_told_before_anything_is_applied(aegis: Aegis) -> None:
    """A gRPC port without a token, a token that is none, and a port that somebody has: `up` says so, and ends."""
    directory, port = str(aegis.write()), free_port()

    def told_by_up() -> str:
        return aegis.both("up", directory, "--port", str(free_port()), "--grpc-port", str(port), code=1)[1]

    assert "say what Envoys show by AEGIS_ENVOY_TOKEN" in told_by_up()
    aegis.environment["AEGIS_ENVOY_TOKEN"] = "env:TOKEN_OF_ENVOYS"
    assert "TOKEN_OF_ENVOYS" in told_by_up()
    aegis.environment["TOKEN_OF_ENVOYS"] = "short"
    assert "is no token" in told_by_up()
    aegis.environment["TOKEN_OF_ENVOYS"] = "long-enough-0123456789abcdef"
    with socket.create_server(("127.0.0.1", port)):
        told = told_by_up()
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in told
    assert "--grpc-port" in told
    assert "there is no store" in aegis.both("versions", code=1)[1]


def test_a_gateway_from_a_directory(aegis: Aegis) -> None:
    """`up DIR` applies it and says where it is when it answers; a second one is told what is in its way."""
    port = free_port()
    with aegis.start("up", str(aegis.write()), "--port", str(port)) as process:
        try:
            assert process.stdout is not None
            address = f"http://127.0.0.1:{port}"
            assert f"ready at {address}; Ctrl-C stops it\n" == process.stdout.readline()
            with urllib.request.urlopen(f"{address}/readyz") as answer:
                assert 200 == answer.status
            _, told = aegis.both("up", "--port", str(port), code=1)
            assert f"error: cannot listen on 127.0.0.1:{port}: address already in use" in told
            _, told = aegis.both("up", "--port", str(free_port()), code=1)
            assert "error: another gateway keeps the ledger" in told
            assert "lending-day" in aegis.run("budget")
        finally:
            process.send_signal(signal.SIGINT)
        assert 0 == process.wait(60)
        assert process.stderr is not None
        assert "configuration 1 is in force" in process.stderr.read()
