"""Requests as Envoys show them, and what has to change of their headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.envoy.authorization import body_shown, timeout_patience_ns
from aegis_gateway.entrypoints.data_plane.envoy.shown import (
    ALWAYS_REMOVED,
    ShownHeaders,
    changes,
    shown_request,
)
from aegis_gateway.entrypoints.data_plane.exchange import api_key, forwarded_headers
from aegis_gateway.entrypoints.data_plane.wire import path_segments

Headers = list[tuple[str, str]]

names = st.sampled_from(["a", "b", "c", "host", "content-length", "x-envoy-d", "x-forwarded-for"])
headers = st.lists(st.tuples(names, st.sampled_from(["1", "2", "3"])), max_size=8)
KEPT = ("host", "content-length", "x-envoy-d", "x-forwarded-for")


def applied(old: Headers, new: Headers) -> Headers:
    """What an Envoy makes of headers that it is told to change."""
    found = changes(old, new)
    overwritten = {name for name, _ in found.set}
    left = [(name, value) for name, value in old if name not in overwritten and name not in found.removed]
    return [*left, *found.set, *found.added]


@given(old=headers, new=headers)
def test_changes_make_one_of_the_other(old: Headers, new: Headers) -> None:
    """All headers but an Envoy's own become what they should be, with the order of a header's values."""
    wanted = [header for header in new if header[0] not in KEPT]
    own = [header for header in old if header[0] in KEPT]
    assert sorted([*own, *wanted], key=lambda each: each[0]) == sorted(
        applied(old, new), key=lambda each: each[0]
    )


@given(same=headers)
def test_what_is_as_it_should_be_stays(same: Headers) -> None:
    """Nothing is changed that need not be."""
    found = changes(same, same)
    assert ([], [], []) == (found.set, found.added, found.removed)


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "x-aegis-key",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "proxy-authorization",
    ],
)
def test_no_credential_of_a_caller_goes_on(name: str) -> None:
    """Whatever a key can come in is removed, shown or not, and never forwarded."""
    assert name in ALWAYS_REMOVED
    asked = shown_request("api", "GET", "/x", [(name, "k"), ("aegis-anything", "x"), ("x-mine", "y")])
    assert [("x-mine", "y")] == forwarded_headers(asked, None, None, None)


@pytest.mark.parametrize("target", ["", "*", "v1/pay", "other/v1/pay", "?a=b", "http://elsewhere/v1/pay"])
def test_a_target_that_is_no_path_is_of_no_connector(target: str) -> None:
    """It never becomes the path of another connector than the route's."""
    asked = shown_request("pay", "GET", target, [])
    with pytest.raises(CallError):
        path_segments(asked.path.removeprefix("/connect/"))


def test_a_path_and_its_query() -> None:
    """What stands behind the first question mark is the query, escapes stay."""
    asked = shown_request("api", "GET", "/v1/a%2Fb?x=1?y", [])
    assert ("/connect/api/v1/a%2Fb", "x=1?y") == (asked.path, asked.query_string)


def test_a_header_that_comes_twice() -> None:
    """Two keys are no key: the values stand side by side, and none of them is taken."""
    asked = shown_request("api", "GET", "/", [("Authorization", "Bearer a"), ("authorization", "Bearer b")])
    assert "a, Bearer b" == api_key(asked)
    assert [("a", "1, 2")] == ShownHeaders([("A", "1"), ("a", "2")]).items()


@pytest.mark.parametrize(
    ("partial", "raw", "is_absent", "known"),
    [
        ("false", b"{}", None, "shown"),
        ("false", b"", None, "unseen"),
        ("false", b"", False, "unseen"),
        ("false", b"", True, "absent"),
        (None, b"", True, "absent"),
        (None, b"", False, "unseen"),
        (None, b"", None, "unseen"),
    ],
)
def test_what_is_known_of_a_body(partial: str | None, raw: bytes, is_absent: bool | None, known: str) -> None:
    """A body that isn't shown counts as absent only if it is sure to be."""
    assert known == body_shown(partial, raw, is_absent)


@pytest.mark.parametrize("partial", ["true", "TRUE", "", "no"])
def test_a_body_that_was_cut(partial: str) -> None:
    """Whatever isn't said to be whole counts as cut."""
    with pytest.raises(CallError) as found:
        body_shown(partial, b"{}", None)
    assert 413 == found.value.status


@pytest.mark.parametrize(
    ("timeout_s", "patience_ns"), [(0, 0), (-1, 0), (0.2, 100_000_000), (10, 5_000_000_000)]
)
def test_patience(timeout_s: float, patience_ns: int) -> None:
    """A call waits for its turn half as long as its Envoy waits for us."""
    assert patience_ns == timeout_patience_ns(timeout_s)
