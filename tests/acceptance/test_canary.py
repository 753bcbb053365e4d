"""A version for some agents beside the one for the others; and versions that are taken back by themselves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.watching import Watching
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import (
    PEPPER,
    PERMIT_ALL,
    Files,
    Gateway,
    ask,
    at_once,
    chat,
    chat_body,
    configuration,
    until,
)

AGENTS = tuple(f"bot-{number}" for number in range(12))
DENY_CHATS = '@id("no-chats") @effect("deny")\nforbid(principal, action == Action::"chat", resource);\n'
FAILING = "[[fail=500]]"
WATCH = "changes: {roll_back_when: {refusals_up_by: 20%, errors_up_by: 20%, of_at_least: 20, within: 10m}}\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


class Place:
    """A gateway, and a directory to apply to it."""

    def __init__(self, gateway: Gateway, files: Files, conf: Path) -> None:
        self.gateway = gateway
        self.conf = conf
        self.write(files)

    def write(self, files: Files) -> None:
        """Put files into the directory."""
        for name, text in files.items():
            file = self.conf / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def aegis(self, *arguments: str, code: int = 0) -> Result:
        """Run a command."""
        settings = self.gateway.settings
        told = CliRunner().invoke(
            build(),
            list(arguments),
            env={
                "AEGIS_STORE": settings.store,
                "AEGIS_PEPPER": settings.pepper,
                "AEGIS_SIGNING_KEY": settings.signing_key,
                "AEGIS_TEST_PEPPER": PEPPER,
                "AEGIS_ACTOR": "ana",
                "COLUMNS": "200",
            },
        )
        assert code == told.exit_code, told.output
        return told

    def apply(self, *more: str, code: int = 0) -> Result:
        """Apply the directory."""
        return self.aegis("apply", str(self.conf), "--yes", *more, code=code)

    def decisions(self) -> list[dict[str, Any]]:
        """All decisions, in order."""
        return [entry for entry in self.gateway.entries() if entry["type"] == "decision"]

    def statuses(self) -> dict[str, int]:
        """One chat of each agent."""
        return {agent: chat(self.gateway, "hello", key=self.gateway.key(agent)).status for agent in AGENTS}


@pytest.fixture
def files(upstream: UpstreamProcess) -> Files:
    """Everything is permitted."""
    return configuration(upstream.base_url, agents=AGENTS)


@pytest.fixture
def place(files: Files, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A gateway on the first version, and a directory that says the same; on PostgreSQL where a test asks for it."""
    store = request.getfixturevalue("postgres_url") if hasattr(request, "param") else None
    with Gateway(files, workers=2, store=store) as gateway:
        yield Place(gateway, files, tmp_path / "conf")


def denying(files: Files) -> Files:
    """The same, and nobody may chat."""
    return {**files, "policies/all.cedar": PERMIT_ALL + DENY_CHATS}


def test_a_canary_by_name(place: Place, files: Files) -> None:
    """The new version decides for the named agents and the old one for the others; each decision names both."""
    place.write(denying(files))
    place.apply("--agents", "bot-3,bot-7")
    statuses = place.statuses()
    assert {"bot-3", "bot-7"} == {agent for agent, status in statuses.items() if status == 403}
    assert {200, 403} == set(statuses.values())
    for entry in place.decisions():
        chosen = entry["agent"] in ("bot-3", "bot-7")
        expected = (2, 1, "deny") if chosen else (1, 2, "allow")
        assert expected == (entry["config_version"], entry["beside_version"], entry["effect"])
    shown = json.loads(place.aegis("canary", "--json").stdout)
    assert (2, 1, ["bot-3", "bot-7"]) == (shown["canary"], shown["in_force"], shown["for"]["agents"])
    trial, other = shown["sides"]
    assert (2, 2, 2, 0) == (trial["agents"], trial["calls"], trial["refused"], trial["cost_nano_usd"])
    assert (10, 10, 0, 0) == (other["agents"], other["calls"], other["refused"], other["errors"])
    assert other["cost_nano_usd"] == place.gateway.charged() > 0
    assert "100.00%" in place.aegis("canary").output
    listed = json.loads(place.aegis("versions", "--json").stdout)["versions"]
    assert [(2, False, True), (1, True, False)] == [
        (each["version"], each["in_force"], each["is_canary"]) for each in listed
    ]
    assert "is a canary that is under way" in place.apply(code=1).output
    assert {"config_version": 1, "canary_version": 2} == {
        name: value
        for name, value in ask(place.gateway, "GET", "/readyz", key=None).json.items()
        if name != "status"
    }


