from __future__ import annotations

import itertools

import msgspec
import pytest

from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.judge import Evaluation, Policy, PolicyFault, PolicyRequest, judge
from aegis_gateway.domain.redaction import Redaction, Redactions

REQUEST = PolicyRequest(agent="bot", action="chat", resource_type="Model", resource="m", context={})

MAY = Policy(id="may", effect="permit", reason="desks may chat")
MAY_TOO = Policy(id="may-too", effect="permit")
NEVER = Policy(id="never", effect="deny", reason="not on Sundays")
NOR = Policy(id="nor", effect="deny")
ERRS = PolicyFault(policy="errs", message="`amount` is missing")


class Answers:
    """Policies whose evaluation is given."""

    version = "v1"

    def __init__(self, *matched: Policy, faults: tuple[PolicyFault, ...] = ()) -> None:
        self._evaluation = Evaluation(matched=matched, faults=faults)

    def evaluate(self, _request: PolicyRequest) -> Evaluation:
        """The answer that was given."""
        return self._evaluation


@pytest.mark.parametrize(
    ("policies", "effect", "code", "subjects"),
    [
        (Answers(), "deny", "no_permit", ["chat"]),
        (Answers(MAY), "allow", "permitted", ["may"]),
        (Answers(MAY, MAY_TOO), "allow", "permitted", ["may", "may-too"]),
        (Answers(NEVER), "deny", "denied_by_policy", ["never"]),
        (Answers(MAY, NEVER), "deny", "denied_by_policy", ["never"]),
        (Answers(MAY, NEVER, NOR), "deny", "denied_by_policy", ["never", "nor"]),
        (Answers(faults=(ERRS,)), "deny", "policy_error", ["errs"]),
        (Answers(MAY, faults=(ERRS,)), "deny", "policy_error", ["errs"]),
        (Answers(MAY, NEVER, faults=(ERRS,)), "deny", "policy_error", ["errs"]),
    ],
)
def test_the_order_of_combination(policies: Answers, effect: str, code: str, subjects: list[str]) -> None:
    """An error refuses before a denial, a denial before a permit, and without a permit there is none."""
    verdict = judge(REQUEST, policies)
    assert effect == verdict.effect
    assert (effect == "allow") == verdict.permits
    assert [(code, subject) for subject in subjects] == [
        (each.code, each.subject) for each in verdict.reasons
    ]


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (Answers(), "no policy permits agent `bot` to do `chat` on model `m`"),
        (Answers(MAY), "desks may chat"),
        (Answers(MAY_TOO), "policy `may-too` permits this"),
        (Answers(NEVER), "not on Sundays"),
        (Answers(NOR), "policy `nor` denies this"),
        (
            Answers(faults=(ERRS,)),
            "policy `errs` could not be evaluated, and a policy that errs refuses: `amount` is missing",
        ),
    ],
)
def test_the_words_of_a_verdict(policies: Answers, message: str) -> None:
    """A reason says what the policy's author wrote, or else which policy it was."""
    assert message == judge(REQUEST, policies).reasons[0].message


def test_nothing_that_matches_beside_a_denial_or_an_error_lets_a_call_pass() -> None:
    """Of all combinations of matches only those allow that have a permit, no denial and no error."""
    for chosen in itertools.product([False, True], repeat=5):
        everything = (MAY, MAY_TOO, NEVER, NOR)
        matched = tuple(policy for policy, is_in in zip(everything, chosen, strict=False) if is_in)
        faults = (ERRS,) if chosen[4] else ()
        expected = (chosen[0] or chosen[1]) and not any(chosen[2:])
        assert expected == judge(REQUEST, Answers(*matched, faults=faults)).permits


QUIET = Policy(id="quiet", effect="deny", mode="shadow")
LOOSE = Policy(id="loose", effect="permit", mode="shadow")
ODD = PolicyFault(policy="odd", message="`amount` is missing", mode="shadow")


