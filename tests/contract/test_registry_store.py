"""The registry on every store."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.application.ports import Store, StoredState, TenantState
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.domain.registry import Agent, Key, Throttle
from tests.ledgers import create_tenants

AGENT = Agent(
    id="bot",
    owner="ann@example.com",
    team="lending",
    cost_centre="CC-1",
    purpose="answers questions",
    environment="production",
    budget="month",
    external_id="ext-1",
    tags={"tier": "🦈"},
)
KEY = Key(id="key_1", agent="bot", hash=bytes(range(32)), hint="aegis_live_…abcd", issued_ns=5)
CONFIG = ConfigVersion(version=1, files={"aegis.yaml": "tenants: {}\n"}, applied_by="ann", applied_ns=7)


def test_what_is_registered_comes_back(store: Store, reader: Store) -> None:
    """Configuration, agents and keys, changed ones as they were changed, each tenant's own."""
    revoked = msgspec.structs.replace(
        KEY, expires_ns=8, revoked_ns=9, throttle=Throttle(limit=1, period_ns=60)
    )
    with store.change(["acme", "zeta"]) as change:
        assert change.latest_config() is None
        change.save_config(CONFIG)
        change.save_config(msgspec.structs.replace(CONFIG, version=2))
        change.save_agent("acme", msgspec.structs.replace(AGENT, purpose="draft"))
        change.save_agent("acme", AGENT)
        change.save_key("acme", KEY)
        change.save_key("acme", revoked)
        change.save_head(msgspec.structs.replace(change.heads["acme"], next_sequence=4, epoch=3, last_ns=2))
        # Under the lock it is all there before it is committed.
        assert msgspec.structs.replace(CONFIG, version=2) == change.latest_config()
        assert ({"bot": AGENT}, {}) == (change.agents("acme"), change.agents("zeta"))
        assert ({"key_1": revoked}, {}) == (change.keys("acme"), change.keys("zeta"))
        assert {} == {
            tenant: state.agents for tenant, state in reader.state().tenants.items() if state.agents
        }
    expected = StoredState(
        config=msgspec.structs.replace(CONFIG, version=2),
        tenants={
            "acme": TenantState(tenant="acme", epoch=3, agents=(AGENT,), keys=(revoked,)),
            "zeta": TenantState(tenant="zeta", epoch=1),
        },
    )
    assert expected == reader.state()
    assert {"acme": 3, "zeta": 1} == reader.epochs()
    with store.lock(["acme"]) as locked:
        head = locked.heads["acme"]
        assert (4, 3, 2) == (head.next_sequence, head.epoch, head.last_ns)


def test_a_tenant_is_made_once(store: Store) -> None:
    """Making it again is refused, and takes back what was done beside it."""

    def make_again() -> None:
        with store.change(["acme"]) as change:
            change.save_agent("acme", AGENT)
            change.create_tenant("acme")

    with pytest.raises(LedgerUnavailable):
        make_again()
    assert () == store.state().tenants["acme"].agents


def test_a_new_tenant_is_held(store: Store) -> None:
    """Whoever makes a tenant has its head at once."""
    with store.change(["new"]) as change:
        assert {} == change.heads
        change.create_tenant("new")
        change.save_agent("new", AGENT)
        assert (1, 1) == (change.heads["new"].next_sequence, change.heads["new"].epoch)
    assert (AGENT,) == store.state().tenants["new"].agents


def test_one_external_id_is_one_agent(store: Store) -> None:
    """Within a tenant; another tenant may have it too."""
    with store.change(["acme", "zeta"]) as change:
        change.save_agent("acme", AGENT)
        change.save_agent("zeta", AGENT)
    with pytest.raises(LedgerUnavailable), store.change(["acme"]) as change:
        change.save_agent("acme", msgspec.structs.replace(AGENT, id="bot2"))
    assert (AGENT,) == store.state().tenants["acme"].agents


def test_agents_need_their_tenant(store: Store) -> None:
    """There is no row of a tenant that doesn't exist."""
    with pytest.raises(LedgerUnavailable), store.change(["nobody"]) as change:
        change.save_agent("nobody", AGENT)
    create_tenants(store, "nobody")
    assert () == store.state().tenants["nobody"].agents
