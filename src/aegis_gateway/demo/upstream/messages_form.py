"""The published shapes of Anthropic's Messages: the message, its blocks, the events of its stream, errors."""

from collections.abc import Iterator
from typing import Any

import msgspec

from aegis_gateway.demo.upstream.draw import Choice
from aegis_gateway.demo.upstream.usage import Usage
from aegis_gateway.demo.upstream.wire import encode

_Fields = dict[str, Any]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_SIGNATURE = "c2lnbmVkIGJ5IG5vYm9keQ=="
_FAULT_STATUS = 529


def error(status: int, message: str) -> _Fields:
    """The body of a refusal or fault."""
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": f"req_{status:024d}",
    }


def failure(status: int) -> _Fields:
    """The body of a failure that the request asked for."""
    return error(status, f"This request asked to fail with {status}.")


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``reported`` tells whether the usage is shown, ``thinks`` whether thinking was asked for."""

    number: int
    model: str
    choice: Choice
    usage: Usage
    reported: bool
    thinks: bool

    @property
    def request_id(self) -> str:
        """The identity of the exchange, for its header."""
        return f"req_{self.number:024d}"

    def whole(self) -> bytes:
        """The JSON of a message that isn't streamed."""
        return encode(self._message(list(self._blocks()), self._stop_reason, self._usage()))

    def events(self) -> Iterator[bytes]:
        """The server-sent events of a streamed message."""
        opening = self._message([], None, self._first_usage())
        yield _event("message_start", {"message": opening})
        for index, block in enumerate(self._blocks()):
            yield from self._block_events(index, block)
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        reported = {"usage": self._cumulative()} if self.reported else {}
        yield _event("message_delta", {"delta": delta, **reported})
        yield _event("message_stop", {})

    def error_event(self, _sent: int) -> bytes:
        """The event of an error in the middle of a stream."""
        return b"event: error\ndata: " + encode(error(_FAULT_STATUS, "Overloaded")) + b"\n\n"

    def _block_events(self, index: int, block: _Fields) -> Iterator[bytes]:
        deltas: Iterator[_Fields] = iter(())
        match block["type"]:
            case "text":
                beginning = {**block, "text": ""}
                pieces = self.choice.pieces()
                deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
            case "thinking":
                beginning = {**block, "signature": ""}
                deltas = iter([{"type": "signature_delta", "signature": _SIGNATURE}])
            case "server_tool_use" | "tool_use":
                beginning = {**block, "input": {}}
                partial = encode(block["input"]).decode()
                deltas = iter([{"type": "input_json_delta", "partial_json": partial}])
            case _:
                beginning = block
        yield _event("content_block_start", {"index": index, "content_block": beginning})
        if index == 0:
            yield _event("ping", {})
        for delta in deltas:
            yield _event("content_block_delta", {"index": index, "delta": delta})
        yield _event("content_block_stop", {"index": index})

    @property
    def _stop_reason(self) -> str:
        return _STOP_REASONS[self.choice.finish_reason]

    def _message(self, content: list[_Fields], stop_reason: str | None, usage: _Fields) -> _Fields:
        message = {
            "id": f"msg_{self.number:024d}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
        }
        return {**message, "usage": usage} if self.reported else message

    def _blocks(self) -> Iterator[_Fields]:
        if self.thinks and self.usage.reasoning_tokens:
            yield {"type": "thinking", "thinking": "", "signature": _SIGNATURE}
        for n in range(self.usage.calls.searches):
            name = f"srvtoolu_{self.number:016d}{n:08d}"
            query = {"query": f"supplier prices {n + 1}"}
            yield {"type": "server_tool_use", "id": name, "name": "web_search", "input": query}
            found = {
                "type": "web_search_result",
                "url": f"https://results.example/{n + 1}",
                "title": f"Result {n + 1}",
                "encrypted_content": "bm90aGluZw==",
                "page_age": None,
            }
            yield {"type": "web_search_tool_result", "tool_use_id": name, "content": [found]}
        for n, call in enumerate(self.choice.calls):
            name = f"toolu_{self.number:020d}{n:04d}"
            yield {
                "type": "tool_use",
                "id": name,
                "name": call.name,
                "input": msgspec.json.decode(call.arguments),
            }
        if not self.choice.calls and (self.choice.tokens or self.choice.finish_reason == "stop"):
            yield {"type": "text", "text": self.choice.text}

    def _usage(self) -> _Fields:
        usage = self.usage
        return {
            **self._cumulative(),
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.written_tokens,
                "ephemeral_1h_input_tokens": usage.written_1h_tokens,
            },
            "service_tier": "standard",
        }

    def _first_usage(self) -> _Fields:
        """What is known before the answer: of a request that searches, not yet what it reads of the results."""
        searches = self.usage.calls.searches
        plain = self.usage.plain_input_tokens
        known = {
            **self._usage(),
            "input_tokens": plain // 2 if searches else plain,
            "output_tokens": min(1, self.usage.output_tokens),
            "server_tool_use": self._server_tool_use(0) if searches else None,
        }
        known.pop("output_tokens_details", None)
        return known

    def _cumulative(self) -> _Fields:
        usage = self.usage
        searches = usage.calls.searches
        counts: _Fields = {
            "input_tokens": usage.plain_input_tokens,
            "cache_creation_input_tokens": usage.written_tokens + usage.written_1h_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "output_tokens": usage.output_tokens,
            "server_tool_use": self._server_tool_use(searches) if searches else None,
        }
        if usage.reasoning_tokens:
            counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
        return counts

    def _server_tool_use(self, searches: int) -> _Fields:
        return {"web_search_requests": searches, "web_fetch_requests": 0}


def _event(kind: str, fields: _Fields) -> bytes:
    data = encode({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
