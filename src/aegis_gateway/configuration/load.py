"""From the operator's files to what the gateway runs on: all of it, or all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from pydantic_core import PydanticCustomError

from aegis_gateway.configuration.approval_entries import (
    ApprovalsEntry,
    AsksEntry,
    compile_approvals,
    compile_asks,
)
from aegis_gateway.configuration.channel_entries import (
    CHANNELS,
    DIGESTS,
    NOTIFY,
    ChannelEntry,
    DigestEntry,
    NotifyEntry,
)
from aegis_gateway.configuration.compile import Entries, compile_tenant
from aegis_gateway.configuration.compile_channels import compile_channels, compile_digests, compile_notify
from aegis_gateway.configuration.currencies import tell_of_missing_rates
from aegis_gateway.configuration.document import SECTIONS, Document, Entry, TenantEntry
from aegis_gateway.configuration.prices import Prices
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.references import Known
from aegis_gateway.configuration.rule_entries import RuleEntry
from aegis_gateway.configuration.rules import Rule, compile_rules
from aegis_gateway.configuration.values import identifier
from aegis_gateway.configuration.words import instead, listed, shown
from aegis_gateway.configuration.yaml_source import Path, YamlSource, read_yaml
from aegis_gateway.domain.config_version import Watch
from aegis_gateway.domain.errors import ConfigurationError, Problem
from aegis_gateway.domain.price import CALL_KINDS
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, OTHER_TOOLS, Registry
from aegis_gateway.domain.spelling import did_you_mean

MAIN_FILE = "aegis.yaml"
RULES = "rules"
APPROVALS = "approvals"
ASKS = "asks"
POLICY_BYTES_MAX = 256 * 1024

_SECTIONS: dict[str, type[Entry]] = {
    **SECTIONS,
    RULES: RuleEntry,
    CHANNELS: ChannelEntry,
    DIGESTS: DigestEntry,
}
_POLICY_FILE = re.compile(r"policies/(?:([A-Za-z0-9][A-Za-z0-9._-]*)/)?[A-Za-z0-9][A-Za-z0-9._-]*\.cedar")


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of policies: its path, which orders it, and its text.

    A tenant's rules are one too, under a path that no file has. Then `lines` are those of the main file that each line
    of the text comes from.
    """

    path: str
    text: str
    lines: tuple[int, ...] = ()

    def placed(self, problem: Problem) -> Problem:
        """A problem of this text, where whoever wrote it finds it."""
        if not self.lines:
            return problem
        return msgspec.structs.replace(problem, file=MAIN_FILE, line=self.lines[(problem.line or 1) - 1])


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """All tenants' registries, the policies that hold for each, and the rules that some of them were written as.

    `watch` says when a version of it is taken back by itself.
    """

    registries: dict[str, Registry]
    policies: dict[str, tuple[PolicyFile, ...]]
    rules: dict[str, tuple[Rule, ...]] = {}
    watch: Watch | None = None


def load(files: Mapping[str, str], prices: Prices, now_ns: int | None = None) -> Configuration:
    """Make a configuration of files' texts, given by relative path.

    Policies in `policies/` hold for every tenant, those in `policies/TENANT/` for that tenant. With an instant, budgets
    have to have what their windows of then need; what held once holds later too, so what is in force is not asked.

    Raises:
        ConfigurationError: something is wrong; `problems` has all of it.
    """
    problems: list[Problem] = []
    read = _Read()
    if MAIN_FILE in files:
        try:
            source = read_yaml(MAIN_FILE, files[MAIN_FILE])
        except ConfigurationError as fault:
            problems += fault.problems
        else:
            read = _load_document(source, prices, now_ns, problems)
    else:
        message = f"there is no {MAIN_FILE}; write one, or run `aegis init DIR` for an example"
        problems.append(Problem(file=MAIN_FILE, message=message))
    policies = _load_policies(files, frozenset(read.registries) or None, problems)
    if problems:
        problems.sort(key=lambda problem: (problem.file != MAIN_FILE, problem.file, problem.line or 0))
        raise ConfigurationError(problems=tuple(problems))
    shared = policies.get(None, ())
    return Configuration(
        registries=read.registries,
        policies={
            tenant: tuple(
                sorted(
                    (*shared, *policies.get(tenant, ()), *_written_as(tenant, read.rules[tenant])),
                    key=lambda file: file.path,
                )
            )
            for tenant in read.registries
        },
        rules=read.rules,
        watch=read.watch,
    )


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """What the main file says: nothing, where it can't be told."""

    registries: dict[str, Registry] = {}
    rules: dict[str, tuple[Rule, ...]] = {}
    watch: Watch | None = None


