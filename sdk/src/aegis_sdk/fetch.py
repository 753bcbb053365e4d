"""Plain HTTP in an agent's code: a declared tool is decided before the request leaves, and settled by the answer.

    with httpx.Client() as http:
        page = guarded_fetch(http, "GET", "https://api.example.org/v1/search", tool="web.search", params={"q": "shoes"})

The gateway is told `method`, `url`, `host`, `path`, `query` and, of a request with `json`, `body`: a tool's arguments
are read from `args.query.q` and the like. It is never told a header: that is where credentials belong.

What it costs is read from `result.status`, `result.bytes`, and `result.body.…` of an answer in JSON. An answer of 4xx
is the server's refusal and costs nothing; one of 5xx may have cost all that it could. Redirects are not followed: where
they lead was not decided on.
"""

from __future__ import annotations

import json as jsons
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from aegis_sdk.adapters.tool_calls import NotBegun, ToolCalls
from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.decision import Decision, ToolCall
from aegis_sdk.errors import InvalidRequest, NotRun
from aegis_sdk.results import numbers_of

_NEVER_SENT = frozenset(("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"))
"""What HTTP libraries of httpx's kind raise of a request that surely never left."""
_WHERE = ("method", "url", "host", "path")


class Answer(Protocol):
    """An answer of an HTTP library of httpx's kind."""

    @property
    def status_code(self) -> int:
        """Its status."""

    @property
    def content(self) -> bytes:
        """Its body."""


A = TypeVar("A", bound=Answer)
A_co = TypeVar("A_co", bound=Answer, covariant=True)


class Http(Protocol[A_co]):
    """A client of an HTTP library: `httpx.Client`, or one that is called alike."""

    @property
    def request(self) -> Callable[..., A_co]:
        """Sends a request."""


class AsyncHttp(Protocol[A_co]):
    """The same for event loops: `httpx.AsyncClient`."""

    @property
    def request(self) -> Callable[..., Awaitable[A_co]]:
        """Sends a request."""


def guarded_fetch(
    http: Http[A],
    method: str,
    url: str,
    *,
    tool: str,
    params: Mapping[str, Any] | None = None,
    json: Mapping[str, Any] | None = None,
    client: Aegis | AsyncAegis | None = None,
    customer: str | None = None,
    name: str | None = None,
    **more: Any,
) -> A:
    """Have a request decided, send it as policies leave it, settle it by its answer, and give that.

    `more` goes to the HTTP library (`headers`, `timeout`, …) and is not told to the gateway. `name` is the caller's own
    for the call: it is made once.

    Raises:
        Refused: the gateway decided against it; nothing was sent.
        Unavailable: the gateway can't be asked; nothing was sent.
        InvalidRequest: the request makes no sense, or policies redact what can't be left out of it; nothing was sent.
    """
    calls = ToolCalls({tool: tool}, client=client, customer=customer)

    def send(_decision: Decision, left: dict[str, Any]) -> A:
        sent = _sent(call, left)
        try:
            answer = http.request(method, **sent, follow_redirects=False, **more)
        except Exception as fault:
            raise _outcome(fault) from fault
        return _checked(answer)

    call = _asked(calls, tool, method, url, params, json, name, more)
    try:
        return calls.run(call, send, numbers=_numbers)
    except NotBegun as kept:
        raise kept.fault from None
    except _RefusedThere as refused:
        answer: A = refused.answer
        return answer
    except _NotSent as fault:
        raise fault.cause from None


async def guarded_fetch_async(
    http: AsyncHttp[A],
    method: str,
    url: str,
    *,
    tool: str,
    params: Mapping[str, Any] | None = None,
    json: Mapping[str, Any] | None = None,
    client: Aegis | AsyncAegis | None = None,
    customer: str | None = None,
    name: str | None = None,
    **more: Any,
) -> A:
    """The same without blocking the event loop.

    Raises:
        AegisError: as `guarded_fetch`.
    """
    calls = ToolCalls({tool: tool}, client=client, customer=customer)

    async def send(_decision: Decision, left: dict[str, Any]) -> A:
        sent = _sent(call, left)
        try:
            answer = await http.request(method, **sent, follow_redirects=False, **more)
        except Exception as fault:
            raise _outcome(fault) from fault
        return _checked(answer)

    call = _asked(calls, tool, method, url, params, json, name, more)
    try:
        return await calls.run_async(call, send, numbers=_numbers)
    except NotBegun as kept:
        raise kept.fault from None
    except _RefusedThere as refused:
        answer: A = refused.answer
        return answer
    except _NotSent as fault:
        raise fault.cause from None


class _RefusedThere(NotRun):
    """The server refused the request, so nothing was done."""

    def __init__(self, answer: Any) -> None:
        super().__init__("the server refused it")
        self.answer = answer


class _NotSent(NotRun):
    """The request surely never left."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _outcome(fault: Exception) -> Exception:
    """A fault of the HTTP library, as what it means for the call."""
    kinds = {kind.__name__ for kind in type(fault).__mro__}
    return _NotSent(fault) if kinds & _NEVER_SENT else fault


def _checked(answer: A) -> A:
    if 400 <= answer.status_code < 500:
        raise _RefusedThere(answer)
    return answer


def _asked(
    calls: ToolCalls,
    tool: str,
    method: str,
    url: str,
    params: Mapping[str, Any] | None,
    body: Mapping[str, Any] | None,
    name: str | None,
    more: Mapping[str, Any],
) -> ToolCall:
    """What the gateway is asked.

    Raises:
        InvalidRequest: something of the request would not be told to it, or should not.
    """
    untold = {"content", "data", "files", "follow_redirects"} & more.keys()
    if untold:
        raise InvalidRequest(
            f"`{min(untold)}` can't be decided on; send the body as `json`, and follow redirects by calls of their own",
            field=min(untold),
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as fault:
        raise InvalidRequest(f"the address is none: {fault}", field="url") from fault
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidRequest(
            "the address is none; write it as in https://api.example.org/v1/search", field="url"
        )
    if {".", ".."} & {part.partition(";")[0] for part in unquote(parts.path).replace("\\", "/").split("/")}:
        raise InvalidRequest(
            "the address climbs, so another path would be sent than is decided on; leave out `.` and `..`",
            field="url",
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("the address has a credential in it; put it into a header", field="url")
    query: dict[str, Any] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        query[key] = [*_listed(query[key]), value] if key in query else value
    query.update(params or {})
    arguments: dict[str, Any] = {
        "method": method.upper(),
        "url": parts._replace(query="", fragment="").geturl(),
        "host": host,
        "path": parts.path or "/",
        "query": query,
    }
    if body is not None:
        arguments["body"] = dict(body)
    call = calls.asked(tool, arguments, name)
    assert call is not None, "the tool is mapped to itself"
    return call


def _sent(call: ToolCall, left: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: the request as policies left it.

    Raises:
        InvalidRequest: it would go elsewhere.
    """
    for part in _WHERE:
        if left.get(part) != call.arguments[part]:
            raise _NotSent(
                InvalidRequest(f"policies redact the `{part}`, without which nothing can be sent", field=part)
            )
    sent: dict[str, Any] = {"url": left["url"]}
    if left.get("query"):
        sent["params"] = left["query"]
    if "body" in left:
        sent["json"] = left["body"]
    return sent


def _numbers(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"status": answer.status_code}
    if answer.status_code >= 500:
        return found
    content = answer.content
    found["bytes"] = len(content)
    try:
        found["body"] = numbers_of(jsons.loads(content))
    except (ValueError, RecursionError):
        return found
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
