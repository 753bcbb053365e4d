"""The values that describe an upstream and its operations."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from aegis_gateway.configuration.words import CONTROL, listed, shown, unfit

REQUEST_ROOTS = ("body", "query", "path")
ALL_ROOTS = (*REQUEST_ROOTS, "response")

FieldPath = tuple[str, ...]

_OTHERWISE = {"args": "body", "result": "response"}
"""What request and response are called where a tool is called by name: its arguments and its result."""

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_CONNECTION_HEADERS = (
    "connection", "content-encoding", "content-length", "expect", "host", "keep-alive", "proxy-connection",
    "te", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
_PREFIX_CHARACTERS_MAX = 16
_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")
_NAME_IN_PATH = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def field_path(*roots: str) -> Callable[[object], FieldPath]:
    """Where a value stands in a request or response: `body.amount`."""

    def check(value: object) -> FieldPath:
        advice = f"write where the value stands, beginning with {listed(roots)}, as in body.amount"
        if not isinstance(value, str):
            unfit(f"is {shown(value)}; {advice}")
        root, dot, rest = value.partition(".")
        segments = tuple(f"{_OTHERWISE.get(root, root)}{dot}{rest}".split("."))
        if segments[0] not in roots or len(segments) < 2 or len(segments) > 16 or not all(segments):
            unfit(f"is {shown(value)}; {advice}")
        if re.search(r"[\s\x00-\x1f\x7f]", value) or len(value) > 200:
            unfit(f"is {shown(value)}; {advice}")
        if segments[0] in ("query", "path") and len(segments) != 2:
            unfit(
                f"is {shown(value)}; a {segments[0]} has single names only, as in {segments[0]}.{segments[1]}"
            )
        return segments

    return check


def written_path(path: FieldPath, *, is_named: bool) -> str:
    """A path as people write it: of a tool that is called by name (`is_named`), `args.amount` and `result.rows`."""
    root, *rest = path
    if is_named:
        root = next((name for name, stands_for in _OTHERWISE.items() if stands_for == root), root)
    return ".".join((root, *rest))


def credential(value: object) -> str:
    """A reference to a secret, never the secret."""
    if isinstance(value, str):
        if _VARIABLE.fullmatch(value):
            return value
        if value.startswith("file:") and len(value) > len("file:") and not CONTROL.search(value):
            return value
    unfit(
        "is not a reference, and secrets are never written here; "
        "put it into the environment or a file, and write env:NAME or file:PATH"
    )


def variable(value: object) -> str:
    """The name of a variable in a program's environment."""
    if not isinstance(value, str) or not _VARIABLE_NAME.fullmatch(value):
        unfit(f"is {shown(value)}, which is not the name of a variable; write one as in API_TOKEN")
    return value


def header(value: object) -> str:
    """The name of the header that carries a credential."""
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        unfit("is not the name of a header; write one as in X-Api-Key")
    if value.lower() in _CONNECTION_HEADERS:
        unfit(f"is {shown(value)}, a header of the connection itself; write one as in X-Api-Key")
    return value.lower()


def prefix(value: object) -> str:
    """What stands before a credential in its header."""
    if not isinstance(value, str) or not value.isascii() or CONTROL.search(value):
        unfit('is not text in quotes; write what stands before the credential, as in "Bearer "')
    if len(value) > _PREFIX_CHARACTERS_MAX:
        unfit(
            f'has more than {_PREFIX_CHARACTERS_MAX} characters; a prefix is as in "Bearer ", not the secret'
        )
    return value


def base_url(value: object) -> str:
    """The address that an upstream's paths are appended to."""
    example = "write it as in https://api.example.com/v1"
    if not isinstance(value, str):
        unfit(f"is {shown(value)}; {example}")
    try:
        parts = urlsplit(value)
        has_user = "@" in parts.netloc
        host, port = parts.hostname, parts.port
    except ValueError:
        unfit(f"is not an address that can be read; {example}")
    if has_user:
        unfit("has a user name or password in it, and secrets are never written here; use `credential`")
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        unfit(f"has a query or fragment in it; {example}")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        unfit(f"is {shown(value)}; {example}")
    segments = parts.path.strip("/").split("/")
    if (
        not value.isascii()
        or re.search(r"[\s\\%\x00-\x1f\x7f]", value)
        or any(s in (".", "..") for s in segments)
    ):
        unfit(f"is {shown(value)}, with signs that an address here doesn't have; {example}")
    return value.rstrip("/")


def path_template(value: object) -> str:
    """An operation's path, in which `{names}` stand for single segments."""
    example = "write it as in /v1/payments/{id}"
    if not isinstance(value, str) or not value.startswith("/") or value == "/":
        unfit(f"is {shown(value)}, and a path begins with `/` and names something; {example}")
    if "?" in value or "#" in value:
        unfit(
            f"is {shown(value)}, with a query or fragment in it; arguments from the query are read by `from`"
        )
    names = []
    for segment in value[1:].split("/"):
        named = _NAME_IN_PATH.fullmatch(segment)
        if named:
            names.append(named[1])
        elif not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            words = (
                f"whose segment `{segment}` is neither plain text nor a {{name}}"
                if segment
                else "with an empty segment"
            )
            unfit(f"is {shown(value)}, {words}; {example}")
    for name in names:
        if names.count(name) > 1:
            unfit(f"is {shown(value)}, in which {{{name}}} stands twice; give each its own name")
    return value


def method(value: object) -> str:
    """An HTTP method."""
    if isinstance(value, str) and value in _METHODS:
        return value
    upper = value.upper() if isinstance(value, str) else ""
    advice = f"write {upper}" if upper in _METHODS else f"write one of {', '.join(_METHODS)}"
    unfit(f"is {shown(value)}; {advice}")


def names_in_path(template: str) -> tuple[str, ...]:
    """The names in a path template."""
    return tuple(_NAME_IN_PATH.findall(template))
