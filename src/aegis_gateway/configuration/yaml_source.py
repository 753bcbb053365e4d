"""YAML as the configuration reads it: plain data, and the line that each value stands on.

Rule 1: what a value is can be seen by looking at it. `true` and `false` are flags, `12` is an integer, `0.15`
        a decimal (never a float), the rest is text: `yes`, `on`, `012`, `1_000`, `12:30`, `2026-10-01`.
Rule 2: what is read is bounded in size, depth and, where aliases repeat it, in the number of its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

import msgspec
import yaml

from aegis_gateway.domain.errors import ConfigurationError, Problem

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 32
VALUES_MAX = 100_000

Path = tuple[str | int, ...]

_NULLS = ("", "~", "null", "Null", "NULL")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NUMBER_CHARACTERS_MAX = 40
_MAGNITUDE_MAX = 30

_PLAIN, _TEXT, _LIST, _MAPPING = "plain", "text", "list", "mapping"

# What PyYAML says, and what it means to whoever wrote the file.
_SYNTAX = (
    (
        "cannot start any token",
        "a tab or another sign that YAML keeps for itself; indent with spaces, quote text",
    ),
    (
        "mapping values are not allowed",
        "a `:` where none may stand; quote text that has one, or mend the indentation",
    ),
    (
        "could not find expected ':'",
        "neither a key with its `:` nor part of a value; mend the line, or quote it",
    ),
    ("expected <block end>", "the indentation does not fit the lines above; align the keys of one level"),
    (
        "expected the node content",
        "a value is missing, or begins with a sign that YAML keeps for itself; quote it",
    ),
    ("unexpected end of stream", "a quote or bracket is opened and never closed; close it"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing between two values"),
    ("found undefined alias", "an alias (`*name`) without its anchor (`&name`) above; write the value out"),
    ("duplicate anchor", "an anchor (`&name`) is defined twice; give each its own name"),
    ("but found another document", "a second document begins (`---`); one file holds one document"),
    ("unknown escape character", "a backslash before a sign that it can't escape; use 'single quotes'"),
)
_NOT_YAML = "this is not YAML; look at the indentation, quotes, colons and brackets"
_ALIASES = f"aliases (`*name`) repeat too much; the values may come to {VALUES_MAX:,} in all, write fewer"


class YamlSource(msgspec.Struct, frozen=True, kw_only=True):
    """One file's data, and the line of everything in it by its path."""

    file: str
    data: object
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(file: str, text: str) -> YamlSource:
    """Read a file's text.

    Raises:
        ConfigurationError: it is too large, not YAML, or holds what is not read here; with all such problems.
    """
    if len(text.encode("utf-8", "surrogatepass")) > BYTES_MAX:
        raise _error(Problem(file=file, message=f"the file is larger than {BYTES_MAX // 1024} KiB; split it"))
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as fault:
        raise _error(_syntax_problem(file, fault)) from None
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, int(fault.position)) + 1
        message = "a character stands here that text files don't hold; write the line again"
        raise _error(Problem(file=file, line=line, message=message)) from None
    reader = _Reader(file)
    data = reader.read(node, ()) if node is not None else None
    if reader.problems:
        raise ConfigurationError(problems=tuple(reader.problems))
    return YamlSource(file=file, data=data, lines=reader.lines)


class _TooMuch(yaml.MarkedYAMLError):
    """More than is read. Its `problem` is in our words already."""


class _Loader(yaml.SafeLoader):
    """Composes nodes and tells only how a scalar was written; what it means is not YAML 1.1's to say."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: type[yaml.Node], _value: str, implicit: tuple[bool, bool] | bool | None) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if isinstance(implicit, tuple) and implicit[0] else _TEXT
        return _LIST if kind is yaml.SequenceNode else _MAPPING

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            mark = self.get_mark()
            raise _TooMuch(problem=f"this is nested more than {DEPTH_MAX} levels deep", problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    """Turns nodes into data, and collects lines and problems on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._values = 0

    def read(self, node: yaml.Node, path: Path) -> object:
        self.lines.setdefault(path, _line(node))
        self._values += 1
        if self._values > VALUES_MAX or len(path) > DEPTH_MAX:
            if not any(problem.message == _ALIASES for problem in self.problems):
                self._problem(node, _ALIASES)
            return None
        if node.tag not in (_PLAIN, _TEXT, _LIST, _MAPPING):
            self._problem(node, "a type (`!`) stands before a value; leave it out, and quote what is text")
            return None
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node)
            case _:
                raise AssertionError(f"YAML has no {node!r}")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        data: dict[str, object] = {}
        places: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or (
                key_node.tag == _PLAIN and key_node.value in _NULLS
            ):
                self._problem(key_node, "a key must be a word before a `:`")
                continue
            key, line = key_node.value, _line(key_node)
            if key == "<<" and key_node.tag == _PLAIN:
                self._problem(
                    key_node, "merging (`<<`) is not read here; repeat the values, or use an alias for each"
                )
            elif key in data:
                place = ".".join(map(str, (*path, key)))
                message = f"{place} stands twice; it is on line {places[key]} already, keep one of them"
                self._problem(key_node, message)
            else:
                places[key] = self.lines[*path, key] = line
                data[key] = self.read(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text: str = node.value
        if node.tag == _TEXT:
            return text
        if text in _NULLS:
            return None
        if text in ("true", "false"):
            return text == "true"
        if _NOT_FINITE.fullmatch(text):
            self._problem(node, f"`{text}` is not a number to count with; write one as in 20.00")
            return None
        if not _DECIMAL.fullmatch(text):
            return text
        if len(text) > _NUMBER_CHARACTERS_MAX:
            self._problem(node, f"`{text[:20]}…` has too many digits; quote it if it is text")
            return None
        if _INTEGER.fullmatch(text):
            return int(text)
        number = Decimal(text)
        # A zero has an exponent too, and nobody writes one that large by mistake alone.
        if abs(number.adjusted()) > _MAGNITUDE_MAX:
            self._problem(node, f"`{text}` is too large or too small a number; quote it if it is text")
            return None
        return number

    def _problem(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(file=self.file, line=_line(node), message=message))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _error(*problems: Problem) -> ConfigurationError:
    return ConfigurationError(problems=tuple(problems))


def _syntax_problem(file: str, fault: yaml.MarkedYAMLError) -> Problem:
    mark = fault.problem_mark or fault.context_mark
    line = mark.line + 1 if mark is not None else None
    if isinstance(fault, _TooMuch):
        return Problem(file=file, line=line, message=f"{fault.problem}")
    return Problem(file=file, line=line, message=_in_our_words(filter(None, (fault.problem, fault.context))))


def _in_our_words(said: Iterable[str]) -> str:
    heard = " ".join(said)
    for words, message in _SYNTAX:
        if words in heard:
            return message
    return _NOT_YAML
