"""The SDK of the commercial product of our name, as it is published, against a gateway; and what it would not send."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis_gateway.domain.keys import key_from_random
from aegis_gateway.entrypoints.data_plane.aegislib.deciding import SESSION_KEYS
from tests.clients import ROOT, run_client
from tests.gateways import (
    PERMIT_ALL,
    TENANT,
    Answer,
    Files,
    Gateway,
    ask,
    assert_books_balance,
    configuration,
    until,
)

pytestmark = pytest.mark.xdist_group("aegislib")

AGENT = ROOT / "tests" / "aegislib_agent.py"
SSN = "536-90-4399"

LOCAL = """\
      desk:
        kind: local
        region: eu-west
        operations:
          rank:
            arguments: {limit: {type: integer, from: args.limit, required: false}}
            price: {per_call: 0.10}
          crawl:
            arguments: {pages: {type: integer, from: args.pages}}
            price: {per_unit: 0.01, unit: page, units: result.pages, max_units: 50}
            counts: {rows: {from: result.rows, max: 1000}}
          ask:
            price: {amount: result.cost_usd, max_amount: 2.00}
          wire:
            arguments: {amount: {type: number, from: args.amount}}
            price: {per_call: 0}
          note:
            price: {per_call: 0}
          drop:
            price: {per_call: 5.00}
          copy:
            price: {per_call: 0.01}
      lab:
        kind: local
        region: eu-west
        operations:
          copy:
            price: {per_call: 0.02}
          slack.post_message:
            price: {per_call: 0.03}
"""
POLICIES = f"""{PERMIT_ALL}
@id("ceiling")
@reason("not that much")
forbid(principal, action == Action::"desk.wire", resource)
when {{ context.args.amount.greaterThan(decimal("100.0")) }};
@id("no-numbers")
@effect("redact")
@kinds("ssn")
@in("arguments")
forbid(principal, action == Action::"desk.note", resource);
@id("a-person")
@effect("require_approval")
@reason("dropping tables needs a person")
forbid(principal, action == Action::"desk.drop", resource);
"""
BUDGETS = {
    "plenty": "limit: 1000000.00, period: yearly",
    "ten": "limit: 1.00, period: yearly",
    "reported": "limit: 100.00, period: yearly",
    "rows": "counts: rows, limit: 100000, period: yearly, match: {agent: reporter}",
}
MODELS = {
    "small": "connector: provider, price: {input_per_million: 0.15, output_per_million: 0.60, "
    "cache_read_per_million: 0.075}",
    "nobody-knows": "connector: provider",
}


def files() -> Files:
    """A tenant with tools that run in its agents."""
    made = configuration(
        "http://127.0.0.1:9",
        agents=("bot", "other", "poor", "reporter", "slow", "spawner"),
        agent_budgets={"poor": "ten", "reporter": "reported"},
        budgets=BUDGETS,
        policies=POLICIES,
        rates={"slowly": "limit: 1, every: 1h, match: {agent: slow}"},
        models=MODELS,
    )
    text = made["aegis.yaml"].replace(
        "    models:\n", f"{LOCAL}    customers: {{initech: {{}}}}\n    models:\n"
    )
    text = text.replace("      other: {", "      other: {external_id: assistant-7, ")
    text = text.replace("spawner: {team: desk, owner: ana", "spawner: {team: desk, owner: sam")
    text = text.replace(
        "    teams:\n",
        "    replication: {owners: {sam@acme.example: {max_runs: 1}}, idle: 1h}\n    teams:\n",
        1,
    )
    return {**made, "aegis.yaml": text}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway of two workers; nothing that is tested here goes over a network."""
    with Gateway(files(), workers=2) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def told(gateway: Gateway) -> dict[str, Any]:
    """What came of all that the agent with the SDK did."""
    with gateway.administration() as administration:
        revoked = administration.issue_key(TENANT, "bot")
        administration.revoke_key(TENANT, revoked.key.id)
    keys = {agent: gateway.key(agent) for agent in ("bot", "other", "poor", "reporter")}
    keys |= {"revoked": revoked.secret, "unissued": key_from_random(62)}
    env = {"AGENT": json.dumps({"url": gateway.url, "keys": keys})}
    printed = run_client("aegislib", AGENT, env=env, timeout_s=120)
    done: dict[str, Any] = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    return done


