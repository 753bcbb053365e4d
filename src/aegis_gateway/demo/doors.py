"""The ways in that the demo's agents use: the official `openai` package, and plain HTTP.

An agent is the same code with and without Aegis: only address and key differ, as they do for its users.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

_TIMEOUT_S = 60.0

# Loopback is never behind a proxy, whatever the environment says.
_opener = build_opener(ProxyHandler({}))


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent sends its calls, and its key there."""

    agent: str
    base_url: str
    api_key: str


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer over plain HTTP. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def is_success(self) -> bool:
        """Whether the call was carried out."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self._error.get("code", ""))

    @property
    def message(self) -> str:
        """The words of a refusal."""
        return str(self._error.get("message", ""))

    @property
    def _error(self) -> dict[str, Any]:
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return error if isinstance(error, dict) else {}


def openai_client(door: Door) -> OpenAI:
    """The official client: base URL and key are all that is set. The header tells the provider's bill who calls."""
    return OpenAI(
        base_url=f"{door.base_url}/v1",
        api_key=door.api_key,
        default_headers={"x-agent": door.agent},
        http_client=DefaultHttpxClient(trust_env=False),
    )


def async_openai_client(door: Door) -> AsyncOpenAI:
    """The same, for many calls at once."""
    return AsyncOpenAI(
        base_url=f"{door.base_url}/v1",
        api_key=door.api_key,
        default_headers={"x-agent": door.agent},
        http_client=DefaultAsyncHttpxClient(trust_env=False),
    )


def call_http(
    door: Door,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpAnswer:
    """One request, as any HTTP library makes it.

    Raises:
        OSError: nobody answered.
    """
    request = Request(  # noqa: S310 - doors are http on loopback
        door.base_url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "authorization": f"Bearer {door.api_key}",
            "content-type": "application/json",
            "x-agent": door.agent,
            **(headers or {}),
        },
    )
    try:
        answer = _opener.open(request, timeout=_TIMEOUT_S)
    except HTTPError as refused:
        answer = refused
    with answer:
        raw = answer.read()
        given = {name.lower(): value for name, value in answer.headers.items()}
        is_json = given.get("content-type", "").startswith("application/json")
        return HttpAnswer(status=answer.status, headers=given, body=json.loads(raw) if is_json else raw)
