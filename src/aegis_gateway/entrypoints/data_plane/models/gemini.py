"""Google's Gemini: the model and the verb stand in the address; usage is told cumulatively with every chunk.

Fields may be named as in JSON (`generationConfig`) or as in the protocol buffers (`generation_config`); both names of
one field in one request are refused, since nobody could say which one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.price import Kind, Usage
from aegis_gateway.domain.quote import HostedUse, ModelShape
from aegis_gateway.domain.registry import Connector, ConnectorKind, Model
from aegis_gateway.entrypoints.data_plane.error_forms import GEMINI
from aegis_gateway.entrypoints.data_plane.events import split
from aegis_gateway.entrypoints.data_plane.models.body import read_body_json
from aegis_gateway.entrypoints.data_plane.models.dialect import (
    CHAT,
    COUNT_TOKENS,
    STRUCTURAL,
    Address,
    Channel,
    ModelRequest,
    StreamedText,
    StreamWatch,
    index_of,
)
from aegis_gateway.entrypoints.data_plane.models.reading import (
    CHOICES_MAX,
    OUTPUT_TOKENS_MAX,
    checked_name,
    count,
    listed,
    parsed,
    parsed_object,
    positive,
    record,
    usage_of,
)
from aegis_gateway.entrypoints.data_plane.models.streams import EventWatch, Passing
from aegis_gateway.entrypoints.data_plane.redacting import Content

_CONFIG, _LIMIT, _CHOICES = "generationConfig", "maxOutputTokens", "candidateCount"
_OWN_TOOLS = ("functionDeclarations", "computerUse")
_HOSTED: dict[str, Kind] = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "codeExecution": "code_execution",
    "fileSearch": "file_search",
}
_TEXT_PARTS = frozenset(
    (
        "text",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "thought",
        "thoughtSignature",
    )
)
_MODALITIES: dict[str, Kind] = {"AUDIO": "output_audio", "IMAGE": "output_image"}
_MEDIA: dict[str, Kind] = {"audio": "input_audio", "image": "input_image", "video": "input_video"}
_UNDERSCORE = re.compile(r"_([a-z])")


CONTENT = Content(
    structural=STRUCTURAL
    | {
        "mimeType",
        "mime_type",
        "thoughtSignature",
        "thought_signature",
        "finishReason",
        "modelVersion",
        "responseId",
    },
    schemas=frozenset(("tools", "toolConfig", "tool_config", _CONFIG, "generation_config", "safetySettings")),
    opaque=frozenset(("args", "response")),
    unreadable_objects=frozenset(("inlineData", "inline_data", "fileData", "file_data", "logprobsResult")),
)


class GeminiDialect:
    """`POST /v1beta/models/{model}:generateContent`, and streamed as server-sent events or as a JSON array."""

    action = CHAT
    title = "Gemini generateContent"
    kinds: tuple[ConnectorKind, ...] = ("gemini",)
    errors = GEMINI
    is_free = False
    content = CONTENT

    def __init__(self, verb: str) -> None:
        """Speak for one verb: `generateContent`, `streamGenerateContent`."""
        self._verb = verb

    def parse(self, address: Address, raw: bytes) -> ModelRequest:
        """Read a request. A stream that isn't one of server-sent events is one JSON array, and taken as a whole."""
        body = read_body_json(raw)
        fields = _by_json_names(body.fields, "")
        contents = listed(fields, "contents")
        if not contents:
            raise CallError("`contents` must be a list with at least one content", field="contents")
        config = _by_json_names(_config(fields), f"{_CONFIG}.")
        limit = positive(config, _LIMIT, OUTPUT_TOKENS_MAX, f"{_CONFIG}.{_LIMIT}")
        choices = positive(config, _CHOICES, CHOICES_MAX, f"{_CONFIG}.{_CHOICES}") or 1
        unbounded_by, kinds = _carried(fields, contents)
        hosted, unbounded_tool, unknown_tool = _hosted(listed(fields, "tools"))
        stream = self._verb == "streamGenerateContent" and address.query == "alt=sse"
        arguments: dict[str, object] = {
            "stream": self._verb == "streamGenerateContent",
            "choices": choices,
            "tools": len(listed(fields, "tools")),
        }
        if limit is not None:
            arguments["max_output_tokens"] = limit
        return ModelRequest(
            model=checked_name(address.model),
            body=body,
            shape=ModelShape(
                input_bytes=len(raw),
                output_tokens=limit,
                choices=choices,
                unbounded_input_by=unbounded_by or unbounded_tool,
                unpriceable=unknown_tool or ("serviceTier" if fields.get("serviceTier") else None),
                input_kinds=kinds,
                output_kinds=_output_kinds(config),
                hosted=hosted,
            ),
            stream=stream,
            arguments=arguments,
            summary={"contents": len(contents), "bytes": len(raw), **arguments},
            query=address.query,
        )

    def url(self, connector: Connector, model: Model, request: ModelRequest) -> str:
        """Where the request goes."""
        query = f"?{request.query}" if request.query else ""
        return f"{connector.base_url}/models/{model.upstream}:{self._verb}{query}"

    def body(
        self, connector: Connector, model: Model, request: ModelRequest, output_tokens: int | None
    ) -> bytes:
        """The body to send: as it came, but for the output limit."""
        if output_tokens is None:
            return request.body.raw
        fields = request.body.fields
        config_name = _name_used(fields, _CONFIG)
        config = fields.get(config_name)
        limit_name = _name_used(config, _LIMIT) if isinstance(config, dict) else _LIMIT
        if isinstance(config, dict) and config.get(limit_name) == output_tokens:
            return request.body.raw
        return request.body.changed({config_name: {limit_name: output_tokens}})

    def usage(self, answer: bytes) -> Usage | None:
        """The usage of a whole answer, or of an array of chunks, the last of which tells all."""
        found = parsed(answer)
        chunks = found if isinstance(found, list) else [found]
        told: Mapping[str, Any] | None = None
        searches = 0
        for chunk in chunks:
            if isinstance(chunk, dict):
                told = _told(chunk) or told
                searches += _searches(chunk)
        return gemini_usage(told, searches)

    def watch(self, request: ModelRequest) -> StreamWatch:
        """What reads a stream."""
        return GeminiWatch()

    def streamed(self, event: dict[str, Any]) -> Iterator[StreamedText]:
        """The texts of each candidate's parts, what it thinks apart from what it says."""
        for candidate in _candidates(event):
            content = candidate.get("content")
            parts = content.get("parts") if isinstance(content, dict) else None
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    channel = (index_of(candidate), "thought" if part.get("thought") else "text")
                    yield StreamedText(channel, part, "text")

    def ended(self, event: dict[str, Any]) -> Iterator[Channel]:
        """A candidate ends where it says why."""
        for candidate in _candidates(event):
            if candidate.get("finishReason"):
                yield (index_of(candidate),)


