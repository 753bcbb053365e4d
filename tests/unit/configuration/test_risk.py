"""What changes of a configuration widen and narrow."""

from __future__ import annotations

import pytest

from aegis_gateway import bootstrap
from aegis_gateway.application.ports import StoredState, TenantState
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.registry import Agent, Key
from aegis_gateway.domain.risk import Appraisal

DOCUMENT = """\
version: 1
tenants:
  bank:
    changes: {four_eyes: true}
    regions: [eu]
    channels:
      ops: {kind: slack, token: "env:SLACK", channel: C012, users: {U012AB3CD: ann}, network: private}
      mail: {kind: email, smtp: "smtp://mail.example.com", from: a@example.com, to: [ops@example.com]}
    notify: [{what: [incident, approval_requested], to: [ops, mail]}, {budgets: [day], to: [mail]}]
    currencies: {EUR: {2020-01-01: 1.10}, GBP: {2020-01-01: 1.30}}
    teams:
      desk: {cost_centre: CC-1, owner: ann@example.com}
      other: {cost_centre: CC-2, owner: ann@example.com}
    customers: {acme: {}}
    agents:
      bot: {owner: ann, team: desk, cost_centre: CC-9, purpose: asks, environment: production, budget: day}
    connectors:
      api: {kind: openai, base_url: "https://api.example.com/v1", credential: "env:KEY", timeout_seconds: 60}
      pay:
        kind: http
        base_url: https://pay.example.com
        network: private
        operations:
          send:
            method: POST
            path: /payments
            arguments: {amount: {type: number, from: body.amount}}
            price: {per_call: 0.25}
      tools:
        kind: mcp
        command: [some-server]
        env: {TOKEN: "env:TOKEN"}
        operations: {find: {price: {per_call: 0}}}
    models:
      small:
        connector: api
        max_output_tokens: 1000
        default_output_tokens: 200
        price: {input_per_million: 0.15, output_per_million: 0.60}
    budgets:
      day: {owner: ann, deputy: ben, limit: 5.00, period: daily, match: {team: desk}}
      watch: {owner: ann, deputy: ben, limit: 5.00, period: daily, match: {team: desk}, mode: shadow}
      euros: {owner: ann, deputy: ben, limit: 5, period: monthly, match: {team: desk}, currency: EUR,
              carry_over: {most: 2, expires: 7d}}
      steps: {owner: ann, deputy: ben, limit: 5.00, period: daily, match: {team: desk}, thresholds: [
        {at: 50%, do: [notify]}, {at: 80%, do: [throttle: {limit: 2, every: 1m}], grace: {time: 1m}}]}
      runs: {owner: ann, deputy: ben, limit: 1.00, period: daily, per: [run], max_instances: 10}
    rates:
      pace: {limit: 5, every: 1s, burst: 10, delay: 2s}
"""
POLICY = """\
@id("all") permit(principal, action, resource);
@id("big") @reason("too much") forbid(principal, action == Action::"pay.send", resource)
when { context.args.amount.greaterThan(decimal("5000.0")) };
@id("cap") @effect("cap") @max_output_tokens("500") forbid(principal, action == Action::"chat", resource);
@id("quiet") @mode("shadow") forbid(principal, action, resource);
"""
NEW_AGENT = "      new: {owner: ann, team: desk, purpose: asks, environment: test, budget: day}\n"
NEW_BUDGET = "      more: {owner: ann, deputy: ben, limit: 1, period: daily, match: {team: desk}}\n"
NEW_MODEL = "      large: {connector: api, price: {input_per_million: 1, output_per_million: 1}}\n"
NOTHING = StoredState(config=None, tenants={})


def state(*agents: Agent, keys: tuple[str, ...] = ()) -> StoredState:
    """A store with a version in force, imported agents and agents' keys."""
    stored = TenantState(
        tenant="bank",
        epoch=1,
        agents=agents,
        keys=tuple(Key(id=f"key_{agent}", agent=agent, hash=b"", hint="", issued_ns=1) for agent in keys),
    )
    config = ConfigVersion(version=7, files={}, applied_by="ann", applied_ns=1)
    return StoredState(config=config, tenants={"bank": stored})


