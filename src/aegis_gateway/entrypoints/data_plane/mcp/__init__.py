"""The doors for MCP: a relay of our own between agents' clients and MCP servers, in both forms of the protocol."""