def decide(gateway: Gateway, tool: str, agent: str = "bot", **params: Any) -> Answer:
    """Ask as the SDK does, without it."""
    body = {"agent_id": agent, "tool": {"name": tool, "params": params}, "session": None}
    return send(gateway, "POST", "/v1/decision", body, agent)


def send(gateway: Gateway, method: str, path: str, body: object = None, agent: str = "bot") -> Answer:
    """Send with the SDK's header."""
    return ask(gateway, method, path, body, key=None, headers={"x-api-key": gateway.key(agent)})


def report(gateway: Gateway, decision: Answer, agent: str = "bot", **span: Any) -> Any:
    """Report a tool's span that has ended, as the SDK does; what is said of it."""
    told = {
        "span_id": "0199-a",
        "span_type": "tool",
        "status": "success",
        "end_time": "2026-11-28T20:00:00Z",
        "decision_id": decision.json["decision_id"],
        **span,
    }
    answer = send(gateway, "POST", "/v1/telemetry/spans", {"spans": [told]}, agent)
    assert 200 == answer.status, answer.body
    return answer.json


def at_rest(gateway: Gateway) -> Gateway:
    """The gateway, once all is settled that nobody has to report on."""
    open_calls = "select tool from call where state = 'dispatched' and tool not in ('desk.crawl', 'desk.ask')"
    until(lambda: not gateway.query(open_calls), "a call with a known cost stays open")
    return gateway


def shortened(body: bytes) -> str:
    """A test's name for a body."""
    return repr(body)[:40]


def effect(decision: Any) -> str:
    """The effect of a decision, as the SDK read it or as it was sent."""
    return str(decision["final_decision"]["effect"])


def refusal(outcome: Any) -> str:
    """The words of the SDK's own error for what it didn't run."""
    assert "ForbiddenError" == outcome["error"]
    return str(outcome["message"])


def test_guard(told: dict[str, Any]) -> None:
    """What is allowed runs, under either name; what is denied doesn't; what is redacted, the function never sees."""
    done = told["guard"]
    assert ("ranked 5", "ranked 3", "posted hello") == (done["allow"], done["named"], done["dotted"])
    assert "not that much" in refusal(done["deny"])
    assert done["sanitize"]["text"].startswith("of [SSN:")
    assert "plain" == done["sanitize"]["title"]
    assert ("nothing", True) == (
        done["sanitize by name"]["text"],
        done["sanitize by name"]["title"].startswith("of [SSN:"),
    )
    assert {"text": "nothing", "title": "untitled"} == done["nothing to sanitize"]


def test_guard_of_coroutines(told: dict[str, Any]) -> None:
    """The same, and the client's asynchronous calls."""
    done = told["guard_async"]
    assert "ranked 7" == done["allow"]
    assert "not that much" in refusal(done["deny"])
    assert done["sanitize"].startswith("of [SSN:")
    assert ("allow", "acme", "desk.rank") == (
        effect(done["adecide"]),
        done["adecide"]["tenant_id"],
        done["adecide"]["tool"],
    )
    assert ["allow", "deny"] == [effect(each) for each in done["adecide_batch"]]


def test_what_a_person_has_to_agree_to(gateway: Gateway, told: dict[str, Any]) -> None:
    """It is asked about until the SDK gives up, and never run; nothing is held for it."""
    done = told["approval"]
    decided = done["decided"]
    assert ("approval_needed", decided["decision_id"], "dropping tables needs a person") == (
        effect(decided),
        decided["final_decision"]["approval_id"],
        decided["final_decision"]["reason"],
    )
    assert ("PENDING", "approval_needed") == (done["status"]["status"], done["status"]["effect"])
    assert "pending approval" in done["answer"]
    assert (["desk.drop", "timeout", 2], ["TimeoutError"], []) == (done["task"], done["heard"], done["ran"])
    assert "requires approval" in refusal(done["without polling"])
    call = gateway.call(decided["decision_id"])
    assert ("refused", "require_approval", "[]") == (call["state"], call["effect"], call["legs"])


def test_batch(told: dict[str, Any]) -> None:
    """Each by itself, in order; what makes no sense among them is denied in its place."""
    done = told["batch"]
    assert ["allow", "deny", "deny", "sanitize", "approval_needed", "deny"] == [
        effect(each) for each in done["decisions"]
    ]
    [violation] = done["decisions"][2]["final_decision"]["violations"]
    assert ("parameter", "arguments.amount") == (violation["type"], violation["field"])
    assert "`desk.copy`, `lab.copy`" in done["decisions"][5]["final_decision"]["reason"]
    assert ([], "BadRequestError") == (done["none"], done["too many"]["error"])


