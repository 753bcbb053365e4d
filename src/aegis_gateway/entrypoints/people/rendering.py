"""Pages from templates: what they are given they show as text, whatever it is; how money and time are written.

Rule: every value is escaped where it stands (`autoescape`), and nothing that came from outside is marked as safe.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aegis_gateway.domain.money import usd_text

_HERE = Path(__file__).parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_NANOS = 1_000_000_000
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class StaticFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that pages load, whole; `tag` tells it from other versions of it."""

    type: str
    tag: str
    body: bytes


@cache
def static_files() -> dict[str, StaticFile]:
    """All files that pages load, by name."""
    return {
        path.name: StaticFile(
            type=_TYPES[path.suffix],
            tag=hashlib.sha256(body).hexdigest()[:16],
            body=body,
        )
        for path in sorted((_HERE / "static").iterdir())
        if path.suffix in _TYPES
        for body in [path.read_bytes()]
    }


class Templates:
    """The templates, read once each."""

    def __init__(self) -> None:
        """Find them beside this file."""
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "usd": usd,
            "exact_usd": usd_text,
            "utc": utc,
            "iso": iso,
            "relative": relative,
        }
        self._environment.globals["static"] = static_url

    def render(self, name: str, **values: object) -> str:
        """A page, or a part of one."""
        return self._environment.get_template(name).render(values)


def static_url(name: str) -> str:
    """The address of a file, which changes with the file: whoever has it needs never ask again."""
    return f"/static/{name}?v={static_files()[name].tag}"


def usd(amount_nano_usd: int) -> str:
    """Dollars at the precision that matters: cents from a dollar up, three digits below."""
    size = abs(amount_nano_usd)
    decimals = 2 if size >= _NANOS or not size else min(9, max(2, 12 - len(str(size))))
    step = 10 ** (9 - decimals)
    rounded = (size + step // 2) // step * step
    return usd_text(-rounded if amount_nano_usd < 0 else rounded)


def utc(at_ns: int) -> str:
    """An instant as people read it: `29 Nov 2026, 14:05:09 UTC`."""
    return datetime.fromtimestamp(at_ns // _NANOS, UTC).strftime("%-d %b %Y, %H:%M:%S UTC")


def iso(at_ns: int) -> str:
    """An instant as browsers read it."""
    return datetime.fromtimestamp(at_ns // _NANOS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def relative(at_ns: int, now_ns: int) -> str:
    """How far from now: `in 4 min`, `2 h ago`."""
    seconds = abs(at_ns - now_ns) // _NANOS
    for size, unit in _STEPS:
        if seconds >= size:
            text = f"{seconds // size} {unit}"
            return f"in {text}" if at_ns > now_ns else f"{text} ago"
    return "now"