def _written_as(tenant: str, rules: tuple[Rule, ...]) -> Iterator[PolicyFile]:
    """The policies of a tenant's rules, if it has some."""
    if rules:
        yield PolicyFile(
            path=f"{MAIN_FILE}#{tenant}",
            text="".join(rule.cedar for rule in rules),
            lines=tuple(line for rule in rules for line in rule.lines),
        )


def _load_document(source: YamlSource, prices: Prices, now_ns: int | None, found: list[Problem]) -> _Read:
    """The tenants that the file names, and what holds for them."""
    problems = Problems(source)
    registries, rules = {}, {}
    document = None
    if source.data is None:
        problems.add((), "is empty; run `aegis init DIR` for an example")
    elif not isinstance(source.data, dict):
        problems.add((), f"is {shown(source.data)}; write settings, as in version: 1")
    else:
        document = problems.check(Document, source.data, ())
        for tenant, data in _entries(source.data, ("tenants",), problems):
            registries[tenant], rules[tenant] = _load_tenant(tenant, data, prices, problems)
            if now_ns is not None:
                tell_of_missing_rates(registries[tenant], now_ns, ("tenants", tenant, "budgets"), problems)
        if not registries and "tenants" in source.data and not problems.found:
            problems.add(
                ("tenants",), "is empty; name who uses this gateway, as in northbank: {name: North Bank}"
            )
    found += problems.found
    return _Read(registries=registries, rules=rules, watch=_watch(document))


def _watch(document: Document | None) -> Watch | None:
    """When a version is taken back by itself, if ever."""
    entry = document.changes.roll_back_when if document is not None else None
    if entry is None:
        return None
    return Watch(
        refusals_up_by=entry.refusals_up_by,
        errors_up_by=entry.errors_up_by,
        of_at_least=entry.of_at_least,
        within_ns=entry.within,
    )


def _load_tenant(
    tenant: str, data: object, prices: Prices, problems: Problems
) -> tuple[Registry, tuple[Rule, ...]]:
    path: Path = ("tenants", tenant)
    settings = problems.check(TenantEntry, data, path)
    sections = data if isinstance(data, dict) else {}
    known = _known(tenant, sections)
    checked: dict[str, dict[str, Any]] = {}
    for section, model in _SECTIONS.items():
        entries = checked[section] = {}
        for name, entry_data in _entries(sections, (*path, section), problems):
            entry = problems.check(model, entry_data, (*path, section, name), known)
            if entry is not None:
                entries[name] = entry
    rules = checked.pop(RULES)
    place = (*path, APPROVALS)
    approvals = problems.check(ApprovalsEntry, sections.get(APPROVALS) or {}, place, known)
    asks = problems.check(AsksEntry, sections.get(ASKS) or {}, (*path, ASKS), known)
    written, digests = checked.pop(CHANNELS), checked.pop(DIGESTS)
    registry = compile_tenant(tenant, settings or TenantEntry(), Entries(**checked), prices, problems)
    channels = compile_channels(written, path, problems)
    told = list(_listed_entries(sections, path, known, problems))
    rules_of_approvals = compile_approvals(approvals, place, problems)
    registry = msgspec.structs.replace(
        registry,
        approvals=rules_of_approvals,
        asks=compile_asks(asks, rules_of_approvals.groups, (*path, ASKS), problems),
        channels=channels,
        notify=compile_notify(told, channels, path, problems),
        digests=compile_digests(digests, channels, path, problems),
    )
    return registry, compile_rules(rules, registry, (*path, RULES), problems)


