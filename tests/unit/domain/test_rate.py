from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.rate import (
    ALL_FREE,
    FREE_MAX,
    RateClaim,
    Slot,
    Turns,
    given_back,
    taken,
    turn_of,
    wait_for,
    wait_ns,
)

SECOND = 1_000_000_000


def claim(limit: int, period_ns: int, burst: int) -> RateClaim:
    """A rate limit of nobody's."""
    return RateClaim(rate="r", scope="", limit=limit, period_ns=period_ns, burst=burst)


CLAIMS = st.builds(claim, st.integers(1, 1000), st.integers(1, 3600 * SECOND), st.integers(1, 1000))
GAPS = st.lists(st.integers(0, 10 * SECOND), min_size=1, max_size=200)


def take(rate: RateClaim, turns: Turns, now_ns: int) -> Turns:
    """What is free after one more call."""
    return taken(turns, turn_of(rate, turns, now_ns), now_ns)


def passed(rate: RateClaim, gaps: list[int]) -> list[int]:
    """The instants of the calls that pass, out of calls with such gaps between them."""
    now, turns, instants = 1_000 * SECOND, ALL_FREE, []
    for gap in gaps:
        now += gap
        if wait_ns(rate, turns, now) == 0:
            turns = take(rate, turns, now)
            instants.append(now)
    return instants


def test_a_burst_and_then_the_pace() -> None:
    """Five at once; the sixth must wait for a fifth of the second."""
    rate = claim(5, SECOND, 5)
    assert 5 == len(passed(rate, [0] * 20))
    turns = ALL_FREE
    for _ in range(5):
        turns = take(rate, turns, SECOND)
    assert SECOND // 5 == wait_ns(rate, turns, SECOND)
    assert 0 == wait_ns(rate, turns, SECOND + SECOND // 5)


def test_the_interval_is_rounded_up() -> None:
    """Three in ten nanoseconds are four nanoseconds apart, never three and a third."""
    assert 4 == claim(3, 10, 1).interval_ns


@given(CLAIMS, GAPS)
def test_never_more_than_the_burst_and_the_pace(rate: RateClaim, gaps: list[int]) -> None:
    """Between any two calls that pass there are at most the burst and what the time between them allows."""
    instants = passed(rate, gaps)
    for first in range(len(instants)):
        for last in range(first, len(instants)):
            elapsed = instants[last] - instants[first]
            assert last - first + 1 <= rate.burst + elapsed // rate.interval_ns


@given(CLAIMS, GAPS)
def test_the_announced_wait_is_exact(rate: RateClaim, gaps: list[int]) -> None:
    """A call that is told to wait passes exactly then, and not a nanosecond before."""
    now, turns = 1_000 * SECOND, ALL_FREE
    for gap in gaps:
        now += gap
        wait = wait_ns(rate, turns, now)
        if wait:
            assert 0 == wait_ns(rate, turns, now + wait)
            assert 1 == wait_ns(rate, turns, now + wait - 1)
        else:
            turns = take(rate, turns, now)


@given(CLAIMS)
def test_after_a_rest_the_whole_burst_is_back(rate: RateClaim) -> None:
    """However it was used before, a rest of the burst's length restores it, and no more."""
    now = 1_000 * SECOND
    exhausted = now + rate.burst * rate.interval_ns
    assert rate.interval_ns == wait_ns(rate, Turns(exhausted), now)
    turns, count = Turns(exhausted), 0
    while count <= rate.burst and wait_ns(rate, turns, exhausted) == 0:
        turns, count = take(rate, turns, exhausted), count + 1
    assert rate.burst == count


@given(CLAIMS, GAPS)
def test_a_refused_call_takes_nothing(rate: RateClaim, gaps: list[int]) -> None:
    """Asking while limited doesn't push the next call back: what passes is what would pass without asking."""
    instants = passed(rate, gaps)
    gaps_of_passed = [
        after - before for before, after in zip([1_000 * SECOND, *instants], instants, strict=False)
    ]
    assert instants == passed(rate, gaps_of_passed)


COMINGS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["come", "leave", "leave last"])), max_size=60
)
"""Calls that come and leave again, each so many half intervals after what was before it."""


