"""`/metrics` of a real gateway, held against Prometheus's own tools and against the ledger."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff
from tests.datadog import dashboard_queries, datadog_metrics, fault_of, monitor_queries, query_metrics
from tests.gateways import HOST, PERMIT_ALL, WAIT_S, Answer, Gateway, ask, chat, configuration, until
from tests.prometheus import check_metrics, check_rules, firing, prometheus

pytestmark = pytest.mark.xdist_group("metrics")

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "aegis.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "aegis.json"
POLICIES = (
    PERMIT_ALL + '\n@id("no-gpt") @mode("shadow") forbid (principal, action == Action::"chat", resource);\n'
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """Two tenants and two workers; acme has called, within a budget and beyond one, and once in vain; zeta has not."""
    files = configuration(
        upstream.base_url,
        policies=POLICIES,
        budgets={
            "day": "limit: 20.00, period: daily",
            "tiny": "limit: 0.000001, period: daily, match: {agent: other}",
            "run": "limit: 1.00, period: daily, per: [run], max_instances: 50",
        },
        agents=("bot", "other"),
    )
    other = files["aegis.yaml"].partition("  acme:\n")[2]
    with Gateway({**files, "aegis.yaml": f"{files['aegis.yaml']}  zeta:\n{other}"}, workers=2) as gateway:
        for _ in range(2):
            assert 200 == chat(gateway, "hello [[tokens=20]]").status
        run = chat(gateway, "hello [[tokens=20]]").headers["aegis-run-id"]
        told = ask(gateway, "POST", f"/v1/runs/{run}/outcome", {"outcome": "success"}, key=gateway.key())
        assert 200 == told.status
        assert 402 == chat(gateway, "hello", key=gateway.key("other")).status
        assert 500 <= chat(gateway, "hello [[fail=503]]").status
        assert 401 == chat(gateway, "hello", key="nobodys").status
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Prometheus is somebody who looks on in acme; zoe does in zeta."""
    staff = Staff(gateway)
    staff.add("prom", Grant(role="viewer", tenant="acme"))
    staff.add("zoe", Grant(role="viewer", tenant="zeta"))
    return staff


def scrape(gateway: Gateway, token: str = "", accept: str = "") -> Answer:
    """What Prometheus gets."""
    connection = http.client.HTTPConnection(HOST, gateway.settings.port, timeout=WAIT_S)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    connection.request("GET", "/metrics", None, {**headers, **({"accept": accept} if accept else {})})
    answer = connection.getresponse()
    named = {name.lower(): value for name, value in answer.getheaders()}
    found = Answer(status=answer.status, headers=named, body=answer.read())
    connection.close()
    return found


