"""The rollout from an empty installation to its last step: each step says what to do next, and that moves it on.

What is named is run as it stands, in a shell; what is to be written into the configuration is written, and applied.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import KEY, UpstreamProcess
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.cli.main import build
from tests.browsers import Staff, Visitor, text_of
from tests.channels import Mailbox, mail_server
from tests.gateways import PEPPER, TENANT, Gateway, ask, chat_body, configuration, until

pytestmark = pytest.mark.xdist_group("rollout")

THEIRS = "sk-of-a-caller-that-nobody-knows"
SHADOWED = "{who: {environment: test}, effect: deny, mode: shadow, when: {cost.maximum_usd: {above: 9.00}}}"


class House:
    """An installation, worked on by the commands that the rollout names."""

    def __init__(self, gateway: Gateway, whose: str = "") -> None:
        self.gateway = gateway
        self.whose = whose
        self.conf = gateway.directory / "conf"
        settings = gateway.settings
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")},
            **gateway.environment,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "AEGIS_STORE": settings.store,
            "AEGIS_PEPPER": settings.pepper,
            "AEGIS_TEST_PEPPER": PEPPER,
            "AEGIS_SIGNING_KEY": settings.signing_key,
            "AEGIS_HOST": settings.host,
            "AEGIS_PORT": str(settings.port),
        }

    def run(self, command: str) -> str:
        """Run a command as somebody pastes it into a shell, and says yes; `DIR` is where the configuration is.

        What is no more than our own command is run in this process: a second less each.
        """
        line = re.sub(r"aegis apply (\S+)", r"aegis apply \1 --yes", command).replace("DIR", str(self.conf))
        words = shlex.split(line)
        if words[0] == "aegis" and "&&" not in words:
            done = CliRunner().invoke(build(), words[1:], env=self._environment)
            assert 0 == done.exit_code, f"{line}\n{done.output}"
            return done.stdout
        ended = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.gateway.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert 0 == ended.returncode, f"{line}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def rollout(self) -> dict[str, Any]:
        """How far it is, by step."""
        told = json.loads(self.run(f"aegis rollout --json {self.whose}"))
        return {**told, "by": {step["id"]: step for step in told["steps"]}}

    def step(self, name: str) -> Any:
        """How far one step is."""
        return self.rollout()["by"][name]

    def write(self, text: str) -> None:
        """Write into the tenant what the rollout says to write."""
        found = yaml.safe_load(text)

        def written(tenant: dict[str, Any]) -> None:
            for name, value in found.items():
                if isinstance(value, dict):
                    for key, inner in value.items():
                        tenant.setdefault(name, {}).setdefault(key, {}).update(inner)
                else:
                    tenant[name] = value

        self.change(written)

    def change(self, how: Callable[[dict[str, Any]], object]) -> None:
        """Change the tenant in the configuration's file."""
        file = self.conf / "aegis.yaml"
        loaded = yaml.safe_load(file.read_text())
        how(loaded["tenants"][TENANT])
        file.write_text(yaml.safe_dump(loaded))

    def do(self, step: Any) -> None:
        """Do what a step says."""
        then = step["next"]
        if then["write"]:
            self.write(then["write"])
        self.run(then["command"])


def how_far(step: Any, place: int = 0) -> tuple[int, int]:
    """One of a step's measures."""
    measure = step["measures"][place]
    return measure["numerator"], measure["denominator"]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """An installation where nothing was done yet, beside a provider that knows a customer besides the gateway."""
    with UpstreamProcess(keys=(KEY, THEIRS)) as upstream, Gateway(None, start=False) as gateway:
        house = House(gateway, f"--tenant {TENANT}")
        files = configuration(upstream.base_url, budgets={"day": "limit: 20.00, period: daily"}, agents=())
        loaded = yaml.safe_load(files["aegis.yaml"])
        tenant = loaded["tenants"][TENANT]
        tenant["proxy"] = {"unregistered": True}
        tenant["rules"] = {"dear": yaml.safe_load(SHADOWED)}
        tenant["agents"] = {}
        loaded["tenants"]["zeta"] = {
            each: tenant[each] for each in ("teams", "budgets", "connectors", "quantities")
        }
        house.conf.mkdir()
        (house.conf / "aegis.yaml").write_text(yaml.safe_dump(loaded))
        (house.conf / "policies").mkdir()
        (house.conf / "policies" / "all.cedar").write_text(files["policies/all.cedar"])
        yield house


def test_an_empty_installation_is_told_how_to_begin(tmp_path: Path) -> None:
    """Without so much as a store all steps name one command, which makes one; after it a tenant is measured."""
    with Gateway(None, start=False) as gateway:
        house = House(gateway)
        told = house.rollout()
        assert (0, 5, "") == (told["done"], told["of"], told["tenant"])
        (command,) = {step["next"]["command"] for step in told["steps"]}
        house.run(command)
        told = house.rollout()
        assert "northbank" == told["tenant"]
        assert [2, 2] == [told["by"]["tag"]["measures"][0][each] for each in ("numerator", "denominator")]
        assert told["by"]["tag"]["done"]
        assert "dear-calls: in shadow for 0 h, long enough to enforce it" in told["by"]["policies"]["missing"]