def test_status(told: dict[str, Any]) -> None:
    """A decision stands as it was made, for the agent that it was made for; for others there is none."""
    done = told["status"]
    assert {"allow": "allow", "deny": "deny", "sanitize": "sanitize", "open": "allow"} == {
        name: done[name]["effect"] for name in ("allow", "deny", "sanitize", "open")
    }
    assert {"OK"} == {done[name]["status"] for name in ("allow", "deny", "sanitize", "open")}
    assert ["NotFoundError"] * 3 == [done[name]["error"] for name in ("another's", "unknown", "no id")]


def test_guarded_context(gateway: Gateway, told: dict[str, Any]) -> None:
    """`guarded` says what may be run, and with what; a session may say for whom, and must be right in that."""
    done = told["context"]
    assert {"allow": True, "deny": False, "sanitize": True, "approval": False} == {
        name: done[name]["allowed"] for name in ("allow", "deny", "sanitize", "approval")
    }
    assert (True, 1.5) == (
        done["sanitize"]["params"]["text"].startswith("of [SSN:"),
        done["sanitize"]["params"]["n"],
    )
    assert "initech" == gateway.call(done["customer"]["decision_id"])["customer"]
    assert ["deny", "deny"] == [effect(done[name]) for name in ("no customer", "no text")]


def test_what_is_refused_is_not_run_in_any_mode(told: dict[str, Any]) -> None:
    """With `fail_mode="open"` the SDK runs a tool if its question fails; so no refusal looks like that."""
    done = told["refusals_when_open"]
    words = {
        "unknown tool": "is not configured here",
        "ambiguous": "`desk.copy`, `lab.copy`",
        "missing argument": "`arguments.amount` is missing",
        "wrong argument": "`arguments.amount` must be a number",
        "entity": "`__entity` may not be a key",
        "another agent": "is that of agent `bot`, and `other` is said to call",
        "revoked key": "was revoked",
        "by policy": "not that much",
    }
    for name, expected in words.items():
        assert expected in refusal(done[name])
    assert ("ran", ["ran"]) == (done["external id"], done["ran"])


def test_unknown_keys_and_no_gateway(told: dict[str, Any]) -> None:
    """The SDK's own errors, and its own mode for them."""
    assert ["AuthError", "AuthError"] == [told["keys"][name]["error"] for name in ("unissued", "nonsense")]
    assert "never issued here" in refusal(told["keys"]["guarded"])
    assert "ran" == told["from_environment"]["answer"]
    down = told["gateway_down"]
    assert "Policy decision unavailable" in refusal(down["closed"])
    assert ("ran", "TransportError") == (down["open"], down["status"]["error"])


def test_forty_at_once_on_a_budget_for_ten(gateway: Gateway, told: dict[str, Any]) -> None:
    """Ten run. What they cost is known before, so it is spent and not only reserved."""
    [refused] = told["at_once"]["refused"]
    assert 10 == told["at_once"]["ran"]
    assert "limit_type='budget'" in refusal(refused)
    assert (0, 1_000_000_000) == at_rest(gateway).standing("ten")
    assert_books_balance(gateway)


def test_capabilities_and_prices(told: dict[str, Any]) -> None:
    """They are read as the SDK reads them; an unknown price is none, not $0."""
    capabilities = told["listing"]["capabilities"]
    assert ("1.0", False, 256, "1") == (
        capabilities["api_version"],
        capabilities["content_offload_supported"],
        capabilities["max_batch_spans"],
        capabilities["pricing_catalog_version"],
    )
    assert [
        {
            "model": "small",
            "input_price_per_1m": 0.15,
            "output_price_per_1m": 0.6,
            "cache_read_price_per_1m": 0.075,
            "cache_write_price_per_1m": 0.15,
        }
    ] == told["listing"]["entries"]
    assert ["nobody-knows"] == told["listing"]["pricing"]["unpriced"]


