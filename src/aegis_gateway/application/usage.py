"""What a batch adds to the sums of what was called and spent (`domain/usage.py`).

Rule: it is added up before it is written: a row for each combination that the batch has calls of, and for each span.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from aegis_gateway.application.commands import Admit, OpenRun
from aegis_gateway.application.ports import CallRow, RuleSumRow, SettledRequest, ShadowSumRow, UsageRow
from aegis_gateway.domain.decision import Reason, Shadow
from aegis_gateway.domain.ledger import Evidence, Settlement
from aegis_gateway.domain.money import NANO_USD_MAX
from aegis_gateway.domain.price import OUTPUT_KINDS
from aegis_gateway.domain.quote import TOKENS, USD
from aegis_gateway.domain.rule_name import acting_rule, rule_of
from aegis_gateway.domain.usage import (
    SPANS,
    RuleKey,
    RuleSum,
    S,
    ShadowKey,
    ShadowSum,
    Span,
    UsageKey,
    UsageSum,
    together,
)

K = TypeVar("K", UsageKey, ShadowKey, RuleKey)


class UsageSums:
    """The sums of one batch."""

    def __init__(self) -> None:
        """Start with none."""
        self._sums: dict[tuple[str, int, UsageKey], UsageSum] = {}
        self._requests: dict[tuple[str, int], SettledRequest] = {}
        self._shadow: dict[tuple[str, int, ShadowKey], ShadowSum] = {}
        self._rules: dict[tuple[str, int, RuleKey], RuleSum] = {}

    def decide(self, row: CallRow, command: Admit, reason: Reason | None) -> None:
        """Add a call that was decided; `reason` is why it was not let through."""
        code = rule = ""
        if reason is not None:
            code, rule = reason.code, rule_of(reason.code, reason.subject, reason.message)
        sums = self._of(row.tenant, row.decided_ns, _key(row, code, rule))
        sums.calls += 1
        asked = command.asked
        if reason is None:
            sums.saved = min(sums.saved + command.attribution.saved_nano_usd, NANO_USD_MAX)
            sums.transactions += asked is not None and bool(asked.get("opens_run"))
        expected = None if command.quote is None else command.quote.expected.get(USD)
        if expected is None:
            sums.unpriced += 1
        else:
            sums.expected = min(sums.expected + expected, NANO_USD_MAX)

    def open_run(self, command: OpenRun, now_ns: int) -> None:
        """Add a run that was opened, if a tree of runs begins with it."""
        if command.claim.root:
            return
        by = command.by
        key = UsageKey(
            agent=by.agent,
            team=by.team,
            project=by.project or "",
            cost_centre=by.cost_centre,
            environment=by.environment,
            connector="",
            tool="",
            model="",
            effect="allow",
        )
        self._of(command.tenant, command.claim.opened_ns or now_ns, key).transactions += 1

    def settle(self, row: CallRow, evidence: Evidence, outcome: Settlement, now_ns: int) -> None:
        """Add what a call came to."""
        sums = self._of(row.tenant, row.decided_ns, _key(row))
        sums.settled_calls += 1
        sums.overruns += outcome.overrun
        sums.cost = min(sums.cost + outcome.cost_nano_usd, NANO_USD_MAX)
        if row.rule is not None:
            of_rule = self._of_rule(row, row.rule, row.reason_code)
            of_rule.cost = min(of_rule.cost + outcome.cost_nano_usd, NANO_USD_MAX)
        tokens = output_tokens = 0
        for line in evidence.lines:
            if line.unit == "token":
                tokens += line.quantity
                output_tokens += line.quantity if line.kind in OUTPUT_KINDS else 0
        sums.tokens = min(sums.tokens + evidence.actual.get(TOKENS, tokens), NANO_USD_MAX)
        sums.output_tokens = min(sums.output_tokens + output_tokens, NANO_USD_MAX)
        if row.request is not None and outcome.cost_nano_usd:
            self._note_request(row, row.request, outcome.cost_nano_usd, now_ns)

    def note_shadow(self, row: CallRow, shadow: tuple[Shadow, ...]) -> None:
        """Add what rules in shadow would have changed about a call."""
        for each in shadow:
            key = ShadowKey(agent=row.agent, team=row.team, rule=each.rule, would=each.would)
            sums = self._shadow.setdefault((row.tenant, _hour_ns(row.decided_ns), key), ShadowSum())
            sums.calls += 1
            sums.maximum = min(sums.maximum + (row.maximum_nano_usd or 0), NANO_USD_MAX)

    def note_rules(self, row: CallRow, reasons: tuple[Reason, ...]) -> None:
        """Add what rules did to a call that was decided, each once."""
        named = ((acting_rule(each.code, each.subject, each.message), each.code) for each in reasons)
        for rule, did in dict.fromkeys(named):
            if rule is not None:
                sums = self._of_rule(row, rule, did)
                sums.calls += 1
                sums.expected = min(sums.expected + (row.expected_nano_usd or 0), NANO_USD_MAX)

    def _note_request(self, row: CallRow, request: int, cost_nano_usd: int, now_ns: int) -> None:
        """Note a request that was settled: one that was so before in this very batch is a repeat, of others the store
        finds out.
        """
        place = (row.tenant, request)
        if place in self._requests:
            sums = self._of(row.tenant, row.decided_ns, _key(row))
            sums.repeats += 1
            sums.repeated = min(sums.repeated + cost_nano_usd, NANO_USD_MAX)
            return
        self._requests[place] = SettledRequest(
            tenant=row.tenant,
            request=request,
            settled_ns=now_ns,
            decided_ns=row.decided_ns,
            key=_key(row),
            cost=cost_nano_usd,
        )

    def requests(self) -> list[SettledRequest]:
        """The requests that were settled, each once."""
        return list(self._requests.values())

    def rows(self) -> list[UsageRow]:
        """What is to be added to the sums of calls, each sum once."""
        return [
            UsageRow(tenant=tenant, span=span, start_ns=start_ns, key=key, sums=sums)
            for (tenant, span, start_ns, key), sums in _by_span(self._sums).items()
        ]

    def shadow_rows(self) -> list[ShadowSumRow]:
        """What is to be added to the sums of findings in shadow, each sum once."""
        return [
            ShadowSumRow(tenant=tenant, span=span, start_ns=start_ns, key=key, sums=sums)
            for (tenant, span, start_ns, key), sums in _by_span(self._shadow).items()
        ]

    def rule_rows(self) -> list[RuleSumRow]:
        """What is to be added to the sums of what rules did, each sum once."""
        return [
            RuleSumRow(tenant=tenant, span=span, start_ns=start_ns, key=key, sums=sums)
            for (tenant, span, start_ns, key), sums in _by_span(self._rules).items()
        ]

    def _of_rule(self, row: CallRow, rule: str, did: str) -> RuleSum:
        key = RuleKey(rule=rule, did=did)
        return self._rules.setdefault((row.tenant, _hour_ns(row.decided_ns), key), RuleSum())

    def _of(self, tenant: str, at_ns: int, key: UsageKey) -> UsageSum:
        return self._sums.setdefault((tenant, _hour_ns(at_ns), key), UsageSum())


def _by_span(hours: Mapping[tuple[str, int, K], S]) -> dict[tuple[str, Span, int, K], S]:
    """Sums of hours, and of the days that they are in: hours of one day may stand in one batch."""
    found: dict[tuple[str, Span, int, K], S] = {}
    for (tenant, hour_ns, key), sums in hours.items():
        for span, length_ns in SPANS.items():
            place = (tenant, span, hour_ns - hour_ns % length_ns, key)
            found[place] = together(found[place], sums) if place in found else sums
    return found


def _hour_ns(at_ns: int) -> int:
    return at_ns - at_ns % SPANS["hour"]


def _key(row: CallRow, code: str = "", rule: str = "") -> UsageKey:
    return UsageKey(
        agent=row.agent,
        team=row.team,
        project=row.project or "",
        cost_centre=row.cost_centre,
        environment=row.environment,
        connector=row.connector,
        tool=row.tool,
        model=row.model or "",
        effect=row.effect,
        code=code,
        rule=rule,
    )
