"""Replication control through whole gateways: how many runs an owner may have open, how deep calls go, who pays."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.runs import Delegator, Runs
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.replication import RUN_LIFETIME_NS
from aegis_gateway.entrypoints.cli.main import build
from tests.acceptance.test_decisions import LOCAL
from tests.gateways import (
    PEPPER,
    Answer,
    Files,
    Gateway,
    ask,
    assert_books_balance,
    at_once,
    chat_body,
    configuration,
    until,
)
from tests.servers import PostgresServer

pytestmark = pytest.mark.xdist_group("replication")

RUNS = "/v1/runs"
DECISIONS = "/v1/decisions"
RANK = {"tool": "desk.rank", "arguments": {}}
BUDGETS = {
    "plenty": "limit: 1000.00, period: yearly",
    "lead": "limit: 0.35, period: daily",
    "each-run": "limit: 0.25, period: once, per: [run], match: {agent: boss}",
    "each-agent": "limit: 100.00, period: daily, per: [agent], match: {tenant: acme}",
}
AGENTS = {
    "boss": "ana@acme.example",
    "worker": "ben@acme.example",
    "helper": "ben@acme.example",
    "spawner": "cat@acme.example",
    "loner": "dan@acme.example",
}
BOUNDS = "{max_depth: 3, max_runs_per_owner: 5, owners: {ana@acme.example: {max_runs: 40}}}"


def files(
    bounds: str = BOUNDS, agents: dict[str, str] = AGENTS, rates: dict[str, str] | None = None
) -> Files:
    """A tenant with tools that run in its agents, agents of several owners, and bounds."""
    homes = dict.fromkeys(agents, "plenty") | {"boss": "lead"}
    made = configuration(
        "http://127.0.0.1:9", agents=agents, budgets=BUDGETS, agent_budgets=homes, rates=rates
    )
    text = made["aegis.yaml"].replace("    models:\n", f"{LOCAL}    models:\n")
    for name, owner in agents.items():
        text = text.replace(
            f"      {name}: {{team: desk, owner: ana@acme.example",
            f"      {name}: {{team: desk, owner: {owner}",
        )
    if bounds:
        text = text.replace("    teams:\n", f"    replication: {bounds}\n    teams:\n")
    return {**made, "aegis.yaml": text}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway; nothing that is tested here goes over a network."""
    with Gateway(files()) as gateway:
        yield gateway
        assert_books_balance(gateway)


def open_run(gateway: Gateway, by: str, /, **asked: Any) -> Answer:
    """Ask for a run."""
    return ask(gateway, "POST", RUNS, asked, key=gateway.key(by))


def opened(gateway: Gateway, by: str, /, **asked: Any) -> str:
    """A run that is opened."""
    answer = open_run(gateway, by, **asked)
    assert 200 == answer.status, answer.json
    return str(answer.json["run"])


def rank(gateway: Gateway, agent: str, run: str | None = None, **more: Any) -> Answer:
    """A tool's call, which costs $0.10; its answer is a decision."""
    asked = {**RANK, **({"run": run} if run else {}), **more}
    return ask(gateway, "POST", DECISIONS, asked, key=gateway.key(agent))


def effect(answer: Answer) -> str:
    """What was decided, and if that is a refusal, why."""
    assert 200 == answer.status, answer.json
    told = answer.json
    return str(told["effect"] if told["effect"] == "allow" else told["reasons"][0]["code"])


def end(gateway: Gateway, agent: str, run: str) -> Answer:
    """End a run."""
    return ask(gateway, "DELETE", f"{RUNS}/{run}", key=gateway.key(agent))


def run_entries(gateway: Gateway) -> list[dict[str, Any]]:
    """What the record says of runs."""
    return [entry for entry in gateway.entries() if entry["type"] == "run"]


