"""The page of a run, on a gateway where one agent called, tried again, was refused, and delegated to another."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import pytest

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.people import Grant
from tests.acceptance.test_decisions import LOCAL
from tests.browsers import Staff, Visitor, text_of
from tests.gateways import TENANT, Answer, Gateway, ask, chat_body, configuration

pytestmark = pytest.mark.xdist_group("call-pages")

POLICIES = (
    '@id("all-may") permit(principal, action, resource);\n'
    '@id("small-only") @reason("only the small model") forbid(principal, action, resource == Model::"gpt-4.1");\n'
)


class Told(msgspec.Struct, frozen=True):
    """A run of `boss` and the one below it of `worker`, by their numbers."""

    boss: str
    worker: str


def chat(gateway: Gateway, agent: str, run: str, model: str = "gpt-4o-mini", **headers: str) -> Answer:
    """A model's call in a run."""
    named = {"aegis-run-id": run, **{name.replace("_", "-"): value for name, value in headers.items()}}
    body = chat_body("hi [[tokens=20]]", model=model, max_tokens=90)
    return ask(gateway, "POST", "/v1/chat/completions", body, key=gateway.key(agent), headers=named)


def opened(gateway: Gateway, by: str, **asked: str) -> str:
    """A run that is opened."""
    return str(ask(gateway, "POST", "/v1/runs", asked, key=gateway.key(by)).json["run"])


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """The gateway, before anything was called."""
    with UpstreamProcess(apps="provider") as upstream:
        made = configuration(upstream.base_url, agents=("boss", "worker"), policies=POLICIES)
        text = made["aegis.yaml"].replace("    models:\n", f"{LOCAL}    models:\n")
        with Gateway({**made, "aegis.yaml": text}) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def told(gateway: Gateway) -> Told:
    """What they did."""
    run = opened(gateway, "boss")
    first = chat(gateway, "boss", run).headers["aegis-decision-id"]
    assert 200 == chat(gateway, "boss", run, x_stainless_retry_count="1").status
    assert 403 == chat(gateway, "boss", run, model="gpt-4.1").status
    asked = {"tool": "desk.rank", "arguments": {}, "run": run, "parent": first}
    below = ask(gateway, "POST", "/v1/decisions", asked, key=gateway.key("boss")).json["id"]
    delegated = opened(gateway, "boss", run=run, parent=below, agent="worker")
    assert 200 == chat(gateway, "worker", delegated).status
    assert (
        200 == ask(gateway, "POST", "/v1/chat/completions", chat_body("hi"), key=gateway.key("boss")).status
    )
    return Told(boss=run[4:24], worker=delegated[4:24])


@pytest.fixture(scope="module")
def people(gateway: Gateway) -> dict[str, Visitor]:
    """Vi looks on in acme; zoe has no role anywhere."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    staff.add("zoe")
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def counted(gateway: Gateway, *numbers: str) -> int:
    """What calls of runs count as, as the ledger has it."""
    rows = gateway.query("select run, state, cost_nano_usd, maximum_nano_usd, effect from call")
    return sum(
        int(row["cost_nano_usd"] if row["state"] == "settled" else row["maximum_nano_usd"])
        for row in rows
        if row["effect"] == "allow" and row["run"][4:24] in numbers
    )


def test_the_tree(gateway: Gateway, told: Told, people: dict[str, Visitor]) -> None:
    """Each call once, below what led to it, with sums as the ledger has them; retries and refusals are seen."""
    page = text_of(people["vi"].get(f"/runs/{TENANT}/{told.boss}"))
    calls = re.findall(r'<a href="/calls/acme/([^"]+)"', page)
    expected = [
        row["call"]
        for row in gateway.query("select call, run from call order by decided_ns")
        if row["run"][4:24] in (told.boss, told.worker)
    ]
    assert 5 == len(expected)
    assert sorted(expected) == sorted(calls)
    top = page.partition("<h1>")[2].partition("<section")[0]
    assert usd_text(counted(gateway, told.boss, told.worker)) in top
    for words in ("5 calls", "1 refused", "1 tried again", "≤ "):  # the tool runs until somebody settles it
        assert words in top, words
    assert "attempt 2" in page
    assert "only the small model" in page
    tool, worker = page.index("desk.rank"), page.index("delegated to")
    assert tool < worker
    below = page[worker:]
    assert "worker" in below
    assert usd_text(counted(gateway, told.worker)) in below


def test_a_delegated_run_alone(gateway: Gateway, told: Told, people: dict[str, Visitor]) -> None:
    """It has its own calls alone, and leads to what it was delegated in; its whole id is its address too."""
    page = text_of(people["vi"].get(f"/runs/{TENANT}/{told.worker}"))
    assert "Delegated by boss" in page
    assert f'href="/runs/acme/{told.boss}"' in page
    assert usd_text(counted(gateway, told.worker)) in page
    assert "1 call<" in page.replace("1 call,", "1 call<")
    (whole,) = {row["run"] for row in gateway.query("select run from call where agent = 'worker'")}
    assert "Delegated by boss" in text_of(people["vi"].get(f"/runs/{TENANT}/{whole}"))


def test_only_who_may_read_sees_it(gateway: Gateway, told: Told, people: dict[str, Visitor]) -> None:
    """Strangers sign in first; who has no role sees no trace; what is no run is none."""
    assert 303 == Visitor(gateway).get(f"/runs/{TENANT}/{told.boss}").status
    assert 404 == people["zoe"].get(f"/runs/{TENANT}/{told.boss}").status
    assert 404 == people["vi"].get(f"/runs/zeta/{told.boss}").status
    for wrong in ("0" * 20, "x", "run_", "%00", "_" * 24):
        assert 404 == people["vi"].get(f"/runs/{TENANT}/{wrong}").status, wrong
    plan = gateway.query(
        "explain query plan select call from call"
        " where tenant = 'acme' and run is not null and substr(run, 1, 24) = 'run_x' order by decided_ns + 0, sequence"
    )
    assert any("call_by_run" in row["detail"] for row in plan)


def test_a_tree_is_found_by_an_index(gateway: Gateway, told: Told) -> None:
    """What was delegated in it is not looked for among all the runs of its tenant."""
    asked: list[str] = []

    def query(sql: str, values: tuple[object, ...] = ()) -> list[dict[str, object]]:
        written = sql
        for value in values:
            written = written.replace("?", f"'{value}'" if isinstance(value, str) else str(value), 1)
        asked.extend(str(row["detail"]) for row in gateway.query(f"explain query plan {written}"))
        return gateway.query(written)

    (found,) = Reports(query).runs_of_tree(TENANT, told.boss, 5)
    assert told.worker == found.number
    assert any("run_by_tree" in each for each in asked), asked
