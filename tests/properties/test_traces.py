"""Places in traces, whatever callers say: what upstreams are told is always one that fits into a header."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from aegis_gateway.adapters.telemetry.meters import Meters
from aegis_gateway.adapters.telemetry.spans import OtelObserver
from aegis_gateway.application.tracing import Trace

PLACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
IDS = st.tuples(st.text("0123456789abcdefABC-", max_size=40), st.text("0123456789abcdef", max_size=20))
PARENTS = (
    st.text(max_size=80)
    | st.builds(lambda ids: f"00-{ids[0]}-{ids[1]}-01", IDS)
    | st.from_regex(PLACE, fullmatch=True)
)
STATES = st.text(max_size=600) | st.lists(
    st.from_regex(r"[a-z@]{1,12}=.{0,40}", fullmatch=True), max_size=40
).map(",".join)


@pytest.fixture(scope="module", params=["sent", "not sent"])
def observer(request: pytest.FixtureRequest) -> OtelObserver:
    """One that makes spans, and one that makes none."""
    provider = TracerProvider(shutdown_on_exit=False) if request.param == "sent" else NoOpTracerProvider()
    return OtelObserver(provider, Meters(MeterProvider(shutdown_on_exit=False), "test"), lambda: None)


@given(parent=PARENTS, state=STATES)
def test_what_upstreams_are_told_fits_into_a_header(observer: OtelObserver, parent: str, state: str) -> None:
    """It is a place by the standard, with a state in printable ASCII; or there is none."""
    place = observer.begin(Trace(parent=parent, state=state)).trace
    if place is not None:
        assert PLACE.fullmatch(place.parent)
        assert place.state.isascii()
        assert not place.state or place.state.isprintable()
        assert len(place.state) <= 2 * len(state) + 1
