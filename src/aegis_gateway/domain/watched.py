"""What a balance knows of its thresholds: at which amounts they are passed, and which of them are.

    armed ──▶ passed ──▶ undone ──▶ passed …
      │          ▲ └───▶ over
      └──▶ waiting ──▶ declined

Rule 1: it is kept with the balance and changed under its lock, so a threshold is passed once, whoever passes it.
Rule 2: amounts stand here, because a settlement, which passes most of them, brings no configuration.
Rule 3: what is passed stays so until its window turns, or until its limit is raised above what stands. In a rolling
        window it is undone once what stands has fallen by 5% of the limit below where it was passed; and one of
        forecasts, once the forecast has fallen by 5% of the limit below the threshold.
Rule 4: what was passed in a window that is over isn't passed in it again, however late a call of it is settled.
Rule 5: a threshold in shadow is passed and told of like any other; what it would do is only told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.threshold import ActKind, Basis, Threshold

WatchState = Literal["armed", "passed", "waiting", "declined", "undone", "over"]
Turned = Literal["passed", "undone", "granted", "declined"]
Why = Literal["spent", "refused", "forecast", "word", "limit", "fell", "window", "configuration"]

_FALL = 20
"""What stands in a rolling window, or is forecast, has to fall by one in so many parts of the limit before a threshold
is undone: or it would be passed and undone again and again by what only goes to and fro.
"""

_READY: tuple[WatchState, ...] = ("armed", "undone")
_PAST: tuple[WatchState, ...] = ("passed", "waiting")


class WatchedThreshold(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One threshold of a balance: the `amount` it is passed at, what state it is in since when, and the amount that
    stood when it was passed (`at`). `acts` is what is done, and `waits` whether for somebody's word.
    """

    id: str
    amount: int
    basis: Basis = "actual"
    acts: tuple[ActKind, ...] = ()
    waits: bool = False
    state: WatchState = "armed"
    since_ns: int = 0
    at: int = 0