def values(text: str, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels as they are written."""
    found = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_the_text_is_as_prometheus_wants_it(gateway: Gateway) -> None:
    """Names, units, types, help: `promtool` finds no fault with it; in OpenMetrics, where that is asked for."""
    answer = scrape(gateway)
    assert (200, "no-store") == (answer.status, answer.headers["cache-control"])
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "" == check_metrics(answer.body.decode())
    other = scrape(gateway, accept="application/openmetrics-text; version=1.0.0")
    assert other.headers["content-type"].startswith("application/openmetrics-text")
    assert other.body.endswith(b"# EOF\n")


def test_sums_are_the_ledgers(gateway: Gateway) -> None:
    """Cost to the nano-dollar; calls by effect; refusals by rule; shadow apart; nothing of runs."""
    text = scrape(gateway).body.decode()
    (row,) = gateway.query("select sum(cost_nano_usd) as cost from call")
    assert row["cost"] > 0
    assert row["cost"] == round(sum(values(text, "aegis_cost_usd_total").values()) * 1e9)
    assert 5 == sum(values(text, "aegis_calls_total").values())
    assert {'effect="deny",mode="enforce",rule="budget:tiny",tenant="acme"': 1.0} == {
        labels: number
        for labels, number in values(text, "aegis_policy_violations_total").items()
        if "enforce" in labels
    }
    quiet = values(text, "aegis_policy_violations_total")
    assert 4 == quiet['effect="deny",mode="shadow",rule="no-gpt",tenant="acme"']
    (standing,) = gateway.query("select posted from standing where budget = 'day' and tenant = 'acme'")
    assert standing["posted"] == round(
        values(text, "aegis_budget_spent_usd")['budget="day",scope="",tenant="acme"'] * 1e9
    )
    assert {'agent="bot",result="success",tenant="acme"': 1.0} == values(text, "aegis_outcomes")
    (told,) = gateway.query("select cost from outcome")
    assert told["cost"] > 0
    assert [told["cost"]] == [round(each * 1e9) for each in values(text, "aegis_outcome_cost_usd").values()]
    used = values(text, "aegis_budget_utilization_ratio")['budget="day",scope="",tenant="acme"']
    assert standing["posted"] / 20e9 == pytest.approx(used)
    assert "run_" not in text
    assert 0 == values(text, "aegis_approvals_waiting")['tenant="acme"']


def test_durations_and_failures_are_those_of_all_workers(gateway: Gateway) -> None:
    """Whichever worker is asked; by door and effect, as histograms; and a worker that is killed takes none with it."""
    allowed, refused = (f'door="models",effect="{effect}",tenant="acme"' for effect in ("allow", "deny"))

    def number(name: str, labels: str) -> float:
        return values(scrape(gateway).body.decode(), name).get(labels, 0.0)

    before = number("aegis_call_duration_seconds_count", allowed)
    calls = 0
    for _ in gateway.workers():
        assert 200 == chat(gateway, "hello [[tokens=20]] [[delay_ms=60]]").status
        calls += 1
    until(
        lambda: number("aegis_call_duration_seconds_count", allowed) >= before + calls, "not all are counted"
    )
    text = scrape(gateway).body.decode()
    assert 1 == values(text, "aegis_added_duration_seconds_count")[refused]
    upstream = values(text, "aegis_upstream_duration_seconds_sum")[
        'connector="provider",door="models",tenant="acme"'
    ]
    whole = values(text, "aegis_call_duration_seconds_sum")[allowed]
    added = values(text, "aegis_added_duration_seconds_sum")[allowed]
    assert upstream >= 0.06 * calls
    assert whole == pytest.approx(upstream + added)
    assert {'connector="provider",kind="5xx",tenant="acme"': 1.0} == values(
        text, "aegis_upstream_errors_total"
    )
    assert 1 == values(text, "aegis_refused_requests_total")['door="models",why="not_identified"']
    settled = values(text, "aegis_settlements_total")['how="settled",tenant="acme"']
    assert values(text, "aegis_call_duration_seconds_count")[allowed] == settled
    assert 1 <= values(text, "aegis_requests_under_way")['door="people"'], "the scrape itself"
    for worker in gateway.workers():
        os.kill(worker, signal.SIGKILL)
        until(partial(_is_replaced, gateway, worker), "no other worker comes")
        assert settled <= number("aegis_settlements_total", 'how="settled",tenant="acme"')


def _is_replaced(gateway: Gateway, worker: int) -> bool:
    return worker not in gateway.workers() and gateway.all_serve() and gateway.is_ready()


def test_a_token_tells_of_what_its_person_may_read(gateway: Gateway, staff: Staff) -> None:
    """Of their tenants alone; a token that isn't valid is no token."""
    text = scrape(gateway, staff.tokens["zoe"]).body.decode()
    assert 'tenant="zeta"' in text
    assert 'tenant="acme"' not in text
    assert not values(text, "aegis_requests_under_way"), "what is of all tenants"
    assert values(scrape(gateway).body.decode(), "aegis_requests_under_way")
    assert 401 == scrape(gateway, "aegis_person_nobodys").status
    assert 401 == scrape(gateway, gateway.key()).status


def test_a_gateway_that_others_reach_wants_a_token() -> None:
    """Nobody else is told what is spent by whom."""
    with Gateway(configuration("http://127.0.0.1:9"), start=False) as other:
        other.settings = msgspec.structs.replace(other.settings, host="0.0.0.0")  # that is the question
        other.start()
        answer = scrape(other)
        assert (401, "Bearer") == (answer.status, answer.headers["www-authenticate"])
        assert b"token issue" in answer.body
        assert 401 == ask(other, "GET", "/metrics").status
        assert 200 == scrape(other, Staff(other).tokens["ana"]).status


@pytest.mark.parametrize("name", [{"AEGIS_URL": "https://aegis.example"}, {"AEGIS_HOSTS": "aegis.example"}])
def test_a_gateway_behind_a_proxy_wants_a_token(name: dict[str, str]) -> None:
    """It listens on this machine alone, and is reached from everywhere all the same."""
    with Gateway(configuration("http://127.0.0.1:9"), environment=name) as proxied:
        assert 401 == scrape(proxied).status
        assert 401 == ask(proxied, "GET", "/metrics", key=None, headers={"host": "aegis.example"}).status
        assert 200 == scrape(proxied, Staff(proxied).tokens["ana"]).status


def test_a_real_prometheus_has_what_the_ledger_has(gateway: Gateway, staff: Staff, tmp_path: Path) -> None:
    """It scrapes with a person's token, and adds up to the same."""
    (row,) = gateway.query("select sum(cost_nano_usd) as cost from call")
    with prometheus(tmp_path, f"{HOST}:{gateway.settings.port}", staff.tokens["prom"]) as server:
        ((_, cost),) = server.query("sum(aegis_cost_usd_total)")
        assert row["cost"] == round(cost * 1e9)
        ((labels, used),) = server.query('aegis_budget_utilization_ratio{budget="day"}')
        assert ("acme", True) == (labels["tenant"], used > 0)


def test_the_rules_hold(tmp_path: Path, gateway: Gateway, staff: Staff) -> None:
    """`promtool` takes them, and a real Prometheus evaluates each; what is spent is recorded by them too."""
    rules = RULES.read_text()
    assert "SUCCESS" in check_rules(RULES)
    with prometheus(tmp_path, f"{HOST}:{gateway.settings.port}", staff.tokens["prom"], rules) as server:
        until(lambda: bool(server.query("aegis:cost_usd:total")), "the rules are not evaluated")
        faults = [rule["name"] for rule in server.rules() if rule.get("lastError")]
        assert [] == faults
        assert {"AegisBudgetNearlyUsed", "aegis:budget_burn:rate"} <= {
            rule["name"] for rule in server.rules()
        }


def test_every_query_of_the_dashboard_is_answered(tmp_path: Path, gateway: Gateway, staff: Staff) -> None:
    """By a real Prometheus of who may read all; what is a sum and no rate has a value at once: the ledger's."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = {
        (panel["title"], target["expr"]): target["expr"]
        .replace("$tenant", ".*")
        .replace("$__rate_interval", "1m")
        .replace("$__range", "1h")
        for panel in panels
        for target in panel["targets"]
    }
    names = set(re.findall(r"aegis_\w+", DASHBOARD.read_text() + RULES.read_text()))
    (row,) = gateway.query("select sum(cost_nano_usd) as cost from call")
    with prometheus(tmp_path, f"{HOST}:{gateway.settings.port}", staff.tokens["ana"]) as server:
        known = {labels["__name__"] for labels, _ in server.query('{__name__=~"aegis_.*"}')}
        assert names - known <= {"aegis_incidents_open", "aegis_open_calls"}, (
            "these have no samples without any"
        )
        found = {title: server.query(query) for (title, _), query in queries.items()}
        ((_, spent),) = found["Spent in all"]
        assert row["cost"] == round(spent * 1e9)
        for title in (
            "Requests under way",
            "Requests that wait",
            "Open incidents",
            "Calls in doubt",
            "Messages and keys",
            "Budgets, used",
        ):
            assert found[title], title


def test_alerts_about_speed_and_failures_fire(tmp_path: Path) -> None:
    """`promtool` plays them what they are for, and what they aren't."""
    slow, fast = (
        'aegis_added_duration_seconds_bucket{tenant="%s",door="models",effect="allow",le="%s"}',
    ) * 2
    series = {
        slow % ("slow", "0.1"): "0+0x60",
        slow % ("slow", "0.5"): "0+600x60",
        slow % ("slow", "+Inf"): "0+600x60",
        fast % ("fast", "0.1"): "0+600x60",
        fast % ("fast", "0.5"): "0+600x60",
        fast % ("fast", "+Inf"): "0+600x60",
        'aegis_added_duration_seconds_count{tenant="slow",door="models",effect="allow"}': "0+600x60",
        'aegis_added_duration_seconds_count{tenant="fast",door="models",effect="allow"}': "0+600x60",
        'aegis_settlements_total{tenant="fast",how="settled"}': "0+600x60",
        'aegis_settlements_total{tenant="fast",how="late"}': "0+1x60",
        'aegis_upstream_errors_total{tenant="slow",connector="openai",kind="timeout"}': "0+60x60",
        'aegis_upstream_errors_total{tenant="fast",connector="openai",kind="429"}': "0+6x60",
        'aegis_upstream_duration_seconds_count{tenant="slow",connector="openai",door="models"}': "0+600x60",
        'aegis_upstream_duration_seconds_count{tenant="fast",connector="openai",door="models"}': "0+600x60",
        'aegis_refused_requests_total{instance="one",door="models",why="overload"}': "0+5x60",
        'aegis_refused_requests_total{instance="one",door="models",why="not_identified"}': "0+500x60",
        'aegis_refused_requests_total{instance="two",door="mcp",why="unavailable"}': "0+5x60",
    }
    fire = {
        "AegisAddsLatency": [{"tenant": "slow"}],
        "AegisUpstreamFails": [{"tenant": "slow", "connector": "openai"}],
        "AegisOverloaded": [{"instance": "one"}],
        "AegisCannotDecide": [{"instance": "two"}],
        "AegisSettlesLate": [{"tenant": "fast"}],
        "AegisNothingSettles": [{"tenant": "slow"}],
    }
    assert fire == firing(tmp_path, RULES, series, list(fire), at="60m")


def test_datadogs_dashboard_and_monitors_ask_for_what_there_is(gateway: Gateway) -> None:
    """Each metric is one that the Agent's OpenMetrics check makes of `/metrics`, asked for as its kind may be."""
    known = datadog_metrics(scrape(gateway).body.decode())
    dashboard = json.loads((DEPLOY / "datadog" / "dashboard.json").read_text())
    monitors = json.loads((DEPLOY / "datadog" / "monitors.json").read_text())
    asked = [*dashboard_queries(dashboard), *monitor_queries(monitors)]
    assert [] == [(query, fault) for query in asked if (fault := fault_of(query, known))]
    assert {"aegis.budget_utilization_ratio", "aegis.budget_burn_rate", "aegis.added_duration_seconds"} <= {
        name for query in monitor_queries(monitors) for name in query_metrics(query)
    }
    for broken in (
        "p99:aegis.cost_usd.count{*}",
        "sum:aegis.cost_usd{*}",
        "sum:aegis.calls.count{*} by {run}.as_count()",
        "max:aegis.budget_burn_rate{*}.as_count()",
        "sum(aegis.calls.count)",
    ):
        assert fault_of(broken, known), broken


def test_the_api_says_the_same(gateway: Gateway, staff: Staff) -> None:
    """As the metrics do, and the ledger; of a tenant that the person may read."""
    (row,) = gateway.query("select sum(cost_nano_usd) as cost from call")
    told = ask(gateway, "GET", "/api/v1/kpi?by=agent", key=staff.tokens["prom"]).json
    figures = {each["id"]: each for each in told["figures"]}
    assert (row["cost"], 1) == (figures["spent"]["value"], figures["cost_per_agent"]["denominator"])
    assert [("bot", row["cost"]), ("other", 0)] == [
        (each["name"], each["spent_nano_usd"]) for each in told["parts"]
    ]
    assert 404 == ask(gateway, "GET", "/api/v1/kpi?tenant=acme", key=staff.tokens["zoe"]).status
    assert 401 == ask(gateway, "GET", "/api/v1/kpi", key=gateway.key()).status
    wrong = ask(
        gateway,
        "GET",
        "/api/v1/kpi?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        key=staff.tokens["prom"],
    )
    assert (422, "since") == (wrong.status, wrong.json["field"])
