"""The pages of agents, on a gateway where some called, were refused and asked again: whose they are, what they cost."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.money import nano_usd, usd_short, usd_text
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.cli.main import build
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import TENANT, Answer, Gateway, ask, chat_body, configuration

pytestmark = pytest.mark.xdist_group("call-pages")

CHAT = "/v1/chat/completions"
AGENTS = ("bot", "barred", "quiet")
POLICIES = (
    '@id("all-may") permit(principal, action, resource);\n'
    '@id("never") @reason("this one never may; ask <the desk>")\n'
    'forbid(principal == Agent::"barred", action, resource);\n'
)
CANARY = "it spoke too much; <b>canary</b>"


def chat(gateway: Gateway, agent: str, words: str, model: str = "gpt-4o-mini", **headers: str) -> Answer:
    """A model's call."""
    body = chat_body(f"{words} [[tokens=20]]", model=model, max_tokens=90)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(gateway, "POST", CHAT, body, key=gateway.key(agent), headers=named)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """Bot called two models and asked one question again; barred was refused; quiet has no key."""
    with UpstreamProcess(apps="provider") as upstream:
        budgets = {
            "day": "limit: 5.00, period: daily",
            "dear": "limit: 3.00, period: monthly, match: {model: gpt-4.1}",
            "each": "limit: 2.00, period: daily, match: {team: desk}, per: [agent]",
            "else": "limit: 1.00, period: daily, match: {agent: quiet}",
        }
        files = configuration(upstream.base_url, budgets=budgets, agents=AGENTS, policies=POLICIES)
        with Gateway(files) as gateway:
            for words in ("one", "two", "one"):
                assert 200 == chat(gateway, "bot", words).status
            assert 200 == chat(gateway, "bot", "one", x_stainless_retry_count="1").status
            assert 200 == chat(gateway, "bot", "dear", "gpt-4.1").status
            for _ in range(2):
                assert 403 == chat(gateway, "barred", "hi").status
            yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Fin may hold keys, vi looks on in acme; zoe has no role anywhere."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    staff.add("zoe")
    return staff


@pytest.fixture(scope="module")
def people(gateway: Gateway, staff: Staff) -> dict[str, Visitor]:
    """All of them, signed in."""
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def listed(page: str) -> list[str]:
    """The agents on a page, in its order."""
    return re.findall(r'<th[^>]*><a href="/agents/acme/([^"]+)"', page)


def spent(gateway: Gateway, agent: str) -> int:
    """What the ledger has of an agent."""
    rows = gateway.query("select sum(cost_nano_usd) as n from call where agent = ?", agent)
    return int(rows[0]["n"])


