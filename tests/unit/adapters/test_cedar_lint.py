"""Mistakes in policies that Cedar parses: each is told by its line, with what was meant."""

from __future__ import annotations

from datetime import date

import pytest

from aegis_gateway.adapters.catalogue import CataloguePrices
from aegis_gateway.adapters.cedar_lint import lint
from aegis_gateway.configuration.load import load
from aegis_gateway.configuration.packs import pack_files
from aegis_gateway.domain.registry import Registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The example's tenant."""
    return load(pack_files(), CataloguePrices(date(2026, 11, 27))).registries["northbank"]


PAY = 'forbid(principal, action == Action::"payments.create-payment", resource)\nwhen { %s };\n'
CHAT = 'forbid(principal, action == Action::"chat", resource)\nwhen { %s };\n'


def found(registry: Registry, body: str) -> list[str]:
    """What is wrong with one policy that begins on the third line."""
    text = f'// A comment.\n\n@id("it")\n{body}'
    return [
        f"{problem.line}: {problem.message}" for problem in lint({"northbank": registry}, "p.cedar", text)
    ]


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        (
            PAY % 'context.args.amuont.greaterThan(decimal("5000.0"))',
            5,
            "there is no `context.args.amuont` for `payments.create-payment`; did you mean `amount`?",
        ),
        (
            PAY % 'context.args has amuont && context.args.amuont.greaterThan(decimal("5000.0"))',
            5,
            "`context.args` never has `amuont`; did you mean `amount`?",
        ),
        (PAY % "context has arguments", 5, "`context` never has `arguments`; did you mean `args`?"),
        (PAY % "context.args.amount > 5000", 3, "compared as a whole one"),
        (PAY % 'principal.ownr == "ana"', 5, "Agent has no `ownr`; did you mean `owner`?"),
        (PAY % "principal has purpos", 5, "`principal` never has `purpos`; did you mean `purpose`?"),
        (PAY % 'resource.regoin == "us"', 5, "has no `regoin`; did you mean `region`?"),
        (PAY % 'principal in Team::"lendng"', 5, "there is no team `lendng`; did you mean `lending`?"),
        (PAY % 'principal in Teem::"lending"', 5, "there is no type `Teem`; did you mean `Team`?"),
        (
            CHAT % 'resource == Model::"gpt-5-mini"',
            5,
            "there is no model `gpt-5-mini`; did you mean `gpt-4o-mini`?",
        ),
        (
            CHAT % "context.args.max_output_tokens > 10",
            5,
            "may be missing; write `context.args has max_output_tokens",
        ),
        (
            CHAT % 'context.cost.maximum.greaterThan(decimal("1.0"))',
            5,
            "there is no `context.cost.maximum` for `chat`; did you mean `maximum_usd`?",
        ),
        (CHAT % "1 > 2", 3, "a condition of constants alone is always the same"),
        (CHAT % "context.args.stream && 1 == 1", 3, "a condition of constants alone"),
        (CHAT % "false", 3, "a condition of constants alone"),
        (CHAT % "principal.owner == 3", 3, "not compatible"),
        (
            'permit(principal, action == Action::"payments.create-paymnt", resource);',
            4,
            "there is no action `payments.create-paymnt`; did you mean `payments.create-payment`?",
        ),
        (
            'permit(principal, action == Action::"chat", resource == Connector::"payments");',
            3,
            "can never match",
        ),
        (
            'permit(principal in Team::"nobody", action == Action::"chat", resource);',
            4,
            "there is no team `nobody`",
        ),
        (
            '@effect("cap") @max_output_tokens("9")\nforbid(principal, action, resource);',
            3,
            "caps an answer's tokens",
        ),
        (
            '@effect("cap") @max_output_tokens("9")\n'
            'forbid(principal, action == Action::"payments.create-payment", resource);',
            3,
            "`payments.create-payment` has none",
        ),
    ],
)
def test_a_mistake(registry: Registry, body: str, line: int, words: str) -> None:
    """One is told, on its line."""
    told = found(registry, body)
    assert 1 == len(told), told
    assert told[0].startswith(f"{line}: policy `it`: "), told
    assert words in told[0]


@pytest.mark.parametrize(
    "body",
    [
        '@effect("cap") @max_output_tokens("9")\nforbid(principal, action == Action::"chat", resource);',
        PAY % 'context.args.amount.greaterThan(decimal("5000.0"))',
        PAY % 'context.args has amount && context.args.currency == "USD"',
        PAY % 'principal.tags has channel && principal.tags.channel == "web"',
        PAY % 'principal.tags has desk && principal.tags.desk == "imported"',
        PAY % 'resource.tags has data && resource.tags.data == "financial"',
        CHAT % 'context.cost.maximum_usd.greaterThan(decimal("1.0")) && context.environment == "production"',
        CHAT % "context.args has max_output_tokens && context.args.max_output_tokens > 10",
        CHAT % 'resource in Connector::"openai" && principal in Project::"mortgages"',
        'permit(principal == Agent::"imported-tomorrow", action, resource);',
        'permit(principal in Tenant::"northbank", action in [Action::"chat", Action::"web_search"], resource);',
    ],
)
def test_what_is_right(registry: Registry, body: str) -> None:
    """Nothing is told."""
    assert [] == found(registry, body)


def test_policies_that_tenants_share(registry: Registry) -> None:
    """They have to make sense for one of them; what makes sense for none is told once."""
    import msgspec

    other = msgspec.structs.replace(registry, tenant="other", teams={})
    both = {"northbank": registry, "other": other}
    text = '@id("a")\npermit(principal in Team::"%s", action, resource);\n'
    assert [] == lint(both, "p.cedar", text % "lending")
    assert 1 == len(lint(both, "p.cedar", text % "lendng"))


def test_each_policy_on_its_own_line(registry: Registry) -> None:
    """A name that several policies misspell is found in each of them."""
    one = '@id("%s")\n' + PAY % 'context.args.amuont == decimal("1.0")'
    problems = lint({"northbank": registry}, "p.cedar", one % "a" + one % "b")
    assert [3, 6] == [problem.line for problem in problems]