@given(st.integers(1, 4), COMINGS)
def test_turns_that_are_given_back_let_nobody_run_ahead(burst: int, comings: list[tuple[int, str]]) -> None:
    """Whoever leaves before its turn and whoever takes its place, those who are sent keep to burst and pace."""
    rate, now = claim(1, 2 * SECOND, burst), 1_000 * SECOND
    turns, waiting, sent = ALL_FREE, dict[int, Slot](), list[int]()
    for number, (later, what) in enumerate([*comings, (1_000, "come")]):
        now += later * SECOND
        for each in [each for each, turn in waiting.items() if wait_for(rate, turn, now) == 0]:
            sent.append(waiting.pop(each)[1] - burst * rate.interval_ns)
        if what == "come":
            turn = turn_of(rate, turns, now)
            turns = taken(turns, turn, now)
            if wait_for(rate, turn, now):
                waiting[number] = turn
            else:
                sent.append(now)
        elif waiting:
            turns = given_back(turns, waiting.pop((min if what == "leave" else max)(waiting)), now)
    sent.sort()
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= rate.burst + (sent[last] - sent[first]) // rate.interval_ns


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 3), max_size=20),
    st.permutations(range(20)),
    st.integers(1, 20),
)
def test_who_all_leave_leave_nothing_behind(burst: int, gaps: list[int], order: list[int], left: int) -> None:
    """Once all have left that came after somebody, in whatever order, it is as if they had never come."""
    rate, now = claim(1, 2 * SECOND, burst), 1_000 * SECOND
    turns = ALL_FREE
    for gap in gaps:
        now += gap * SECOND
        turns = take(rate, turns, now)
    before, came = turns, list[Slot]()
    for _ in range(left):
        came.append(turn_of(rate, turns, now))
        turns = taken(turns, came[-1], now)
    for place in order:
        if place < left:
            turns = given_back(turns, came[place], now)
    assert () == turns.free
    assert turn_of(rate, before, now) == turn_of(rate, turns, now)


def test_a_turn_that_was_given_back_is_the_next_ones() -> None:
    """Those who have a turn keep it; who comes next has the first that is free, long enough and not past."""
    rate, now = claim(1, SECOND, 1), 1_000 * SECOND
    turns, came = ALL_FREE, list[Slot]()
    for _ in range(4):
        came.append(turn_of(rate, turns, now))
        turns = taken(turns, came[-1], now)
    turns = given_back(turns, came[1], now)
    assert came[1] == turn_of(rate, turns, now)
    assert came[1] == turn_of(rate, turns, now + SECOND)
    assert now + 4 * SECOND == turn_of(rate, turns, now + SECOND + 1)[0]  # it has passed
    half = claim(2, SECOND, 1)
    turns = taken(turns, turn_of(half, turns, now), now)
    assert (now + SECOND + SECOND // 2, now + 2 * SECOND) == turn_of(half, turns, now)
    assert now + 4 * SECOND == turn_of(rate, turns, now)[0]  # what is left of it is too short


def test_only_so_many_are_remembered() -> None:
    """Of what was given back the earliest is lost where it is too much: that makes others wait, and no more."""
    rate, now, turns = claim(1, SECOND, 1), 1_000 * SECOND, ALL_FREE
    came = [turn_of(rate, Turns(now + place * SECOND), now) for place in range(3 * FREE_MAX)]
    for each in came:
        turns = taken(turns, each, now)
    for each in came[::2]:
        turns = given_back(turns, each, now)
    assert FREE_MAX == len(turns.free)
    assert set(turns.free) <= set(came[::2])
