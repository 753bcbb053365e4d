"""What a notice is about, as far as it says itself and the registry knows."""

from __future__ import annotations

import pytest

from aegis_gateway.application.passing import subject_of
from aegis_gateway.domain.channel import Subject
from aegis_gateway.domain.notice import Notice
from tests.unit.configuration.example_document import loaded

REGISTRY = loaded().registries["northbank"]
ANA, TOM = "ana@northbank.example", "tom@northbank.example"


@pytest.mark.parametrize(
    ("subject", "body", "about"),
    [
        ("budget:lending-day", {}, Subject(budget="lending-day", team="lending", owner=ANA)),
        ("budget:loan-day", {"agent": "loan-bot"},
         Subject(budget="loan-day", agent="loan-bot", team="lending", owner=ANA)),
        ("agent:loan-bot", {}, Subject(agent="loan-bot", team="lending", owner=ANA)),
        ("team:risk", {}, Subject(team="risk", owner=TOM)),
        ("approval:apr_1", {"requester": "loan-bot"}, Subject(agent="loan-bot", team="lending", owner=ANA)),
        ("approval:apr_1", {"requester": "ben", "budget": "loan-day"}, Subject(budget="loan-day", owner=ANA)),
        ("key:key_1", {"agent": "loan-bot", "owner": TOM},
         Subject(agent="loan-bot", team="lending", owner=TOM)),
        ("key:key_1", {"agent": ["odd"], "team": 7}, Subject()),
        ("budget:gone", {"team": "risk"}, Subject(budget="gone", team="risk", owner=TOM)),
        ("odd", {}, Subject()),
    ],
)  # fmt: skip
def test_what_it_is_about(subject: str, body: dict[str, object], about: Subject) -> None:
    """What it says comes first; whose that is, is looked up: the budget's owner, the agent's, the team's."""
    notice = Notice(tenant="northbank", sequence=1, kind="incident", subject=subject, at_ns=1, body=body)
    assert about == subject_of(notice, REGISTRY)