def test_all_agents(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """With owner, state and what the ledger has of each; filters leave the others out; any order; as a file."""
    page = text_of(people["vi"].get("/agents"))
    assert ["bot", "barred", "quiet"] == listed(page)
    assert usd_short(spent(gateway, "bot")) in page
    for words in ("ana@acme.example", "desk", "active", "without key", "never"):
        assert words in page, words
    for query, expected in (
        ("sort=agent", ["barred", "bot", "quiet"]),
        ("sort=refused", ["barred", "bot", "quiet"]),
        ("state=without+key", ["quiet"]),
        ("q=BOT", ["bot"]),
        ("team=desk&owner=ana@acme.example&sort=last", ["barred", "bot", "quiet"]),
        ("team=other", []),
        ("page=9", []),
        ("sort=%00&state=x&page=-1&q=%00", []),
        ("sort=x&page=%D9%A1", ["bot", "barred", "quiet"]),
    ):
        assert expected == listed(text_of(people["vi"].get(f"/agents?{query}"))), query
    answer = people["vi"].get("/agents/table.csv?sort=agent")
    rows = {row["agent"]: row for row in csv.DictReader(io.StringIO(answer.body.decode()))}
    assert set(AGENTS) == set(rows)
    assert spent(gateway, "bot") == nano_usd(rows["bot"]["spent_30d_usd"])
    assert ("2", "2", "0") == (
        rows["barred"]["calls_30d"],
        rows["barred"]["refused_30d"],
        rows["quiet"]["keys"],
    )
    assert b"PK" == people["vi"].get("/agents/table.xlsx").body[:2]


def test_one_agent(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Who it is, what it draws on with what is left, its keys without a secret, its dearest runs and calls."""
    answer = people["vi"].get(f"/agents/{TENANT}/bot")
    page = text_of(answer)
    key = gateway.query("select key, hint, hash from api_key where agent = 'bot'")[0]
    dearest = gateway.query("select call, run, cost_nano_usd from call where model = 'gpt-4.1'")[0]
    for words in (
        "ana@acme.example",
        "CC-1",
        usd_short(spent(gateway, "bot")),
        key["key"],
        key["hint"],
        "local:",
        f'href="/calls/acme/{dearest["call"]}"',
        usd_text(dearest["cost_nano_usd"]),
        f'href="/runs/acme/{dearest["run"][4:24]}"',
        usd_short(5_000_000_000 - spent(gateway, "bot")),
        'href="/budgets/acme/each?scope=bot"',
        "for some of its calls (model gpt-4.1)",
    ):
        assert words in page, words
    assert "/budgets/acme/else" not in page
    for leads in (f"/calls/{TENANT}/{dearest['call']}", f"/runs/{TENANT}/{dearest['run'][4:24]}"):
        assert 'href="/agents/acme/bot"' in text_of(people["vi"].get(leads)), leads
    assert gateway.key("bot") not in page
    assert bytes(key["hash"]).hex() not in page
    assert "5 runs" in page
    for range_ in ("today", "24h", "30d", "90d", "month", "x"):
        assert usd_short(spent(gateway, "bot")) in text_of(
            people["vi"].get(f"/agents/{TENANT}/bot?range={range_}")
        )


def test_why_it_was_refused(people: dict[str, Visitor]) -> None:
    """In the policy's words, with its text and what to do; nothing of it is markup."""
    answer = people["vi"].get(f"/agents/{TENANT}/barred")
    page = text_of(answer)
    for words in (
        "2 calls",
        "this one never may; ask <the desk>",
        'forbid(principal == Agent::"barred", action, resource);',
        "policies/all.cedar:2",
        "What to do:",
        'href="/policies/acme/never"',
        "effect=deny&rule=never",
    ):
        assert words in page, words
    assert b"<the desk>" not in answer.body
    assert "Nothing" in text_of(people["vi"].get(f"/agents/{TENANT}/quiet"))
    assert f"aegis key issue quiet --tenant {TENANT}" in text_of(people["vi"].get(f"/agents/{TENANT}/quiet"))


def test_only_who_may_read_sees_anything(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Strangers sign in first; who has no role sees no trace; what isn't there is like what isn't theirs."""
    for path in ("/agents", "/agents/table.csv", f"/agents/{TENANT}/bot"):
        assert 303 == Visitor(gateway).get(path).status
        assert "ana@acme.example" not in text_of(people["zoe"].get(path))
    assert 404 == people["zoe"].get(f"/agents/{TENANT}/bot").status
    for path in (
        "/agents/zeta/bot",
        f"/agents/{TENANT}/nobody",
        f"/agents/{TENANT}/%00",
        f"/agents/{TENANT}/a/b",
    ):
        assert 404 == people["vi"].get(path).status, path
    assert 404 == people["vi"].get("/agents?tenant=zeta").status


def test_what_could_have_cost_less(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """One question asked again, one attempt of a library; the same tokens at the prices of what may be called."""
    costs = [
        row["cost_nano_usd"]
        for row in gateway.query(
            "select cost_nano_usd from call where model = 'gpt-4o-mini' and effect = 'allow' order by sequence limit 4"
        )
    ]
    one = f"/agents/{TENANT}/bot/savings"
    page = text_of(people["vi"].get(f"{one}?range=24h"))
    assert (
        "1 settled call was the same request as one that was settled within the 24 hours before, and cost"
        in page
    )
    assert usd_short(costs[2]) in page
    assert "1 further attempt of a client’s library, " in page
    for words in ("gpt-5-mini", "less</strong>", "Nothing below was saved"):
        assert words in page, words
    rows = list(csv.DictReader(io.StringIO(people["vi"].get(f"{one}/table.csv").body.decode())))
    assert [("bot", "1", "1", costs[2])] == [
        (row["agent"], row["asked_again"], row["library_attempts"], nano_usd(row["asked_again_usd"]))
        for row in rows
    ]
    whole = text_of(people["vi"].get("/agents/savings"))
    assert "1 settled call was the same request" in whole
    assert 1 == len(
        list(csv.DictReader(io.StringIO(people["vi"].get("/agents/savings/table.csv").body.decode())))
    )
    assert "None" in text_of(people["vi"].get(f"/agents/{TENANT}/quiet/savings"))
    for path in (one, "/agents/savings", f"{one}/table.csv", "/agents/savings/table.csv"):
        assert 303 == Visitor(gateway).get(path).status
        assert 200 != people["zoe"].get(path).status or "no tenant that you may see" in text_of(
            people["zoe"].get(path)
        )
    for path in (
        "/agents/zeta/bot/savings",
        f"/agents/{TENANT}/nobody/savings",
        f"/agents/{TENANT}/%00/savings",
    ):
        assert 404 == people["vi"].get(path).status, path


def test_programs_and_terminals_are_told_the_same(
    gateway: Gateway, staff: Staff, people: dict[str, Visitor]
) -> None:
    """The control API and the command say what the page says; whoever may not read is told of nothing."""

    def get(path: str, who: str = "vi") -> Answer:
        return ask(gateway, "GET", f"/api/v1{path}", key=staff.tokens[who])

    listed = get("/agents?sort=agent&limit=2").json
    assert (3, ["barred", "bot"]) == (listed["count"], [each["agent"] for each in listed["agents"]])
    assert ["quiet"] == [each["agent"] for each in get("/agents?state=without+key").json["agents"]]
    bot, barred = get("/agents/bot?range=24h").json, get("/agents/barred").json
    assert (spent(gateway, "bot"), 5, 1) == (
        bot["spent_nano_usd"],
        bot["calls"],
        bot["savings"]["repeated_calls"],
    )
    (refusal,) = barred["refusals"]
    assert ("never", 2, "this one never may; ask <the desk>") == (
        refusal["rule"],
        refusal["calls"],
        refusal["words"],
    )
    assert "forbid" in refusal["policy"]["cedar"]
    found = bot["savings"]
    assert (
        found["repeated_calls"] + found["attempts"],
        found["repeated_nano_usd"] + found["attempts_nano_usd"],
    ) == (
        found["period_cache_candidates"],
        found["period_cache_candidates_nano_usd"],
    )
    models = {each["model"]: each for each in bot["savings"]["other_models"]}
    less = {each["model"]: each["less_nano_usd"] for each in models["gpt-4.1"]["others"]}
    assert less["gpt-4o-mini"] > 0
    assert gateway.key("bot") not in json.dumps(bot)
    assert 404 == get("/agents/nobody").status
    assert 404 == get("/agents/bot", "zoe").status
    assert 404 == get("/agents", "zoe").status
    assert 422 == get("/agents?sort=x").status

    environment = {
        "AEGIS_STORE": gateway.settings.store,
        "AEGIS_SIGNING_KEY": gateway.settings.signing_key,
        "COLUMNS": "180",
    }
    told = CliRunner().invoke(build(), ["agent", "cost", "bot", "--range", "24h", "--json"], env=environment)
    assert 0 == told.exit_code, told.output
    record = json.loads(told.stdout)
    for name in ("spent_nano_usd", "calls", "settled_calls", "month_nano_usd", "runs_nano_usd", "budgets"):
        assert bot[name] == record[name], name
    assert bot["savings"]["other_models"] == record["savings"]["other_models"]
    assert bot["savings"]["repeated_nano_usd"] == record["savings"]["repeated_nano_usd"]
    shown = CliRunner().invoke(build(), ["agent", "cost", "barred"], env=environment)
    assert "this one never may" in shown.stdout
    missing = CliRunner().invoke(build(), ["agent", "cost", "bott"], env=environment)
    assert (1, True) == (missing.exit_code, "did you mean `bot`" in missing.output)


def test_keys_are_held_restored_and_revoked(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """By who may, with a reason, in their name, from the very next call on; by nobody else, and by no other page."""
    one, act = f"/agents/{TENANT}/bot", f"/agents/{TENANT}/bot/keys"
    key = gateway.query("select key from api_key where agent = 'bot'")[0]["key"]
    other = gateway.query("select key from api_key where agent = 'barred'")[0]["key"]
    assert "<textarea" in text_of(people["fin"].get(one))
    assert "<textarea" not in text_of(people["vi"].get(one))
    proof = {who: csrf_on(people[who].get(one)) for who in ("fin", "vi", "zoe")}
    hold = {"act": "hold", "name": "bot", "reason": CANARY, "lasts": ""}
    assert 403 == people["vi"].post(act, {"csrf": proof["vi"], **hold}).status
    assert 404 == people["zoe"].post(act, {"csrf": proof["zoe"], **hold}).status
    assert 403 == people["fin"].post(act, hold).status
    for wrong, words in (
        ({"reason": " "}, "say why"),
        ({"name": other}, "no such key"),
        ({"name": "barred"}, "no such key"),
        ({"act": "x"}, "held, restored or revoked"),
        ({"act": "revoke"}, "held, restored or revoked"),
        ({"act": "restore"}, "nothing holds"),
        ({"lasts": "soon"}, "`soon` is no span"),
        ({"reason": "x" * 1_001}, "too long"),
    ):
        refused = people["fin"].post(act, {"csrf": proof["fin"], **hold, **wrong})
        assert (400, True) == (refused.status, words in text_of(refused)), wrong
    assert 200 == chat(gateway, "bot", "still").status

    done = people["fin"].post(act, {"csrf": proof["fin"], **hold})
    assert (303, f"{one}#keys") == (done.status, done.headers["location"])
    assert 401 == chat(gateway, "bot", "held").status
    page = people["vi"].get(one)
    assert "held" in text_of(page)
    assert CANARY in text_of(page)
    assert b"<b>canary" not in page.body
    assert ["bot"] == listed(text_of(people["vi"].get("/agents?state=held")))

    assert 303 == people["fin"].post(act, {"csrf": proof["fin"], "act": "restore", "name": key}).status
    assert 200 == chat(gateway, "bot", "again").status
    revoke = {"csrf": proof["fin"], "act": "revoke", "name": key, "reason": "leaked"}
    assert 303 == people["fin"].post(act, revoke).status
    assert 401 == chat(gateway, "bot", "over").status
    entries = [each for each in gateway.entries() if each["type"] == "key" and each["actor"] == "fin"]
    assert ["hold", "restore", "revoke"] == [each["act"] for each in entries]
    assert [CANARY, "leaked"] == [entries[0]["reason"], entries[2]["reason"]]
    after = text_of(people["vi"].get(one))
    assert "revoked by fin: leaked" in after
    assert ["bot"] == listed(text_of(people["vi"].get("/agents?state=revoked")))
