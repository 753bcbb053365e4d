"""Rules that people write, compiled to Cedar: they then go the way of policies that are written as such.

Rule 1: a rule becomes one policy, whose id is the rule's; nothing else decides about it.
Rule 2: each line of that policy comes from one line of the file, and a mistake in it is told there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import msgspec

from aegis_gateway.configuration.conditions import attribute, condition, one_of, text_literal
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.rule_entries import (
    EFFECT_SETTINGS,
    EFFECTS,
    NEEDED,
    RuleEntry,
    WhatEntry,
    WhoEntry,
)
from aegis_gateway.configuration.words import instead, listed
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.registry import TOOL_KINDS, Argument, Registry
from aegis_gateway.domain.tools import MODEL_TOOLS, tools_of

Line = tuple[str, Path]
"""A line of Cedar, and the path of what it says in the file."""

_GROUPS = (("agent", "Agent"), ("project", "Project"), ("team", "Team"), ("tenant", "Tenant"))
"""What agents are or are in, the smallest first: a rule is found by the first of which it names one."""
_ATTRIBUTES = ("owner", "cost_centre", "purpose", "role", "environment")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in words, and its policy in Cedar. `lines` are the file's, for each line of the policy."""

    id: str
    who: str
    what: str
    when: str
    effect: str
    message: str
    mode: Mode
    cedar: str
    lines: tuple[int, ...]
    unknown: tuple[str, ...] = ()
    """What it says of agents that none in the file is: `purpose` `payer`."""


def compile_rules(
    entries: Mapping[str, RuleEntry], registry: Registry, path: Path, problems: Problems
) -> tuple[Rule, ...]:
    """Compile a tenant's rules. Those that something is wrong with are left out, and it is told."""
    tools = tools_of(registry)
    compiled = (
        _compile(name, entry, registry, tools, (*path, name), problems) for name, entry in entries.items()
    )
    return tuple(rule for rule in compiled if rule is not None)


def _compile(
    name: str,
    entry: RuleEntry,
    registry: Registry,
    all_tools: dict[str, tuple[Argument, ...]],
    path: Path,
    problems: Problems,
) -> Rule | None:
    before = len(problems.found)
    _tell_of_settings(entry, path, problems)
    _tell_of_places(entry.what, registry, (*path, "what"), problems)
    tools = _tools(entry.what, registry, all_tools, (*path, "what", "tool"), problems)
    if not tools:
        return None  # something that it names is faulty itself, and told of there
    if entry.max_output_tokens is not None:
        _tell_of_endless(entry.what, tools, path, problems)
    lines = [
        *_head(name, entry, path),
        *_scope(entry, path),
        *_clauses(entry, path),
    ]
    for asked, written in entry.when.items():
        place = (*path, "when", asked)
        expression = condition(asked, written, tools, registry, place, problems)
        lines.append((f"when {{ {expression} }}", place))
    if len(problems.found) > before:
        return None
    lines[-1] = (f"{lines[-1][0]};", lines[-1][1])
    return Rule(
        id=name,
        who=_named(entry.who) or "everybody",
        what=_named(entry.what) or "everything",
        when=", ".join(f"{asked} {_written(written)}" for asked, written in entry.when.items()) or "always",
        effect=", ".join([entry.effect, *(f"{name} {value}" for name, value in _settings(entry))]),
        message=entry.message or "",
        mode=entry.mode,
        cedar="".join(f"{text}\n" for text, _ in lines),
        lines=tuple(problems.line(place) for _, place in lines),
        unknown=tuple(_unknown(entry.who, registry)),
    )


def _head(name: str, entry: RuleEntry, path: Path) -> Iterator[Line]:
    yield f"@id({text_literal(name)})", path
    if entry.effect != "allow":
        yield f'@effect("{entry.effect}")', (*path, "effect")
    for setting, value in _settings(entry):
        yield f"@{setting}({text_literal(value)})", (*path, setting)
    if entry.message is not None:
        yield f"@reason({text_literal(entry.message)})", (*path, "message")
    if entry.mode != "enforce":
        yield f'@mode("{entry.mode}")', (*path, "mode")


