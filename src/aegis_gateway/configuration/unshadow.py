"""Taking one rule out of shadow in a configuration's files: the one word that says so, and nothing else of them.

Rule: the files stay as people wrote them. Where the word can't be found for certain it isn't touched; whoever puts the
      files in force looks before at what they then mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from aegis_gateway.configuration.load import MAIN_FILE
from aegis_gateway.configuration.yaml_source import read_yaml
from aegis_gateway.domain.errors import ConfigurationError

_MODE = re.compile(r"(\bmode:\s*)([\"']?)shadow\2(?![\w-])")
_HEAD = re.compile(r"\b(?:permit|forbid)\s*\(")
_ANNOTATION = re.compile(r"@mode\(\s*\"shadow\"\s*\)[ \t]*\n?")
_SECTIONS = {"budget": "budgets", "rate": "rates"}


def taken_out_of_shadow(files: Mapping[str, str], tenant: str, rule: str) -> dict[str, str]:
    """The files with one rule of a tenant enforced: a policy by its id, or `budget:ID`, `rate:ID`.

    Raises:
        ConfigurationError: it can't be told where its files say that it is in shadow.
    """
    kind, colon, name = rule.partition(":")
    if colon and kind in _SECTIONS:
        changed = _in_yaml(files, ("tenants", tenant, _SECTIONS[kind], name, "mode"))
    elif colon:
        changed = None
    else:
        changed = _in_policies(files, tenant, rule) or _in_yaml(
            files, ("tenants", tenant, "rules", rule, "mode")
        )
    if changed is None:
        raise ConfigurationError(
            f"it can't be told for certain where the files say that `{rule}` is in shadow; change it in your "
            "directory, and apply that: `aegis apply DIR`"
        )
    return {**files, changed[0]: changed[1]}


def _in_policies(files: Mapping[str, str], tenant: str, policy: str) -> tuple[str, str] | None:
    sign = re.compile(rf"@id\(\s*\"{re.escape(policy)}\"\s*\)")
    found = [
        (path, text, place)
        for path, text in files.items()
        if path.endswith(".cedar") and (path.count("/") == 1 or path.startswith(f"policies/{tenant}/"))
        for place in sign.finditer(text)
    ]
    if len(found) != 1:
        return None
    path, text, place = found[0]
    head = _HEAD.search(text, place.end())
    start = max(text.rfind(";", 0, place.start()) + 1, 0)
    modes = list(_ANNOTATION.finditer(text, start, head.start())) if head is not None else []
    if len(modes) != 1:
        return None
    return path, text[: modes[0].start()] + text[modes[0].end() :]


def _in_yaml(files: Mapping[str, str], path: tuple[str, ...]) -> tuple[str, str] | None:
    text = files[MAIN_FILE]
    number = read_yaml(MAIN_FILE, text).lines.get(path)
    if number is None:
        return None
    lines = text.splitlines(keepends=True)
    line = lines[number - 1]
    if len(_MODE.findall(line)) != 1:
        return None
    lines[number - 1] = _MODE.sub(r"\1enforce", line)
    return MAIN_FILE, "".join(lines)
