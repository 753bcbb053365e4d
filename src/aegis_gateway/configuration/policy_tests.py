"""Tests of policies: `policies/tests/*.yaml`, each a call that is made up and the decision that it must meet.

A test names what a call is, never which policy decides it, so it outlives the policies: `aegis test` runs it through
the same reading, pricing and judging as a real call. Budgets and rates are not asked; they depend on what was spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import Field, PlainValidator

from aegis_gateway.configuration import values
from aegis_gateway.configuration.document import AgentId, CustomerId, Entry, ModelId, Text, ToolId
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.references import Known
from aegis_gateway.configuration.words import instead, listed, shown, unfit
from aegis_gateway.configuration.yaml_source import Path, read_yaml
from aegis_gateway.domain.admit import THRESHOLDS
from aegis_gateway.domain.errors import ConfigurationError, Problem
from aegis_gateway.domain.registry import Operation, Registry

Expectation = Literal["allow", "deny", "require_approval", "error"]
EXPECTATIONS: tuple[Expectation, ...] = ("allow", "deny", "require_approval", "error")

APIS = ("chat", "responses", "messages", "gemini", "embeddings")
NOON = datetime(2026, 1, 7, 12)  # noqa: DTZ001 - in whichever zone the tenant is
"""When a test's call is made that says no other time: a Wednesday at noon."""

MODEL_TOOLS = {"chat": ("chat", "responses", "messages", "gemini"), "embed": ("embeddings",)}


def _expectation(value: object) -> str:
    if value == "refuse":
        unfit("is `refuse`; write deny for what policies refuse, error for a call that makes no sense")
    return values.choice(*EXPECTATIONS)(value)


def _at(value: object) -> datetime:
    try:
        if not isinstance(value, str):
            raise ValueError
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None or not 1970 <= instant.year < 2200:
            raise ValueError
    except ValueError:
        unfit(f"is {shown(value)}; write a time in the tenant's own zone, as in 2026-11-28T23:00")
    return instant


def _threshold(value: object) -> int:
    if value not in (0, *THRESHOLDS) or isinstance(value, bool):
        thresholds = listed([str(each) for each in (0, *THRESHOLDS)])
        unfit(f"is {shown(value)}; policies see the last threshold that was passed, one of {thresholds}")
    return value


def _names(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str) or not name:
            unfit(f"is {shown(value)}; write the id of a policy, or a list of such ids")
    return tuple(names)


class TestEntry(Entry):
    """One test as it is written."""

    __test__ = False  # pytest: this is no test of ours

    name: Text = Field(description="what the test is about", examples=["treasury pays up to the ceiling"])
    agent: AgentId = Field(description="who calls", examples=["loan-bot"])
    call: ToolId = Field(description="the tool that is called", examples=["chat"])
    model: ModelId | None = None
    api: Annotated[str, PlainValidator(values.choice(*APIS))] | None = None
    args: dict[str, Any] = Field(default={})
    request: dict[str, Any] = Field(default={})
    at: Annotated[datetime, PlainValidator(_at)] = NOON
    customer: CustomerId | None = None
    depth: Annotated[int, PlainValidator(values.whole(0, 255))] = 0
    utilisation: Annotated[int, PlainValidator(_threshold)] = 0
    expect: Annotated[str, PlainValidator(_expectation)] = Field(
        description="what must be decided", examples=["deny"]
    )
    because: Annotated[tuple[str, ...], PlainValidator(_names)] = ()


class PolicyTest(msgspec.Struct, frozen=True, kw_only=True):
    """One test: whose call of what, and what must be decided; `because` are ids of policies, codes or fields.

    `args` are an operation's arguments by name, `request` fields of a model API's body, `at` is in the tenant's zone,
    `depth` is how many calls deep it is, `utilisation` how much of its budgets is used, in percent.
    """

    file: str
    line: int
    tenant: str
    name: str
    agent: str
    call: str
    model: str | None
    api: str | None
    args: dict[str, Any]
    request: dict[str, Any]
    at: datetime
    customer: str | None
    depth: int
    utilisation: int
    expect: Expectation
    because: tuple[str, ...] = ()


