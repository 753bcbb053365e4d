"""Builds the object graph. This package alone knows which adapters stand behind the ports."""

from __future__ import annotations

from aegis_gateway.bootstrap.changes import VerifiedRegistries, approval_outcomes, outcomes_of, watching
from aegis_gateway.bootstrap.configurations import (
    PolicyOrigin,
    compiled_policies,
    configuration,
    lint,
    policy_origins,
    prices_age,
    registries,
    with_stored,
)
from aegis_gateway.bootstrap.directories import (
    DirectoryLoader,
    calls,
    directory,
    replay,
    tenant_view,
    unstored_view,
)
from aegis_gateway.bootstrap.installation import (
    balances,
    check_telemetry,
    ledger_store,
    named_calls,
    observer,
    pepper,
    reading,
    reference_secrets,
    reports,
    sealer,
    signatures,
    store,
    system_clock,
    upstream,
)
from aegis_gateway.bootstrap.risks import appraisal, in_shadow_since, untried_rules

__all__ = [
    "DirectoryLoader",
    "PolicyOrigin",
    "VerifiedRegistries",
    "appraisal",
    "approval_outcomes",
    "balances",
    "calls",
    "check_telemetry",
    "compiled_policies",
    "configuration",
    "directory",
    "in_shadow_since",
    "ledger_store",
    "lint",
    "named_calls",
    "observer",
    "outcomes_of",
    "pepper",
    "policy_origins",
    "prices_age",
    "reading",
    "reference_secrets",
    "registries",
    "replay",
    "reports",
    "sealer",
    "signatures",
    "store",
    "system_clock",
    "tenant_view",
    "unstored_view",
    "untried_rules",
    "upstream",
    "watching",
    "with_stored",
]
