"""Who asks for whom at the AuthZEN door, and what a yes holds: reserved, recorded, settled, and nobody else's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.domain.config_version import Canary
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.entrypoints.cli.main import build
from tests.authzen_fixture import (
    ALICE,
    BOB,
    READ,
    RECORD_1,
    REDACT,
    WRITE,
    evaluation,
    files,
    post,
)
from tests.clients import run_client
from tests.gateways import PEPPER, Answer, Gateway, ask, assert_books_balance

pytestmark = pytest.mark.xdist_group("authzen")

PEP, NARROW = ({"type": "agent", "id": name} for name in ("pep", "narrow"))
NOTE = {"type": "tool", "id": "desk.note"}
CRAWL = {"type": "tool", "id": "desk.crawl", "properties": {"pages": 2}}
CHAT, GPT = {"name": "chat"}, {"type": "model", "id": "gpt-4o-mini"}
CALL = {"name": "call"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    """A gateway for tests that don't look at its balances."""
    with Gateway(files()) as gateway:
        yield gateway


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway with the fixture."""
    with Gateway(files()) as gateway:
        yield gateway


def settle(gateway: Gateway, answer: Answer, agent: str = "pep", **result: Any) -> Answer:
    """Settle at the endpoint that a yes names."""
    settlement = answer.json["context"]["settlement"]
    path = settlement["endpoint"].removeprefix(gateway.url)
    return ask(
        gateway, "POST", path, {"token": settlement["token"], "result": result}, key=gateway.key(agent)
    )


@pytest.mark.parametrize(
    ("asker", "subject", "status"),
    [
        ("alice", ALICE, 200),
        ("alice", BOB, 403),
        ("alice", PEP, 403),
        ("alice", {"type": "agent", "id": "nobody"}, 403),
        ("bob", {"type": "user", "id": "alice"}, 403),
        ("narrow", ALICE, 200),
        ("narrow", NARROW, 200),
        ("narrow", {"type": "agent", "id": "svc-alice"}, 200),
        ("narrow", BOB, 403),
        ("narrow", {"type": "agent", "id": "all"}, 403),
        ("pep", BOB, 200),
        ("pep", {"type": "agent", "id": "nobody"}, 200),
    ],
)
def test_who_may_ask_for_whom(shared: Gateway, asker: str, subject: dict[str, str], status: int) -> None:
    """About itself, and about those that its registration names; for another it is 403, and nothing is recorded."""
    before = shared.count()
    answer = post(shared, "evaluation", evaluation(subject), asker)
    assert status == answer.status
    for what in ("resource", "action"):
        body = {"subject": subject, "action": READ, "resource": {**RECORD_1}}
        assert status == post(shared, f"search/{what}", body, asker).status
    is_known = status == 200 and subject["id"] != "nobody"
    assert before + int(is_known) == shared.count()
    if status == 403:
        batch = {"evaluations": [evaluation(subject), evaluation({"type": "agent", "id": asker})]}
        first, second = post(shared, "evaluations", batch, asker).json["evaluations"]
        assert (False, 403, True) == (
            first["decision"],
            first["context"]["error"]["status"],
            second["decision"],
        )


def test_subjects_that_are_found_are_those_one_may_ask_for(shared: Gateway) -> None:
    """Nobody learns by a search who else there is."""
    body = {"subject": {"type": "agent"}, "action": READ, "resource": RECORD_1}

    def found(asker: str) -> list[str]:
        return [each["id"] for each in post(shared, "search/subject", body, asker).json["results"]]

    assert (["alice"], ["alice", "narrow"]) == (found("alice"), found("narrow"))
    assert ["alice", "bob", "narrow", "pep"] == found("pep")


def test_nobody_asks_without_a_key(shared: Gateway) -> None:
    """No key, a made-up one, a revoked one."""
    for key in (None, "aegis_live_nonsense", "x"):
        assert 401 == ask(shared, "POST", "/access/v1/evaluation", evaluation(), key=key).status
        assert 401 == ask(shared, "POST", "/access/v1/search/action", {}, key=key).status
    issued = shared.issue("pep")
    assert 200 == ask(shared, "POST", "/access/v1/evaluation", evaluation(), key=issued.secret).status
    with shared.administration() as administration:
        administration.revoke_key("acme", issued.key.id)
    assert 401 == ask(shared, "POST", "/access/v1/evaluation", evaluation(), key=issued.secret).status


def test_a_yes_is_a_decision(gateway: Gateway) -> None:
    """It is the subject's call, on the subject's budget, and the record says who asked; it is settled by its token."""
    answer = post(
        gateway, "evaluation", evaluation(ALICE, CALL, CRAWL, context={"aegis": {"customer": "c1"}})
    )
    context = answer.json["context"]
    assert ("0.5", "99.5", True) == (
        context["cost"]["maximum_usd"],
        context["budget_left_usd"],
        context["recorded"],
    )
    assert (500_000_000, 0) == gateway.standing("day")
    entry = next(entry for entry in gateway.entries() if entry.get("call") == context["id"])
    assert ("alice", "pep", "c1") == (entry["agent"], entry["asked_by"], entry["customer"])
    shown = ask(gateway, "GET", f"/v1/decisions/{context['id']}", key=gateway.key("pep"))
    assert (200, "dispatched") == (shown.status, shown.json["state"])
    assert 404 == ask(gateway, "GET", f"/v1/decisions/{context['id']}", key=gateway.key("bob")).status
    for other in ("alice", "bob"):  # the token is the asker's
        assert 403 == settle(gateway, answer, other, pages=3).status
    done = settle(gateway, answer, pages=3)
    assert (200, "0.03") == (done.status, done.json["cost_usd"])
    assert (0, 30_000_000) == gateway.standing("day")
    own = post(gateway, "evaluation", evaluation(), "alice").json["context"]["id"]
    assert "asked_by" not in next(entry for entry in gateway.entries() if entry.get("call") == own)
    assert_books_balance(gateway)


def test_what_is_never_settled_counts_at_its_maximum(gateway: Gateway) -> None:
    """Also after everything was killed; then it can still be settled."""
    answer = post(gateway, "evaluation", evaluation(ALICE, CALL, CRAWL))
    gateway.kill_all()
    gateway.start()
    assert (500_000_000, 0) == gateway.standing("day")
    assert "0.01" == settle(gateway, answer, pages=1).json["cost_usd"]
    assert_books_balance(gateway)


def test_asking_without_reserving(gateway: Gateway) -> None:
    """It says what would be decided, and records and holds nothing; a no is the same no."""
    without = {"aegis": {"reserve": False}}
    yes = post(gateway, "evaluation", evaluation(ALICE, CALL, CRAWL, context=without)).json
    assert (True, False, "0.5", "100") == (
        yes["decision"],
        yes["context"]["recorded"],
        yes["context"]["cost"]["maximum_usd"],
        yes["context"]["budget_left_usd"],
    )
    assert "settlement" not in yes["context"]
    no = post(gateway, "evaluation", evaluation(BOB, WRITE, context=without)).json
    assert (False, ["no_permit"]) == (no["decision"], no["context"]["codes"])
    assert 0 == gateway.count()


def test_models(shared: Gateway) -> None:
    """Their calls come through the gateway and are decided there: what is said of them is not recorded."""
    before = shared.count()
    body = evaluation(ALICE, CHAT, GPT, context={"aegis": {"prompt": "hello", "max_output_tokens": 10}})
    told = post(shared, "evaluation", body).json
    assert (True, False) == (told["decision"], told["context"]["recorded"])
    assert told["context"]["cost"]["maximum_usd"] != "0"
    embedding = {"type": "model", "id": "text-embedding-3-small"}
    assert post(shared, "evaluation", evaluation(ALICE, {"name": "embed"}, embedding)).json["decision"]
    for subject, action, model, code in (
        (BOB, {"name": "embed"}, embedding, "denied_by_policy"),
        (ALICE, CHAT, embedding, "unknown_tool"),
        (ALICE, {"name": "embed"}, GPT, "unknown_tool"),
        (ALICE, {"name": "paint"}, GPT, "unknown_tool"),
        (ALICE, CHAT, {**GPT, "id": "nothing"}, "unknown_tool"),
    ):
        no = post(shared, "evaluation", evaluation(subject, action, model))
        assert (200, False, [code]) == (no.status, no.json["decision"], no.json["context"].get("codes")), (
            no.body
        )
    assert before == shared.count()


def test_a_name_is_one_decision(gateway: Gateway) -> None:
    """The same again is the same; another request under it is refused; and the subject's own names are apart."""
    named = evaluation(ALICE, CALL, CRAWL, context={"aegis": {"name": "turn-7"}})
    first = post(gateway, "evaluation", named)
    again = post(gateway, "evaluation", named)
    assert first.json["context"]["id"] == again.json["context"]["id"]
    assert (500_000_000, 0) == gateway.standing("day")
    other = {**CRAWL, "properties": {"pages": 3}}
    assert 422 == post(gateway, "evaluation", {**named, "resource": other}).status
    own = post(gateway, "evaluation", named, "alice")
    assert own.json["context"]["id"] != first.json["context"]["id"]
    assert "0.02" == settle(gateway, again, pages=2).json["cost_usd"]
    last = post(gateway, "evaluation", named).json
    assert (True, "0.02", False) == (
        last["decision"],
        last["context"]["cost"]["actual_usd"],
        "settlement" in last["context"],
    )
    assert 2 == gateway.count()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_for_ten_lets_ten_through(workers: int) -> None:
    """However many ask at once, for whomever; whichever worker is asked settles them."""
    with Gateway(files(limit="1.00"), workers=workers) as gateway:
        subjects = (ALICE, BOB)
        gateway.key("pep")
        with ThreadPoolExecutor(16) as pool:
            answers = list(
                pool.map(lambda n: post(gateway, "evaluation", evaluation(subjects[n % 2])), range(60))
            )
            assert {True: 10, False: 50} == Counter(each.json["decision"] for each in answers)
            refused = [each for each in answers if not each.json["decision"]]
            assert {"budget_exhausted"} == {each.json["context"]["codes"][0] for each in refused}
            allowed = [each for each in answers if each.json["decision"]]
            assert {200} == {each.status for each in pool.map(lambda each: settle(gateway, each), allowed)}
        assert (0, 1_000_000_000) == gateway.standing("day")
        assert_books_balance(gateway)


