"""The digest of rules in shadow: what they would have done in a period, what speaks against enforcing them, and how
that would be done.

Rule: a message changes nothing, and no link in it does: it names the page and the commands of the way that every change
      of a configuration takes, four eyes included.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aegis_gateway.domain.digest import Digest, name_of
from aegis_gateway.domain.message import FACT_CHARACTERS_MAX, FACTS_MAX, Link, Message
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.shadow_rules import how_to_drop, how_to_enforce, told
from aegis_gateway.domain.window import Window

MOST_OF_IT_PERCENT = 90
_STOPS = ("deny", "throttle", "require_approval", "error")


class ShadowedAgent(msgspec.Struct, frozen=True, kw_only=True):
    """How many of an agent's calls a rule would have changed, of how many that went through."""

    agent: str
    calls: int
    of: int


class ShadowFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule in shadow would have done one way; `agreed` to so many of the calls a person had."""

    rule: str
    kind: str
    would: str
    calls: int
    nano_usd: int
    agents: tuple[ShadowedAgent, ...]
    agreed: int = 0
    examples: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What it would have done."""
        agents = [(each.agent, each.calls) for each in self.agents]
        return told(self.would, self.calls, self.nano_usd, agents, usd_text)

    @property
    def hints(self) -> tuple[str, ...]:
        """What says that it may be wrong to enforce it as it is."""
        return tuple(self._hints())

    def _hints(self) -> Iterator[str]:
        if self.would not in _STOPS:
            return
        if self.would == "error":
            yield "it could not be evaluated: mend it before anything else"
        if self.agreed:
            yield f"a person had agreed to {self.agreed} of them"
        for each in self.agents:
            if each.of and 100 * each.calls >= MOST_OF_IT_PERCENT * each.of:
                yield f"it would stop nearly all that {each.agent} does ({each.calls:,} of {each.of:,} calls)"


class ShadowFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant's rules in shadow would have done in a period: all those `rules`, by what they are, and what was
    found of some.
    """

    tenant: str
    tenant_name: str
    zone: str
    window: Window
    rules: dict[str, str]
    findings: tuple[ShadowFinding, ...] = ()
    missing: tuple[Window, ...] = ()


def shadow_message(digest: Digest, figures: ShadowFigures, pages_url: str) -> Message:
    """The message that figures of rules in shadow make."""
    period = name_of(figures.window, figures.zone)
    count = len(figures.rules)
    rules = "1 rule" if count == 1 else f"{count} rules"
    facts = [("tenant", figures.tenant_name), *_facts(figures)]
    return Message(
        title=f"{figures.tenant_name}, {period}: {rules} in shadow",
        text=_text(figures),
        facts=tuple(facts[:FACTS_MAX]),
        links=(Link(label="See each rule", url=f"{pages_url}/shadow/{figures.tenant}"),) if count else (),
        tenant=figures.tenant,
        at_ns=figures.window.ends_ns,
        data={"digest": digest.id, "period": period, **shadow_record(figures)},
    )


def shadow_record(figures: ShadowFigures) -> dict[str, object]:
    """The same for programs, with what enforcing or dropping each rule takes."""
    built: dict[str, object] = msgspec.to_builtins(figures)
    built["rules"] = {
        rule: {"kind": kind, "enforce": how_to_enforce(rule, kind), "drop": how_to_drop(rule, kind)}
        for rule, kind in figures.rules.items()
    }
    built["findings"] = [
        {**msgspec.to_builtins(each), "words": each.words, "hints": list(each.hints)}
        for each in figures.findings
    ]
    return built


def _text(figures: ShadowFigures) -> str:
    told = ""
    if figures.missing:
        names = [name_of(window, figures.zone) for window in figures.missing]
        told = f"Nobody was there to make the digest of {', '.join(names[:6])}; this is the newest alone. "
    if not figures.rules:
        return f"{told}No rule is in shadow."
    return (
        f"{told}Nothing changes by this message. To enforce or drop a rule, see its page, or change what its line says "
        "in the configuration: aegis plan DIR shows what that does, aegis apply DIR does it, or proposes it where two "
        "people are needed. To go on as it is, do nothing."
    )


def _facts(figures: ShadowFigures) -> Iterator[tuple[str, str]]:
    for rule, kind in figures.rules.items():
        found = [each for each in figures.findings if each.rule == rule]
        words = [f"{each.words}{''.join(f'; {hint}' for hint in each.hints)}" for each in found] or [
            "would have changed nothing"
        ]
        how = f". To enforce: {how_to_enforce(rule, kind)}; to drop: {how_to_drop(rule, kind)}"
        text = "; ".join(words)
        yield rule, f"{text[: FACT_CHARACTERS_MAX - len(how)]}{how}"
