"""MCP's parts: headers that say what bodies say, names where servers are one, what is sealed or said otherwise."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.adapters.sealing import AesSealer
from aegis_gateway.application.decided import AnswerRedaction
from aegis_gateway.domain.errors import CallError, UpstreamFault
from aegis_gateway.domain.redaction import Redaction
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.mcp.asked_back import elicits_by_address
from aegis_gateway.entrypoints.data_plane.mcp.errors import ProtocolFault
from aegis_gateway.entrypoints.data_plane.mcp.headers import decoded, encoded, era_of
from aegis_gateway.entrypoints.data_plane.mcp.lists import definitions_of, without_tasks
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    caller_message,
    members,
    server_message,
    with_result,
)
from aegis_gateway.entrypoints.data_plane.mcp.naming import Names, called_in, server_of
from aegis_gateway.entrypoints.data_plane.mcp.origins import Origins
from aegis_gateway.entrypoints.data_plane.mcp.parameters import mirrored_headers, redacted_headers
from aegis_gateway.entrypoints.data_plane.mcp.redacting import RedactedMessages
from aegis_gateway.entrypoints.data_plane.mcp.replaying import with_id
from aegis_gateway.entrypoints.data_plane.mcp.sessions import LASTS_NS, Session, Sessions, seal_text
from aegis_gateway.entrypoints.data_plane.mcp.states import States
from aegis_gateway.entrypoints.data_plane.mcp.stdio_servers import WAITING_BYTES_MAX, Asked
from aegis_gateway.entrypoints.data_plane.mcp.translated import heard_in, said_in

SEALER = AesSealer(b"pepper-of-the-tests")
SSN = "536-90-4399"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}


class Headers(dict[str, str]):
    """Headers, each once; `twice` are those that stand there twice."""

    twice: tuple[str, ...] = ()

    def items(self) -> Any:
        """All of them."""
        return [*super().items(), *((name, self[name]) for name in self.twice)]


def request(method: str = "tools/call", **params: Any) -> bytes:
    """A modern request."""
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    ).encode()


@pytest.mark.parametrize(
    "value", ["plain", "Hello, 世界", " padded ", "line1\nline2", "=?base64?literal?=", "a b", "", "~!"]
)
def test_texts_in_headers(value: str) -> None:
    """Whatever a text is, it fits in a header and comes out as it was."""
    header = encoded(value)
    assert header.isascii()
    assert value == decoded(header)


@pytest.mark.parametrize(
    "value", ["=?base64?%%%?=", "=?base64?YQ?=", "=?base64?/w==?=", "=?base64?YR==?=", "=?base64?Yé?="]
)
def test_what_is_no_text_in_a_header(value: str) -> None:
    """What isn't written as the specification says is no text, and equals none."""
    assert decoded(value) is None


def test_the_form_of_a_request() -> None:
    """It is told by version; a modern request's headers say what its body says, once."""
    good = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "pay"}
    message = caller_message(request(name="pay"))
    assert "modern" == era_of(Headers(good), message)
    legacy = caller_message(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert "legacy" == era_of(Headers(), legacy)
    twice = Headers(good)
    twice.twice = ("mcp-name",)
    for headers in (Headers({**good, "mcp-name": "PAY"}), Headers(), twice):
        with pytest.raises(ProtocolFault) as told:
            era_of(headers, message)
        assert (-32020, 400) == (told.value.code, told.value.status)
    with pytest.raises(ProtocolFault) as unknown:
        era_of(Headers({"mcp-protocol-version": "1900-01-01"}), legacy)
    assert -32022 == unknown.value.code


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"7",
        b'{"jsonrpc":"1.0","id":1,"method":"x"}',
        b'{"jsonrpc":"2.0","id":null,"method":"x"}',
        b'{"jsonrpc":"2.0","id":true,"method":"x"}',
        b'{"jsonrpc":"2.0","id":1.5,"method":"x"}',
        b'{"jsonrpc":"2.0","id":1,"method":7}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}',
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":2}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}',
    ],
)
def test_what_is_no_message(raw: bytes) -> None:
    """Whatever could be understood in two ways is none."""
    with pytest.raises(CallError):
        caller_message(raw)