def test_reports_settle(gateway: Gateway, told: dict[str, Any]) -> None:
    """What the result tells is settled by the tool's span, however it was sent; what is not said, at the maximum."""
    stats = told["telemetry"]["stats"]
    assert [0, 0] == [each["export_failures"] + each["dropped"] for each in stats.values()]
    settled = [
        (call["tool"], call["state"], call["cost_nano_usd"])
        for call in at_rest(gateway).calls()
        if call["agent"] == "reporter"
    ]
    assert [
        ("desk.crawl", "settled", 40_000_000),  # as its code said
        ("desk.crawl", "settled", 500_000_000),  # which said nothing
        ("desk.crawl", "settled", 500_000_000),  # or less than nothing
        ("desk.crawl", "dispatched", None),  # or more than can be counted
        ("desk.crawl", "settled", 500_000_000),
        ("desk.rank", "settled", 100_000_000),  # $0 by its code, and its price doesn't ask that
        ("desk.ask", "settled", 12_300_000),  # which this one does
        ("desk.crawl", "settled", 50_000_000),  # it failed
        ("desk.crawl", "settled", 60_000_000),  # as it returned, in two pieces
    ] == settled
    assert (500_000_000, 1_762_300_000) == gateway.standing("reported")
    assert (1_000, 3_016) == gateway.standing("rows")
    notes = [entry.get("note", "") for entry in gateway.entries() if entry["type"] == "settlement"]
    assert any(" of trace " in note and "which ended in error" in note for note in notes)
    assert_books_balance(gateway)


def test_no_text_is_kept(gateway: Gateway, told: dict[str, Any]) -> None:
    """What tools were asked, returned and failed with is in no file, though the SDK sent it all."""
    assert SSN in told["telemetry"]["errand"] + told["telemetry"]["failed"]
    kept = [file for file in gateway.directory.rglob("*") if file.is_file()]
    assert kept
    assert not [file for file in kept if SSN.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"agent_id": "bot"}', b'{"agent_id": 5, "tool": {"name": "rank"}}',
        b'{"agent_id": "bot", "tool": {"params": {}}}', b'{"agent_id": "bot", "tool": {"name": "rank"}, "x": 1}',
        b'{"agent_id": "bot", "tool": {"name": "rank", "param": {}}}',
        b'{"agent_id": "bot", "tool": {"name": "rank"}, "session": []}',
        b'{"agent_id": "bot", "tool": {"name": "\xff"}}',
        b'{"agent_id": "bot", "tool": {"name": "rank", "params": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
    ],
    ids=shortened,
)  # fmt: skip
def test_a_body_that_is_none(gateway: Gateway, body: bytes) -> None:
    """It is told in the SDK's form of an error."""
    answer = send(gateway, "POST", "/v1/decision", body)
    assert (400, "invalid_request", "body") == (answer.status, answer.json["code"], answer.json["field"])
    assert answer.json["message"].startswith("the body is not what it should be: ")
    assert 400 == send(gateway, "POST", "/v1/decision/batch", body).status


@pytest.mark.parametrize(
    "params",
    [
        b"[]", b"5", b"null", b'{"limit": NaN}', b'{"limit": 1, "limit": 2}', b'{"limit": 1e99999}',
        b'{"limit": {"__extn": 1}}', b'{"limit": "many"}',
    ],
    ids=shortened,
)  # fmt: skip
def test_parameters_that_are_none(gateway: Gateway, params: bytes) -> None:
    """Whoever asks properly for nonsense is denied, which no SDK takes for an outage."""
    body = b'{"agent_id": "bot", "tool": {"name": "rank", "params": ' + params + b"}}"
    answer = send(gateway, "POST", "/v1/decision", body)
    if answer.status == 400:  # it isn't JSON as a whole
        assert b"NaN" in params
    else:
        assert (200, "deny") == (answer.status, effect(answer.json))
        assert answer.json["decision_id"].startswith("req_")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
TOOLS = ("rank", "desk.wire", "note", "crawl", "copy", "ask")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(TOOLS) | TEXTS,
    params=st.dictionaries(st.sampled_from(("amount", "limit", "text", "pages")) | TEXTS, VALUES, max_size=4),
    agent=st.sampled_from(("bot", "assistant-7")) | TEXTS,
    session=st.none() | st.dictionaries(st.sampled_from(SESSION_KEYS) | TEXTS, VALUES, max_size=3),
)
def test_whatever_a_guard_asks_is_decided(
    gateway: Gateway, name: str, params: Any, agent: str, session: Any
) -> None:
    """No model's choice of tool or arguments makes the gateway fail, which a guard in its open mode would run on."""
    body = {"agent_id": agent, "tool": {"name": name, "params": params}, "session": session}
    answer = send(gateway, "POST", "/v1/decision", body)
    assert 200 == answer.status, answer.body
    assert effect(answer.json) in ("allow", "deny", "sanitize")
    assert agent == "bot" or "deny" == effect(answer.json)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/decision", 404),
        ("DELETE", "/v1/decision", 404),
        ("POST", "/v1/decision/x", 404),
        ("GET", "/v1/decision/batch", 404),
        ("GET", "/v1/decision/call_0/status", 404),
        ("GET", "/v1/decision//status", 404),
        ("GET", "/v1/telemetry/spans", 404),
        ("PATCH", "/v1/telemetry/scores", 404),
        ("POST", "/v1/telemetry/", 404),
        ("POST", "/v1/telemetry/content", 501),
    ],
)
def test_what_is_not_there(gateway: Gateway, method: str, path: str, status: int) -> None:
    """It is told so, with words where the SDK looks for them."""
    answer = send(gateway, method, path, {"field_name": "input", "content": "x"} if method != "GET" else None)
    assert (status, True) == (answer.status, bool(answer.json["message"]))