def test_a_delegated_run_spends_on_who_delegated_it(gateway: Gateway) -> None:
    """A call in it counts on its agent's budgets, on the delegator's, and on those for each run of the root."""
    call = rank(gateway, "boss").json
    run = opened(gateway, "boss", parent=call["id"], agent="worker")
    decided = rank(gateway, "worker", run).json
    assert "allow" == decided["effect"]
    row = gateway.call(decided["id"])
    assert (call["id"], run) == (row["parent"], row["run"])
    (entry,) = [each for each in gateway.entries() if each.get("call") == decided["id"]]
    assert {
        ("plenty", ""),
        ("lead", ""),
        ("each-run", call["run"]),
        ("each-agent", "worker"),
        ("each-agent", "boss"),
    } == {(leg["budget"], leg["scope"]) for leg in entry["legs"]}
    assert 1 == entry["depth"]
    # The root's run has $0.25, of which both together have used $0.20.
    assert "budget_exhausted" == effect(rank(gateway, "worker", run))
    assert "budget_exhausted" == effect(rank(gateway, "boss", call["run"]))
    # Its own run is the worker's alone.
    assert "allow" == effect(rank(gateway, "worker"))
    # Another run of the boss has a balance of its own, and then the boss's day is used up, for the worker too.
    second = rank(gateway, "boss").json
    other = opened(gateway, "boss", run=second["run"], agent="worker")
    refused = rank(gateway, "worker", other)
    assert "budget_exhausted" == effect(refused)
    assert "`lead`" in refused.json["reasons"][0]["message"]


def test_nobody_spends_what_was_not_delegated(gateway: Gateway) -> None:
    """A run is worth nothing with another agent's key, or changed by a letter; nothing is delegated from another's."""
    call = rank(gateway, "boss").json
    run = opened(gateway, "boss", parent=call["id"], agent="worker")
    for agent, name in (
        ("helper", run),
        ("boss", run),
        ("worker", call["run"]),
        ("worker", run[:-3]),
        ("worker", run.replace("_", "-")),
        ("worker", f"{run}AAAA"),
        ("worker", f"{call['run']}{run[40:]}"),
        ("worker", run[:30] + ("0" if run[30] != "0" else "1") + run[31:]),
    ):
        answer = rank(gateway, agent, name)
        assert (400, "aegis-run-id") == (answer.status, answer.json["error"]["param"]), name
    assert 404 == open_run(gateway, "worker", parent=call["id"], agent="worker").status
    assert 400 == open_run(gateway, "worker", run=call["run"], agent="helper").status
    assert 400 == open_run(gateway, "boss", agent="worker").status
    assert 400 == open_run(gateway, "boss", parent=call["id"], agent="nobody").status
    assert 404 == open_run(gateway, "boss", parent="call_made-up", agent="worker").status
    assert 400 == end(gateway, "helper", run).status
    assert "allow" == effect(rank(gateway, "worker", run))


def test_no_call_in_it_is_shallower_than_it(gateway: Gateway) -> None:
    """The depth of a delegated run holds for each call in it, whatever parent it names, and too deep is refused."""
    top = rank(gateway, "helper").json
    run, by, to, decided = top["run"], "helper", "worker", top
    for depth in range(1, 4):
        run = opened(gateway, by, run=run, agent=to)
        decided = rank(gateway, to, run, parent=top["id"]).json
        assert "allow" == decided["effect"]
        (entry,) = [each for each in gateway.entries() if each.get("call") == decided["id"]]
        assert depth == entry["depth"]
        by, to = to, by
    refused = open_run(gateway, by, run=run, agent=to)
    assert (403, "too_deep") == (refused.status, refused.code)
    deep = rank(gateway, by, run, parent=decided["id"])
    assert "too_deep" == effect(deep)
    assert "may have them 3 deep" in deep.json["reasons"][0]["message"]
    assert "too_deep" == run_entries(gateway)[-1]["reasons"][0]["code"]


def test_a_parent_that_ends_first(gateway: Gateway) -> None:
    """Ending a run ends what was delegated in it, at any depth, and nothing else; nobody calls in it again."""
    root = opened(gateway, "helper")
    child = opened(gateway, "helper", run=root, agent="worker")
    grandchild = opened(gateway, "worker", run=child, agent="helper")
    sibling = opened(gateway, "helper", run=root, agent="worker")
    told = end(gateway, "helper", child)  # who delegated it may end it
    assert {"run": child, "state": "ended", "below": 1} == told.json
    assert ["run_ended"] * 2 == [
        effect(rank(gateway, "worker", child)),
        effect(rank(gateway, "helper", grandchild)),
    ]
    refused = open_run(gateway, "worker", run=child, agent="helper")
    assert (403, "run_ended") == (refused.status, refused.code)
    assert ["allow"] * 2 == [effect(rank(gateway, "helper", root)), effect(rank(gateway, "worker", sibling))]
    assert 1 == end(gateway, "helper", root).json["below"]
    assert "run_ended" == effect(rank(gateway, "worker", sibling))
    before = len(run_entries(gateway))
    assert {"run": root, "state": "ended", "below": 0} == end(gateway, "helper", root).json
    assert before == len(run_entries(gateway))
    assert ["opened"] * 4 + ["ended", "refused", "ended"] == [each["event"] for each in run_entries(gateway)]


