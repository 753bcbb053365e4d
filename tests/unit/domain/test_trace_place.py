"""Places in traces: what `traceparent` says by the standard, and the addresses that are made of it."""

from __future__ import annotations

import pytest

from aegis_gateway.domain.trace_place import TracePlace, trace_place

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PLACE = TracePlace(trace=TRACE, span=SPAN, is_sampled=True)


@pytest.mark.parametrize(
    ("said", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_a_place_is_read(said: str, sampled: bool) -> None:
    """Of every version there will be, and written by the one that everybody reads."""
    place = trace_place(said)
    assert TracePlace(trace=TRACE, span=SPAN, is_sampled=sampled) == place
    assert place is not None
    assert f"00-{TRACE}-{SPAN}-{'01' if sampled else '00'}" == place.parent


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "00-nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-é1",
    ],
)
def test_what_is_no_place_is_none(said: str | None) -> None:
    """Nothing is made of what is nearly one."""
    assert trace_place(said) is None


def test_an_address_has_its_ids() -> None:
    """Wherever they stand, as often as they do."""
    template = "https://t.example/{trace_id}?span={span_id}&again={trace_id}#{span_id}"
    assert f"https://t.example/{TRACE}?span={SPAN}&again={TRACE}#{SPAN}" == PLACE.address(template)