def test_a_share_that_grows(place: Place, files: Files) -> None:
    """Whoever is in stays in; promoted, it decides for all and nothing stands beside it."""
    place.write(denying(files))
    place.apply("--canary", "30%")
    first = {agent for agent, status in place.statuses().items() if status == 403}
    place.apply("--canary", "80%")
    second = {agent for agent, status in place.statuses().items() if status == 403}
    assert first <= second
    assert 0 < len(second) < len(AGENTS)
    assert "canary that is under way" in _changed(place, files)
    place.write(denying(files))
    place.aegis("canary", "promote", "--note", "it is well")
    assert {403} == set(place.statuses().values())
    last = place.decisions()[-1]
    assert (4, None) == (last["config_version"], last.get("beside_version"))
    recorded = [entry for entry in place.gateway.entries() if entry["type"] == "configuration"][-1]
    assert (4, 3, "it is well") == (recorded["config_version"], recorded["ends_canary"], recorded["note"])
    place.aegis("versions", "verify")
    place.aegis("canary", code=1)


def _changed(place: Place, files: Files) -> str:
    """What is said of another version while a canary is under way."""
    place.write({**files, "aegis.yaml": files["aegis.yaml"] + "# other\n"})
    return place.apply(code=1).output


@pytest.mark.parametrize("command", [("canary", "abort"), ("rollback", "--yes")])
def test_a_canary_that_ends(place: Place, files: Files, command: tuple[str, ...]) -> None:
    """What was in force for the others is in force for all again, as a version of its own."""
    place.write(denying(files))
    place.apply("--canary", "50%")
    place.aegis(*command)
    assert {200} == set(place.statuses().values())
    recorded = [entry for entry in place.gateway.entries() if entry["type"] == "configuration"][-1]
    assert (3, 1, 2) == tuple(recorded[name] for name in ("config_version", "back_to", "ends_canary"))
    assert "no canary is under way" in place.aegis("canary", code=1).output


def test_what_can_not_be_a_canary(place: Place, files: Files) -> None:
    """The same files, a budget that would count in two kinds of windows at once, and no share at all."""
    assert "there is nothing to try" in place.apply("--canary", "10%", code=1).output
    place.write({**files, "aegis.yaml": files["aegis.yaml"].replace("period: yearly", "period: daily")})
    assert "`plenty` would count in other windows" in place.apply("--canary", "10%", code=1).output
    for share in ("10", "0%", "101%", "ten%"):
        place.apply("--canary", share, code=2)
    assert "give --canary or --agents" in place.apply("--canary", "10%", "--agents", "x", code=1).output


def test_one_balance_two_limits(place: Place, files: Files, upstream: UpstreamProcess) -> None:
    """Both sides count on the same balance, each by its own limit."""
    small = configuration(
        upstream.base_url, agents=AGENTS, budgets={"plenty": "counts: calls, limit: 6, period: yearly"}
    )
    large = {**small, "aegis.yaml": small["aegis.yaml"].replace("limit: 6,", "limit: 9,")}
    with Gateway(small) as gateway:
        other = Place(gateway, large, place.conf.parent / "other")
        other.apply("--agents", "bot-1")
        stays, tries = gateway.key("bot-0"), gateway.key("bot-1")
        assert [200] * 5 == [chat(gateway, "hello", key=tries).status for _ in range(5)]
        assert [200, 402] == [chat(gateway, "hello", key=stays).status for _ in range(2)]
        assert [200, 200, 200, 402] == [chat(gateway, "hello", key=tries).status for _ in range(4)]
        assert (0, 9) == gateway.standing("plenty")


def chats(place: Place, text: str, count: int, agents: tuple[str, ...] = AGENTS) -> Counter[int]:
    """Many chats at once, over some agents."""
    keys = [place.gateway.key(agent) for agent in agents]
    answers = at_once(
        (place.gateway, "POST", "/v1/chat/completions", chat_body(text), keys[number % len(keys)])
        for number in range(count)
    )
    return Counter(answer.status for answer in answers if answer is not None)


def watched(files: Files) -> Files:
    """The same, and a version that refuses or fails more is taken back."""
    return {**files, "aegis.yaml": WATCH + files["aegis.yaml"]}


def newest(place: Place) -> dict[str, Any]:
    """The newest version."""
    found: dict[str, Any] = json.loads(place.aegis("versions", "--json").stdout)["versions"][0]
    return found


@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_on_postgres(place: Place, files: Files) -> None:
    """A canary, its figures, and its end by itself."""
    place.write(watched(files))
    place.apply()
    place.write(watched(denying(files)))
    place.apply("--canary", "50%")
    statuses = Counter(place.statuses().values())
    trial, other = json.loads(place.aegis("canary", "--json").stdout)["sides"]
    assert (statuses[403], statuses[200]) == (trial["refused"], other["calls"])
    assert place.gateway.charged() == other["cost_nano_usd"]
    until(lambda: bool(chats(place, "hello", 24)) and newest(place)["version"] == 4, "it is not taken back")
    assert {200} == set(place.statuses().values())


