"""The published shapes of Gemini's answers: the response, the elements of its stream, usage, errors.

As its protocol buffers do, they leave out what is zero.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from aegis_gateway.demo.upstream import prose
from aegis_gateway.demo.upstream.draw import Choice
from aegis_gateway.demo.upstream.usage import Usage
from aegis_gateway.demo.upstream.wire import encode

_Fields = dict[str, Any]

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS"}


def error(status: int, message: str) -> _Fields:
    """The body of a refusal or fault."""
    return {"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}}


def failure(status: int) -> _Fields:
    """The body of a failure that the request asked for."""
    return error(status, f"This request asked to fail with {status}.")


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One response. ``reported`` tells whether the usage is shown."""

    number: int
    model: str
    choices: list[Choice]
    usage: Usage
    reported: bool

    def whole(self) -> bytes:
        """The JSON of a response that isn't streamed."""
        candidates = [
            self._candidate(index, prose.text(choice.start, choice.tokens), choice)
            for index, choice in enumerate(self.choices)
        ]
        return encode(self._response(candidates, self._shown_tokens))

    def events(self) -> Iterator[bytes]:
        """The server-sent events of a streamed response."""
        for chunk in self._chunks():
            yield b"data: " + encode(chunk) + b"\r\n\r\n"

    def elements(self) -> Iterator[bytes]:
        """The same as the elements of one JSON array, and its end."""
        opening = b"["
        for chunk in self._chunks():
            yield opening + encode(chunk)
            opening = b"\n,\r\n"
        yield b"\n]"

    def error_event(self, _sent: int) -> bytes:
        """The event of an error in the middle of a stream."""
        return (
            b"data: " + encode(error(503, "The model is overloaded. Please try again later.")) + b"\r\n\r\n"
        )

    def error_element(self, sent: int) -> bytes:
        """The element of an error in the middle of an array, and its end."""
        fault = encode(error(503, "The model is overloaded. Please try again later."))
        return (b"\n,\r\n" if sent else b"[") + fault + b"\n]"

    def _chunks(self) -> Iterator[_Fields]:
        """A response for each word, with what was used by then, and one for each candidate's end."""
        sent = 0
        last = len(self.choices) - 1
        for index, choice in enumerate(self.choices):
            for piece in prose.pieces(choice.start, choice.tokens):
                sent += 1
                # Where nothing is billed, nothing is counted on the way either.
                counted = min(sent, self._shown_tokens)
                yield self._response([self._candidate(index, piece.decode())], counted)
            used = self._shown_tokens if index == last else min(sent, self._shown_tokens)
            yield self._response([self._candidate(index, "", choice)], used)

    @property
    def _shown_tokens(self) -> int:
        return self.usage.output_tokens - self.usage.reasoning_tokens

    def _candidate(self, index: int, text: str, ended: Choice | None = None) -> _Fields:
        candidate: _Fields = {"content": {"role": "model"}, "index": index}
        if text or ended is None or ended.finish_reason == "stop":
            candidate["content"]["parts"] = [{"text": text}]
        if ended is not None:
            candidate["finishReason"] = _FINISH_REASONS[ended.finish_reason]
            searches = self.usage.calls.searches
            if index == 0 and searches:
                candidate["groundingMetadata"] = _grounding(searches)
        return candidate

    def _response(self, candidates: list[_Fields], shown_tokens: int) -> _Fields:
        response: _Fields = {"candidates": candidates}
        if self.reported:
            response["usageMetadata"] = self._usage(shown_tokens)
        return {**response, "modelVersion": self.model, "responseId": f"{self.number:024d}"}

    def _usage(self, shown_tokens: int) -> _Fields:
        usage = self.usage
        heard = usage.audio_input_tokens
        text_tokens = usage.input_tokens - heard
        always = {
            "promptTokenCount": usage.input_tokens,
            "totalTokenCount": usage.input_tokens
            + usage.tool_input_tokens
            + usage.reasoning_tokens
            + shown_tokens,
        }
        if not usage.input_tokens:
            return {**always, "candidatesTokenCount": shown_tokens}
        sometimes = {
            "candidatesTokenCount": shown_tokens,
            "thoughtsTokenCount": usage.reasoning_tokens,
            "cachedContentTokenCount": usage.cached_tokens,
            "toolUsePromptTokenCount": usage.tool_input_tokens,
            "promptTokensDetails": _by_modality(TEXT=text_tokens, AUDIO=heard),
            "cacheTokensDetails": _by_modality(TEXT=usage.cached_tokens),
            "toolUsePromptTokensDetails": _by_modality(TEXT=usage.tool_input_tokens),
        }
        return {**always, **{name: value for name, value in sometimes.items() if value}}


def _by_modality(**tokens: int) -> list[_Fields]:
    return [{"modality": name, "tokenCount": count} for name, count in tokens.items() if count]


def _grounding(searches: int) -> _Fields:
    return {
        "searchEntryPoint": {"renderedContent": "<div>results</div>"},
        "groundingChunks": [
            {"web": {"uri": f"https://results.example/{n + 1}", "title": f"Result {n + 1}"}}
            for n in range(searches)
        ],
        "webSearchQueries": [f"supplier prices {n + 1}" for n in range(searches)],
    }