def test_a_delegator_s_key_is_revoked(gateway: Gateway) -> None:
    """What was delegated with a key ends with it: the worker spends no more in that name."""
    issued = gateway.issue("helper")
    run = ask(gateway, "POST", RUNS, {}, key=issued.secret).json["run"]
    child = ask(gateway, "POST", RUNS, {"run": run, "agent": "worker"}, key=issued.secret).json["run"]
    assert "allow" == effect(rank(gateway, "worker", child))
    with gateway.administration() as administration:
        administration.revoke_key("acme", issued.key.id)
    answer = rank(gateway, "worker", child)
    assert 403 == answer.status
    assert "was delegated by agent `helper`" in answer.json["error"]["message"]


def test_what_is_over_is_not_gone_on_with_below_a_call_of_it(gateway: Gateway) -> None:
    """Whom a run was delegated to opens no other in it, once it is over, by a call that it made in it."""
    call = rank(gateway, "worker").json["id"]
    runs = Runs(PEPPER.encode(), os.urandom)
    key = gateway.issue("boss").key.id
    then_ns = time.time_ns() - RUN_LIFETIME_NS - 1_000_000_000
    over = runs.delegate(
        "acme",
        runs.open("acme", "boss", key, then_ns),
        Delegator(agent="boss", key=key),
        "worker",
        parent=None,
        depth=1,
        now_ns=then_ns,
    )
    with closing(open_store(gateway.settings.store)) as store:
        store.query("update call set run = ? where call = ? returning call", (over.id, call))
    refused = open_run(gateway, "worker", parent=call, agent="worker")
    assert 400 == refused.status
    assert "is over" in refused.json["error"]["message"]


def test_a_name_opens_one_run(gateway: Gateway) -> None:
    """Asked again under it, the same run is answered; another request under it is refused."""
    first = opened(gateway, "spawner", name="job 7")
    assert [first] * 9 == [opened(gateway, "spawner", name="job 7") for _ in range(9)]
    header = {"idempotency-key": "job 7"}
    assert first == ask(gateway, "POST", RUNS, {}, key=gateway.key("spawner"), headers=header).json["run"]
    other = open_run(gateway, "spawner", name="job 7", run=first)
    assert (422, "name") == (other.status, other.json["error"]["param"])
    end(gateway, "spawner", first)
    assert 422 == open_run(gateway, "spawner", name="job 7").status
    assert 2 == len(run_entries(gateway))
    for name in ("", "x" * 256, "a\nb"):
        assert 400 == open_run(gateway, "spawner", name=name).status


def test_calls_without_a_run_open_one(gateway: Gateway) -> None:
    """Five may be open, opened by calls or as such; what goes on in one of them is no other; one that is ended counts
    no more."""
    runs = [opened(gateway, "spawner") for _ in range(2)]
    runs += [rank(gateway, "spawner").json["run"] for _ in range(3)]
    refused = rank(gateway, "spawner")
    assert "too_many_runs" == effect(refused)
    assert "has 5 runs open, which is the most" in refused.json["reasons"][0]["message"]
    assert ["refused", "too_many_runs"] == [
        gateway.call(refused.json["id"])[name] for name in ("state", "reason_code")
    ]
    asked = {**RANK, "run": runs[0]}
    for estimated, expected in ((RANK, "too_many_runs"), (asked, "allow")):
        assert expected == effect(
            ask(gateway, "POST", "/v1/estimates", estimated, key=gateway.key("spawner"))
        )
    answer = open_run(gateway, "spawner")
    assert (429, "too_many_runs", "false") == (
        answer.status,
        answer.code,
        answer.headers["x-should-retry"],
    )
    model = ask(
        gateway, "POST", "/v1/chat/completions", chat_body("hi", max_tokens=9), key=gateway.key("spawner")
    )
    assert (429, "too_many_runs", "false") == (model.status, model.code, model.headers["x-should-retry"])
    assert ["allow"] * 5 == [effect(rank(gateway, "spawner", run)) for run in runs]
    assert "allow" == effect(rank(gateway, "loner"))
    end(gateway, "spawner", runs[4])
    ended = {**RANK, "run": runs[4]}
    told = ask(gateway, "POST", "/v1/estimates", ended, key=gateway.key("spawner"))
    assert "run_ended" == effect(told)
    assert "allow" == effect(rank(gateway, "spawner"))
    assert "too_many_runs" == effect(rank(gateway, "spawner"))


