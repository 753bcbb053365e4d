"""Runs: one session of an agent, its calls together. Ids are minted here, and bound to tenant, agent and key.

Rule: an id proves by itself that it was minted here and for whom, so nothing is looked up, and nobody can spend on
another's run.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from aegis_gateway.domain.errors import CallError

_PREFIX = "run_"
_RANDOM_BYTES = 10
_PROOF_BYTES = 8
_LENGTH = len(_PREFIX) + 2 * (_RANDOM_BYTES + _PROOF_BYTES)


class Runs:
    """Mints runs' ids and knows them again."""

    def __init__(self, pepper: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """`pepper` is the installation's secret; runs are known by all gateways that have it."""
        self._secret = hmac.digest(pepper, b"runs", "sha256")
        self._random_bytes = random_bytes

    def mint(self, tenant: str, agent: str, key: str) -> str:
        """The id of a new run of an agent, under one of its keys."""
        number = self._random_bytes(_RANDOM_BYTES).hex()
        return f"{_PREFIX}{number}{self._proof(number, tenant, agent, key)}"

    def check(self, run: str, tenant: str, agent: str, key: str) -> None:
        """Make sure that a run is this agent's, under this key.

        Raises:
            CallError: it is not.
        """
        number = run[len(_PREFIX) : len(_PREFIX) + 2 * _RANDOM_BYTES]
        proof = self._proof(number, tenant, agent, key)
        if len(run) != _LENGTH or not hmac.compare_digest(run.encode(), f"{_PREFIX}{number}{proof}".encode()):
            raise CallError(
                f"`{run[:64]}` is no run of agent `{agent}` under this key; leave `Aegis-Run-Id` out to open a new "
                "one, and send on what the answer says",
                field="aegis-run-id",
            )

    def _proof(self, number: str, *bound: str) -> str:
        text = "\n".join((number, *bound))
        return hmac.digest(self._secret, text.encode(), "sha256")[:_PROOF_BYTES].hex()