def appraised(
    *edits: tuple[str, str], policy: tuple[str, str] = ("", ""), stored: StoredState | None = None
) -> Appraisal:
    """What edits of the files do."""
    text, cedar = DOCUMENT, POLICY.replace(*policy) if policy[0] else POLICY + policy[1]
    for right, other in edits:
        assert right in text
        text = text.replace(right, other, 1)
    old = bootstrap.configuration({"aegis.yaml": DOCUMENT, "policies/a.cedar": POLICY})
    new = bootstrap.configuration({"aegis.yaml": text, "policies/a.cedar": cedar})
    return bootstrap.appraisal(old, new, stored or state())


def told(appraisal: Appraisal) -> list[str]:
    """The findings, in words."""
    return [f"{finding.direction}: {finding}" for finding in appraisal.risk.findings]


@pytest.mark.parametrize(
    ("right", "other", "expected"),
    [
        ("limit: 5.00", "limit: 5.01", "widening: budget day: limit is higher"),
        ("currency: EUR", "currency: GBP", "widening: budget euros: currency is another; how far can't be told"),
        ("most: 2,", "most: 3,", "widening: budget euros: carry over takes more over"),
        ("most: 2,", "most: 1,", "narrowing: budget euros: carry over takes less over, or for a shorter time"),
        ("most: 2, expires: 7d", "most: 2", "widening: budget euros: carry over lasts longer"),
        ("expires: 7d", "expires: 6d",
         "narrowing: budget euros: carry over takes less over, or for a shorter time"),
        (", currency: EUR,\n              carry_over: {most: 2, expires: 7d}}", ", currency: EUR}",
         "narrowing: budget euros: carry over is off"),
        ("limit: 5.00", "limit: 4.99", "narrowing: budget day: limit is lower"),
        ("period: daily", "period: hourly", "widening: budget day: period is another; how far can't be told"),
        ("match: {team: desk}}", "match: {team: other}}",
         "widening: budget day: match is another; how far can't be told"),
        ("match: {team: desk}}", "match: {team: desk}, kind: soft}", "widening: budget day: hard is off"),
        ("match: {team: desk}}", "match: {team: desk}, mode: shadow}", "widening: budget day: is put in shadow"),
        (", mode: shadow}", "}", "narrowing: budget watch: is no longer in shadow"),
        ("period: daily, match: {team: desk}, mode", "period: weekly, match: {team: desk}, mode",
         "neutral: budget watch: is in shadow, and changes nothing"),
        ("owner: ann, deputy: ben", "owner: ann, deputy: cy",
         "widening: budget day: deputy is another, who answers for it"),
        ("day: {owner: ann, deputy: ben", "day: {owner: cy, deputy: ben",
         "widening: budget day: owner is another, who answers for it"),
        ("limit: 5.00", "within: watch, limit: 5.00", "narrowing: budget day: within is new"),
        ("limit: 5.00", "adapts: {every: daily, floor: 1, ceiling: 9}, limit: 5.00",
         "neutral: budget day: adapts proposes, and changes nothing by itself"),
        ("limit: 5.00", "adapts: {every: daily, floor: 1, ceiling: 9, applies: automatic}, limit: 5.00",
         "widening: budget day: adapts may raise the limit by itself"),
        ("max_instances: 10", "max_instances: 11", "widening: budget runs: instances max is higher"),
        (", max_instances: 10", "", "widening: budget runs: instances max is gone"),
        ("{at: 50%, do: [notify]}, ", "", "widening: budget steps: thresholds at 50 nobody is told any more"),
        ("do: [notify]}", "do: [notify, incident]}", "neutral: budget steps: thresholds tell otherwise"),
        ("{at: 50%, do: [notify]}", "{at: 60%, do: [notify]}",
         "widening: budget steps: thresholds at 50 nobody is told any more"),
        ("{at: 50%, do: [notify]}", "{at: 50%, do: [block]}", "narrowing: budget steps: thresholds hold more"),
        ("at: 80%", "at: 90%",
         "widening: budget steps: thresholds at 80 there is no throttle any more"),
        ("limit: 2, every: 1m", "limit: 2, every: 30s",
         "widening: budget steps: thresholds at 80 throttle lets more through"),
        ("limit: 2, every: 1m", "limit: 1, every: 1m", "narrowing: budget steps: thresholds hold more"),
        ("time: 1m", "time: 2m", "widening: budget steps: thresholds at 80 the grace is another"),
        ("grace: {time: 1m}", "waits_for_word: true, grace: {time: 1m}",
         "widening: budget steps: thresholds at 80 somebody's word is waited for"),
        ("      runs: {owner: ann, deputy: ben, limit: 1.00, period: daily, per: [run], max_instances: 10}\n", "",
         "widening: budget runs: is gone"),
        ("    rates:\n", f"{NEW_BUDGET}    rates:\n",
         "narrowing: budget more: is new"),
        ("limit: 5, every: 1s", "limit: 5, every: 2s", "narrowing: rate pace: pace is lower"),
        ("limit: 5, every: 1s", "limit: 10, every: 1500ms", "widening: rate pace: pace is higher"),
        ("burst: 10", "burst: 11", "widening: rate pace: burst is higher"),
        ("delay: 2s", "delay: 3s", "widening: rate pace: delay ns is higher"),
        ("delay: 2s", "mode: shadow", "widening: rate pace: is put in shadow"),
        ("    rates:\n      pace: {limit: 5, every: 1s, burst: 10, delay: 2s}\n", "", "widening: rate pace: is gone"),
        ("com\n        network: private", "com\n        network: public",
         "narrowing: connector pay: network is the public one"),
        ("env:KEY", "env:OTHER", "widening: connector api: credential is another; how far can't be told"),
        ("https://api.example.com", "https://api.example.org",
         "widening: connector api: base url is another; how far can't be told"),
        ("[some-server]", "[other-server]",
         "widening: connector tools: command is another; how far can't be told"),
        ("env:TOKEN", "env:OTHER", "widening: connector tools: variables is another; how far can't be told"),
        ("[some-server]\n", "[some-server]\n        other_tools: {price: {per_call: 0}}\n",
         "widening: operation tools.?: is new, and may be called"),
        ("find: {price", "find: {tool: findIt, price",
         "widening: operation tools.find: tool is another; how far can't be told"),
        ("timeout_seconds: 60", "timeout_seconds: 61", "neutral: connector api: deadlines is another"),
        ("per_call: 0.25", "per_call: 0.30", "narrowing: operation pay.send: price is higher"),
        ("per_call: 0.25", "per_call: 0.20",
         "widening: operation pay.send: price is another, so budgets may bear more calls"),
        ("path: /payments", "path: /transfers",
         "widening: operation pay.send: path is another; how far can't be told"),
        ("max_output_tokens: 1000", "max_output_tokens: 1001", "widening: model small: max output tokens is higher"),
        ("max_output_tokens: 1000", "max_output_tokens: 999", "narrowing: model small: max output tokens is lower"),
        ("input_per_million: 0.15", "input_per_million: 0.16", "narrowing: model small: price is higher"),
        ("input_per_million: 0.15", "input_per_million: 0.14",
         "widening: model small: price is another, so budgets may bear more calls"),
        ("    models:\n", f"    models:\n{NEW_MODEL}",
         "widening: model large: is new, and may be called"),
        ("    models:\n", "      more: {kind: http, base_url: 'https://x.example.com'}\n    models:\n",
         "widening: connector more: is new, and leads out"),
        ("    connectors:\n", f"{NEW_AGENT}    connectors:\n",
         "neutral: agent new: is new"),
        ("team: desk, cost", "team: other, cost", "widening: agent bot: team is another; how far can't be told"),
        ("budget: day", "budget: runs", "widening: agent bot: budget is another; how far can't be told"),
        ("purpose: asks", "purpose: pays", "widening: agent bot: purpose is another; how far can't be told"),
        ("four_eyes: true", "four_eyes: false", "widening: tenant bank: four eyes is off"),
        ("regions: [eu]", "regions: [eu, us]", "widening: tenant bank: regions is another; how far can't be told"),
        ("regions: [eu]", "name: The Bank\n    regions: [eu]", "neutral: tenant bank: name is another"),
        ("regions: [eu]", "proxy: {}\n    regions: [eu]", "widening: tenant bank: proxy is on"),
        ("customers: {acme: {}}", "customers: {acme: {}, zeta: {}}", "neutral: customer zeta: is new"),
        ("[ops@example.com]", "[eve@example.com]",
         "widening: channel mail: recipients is another; how far can't be told"),
        ("channel: C012", "channel: C999", "widening: channel ops: place is another; how far can't be told"),
        ("{U012AB3CD: ann}", "{U012AB3CD: ann, U0EVE: ann}",
         "widening: channel ops: users is another; how far can't be told"),
        ("env:SLACK", "env:OTHER", "widening: channel ops: credential is another; how far can't be told"),
        ("smtp://mail.example.com", "smtp://mail.example.org",
         "widening: channel mail: address is another; how far can't be told"),
        ("from: a@", "from: b@", "neutral: channel mail: sender is another"),
        ("ann}, network: private", "ann}", "narrowing: channel ops: network is the public one"),
        ("    notify:", "      hook: {kind: teams, webhook: 'env:HOOK'}\n    notify:",
         "widening: channel hook: is new, and leads out"),
        ("what: [incident, approval_requested]", "what: [incident]",
         "widening: tenant bank: notify tells `ops` of less"),
        ("to: [ops, mail]", "to: [ops]", "widening: tenant bank: notify tells `mail` of less"),
        ("what: [incident, approval_requested], to", "teams: [desk], to",
         "widening: tenant bank: notify tells `ops` of less"),
        ("{budgets: [day], to", "{budgets: [watch], to", "widening: tenant bank: notify tells `mail` of less"),
        ("{budgets: [day], to", "{budgets: [day, watch], to",
         "neutral: tenant bank: notify tells more, or the same"),
        ("what: [incident, approval_requested], to", "to", "neutral: tenant bank: notify tells more, or the same"),
        ("cost_centre: CC-2", "cost_centre: CC-3",
         "widening: team other: cost centre is another; how far can't be told"),
    ],
)  # fmt: skip
def test_a_setting(right: str, other: str, expected: str) -> None:
    """Each way that a setting can go, with its reason; what no table knows counts as widening."""
    assert [expected] == told(appraised((right, other)))