def test_a_refused_call_opens_nothing(gateway: Gateway) -> None:
    """Neither by a budget nor because it can't be understood."""
    for _ in range(8):
        assert "unknown_tool" == effect(rank(gateway, "spawner", tool="desk.nothing"))
    assert [] == gateway.query("select number from run")


def test_a_tree_counts_for_the_owner_it_began_with(gateway: Gateway) -> None:
    """Whoever delegates to another's agents uses up their own bound, and never the other's."""
    root = opened(gateway, "spawner")
    for _ in range(4):
        opened(gateway, "spawner", run=root, agent="worker")
    assert 429 == open_run(gateway, "spawner", run=root, agent="worker").status
    assert "allow" == effect(rank(gateway, "worker"))


def test_what_nothing_is_called_in_counts_no_more(gateway: Gateway) -> None:
    """After the idle time others may be opened; a run that goes on then counts again, if there is room."""
    gateway.apply(files("{max_runs_per_owner: 2, idle: 400ms}"))
    first, second = opened(gateway, "spawner"), rank(gateway, "spawner").json["run"]
    assert 429 == open_run(gateway, "spawner").status
    until(lambda: open_run(gateway, "spawner").status == 200)
    until(lambda: effect(rank(gateway, "spawner", first)) == "allow")
    until(lambda: effect(rank(gateway, "spawner", second)) == "allow")
    gateway.apply(files("{max_runs_per_owner: 2}"))
    until(
        lambda: not gateway.query("select number from run where is_kept = 0")
    )  # what was opened by a call is forgotten


def test_shadow(gateway: Gateway) -> None:
    """Bounds in shadow stop nothing, and what they would have stopped is noted; a run that was ended stays so."""
    gateway.apply(files("{max_depth: 0, max_runs_per_owner: 1, mode: shadow}"))
    first = rank(gateway, "spawner").json
    assert "allow" == effect(rank(gateway, "spawner"))
    assert "allow" == effect(rank(gateway, "spawner", parent=first["id"], run=first["run"]))
    run = opened(gateway, "spawner", run=first["run"])
    assert [
        ("replication:depth", "deny"),
        ("replication:runs", "deny"),
    ] == sorted((each["rule"], each["would"]) for each in run_entries(gateway)[-1]["shadow"])
    rules = [row["rule"] for row in gateway.query("select rule from shadow_finding order by rule")]
    assert ["replication:depth", "replication:runs"] == rules
    end(gateway, "spawner", run)
    assert "run_ended" == effect(rank(gateway, "spawner", run))


def test_without_bounds(gateway: Gateway) -> None:
    """A tenant that states none keeps nothing of runs that calls open; those that are opened as such can be ended."""
    gateway.apply(files(""))
    runs = [rank(gateway, "spawner").json["run"] for _ in range(9)]
    assert [] == gateway.query("select number from run")
    child = opened(gateway, "spawner", run=runs[0], agent="worker")
    assert "allow" == effect(rank(gateway, "worker", child))
    told = end(gateway, "spawner", runs[0]).json
    assert ("not_counted", 1) == (told["state"], told["below"])
    assert "run_ended" == effect(rank(gateway, "worker", child))
    assert "allow" == effect(rank(gateway, "spawner", runs[0]))


