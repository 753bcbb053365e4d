"""Agents that speak MCP by hand: messages as they are on the wire, and configurations of MCP servers.

What real clients do is in `tests/mcp_clients/`; this is for what no client would do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from tests.gateways import PERMIT_ALL, Answer, Files, Gateway, ask, configuration

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META = "io.modelcontextprotocol/"
AEGIS = "aegis/call"
ACCEPT = "application/json, text/event-stream"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def mcp_configuration(
    connectors: Mapping[str, str],
    *,
    policies: str = PERMIT_ALL,
    budget: str = "limit: 1000.00, period: daily",
    agents: tuple[str, ...] = ("bot",),
) -> Files:
    """A configuration with MCP servers, each a connector's settings as they stand in the file."""
    files = configuration("http://127.0.0.1:9", budgets={"day": budget}, policies=policies, agents=agents)
    head, models, rest = files["aegis.yaml"].partition("    models:\n")
    lines = []
    for name, text in connectors.items():
        lines.append(f"      {name}:")
        lines += [f"        {line}" for line in text.splitlines()]
    added = "\n".join(lines) + "\n"
    return files | {"aegis.yaml": head + added + models + rest}


class Rpc(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a message: the HTTP answer, and the messages in it, be it a stream or not."""

    answer: Answer
    messages: list[dict[str, Any]]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.answer.status

    @property
    def last(self) -> dict[str, Any]:
        """The last message, which is the answer."""
        assert self.messages, f"no message in {self.answer}"
        return self.messages[-1]

    @property
    def result(self) -> dict[str, Any]:
        """The result."""
        assert "result" in self.last, self.last
        result: dict[str, Any] = self.last["result"]
        return result

    @property
    def error(self) -> dict[str, Any]:
        """The error."""
        assert "error" in self.last, self.last
        error: dict[str, Any] = self.last["error"]
        return error

    @property
    def text(self) -> str:
        """The texts of a result."""
        return "".join(each.get("text", "") for each in self.result["content"])

    @property
    def told(self) -> dict[str, Any]:
        """What Aegis says of the call."""
        told: dict[str, Any] = self.result["_meta"][AEGIS]
        return told


def modern(
    gateway: Gateway,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    path: str = "/mcp/bank",
    key: str = "",
    number: int | str = 1,
    capabilities: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Rpc:
    """A request in the form of 2026-07-28; `headers` stand in place of those that it would have."""
    given = dict(params or {})
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": dict(capabilities or {})}
    given["_meta"] = {**meta, **given.get("_meta", {})}
    standard = {"accept": ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": method}
    if method in NAMED and NAMED[method] in given:
        standard["mcp-name"] = str(given[NAMED[method]])
    body = {"jsonrpc": "2.0", "id": number, "method": method, "params": given}
    return _read(ask(gateway, "POST", path, body, key=key, headers={**standard, **(headers or {})}))


def modern_call(gateway: Gateway, tool: str, arguments: object = None, **rest: Any) -> Rpc:
    """A call of a tool in the form of 2026-07-28."""
    params = {"name": tool, "arguments": arguments or {}, **rest.pop("more", {})}
    return modern(gateway, "tools/call", params, **rest)


class Session:
    """A session in the form of 2025-11-25."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        path: str = "/mcp/bank",
        key: str = "",
        capabilities: Mapping[str, Any] | None = None,
    ) -> None:
        """Open one."""
        self.gateway = gateway
        self.path = path
        self.key = key
        self.id = ""
        hello = {
            "protocolVersion": LEGACY,
            "capabilities": dict(capabilities or {}),
            "clientInfo": {"name": "by-hand", "version": "1"},
        }
        opened = self.send("initialize", hello)
        self.server = opened.result
        self.id = opened.answer.headers.get("mcp-session-id", "")
        self.send("notifications/initialized", number=None)

    def send(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        number: int | str | None = 1,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Rpc:
        """Send a message; a notification if it has no number."""
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if number is not None:
            body["id"] = number
        if params is not None:
            body["params"] = params
        standard = {"accept": ACCEPT}
        if self.id:
            standard |= {"mcp-session-id": self.id, "mcp-protocol-version": LEGACY}
        used = self.key if key is None else key
        return _read(
            ask(self.gateway, "POST", self.path, body, key=used, headers={**standard, **(headers or {})})
        )

    def call(self, tool: str, arguments: object = None, **rest: Any) -> Rpc:
        """Call a tool."""
        return self.send("tools/call", {"name": tool, "arguments": arguments or {}}, **rest)


def _read(answer: Answer) -> Rpc:
    """The messages of an answer."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = answer.body.decode().splitlines()
        texts = [line[5:].strip() for line in lines if line.startswith("data:")]
        return Rpc(answer=answer, messages=[json.loads(text) for text in texts if text])
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return Rpc(answer=answer, messages=[json.loads(answer.body)] if is_json and answer.body else [])