@pytest.mark.parametrize(
    ("right", "other", "expected"),
    [
        ("", '@id("new") permit(principal, action, resource);', ["widening: policy new: is new, and permits"]),
        ("", '@id("new") forbid(principal, action, resource);', ["narrowing: policy new: is new"]),
        ("", '@id("new") @mode("shadow") permit(principal, action, resource);',
         ["neutral: policy new: is in shadow, and changes nothing"]),
        ('@id("all") permit(principal, action, resource);\n', "", ["narrowing: policy all: is gone, and permitted"]),
        ('@id("all") permit', '@id("all") forbid', ["narrowing: policy all: denies what it permitted"]),
        ('@id("all") permit', '@id("all") @mode("shadow") permit',
         ["narrowing: policy all: is put in shadow, and permitted"]),
        ('permit(principal, action, resource)', 'permit(principal, action == Action::"chat", resource)',
         ["widening: policy all: is about other calls; how far can't be told"]),
        ('@id("big") @reason', '@id("big") @mode("shadow") @reason', ["widening: policy big: is put in shadow"]),
        ('@reason("too much")', '@reason("far too much")', ["neutral: policy big: reason is another"]),
        ('"5000.0"', '"4000.0"', ["widening: policy big: is about other calls; how far can't be told"]),
        ('@reason("too much")', '@effect("require_approval")', ["widening: policy big: has another effect"]),
        ('@id("big")', '@id("large")', ["widening: policy big: is gone", "narrowing: policy large: is new"]),
        ('"500"', '"400"', ["narrowing: policy cap: output tokens max is lower"]),
        ('"500"', '"501"', ["widening: policy cap: output tokens max is higher"]),
        ('@mode("shadow") forbid', "forbid", ["narrowing: policy quiet: is no longer in shadow"]),
        ('@id("quiet") @mode("shadow") forbid(principal, action, resource);\n', "",
         ["neutral: policy quiet: is in shadow, and changes nothing"]),
        ("5000.0", "5000.0", []),
        ("\nwhen { ", "\n\n// the bank's own limit\nwhen { ", []),
    ],
)  # fmt: skip
def test_a_policy(right: str, other: str, expected: list[str]) -> None:
    """What is denied less or permitted more; a changed condition can't be told; words decide nothing."""
    assert expected == told(appraised(policy=(right, other)))


