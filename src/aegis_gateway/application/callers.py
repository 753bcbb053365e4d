"""Who calls: the agent behind an API key, while it may call.

A key that was seen before is found by a cheap keyed hash; what it is of is what the directory says now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from aegis_gateway.application.directory import Directory, KnownKey, TenantView
from aegis_gateway.application.ports import Clock
from aegis_gateway.application.visibility import reach_of
from aegis_gateway.domain.errors import CallError, KeyFormatError
from aegis_gateway.domain.judge import Reach
from aegis_gateway.domain.keys import OUR_KEYS, check_key, key_hash
from aegis_gateway.domain.registry import Agent, credential_key, stranger


class NotIdentified(CallError):
    """The caller could not be identified; nothing was recorded, there is no tenant to record it for."""

    is_identified = False


class Callers:
    """Who calls, by what is in force as this process has it."""

    def __init__(
        self, directory: Directory, clock: Clock, random_bytes: Callable[[int], bytes], pepper: bytes
    ) -> None:
        """`pepper` is the installation's secret that keys are hashed under."""
        self._directory = directory
        self._clock = clock
        self._pepper = pepper
        self._seen_key = random_bytes(32)

    async def identify(self, key: str | None) -> KnownKey:
        """Tell who calls by an API key.

        Raises:
            NotIdentified: no key, a malformed one, one nobody issued, or one that is no longer valid.
        """
        if not key:
            raise NotIdentified(
                "no API key was given; send `Authorization: Bearer aegis_live_…`, issued by `aegis key issue AGENT`",
                status=401,
            )
        # A key seen before is found by a cheap keyed hash; the expensive one is of the stored form.
        seen = hashlib.blake2b(key.encode(), key=self._seen_key, digest_size=16).digest()
        known = self._directory.copy.seen.get(seen)
        if known is None:
            known = await self._identify_unseen(key)
            if known.key.hash in self._directory.copy.keys:
                self._directory.copy.seen[seen] = known
        return known

    async def valid_caller(self, key: str | None) -> KnownKey:
        """Who calls, by the copy of the moment, if they are still allowed in by it.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        known = await self.identify(key)
        self.valid_agent(known)
        return known

    async def caller(self, key: str | None) -> KnownKey:
        """Who calls, and what the caller's tenant has configured, as of now.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        await self.identify(key)
        await self._directory.refresh_if_changed()
        known = await self.identify(key)
        self.valid_agent(known)
        return known

    async def view(self, key: str | None) -> TenantView:
        """What a caller's tenant has configured, as of now.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        return (await self.caller(key)).view

    def reach_of(self, view: TenantView, agent: Agent) -> Reach:
        """What an agent may call under some arguments, as of now."""
        return reach_of(view, agent, self._clock.now_ns())

    async def _identify_unseen(self, key: str) -> KnownKey:
        try:
            check_key(key)
        except KeyFormatError as fault:
            known = self._with_own_credential(key)
            if known is None:
                raise NotIdentified(str(fault), status=401) from fault
            return known
        digest = key_hash(key, self._pepper)
        known = self._directory.find(digest)
        if known is None:
            await self._directory.refresh_if_changed()
            known = self._directory.find(digest)
        if known is None:
            raise NotIdentified(
                "this API key was never issued here; ask for one: `aegis key issue AGENT`", status=401
            )
        return known

    def _with_own_credential(self, credential: str) -> KnownKey | None:
        """Who brings an upstream's credential: the agent that adopted it, or a stranger where strangers are taken."""
        if credential.startswith(OUR_KEYS):
            return None  # a key of ours that is mistyped is nobody's credential
        digest = key_hash(credential, self._pepper)
        known = self._directory.find(digest)
        view = self._directory.copy.of_strangers
        if known is None and view is not None:
            key = credential_key(digest)
            known = KnownKey(key=key, agent=stranger(key), view=view)
        return known

    def valid_agent(self, known: KnownKey) -> Agent:
        """The agent of a key, if it may call as of now.

        Raises:
            NotIdentified: the key is revoked, held or replaced, or its agent isn't registered any more.
        """
        key = known.key
        if key.revoked_ns is not None:
            raise NotIdentified(
                f"API key `{key.hint}` was revoked; ask its agent's owner for another", status=401
            )
        hold = key.held(self._clock.now_ns())
        if hold is not None:
            raise NotIdentified(f"API key `{key.hint}` is held {hold.words}", status=401)
        if not key.is_valid(self._clock.now_ns()):
            raise NotIdentified(f"API key `{key.hint}` was replaced and its grace time is over", status=401)
        if known.agent is None:
            raise NotIdentified(
                f"agent `{key.agent}` of API key `{key.hint}` is not registered any more; "
                "register it with owner, cost centre and purpose: `aegis agent add`",
                status=403,
            )
        return known.agent
