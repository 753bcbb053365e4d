"""Agent frameworks with their real packages: the tools of their agents are decided for, run, settled, or not run.

Each framework plays the same prompts (`tests/frameworks/desk.py`) in its own environment, with a model behind the
gateway whose last answer repeats what the tools told it. Once for all tests: they look at what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.framework_runs import Framework, framework
from tests.frameworks import desk

COMMON = {
    "desk.crawl": Decimal("0.03"),
    "desk.dear": Decimal("1"),
    "desk.note": Decimal("0.05"),
    "desk.meet": Decimal("0.003"),
    "desk.broken": Decimal("0.02"),
}


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A framework: its environment, its script, and what its tools cost in all, but for what all have in common."""

    environment: str
    script: str
    costs: dict[str, Decimal] = {}
    resumes: bool = False


KINDS = {
    "langgraph": Kind(
        environment="agents",
        script="langgraph_client.py",
        resumes=True,
        costs={
            "desk.crawl": Decimal("0.13"),
            "desk.note": Decimal("0.15"),
            "desk.wire": Decimal("0.5"),
            "desk.broken": Decimal("0.04"),
            "desk.risky": Decimal("1"),
            "desk.confirm": Decimal("0.6"),
        },
    ),
    "openai-agents": Kind(
        environment="agents",
        script="openai_agents_client.py",
        resumes=True,
        costs={
            "desk.note": Decimal("0.1"),
            "desk.broken": Decimal("0.04"),
            "desk.risky": Decimal("0.5"),
        },
    ),
    "pydantic-ai": Kind(
        environment="agents",
        script="pydantic_ai_client.py",
        resumes=True,
        costs={"desk.risky": Decimal("0.5")},
    ),
    "autogen": Kind(environment="agents", script="autogen_client.py"),
    "claude": Kind(environment="claude", script="claude_client.py"),
    "crewai": Kind(environment="large/crewai", script="crewai_client.py"),
}


class Played(msgspec.Struct, kw_only=True):
    """What came of it: what a framework found, and what it found when it was resumed."""

    framework: Framework
    found: dict[str, Any]
    resumed: dict[str, Any]

    @property
    def ran(self) -> list[list[Any]]:
        """Which tools were run, with what."""
        ran: list[list[Any]] = self.found["ran"]
        return ran

    def ran_with(self, tool: str) -> list[dict[str, Any]]:
        """What a tool was run with."""
        return [arguments for name, arguments in self.ran if name == tool]


Play = Callable[[str], Played]


@pytest.fixture(scope="session")
def play() -> Iterator[Play]:
    """Plays a framework, once."""
    played: dict[str, Played] = {}
    with ExitStack() as stack:

        def once(name: str) -> Played:
            if name not in played:
                kind = KINDS[name]
                made = stack.enter_context(framework(kind.environment, kind.script))
                state = str(made.gateway.directory / "left-open")
                found, resumed = made.run("run", state), {}
                if kind.resumes:
                    made.allow_risks()
                    resumed = made.run("resume", state)
                played[name] = Played(framework=made, found=found, resumed=resumed)
            return played[name]

        yield once


def of(*names: str) -> pytest.MarkDecorator:
    """For these frameworks; the tests of one share what it played."""
    marks = {
        name: [pytest.mark.xdist_group(name), *([pytest.mark.large] if name == "crewai" else [])]
        for name in names
    }
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in names])


ALL = of(*KINDS)


@ALL
def test_what_is_allowed_is_run_and_settled_by_its_result(play: Play, name: str) -> None:
    """Every tool costs what its result says, every model call what the provider's bill says; the books balance."""
    played = play(name)
    assert {"pages": 9} in played.ran_with("crawl")
    assert "three of them" in played.found["allowed"]
    assert {**COMMON, **KINDS[name].costs} == played.framework.spent()
    assert {"settled", "refused"} == set(played.framework.gateway.states())


@ALL
def test_what_policies_deny_is_not_run(play: Play, name: str) -> None:
    """The model knows why, what it would have cost, and what to do."""
    played = play(name)
    assert {"amount": 101} not in played.ran_with("wire")
    for words in ("payments above $100 are not made here", "up to $0.25", "will be refused again"):
        assert words in played.found["denied"]


@ALL
def test_what_there_is_no_money_for_is_not_run(play: Play, name: str) -> None:
    """The second of two is refused, with what is left and whom to ask."""
    played = play(name)
    assert [{"what": "a"}] == played.ran_with("dear")
    for words in ("did a", "budget `dear` has $0.50 of $1.50 left", "ana@acme.example"):
        assert words in played.found["exhausted"]


@ALL
def test_arguments_that_make_no_sense(play: Play, name: str) -> None:
    """The model is told which one."""
    assert "argument `amount`" in play(name).found["senseless"]