def test_a_channel_that_approvers_are_told_by() -> None:
    """To take it away is to take away what it is told, and that disarms, whatever a channel that is gone is itself."""
    ops = '      ops: {kind: slack, token: "env:SLACK", channel: C012, users: {U012AB3CD: ann}, network: private}\n'
    assert ["widening: tenant bank: notify tells `ops` of less", "neutral: channel ops: is gone"] == told(
        appraised((ops, ""), ("to: [ops, mail]", "to: [mail]"))
    )


def test_one_widening_is_enough() -> None:
    """However much narrows beside it."""
    appraisal = appraised(("limit: 5.00", "limit: 4.00"), ("burst: 10", "burst: 11"))
    assert ("widening", ("bank",), ("bank",)) == (
        appraisal.risk.level,
        appraisal.risk.widened,
        appraisal.asking,
    )
    assert ("bank: rate pace: burst is higher",) == appraisal.reasons
    narrower = appraised(("limit: 5.00", "limit: 4.00"))
    assert ("narrowing", (), ("bank",)) == (narrower.risk.level, narrower.asking, narrower.risk.tenants)
    assert "neutral" == appraised().risk.level


def test_the_setting_before_counts() -> None:
    """Four eyes can't be set aside by what sets it aside, nor demanded by what brings it."""
    off = appraised(("four_eyes: true", "four_eyes: false"), ("limit: 5.00", "limit: 9.00"))
    assert ("bank",) == off.asking
    old = bootstrap.configuration(
        {"aegis.yaml": DOCUMENT.replace("four_eyes: true", "four_eyes: false"), "policies/a.cedar": POLICY}
    )
    new = bootstrap.configuration(
        {"aegis.yaml": DOCUMENT.replace("limit: 5.00", "limit: 9.00"), "policies/a.cedar": POLICY}
    )
    on = bootstrap.appraisal(old, new, state())
    assert ((), "widening") == (on.asking, on.risk.level)


