"""What annotations of policies say, and what is wrong with those that say nothing."""

from __future__ import annotations

import cedarpy
import pytest

from aegis_gateway.adapters.cedar_annotations import annotation_problem, policy_of
from aegis_gateway.domain.judge import Policy


def template(annotations: str, effect: str = "forbid") -> cedarpy.pst.Template:
    """A policy with annotations."""
    text = f'@id("p") {annotations} {effect}(principal, action, resource);'
    (found,) = cedarpy.policies_to_pst(text).static_policies.values()
    return found


@pytest.mark.parametrize(
    ("annotations", "policy"),
    [
        ("", Policy(id="p", effect="deny")),
        ('@reason("no")', Policy(id="p", effect="deny", reason="no")),
        ('@mode("shadow") @effect("deny")', Policy(id="p", effect="deny", mode="shadow")),
        ('@effect("downgrade") @model("mini")', Policy(id="p", effect="downgrade", model="mini")),
        ('@effect("cap") @max_output_tokens("500")', Policy(id="p", effect="cap", output_tokens_max=500)),
        (
            '@effect("cap") @max_cost_usd("0.50") @max_output_tokens("9")',
            Policy(id="p", effect="cap", cost_max_nano_usd=500_000_000, output_tokens_max=9),
        ),
        (
            '@effect("throttle") @limit("5") @every("1s")',
            Policy(id="p", effect="throttle", limit=5, period_ns=10**9, per="agent"),
        ),
        (
            '@effect("throttle") @limit("5") @every("1m") @per("team")',
            Policy(id="p", effect="throttle", limit=5, period_ns=60 * 10**9, per="team"),
        ),
        ('@effect("require_approval")', Policy(id="p", effect="require_approval")),
        (
            '@effect("redact") @kinds("ssn, email") @fields("patient_name")',
            Policy(id="p", effect="redact", kinds=("ssn", "email"), fields=("patient_name",)),
        ),
        (
            '@effect("redact") @fields("a b-c") @in("response")',
            Policy(id="p", effect="redact", fields=("a", "b-c"), sides=("response",)),
        ),
    ],
)
def test_what_annotations_say(annotations: str, policy: Policy) -> None:
    """Effect, words, mode, and what belongs to the effect."""
    written = template(annotations)
    assert None is annotation_problem(written, ())
    assert policy == policy_of(written)


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ('@mode("off")', "there is no mode `off`"),
        ('@effect("refuse")', "there is no effect `refuse`"),
        ('@effect("permit")', "there is no effect `permit`"),
        ('@effect("downgrade")', '@effect("downgrade") needs @model("the-model-to-call-instead") beside it'),
        ('@effect("downgrade") @model("")', "`` is no model"),
        ('@model("mini")', '@model belongs to @effect("downgrade")'),
        ('@effect("cap")', '@effect("cap") needs @max_output_tokens("500") or @max_cost_usd("0.50") beside it'),
        ('@effect("cap") @max_output_tokens("many")', "`many` is no number of tokens"),
        ('@effect("cap") @max_output_tokens("0")', "`0` is no number of tokens"),
        ('@effect("cap") @max_cost_usd("0")', "`0` is no amount of dollars"),
        ('@effect("cap") @max_cost_usd("-1")', "`-1` is no amount of dollars"),
        ('@effect("cap") @max_cost_usd("1e400")', "`1e400` is no amount of dollars"),
        ('@effect("cap") @max_cost_usd("NaN")', "`NaN` is no amount of dollars"),
        ('@effect("cap") @max_cost_usd("0.0000000001")', "is no amount of dollars"),
        ('@effect("throttle") @limit("5")', '@effect("throttle") needs @every("1s") beside it'),
        ('@effect("throttle") @every("1s")', '@effect("throttle") needs @limit("5") beside it'),
        ('@effect("throttle") @limit("5") @every("second")', "`second` is no length of time"),
        (
            '@effect("throttle") @limit("5") @every("1s") @per("world")',
            "`world` is no kind of caller; write @per(\"agent\") (of agent, team, ",
        ),
        ('@effect("redact")', '@effect("redact") needs @kinds("ssn email") or @fields("patient_name") beside it'),
        ('@effect("redact") @kinds("sin")', '`sin` is no list of kinds of values; write @kinds("ssn email") (of ssn'),
        ('@effect("redact") @kinds("")', "`` is no list of kinds of values"),
        ('@effect("redact") @fields("a.b")', "`a.b` is no list of fields' names"),
        ('@effect("redact") @kinds("ssn") @in("header")', '`header` is no part of a call; write @in("arguments")'),
        ('@kinds("ssn")', '@kinds belongs to @effect("redact")'),
        ('@limit("5")', '@limit belongs to @effect("throttle")'),
        ('@effect("require_approval") @limit("5")', '@limit belongs to @effect("throttle")'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_annotations(annotations: str, words: str) -> None:
    """It is told with the policy's name and what to write instead."""
    problem = annotation_problem(template(annotations), ())
    assert problem is not None
    assert problem.startswith("policy `p`: ")
    assert words in problem
