"""Versions of MCP: the modern form, in which each request stands for itself, and the legacy one, in sessions."""

from __future__ import annotations

from typing import Literal

Era = Literal["modern", "legacy"]

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
LEGACY_NEWEST = LEGACY[0]

VERSION_HEADER = "mcp-protocol-version"
METHOD_HEADER = "mcp-method"
NAME_HEADER = "mcp-name"
SESSION_HEADER = "mcp-session-id"
LAST_EVENT = "last-event-id"
PARAMETER_HEADER = "mcp-param-"

META = "io.modelcontextprotocol/"
META_VERSION = f"{META}protocolVersion"
META_CAPABILITIES = f"{META}clientCapabilities"
META_SERVER = f"{META}serverInfo"
OUR_META = "aegis/call"
"""Where results say what Aegis decided of their call: headers don't reach those who use a client's library."""

NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The requests whose name stands in a header too, and which parameter that is."""