def test_a_batch_on_a_budget_for_ten() -> None:
    """One request for sixty is no way around it."""
    with Gateway(files(limit="1.00")) as gateway:
        body = {**evaluation(), "evaluations": [{}] * 60}
        answers = post(gateway, "evaluations", body).json["evaluations"]
        assert {True: 10, False: 50} == Counter(each["decision"] for each in answers)
        assert_books_balance(gateway)


def test_what_is_redacted_is_an_obligation() -> None:
    """The arguments to run it with; for who says that it can't do that, it is a no, and what it held is free."""
    with Gateway(files(more_policies=REDACT)) as gateway:
        secret = evaluation(ALICE, CALL, {**NOTE, "properties": {"text": "of 536-90-4399"}})
        for context in (None, {"obligations_supported": ["custom"]}, {"aegis": {"reserve": False}}):
            told = post(gateway, "evaluation", {**secret, "context": context})
            (obligation,) = told.json["context"]["obligations"]
            assert ("custom", "aegis", "replace_arguments") == (
                obligation["type"],
                obligation["vendor"],
                obligation["action"],
            )
            assert obligation["arguments"]["text"].startswith("of [SSN:")
            assert "536-90-4399" not in told.body.decode()
        plain = evaluation(ALICE, CALL, {**NOTE, "properties": {"text": "nothing"}})
        unable = {"obligations_supported": ["step-up"]}
        assert "obligations" not in post(gateway, "evaluation", plain).json["context"]
        assert post(gateway, "evaluation", {**plain, "context": unable}).json["decision"]
        no = post(gateway, "evaluation", {**secret, "context": unable}).json
        assert (False, ["obligation_unfulfilled"]) == (no["decision"], no["context"]["codes"])
        assert not {"obligations", "settlement"} & no["context"].keys()
        asked_only = {**unable, "aegis": {"reserve": False}}
        assert not post(gateway, "evaluation", {**secret, "context": asked_only}).json["decision"]
        assert "settled" == gateway.call(no["context"]["id"])["state"]
        assert_books_balance(gateway)