@ALL
def test_what_is_redacted_never_reaches_the_tool(play: Play, name: str) -> None:
    """It runs with the arguments that policies left."""
    played = play(name)
    text = played.ran_with("note")[0]["text"]
    assert text.startswith("of [SSN:")
    assert f"noted: {text}" in played.found["redacted"]
    assert "536-90-4399" not in str(played.found)


@ALL
def test_parallel_calls_are_parallel(play: Play, name: str) -> None:
    """Three tools that wait for one another come to their end, in an event loop or in threads."""
    played = play(name)
    assert [1, 2, 3] == sorted(arguments["seat"] for arguments in played.ran_with("meet"))
    assert 3 == played.found["parallel"].count("met")


@ALL
def test_calls_are_of_the_run_they_are_made_in(play: Play, name: str) -> None:
    """What agents do in `run()` is one run."""
    played = play(name)
    calls = [call for call in played.framework.gateway.calls() if call["tool"] in ("desk.dear", "desk.meet")]
    assert 5 == len(calls)
    assert {played.found["run"]} == {call["run"] for call in calls}


@ALL
def test_calls_are_in_the_trace_that_their_agent_works_in(play: Play, name: str) -> None:
    """Wherever the framework calls a tool from: the span that is current there is the agent's, or below it."""
    calls = [
        each for each in play(name).framework.gateway.calls() if each["tool"] in ("desk.dear", "desk.meet")
    ]
    assert {desk.TRACE} == {(each["traceparent"] or "-").split("-")[1] for each in calls}


@of("langgraph", "pydantic-ai", "autogen", "claude", "crewai")
def test_a_tool_that_fails(play: Play, name: str) -> None:
    """It fails as it does without Aegis, and its call is settled: it was run."""
    played = play(name)
    assert "the disk is full of x" in played.found["broken"]
    assert {"settled"} == set(played.framework.states("desk.broken"))


@of("openai-agents")
def test_a_tool_that_fails_in_openai_agents(play: Play, name: str) -> None:
    """The model is told in the SDK's words, or the run raises where the tool is set up so."""
    played = play(name)
    assert "An error occurred while running the tool" in played.found["broken"]
    assert "UserError: Error running tool raising: the disk is full of x" == played.found["raising"]
    assert ["settled", "settled"] == played.framework.states("desk.broken")


@of("openai-agents")
def test_arguments_that_are_none(play: Play, name: str) -> None:
    """What can't be decided on isn't run, whatever the tool would make of it."""
    found = play(name).found
    assert [] == found["undecided"]
    assert all("are no JSON object" in said for said in found["not a word"])


@of("langgraph", "pydantic-ai", "autogen", "claude", "crewai")
def test_a_tool_that_nobody_mapped(play: Play, name: str) -> None:
    """It is not run, and whoever set it up knows why."""
    played = play(name)
    assert [] == played.ran_with("secret")
    assert "is mapped to no tool of Aegis" in played.found["unmapped"]


@of("openai-agents")
def test_a_tool_that_is_none_of_aegis_business(play: Play, name: str) -> None:
    """It is run as if Aegis weren't there if it is mapped to None; unmapped it can't be guarded at all."""
    played = play(name)
    assert "a secret" in played.found["secret"]
    assert [] == played.framework.states("desk.secret")
    assert "is mapped to no tool of Aegis" in played.found["unmapped"]


@of("autogen", "claude", "crewai")
def test_what_a_person_has_to_agree_to(play: Play, name: str) -> None:
    """Where a framework can't wait for one, the model is told."""
    played = play(name)
    assert [] == played.ran_with("risky")
    assert "A person has to approve it first" in played.found["risky"]


@of("langgraph")
def test_refusals_are_errors_in_langgraph(play: Play, name: str) -> None:
    """A message of a refusal has the status of an error; others have not."""
    statuses = play(name).found["statuses"]
    assert ["success"] == statuses["allowed"]
    assert ["error"] == statuses["denied"]
    assert ["success", "error"] == statuses["exhausted"]


@of("langgraph")
def test_langgraph_waits_for_a_person(play: Play, name: str) -> None:
    """The graph is interrupted with the question; resumed elsewhere after the yes, it is run and charged once."""
    played = play(name)
    (question,) = played.found["risky"]
    assert ("desk.risky", {"what": "x"}, "0.5", ["risky things need a person's word"]) == (
        question["tool"],
        question["arguments"],
        question["maximum_usd"],
        question["reasons"],
    )
    assert 1 == played.found["risky resumed"]
    assert "a person was asked" in played.found["no resumed"]
    assert "dared x" in played.resumed["risky"]
    assert [{"what": "x"}] == [given for tool, given in played.resumed["ran"] if tool == "risky"]
    assert 2 == played.framework.states("desk.risky").count("settled")


@of("langgraph")
def test_answers_to_a_tool_of_langgraph_are_its_own(play: Play, name: str) -> None:
    """A tool that asks a person itself, after one had to agree, gets the answer to its own question."""
    played = play(name)
    assert [{"sure about": "z"}] == played.resumed["doubting"]
    assert "a person said maybe" in played.resumed["doubt"]
    assert [{"what": "z"}] == [given for tool, given in played.resumed["ran"] if tool == "doubt"]