def test_a_tenant_that_goes_takes_four_eyes_with_it() -> None:
    """It would come back without; so to take it away wants two people, and one without the setting does not."""
    second = DOCUMENT.replace("  bank:", "  shop:").replace("four_eyes: true", "four_eyes: false")
    both = DOCUMENT + second.split("tenants:\n")[1]
    policies = {"policies/a.cedar": POLICY}
    old = bootstrap.configuration({"aegis.yaml": both, **policies})
    without_bank = bootstrap.configuration({"aegis.yaml": second, **policies})
    without_shop = bootstrap.configuration({"aegis.yaml": DOCUMENT, **policies})
    gone = bootstrap.appraisal(old, without_bank, state())
    assert (["widening: tenant bank: is gone, and four eyes with it"], ("bank",)) == (told(gone), gone.asking)
    assert ["narrowing: tenant shop: is gone"] == told(bootstrap.appraisal(old, without_shop, state()))
    came = bootstrap.appraisal(without_shop, old, state())
    assert (["widening: tenant shop: is new, and nobody could call anything there"], ()) == (
        told(came),
        came.asking,
    )


def test_an_agent_that_is_not_as_new_as_it_looks() -> None:
    """One that was imported, or has keys from before, is changed by standing in the file."""
    edit = ("    connectors:\n", f"{NEW_AGENT}    connectors:\n")
    imported = Agent(
        id="new",
        owner="ann",
        team="other",
        cost_centre="CC-2",
        purpose="asks",
        environment="test",
        budget="day",
    )
    assert [
        "widening: agent new: team is another; how far can't be told",
        "widening: agent new: cost centre is another; how far can't be told",
    ] == told(appraised(edit, stored=state(imported)))
    assert [
        "neutral: agent new: is new",
        "widening: agent new: comes back while it has keys; what they may do now can't be told",
    ] == told(appraised(edit, stored=state(keys=("new",))))


def test_what_was_in_force_can_not_be_loaded() -> None:
    """Then everything may widen, and the new configuration says where two people are needed."""
    new = bootstrap.configuration({"aegis.yaml": DOCUMENT, "policies/a.cedar": POLICY})
    forged = bootstrap.appraisal(None, new, state())
    assert (7, "widening", ("bank",)) == (forged.based_on, forged.risk.level, forged.asking)
    assert Appraisal() == bootstrap.appraisal(None, new, NOTHING)