def test_what_is_not_changed_keeps_its_bytes() -> None:
    """White space, numbers and order of whatever isn't looked into."""
    raw = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","arguments":{ "n" : 1.50, "m":1e3 }}}'
    changed = caller_message(raw).with_params({"name": msgspec.Raw(b'"b"')})
    assert b'{ "n" : 1.50, "m":1e3 }' in changed
    assert "b" == json.loads(changed)["params"]["name"]
    answer = b'{"jsonrpc":"2.0","id":1,"result":{"content":[ {"x":1.0} ]}}'
    assert b'[ {"x":1.0} ]' in with_result(answer, {"_meta": msgspec.Raw(b"{}")})
    assert b'[ {"x":1.0} ]' in with_id(answer, "other")


def test_names_where_servers_are_one() -> None:
    """What is whose follows from the name; what could be two servers' is nobody's."""
    servers = [Connector(id=name, kind="mcp", base_url="") for name in ("bank", "my_desk", "my_desk_2")]
    for called, owner in (
        ("bank_pay", "bank"),
        ("my_desk_pay", "my_desk"),
        ("aegis://my_desk_2/file:///x", "my_desk_2"),
        ("my_desk_2_pay", None),
        ("bank", None),
        ("bankpay", None),
        ("aegis://elsewhere/x", None),
        ("_pay", None),
    ):
        found = server_of(called, servers)
        assert owner == (found.id if found is not None else None), called
    names = Names(server="bank")
    for own in ("pay", "bank_pay", "x_y"):
        assert own == names.own(names.name(own))
    assert "file:///x" == names.own(names.uri("file:///x"))
    message = caller_message(request("completion/complete", ref={"type": "ref/prompt", "name": "bank_hi"}))
    assert "bank_hi" == called_in(message)
    assert {"type": "ref/prompt", "name": "hi"} == json.loads(bytes(names.asked(message)["ref"] or b""))


def test_sessions_are_their_agents_own() -> None:
    """A name opens for its agent, at its server, in its tenant, for a day."""
    sessions = Sessions(SEALER)
    session = Session(agent="bot", server="bank", version="2025-11-25", began_ns=0, upstream="theirs")
    name = sessions.name("acme", session)
    assert name.isascii()
    assert "theirs" not in name
    assert session == sessions.find("acme", "bot", "bank", name, LASTS_NS - 1)
    for other in (
        ("other", "bot", "bank", name, 1),
        ("acme", "other", "bank", name, 1),
        ("acme", "bot", "desk", name, 1),
        ("acme", "bot", "bank", name, LASTS_NS),
        ("acme", "bot", "bank", f"{name}A", 1),
        ("acme", "bot", "bank", "", 1),
        ("acme", "bot", "bank", "é", 1),
    ):
        assert sessions.find(*other) is None


def test_states_are_of_one_request() -> None:
    """What a server gets back is what it gave, for the same request, however that is written."""
    states = States(SEALER)
    asked = caller_message(request(name="pay", arguments={"a": 1, "b": 2}))
    sealed = states.seal("acme", "bot", "bank", asked, "theirs", 0)
    again = caller_message(request(arguments={"b": 2, "a": 1}, name="pay", inputResponses={"x": {}}))
    assert "theirs" == states.open("acme", "bot", "bank", again, sealed, 1)
    other = caller_message(request(name="pay", arguments={"a": 2}))
    assert states.open("acme", "bot", "bank", other, sealed, 1) is None
    assert states.open("acme", "bot", "desk", asked, sealed, 1) is None
    assert states.open("acme", "bot", "bank", asked, sealed, 2**62) is None
    # What a server makes up is never what the gateway itself asks back.
    assert States(SEALER, "mcp-approval").open("acme", "bot", "bank", asked, sealed, 1) is None