@of("langgraph")
def test_a_tool_of_langgraph_that_pauses(play: Play, name: str) -> None:
    """A tool that interrupts the graph keeps its decision: resumed elsewhere it is decided and charged once."""
    played = play(name)
    assert [{"sure about": "y"}] == played.found["confirm"]
    assert "a person said yes" in played.resumed["confirm"]
    # One by the agent that another process resumed, one by the graph that ran on in its own.
    assert ["settled", "settled"] == played.framework.states("desk.confirm")


@of("langgraph")
def test_an_agent_of_langgraph_that_is_killed(play: Play, name: str) -> None:
    """Killed while a tool ran, and taken up by another process, its call is the same, decided and charged once."""
    played = play(name)
    assert -9 == played.found["killed"]
    assert "alive again" in played.resumed["mortal"]
    assert 3 == played.framework.states("desk.note").count("settled")  # the others are of other prompts


@of("langgraph")
def test_a_tool_of_langgraph_that_is_refused_something_itself(play: Play, name: str) -> None:
    """It raises that, as any tool would; nobody is asked to approve a call that was made."""
    played = play(name)
    assert "ApprovalRequired: `desk.risky` is refused" in played.found["picky"]
    assert [{"text": "x"}] == played.ran_with("picky")


@of("langgraph")
def test_a_node_of_langgraph_that_runs_again(play: Play, name: str) -> None:
    """What was at its end when another call of the node paused is not run again: its result is given again."""
    played = play(name)
    assert [{"sure about": "z"}] == played.found["paused"]
    assert '"pages": 10' in played.found["both"]
    assert "a person said yes" in played.found["both"]
    assert 1 == played.ran_with("crawl").count({"pages": 30})


@of("langgraph")
def test_a_tool_of_langgraph_that_failed_is_another_call(play: Play, name: str) -> None:
    """A thread taken up again after a tool failed runs it again, which is decided and charged for itself."""
    played = play(name)
    assert 2 == len(played.ran_with("broken"))
    assert "the disk is full of x" == played.found["broken again"]
    assert ["settled", "settled"] == played.framework.states("desk.broken")


@of("langgraph")
def test_ids_of_calls_that_are_not_unique(play: Play, name: str) -> None:
    """Calls of two messages are two calls, even if their model gives both the same id."""
    played = play(name)
    assert ["paid", "paid"] == played.found["twice"]
    assert [{"amount": 1}] * 2 == played.ran_with("wire")
    assert 2 == played.framework.states("desk.wire").count("settled")


@of("langgraph")
def test_threads_of_langgraph_are_runs(play: Play, name: str) -> None:
    """Outside of `run()` a thread is one run; model calls are of it once it is opened."""
    calls = play(name).framework.gateway.calls()
    *_, refused = (call for call in calls if (call["tool"], call["state"]) == ("desk.wire", "refused"))
    assert ["desk.wire", "chat"] == [call["tool"] for call in calls if call["run"] == refused["run"]]


@of("openai-agents")
def test_openai_agents_wait_for_a_person(play: Play, name: str) -> None:
    """The run is interrupted; what is allowed beside it is run. A yes given there alone is not one of Aegis."""
    played = play(name)
    assert ["risky"] == played.found["risky"]
    assert {"text": "meanwhile"} in played.ran_with("note")
    assert "A person has to approve it first" in played.found["approved here alone"]


@of("openai-agents", "pydantic-ai")
def test_what_is_taken_up_again_is_run_once(play: Play, name: str) -> None:
    """In another process, after the yes, it is run; taken up once more, it is neither run nor charged again."""
    played = play(name)
    assert "dared x" in played.resumed["risky"]
    assert "was made before" in played.resumed["again"]
    assert [["risky", {"what": "x"}]] == played.resumed["ran"]
    assert "settled" == played.framework.states("desk.risky")[-1]
    assert 1 == played.framework.states("desk.risky").count("settled")


@of("openai-agents")
def test_openai_agents_decide_once(play: Play, name: str) -> None:
    """Asking whether a person is needed and running the tool are one decision, refusals too."""
    played = play(name)
    assert ["refused"] == played.framework.states("desk.wire")
    assert ["settled", "refused"] == played.framework.states("desk.dear")


@of("pydantic-ai")
def test_pydantic_ai_defers_for_a_person(play: Play, name: str) -> None:
    """The question comes as a deferred call with its reasons; a yes given there alone leaves it deferred."""
    played = play(name)
    (question,) = played.found["risky"]
    assert ("desk.risky", ["risky things need a person's word"], "0.5") == (
        question["tool"],
        question["reasons"],
        question["maximum_usd"],
    )
    assert ["risky"] == played.found["approved here alone"]
