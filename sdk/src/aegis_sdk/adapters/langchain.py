"""LangChain: the tools of an agent made by `create_agent`.

    create_agent(model, tools=[search], middleware=[AegisMiddleware({"search": "desk.search"})])

What is said in `aegis_sdk.adapters.langgraph` of threads, resuming and approvals holds here too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langgraph.config import get_config
from langgraph.prebuilt.tool_node import ToolCallRequest

from aegis_sdk.adapters.langgraph import Result, ToolWrapper, thread_of
from aegis_sdk.adapters.tool_calls import Tools
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import model_call_headers

_HEADERS = "extra_headers"


class AegisMiddleware(AgentMiddleware[Any, Any, Any]):
    """Decides for an agent's tools."""

    def __init__(
        self,
        tools: Tools | None = None,
        *,
        prefix: str | None = None,
        client: Aegis | AsyncAegis | None = None,
        customer: str | None = None,
        approvals: Literal["tell", "interrupt"] = "tell",
        model_headers: bool = False,
    ) -> None:
        """As `ToolWrapper`. `model_headers`: model calls through the gateway are of their thread's run, once that
        is opened by a tool's call; for models that take `extra_headers`, as those of OpenAI and Anthropic do.

        Raises:
            AegisError: there is no tool, or no key.
        """
        super().__init__()
        self._wrapper = ToolWrapper(
            tools, prefix=prefix, client=client, customer=customer, approvals=approvals
        )
        self._model_headers = model_headers

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]
    ) -> Result:
        """Decide, run, settle; or say why it was not run."""
        return self._wrapper.wrap_tool_call(request, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """The same, without blocking the event loop."""
        return await self._wrapper.awrap_tool_call(request, handler)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Have the model called in its run."""
        return handler(self._in_run(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """The same, in an event loop."""
        return await handler(self._in_run(request))

    def _in_run(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        if not self._model_headers:
            return request
        with self._wrapper.runs.of(thread_of(get_config())):
            headers = model_call_headers()
        if not headers:
            return request
        settings = request.model_settings
        given = settings.get(_HEADERS) or {}
        return request.override(model_settings={**settings, _HEADERS: {**given, **headers}})