@pytest.mark.parametrize(
    ("policies", "effect", "shadow"),
    [
        (Answers(MAY, QUIET), "allow", [("quiet", "deny")]),
        (Answers(MAY, NEVER, QUIET), "deny", []),  # it was refused anyway
        (Answers(QUIET), "deny", []),
        (Answers(LOOSE), "deny", [("loose", "allow")]),
        (Answers(LOOSE, MAY), "allow", []),  # it was permitted anyway
        (Answers(LOOSE, NEVER), "deny", []),  # a permit would not have helped
        (Answers(LOOSE, QUIET), "deny", [("loose", "allow")]),  # each is judged alone
        (Answers(LOOSE, faults=(ERRS,)), "deny", []),
        (Answers(MAY, faults=(ODD,)), "allow", [("odd", "error")]),
        (Answers(MAY, QUIET, faults=(ODD,)), "allow", [("odd", "error"), ("quiet", "deny")]),
    ],
)
def test_shadow_changes_nothing_and_says_what_it_would(
    policies: Answers, effect: str, shadow: list[tuple[str, str]]
) -> None:
    """A rule in shadow is judged alone beside those that are enforced."""
    verdict = judge(REQUEST, policies)
    assert effect == verdict.effect
    assert shadow == [(each.rule, each.would) for each in verdict.shadow]
    assert not {"quiet", "loose", "odd"} & {reason.subject for reason in verdict.reasons}


SHORT = Policy(id="short", effect="cap", output_tokens_max=100)
SHORTER = Policy(id="shorter", effect="cap", output_tokens_max=50)
TRIED = Policy(id="tried", effect="cap", output_tokens_max=10, mode="shadow")


@pytest.mark.parametrize(
    ("policies", "effect", "most", "subjects"),
    [
        (Answers(MAY, SHORT), "allow", 100, ["may", "short"]),
        (Answers(MAY, SHORT, SHORTER), "allow", 50, ["may", "short", "shorter"]),
        (Answers(SHORT), "deny", None, ["chat"]),  # a cap permits nothing
        (Answers(MAY, NEVER, SHORT), "deny", None, ["never"]),
        (Answers(MAY, TRIED), "allow", None, ["may"]),
    ],
)
def test_the_lowest_cap_holds(policies: Answers, effect: str, most: int | None, subjects: list[str]) -> None:
    """For what is permitted; a cap lets nothing through by itself."""
    verdict = judge(REQUEST, policies)
    assert (effect, most) == (verdict.effect, verdict.output_tokens_max)
    assert subjects == [reason.subject for reason in verdict.reasons]


def test_a_cap_in_shadow() -> None:
    """It is told of with its tokens."""
    (found,) = judge(REQUEST, Answers(MAY, TRIED)).shadow
    assert ("tried", "cap", 10) == (found.rule, found.would, found.output_tokens_max)


TO_MINI = Policy(id="to-mini", effect="downgrade", model="mini")
MINI_TOO = Policy(id="mini-too", effect="downgrade", model="mini")
TO_NANO = Policy(id="to-nano", effect="downgrade", model="nano")
MAYBE = Policy(id="maybe", effect="downgrade", model="mini", mode="shadow")


def test_downgrades() -> None:
    """One model is asked for, by however many; two refuse; none permits by itself."""
    verdict = judge(REQUEST, Answers(MAY, MINI_TOO, TO_MINI))
    assert ("allow", "mini") == (verdict.effect, verdict.model)
    assert ["may", "mini-too", "to-mini"] == [reason.subject for reason in verdict.reasons]
    conflict = judge(REQUEST, Answers(MAY, TO_MINI, TO_NANO))
    assert ("deny", "obligation_unfulfilled") == (conflict.effect, conflict.reasons[0].code)
    assert "no_permit" == judge(REQUEST, Answers(TO_MINI)).reasons[0].code
    (found,) = judge(REQUEST, Answers(MAY, MAYBE)).shadow
    assert ("maybe", "downgrade") == (found.rule, found.would)
    assert () == judge(REQUEST, Answers(MAY, MAYBE, TO_MINI)).shadow


ASK = Policy(id="ask", effect="require_approval", reason="a person has to agree")
ASK_TOO = Policy(id="ask-too", effect="require_approval")
ASKED = Policy(id="asked", effect="require_approval", mode="shadow")
PACE = Policy(id="pace", effect="throttle", limit=5, period_ns=10**9)
TRIED_PACE = Policy(id="tried-pace", effect="throttle", limit=1, period_ns=10**9, per="team", mode="shadow")
CHEAP = Policy(id="cheap", effect="cap", cost_max_nano_usd=500)
CHEAPER = Policy(id="cheaper", effect="cap", cost_max_nano_usd=400, output_tokens_max=70)