def test_a_change_of_whom_one_may_ask_for_holds_for_the_next_request(gateway: Gateway) -> None:
    """In both directions."""
    made = files()
    assert 403 == post(gateway, "evaluation", evaluation(BOB), "narrow").status
    gateway.apply({**made, "aegis.yaml": made["aegis.yaml"].replace("asks_for: [alice]", "asks_for: [bob]")})
    assert 200 == post(gateway, "evaluation", evaluation(BOB), "narrow").status
    assert 403 == post(gateway, "evaluation", evaluation(ALICE), "narrow").status


def test_a_canary_decides_for_those_whose_it_is(gateway: Gateway) -> None:
    """Whoever asks for them, and in searches too."""
    made = files(
        more_policies='@id("no-reading") forbid(principal, action == Action::"record-1.read", resource);'
    )
    with gateway.administration() as administration:
        canary = Canary(beside=1, agents=("bob",))
        administration.apply(made, ["acme"], appraisal=Appraisal(based_on=1), canary=canary)

    def decided(subject: object) -> tuple[bool, int]:
        answer = post(gateway, "evaluation", evaluation(subject)).json
        entry = next(each for each in gateway.entries() if each.get("call") == answer["context"]["id"])
        return answer["decision"], entry["config_version"]

    assert ((True, 1), (False, 2)) == (decided(ALICE), decided(BOB))
    body = {"subject": {"type": "agent"}, "action": READ, "resource": RECORD_1}
    found = post(gateway, "search/subject", body).json["results"]
    assert ["alice", "narrow", "pep"] == [each["id"] for each in found]


