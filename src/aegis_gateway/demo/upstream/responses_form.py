"""The published shapes of OpenAI's Responses: the response, its items, and the events of its stream."""

from collections.abc import Iterator
from typing import Any

import msgspec

from aegis_gateway.demo.upstream.draw import Choice, quarters
from aegis_gateway.demo.upstream.usage import Usage
from aegis_gateway.demo.upstream.wire import encode

_Fields = dict[str, Any]

_ECHOED = ("instructions", "max_output_tokens", "max_tool_calls", "previous_response_id", "tools", "user")

_SAME_FOR_ALL: _Fields = {
    "background": False,
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}

_CODE = "print(6 * 7)"
_ARGUMENTS = '{"invoice":"INV-1"}'
_FAULT = {"code": "server_error", "message": "The server had an error while processing your request."}


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One response. ``asked`` is the request, of which some fields are said again; ``reported`` tells whether
    the usage is shown.
    """

    number: int
    created: int
    model: str
    asked: _Fields
    choice: Choice
    usage: Usage
    reported: bool

    def whole(self) -> bytes:
        """The JSON of a response that isn't streamed."""
        return encode(self._ended(self._items()))

    def failed(self) -> bytes:
        """The JSON of a response that has failed after all of it was billed."""
        return encode(self._response("failed", [], error=_FAULT))

    def failed_event(self, sent: int) -> bytes:
        """The terminal event of a stream that fails after so many events."""
        response = self._response("failed", [], error=_FAULT)
        return _event("response.failed", sent, {"response": response})

    def events(self) -> Iterator[bytes]:
        """The server-sent events of a streamed response, numbered from 0."""
        for number, (kind, fields) in enumerate(self._unnumbered()):
            yield _event(kind, number, fields)

    def _unnumbered(self) -> Iterator[tuple[str, _Fields]]:
        opening = self._response("in_progress", [])
        yield "response.created", {"response": opening}
        yield "response.in_progress", {"response": opening}
        items = self._items()
        for index, item in enumerate(items):
            yield from self._item_events(index, item)
        yield f"response.{self._status}", {"response": self._ended(items)}

    def _item_events(self, index: int, item: _Fields) -> Iterator[tuple[str, _Fields]]:
        kind = item["type"]
        place = {"item_id": item["id"], "output_index": index}
        empty: dict[str, _Fields] = {
            "message": {"content": []},
            "code_interpreter_call": {"code": "", "outputs": None},
            "function_call": {"arguments": ""},
        }
        beginning = {**item, **empty.get(kind, {})}
        if "status" in item:
            beginning["status"] = "in_progress"
        yield "response.output_item.added", {"output_index": index, "item": beginning}
        if kind == "message":
            yield from self._text_events({**place, "content_index": 0}, item["content"][0])
        elif kind == "function_call":
            for piece in quarters(item["arguments"]):
                yield "response.function_call_arguments.delta", {**place, "delta": piece}
            named = {"name": item["name"], "arguments": item["arguments"]}
            yield "response.function_call_arguments.done", {**place, **named}
        elif kind != "reasoning":
            for step, extra in _STEPS[kind]:
                yield f"response.{step}", {**place, **extra}
        yield "response.output_item.done", {"output_index": index, "item": item}

    def _text_events(self, place: _Fields, part: _Fields) -> Iterator[tuple[str, _Fields]]:
        yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
        for piece in self.choice.pieces():
            yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**place, "part": part}

    @property
    def _status(self) -> str:
        return "incomplete" if self.choice.finish_reason == "length" else "completed"

    def _ended(self, items: list[_Fields]) -> _Fields:
        return self._response(self._status, items)

    def _response(self, status: str, items: list[_Fields], error: _Fields | None = None) -> _Fields:
        shown = self.reported and status != "in_progress"
        return {
            "id": f"resp_{self.number:048x}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "completed_at": self.created if status == "completed" else None,
            "error": error,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": self.model,
            "output": items,
            **{name: self.asked[name] for name in _ECHOED},
            "metadata": self.asked["metadata"] or {},
            "text": self.asked["text"] or {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": self.asked["tool_choice"],
            **_SAME_FOR_ALL,
            "usage": self._usage() if shown else None,
        }

    def _usage(self) -> _Fields:
        usage = self.usage
        return {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cached_tokens,
                "cache_write_tokens": usage.written_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }

    def _items(self) -> list[_Fields]:
        """What was thought, the calls of tools, and the message, unless the limit left nothing for one."""
        items: list[_Fields] = []
        if self.usage.reasoning_tokens:
            items.append({"id": self._id("rs", 0), "type": "reasoning", "summary": []})
        items += self._calls()
        for n, call in enumerate(self.choice.calls):
            names = {"call_id": f"call_{self.number:020d}{n:04d}", "name": call.name}
            items.append(
                {
                    "id": self._id("fc", n),
                    "type": "function_call",
                    "status": "completed",
                    **names,
                    "arguments": call.arguments,
                }
            )
        if not self.choice.calls and (self.choice.tokens or self._status == "completed"):
            text = self.choice.text
            items.append(
                {
                    "id": self._id("msg", 0),
                    "type": "message",
                    "status": self._status,
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
                }
            )
        return items

    def _calls(self) -> Iterator[_Fields]:
        done = {"status": "completed"}
        calls = self.usage.calls
        for n in range(calls.searches):
            query = f"supplier prices {n + 1}"
            action = {"type": "search", "query": query, "queries": [query]}
            yield {"id": self._id("ws", n), "type": "web_search_call", **done, "action": action}
        for n in range(calls.file_searches):
            queries = [f"contract terms {n + 1}"]
            yield {
                "id": self._id("fs", n),
                "type": "file_search_call",
                **done,
                "queries": queries,
                "results": None,
            }
        for n in range(calls.code_runs):
            # Each in a container of its own: a session is what has a price.
            container = {"container_id": self._id("cntr", n), "code": _CODE, "outputs": None}
            yield {"id": self._id("ci", n), "type": "code_interpreter_call", **done, **container}
        for n in range(calls.mcp_calls):
            call = {"server_label": self._server_label(), "name": "lookup", "arguments": _ARGUMENTS}
            yield {
                "id": self._id("mcp", n),
                "type": "mcp_call",
                **done,
                **call,
                "output": "paid",
                "error": None,
            }

    def _server_label(self) -> str:
        labels = (tool.get("server_label") for tool in self.asked["tools"] if tool.get("type") == "mcp")
        return str(next(labels, "server"))

    def _id(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self.number:040x}{index:08x}"


_STEPS: dict[str, list[tuple[str, _Fields]]] = {
    "web_search_call": [
        ("web_search_call.in_progress", {}),
        ("web_search_call.searching", {}),
        ("web_search_call.completed", {}),
    ],
    "file_search_call": [
        ("file_search_call.in_progress", {}),
        ("file_search_call.searching", {}),
        ("file_search_call.completed", {}),
    ],
    "code_interpreter_call": [
        ("code_interpreter_call.in_progress", {}),
        ("code_interpreter_call_code.delta", {"delta": _CODE}),
        ("code_interpreter_call_code.done", {"code": _CODE}),
        ("code_interpreter_call.interpreting", {}),
        ("code_interpreter_call.completed", {}),
    ],
    "mcp_call": [
        ("mcp_call.in_progress", {}),
        ("mcp_call_arguments.delta", {"delta": _ARGUMENTS}),
        ("mcp_call_arguments.done", {"arguments": _ARGUMENTS}),
        ("mcp_call.completed", {}),
    ],
}
"""The events between the beginning and the end of a hosted tool's call."""


def _event(kind: str, number: int, fields: _Fields) -> bytes:
    data = encode({"type": kind, "sequence_number": number, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