def load_tests(files: Mapping[str, str], registries: Mapping[str, Registry]) -> list[PolicyTest]:
    """The tests in files' texts, given by relative path, in order.

    Raises:
        ConfigurationError: something is wrong with them; `problems` has all of it.
    """
    tests: list[PolicyTest] = []
    found: list[Problem] = []
    for file, text in sorted(files.items()):
        try:
            source = read_yaml(file, text)
        except ConfigurationError as fault:
            found += fault.problems
            continue
        problems = Problems(source)
        data = source.data if isinstance(source.data, dict) else {}
        for name in data:
            if name not in ("tenant", "tests"):
                problems.add((), f"has no setting `{name}`; it may have `tenant` and `tests`", at=(name,))
        entries = data.get("tests")
        if not isinstance(entries, list):
            problems.add((), "has no list of `tests`; write one, as in tests: [{name: …, agent: …, call: …}]")
            entries = []
        registry = _registry(data.get("tenant"), registries, problems)
        if registry is not None:
            known = _known(registry)
            for index, entry_data in enumerate(entries):
                path: Path = ("tests", index)
                entry = problems.check(TestEntry, entry_data, path, known)
                if entry is not None and _fits(entry, registry, path, problems):
                    tests.append(_test(entry, registry.tenant, file, source.line(path)))
        found += problems.found
    if found:
        raise ConfigurationError(problems=tuple(found))
    return tests


def operation_of(registry: Registry, tool: str) -> tuple[str, Operation] | None:
    """The connector's id and the operation that a tool is; None where it is a model's."""
    for connector in registry.connectors.values():
        for operation in connector.operations:
            if f"{connector.id}.{operation.id}" == tool:
                return connector.id, operation
    return None


def _registry(tenant: object, registries: Mapping[str, Registry], problems: Problems) -> Registry | None:
    known = sorted(registries)
    if tenant is None and len(known) == 1:
        return registries[known[0]]
    if tenant is None:
        problems.add((), f"names no tenant, and there are {listed(known)}; write tenant: {known[0]}")
        return None
    if not isinstance(tenant, str) or tenant not in registries:
        advice = instead(tenant, known, f"there are {listed(known)}")
        problems.add(("tenant",), f"is {shown(tenant)}, and there is no such tenant; {advice}")
        return None
    return registries[tenant]


def _known(registry: Registry) -> Known:
    operations = (
        f"{connector.id}.{operation.id}"
        for connector in registry.connectors.values()
        for operation in connector.operations
    )
    return Known(
        tenant=registry.tenant,
        names={
            "agent": frozenset(registry.agents),
            "model": frozenset(registry.models),
            "customer": frozenset(registry.customers),
            "tool": frozenset(MODEL_TOOLS) | frozenset(operations),
        },
        connector_kinds={},
        team_budgets={},
        team_cost_centres={},
    )


def _fits(entry: TestEntry, registry: Registry, path: Path, problems: Problems) -> bool:
    """Whether what a test says of its call fits the tool; what doesn't is told."""
    before = len(problems.found)
    found = operation_of(registry, entry.call)
    if found is None:
        if entry.model is None:
            models = listed(sorted(registry.models))
            problems.add(path, f"has no `model`, and `{entry.call}` needs one; there are {models}")
        if entry.args:
            problems.add((*path, "args"), "are an operation's; write what the model is asked under `request`")
        if entry.api is not None and entry.api not in MODEL_TOOLS[entry.call]:
            apis = listed(MODEL_TOOLS[entry.call])
            problems.add(
                (*path, "api"), f"is `{entry.api}`, which is no way to `{entry.call}`; there are {apis}"
            )
    else:
        names = [argument.name for argument in found[1].arguments]
        for name in entry.args:
            if name not in names:
                advice = instead(name, names, f"`{entry.call}` has {listed(names)}")
                problems.add((*path, "args", name), f"is no argument of `{entry.call}`; {advice}")
        for name in ("model", "api", "request"):
            if getattr(entry, name):
                problems.add(
                    (*path, name), f"is for models, and `{entry.call}` is an operation; leave it out"
                )
    return len(problems.found) == before


def _test(entry: TestEntry, tenant: str, file: str, line: int) -> PolicyTest:
    return PolicyTest(
        file=file,
        line=line,
        tenant=tenant,
        name=entry.name,
        agent=entry.agent,
        call=entry.call,
        model=entry.model,
        api=entry.api,
        args=entry.args,
        request=entry.request,
        at=entry.at,
        customer=entry.customer,
        depth=entry.depth,
        utilisation=entry.utilisation,
        expect=cast(Expectation, entry.expect),
        because=entry.because,
    )


def by_tenant(tests: Iterable[PolicyTest]) -> dict[str, list[PolicyTest]]:
    """Tests by the tenant whose calls they make up, in order."""
    grouped: dict[str, list[PolicyTest]] = {}
    for test in tests:
        grouped.setdefault(test.tenant, []).append(test)
    return grouped