@pytest.mark.parametrize(
    ("said", "can"),
    [
        ({"elicitation": {"form": {}, "url": {}}}, True),
        ({"elicitation": {"url": {}}}, True),
        ({"elicitation": {}}, False),
        ({"elicitation": {"form": {}}}, False),
        ({"elicitation": {"url": True}}, False),
        ({"elicitation": ["url"]}, False),
        ({"url": {}}, False),
    ],
)
def test_who_can_send_somebody_to_an_address(said: dict[str, Any], can: bool) -> None:
    """Only who says so: whoever says nothing more than that it elicits can do forms."""
    assert can is elicits_by_address(said)


@pytest.mark.parametrize(
    ("listens_on", "hosts", "host", "origin", "may"),
    [
        ("127.0.0.1", (), "localhost:8700", None, True),
        ("127.0.0.1", (), "[::1]:8700", "http://localhost:3000", True),
        ("127.0.0.1", (), "evil.example", None, False),
        ("127.0.0.1", (), "localhost", "https://evil.example", False),
        ("127.0.0.1", (), "localhost", "null", False),
        ("127.0.0.1", (), "", None, False),
        ("0.0.0.0", (), "gateway.example", None, True),
        ("0.0.0.0", (), "gateway.example", "https://gateway.example", True),
        ("0.0.0.0", (), "gateway.example", "https://page.example", False),
        ("0.0.0.0", ("gateway.example",), "other.example", None, False),
        ("0.0.0.0", ("gateway.example", "page.example"), "gateway.example", "https://page.example", True),
    ],
)
def test_where_requests_may_come_from(
    listens_on: str, hosts: tuple[str, ...], host: str, origin: str | None, may: bool
) -> None:
    """By the names that the gateway answers to."""
    headers = Headers({"host": host, **({"origin": origin} if origin is not None else {})})
    if may:
        Origins(listens_on, hosts).check(headers)
        return
    with pytest.raises(CallError) as told:
        Origins(listens_on, hosts).check(headers)
    assert 403 == told.value.status


def test_headers_that_repeat_arguments() -> None:
    """As the definition wants them; redacted where the argument was."""
    region = {"type": "string", "x-mcp-header": "Region"}
    nested = {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}}
    schema = {"type": "object", "properties": {"region": region, "in": nested, "other": {"type": "string"}}}
    definition = msgspec.Raw(json.dumps({"name": "x", "inputSchema": schema}).encode())
    found = mirrored_headers(definition, {"region": "eu west ", "in": {"n": 3}, "other": "x"})
    assert [("mcp-param-region", encoded("eu west ")), ("mcp-param-n", "3")] == found
    assert [] == mirrored_headers(msgspec.Raw(b"7"), {})
    headers = Headers({"mcp-param-note": SSN, "mcp-param-kept": "eu", "accept": "x"})
    redacted = redacted_headers(headers, {"note": SSN, "kept": "eu"}, b'{"note":"[SSN:1]","kept":"eu"}')
    assert [("mcp-param-note", "[SSN:1]"), ("mcp-param-kept", "eu")] == redacted


