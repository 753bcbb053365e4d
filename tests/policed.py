"""A gateway whose policies have a past: several versions, signed; calls under them; two tenants."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import Files, Gateway, ask, chat_body, configuration

CHAT = "/v1/chat/completions"
POLICIES = """// Who may do what here.

// Everybody may.
@id("all-may") permit(principal, action, resource);

@id("never")
@reason("this one never may")
forbid(principal == Agent::"barred", action, resource);

@id("short") @effect("cap") @max_output_tokens("50")
forbid(principal, action, resource);

@id("quiet") @mode("shadow")
forbid(principal == Agent::"bot", action, resource);
"""
RULES = """    rules:
      none-dear:
        what: {tool: chat}
        when: {cost.maximum_usd: {above: 1000}}
        effect: deny
        message: nothing that dear
      # the end of the rules
"""
OTHER = """  zeta:
    teams:
      z: {cost_centre: Z, owner: zed@zeta.example, default_budget: zb}
    agents:
      zbot: {team: z, owner: zed@zeta.example, purpose: hidden purpose, environment: test}
    budgets:
      zb: {limit: 77.00, period: daily, owner: zed@zeta.example, deputy: zoe@zeta.example}
"""


def files_of(upstream: str, policies: str = POLICIES, limit: str = "5.00", rules: str = RULES) -> Files:
    """The files, with both tenants."""
    files = configuration(
        upstream,
        budgets={"day": f"limit: {limit}, period: daily"},
        agents=("bot", "barred"),
        policies=policies,
    )
    text = files["aegis.yaml"].replace("    connectors:\n", f"{rules}    connectors:\n", 1)
    return {**files, "aegis.yaml": text + OTHER}


@contextlib.contextmanager
def policed() -> Iterator[Gateway]:
    """Version 1 is without `never` and caps at 80; 2 has all; 3 raises the limit of `day`. Calls under 2 and 3."""
    with UpstreamProcess(apps="provider") as upstream:
        url = upstream.base_url
        first = POLICIES.replace('"50"', '"80"').replace(
            POLICIES[POLICIES.index('@id("never")') : POLICIES.index('@id("short")')], ""
        )
        with Gateway(files_of(url, first)) as gateway:
            gateway.apply(files_of(url))
            for place in range(3):
                ask(gateway, "POST", CHAT, chat_body(f"hi {place} [[tokens=20]]", max_tokens=90))
            for _ in range(2):
                ask(gateway, "POST", CHAT, chat_body("hi"), key=gateway.key("barred"))
            gateway.apply(files_of(url, limit="6.00"))
            ask(gateway, "POST", CHAT, chat_body("later [[tokens=20]]", max_tokens=90))
            yield gateway
