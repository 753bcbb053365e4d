"""Pages that hear of changes, on real gateways: within a second, whoever decided the call, and only who may."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from aegis_gateway.adapters.record_ends import record_ends
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.people.live.onlooker import mark_of
from aegis_gateway.entrypoints.people.live.watch import PER_PERSON_MAX
from tests.browsers import Staff, Visitor
from tests.gateways import TENANT, Gateway, chat, configuration, until
from tests.listening import Listener

pytestmark = pytest.mark.xdist_group("live-pages")

SOON_S = 5.0
"""Promised is a second (`make bench-pages` measures it); tests share their machine."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """A provider."""
    with UpstreamProcess(apps="provider") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway with two workers and two tenants."""
    files = configuration(upstream.base_url)
    other = files["aegis.yaml"].partition("  acme:\n")[2]
    files = {**files, "aegis.yaml": f"{files['aegis.yaml']}  zeta:\n{other}"}
    with Gateway(files, workers=2) as gateway:
        gateway.key()
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Vi looks on in acme, zoe in zeta."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    staff.add("zoe", Grant(role="viewer", tenant="zeta"))
    return staff


def visitor(gateway: Gateway, staff: Staff, person: str) -> Visitor:
    """Somebody signed in."""
    found = Visitor(gateway)
    assert 303 == found.sign_in(staff.tokens[person]).status
    return found


def status(visitor: Visitor, path: str = "/live") -> int:
    """Whether somebody may listen."""
    with Listener(visitor, path) as page:
        return page.status


def test_a_call_is_told_of(gateway: Gateway, staff: Staff) -> None:
    """Within a second, decided and settled, and to nobody of another tenant; who leaves frees their place."""
    vi, zoe = visitor(gateway, staff, "vi"), visitor(gateway, staff, "zoe")
    with Listener(vi, "/live?tenant=acme") as page, Listener(zoe) as other:
        assert ("text/event-stream; charset=utf-8", "no-store") == (
            page.headers["content-type"],
            page.headers["cache-control"],
        )
        assert "changed" == page.next().name
        first = other.next()
        assert 200 == chat(gateway, "hello", key=gateway.key()).status
        began_s = time.monotonic()
        told = page.next()
        assert ("changed", True) == (told.name, told.at_s - began_s < SOON_S)
        with Listener(zoe) as again:
            assert first.id == again.next().id
    assert 404 == status(vi, "/live?tenant=zeta")
    assert 303 == status(Visitor(gateway))


def test_how_many_one_person_may_open(gateway: Gateway, staff: Staff) -> None:
    """So many; more are told to ask by themselves, and pages go on being shown."""
    vi = visitor(gateway, staff, "vi")
    pages = [Listener(vi) for _ in range(4 * PER_PERSON_MAX)]
    assert {200, 503} == {each.status for each in pages}
    assert PER_PERSON_MAX == sum(each.status == 200 for each in pages)
    assert 200 == vi.get("/calls").status
    for each in pages:
        each.close()
    until(lambda: 200 == status(vi))


def test_it_ends_with_what_it_began_with(gateway: Gateway, staff: Staff) -> None:
    """Session, role, worker: each ends the stream, the last without a word, and stops in no more than a moment."""
    vi = visitor(gateway, staff, "vi")
    with Listener(vi) as page:
        assert "changed" == page.next().name
        vi.submit("/calls", "/sign-out")
        assert "over" == list(page.events())[-1].name
    vi = visitor(gateway, staff, "vi")
    with Listener(vi) as page:
        assert "changed" == page.next().name
        with staff.people() as people:
            people.withdraw("vi", Grant(role="viewer", tenant=TENANT))
        assert "over" == list(page.events())[-1].name
        with staff.people() as people:
            people.grant("vi", Grant(role="viewer", tenant=TENANT))
    with Listener(vi) as page:
        assert "changed" == page.next().name
        began_s = time.monotonic()
        assert 0 == gateway.stop()
        assert "over" not in [each.name for each in page.events()]
        assert time.monotonic() - began_s < 10


def test_several_gateways_on_one_database(upstream: UpstreamProcess, postgres_url: str) -> None:
    """What one decides is told by the other; who comes back to another hears of what they missed, and no more."""
    files = configuration(upstream.base_url)
    with Gateway(files, store=postgres_url) as one, Gateway(None, store=postgres_url) as two:
        key = one.key()
        staff = Staff(one)
        staff.add("vi", Grant(role="viewer", tenant=TENANT))
        there = visitor(two, staff, "vi")
        here = Visitor(one)
        here.cookies = there.cookies
        with Listener(there) as page:
            told = page.next()
            assert 200 == chat(one, "hello", key=key).status
            began_s = time.monotonic()
            assert page.next().at_s - began_s < SOON_S
        with Listener(here, told=told.id) as page:
            assert "changed" == page.next().name
        until(lambda: {"settled": 1} == one.states())
        with one.store() as store:
            now = mark_of(record_ends(store.query, [TENANT]))
        with Listener(here, told=now) as page:
            assert 200 == chat(two, "hello", key=key).status
            assert now != page.next().id