BOUNDS = "{max_depth: 3, max_agents_per_owner: 5, max_runs_per_owner: 10, owners: {ann: {max_runs: 20}}}"


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        ("", BOUNDS, "narrowing"),
        (BOUNDS, "", "widening"),
        ("", BOUNDS[:-1] + ", mode: shadow}", "neutral"),
        (BOUNDS[:-1] + ", mode: shadow}", BOUNDS, "narrowing"),
        (BOUNDS, BOUNDS[:-1] + ", mode: shadow}", "widening"),
        (BOUNDS, BOUNDS.replace("max_depth: 3", "max_depth: 4"), "widening"),
        (BOUNDS, BOUNDS.replace("max_depth: 3", "max_depth: 2"), "narrowing"),
        (BOUNDS, BOUNDS.replace("max_agents_per_owner: 5, ", ""), "widening"),
        (BOUNDS, BOUNDS.replace("{max_runs: 20}", "{max_runs: 21}"), "widening"),
        (BOUNDS, BOUNDS.replace("ann: {max_runs: 20}", "ben: {max_runs: 20}"), "widening"),
        (BOUNDS, BOUNDS.replace(", owners: {ann: {max_runs: 20}}", ""), "narrowing"),
        (BOUNDS, BOUNDS[:-1] + ", idle: 1m}", "widening"),
        (BOUNDS, BOUNDS[:-1] + ", idle: 1h}", "narrowing"),
    ],
)
def test_bounds_of_owners(old: str, new: str, level: str) -> None:
    """One that bears more anywhere widens; in shadow they don't act."""

    def loaded(bounds: str) -> str:
        line = f"    replication: {bounds}\n" if bounds else ""
        return DOCUMENT.replace("    regions: [eu]\n", f"    regions: [eu]\n{line}")

    configurations = [
        bootstrap.configuration({"aegis.yaml": loaded(each), "policies/all.cedar": POLICY})
        for each in (old, new)
    ]
    found = bootstrap.appraisal(configurations[0], configurations[1], state())
    assert level == found.risk.level


@pytest.mark.parametrize(
    ("right", "other", "expected"),
    [
        ("ceiling: 9", "ceiling: 8", "narrowing: budget day: adapts raises the limit less"),
        ("ceiling: 9", "ceiling: 10", "widening: budget day: adapts may raise the limit by more"),
        ("floor: 1", "floor: 2", "widening: budget day: adapts may raise the limit by more"),
        ("k: 3", "k: 3.001", "widening: budget day: adapts may raise the limit by more"),
        ("most_change: 20%", "most_change: 10%", "narrowing: budget day: adapts raises the limit less"),
        ("every: daily", "every: weekly", "widening: budget day: adapts may raise the limit by more"),
        (", applies: automatic", "", "neutral: budget day: adapts proposes, and changes nothing by itself"),
        ("within: watch", "within: runs", "widening: budget day: within is another; how far can't be told"),
        ("within: watch, ", "", "widening: budget day: within is gone"),
    ],
)
def test_limits_that_follow_use(right: str, other: str, expected: str) -> None:
    """What a limit may come to without anybody's word, and which budget bounds it."""
    adapts = "{every: daily, floor: 1, ceiling: 9, k: 3, most_change: 20%, applies: automatic}"
    before = DOCUMENT.replace("limit: 5.00", f"within: watch, adapts: {adapts}, limit: 5.00", 1)
    assert right in before
    old, new = (
        bootstrap.configuration({"aegis.yaml": text, "policies/a.cedar": POLICY})
        for text in (before, before.replace(right, other, 1))
    )
    assert [expected] == told(bootstrap.appraisal(old, new, state()))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("{2020-01-01: 1.11}", "widening: budget euros: currency is worth more"),
        ("{2020-01-01: 1.09}", "narrowing: budget euros: currency is worth less"),
        ("{2020-01-01: 1.10, 2026-01-01: 1.2}", "widening: budget euros: currency is worth more"),
        ("{2020-01-01: 1.10, 2026-01-01: 1.0}", "narrowing: budget euros: currency is worth less"),
        ("{2019-01-01: 1.0, 2020-01-01: 1.10}", "widening: budget euros: currency is worth more"),
    ],
)
def test_rates(table: str, expected: str) -> None:
    """A table is told by what a limit in it is worth at each date that it had or has."""
    found = told(appraised(("{EUR: {2020-01-01: 1.10}", f"{{EUR: {table}")))
    assert ["neutral: tenant bank: currencies is another", expected] == found