def test_where_everything_passes() -> None:
    """In proxy mode it is a yes that counts on no budget; what there is not is still a no, and isn't found."""
    made = files()
    proxied = made["aegis.yaml"].replace("  acme:\n", "  acme:\n    proxy: {}\n", 1)
    with Gateway({**made, "aegis.yaml": proxied}) as gateway:
        assert post(gateway, "evaluation", evaluation(BOB, WRITE)).json["decision"]
        nothing = {"type": "record", "id": "record-1"}
        assert not post(gateway, "evaluation", evaluation(BOB, WRITE, nothing)).json["decision"]
        body = {"subject": {"type": "agent"}, "action": WRITE}
        found = post(gateway, "search/subject", {**body, "resource": RECORD_1}).json["results"]
        assert ["alice", "bob", "narrow", "pep"] == [each["id"] for each in found]
        assert [] == post(gateway, "search/subject", {**body, "resource": nothing}).json["results"]
        assert 403 == post(gateway, "evaluation", evaluation(BOB), "alice").status


def test_what_was_asked_for_others_is_replayed(gateway: Gateway, tmp_path: Path) -> None:
    """As the subject's call: a changed policy says of it what it would have done."""
    for subject in (ALICE, BOB):
        post(gateway, "evaluation", evaluation(subject))
    made = files(more_policies='@id("not-alice") forbid(principal == Agent::"alice", action, resource);')
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    settings = gateway.settings
    told = CliRunner().invoke(
        build(),
        ["replay", "--since", "1h", "--json", str(tmp_path)],
        env={
            "AEGIS_STORE": settings.store,
            "AEGIS_PEPPER": settings.pepper,
            "AEGIS_SIGNING_KEY": settings.signing_key,
            "AEGIS_TEST_PEPPER": PEPPER,
        },
    )
    assert "not-alice" in told.output, told.output
    (tenant,) = json.loads(told.stdout)["tenants"]
    assert 1 == tenant["new_denials"]


def test_a_run_is_its_subjects(shared: Gateway) -> None:
    """One that was opened for an agent goes on for that agent and by that key alone."""
    run = post(shared, "evaluation", evaluation()).json["context"]["run"]
    in_it = {"aegis": {"run": run}}
    assert run == post(shared, "evaluation", evaluation(context=in_it)).json["context"]["run"]
    assert 400 == post(shared, "evaluation", evaluation(BOB, context=in_it)).status
    assert 400 == post(shared, "evaluation", evaluation(context=in_it), "alice").status


def test_who_asks_for_an_agent_delegates_nothing_of_it(shared: Gateway) -> None:
    """The agent's calls are its own to delegate below: also those that another asked for."""
    asked = post(shared, "evaluation", evaluation()).json["context"]["id"]
    note = {"tool": "desk.note", "arguments": {"text": "a"}}
    own = ask(shared, "POST", "/v1/decisions", note, key=shared.key("alice"))
    for call in (asked, own.json["id"]):
        below = {"parent": call, "agent": "bob"}
        assert 404 == ask(shared, "POST", "/v1/runs", below, key=shared.key("pep")).status
        assert 200 == ask(shared, "POST", "/v1/runs", below, key=shared.key("alice")).status


def test_clients_that_nobody_here_wrote(shared: Gateway) -> None:
    """A guard for agents' tool calls, and a client of another decision point, ask this one."""
    script = Path(__file__).parent / "authzen_clients.py"
    told = run_client(
        "authzen", script, env={"PDP": shared.url, "KEY": shared.key("pep"), "OTHER": shared.key("alice")}
    )
    assert [
        "decern: True False",
        "guard: allow block",
        "batch: True False",
        "refused: 403",
    ] == told.splitlines()
    assert_books_balance(shared)
