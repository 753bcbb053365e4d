"""The process that answers people: there when somebody comes, one for all workers, and no longer than the gateway."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.supervisor import DRAIN_S
from tests.browsers import Staff, Visitor
from tests.gateways import HOST, TENANT, WAIT_S, Gateway, ask, chat, configuration, until


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway with two workers."""
    with (
        UpstreamProcess(apps="provider") as upstream,
        Gateway(configuration(upstream.base_url), workers=2) as gateway,
    ):
        gateway.key()
        yield gateway


def test_it_is_there_when_somebody_comes(gateway: Gateway) -> None:
    """One for all who come at once, by whichever worker; calls don't need it."""
    chat(gateway, "hello")
    assert [] == gateway.pages()
    found: list[int] = []
    lock = threading.Lock()

    def come() -> None:
        status = ask(gateway, "GET", "/sign-in", key=None).status
        with lock:
            found.append(status)

    visitors = [threading.Thread(target=come) for _ in range(8)]
    for each in visitors:
        each.start()
    for each in visitors:
        each.join()
    assert [200] * 8 == found
    assert 1 == len(gateway.pages())


def test_one_that_dies_is_replaced(gateway: Gateway) -> None:
    """Sessions go on, calls notice nothing, and who comes next is answered by another."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    vi = Visitor(gateway)
    assert 303 == vi.sign_in(staff.tokens["vi"]).status
    (first,) = gateway.pages()
    os.kill(first, signal.SIGKILL)
    chat(gateway, "hello")
    until(lambda: first not in gateway.pages(), "it is still there")
    assert 200 == vi.get("/calls").status
    assert [first] != gateway.pages()


def test_open_pages_hear_of_its_death(gateway: Gateway) -> None:
    """What they listen to ends, and where they ask again they are told as before."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    vi = Visitor(gateway)
    vi.sign_in(staff.tokens["vi"])

    @contextlib.contextmanager
    def listening() -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(HOST, gateway.settings.port, timeout=WAIT_S)
        cookies = "; ".join(f"{name}={value}" for name, value in vi.cookies.items())
        with contextlib.closing(connection):
            connection.request("GET", "/live", headers={"cookie": cookies})
            with contextlib.closing(connection.getresponse()) as answer:
                yield answer

    def hears(answer: http.client.HTTPResponse) -> None:
        until(lambda: answer.readline() == b"event: changed\n", "nothing is heard")

    with listening() as answer:
        hears(answer)
        (first,) = gateway.pages()
        os.kill(first, signal.SIGKILL)
        assert b"over" not in answer.read()  # to its end
    with listening() as answer:
        hears(answer)
        chat(gateway, "hello")
        hears(answer)
        assert 0 == gateway.stop()
        answer.read()


def test_it_ends_with_the_gateway(gateway: Gateway) -> None:
    """With one that is killed, and with one that is stopped, while somebody looks."""
    assert 200 == ask(gateway, "GET", "/sign-in", key=None).status
    gateway.kill()  # waits until all that it started has ended
    gateway.start()
    assert 200 == ask(gateway, "GET", "/sign-in", key=None).status
    children = gateway.children()
    assert 1 == len(gateway.pages())
    assert 0 == gateway.stop()
    assert not any(os.path.exists(f"/proc/{child}") for child in children)


def test_one_that_hangs_holds_up_no_call(gateway: Gateway) -> None:
    """Calls go on; whoever asked may leave, and all is well when it goes on."""
    assert 200 == ask(gateway, "GET", "/sign-in", key=None).status
    (process,) = gateway.pages()
    os.kill(process, signal.SIGSTOP)
    try:
        leaving = http.client.HTTPConnection(HOST, gateway.settings.port, timeout=WAIT_S)
        leaving.request("GET", "/sign-in")
        for _ in range(5):
            assert 200 == chat(gateway, "hello").status
        leaving.close()
    finally:
        os.kill(process, signal.SIGCONT)
    assert 200 == ask(gateway, "GET", "/sign-in", key=None).status
    assert [process] == gateway.pages()


def test_one_that_cannot_start(tmp_path: Path) -> None:
    """Who comes is told so, calls go on, and once it can it answers."""
    broken = tmp_path / "broken"
    broken.touch()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"if 'aegis_gateway.entrypoints.pages' in sys.orig_argv and os.path.exists({str(broken)!r}):\n"
        "    os._exit(1)\n"
    )
    with (
        UpstreamProcess(apps="provider") as upstream,
        Gateway(configuration(upstream.base_url), environment={"PYTHONPATH": str(tmp_path)}) as gateway,
    ):
        answer = ask(gateway, "GET", "/sign-in", key=None)
        assert (503, True) == (answer.status, b"try again in a moment" in answer.body)
        assert 200 == chat(gateway, "hello").status
        assert "the next try is in" in gateway.log()
        broken.unlink()
        until(lambda: ask(gateway, "GET", "/sign-in", key=None).status == 200, "it doesn't answer again")


def test_it_gives_way_to_calls_from_its_start(gateway: Gateway) -> None:
    """Its priority is lower than the workers' before it has read its modules."""
    first = http.client.HTTPConnection(HOST, gateway.settings.port, timeout=WAIT_S)
    first.request("GET", "/sign-in")
    until(lambda: bool(gateway.pages()), "it isn't started")
    (process,) = gateway.pages()
    calls = max(os.getpriority(os.PRIO_PROCESS, worker) for worker in gateway.workers())
    until(lambda: os.getpriority(os.PRIO_PROCESS, process) > calls, "it is as important as calls", wait_s=1.0)
    assert 200 == first.getresponse().status
    first.close()


def test_one_that_hangs_holds_up_no_stop(gateway: Gateway) -> None:
    """Where nobody waits for it, the gateway stops as soon as its workers have."""
    assert 200 == ask(gateway, "GET", "/sign-in", key=None).status
    (process,) = gateway.pages()
    os.kill(process, signal.SIGSTOP)
    began_s = time.monotonic()
    assert 0 == gateway.stop()
    assert DRAIN_S > time.monotonic() - began_s
    assert not os.path.exists(f"/proc/{process}")


def test_what_cannot_be_started_now_is_started_later(gateway: Gateway) -> None:
    """Neither the pages nor a worker, where there are no files for it: the ledger and the other worker go on."""
    until(gateway.all_serve, "a worker doesn't start")
    assert 200 == chat(gateway, "hello").status  # and all that the ledger needs is open
    most = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    victim, other = gateway.workers()
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (3, most[1]))
    try:
        visitor = http.client.HTTPConnection(HOST, gateway.settings.port, timeout=WAIT_S)
        visitor.request("GET", "/sign-in")
        until(lambda: "the process of the pages can't be started" in gateway.log(), "it is started")
        os.kill(victim, signal.SIGKILL)
        until(lambda: " it can't be started" in gateway.log(), "it is started")
        assert 200 == chat(gateway, "hello").status
        assert [other] == gateway.workers()
    finally:
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, most)
    until(lambda: len(gateway.workers()) == 2 and gateway.all_serve(), "there is no other")
    until(lambda: ask(gateway, "GET", "/sign-in", key=None).status == 200, "the pages don't come")
    visitor.close()