def _entries(parent: Mapping[str, object], path: Path, problems: Problems) -> Iterable[tuple[str, object]]:
    """The entries of a section by id. An entry with nothing below it is one without settings."""
    section = parent.get(str(path[-1]))
    if section is None:
        return
    if not isinstance(section, dict):
        problems.add(path, f"is {shown(section)}; write each entry below it under an id of its own")
        return
    for name, data in section.items():
        try:
            identifier(name)
        except PydanticCustomError as fault:
            problems.add((*path, name), fault.message())
        yield name, {} if data is None else data


def _listed_entries(
    sections: Mapping[str, object], path: Path, known: Known, problems: Problems
) -> Iterator[tuple[int, NotifyEntry]]:
    """The entries of `notify`, a list, that are right in themselves, with their places."""
    found = sections.get(NOTIFY)
    if found is None:
        return
    if not isinstance(found, list):
        problems.add(
            (*path, NOTIFY), f"is {shown(found)}; write a list, as in [{{what: [incident], to: [ops]}}]"
        )
        return
    for number, data in enumerate(found):
        entry = problems.check(NotifyEntry, data, (*path, NOTIFY, number), known)
        if entry is not None:
            yield number, entry


def _known(tenant: str, sections: Mapping[str, object]) -> Known:
    # A misspelt section is told of once, not once more for each reference into it.
    meant = {
        did_you_mean(name, _SECTIONS): entries for name, entries in sections.items() if name not in _SECTIONS
    }

    def section(name: str) -> dict[str, dict[str, object]]:
        entries = sections.get(name, meant.get(name))
        if not isinstance(entries, dict):
            return {}
        return {key: entry if isinstance(entry, dict) else {} for key, entry in entries.items()}

    tools = {"chat", "embed", "count-tokens"}
    for connector, data in section("connectors").items():
        operations = data.get("operations")
        if isinstance(operations, dict):
            tools |= {f"{connector}.{operation}" for operation in operations}
        if "other_tools" in data:
            tools.add(f"{connector}.{OTHER_TOOLS}")
    environments = (agent.get("environment") for agent in section("agents").values())
    return Known(
        tenant=tenant,
        names={
            "team": frozenset(section("teams")),
            "project": frozenset(section("projects")),
            "agent": frozenset(section("agents")),
            "connector": frozenset(section("connectors")),
            "model": frozenset(section("models")),
            "budget": frozenset(section("budgets")),
            "quantity": frozenset(section("quantities")) | frozenset(BUILT_IN_QUANTITIES),
            "tool": frozenset(tools),
            "action": frozenset(tools) | frozenset(CALL_KINDS),
            "customer": frozenset(section("customers")),
            "currency": frozenset(section("currencies")),
            "channel": frozenset(section(CHANNELS)),
            "environment": frozenset(name for name in environments if isinstance(name, str)),
        },
        connector_kinds={name: data.get("kind") for name, data in section("connectors").items()},
        team_budgets={name: data.get("default_budget") for name, data in section("teams").items()},
        team_cost_centres={name: data.get("cost_centre") for name, data in section("teams").items()},
    )


def _load_policies(
    files: Mapping[str, str], tenants: frozenset[str] | None, problems: list[Problem]
) -> dict[str | None, tuple[PolicyFile, ...]]:
    """The policy files by tenant; those of all tenants under None."""
    policies: dict[str | None, tuple[PolicyFile, ...]] = {}
    for path, text in sorted(files.items()):
        if path == MAIN_FILE:
            continue
        place = _POLICY_FILE.fullmatch(path)
        if place is None:
            message = "this is not read; policies are policies/NAME.cedar, or policies/TENANT/NAME.cedar"
            problems.append(Problem(file=path, message=message))
            continue
        tenant = place[1]
        if tenant is not None and tenants is not None and tenant not in tenants:
            advice = instead(tenant, tenants, f"there are {listed(sorted(tenants))}")
            problems.append(Problem(file=path, message=f"there is no tenant `{tenant}`; {advice}"))
        if len(text.encode("utf-8", "surrogatepass")) > POLICY_BYTES_MAX:
            message = f"the file is larger than {POLICY_BYTES_MAX // 1024} KiB; split it"
            problems.append(Problem(file=path, message=message))
        policies[tenant] = (*policies.get(tenant, ()), PolicyFile(path=path, text=text))
    return policies
