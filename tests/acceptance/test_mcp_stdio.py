"""MCP servers that are programs: they exit, babble, answer others, and never learn what isn't theirs."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from tests.gateways import PEPPER, Gateway, assert_books_balance, until
from tests.mcp_calls import Rpc, Session, mcp_configuration, modern, modern_call
from tests.mcp_servers.hostile_stdio import HUGE_BYTES, TOOLS
from tests.mcp_upstream import SERVERS, command_of, environment

pytestmark = pytest.mark.xdist_group("mcp-stdio")

PRICE_NANO_USD = 100_000_000
CALLERS = 24
ERAS = ("modern", "legacy")


def connector(command: list[str], variable: str, timeout_s: int = 60) -> str:
    """The connector of a program, all of whose tools cost the same."""
    return (
        f"kind: mcp\ncommand: {json.dumps(command)}\nenv: {{{variable}: 'env:{variable}'}}\n"
        f"timeout_seconds: {timeout_s}\nother_tools: {{price: {{per_call: 0.10}}}}"
    )


def hostile(timeout_s: int = 60) -> str:
    """The connector of the program that misbehaves."""
    return connector([sys.executable, str(SERVERS / "hostile_stdio.py")], "STARTS", timeout_s)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which the program notes its starts."""
    return tmp_path_factory.mktemp("stdio") / "starts"


@pytest.fixture(scope="module")
def gateway(starts: Path) -> Iterator[Gateway]:
    """A gateway with a program that misbehaves, several times, for one that keeps ending is left alone for a while."""
    programs = {name: hostile() for name in ("bank", *(f"mortal-{era}" for era in ERAS))}
    programs |= {"mute": hostile(timeout_s=2), "ending": hostile(timeout_s=1)}
    programs["official"] = connector(command_of(SERVERS / "bank.py"), "PYTHONPATH")
    variables = {"STARTS": str(starts), "PYTHONPATH": environment()["PYTHONPATH"]}
    with Gateway(mcp_configuration(programs), environment=variables) as gateway:
        yield gateway
        assert_books_balance(gateway)


@pytest.fixture(params=ERAS)
def call(request: pytest.FixtureRequest, gateway: Gateway) -> Callable[..., Rpc]:
    """How a tool is called, on either wire."""
    return caller(gateway, str(request.param))


def caller(gateway: Gateway, era: str, server: str = "bank") -> Callable[..., Rpc]:
    """How a tool of a server is called, on one of the wires."""
    if era == "modern":
        return partial(modern_call, gateway, path=f"/mcp/{server}")
    return Session(gateway, path=f"/mcp/{server}").call


def goes_on(gateway: Gateway, call: Callable[..., Rpc]) -> None:
    """The next call is answered, by the program or by one that was started anew."""
    assert "works has run" == call("works").text
    assert PRICE_NANO_USD == gateway.calls()[-1]["cost_nano_usd"]


def started(starts: Path) -> int:
    """How often the program was started."""
    return len(starts.read_text().splitlines())


@pytest.mark.parametrize("era", ERAS)
def test_a_program_that_ends(gateway: Gateway, starts: Path, era: str) -> None:
    """A call in which it ends counts in full and isn't sent again; it is started anew for the next, and only then."""
    call = caller(gateway, era, f"mortal-{era}")
    goes_on(gateway, call)
    before = started(starts)
    came = call("dies")
    assert came.result["isError"]
    assert "don't just repeat it" in came.text
    assert "in_doubt" == gateway.calls()[-1]["state"]
    assert before == started(starts)
    assert "leaves has run" == call("leaves").text
    assert "settled" == gateway.calls()[-1]["state"]
    assert before + 1 == started(starts)
    pid = json.loads(call("environment").text)["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists())
    goes_on(gateway, call)
    assert before + 3 == started(starts)


def test_a_program_that_keeps_ending(gateway: Gateway) -> None:
    """It is left alone for ever longer: what is asked meanwhile is not sent, costs nothing, and says when to ask."""
    call = caller(gateway, "modern", "ending")
    until(lambda: "keeps ending" in call("dies").text)
    assert "settled" == gateway.calls()[-1]["state"]
    assert 0 == gateway.calls()[-1]["cost_nano_usd"]
    goes_on(gateway, caller(gateway, "modern"))


@pytest.mark.parametrize("tool", ["babbles", "asks", "other"])
def test_what_is_no_answer(gateway: Gateway, call: Callable[..., Rpc], tool: str) -> None:
    """What is no message, asks what nobody offered, or answers somebody else is passed over: the answer arrives."""
    came = call(tool)
    assert f"{tool} has run" == came.text
    assert 1 == len(came.messages)
    assert "settled" == gateway.calls()[-1]["state"]
    goes_on(gateway, call)


def test_ten_megabytes(gateway: Gateway, call: Callable[..., Rpc]) -> None:
    """A great answer arrives whole."""
    assert HUGE_BYTES == len(call("huge").text)
    goes_on(gateway, call)


@pytest.mark.parametrize("era", ERAS)
def test_a_call_that_is_never_answered(gateway: Gateway, era: str) -> None:
    """Others are served by the same program meanwhile; at the deadline it is told, and the call counts in full."""
    came: list[Rpc] = []
    call = caller(gateway, era, "mute")
    waiting = threading.Thread(target=lambda: came.append(call("silent")))
    waiting.start()
    until(lambda: gateway.calls()[-1]["state"] == "dispatched")
    silent = gateway.calls()[-1]["call"]
    goes_on(gateway, caller(gateway, "modern", "mute"))
    waiting.join()
    assert came[0].result["isError"]
    assert "in_doubt" == gateway.call(silent)["state"]


def test_callers_get_their_own_answers(gateway: Gateway) -> None:
    """Many callers whose requests all have the same number share one program, and each gets its own answer."""
    gateway.key()

    def said(number: int) -> object:
        return json.loads(modern_call(gateway, "echo", {"n": number}, number=1).text)["n"]

    with ThreadPoolExecutor(CALLERS) as pool:
        assert list(range(CALLERS)) == list(pool.map(said, range(CALLERS)))


def test_what_a_program_knows(gateway: Gateway) -> None:
    """Of the gateway's own environment it has what it was given, and nothing that is secret."""
    knows = modern_call(gateway, "environment").text
    assert "STARTS" in json.loads(knows)
    for secret in (PEPPER, UPSTREAM_KEY, gateway.key()):
        assert secret not in knows
    assert not [name for name in json.loads(knows) if name.startswith("AEGIS_")]


def test_its_list(gateway: Gateway) -> None:
    """Its tools are listed as those of any server."""
    assert list(TOOLS) == [each["name"] for each in modern(gateway, "tools/list").result["tools"]]


def test_an_official_server(gateway: Gateway) -> None:
    """A server of the official package, which speaks both forms, answers over stdio on either wire."""
    came = modern_call(gateway, "search", {"query": "loans"}, path="/mcp/official")
    assert {"rows": 2, "query": "loans"} == came.result["structuredContent"]
    session = Session(gateway, path="/mcp/official")
    assert 2 == session.call("search", {"query": "loans"}).result["structuredContent"]["rows"]