def test_no_key(gateway: Gateway) -> None:
    """Nobody is told anything without one."""
    for method, path in (
        ("POST", "/v1/decision"),
        ("GET", "/v1/capabilities"),
        ("GET", "/v1/models/pricing"),
        ("POST", "/v1/telemetry/spans"),
    ):
        assert 401 == ask(gateway, method, path, {} if method == "POST" else None, key=None).status


def test_a_report_is_its_agents_and_its_decisions(gateway: Gateway) -> None:
    """Nobody settles another's; a decision is settled once, by its tool's own span, when that has ended."""
    before = at_rest(gateway).standing("plenty")
    decision = decide(gateway, "crawl", pages=1)
    other = decide(gateway, "crawl", "other", pages=1)
    assert 1 == report(gateway, decision, "other", properties={"pages": 1, "rows": 0})["rejected"]
    call, _, token = decision.json["decision_id"].partition(".")
    of_other = f"{other.json['decision_id'].partition('.')[0]}.{token}"
    wrong: tuple[dict[str, Any], ...] = (
        {"decision_id": f"{call}.AAAA"},
        {"decision_id": f"{call}.{token[:-8]}"},
        {"decision_id": of_other},
        {"span_id": "a b"},
        {"span_id": ""},
        {"decision_id": 5},
    )
    for said in wrong:
        told = report(gateway, decision, properties={"pages": 1, "rows": 0}, **said)
        assert (0, 1) == (told["settled"], told["rejected"])
    idle: tuple[dict[str, Any], ...] = (
        {"span_type": "guardrail"},
        {"span_type": None, "decision_source": "python_client"},
        {"end_time": None},
        {"status": "in_progress"},
        {"decision_id": call},
        {"decision_id": f"{call}.{token}x y"},
        {"decision_id": None},
    )
    for said in idle:
        told = report(gateway, decision, properties={"pages": 1, "rows": 0}, **said)
        assert (0, 0, 1) == (told["settled"], told["rejected"], told["received"])
    assert (before[0] + 1_000_000_000, before[1]) == gateway.standing("plenty")
    first = report(gateway, decision, span_type=None, properties={"pages": 4, "rows": 0}, output={"pages": 1})
    again = report(gateway, decision, properties={"pages": 4, "rows": 0})
    less = report(gateway, decision, properties={"pages": 1, "rows": 0})
    assert [(1, 0), (1, 0), (0, 1)] == [(each["settled"], each["rejected"]) for each in (first, again, less)]
    assert (before[0] + 500_000_000, before[1] + 40_000_000) == gateway.standing("plenty")
    assert_books_balance(gateway)


def test_telemetry_is_bounded(gateway: Gateway) -> None:
    """In size and in number; calls go on meanwhile. What is wrong with one span costs no other."""
    spans = "/v1/telemetry/spans"
    assert 413 == send(gateway, "POST", spans, {"spans": [{"span_id": "a"}] * 257}).status
    assert 413 == send(gateway, "POST", spans, b'{"spans": ["' + b"x" * 2_100_000 + b'"]}').status
    bodies: tuple[Any, ...] = (b"", b"{", {"spans": {}}, {"span": []}, [])
    for body in bodies:
        assert 400 == send(gateway, "POST", spans, body).status
    mixed = send(gateway, "PATCH", spans, {"spans": [{"span_id": "a"}, 5, None, {}, {"span_id": 7}]}).json
    assert (5, 0, 4, [1, 2, 3, 4]) == (
        mixed["received"],
        mixed["settled"],
        mixed["rejected"],
        [fault["index"] for fault in mixed["faults"]],
    )
    flood = {"spans": [{"span_id": "a", "output": "x" * 4_000}] * 256}
    statuses = {200}
    with ThreadPoolExecutor(8) as pool:
        for _ in range(100):
            statuses.update(
                pool.map(lambda _: send(gateway, "POST", spans, flood, "other").status, range(16))
            )
            if 429 in statuses:
                break
    assert {200, 429} == statuses
    assert (200, "allow") == ((decided := decide(gateway, "rank", "other")).status, effect(decided.json))
    assert 200 == send(gateway, "POST", spans, {"spans": []}).status