def test_a_message_in_the_other_form() -> None:
    """What only one form has is left out, or added; ids and progress are the caller's own."""
    message = caller_message(
        json.dumps(
            {
                "jsonrpc": "2.0", "id": "mine", "method": "tools/list",
                "params": {"cursor": "x", "_meta": {**META, "progressToken": "p", "kept": 1}},
            }
        ).encode()
    )  # fmt: skip
    said = json.loads(said_in("legacy", message, {}, 7))
    assert (7, {"progressToken": 7, "kept": 1}, "x") == (
        said["id"],
        said["params"]["_meta"],
        said["params"]["cursor"],
    )
    heard = json.loads(heard_in("modern", message, b'{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}'))
    whole = heard["result"]
    assert ("mine", "complete", "private") == (heard["id"], whole["resultType"], whole["cacheScope"])
    progress = {
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": {"progressToken": 7, "progress": 1},
    }
    told = json.loads(heard_in("modern", message, json.dumps(progress).encode()))
    assert "p" == told["params"]["progressToken"]
    modern = json.loads(
        said_in("modern", caller_message(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'), {}, 1)
    )
    assert "2026-07-28" == modern["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]


def test_tools_that_have_one_name() -> None:
    """Nobody could tell which would be called, so none of them is listed."""
    listed = [{"name": "a"}, {"name": "b"}, {"name": "a", "x": 1}, {"no": "name"}, 7]
    assert ["b"] == list(definitions_of(msgspec.Raw(json.dumps(listed).encode())))


def test_tasks_are_not_offered() -> None:
    """Neither as a capability nor as an extension; all else is as it was."""
    offers = {"tools": {}, "tasks": {}, "extensions": {"io.modelcontextprotocol/tasks": {}, "x/y": {"z": 1}}}
    changed = without_tasks(members(json.dumps({"capabilities": offers}).encode()))
    assert {"tools": {}, "extensions": {"x/y": {"z": 1}}} == json.loads(bytes(changed["capabilities"]))
    assert {} == without_tasks(members(b'{"capabilities":{"tools":{}}}'))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]}, "no text"),
        ({"content": [], "structuredContent": {SSN: 1}}, "name of a field"),
    ],
)
def test_results_that_cannot_be_redacted(result: dict[str, Any], words: str) -> None:
    """They are withheld, and it is said why."""
    redaction = Redaction(kinds=("ssn",))
    messages = RedactedMessages(AnswerRedaction(redaction=redaction, key=b"key"))
    raw = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
    shown = messages.response(raw)
    assert isinstance(shown, str)
    assert words in shown
    assert TextRedactor(redaction, b"key").whole(SSN) != SSN


def test_what_servers_send_that_is_no_message() -> None:
    """It is none, whatever it is."""
    for raw in (b"", b"7", b"[]", b"{}", b'{"jsonrpc":"2.0","id":[]}', b"\xff", b'{"jsonrpc":"1.0"}'):
        assert server_message(raw) is None
    assert server_message(b'{"jsonrpc":"2.0","i\xa4":1,"id":1,"result":{}}') is None
    both = server_message(b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}')
    assert both is not None
    assert not both.is_response


def test_an_answer_may_have_a_long_id() -> None:
    """A server's question has its session in its id, which may be long; a request's own id may not."""
    long = "x" * 2_000
    answer = caller_message(json.dumps({"jsonrpc": "2.0", "id": long, "result": {}}).encode())
    assert long == answer.id
    with pytest.raises(CallError):
        caller_message(json.dumps({"jsonrpc": "2.0", "id": long, "method": "ping"}).encode())


def test_an_address_that_begins_as_names_do() -> None:
    """Of an address only what was put before it is taken away."""
    names = Names(server="bank")
    for own in ("bank_docs://intro", "file:///a", "aegis://bank/x"):
        assert own == names.own(names.uri(own))
    for own in ("bank_pay", "pay"):
        assert own == names.own(names.name(own))


def test_what_another_version_sealed_is_unknown() -> None:
    """What can't be read any more is nobody's, and no fault."""
    name = seal_text(SEALER, "acme", msgspec.msgpack.encode(["bot", 5]), b"mcp-session:bank")
    assert Sessions(SEALER).find("acme", "bot", "bank", name, 0) is None


def test_what_waits_for_a_caller_is_bounded_by_its_length() -> None:
    """One message may be as long as any; of more than the bound together none is kept."""

    async def given_up() -> None:
        asked = Asked()
        message = b"x" * (WAITING_BYTES_MAX // 4)
        for _ in range(12):  # taken as they come they have no end
            asked.take(message)
            assert message == await asked.next(1.0)
        for _ in range(64):
            asked.take(message)
        assert 1 == asked.messages.qsize()
        with pytest.raises(UpstreamFault, match="more came than the caller takes"):
            await asked.next(1.0)

    asyncio.run(given_up())