def _settings(entry: RuleEntry) -> Iterator[tuple[str, str]]:
    """What the effect's settings are, as they are written."""
    for setting in EFFECTS[entry.effect]:
        value = entry.setting(setting)
        if isinstance(value, tuple):
            yield setting, " ".join(value)
        elif value is not None:
            yield setting, f"{value:f}" if isinstance(value, Decimal) else str(value)


def _scope(entry: RuleEntry, path: Path) -> Iterator[Line]:
    """What Cedar finds a policy by. A list of anything but actions can't stand there, see `_clauses`."""
    yield ("permit (" if entry.effect == "allow" else "forbid ("), path
    group = _principal(entry.who)
    principal = f"principal{_is_or_in(*group)}" if group else "principal"
    yield f"  {principal},", (*path, "who", *group[2:]) if group else path
    actions = [_entity("Action", each) for each in entry.what.tool]
    action = f" == {actions[0]}" if len(actions) == 1 else f" in [{', '.join(actions)}]" if actions else ""
    yield f"  action{action},", (*path, "what", "tool")
    place = _place(entry.what)
    resource = f"resource{_is_or_in(*place)}" if place else "resource"
    yield f"  {resource}", (*path, "what", *place[2:]) if place else path
    yield ")", path


def _clauses(entry: RuleEntry, path: Path) -> Iterator[Line]:
    """What a scope can't say."""
    who, what = entry.who, entry.what
    for variable, named, found, kinds in (
        ("principal", who, _principal(who), _GROUPS),
        ("resource", what, _place(what), _PLACES),
    ):
        at = (*path, "who" if variable == "principal" else "what")
        for setting, kind in kinds:
            names = getattr(named, setting)
            if names and (found is None or found[2] != setting):
                entities = ", ".join(_entity(kind, each) for each in names)
                yield f"when {{ {variable} in [{entities}] }}", (*at, setting)
        for setting in _ATTRIBUTES if variable == "principal" else ("region", "kind"):
            texts = getattr(named, setting)
            if texts:
                expression = one_of(f"{variable}.{setting}", map(text_literal, texts))
                yield f"when {{ {expression} }}", (*at, setting)
        for tag, texts in named.tags.items():
            expression = attribute(f"{variable}.tags", tag, map(text_literal, texts))
            yield f"when {{ {expression} }}", (*at, "tags", tag)


_PLACES = (("model", "Model"), ("connector", "Connector"))


def _principal(who: WhoEntry) -> tuple[str, str, str] | None:
    return _single(who, _GROUPS)


def _place(what: WhatEntry) -> tuple[str, str, str] | None:
    return _single(what, _PLACES)


def _single(entry: WhoEntry | WhatEntry, kinds: Iterable[tuple[str, str]]) -> tuple[str, str, str] | None:
    """The first of some settings that names one thing alone: type, name, setting."""
    for setting, kind in kinds:
        names = getattr(entry, setting)
        if len(names) == 1:
            return kind, names[0], setting
    return None


def _is_or_in(kind: str, name: str, _setting: str) -> str:
    return f" {'==' if kind in ('Agent', 'Model') else 'in'} {_entity(kind, name)}"


def _entity(kind: str, name: str) -> str:
    return f"{kind}::{text_literal(name)}"


def _tools(
    what: WhatEntry,
    registry: Registry,
    tools: dict[str, tuple[Argument, ...]],
    path: Path,
    problems: Problems,
) -> dict[str, tuple[Argument, ...]]:
    """The tools that a rule is about, with their arguments; none where something that it names isn't right itself."""
    there = _tools_there(what, registry, tools)
    if not what.tool:
        return there
    if not there or not tools.keys() >= set(what.tool):
        return {}
    for name in what.tool:
        if name not in there:
            problems.add(
                path, f"is `{name}`, and that is no tool of the connector or model that the rule names"
            )
    return {name: tools[name] for name in what.tool}