def test_what_is_not_kept_is_said(gateway: Gateway) -> None:
    """Metrics and scores are read and answered for what they are."""
    metrics = send(gateway, "POST", "/v1/telemetry/metrics", {"metrics": [{}, {}]})
    assert (200, 2, 0) == (metrics.status, metrics.json["received"], metrics.json["kept"])
    score = send(gateway, "POST", "/v1/telemetry/scores", {"score_id": "s", "name": "n", "value": 1})
    assert (200, "s", 0) == (score.status, score.json["score_id"], score.json["kept"])
    scores: tuple[Any, ...] = ({}, {"name": "n"}, {"name": "n", "value": []})
    for body in scores:
        assert 400 == send(gateway, "POST", "/v1/telemetry/scores", body).status
    assert 400 == send(gateway, "POST", "/v1/telemetry/metrics", {"metrics": 5}).status


def test_the_decision_is_in_the_headers_too(gateway: Gateway) -> None:
    """For those who look there: the run that further calls may be said to be of."""
    first = decide(gateway, "rank")
    assert (first.json["decision_id"], "allow") == (
        first.headers["aegis-decision-id"],
        first.headers["aegis-effect"],
    )
    body = {
        "agent_id": "bot",
        "tool": {"name": "rank"},
        "session": {
            "aegis-run-id": first.headers["aegis-run-id"],
            "aegis-parent-id": first.json["decision_id"],
        },
    }
    second = send(gateway, "POST", "/v1/decision", body)
    call = gateway.call(second.json["decision_id"])
    assert (first.headers["aegis-run-id"], first.json["decision_id"]) == (call["run"], call["parent"])


def test_too_often(gateway: Gateway) -> None:
    """It is denied, with when it may be tried again: the SDK has no other word for it."""
    assert "allow" == effect(decide(gateway, "rank", "slow").json)
    denied = decide(gateway, "rank", "slow").json
    [violation] = denied["final_decision"]["violations"]
    assert ("deny", "rate_limited", "rate") == (effect(denied), violation["type"], violation["limit_type"])
    assert " ms it may be tried again" in violation["message"]


def test_each_question_opens_a_run(gateway: Gateway) -> None:
    """Unless its session names one that is open: where an owner's runs are bounded, that is how to go on."""
    key = gateway.key("spawner")
    run = ask(gateway, "POST", "/v1/runs", {}, key=key).json["run"]
    body: dict[str, Any] = {"agent_id": "spawner", "tool": {"name": "rank"}, "session": {"aegis-run-id": run}}
    assert ["allow"] * 2 == [
        effect(send(gateway, "POST", "/v1/decision", body, "spawner").json) for _ in range(2)
    ]
    denied = decide(gateway, "rank", "spawner").json
    [violation] = denied["final_decision"]["violations"]
    assert ("deny", "too_many_runs", "runs") == (effect(denied), violation["type"], violation["limit_type"])


def test_a_gateway_that_was_killed() -> None:
    """What was decided before is settled after by its report; what was about to be settled stays at its maximum."""
    with Gateway(files(), environment={"AEGIS_FAULT": "ask-settle:2:kill"}) as gateway:
        kept = decide(gateway, "crawl", pages=1)
        assert "allow" == effect(decide(gateway, "rank").json)
        at_rest(gateway)
        with contextlib.suppress(OSError, http.client.HTTPException):  # it dies when it has answered
            decide(gateway, "rank")
        until(lambda: gateway.count() == 3)
        gateway.kill_all()
        gateway.without_fault()
        gateway.start()
        assert (600_000_000, 100_000_000) == gateway.standing("plenty")
        assert 1 == report(gateway, kept, properties={"pages": 2, "rows": 1})["settled"]
        assert (100_000_000, 120_000_000) == gateway.standing("plenty")
        assert_books_balance(gateway)
