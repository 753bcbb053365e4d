"""What people do to keys for a while: hold them, revoked or throttled, with a reason; and restore what is held.

Rule 1: it is the same hold that a threshold makes, by a person: checked, recorded and told of in the same way, under a
        new epoch, so it holds for the very next call on every replica.
Rule 2: who restores a key from a threshold has the last word for that passing: it isn't held by it again before the
        threshold is undone, or its window turns. Another threshold may hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from aegis_gateway.application.holding import tell_of_key
from aegis_gateway.application.operators import Act, Caller, Operators
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.hold import BY_HAND, Hold
from aegis_gateway.domain.registry import Key, Throttle


class RestoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was restored, and from what; those of thresholds may still be passed."""

    key: Key
    lifted: tuple[Hold, ...]


class KeyHolds:
    """The use cases, in the name of one caller."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller) -> None:
        """`pepper` is the installation's secret that tokens are hashed under."""
        self._operators = Operators(store, pepper, caller)

    def hold(
        self,
        tenant: str,
        name: str,
        *,
        reason: str,
        owners: Mapping[str, str],
        until_ns: int | None = None,
        throttle: Throttle | None = None,
    ) -> list[Key]:
        """Hold a key, or all keys of an agent, those included that are issued meanwhile; the keys as they then are.

        They are refused, or with a `throttle` let through so often, until a time or until somebody restores them.
        What was held by hand before is held as is said now. `owners` of agents are named in what people are told.

        Raises:
            ConfigurationError: there is no such key or agent, it has no keys, or the time is over.
            NotPermitted: who calls may not.
        """
        with self._act(tenant) as act:
            keys, is_agent = _named(act, tenant, name)
            keys = [key for key in keys if not key.is_over(act.change.now_ns)]
            if not keys:
                raise ConfigurationError(f"`{name}` has no valid key, so there is nothing to hold")
            recording = RegistryRecording(act.change, act.operator.name, raises_epoch=True)
            now_ns = recording.now_ns(tenant)
            hold = Hold(
                rule=BY_HAND,
                scope=name if is_agent else "",
                window="",
                since_ns=now_ns,
                owner="",
                until_ns=until_ns,
                restores=until_ns is not None,
                limit=throttle.limit if throttle is not None else 0,
                period_ns=throttle.period_ns if throttle is not None else 0,
                by=act.operator.name,
                reason=reason,
            )
            if hold.is_over(now_ns):
                raise ConfigurationError("the time until which it shall be held is over; say a later one")
            held = []
            for key in keys:
                others = (each for each in key.holds if (each.rule, each.scope) != (hold.rule, hold.scope))
                made = msgspec.structs.replace(hold, owner=owners.get(key.agent, ""))
                after = msgspec.structs.replace(key, holds=(*others, made))
                act.change.save_key(tenant, after)
                tell_of_key(recording, tenant, after, made, "hold")
                held.append(after)
            return held

    def restore(self, tenant: str, name: str, reason: str = "") -> list[RestoredKey]:
        """Restore a key, or all keys of an agent, from whatever holds them.

        Raises:
            ConfigurationError: there is no such key or agent, or nothing is held.
            NotPermitted: who calls may not.
        """
        with self._act(tenant) as act:
            keys, _ = _named(act, tenant, name)
            recording = RegistryRecording(act.change, act.operator.name, raises_epoch=True)
            now_ns = recording.now_ns(tenant)
            restored = []
            for key in keys:
                lifted = tuple(hold for hold in key.holds if hold.acts and not hold.is_over(now_ns))
                if not lifted:
                    continue
                holds = tuple(
                    msgspec.structs.replace(hold, lifted_ns=now_ns) if hold in lifted else hold
                    for hold in key.holds
                    if not (hold.by and hold in lifted)
                )
                after = msgspec.structs.replace(key, holds=holds)
                act.change.save_key(tenant, after)
                if key.is_over(now_ns):
                    continue  # nothing is restored by it, but keys to come are not held as it was
                for hold in lifted:
                    more = {"because": reason} if reason else {}
                    tell_of_key(recording, tenant, after, hold, "restore", **more)
                restored.append(RestoredKey(key=after, lifted=lifted))
            if not restored:
                raise ConfigurationError(f"nothing holds `{name}`; `aegis key list` shows what is held")
            return restored

    @contextmanager
    def _act(self, tenant: str) -> Iterator[Act]:
        with self._operators.act("keys", [tenant]) as act:
            act.require([tenant])
            yield act


def _named(act: Act, tenant: str, name: str) -> tuple[list[Key], bool]:
    """The keys that a name stands for, a key's or an agent's, and whether it is an agent's."""
    keys = act.change.keys(tenant)
    if name in keys:
        return [keys[name]], False
    found = [key for key in keys.values() if key.agent == name]
    if not found:
        raise ConfigurationError(
            f"there is no key `{name}`, and no agent of that name that has one; `aegis key list` shows them"
        )
    return found, True