class CountTokensDialect(GeminiDialect):
    """`POST /v1beta/models/{model}:countTokens`, which is free."""

    action = COUNT_TOKENS
    title = "Gemini countTokens"
    is_free = True

    def __init__(self) -> None:
        """Speak for the one verb."""
        super().__init__("countTokens")

    def parse(self, address: Address, raw: bytes) -> ModelRequest:
        """Read a request: contents, or a whole request to generate."""
        body = read_body_json(raw)
        arguments: dict[str, object] = {"stream": False, "choices": 1, "tools": 0}
        return ModelRequest(
            model=checked_name(address.model),
            body=body,
            shape=ModelShape(input_bytes=len(raw), has_output=False),
            arguments=arguments,
            summary={"bytes": len(raw), **arguments},
        )

    def body(
        self, connector: Connector, model: Model, request: ModelRequest, output_tokens: int | None
    ) -> bytes:
        """The body to send; a request within it may name the model once more."""
        name = _name_used(request.body.fields, "generateContentRequest")
        whole = request.body.fields.get(name)
        if not isinstance(whole, dict) or "model" not in whole:
            return request.body.raw
        return request.body.changed({name: {"model": f"models/{model.upstream}"}})


class GeminiWatch(EventWatch):
    """Reads a stream of chunks. It has no event for its end: each chunk that finishes is held until the next comes."""

    marks = (b'"usageMetadata"', b'"finishReason"', b'"groundingMetadata"')

    def __init__(self) -> None:
        """Start with nothing read."""
        super().__init__()
        self._told: Mapping[str, Any] | None = None
        self._searches = 0
        self._finished = False
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece from the upstream, give what may be passed on now: not yet a chunk that may be the last."""
        passed, self._held = self._held + super().feed(piece), b""
        if self._finished and passed:
            self._held, passed = _last_event(passed), _all_but_last(passed)
        return passed

    def end(self) -> None:
        """Take note that nothing more comes."""
        rest = self._events.rest()
        if rest.strip():
            self._passes(rest + b"\r\n\r\n")
            self._held += rest + b"\r\n\r\n"
        self.is_done, self.last, self._held = self._finished, self._held, b""

    def look(self, data: bytes) -> Passing:
        """A chunk with counts, or one that finishes a candidate."""
        chunk = parsed_object(data)
        self._told = _told(chunk) or self._told
        self._searches += _searches(chunk)
        self._finished = self._finished or any(
            candidate.get("finishReason") for candidate in _candidates(chunk)
        )
        # Counts on the way are of what has passed so far, and no word on what the whole comes to.
        self.usage = gemini_usage(self._told, self._searches) if self._finished else None
        return "pass"


def gemini_usage(told: Mapping[str, Any] | None, searches: int) -> Usage | None:
    """Read a `usageMetadata`. What is zero is left out there; what is cached or heard is part of the prompt."""
    if told is None or (told.get("promptTokenCount") is None and told.get("totalTokenCount") is None):
        return None
    prompt, cached = count(told, "promptTokenCount"), count(told, "cachedContentTokenCount")
    made, thought = count(told, "candidatesTokenCount"), count(told, "thoughtsTokenCount")
    if prompt is None or cached is None or made is None or thought is None or cached > prompt:
        return None
    given, kept = _by_modality(told, "promptTokensDetails"), _by_modality(told, "cacheTokensDetails")
    shown = _by_modality(told, "candidatesTokensDetails")
    cached_audio, cached_image = min(kept.get("AUDIO", 0), cached), min(kept.get("IMAGE", 0), cached)
    heard = max(0, given.get("AUDIO", 0) - cached_audio)
    seen = max(0, given.get("IMAGE", 0) - cached_image)
    watched = given.get("VIDEO", 0)
    spoken, drawn = shown.get("AUDIO", 0), shown.get("IMAGE", 0)
    plain, plain_cached = prompt - cached - heard - seen - watched, cached - cached_audio - cached_image
    if plain < 0 or plain_cached < 0 or spoken + drawn > made:
        return None
    units: dict[Kind, int | None] = {
        "input": plain,
        "input_audio": heard,
        "input_image": seen,
        "input_video": watched,
        "input_tool": count(told, "toolUsePromptTokenCount"),
        "cache_read": plain_cached,
        "cache_read_audio": cached_audio,
        "cache_read_image": cached_image,
        "output": made - spoken - drawn,
        "output_audio": spoken,
        "output_image": drawn,
        "reasoning": thought,
        "web_search": searches,
    }
    return usage_of(units)


def _by_modality(told: Mapping[str, Any], name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    details = told.get(name)
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            modality = str(detail.get("modality"))
            counts[modality] = counts.get(modality, 0) + (count(detail, "tokenCount") or 0)
    return counts


def _told(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    told = chunk.get("usageMetadata")
    return told if isinstance(told, dict) else None


def _candidates(chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    candidates = chunk.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        if isinstance(candidate, dict):
            yield candidate


def _searches(chunk: Mapping[str, Any]) -> int:
    """The searches a chunk tells of: each query is one, which older models charge once for a prompt's all."""
    return sum(
        len(queries)
        for candidate in _candidates(chunk)
        if isinstance(metadata := candidate.get("groundingMetadata"), dict)
        and isinstance(queries := metadata.get("webSearchQueries"), list)
    )