def test_each_step_is_moved_on_by_what_it_names(house: House) -> None:
    """From a gateway in proxy mode that nobody is registered at, to a review: step by step, by nothing else."""
    gateway = house.gateway
    house.run("aegis apply DIR")
    gateway.start()

    # Tags: nobody is registered; then somebody calls whom nobody knows.
    tag = house.step("tag")
    assert not tag["done"]
    house.do(tag)
    assert 200 == ask(gateway, "POST", "/v1/chat/completions", chat_body("hi"), key=THEIRS).status
    until(lambda: gateway.last_call()["state"] == "settled")
    tag = house.step("tag")
    assert (1, 2, False) == (*how_far(tag), tag["done"])
    assert tag["missing"][0].startswith("unregistered/")
    house.do(tag)

    # The gateway: what the stranger spent is its agent's by now; the other agent hasn't called.
    told = house.rollout()["by"]
    assert (2, 2, True) == (*how_far(told["tag"]), told["tag"]["done"])
    spend = told["gateway"]["measures"][0]
    assert spend["numerator"] == spend["denominator"] == gateway.charged() > 0
    assert (1, 2) == how_far(told["gateway"], 1)
    assert ["first-agent: no call yet, no key"] == told["gateway"]["missing"]
    house.do(told["gateway"])
    until(lambda: gateway.last_call()["state"] == "settled")
    told = house.rollout()["by"]
    assert (True, None) == (told["gateway"]["done"], told["gateway"]["next"])
    assert gateway.charged() == how_far(told["gateway"])[0]

    # Policies: out of proxy mode, then the rule out of shadow.
    assert (0, 2, False) == (*how_far(told["policies"]), told["policies"]["done"])
    house.change(lambda tenant: tenant.pop("proxy"))
    house.run(told["policies"]["next"]["command"])
    step = house.step("policies")
    assert (1, 2) == how_far(step)
    assert "aegis rollout enforce dear --tenant acme" == step["next"]["command"]
    house.do(step)
    house.write("rules: {dear: {mode: enforce}}")
    told = house.rollout()["by"]
    assert told["policies"]["done"]

    # Alerts and dashboards: a channel, a threshold, a test, a scrape.
    step = told["alerts"]
    assert "no alert channel" in step["missing"]
    mailbox = Mailbox()
    with mail_server(mailbox) as smtp:
        text = step["next"]["write"].replace("smtp://mail.example.com:587", smtp)
        house.write(text.replace("kind: email", "kind: email, network: private"))
        house.run(step["next"]["command"])
        step = house.step("alerts")
        assert [(0, 1), (0, 1), (0, 1)] == [how_far(step, place) for place in range(3)]
        house.do(step)
        step = house.step("alerts")
        assert [1, 0, 0] == [how_far(step, place)[0] for place in range(3)]
        assert "aegis notifications test mail --tenant acme" == step["next"]["command"]
        house.do(step)
        assert [["ana@acme.example"]] == mailbox.recipients
    step = house.step("alerts")
    assert [1, 1, 0] == [how_far(step, place)[0] for place in range(3)]
    house.do(step)

    # Reviews.
    told = house.rollout()["by"]
    assert (True, False) == (told["alerts"]["done"], told["reviews"]["done"])
    house.do(told["reviews"])
    last = house.rollout()
    assert (5, None) == (last["done"], last["next_step"])
    (entry,) = (each for each in gateway.entries() if each["type"] == "review")
    assert "what was looked at, and what was decided" == entry["note"]


def test_the_page_and_the_api_tell_the_same(house: House) -> None:
    """The same steps on the page and by the API; a review there is its reader's own; who may not see, sees nothing."""
    gateway = house.gateway
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant=TENANT))
    staff.add("vic", Grant(role="viewer", tenant=TENANT))
    staff.add("zoe", Grant(role="finops", tenant="zeta"))
    answer = ask(gateway, "GET", "/api/v1/rollout", key=staff.tokens["fin"])
    told = house.rollout()
    same = ("tenant", "done", "steps")
    assert {each: told[each] for each in same} == {each: answer.json[each] for each in same}

    fin = Visitor(gateway)
    fin.sign_in(staff.tokens["fin"])
    page = text_of(fin.get("/rollout"))
    assert "5 of 5 steps done" in page
    assert "what was looked at, and what was decided" in page
    assert (
        303
        == fin.submit(
            "/rollout", "/rollout", tenant=TENANT, note="<b>went</b> through it", next="2027-03-01"
        ).status
    )
    assert "&lt;b&gt;went&lt;/b&gt; through it" in fin.get("/rollout").body.decode()
    entry = [each for each in gateway.entries() if each["type"] == "review"][-1]
    assert ("fin", "page") == (entry["actor"], entry["via"])
    for wrong in ({"note": " "}, {"note": "x", "next": "2020-01-01"}, {"note": "x", "next": "9999-99-99"}):
        assert 400 == fin.submit("/rollout", "/rollout", tenant=TENANT, **wrong).status

    vic = Visitor(gateway)
    vic.sign_in(staff.tokens["vic"])
    assert "You may not record one" in text_of(vic.get("/rollout"))
    assert 403 == vic.submit("/approvals", "/rollout", tenant=TENANT, note="x").status
    zoe = Visitor(gateway)
    zoe.sign_in(staff.tokens["zoe"])
    assert 404 == zoe.get(f"/rollout?tenant={TENANT}").status
    assert 404 == zoe.submit("/approvals", "/rollout", tenant=TENANT, note="x").status
    assert 404 == ask(gateway, "GET", f"/api/v1/rollout?tenant={TENANT}", key=staff.tokens["zoe"]).status