def test_rates_of_new_runs_hold_for_them_too(gateway: Gateway) -> None:
    """Opening one as such doesn't evade them."""
    gateway.apply(files(rates={"few": "limit: 2, every: 1h, of: runs, match: {agent: spawner}"}))
    assert [200, 200, 429] == [open_run(gateway, "spawner").status for _ in range(3)]
    assert "rate_limited" == effect(rank(gateway, "spawner"))


def aegis(gateway: Gateway, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    environment = {"AEGIS_PEPPER": gateway.settings.pepper, "AEGIS_TEST_PEPPER": PEPPER}
    result = CliRunner().invoke(build(), [*arguments, "--store", gateway.settings.store], env=environment)
    assert code == result.exit_code, result.output
    return result.output


def test_how_many_agents(gateway: Gateway, tmp_path: Path) -> None:
    """An owner with too many can't be applied, planned, registered or imported, and nothing of it is."""
    words = "`ben@acme.example` would have 2 agents, and 1 is the most"
    bounds = "{max_agents_per_owner: 1, mode: %s}"
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        gateway.apply(files(bounds % "enforce"))
    assert words in aegis(gateway, "plan", written(files(bounds % "enforce"), tmp_path), code=1)
    assert f"{words}" in aegis(gateway, "plan", written(files(bounds % "shadow"), tmp_path))
    gateway.apply(files("{max_agents_per_owner: 1, owners: {ben@acme.example: {max_agents: 2}}}"))
    who = ("--team", "desk", "--cost-centre", "CC-1", "--purpose", "test", "--environment", "test")
    one_more = "would have 3 agents, and 2 is the most"
    assert one_more in aegis(gateway, "agent", "add", "third", "--owner", "ben@acme.example", *who, code=1)
    rows = tmp_path / "agents.csv"
    rows.write_text(
        "id,owner,team,cost_centre,purpose,environment\n"
        "fourth,eve@acme.example,desk,CC-1,test,test\n"
        "fifth,ben@acme.example,desk,CC-1,test,test\n"
    )
    for more in (("--dry-run",), ()):
        assert one_more in aegis(gateway, "agent", "import", str(rows), *more, code=1)
    assert "third" not in aegis(gateway, "agent", "list")
    assert "fourth" not in aegis(gateway, "agent", "list")
    aegis(gateway, "agent", "add", "sixth", "--owner", "eve@acme.example", *who)
    with pytest.raises(ConfigurationError, match=r"`eve@acme.example` would have 1 agent, and 0 is the most"):
        gateway.apply(files("{owners: {eve@acme.example: {max_agents: 0}}}"))


def written(made: Files, directory: Path) -> str:
    """A configuration as a directory."""
    for name, text in made.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return str(directory)


def test_what_people_see(gateway: Gateway) -> None:
    """Open runs by owner, and the way to end one; of a delegated call, in whose name it was made."""
    call = rank(gateway, "boss").json
    run = opened(gateway, "boss", parent=call["id"], agent="worker")
    decided = rank(gateway, "worker", run).json
    told = json.loads(aegis(gateway, "runs", "--json"))
    assert {"ana@acme.example": {"open": 2, "most": 40}} == told["owners"]
    assert ["worker", "boss"] == [each["agent"] for each in told["runs"]]
    shown = aegis(gateway, "runs", "--owner", "ana@acme.example")
    assert "ana@acme.example: 2 open of 40" in shown
    assert run[4:24] in shown
    (listed,) = json.loads(aegis(gateway, "calls", "--run", run, "--json"))["calls"]
    assert (call["run"], ["boss"], call["id"]) == (
        listed["root_run"],
        listed["delegated_by"],
        listed["parent"],
    )
    assert f"by boss, in the tree of {call['run']}" in aegis(gateway, "call", decided["id"])
    assert "and 1 below it" in aegis(gateway, "runs", "end", call["run"])
    assert ["run_ended"] * 2 == [
        effect(rank(gateway, "worker", run)),
        effect(rank(gateway, "boss", call["run"])),
    ]
    assert run_entries(gateway)[-1]["actor"].startswith("local:")
    assert "no run is open" in aegis(gateway, "runs")
    aegis(gateway, "runs", "end", "run_nobody", code=1)


def test_replayed(gateway: Gateway, tmp_path: Path) -> None:
    """Delegated calls are decided anew on the budgets of those who delegated them, and by the depth that they have."""
    call = rank(gateway, "boss").json
    run = opened(gateway, "boss", parent=call["id"], agent="worker")
    told = [effect(rank(gateway, "worker", run)) for _ in range(2)]
    assert ["allow", "budget_exhausted"] == told
    assert "allow" == effect(rank(gateway, "worker"))

    def replay(changed: Files) -> dict[str, Any]:
        directory = written(changed, tmp_path)
        return dict(json.loads(aegis(gateway, "replay", directory, "--json"))["tenants"][0])

    same = replay(files())
    assert ([], []) == (same["changes"], same["in_force"]["differs"])
    plain = files()
    lower = {**plain, "aegis.yaml": plain["aegis.yaml"].replace("limit: 0.35", "limit: 0.15")}
    assert {"budget:lead": 1} == {each["rule"]: each["calls"] for each in replay(lower)["changes"]}
    flat = replay(files("{max_depth: 0}"))
    assert {"replication:depth": 1} == {each["rule"]: each["calls"] for each in flat["changes"]}


@contextmanager
def several(kind: str, request: pytest.FixtureRequest) -> Iterator[list[Gateway]]:
    """Gateways on one database: two workers of one, or two gateways on PostgreSQL."""
    with ExitStack() as stack:
        if kind == "two workers":
            yield [stack.enter_context(Gateway(files(), workers=2))]
            return
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
        stack.callback(server.drop_database, url)
        first = stack.enter_context(Gateway(files(), store=url))
        yield [first, stack.enter_context(Gateway(None, store=url))]


@pytest.mark.parametrize("kind", ["two workers", "two on postgres"])
def test_spawning_without_end_is_stopped(kind: str, request: pytest.FixtureRequest) -> None:
    """64 at once, by calls, openings and delegations of agents of one owner: exactly as many as they may have open;
    after `kill -9` not one more."""
    with several(kind, request) as over:
        first = over[0]
        root = opened(first, "spawner")
        key, below = first.key("spawner"), {"run": root, "agent": "worker"}
        kinds = [(DECISIONS, RANK), (RUNS, {}), (RUNS, below), (DECISIONS, RANK)]

        def storm() -> Counter[str]:
            answers = at_once(
                (over[number % len(over)], "POST", *kinds[number // 2 % 4], key) for number in range(64)
            )
            told: Counter[str] = Counter()
            for answer in answers:
                assert answer is not None
                if "error" in answer.json:
                    told[answer.code] += 1
                else:
                    told[
                        "allow" if "run" in answer.json and "effect" not in answer.json else effect(answer)
                    ] += 1
            return told

        assert Counter(allow=4, too_many_runs=60) == storm()
        assert 5 == len(first.query("select number from run where owner = ?", "cat@acme.example"))
        for each in over:
            each.kill_all()
        for each in over:
            each.start()
        assert Counter(too_many_runs=64) == storm()
        refused = [
            each
            for each in first.entries()
            if (each.get("reasons") or [{}])[0].get("code") == "too_many_runs"
        ]
        assert 124 == len(refused)
        assert_books_balance(first)


def test_end_and_spawn_at_once() -> None:
    """While runs are ended and opened from all sides there are never more open than may be."""
    with Gateway(files(), workers=2) as gateway:
        key, open_ones = gateway.key("spawner"), [opened(gateway, "spawner") for _ in range(5)]
        for _ in range(6):
            asked: list[tuple[Gateway, str, str, object, str]] = [
                (gateway, "DELETE", f"{RUNS}/{run}", None, key) for run in open_ones[:3]
            ]
            asked += [(gateway, "POST", RUNS, {}, key)] * 20
            answers = [answer for answer in at_once(asked) if answer is not None]
            assert [200] * 3 == [answer.status for answer in answers[:3]]
            open_ones = open_ones[3:] + [each.json["run"] for each in answers[3:] if each.status == 200]
            rows = gateway.query("select number from run where ended_ns is null")
            assert len(open_ones) == len(rows) <= 5
            while len(open_ones) < 5:
                open_ones.append(opened(gateway, "spawner"))
            assert 429 == open_run(gateway, "spawner").status