def _tools_there(
    what: WhatEntry, registry: Registry, tools: dict[str, tuple[Argument, ...]]
) -> dict[str, tuple[Argument, ...]]:
    """The tools of the connectors and models that a rule names, or all."""
    if not what.connector and not what.model:
        return tools
    if not registry.connectors.keys() >= set(what.connector):
        return {}
    of_models = what.model or any(registry.connectors[name].kind not in TOOL_KINDS for name in what.connector)
    own = {f"{name}.{each.id}" for name in what.connector for each in registry.connectors[name].operations}
    return {
        name: arguments
        for name, arguments in tools.items()
        if name in own or (of_models and name in MODEL_TOOLS)
    }


def _tell_of_settings(entry: RuleEntry, path: Path, problems: Problems) -> None:
    for group in NEEDED.get(entry.effect, ()):
        if all(entry.setting(setting) is None for setting in group):
            wanted = " or ".join(f"`{setting}`" for setting in group)
            problems.add(path, f"has no {wanted}, and `effect: {entry.effect}` needs it")
    for setting in EFFECT_SETTINGS:
        if entry.setting(setting) is not None and setting not in EFFECTS[entry.effect]:
            whose = " or ".join(
                f"`effect: {name}`" for name, settings in EFFECTS.items() if setting in settings
            )
            problems.add((*path, setting), f"is for {whose}, and this is `{entry.effect}`; leave it out")


def _tell_of_places(what: WhatEntry, registry: Registry, path: Path, problems: Problems) -> None:
    """Regions and tags of connectors, which all stand in the file."""
    connectors = registry.connectors.values()
    regions = sorted({each.region for each in connectors if each.region})
    for region in what.region:
        if region not in regions:
            there = instead(
                region, regions, f"there is {listed(regions)}" if regions else "none has a region"
            )
            problems.add((*path, "region"), f"is `{region}`, and no connector is there; {there}")
    tags = sorted({tag for each in connectors for tag in each.tags})
    for tag in what.tags:
        if tag not in tags:
            there = instead(tag, tags, f"there is {listed(tags)}" if tags else "none has any")
            problems.add((*path, "tags", tag), f"is a tag that no connector has; {there}")


def _tell_of_endless(
    what: WhatEntry, tools: dict[str, tuple[Argument, ...]], path: Path, problems: Problems
) -> None:
    """Caps of tools that have nothing to cap."""
    with_output = {
        name
        for name, arguments in tools.items()
        if any(each.name == "max_output_tokens" for each in arguments)
    }
    without = [name for name in tools if name not in with_output]
    if without and what.tool:
        problems.add(
            (*path, "what", "tool"), f"is `{without[0]}`, which has no output limit to cap; name another"
        )
    elif without:
        problems.add(
            path, "caps an answer's tokens; name tools that have such a limit, as in what: {tool: chat}"
        )


def _named(entry: WhoEntry | WhatEntry) -> str:
    """`team treasury, role buyer or payer`."""
    named = [(setting, getattr(entry, setting)) for setting in type(entry).model_fields if setting != "tags"]
    named += [(f"tag {tag}", names) for tag, names in entry.tags.items()]
    return ", ".join(f"{setting} {' or '.join(names)}" for setting, names in named if names)


def _written(value: object) -> str:
    """A condition's value in words: `above 5000`, `EUR or USD`."""
    if isinstance(value, dict):
        return " and ".join(f"{name.replace('_', ' ')} {_written(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " or ".join(map(_written, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown(who: WhoEntry, registry: Registry) -> Iterator[str]:
    """What no agent in the file is. Imported agents may be, so it is no mistake."""
    agents = registry.agents.values()
    for setting in ("agent", *_ATTRIBUTES):
        have = {getattr(agent, "id" if setting == "agent" else setting) for agent in agents}
        yield from (f"{setting} `{name}`" for name in getattr(who, setting) if name not in have)
    for tag, texts in who.tags.items():
        have = {agent.tags.get(tag) for agent in agents}
        yield from (f"tag `{tag}` `{text}`" for text in texts if text not in have)
