"""Pages from templates: what they are given they show as text, whatever it is.

Rule: every value is escaped where it stands (`autoescape`), and nothing that came from outside is marked as safe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aegis_gateway.domain.legible import legible
from aegis_gateway.domain.money import usd_short
from aegis_gateway.entrypoints.cli.kpi import figure_parts, figure_value
from aegis_gateway.entrypoints.cli.output import percent, window_text
from aegis_gateway.entrypoints.people import words
from aegis_gateway.entrypoints.people.navigation import COUNTED_MOST, GROUPS

_HERE = Path(__file__).parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


_GLYPHS = {
    "✓": "M2.2 6.6 4.9 9.2 9.9 3",
    "✗": "M3 3l6 6M9 3 3 9",
    "→": "M1.5 6h9M7.2 2.7 10.5 6 7.2 9.3",
    "▴": "M2.5 7.5 6 4l3.5 3.5",
    "▾": "M2.5 4.5 6 8l3.5-3.5",
    "▲": "M2.5 8.5 6 3.5 9.5 8.5z",
    "▼": "M2.5 3.5 6 8.5 9.5 3.5z",
    "●": "M6 4.8a1.2 1.2 0 1 1-.01 0z",
    "◐": "M6 2.2a3.8 3.8 0 1 1-.01 0zM6 5v2",
    "◌": "M6 2.2a3.8 3.8 0 1 1-.01 0z",
}
"""Signs that not every machine has a letter for, as they are drawn."""


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


def _legible(value: object) -> object:
    # Browsers end the lines of what is written in a form with both signs.
    return legible(value.replace("\r\n", "\n")) if isinstance(value, str) else value


def glyph(sign: str) -> str:
    """A sign, drawn where letters can't be relied on; what it means is said in words beside it."""
    if sign not in _GLYPHS:
        return sign
    return Markup('<svg class="glyph" viewBox="0 0 12 12" aria-hidden="true"><path d="{}"/></svg>').format(
        _GLYPHS[sign]
    )


class Templates:
    """The templates, read once each."""

    def __init__(self) -> None:
        """Find them beside this file."""
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            finalize=_legible,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "amount": words.amount,
            "exact": words.exact,
            "figure_parts": figure_parts,
            "figure_value": figure_value,
            "glyph": glyph,
            "iso": words.iso,
            "local": words.local,
            "money": usd_short,
            "more_than": words.more_than,
            "percent": percent,
            "plural": words.plural,
            "relative": words.relative,
            "seconds": words.seconds,
            "span": words.span,
            "utc": words.utc,
            "window": window_text,
        }
        self._environment.globals |= {"counted_most": COUNTED_MOST, "groups": GROUPS, "static": static_url}

    def render(self, name: str, values: Mapping[str, object]) -> str:
        """A page, or a part of one."""
        return self._environment.get_template(name).render(values)


def static_url(name: str) -> str:
    """The address of a file, which changes with the file: whoever has it needs never ask again."""
    return f"/static/{name}?v={static_files()[name].tag}"
