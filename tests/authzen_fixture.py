"""The fixture of AuthZEN's certification scenario, as agents and tools: subjects are agents, records are connectors of
tools that agents run themselves, `status` and `soft` are arguments; and what else the tests of that door need.
"""

from __future__ import annotations

from typing import Any

from tests.gateways import Answer, Files, Gateway, ask

ALICE = {"type": "agent", "id": "alice"}
BOB = {"type": "agent", "id": "bob"}
RECORD_1 = {"type": "connector", "id": "record-1"}
RECORD_2 = {"type": "connector", "id": "record-2"}
ARCHIVED = {**RECORD_2, "properties": {"status": "archived"}}
READ, WRITE = {"name": "read"}, {"name": "write"}

_PERSON = "team: desk, owner: ana@acme.example, purpose: test, environment: test"
_RECORD = """\
      {name}:
        kind: local
        operations:
          read:
            arguments: {{status: {{type: string, from: args.status, required: false}}}}
            price: {{per_call: 0.10}}
          write:
            arguments: {{status: {{type: string, from: args.status, required: false}}}}
            price: {{per_call: 0.10}}
          delete:
            arguments: {{soft: {{type: boolean, from: args.soft}}}}
            price: {{per_call: 0.10}}
"""
_YAML = """\
version: 1
tenants:
  acme:
    teams:
      desk: {{cost_centre: CC-1, owner: ana@acme.example, default_budget: day}}
    agents:
      alice: {{{person}, external_id: svc-alice}}
      bob: {{{person}, role: admin}}
      pep: {{{person}, asks_for: all}}
      narrow: {{{person}, asks_for: [alice]}}
    connectors:
      provider: {{kind: openai, base_url: "http://127.0.0.1:9/v1"}}
{records}
      desk:
        kind: local
        operations:
          note:
            arguments: {{text: {{type: string, from: args.text}}}}
            price: {{per_call: 0}}
          crawl:
            arguments: {{pages: {{type: integer, from: args.pages}}}}
            price: {{per_unit: 0.01, unit: page, units: result.pages, max_units: 50}}
    models:
      gpt-4o-mini: {{connector: provider}}
      text-embedding-3-small: {{connector: provider}}
    customers: {{c1: {{name: One}}}}
    budgets:
      day: {{limit: {limit}, period: daily, match: {{tenant: acme}}, owner: ana@acme.example, deputy: ben@acme.example}}
"""
POLICIES = """
@id("read") permit(principal, action in [Action::"record-1.read", Action::"record-2.read"], resource);
@id("write") permit(
  principal == Agent::"alice", action in [Action::"record-1.write", Action::"record-2.write"], resource
) unless { context.args has status && context.args.status == "archived" };
@id("write-archived") permit(
  principal, action in [Action::"record-1.write", Action::"record-2.write"], resource
) when { principal.role == "admin" && context.args has status && context.args.status == "archived" };
@id("delete") permit(
  principal == Agent::"alice", action in [Action::"record-1.delete", Action::"record-2.delete"], resource
) when { context.args.soft };
@id("desk") permit(principal, action, resource == Connector::"desk");
@id("models") permit(principal, action, resource is Model);
@id("no-embedding") @reason("bob embeds nothing")
forbid(principal == Agent::"bob", action == Action::"embed", resource);
"""
REDACT = """
@id("no-numbers") @effect("redact") @kinds("ssn") @in("arguments")
forbid(principal, action == Action::"desk.note", resource);
"""


def files(*, limit: str = "100.00", more_policies: str = "") -> Files:
    """The configuration."""
    records = "".join(_RECORD.format(name=name) for name in ("record-1", "record-2")).rstrip("\n")
    return {
        "aegis.yaml": _YAML.format(person=_PERSON, records=records, limit=limit),
        "policies/all.cedar": POLICIES + more_policies,
    }


def evaluation(
    subject: object = ALICE, action: object = READ, resource: object = RECORD_1, **more: object
) -> dict[str, Any]:
    """A request for one."""
    return {"subject": subject, "action": action, "resource": resource, **more}


def post(
    gateway: Gateway, what: str, body: object, agent: str = "pep", headers: dict[str, str] | None = None
) -> Answer:
    """Send a request to one of the endpoints."""
    return ask(gateway, "POST", f"/access/v1/{what}", body, key=gateway.key(agent), headers=headers)


def decides(gateway: Gateway, body: object, agent: str = "pep") -> bool:
    """What an evaluation comes to."""
    answer = post(gateway, "evaluation", body, agent)
    assert 200 == answer.status, answer.body
    return bool(answer.json["decision"])
