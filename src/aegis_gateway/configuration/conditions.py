"""What stands in a rule's `when`, in Cedar.

Rule 1: values are compared as what they are: the type comes from the tools' declared arguments, never from how a value
        happens to be written.
Rule 2: a condition on what a call may lack does not hold where it is lacking. Only what every call must have is asked
        for directly, and a call that lacks it all the same is refused, as by any policy that errs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.words import instead, listed, shown
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.registry import Argument, ArgumentType, Registry

ORDERED = {
    "above": (">", "greaterThan"),
    "at_least": (">=", "greaterThanOrEqual"),
    "below": ("<", "lessThan"),
    "at_most": ("<=", "lessThanOrEqual"),
}
"""How numbers are compared: in Cedar by a sign if they are whole, by a function if they have decimals."""
OPERATORS = ("equals", "in", "not_in", *ORDERED)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_LONG_MAX = 2**63 - 1
_DECIMAL_PLACES = 4
_DECIMAL_MAX = 9 * 10**14
_ARGUMENT = "args."
_HOURS = re.compile(r"(\d{1,2})-(\d{1,2})")


class Subject(msgspec.Struct, frozen=True):
    """What a condition asks about: its expression, its type, and what must hold before it may be asked."""

    expression: str
    type: ArgumentType
    guard: str = ""


SUBJECTS = {
    "cost.expected_usd": Subject("context.cost.expected_usd", "number"),
    "cost.maximum_usd": Subject("context.cost.maximum_usd", "number"),
    "environment": Subject("context.environment", "string"),
    "customer": Subject("context.customer", "string", "context has customer"),
    "depth": Subject("context.depth", "integer"),
    "budget.utilisation": Subject("context.budget.utilisation", "integer"),
    "in_region": Subject("principal.regions.contains(resource.region)", "boolean"),
    "time.business_hours": Subject("context.time.business_hours", "boolean"),
}
HOURS, DAYS = "time.hours", "time.weekdays"


def condition(
    name: str,
    written: object,
    tools: dict[str, tuple[Argument, ...]],
    registry: Registry,
    path: Path,
    problems: Problems,
) -> str | None:
    """One condition as a Cedar expression; None where something is wrong with it, which is told.

    `tools` are those that the rule is about, with their arguments.
    """
    if name == HOURS:
        return _hours(written, path, problems)
    if name == DAYS:
        return _weekdays(written, path, problems)
    subject = SUBJECTS.get(name)
    if name.startswith(_ARGUMENT):
        subject = _argument(name, tools, path, problems)
    elif subject is None:
        known = [*SUBJECTS, HOURS, DAYS, f"{_ARGUMENT}NAME"]
        problems.add(path, f"is nothing to ask about; {instead(name, known, f'there are {listed(known)}')}")
    if subject is None:
        return None
    tests = list(_tests(subject, written, path, problems))
    if name == "customer":
        _check_customers(written, registry, path, problems)
    return " && ".join([subject.guard] * bool(subject.guard) + tests) if tests else None


def text_literal(value: str) -> str:
    """A text as Cedar writes one, whatever is in it."""
    return '"' + "".join(_escaped(sign) for sign in value) + '"'


def one_of(expression: str, literals: Iterable[str]) -> str:
    """That an expression is one of some values."""
    found = list(literals)
    return (
        f"{expression} == {found[0]}" if len(found) == 1 else f"[{', '.join(found)}].contains({expression})"
    )


def attribute(base: str, name: str, literals: Iterable[str]) -> str:
    """That a record has an attribute, and that it is one of some values."""
    return f"{base} has {text_literal(name)} && {one_of(f'{base}[{text_literal(name)}]', literals)}"


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    return sign if sign.isprintable() else f"\\u{{{ord(sign):x}}}"


def _argument(
    name: str, tools: dict[str, tuple[Argument, ...]], path: Path, problems: Problems
) -> Subject | None:
    """The argument of that name, which must be of one type wherever it is one."""
    wanted = name.removeprefix(_ARGUMENT)
    having = {tool: each for tool, arguments in tools.items() for each in arguments if each.name == wanted}
    if not having:
        names = sorted({each.name for arguments in tools.values() for each in arguments})
        of = f"`{next(iter(tools))}`" if len(tools) == 1 else "any of the rule's tools"
        there = f"there is {listed(names)}" if names else "none has any"
        problems.add(path, f"is no argument of {of}; {instead(wanted, names, there)}")
        return None
    types = {each.type: tool for tool, each in having.items()}
    if len(types) > 1:
        kinds = " and ".join(f"{kind} of `{tool}`" for kind, tool in sorted(types.items()))
        problems.add(path, f"is {kinds}; write a rule for each, naming its `tool`")
        return None
    is_always_there = len(having) == len(tools) and all(each.required for each in having.values())
    guard = "" if is_always_there else f"context.args has {wanted}"
    return Subject(f"context.args.{wanted}", next(iter(types)), guard)


def _tests(subject: Subject, written: object, path: Path, problems: Problems) -> Iterator[str]:
    """The comparisons that a value asks for: `5` and `[5, 6]` are short for `equals: 5` and `in: [5, 6]`."""
    comparisons = written if isinstance(written, dict) else {}
    if not isinstance(written, dict):
        comparisons = {"in" if isinstance(written, list) else "equals": written}
    elif not comparisons:
        problems.add(path, "asks for nothing; compare it, as in {above: 5000}")
    for operator, value in comparisons.items():
        at = (*path, operator) if isinstance(written, dict) else path
        if operator not in OPERATORS:
            there = instead(operator, OPERATORS, f"there are {listed(OPERATORS)}")
            problems.add(at, f"is no way to compare; {there}")
            continue
        if operator in ORDERED and subject.type not in ("integer", "number"):
            problems.add(at, f"compares numbers, and this is a {subject.type}; write equals or in")
            continue
        several = operator in ("in", "not_in")
        wanted = value if several and isinstance(value, list) else [value]
        if not wanted:
            problems.add(at, "is an empty list; name some values")
        literals = [_literal(each, subject.type, at, problems) for each in wanted]
        known = [literal for literal in literals if literal is not None]
        if not known or len(known) < len(literals):
            continue
        if operator in ORDERED:
            sign, function = ORDERED[operator]
            is_whole = subject.type == "integer"
            yield (
                f"{subject.expression} {sign} {known[0]}"
                if is_whole
                else f"{subject.expression}.{function}({known[0]})"
            )
        elif operator == "not_in":
            yield f"!({one_of(subject.expression, known)})"
        else:
            yield one_of(subject.expression, known)


def _literal(value: object, kind: ArgumentType, path: Path, problems: Problems) -> str | None:
    """A value as Cedar writes one of a type; None where it is none, which is told."""
    number = Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None
    if kind == "string" and isinstance(value, str):
        return text_literal(value)
    if kind == "boolean" and isinstance(value, bool):
        return "true" if value else "false"
    if kind == "integer" and number is not None and number == int(number) and abs(number) <= _LONG_MAX:
        return str(int(number))
    if kind == "number" and number is not None:
        return _decimal(number, path, problems)
    words = {
        "string": "a text; put it in quotes",
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number, without quotes",
    }
    problems.add(path, f"is {shown(value)}, and this is compared with {words[kind]}")
    return None


def _decimal(value: Decimal, path: Path, problems: Problems) -> str | None:
    text = f"{value:.{_DECIMAL_PLACES}f}"
    if Decimal(text) != value or abs(value) > _DECIMAL_MAX:
        problems.add(path, f"is {shown(value)}; policies compare numbers of up to four decimals, below 9e14")
        return None
    return f'decimal("{text}")'


def _hours(written: object, path: Path, problems: Problems) -> str | None:
    """Stretches of hours: `9-17` is from 9:00 to 17:00, `22-6` goes over midnight."""
    stretches = []
    for each in written if isinstance(written, list) and written else [written]:
        match = _HOURS.fullmatch(each) if isinstance(each, str) else None
        begin, end = (int(match[1]), int(match[2])) if match else (0, 0)
        if begin == end or begin > 23 or end > 24:
            problems.add(path, f"is {shown(each)}; write from which hour to which, as in 9-17 or 22-6")
            return None
        joined = "&&" if begin < end else "||"
        stretches.append(f"(context.time.hour >= {begin} {joined} context.time.hour < {end})")
    return " || ".join(stretches)


def _weekdays(written: object, path: Path, problems: Problems) -> str | None:
    """Days of the week: `sat`, `[sat, sun]`, `mon-fri`."""
    numbers: list[int] = []
    for each in written if isinstance(written, list) and written else [written]:
        begin, dash, end = each.partition("-") if isinstance(each, str) else ("", "", "")
        end = end if dash else begin
        if begin not in WEEKDAYS or end not in WEEKDAYS:
            problems.add(path, f"is {shown(each)}; write days as in sat, [sat, sun] or mon-fri")
            return None
        first, last = WEEKDAYS.index(begin), WEEKDAYS.index(end)
        numbers += [(first + step) % 7 + 1 for step in range((last - first) % 7 + 1)]
    return one_of("context.time.weekday", map(str, sorted(set(numbers))))


def _check_customers(written: object, registry: Registry, path: Path, problems: Problems) -> None:
    named = [written] if not isinstance(written, dict) else list(written.values())
    for value in named:
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and each not in registry.customers:
                known = registry.customers
                there = f"there is {listed(known)}" if known else "register some under `customers`"
                problems.add(
                    path, f"is `{each}`, and there is no such customer; {instead(each, known, there)}"
                )
