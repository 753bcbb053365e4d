"""MCP servers that are programs: many callers at once, each its own answer; nothing outlives the gateway."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.entrypoints.cli.main import build
from tests.acceptance.test_mcp import Client, call, message_of, messages_of, modern, names, refusal
from tests.gateways import PEPPER, Answer, Files, Gateway, assert_books_balance, configuration, until

pytestmark = pytest.mark.xdist_group("mcp-programs")

PROGRAM = Path(__file__).parent.parent / "scripted_stdio.py"
TOKEN = "token-of-the-program-0123456789"
CONNECTORS = """\
      desk:
        kind: mcp
        command: [{python}, {program}]
        env: {{SERVER_TOKEN: "env:DESK_TOKEN"}}
        timeout_seconds: 20
        other_tools: {{price: {{per_call: 0.10}}}}
      new:
        kind: mcp
        command: [{python}, {program}]
        env: {{SERVER_TOKEN: "env:DESK_TOKEN", SPEAKS: "env:MODERN"}}
        other_tools: {{price: {{per_call: 0.10}}}}
      gone:
        kind: mcp
        command: [/nonexistent/program]
        other_tools: {{price: {{per_call: 0.10}}}}
"""
ENVIRONMENT = {"DESK_TOKEN": TOKEN, "MODERN": "modern"}
DESK = "/mcp/desk"


def files() -> Files:
    """A configuration with programs."""
    made = configuration("http://127.0.0.1:9", agents=("bot", "other"))
    connectors = CONNECTORS.format(python=json.dumps(sys.executable), program=json.dumps(str(PROGRAM)))
    made["aegis.yaml"] = made["aegis.yaml"].replace("    connectors:\n", f"    connectors:\n{connectors}")
    return made


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway of one worker, so of one program each."""
    with Gateway(files(), environment=ENVIRONMENT) as gateway:
        yield gateway
        assert_books_balance(gateway)


def words(answer: Answer) -> str:
    """The text of a result."""
    return str(message_of(answer)["result"]["content"][0]["text"])


def on_desk(gateway: Gateway, tool: str, arguments: dict[str, Any] | None = None, **rest: Any) -> Answer:
    """A call of a tool of the program."""
    return call(gateway, tool, arguments, path=DESK, **rest)


def test_both_forms_reach_a_program(gateway: Gateway) -> None:
    """Whichever form it speaks itself, and whichever the caller does; tools without a declaration have their price."""
    for path in (DESK, "/mcp/new"):
        assert "echo" in names(modern(gateway, "tools/list", path=path).json["result"])
        found = modern(gateway, "server/discover", path=path).json["result"]
        assert (["2026-07-28"], {"tools": {}}) == (found["supportedVersions"], found["capabilities"])
        assert '{"a": 1}' == words(call(gateway, "echo", {"a": 1}, path=path))
        row = gateway.last_call()
        assert ("settled", 100_000_000) == (row["state"], row["cost_nano_usd"])
        client = Client(gateway, path=path)
        assert 202 == client.send({"jsonrpc": "2.0", "method": "notifications/initialized"}).status
        assert "echo" in names(client.post("tools/list").json["result"])
        assert '{"b": 2}' == words(client.call("echo", b=2))
        assert {} == client.post("ping").json["result"]
        assert 405 == client.send({}, method="GET").status
        assert 200 == client.send({}, method="DELETE").status
    complete = on_desk(gateway, "echo").json["result"]
    assert "complete" == complete["resultType"]


def test_answers_that_cross_reach_who_asked(gateway: Gateway) -> None:
    """Two agents ask under the same id; each gets its own answer."""
    answers: dict[str, str] = {}
    waiting = threading.Thread(target=lambda: answers.update(first=words(on_desk(gateway, "first"))))
    waiting.start()
    until(lambda: "dispatched" in gateway.states(), "the first call is under way")
    answers["second"] = words(on_desk(gateway, "second", key=gateway.key("other")))
    waiting.join()
    assert {"first": "first", "second": "second"} == answers


def test_progress_is_told_to_who_asked(gateway: Gateway) -> None:
    """Under the caller's own token; what belongs to nobody is told to nobody."""
    meta = {"progressToken": "mine"}
    params = {"name": "progress", "_meta": meta}
    client = Client(gateway, path=DESK)
    told = messages_of(client.post("tools/call", **params))
    assert ["notifications/progress", None] == [message.get("method") for message in told]
    assert "mine" == told[0]["params"]["progressToken"]


def test_a_program_that_asks_back_is_refused(gateway: Gateway) -> None:
    """Nobody can be asked, and it is told so."""
    assert "refused with -32601" == words(on_desk(gateway, "ask"))


def test_a_program_that_dies(gateway: Gateway) -> None:
    """Its call is in doubt, what it said on standard error is logged without its secret, and it is started again."""
    assert "the program ended" in refusal(on_desk(gateway, "die"))
    assert "in_doubt" == gateway.last_call()["state"]
    assert "{}" == words(on_desk(gateway, "echo"))
    assert "dying with [withheld]" in gateway.log()
    assert TOKEN not in gateway.log()


def test_a_program_gets_no_secrets_of_the_gateways_and_gives_none_away(gateway: Gateway) -> None:
    """Its environment has what it was given; its answers don't have that."""
    said = words(on_desk(gateway, "secret"))
    assert "it is [withheld]" in said
    assert "AEGIS" not in said
    assert "PEPPER" not in said


def test_a_message_that_is_too_long_ends_the_program(gateway: Gateway) -> None:
    """Ten megabytes pass; beyond sixteen the program is ended, and the call is in doubt."""
    assert 10_000_000 == len(words(on_desk(gateway, "long", {"bytes": 10_000_000})))
    assert "the program ended" in refusal(on_desk(gateway, "long", {"bytes": 17_000_000}))
    assert "in_doubt" == gateway.last_call()["state"]


def test_a_program_that_cannot_be_started(gateway: Gateway) -> None:
    """Nothing was sent, so the call costs nothing."""
    assert "can't be started" in refusal(call(gateway, "any", path="/mcp/gone"))
    row = gateway.last_call()
    assert ("settled", 0) == (row["state"], row["cost_nano_usd"])


def test_the_doctor_tells_of_programs_that_are_not_there(gateway: Gateway) -> None:
    """By server and program; it is a warning, for the gateway may run elsewhere."""
    settings = gateway.settings
    environment = {
        "AEGIS_STORE": settings.store,
        "AEGIS_PEPPER": settings.pepper,
        "AEGIS_SIGNING_KEY": settings.signing_key,
        "AEGIS_TEST_PEPPER": PEPPER,
    }
    told = CliRunner().invoke(build(), ["doctor", "--json"], env=environment)
    found = [each for each in json.loads(told.stdout)["checks"] if each["name"] == "programs"]
    assert ["warning"] == [each["state"] for each in found]
    assert "`gone` is the program `/nonexistent/program`" in found[0]["message"]


@pytest.mark.parametrize("how", ["stop", "kill", "kill_worker"])
def test_no_program_outlives_its_worker(how: str) -> None:
    """However the gateway ends."""
    with Gateway(files(), environment=ENVIRONMENT) as gateway:
        program = int(words(on_desk(gateway, "children")))
        assert _runs(program)
        if how == "stop":
            gateway.stop()
        elif how == "kill":
            gateway.kill()
        else:
            os.kill(gateway.workers()[0], signal.SIGKILL)
        until(lambda: not _runs(program), "the program outlives its worker")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