def _by_json_names(fields: Mapping[str, Any], path: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in fields.items():
        json_name = _json_name(name)
        if json_name in named:
            raise CallError(f"`{path}{json_name}` stands twice, under both its names", field=path + json_name)
        named[json_name] = value
    return named


def _json_name(name: str) -> str:
    return _UNDERSCORE.sub(lambda match: match[1].upper(), name)


def _name_used(fields: Mapping[str, Any], json_name: str) -> str:
    """The name that a field goes by in a request."""
    return next((name for name in fields if _json_name(name) == json_name), json_name)


def _config(fields: Mapping[str, Any]) -> dict[str, Any]:
    config = fields.get(_CONFIG)
    return {} if config is None else record(config, _CONFIG)


def _carried(fields: Mapping[str, Any], contents: list[Any]) -> tuple[str | None, frozenset[Kind]]:
    """The first part whose tokens no count of bytes bounds, and what besides text there is."""
    unbounded_by = "cachedContent" if fields.get("cachedContent") else None
    kinds: set[Kind] = set()
    turns = [(f"contents[{number}]", content) for number, content in enumerate(contents)]
    if fields.get("systemInstruction") is not None:
        turns.append(("systemInstruction", fields["systemInstruction"]))
    for path, content in turns:
        for place, part in enumerate(_parts(record(content, path), f"{path}.parts")):
            named = _by_json_names(record(part, f"{path}.parts[{place}]"), f"{path}.parts[{place}].")
            if not named.keys() <= _TEXT_PARTS:
                unbounded_by = unbounded_by or f"{path}.parts[{place}]"
                kinds |= _media(named)
    return unbounded_by, frozenset(kinds)


def _parts(content: dict[str, Any], path: str) -> list[Any]:
    """A content's parts: a list, or one alone, which the protocol allows as well."""
    parts = content.get("parts")
    return [parts] if isinstance(parts, dict) else listed(content, "parts", path)


def _media(part: Mapping[str, Any]) -> set[Kind]:
    """What a part that isn't text may be billed as; anything, where it doesn't say."""
    for name in ("inlineData", "fileData"):
        data = part.get(name)
        if isinstance(data, dict):
            kind = _MEDIA.get(str(_by_json_names(data, "").get("mimeType")).partition("/")[0])
            if kind is not None:
                return {kind}
    return set(_MEDIA.values())


def _output_kinds(config: Mapping[str, Any]) -> frozenset[Kind]:
    """What the answer may be made of; a model that draws does so without being asked."""
    modalities = config.get("responseModalities")
    if not isinstance(modalities, list):
        return frozenset(_MODALITIES.values())
    return frozenset(
        kind for name, kind in _MODALITIES.items() if name in {str(each).upper() for each in modalities}
    )


def _hosted(tools: list[Any]) -> tuple[tuple[HostedUse, ...], str | None, str | None]:
    """The tools that the provider would run, the first that only adds input, the first whose price nothing states."""
    hosted: dict[Kind, HostedUse] = {}
    unbounded: str | None = None
    unknown: str | None = None
    for number, tool in enumerate(tools):
        path = f"tools[{number}]"
        for name in _by_json_names(record(tool, path), f"{path}."):
            if name in _OWN_TOOLS:
                continue
            if name in _HOSTED:
                use = HostedUse(kind=_HOSTED[name], field=f"{path}.{name}", calls_max=None)
                hosted.setdefault(use.kind, use)
            elif name == "urlContext":
                unbounded = unbounded or f"{path}.{name}"
            else:
                unknown = unknown or f"{path}.{name}"
    return tuple(hosted.values()), unbounded, unknown


def _last_event(events: bytes) -> bytes:
    return events[len(_all_but_last(events)) :]


def _all_but_last(events: bytes) -> bytes:
    """A block of whole events without the last of them."""
    *before, _ = split(events)
    return b"".join(before)
