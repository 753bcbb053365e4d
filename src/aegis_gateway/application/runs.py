"""Runs: one session of an agent, its calls together. Ids are minted here, and bound to tenant, agent and key.

Rule 1: an id proves by itself that it was minted here and for whom, so nothing is looked up, and nobody can spend on
        another's run.
Rule 2: a run that is opened as such says more of itself, under the same proof: when it was opened, for which agent, and
        if it was delegated, below which call, in which tree of runs, and by whom, on whose budgets it counts too. Its
        agent may be given it by anybody; with any other key it is worth nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.replication import RUN_LIFETIME_NS

DELEGATORS_MAX = 8
"""How many agents may stand above one in a tree of runs, each on whose budgets its calls count too."""
NAME_CHARACTERS_MAX = 255

_PREFIX = "run_"
_RANDOM_BYTES = 10
_PROOF_BYTES = 8
_NUMBER_END = len(_PREFIX) + 2 * _RANDOM_BYTES
RUN_CHARACTERS = _NUMBER_END + 2 * _PROOF_BYTES
"""How long the id of a run is that a call opened; those of runs that were opened as such are longer."""
_LENGTH_MAX = 2_048
_HEADER = "aegis-run-id"


class Delegator(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who delegated a run: an agent, and the key that it did so with."""

    agent: str
    key: str


class _Told(msgspec.Struct, frozen=True, array_like=True):
    """What an opened run's id says of it. Of the root and of the call above it, only what their ids begin with.

    `over_ms` is when it is over, where that is before its time: with the run that it was delegated in.
    """

    opened_ms: int
    agent: str
    depth: int = 0
    root: bytes = b""
    above: bytes = b""
    parent: bytes = b""
    delegators: tuple[Delegator, ...] = ()
    over_ms: int = 0


class KnownRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose proof holds. `scope` is what budgets for each run count it under: of a tree of runs, the first one's.

    `depth` is how deep its calls are at least, `parent` the call that it was delegated below, and `above` the number of
    the run that this was in. One that was opened as such is over at `over_ns`.
    """

    id: str
    number: str
    scope: str
    is_opened: bool = False
    opened_ns: int = 0
    over_ns: int = 0
    agent: str = ""
    depth: int = 0
    root: str = ""
    above: str = ""
    parent: str | None = None
    delegators: tuple[Delegator, ...] = ()

    @property
    def tree(self) -> str:
        """The number of the run that its tree began with."""
        return self.root or self.number


class Runs:
    """Mints runs' ids and knows them again."""

    def __init__(self, pepper: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """`pepper` is the installation's secret; runs are known by all gateways that have it."""
        self._secret = hmac.digest(pepper, b"runs", "sha256")
        self._random_bytes = random_bytes

    def mint(self, tenant: str, agent: str, key: str) -> str:
        """The id of a new run of an agent, under one of its keys, that a call opens."""
        number = self._random_bytes(_RANDOM_BYTES).hex()
        return f"{_PREFIX}{number}{self._proof(number, tenant, agent, key)}"

    def open(self, tenant: str, agent: str, key: str, now_ns: int, name: str | None = None) -> KnownRun:
        """A run that an agent opens for itself. The same `name` is the same number."""
        told = _Told(opened_ms=now_ns // 1_000_000, agent=agent)
        return self._opened(self._number(name, tenant, agent, key), told, (tenant, agent, key))

    def delegate(
        self,
        tenant: str,
        above: KnownRun,
        by: Delegator,
        agent: str,
        *,
        parent: str | None,
        depth: int,
        now_ns: int,
        name: str | None = None,
    ) -> KnownRun:
        """A run in the tree of another one, for an agent, below a call.

        Raises:
            CallError: too many agents would stand above it.
        """
        delegators = above.delegators if by in above.delegators else (*above.delegators, by)
        if len(delegators) > DELEGATORS_MAX:
            raise CallError(
                f"{len(delegators)} agents would stand above this run, on whose budgets it counts, and "
                f"{DELEGATORS_MAX} is the most",
                status=403,
                field="agent",
            )
        told = _Told(
            opened_ms=now_ns // 1_000_000,
            agent=agent,
            depth=depth,
            root=bytes.fromhex(above.scope.removeprefix(_PREFIX)),
            above=bytes.fromhex(above.number),
            parent=b"" if parent is None else bytes.fromhex(parent.removeprefix("call_")),
            delegators=delegators,
            # Else whom it was delegated to could go on in new ones for ever, and nobody could end them by the old one.
            over_ms=above.over_ns // 1_000_000,
        )
        number = self._number(name, tenant, by.agent, by.key)
        return self._opened(number, told, (tenant, agent))

    def read(self, run: str, tenant: str, agent: str, key: str) -> KnownRun:
        """A run that an agent names, which must be its own: under this key, or delegated to it.

        Raises:
            CallError: it is not.
        """
        number, payload = run[len(_PREFIX) : _NUMBER_END], run[RUN_CHARACTERS + 1 :]
        known = _known(run)
        if known is not None:
            bound = (tenant, agent) if known.delegators else (tenant, agent, key)
            how = () if not payload else (_how(known.delegators), payload)
            proof = self._proof(number, *bound, *how)
            if hmac.compare_digest(run[:RUN_CHARACTERS].encode(), f"{_PREFIX}{number}{proof}".encode()):
                return known
        raise _no_run_of(run, agent)

    def to_end(self, run: str, tenant: str, agent: str, key: str) -> KnownRun:
        """A run that an agent may end: its own, or one that it delegated.

        Raises:
            CallError: it is neither.
        """
        known = _known(run)
        if known is not None and any(each.agent == agent for each in known.delegators):
            return self.read(run, tenant, known.agent, key)
        return self.read(run, tenant, agent, key)

    def _number(self, name: str | None, *bound: str) -> str:
        if name is None:
            return self._random_bytes(_RANDOM_BYTES).hex()
        text = "\n".join(("name", *bound, name))
        return hmac.digest(self._secret, text.encode(), "sha256")[:_RANDOM_BYTES].hex()

    def _opened(self, number: str, told: _Told, bound: tuple[str, ...]) -> KnownRun:
        payload = base64.urlsafe_b64encode(msgspec.msgpack.encode(told)).decode().rstrip("=")
        proof = self._proof(number, *bound, _how(told.delegators), payload)
        known = _known(f"{_PREFIX}{number}{proof}_{payload}")
        assert known is not None, "what was just written can be read"
        return known

    def _proof(self, number: str, *bound: str) -> str:
        text = "\n".join((number, *bound))
        return hmac.digest(self._secret, text.encode(), "sha256")[:_PROOF_BYTES].hex()


def recorded_run(run: str) -> KnownRun:
    """A run as a record has it, which was proven when it was recorded."""
    known = _known(run)
    return known if known is not None else KnownRun(id=run, number=run, scope=run)


def refuse_over(known: KnownRun, now_ns: int) -> None:
    """Refuse a run that was opened too long ago to be remembered.

    Raises:
        CallError: it was.
    """
    if known.is_opened and now_ns >= known.over_ns:
        days = RUN_LIFETIME_NS // (86_400 * 1_000_000_000)
        raise CallError(
            f"run `{known.id[:64]}` is over: it, or what it was delegated in, was opened more than {days} days ago; "
            "open another",
            field=_HEADER,
        )


def _known(run: str) -> KnownRun | None:
    """What an id says of its run; None where it is no run's. Nothing is proven by that."""
    number, scope, payload = run[len(_PREFIX) : _NUMBER_END], run[:RUN_CHARACTERS], run[RUN_CHARACTERS:]
    if (
        not run.startswith(_PREFIX)
        or len(scope) != RUN_CHARACTERS
        or len(run) > _LENGTH_MAX
        or not run.isascii()
    ):
        return None
    if not payload:
        return KnownRun(id=run, number=number, scope=scope)
    if payload[0] != "_":
        return None
    try:
        padding = "=" * (-(len(payload) - 1) % 4)
        told = msgspec.msgpack.decode(base64.urlsafe_b64decode(payload[1:] + padding), type=_Told)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        return None
    opened_ns = told.opened_ms * 1_000_000
    return KnownRun(
        id=run,
        number=number,
        scope=f"{_PREFIX}{told.root.hex()}" if told.root else scope,
        is_opened=True,
        opened_ns=opened_ns,
        over_ns=told.over_ms * 1_000_000 or opened_ns + RUN_LIFETIME_NS,
        agent=told.agent,
        depth=told.depth,
        root=told.root[:_RANDOM_BYTES].hex(),
        above=told.above.hex(),
        parent=f"call_{told.parent.hex()}" if told.parent else None,
        delegators=told.delegators,
    )


def _how(delegators: tuple[Delegator, ...]) -> str:
    """What keeps one kind of proof from being taken for another."""
    return "delegated" if delegators else "opened"


def _no_run_of(run: str, agent: str) -> CallError:
    return CallError(
        f"`{run[:64]}` is no run of agent `{agent}` under this key; leave `Aegis-Run-Id` out to open a new one, and "
        "send on what the answer says",
        field=_HEADER,
    )