class Watched(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A balance's thresholds, with what was last known of its budget: its limit, its owner, whether it is in shadow."""

    limit: int
    owner: str
    mode: Mode = "enforce"
    thresholds: tuple[WatchedThreshold, ...] = ()

    @property
    def passed(self) -> int:
        """How many are passed, or wait for a word to act."""
        return sum(each.state in _PAST for each in self.thresholds)

    def find(self, threshold: str) -> WatchedThreshold | None:
        """One of them."""
        return next((each for each in self.thresholds if each.id == threshold), None)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold that turned, and why; with what is known of its budget and its balance then."""

    turned: Turned
    why: Why
    threshold: WatchedThreshold
    watched: Watched
    posted: int
    pending: int


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A balance's thresholds after a look at them, and what has turned."""

    watched: Watched
    turns: tuple[Turn, ...] = ()


class Stands(msgspec.Struct, frozen=True, kw_only=True):
    """What stands of a balance: spent, held, and whether what is spent falls out again with time; and what its window
    is `expected` to come to, if that was just looked at.
    """

    posted: int
    pending: int = 0
    is_rolling: bool = False
    expected: int | None = None

    def of(self, basis: Basis) -> int:
        """What a threshold is compared with; what is held may exhaust a budget too."""
        return self.posted + self.pending if basis == "exhaustion" else self.posted


def armed(
    old: Watched | None,
    wanted: tuple[WatchedThreshold, ...],
    limit: int,
    owner: str,
    mode: Mode,
    stands: Stands,
    now_ns: int,
) -> Looked:
    """The thresholds that a balance is to have (`wanted`, all armed), with the states of those that it has.

    Those that are passed and above what stands now, because their amount was raised, are undone; those that are not
    wanted any more are gone.
    """
    before = {each.id: each for each in old.thresholds} if old is not None else {}
    watched = Watched(limit=limit, owner=owner, mode=mode)
    kept: list[WatchedThreshold] = []
    turned: list[tuple[Why, WatchedThreshold]] = []
    for each in wanted:
        was = before.pop(each.id, None)
        if was is None:
            kept.append(each)
            continue
        now = msgspec.structs.replace(each, state=was.state, since_ns=was.since_ns, at=was.at)
        if (
            was.state not in (*_READY, "over")
            and each.amount > was.amount
            and stands.of(each.basis) < each.amount
        ):
            now = msgspec.structs.replace(now, state="undone", since_ns=now_ns)
            if was.state in _PAST:
                turned.append(("limit", now))
        kept.append(now)
    for gone in before.values():
        if gone.state in _PAST:
            turned.append(("configuration", msgspec.structs.replace(gone, state="undone", since_ns=now_ns)))
    watched = msgspec.structs.replace(watched, thresholds=tuple(kept))
    return _looked(watched, [("undone", why, each) for why, each in turned], stands)


def looked_at(watched: Watched, stands: Stands, now_ns: int) -> Looked:
    """Pass what is reached, and undo what has fallen: out of a rolling window, or below a forecast."""
    if not any(_turns(each, watched.limit, stands) for each in watched.thresholds):
        return Looked(watched=watched)
    turned: list[tuple[Turned, Why, WatchedThreshold]] = []
    kept: list[WatchedThreshold] = []
    for each in watched.thresholds:
        now = each
        match _turns(each, watched.limit, stands):
            case "passed":
                now = _passed(each, stands, now_ns)
                turned.append(("passed", "forecast" if each.basis == "forecast" else "spent", now))
            case "undone":
                now = msgspec.structs.replace(each, state="undone", since_ns=now_ns)
                if each.state in _PAST:
                    turned.append(("undone", "fell", now))
            case _:
                pass
        kept.append(now)
    return _looked(msgspec.structs.replace(watched, thresholds=tuple(kept)), turned, stands)


def _turns(each: WatchedThreshold, limit: int, stands: Stands) -> Literal["passed", "undone", ""]:
    if each.basis == "forecast":
        return _turns_by_forecast(each, limit, stands.expected)
    if each.state in _READY:
        return "passed" if 0 < each.amount <= stands.posted else ""
    if not stands.is_rolling or each.state == "over":
        return ""
    return "undone" if stands.of(each.basis) < min(each.amount, each.at) - limit // _FALL else ""


def _turns_by_forecast(
    each: WatchedThreshold, limit: int, expected: int | None
) -> Literal["passed", "undone", ""]:
    if expected is None:
        return ""
    if each.state in _READY:
        return "passed" if 0 < each.amount <= expected else ""
    if each.state == "over":
        return ""
    return "undone" if expected < each.amount - limit // _FALL else ""


def refused(watched: Watched, threshold: str, stands: Stands, now_ns: int) -> Looked:
    """Pass one that can't be told from what is spent: a call was refused."""

    def turn(each: WatchedThreshold) -> tuple[Turned, WatchedThreshold] | None:
        if each.id != threshold or each.state not in _READY:
            return None
        return "passed", _passed(each, stands, now_ns)

    return _changed(watched, turn, "refused", stands)


def answered(watched: Watched, threshold: str, stands: Stands, now_ns: int, *, is_granted: bool) -> Looked:
    """What somebody's word on a threshold that waits for it changes. It acts from then on, or not in this window."""

    def turn(each: WatchedThreshold) -> tuple[Turned, WatchedThreshold] | None:
        if each.id != threshold or each.state != "waiting":
            return None
        if is_granted:
            return "granted", msgspec.structs.replace(each, state="passed", since_ns=now_ns)
        return "declined", msgspec.structs.replace(each, state="declined", since_ns=now_ns)

    return _changed(watched, turn, "word", stands)


def over(watched: Watched, stands: Stands, now_ns: int, why: Literal["window", "configuration"]) -> Looked:
    """A balance's thresholds when its window is over, or its budget is gone: none holds any more."""
    after: WatchState = "over" if why == "window" else "undone"

    def turn(each: WatchedThreshold) -> tuple[Turned, WatchedThreshold] | None:
        if each.state not in _PAST:
            return None
        return "undone", msgspec.structs.replace(each, state=after, since_ns=now_ns)

    return _changed(watched, turn, why, stands)


def wanted_of(threshold: Threshold, amount: int, mode: Mode) -> WatchedThreshold:
    """A threshold as a balance is to have it. Nobody is asked for a word on what is in shadow."""
    return WatchedThreshold(
        id=threshold.id,
        amount=amount,
        basis=threshold.basis,
        acts=tuple(act.kind for act in threshold.acts),
        waits=threshold.waits_for_word and mode == "enforce",
    )


def _changed(
    watched: Watched,
    turn: Callable[[WatchedThreshold], tuple[Turned, WatchedThreshold] | None],
    why: Why,
    stands: Stands,
) -> Looked:
    found = [(each, turn(each)) for each in watched.thresholds]
    if not any(turned for _, turned in found):
        return Looked(watched=watched)
    kept = tuple(turned[1] if turned is not None else each for each, turned in found)
    turned = [(turned[0], why, turned[1]) for _, turned in found if turned is not None]
    return _looked(msgspec.structs.replace(watched, thresholds=kept), turned, stands)


def _passed(each: WatchedThreshold, stands: Stands, now_ns: int) -> WatchedThreshold:
    state: WatchState = "waiting" if each.waits else "passed"
    return msgspec.structs.replace(each, state=state, since_ns=now_ns, at=stands.of(each.basis))


def _looked(watched: Watched, turned: list[tuple[Turned, Why, WatchedThreshold]], stands: Stands) -> Looked:
    return Looked(
        watched=watched,
        turns=tuple(
            Turn(
                turned=what,
                why=why,
                threshold=each,
                watched=watched,
                posted=stands.posted,
                pending=stands.pending,
            )
            for what, why, each in turned
        ),
    )
