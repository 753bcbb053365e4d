from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.rate import RateClaim, take, wait_ns

SECOND = 1_000_000_000


def claim(limit: int, period_ns: int, burst: int) -> RateClaim:
    """A rate limit of nobody's."""
    return RateClaim(rate="r", scope="", limit=limit, period_ns=period_ns, burst=burst)


CLAIMS = st.builds(claim, st.integers(1, 1000), st.integers(1, 3600 * SECOND), st.integers(1, 1000))
GAPS = st.lists(st.integers(0, 10 * SECOND), min_size=1, max_size=200)


def passed(rate: RateClaim, gaps: list[int]) -> list[int]:
    """The instants of the calls that pass, out of calls with such gaps between them."""
    now, arrival, instants = 1_000 * SECOND, 0, []
    for gap in gaps:
        now += gap
        if wait_ns(rate, arrival, now) == 0:
            arrival = take(rate, arrival, now)
            instants.append(now)
    return instants


def test_a_burst_and_then_the_pace() -> None:
    """Five at once; the sixth must wait for a fifth of the second."""
    rate = claim(5, SECOND, 5)
    assert 5 == len(passed(rate, [0] * 20))
    arrival = 0
    for _ in range(5):
        arrival = take(rate, arrival, SECOND)
    assert SECOND // 5 == wait_ns(rate, arrival, SECOND)
    assert 0 == wait_ns(rate, arrival, SECOND + SECOND // 5)


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
    now, arrival = 1_000 * SECOND, 0
    for gap in gaps:
        now += gap
        wait = wait_ns(rate, arrival, now)
        if wait:
            assert 0 == wait_ns(rate, arrival, now + wait)
            assert 1 == wait_ns(rate, arrival, now + wait - 1)
        else:
            arrival = take(rate, arrival, now)


@given(CLAIMS)
def test_after_a_rest_the_whole_burst_is_back(rate: RateClaim) -> None:
    """However it was used before, a rest of the burst's length restores it, and no more."""
    now = 1_000 * SECOND
    exhausted = now + rate.burst * rate.interval_ns
    assert rate.interval_ns == wait_ns(rate, exhausted, now)
    arrival, count = exhausted, 0
    while count <= rate.burst and wait_ns(rate, arrival, exhausted) == 0:
        arrival, count = take(rate, arrival, exhausted), count + 1
    assert rate.burst == count


@given(CLAIMS, GAPS)
def test_a_refused_call_takes_nothing(rate: RateClaim, gaps: list[int]) -> None:
    """Asking while limited doesn't push the next call back: what passes is what would pass without asking."""
    instants = passed(rate, gaps)
    gaps_of_passed = [
        after - before for before, after in zip([1_000 * SECOND, *instants], instants, strict=False)
    ]
    assert instants == passed(rate, gaps_of_passed)