def test_asking() -> None:
    """What is permitted and asked about is still permitted, by those who are asked; a denial is not asked about."""
    verdict = judge(REQUEST, Answers(MAY, ASK, ASK_TOO))
    assert verdict.permits
    assert [
        ("approval_required", "ask", "a person has to agree"),
        ("approval_required", "ask-too", "policy `ask-too` wants a person to agree to this"),
    ] == [(each.code, each.subject, each.message) for each in verdict.asks]
    assert ("deny", ()) == (judge(REQUEST, Answers(ASK)).effect, judge(REQUEST, Answers(ASK)).asks)
    assert () == judge(REQUEST, Answers(MAY, NEVER, ASK)).asks


def test_asking_in_shadow() -> None:
    """It is told of where nobody is asked anyway."""
    (found,) = judge(REQUEST, Answers(MAY, ASKED)).shadow
    assert ("asked", "require_approval") == (found.rule, found.would)
    assert () == judge(REQUEST, Answers(MAY, ASK, ASKED)).shadow
    assert () == judge(REQUEST, Answers(NEVER, ASKED)).shadow


def test_throttles() -> None:
    """All of them hold, for what is permitted; those in shadow are no reason of the decision."""
    verdict = judge(REQUEST, Answers(MAY, PACE, TRIED_PACE))
    assert [("pace", 5, "agent", "enforce"), ("tried-pace", 1, "team", "shadow")] == [
        (each.policy, each.limit, each.per, each.mode) for each in verdict.throttles
    ]
    assert ["may", "pace"] == [reason.subject for reason in verdict.reasons]
    assert "policy `pace` lets 5 such calls through in 1s" == verdict.reasons[1].message
    assert () == judge(REQUEST, Answers(PACE)).throttles


def test_the_lowest_of_each_cap_holds() -> None:
    """Tokens and dollars are capped each by the lowest that anyone says."""
    verdict = judge(REQUEST, Answers(MAY, CHEAP, CHEAPER, SHORT))
    assert (400, 70) == (verdict.cost_max_nano_usd, verdict.output_tokens_max)
    assert "policy `cheaper` caps the answer at 70 tokens and the cost at $0.0000004" == (
        verdict.reasons[2].message
    )


def redact(name: str, *kinds: str, **rest: object) -> Policy:
    """A policy that redacts some kinds."""
    return msgspec.convert({"id": name, "effect": "redact", "kinds": kinds, **rest}, Policy)


def test_what_any_policy_redacts_is_redacted() -> None:
    """The union on each side, with a reason for each; nothing permits by redacting, and a denial's record is too."""
    both = redact("a", "ssn", "dob")
    one = redact("b", "ssn", "email", fields=("x",), sides=("response",))
    verdict = judge(REQUEST, Answers(both, one, MAY))
    assert Redaction(kinds=("dob", "ssn")) == verdict.redactions.arguments
    assert Redaction(kinds=("dob", "email", "ssn"), fields=("x",)) == verdict.redactions.response
    assert ["may", "a", "b"] == [reason.subject for reason in verdict.reasons]
    assert "policy `b` redacts ssn, email, `x` in the response" == verdict.reasons[-1].message
    assert "no_permit" == judge(REQUEST, Answers(both)).reasons[0].code
    denied = judge(REQUEST, Answers(both, NEVER, MAY))
    assert ("deny", ("dob", "ssn")) == (denied.effect, denied.redactions.arguments.kinds)


def test_redacting_in_shadow() -> None:
    """It takes nothing out, and says what it would look for; not of calls that are refused anyway."""
    quiet = redact("q", "ssn", mode="shadow")
    verdict = judge(REQUEST, Answers(MAY, quiet))
    assert not verdict.redactions
    taken = Redaction(kinds=("ssn",))
    assert (
        Shadow(rule="q", would="redact", redactions=Redactions(arguments=taken, response=taken)),
    ) == verdict.shadow
    assert () == judge(REQUEST, Answers(MAY, NEVER, quiet)).shadow