@pytest.mark.parametrize("how", [(), ("--agents", "bot-1,bot-2")], ids=["for all", "as a canary"])
def test_a_version_that_refuses(place: Place, files: Files, how: tuple[str, ...]) -> None:
    """It is taken back by itself, with the figures in the record; what is gone back to is not taken back in turn."""
    place.write(watched(files))
    place.apply()
    assert Counter({200: 24}) == chats(place, "hello", 24)
    place.write(watched(denying(files)))
    place.apply(*how)
    refusing = ("bot-1", "bot-2") if how else AGENTS
    assert Counter({403: 24}) == chats(place, "hello", 24, refusing)
    until(lambda: newest(place)["version"] == 4, "the version is not taken back")
    assert {200} == set(place.statuses().values())
    recorded = [entry for entry in place.gateway.entries() if entry["type"] == "configuration"][-1]
    assert (4, 2, "aegis") == tuple(recorded[name] for name in ("config_version", "back_to", "actor"))
    figures = recorded["figures"]
    assert ("refusals", 3, 24, 24) == (
        figures["of"],
        figures["tried"]["config_version"],
        figures["tried"]["calls"],
        figures["tried"]["refused"],
    )
    assert 2 == figures["beside" if how else "before"]["config_version"]
    assert "by itself: refusals went up from 0.00% to 100.00%" in newest(place)["note"]
    place.aegis("versions", "verify")
    # Now it fails all the more, and stays all the same.
    assert Counter({500: 30}) == chats(place, FAILING, 30)
    with place.gateway.store() as store:
        watching = Watching(
            store,
            Reports(store.query),
            lambda: pytest.fail("it would be taken back again"),
            bootstrap.registries,
        )
        assert watching.look(store.clock_ns()) is None
    assert 4 == newest(place)["version"]


def test_a_version_whose_calls_fail(place: Place, files: Files) -> None:
    """Errors of the upstream count as much as refusals."""
    place.write(watched(files))
    place.apply()
    assert Counter({500: 24}) == chats(place, FAILING, 24)
    until(lambda: newest(place)["version"] == 3, "the version is not taken back")
    assert (1, "errors") == _taken_back(place)


def test_limits_that_a_version_configured_and_that_are_gone_back_to(
    place: Place, upstream: UpstreamProcess
) -> None:
    """Taken back by itself, it ends what was done for good to its own limits, as `apply` does, and says so."""
    files = configuration(upstream.base_url, agents=AGENTS, budgets={"day": "limit: 100.00, period: daily"})
    place.write(watched(files))
    place.apply()
    raised = ("--lasting", "--reason", "more customers")
    place.aegis("budget", "increase", "day", "5", *raised)
    higher = {"aegis.yaml": watched(files)["aegis.yaml"].replace("limit: 100.00", "limit: 200.00")}
    place.write({**watched(denying(files)), **higher})
    place.apply()
    place.aegis("budget", "increase", "day", "7", *raised)
    assert Counter({403: 24}) == chats(place, "hello", 24, AGENTS)
    until(lambda: newest(place)["version"] == 4, "the version is not taken back")
    history = json.loads(place.aegis("budget", "history", "day", "--json").stdout)["changes"]
    assert [
        ("configured", 4, "aegis", "$207.00", "$100.00"),
        ("increase", 3, "local:ana", "$200.00", "$207.00"),
        ("configured", 3, "local:ana", "$105.00", "$200.00"),
        ("increase", 2, "local:ana", "$100.00", "$105.00"),
    ] == [
        (
            *(each["kind"], each["config_version"], each["asked_by"]),
            *(each["limit_before_text"], each["limit_after_text"]),
        )
        for each in history
    ]
    assert "by itself: refusals went up" in history[0]["reason"]
    assert "$100.00" == json.loads(place.aegis("budget", "day", "--json").stdout)["budgets"][0]["limit"]


def test_a_version_that_stays(place: Place, files: Files) -> None:
    """What is refused on purpose is not permitted again by itself."""
    place.write(watched(files))
    place.apply()
    assert Counter({200: 24}) == chats(place, "hello", 24)
    place.write(watched(denying(files)))
    assert "taken back by itself" not in place.apply("--no-roll-back").output
    assert Counter({403: 24}) == chats(place, "hello", 24)
    with place.gateway.store() as store:
        watching = Watching(
            store, Reports(store.query), lambda: pytest.fail("it would be taken back"), bootstrap.registries
        )
        assert watching.look(store.clock_ns()) is None


def _taken_back(place: Place) -> tuple[int, str]:
    recorded = [entry for entry in place.gateway.entries() if entry["type"] == "configuration"][-1]
    return recorded["back_to"], recorded["figures"]["of"]
