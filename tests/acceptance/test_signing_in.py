"""The pages' door: who is let in, by what, for how long; and what every answer says to a browser."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.people.attempts import ATTEMPTS
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import Answer, Gateway, ask, configuration, exchange

pytestmark = pytest.mark.xdist_group("signing-in")

UPSTREAM = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway that nobody calls."""
    with Gateway(configuration(UPSTREAM)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Ana, an admin, and ben and eve, approvers."""
    assert "Nobody has an account yet" in text_of(Visitor(gateway).get("/sign-in"))
    staff = Staff(gateway)
    for person in ("ben", "eve", "kim"):
        staff.add(person, Grant(role="approver", tenant="acme"))
    return staff


@pytest.fixture
def ben(gateway: Gateway, staff: Staff) -> Visitor:
    """Ben, who is signed in."""
    visitor = Visitor(gateway)
    answer = visitor.sign_in(staff.tokens["ben"])
    assert (303, "/approvals") == (answer.status, answer.headers["location"])
    return visitor


def where(answer: Answer) -> tuple[int, str]:
    """The status, and where the browser is sent."""
    return answer.status, answer.headers.get("location", "")


def test_a_token_signs_in(gateway: Gateway, ben: Visitor) -> None:
    """From then on pages are shown, by name; somebody else with another cookie is sent to sign in."""
    page = ben.get("/approvals")
    assert (200, True) == (page.status, "Ben" in text_of(page))
    stranger = Visitor(gateway)
    cookie = ben.cookies["aegis_session"]
    stranger.cookies["aegis_session"] = cookie[:-1] + ("1" if cookie.endswith("0") else "0")
    assert (303, "/sign-in?next=%2Fapprovals%3Fx%3D1") == where(stranger.get("/approvals?x=1"))


def test_the_cookie(gateway: Gateway, staff: Staff) -> None:
    """Scripts don't see it, other sites' forms don't carry it, and by https it goes by https alone."""
    begun = Visitor(gateway)
    answer = begun.sign_in(staff.tokens["eve"])
    assert "secure" not in answer.headers["set-cookie"].lower()
    visitor = Visitor(gateway)
    page = visitor.get("/sign-in", {"x-forwarded-proto": "https"})
    assert page.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
    kept = [bytes(row["hash"]).hex() for row in gateway.query("select hash from session")]
    assert begun.cookies["aegis_session"] not in kept


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "was it cut or mistyped"),
        ("aegis_person_" + "0" * 36, "was it cut or mistyped"),
        ("aegis_person_000000000000000000000000000000" + "2SJpDI", "mistyped"),
        ("x" * 5_000, "was it cut or mistyped"),
    ],
)
def test_what_is_no_token(gateway: Gateway, staff: Staff, token: str, words: str) -> None:
    """Says so, and lets nobody in."""
    visitor = Visitor(gateway)
    answer = visitor.submit("/sign-in", "/sign-in", token=token)
    assert (403, True) == (answer.status, words in text_of(answer))
    assert "aegis_session" not in visitor.cookies
    assert token[:60] not in text_of(answer) or not token


def test_a_link_signs_in_once(gateway: Gateway, staff: Staff) -> None:
    """A look at it changes nothing; the button uses it up, for whoever has it."""
    link = staff.link("eve")
    visitor, other = Visitor(gateway), Visitor(gateway)
    secret = link.partition("=")[2]
    for who in (visitor, other, visitor):
        assert "signs you in once" in text_of(who.get(link))
    answer = visitor.submit(link, "/sign-in", link=secret, next="/approvals")
    assert (303, "/approvals") == where(answer)
    assert "Eve" in text_of(visitor.get("/approvals"))
    answer = other.submit(link, "/sign-in", link=secret)
    assert (403, True) == (answer.status, "used already" in text_of(answer))


def test_a_link_of_somebody_elses_making_is_their_word_too(gateway: Gateway, staff: Staff) -> None:
    """The session's word is that of both, as a token's is that others have seen."""
    with staff.people("ana") as people:
        link = people.issue_link("eve").secret
    Visitor(gateway).submit("/sign-in", "/sign-in", link=link)
    assert '["ana"]' in [row["seen_by"] for row in gateway.query("select seen_by from session")]


def test_a_form_of_elsewhere_does_nothing(gateway: Gateway, staff: Staff, ben: Visitor) -> None:
    """Without the proof, with another browser's, or from a page of another host: nothing is done."""
    other = Visitor(gateway)
    other.sign_in(staff.tokens["eve"])
    for forged in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": csrf_on(other.get("/approvals"))}):
        assert 403 == ben.post("/sign-out", forged).status
    csrf = csrf_on(ben.get("/approvals"))
    assert 403 == ben.post("/sign-out", {"csrf": csrf}, {"origin": "https://evil.example"}).status
    assert 403 == ben.post("/sign-out", {"csrf": csrf}, {"origin": "null"}).status
    assert 200 == ben.get("/approvals").status
    assert (303, "/sign-in") == where(ben.post("/sign-out", {"csrf": csrf}, {"origin": gateway.url}))


def test_who_signs_out_is_out(ben: Visitor) -> None:
    """Whoever kept the cookie has nothing."""
    kept = dict(ben.cookies)
    assert (303, "/sign-in") == where(ben.submit("/approvals", "/sign-out"))
    ben.cookies = kept
    assert 303 == ben.get("/approvals").status


def test_a_session_ends_with_its_token_and_its_person(gateway: Gateway, staff: Staff) -> None:
    """At the next request, wherever it goes."""
    visitor, again = Visitor(gateway), Visitor(gateway)
    visitor.sign_in(staff.tokens["kim"])
    token = gateway.query("select token from person_token where person = 'kim'")[0]["token"]
    with staff.people() as people:
        people.revoke_token(token)
    assert 303 == visitor.get("/approvals").status
    assert "was revoked" in text_of(again.sign_in(staff.tokens["kim"]))
    link = staff.link("eve")
    again.submit(link, "/sign-in", link=link.partition("=")[2])
    assert 200 == again.get("/approvals").status
    with staff.people() as people:
        people.suspend("eve")
    assert 303 == again.get("/approvals").status
    assert "suspended" in text_of(Visitor(gateway).sign_in(staff.tokens["eve"]))
    with staff.people() as people:
        people.resume("eve")


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", ""]
)
def test_nobody_is_sent_elsewhere(gateway: Gateway, staff: Staff, back: str) -> None:
    """Where to come back to is a path here."""
    answer = Visitor(gateway).submit("/sign-in", "/sign-in", token=staff.tokens["ben"], next=back)
    assert (303, "/") == where(answer)
    page = text_of(Visitor(gateway).get(f"/sign-in?next={quote(back)}"))
    assert 'name="next" value="/"' in page


def test_what_every_answer_says(ben: Visitor) -> None:
    """To browsers: own files only, no frames, no guessing, nothing kept; also where something is wrong."""
    for path, status in (
        ("/approvals", 200),
        ("/sign-in", 303),
        ("/static/aegis.css", 200),
        ("/api/none", 404),
    ):
        answer = ben.get(path)
        assert status == answer.status
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert ("nosniff", "DENY", "same-origin") == (
            answer.headers["x-content-type-options"],
            answer.headers["x-frame-options"],
            answer.headers["referrer-policy"],
        )
        assert "no-store" in answer.headers["cache-control"] or path.startswith("/static")


def test_names_that_lead_here(gateway: Gateway) -> None:
    """A page whose name was made to resolve to this machine is answered nothing (DNS rebinding)."""
    for host, status in (("evil.example", 403), ("localhost:1", 200), ("127.0.0.1", 200)):
        answer = ask(gateway, "GET", "/sign-in", key=None, headers={"host": host})
        assert status == answer.status


def test_files_are_kept_and_nothing_else_is_given(gateway: Gateway) -> None:
    """A file's address changes with it, so browsers need never ask again; there is no way out of the folder."""
    answer = ask(gateway, "GET", "/static/aegis.css", key=None)
    assert "immutable" in answer.headers["cache-control"]
    same = ask(
        gateway, "GET", "/static/aegis.css", key=None, headers={"if-none-match": answer.headers["etag"]}
    )
    assert (304, b"") == (same.status, same.body)
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/",
        "/static/x",
    ):
        assert 404 == ask(gateway, "GET", path, key=None).status


def test_heads_and_odd_requests(gateway: Gateway) -> None:
    """A HEAD is told what a GET would be, without it; what is too long is refused, in words."""
    head = exchange(gateway, b"HEAD /sign-in HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"<html" not in head
    long = (
        b"POST /sign-in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048577\r\nconnection: close\r\n\r\n"
    )
    assert exchange(gateway, long).startswith(b"HTTP/1.1 413")
    wide = b"GET /sign-in HTTP/1.1\r\nhost: localhost\r\nx: %s\r\nconnection: close\r\n\r\n" % (b"x" * 40_000)
    assert exchange(gateway, wide).startswith(b"HTTP/1.1 431")
    assert 405 == ask(gateway, "DELETE", "/sign-in", key=None).status


def test_paths_of_calls_are_not_peoples(gateway: Gateway) -> None:
    """What belongs to neither is told as it was before there were pages."""
    for path in ("/v1/nothing", "/approvalsx", "/staticfile", "/x"):
        answer = ask(gateway, "GET", path, key=None)
        assert 404 == answer.status
        assert "content-security-policy" not in answer.headers


def test_who_tries_again_and_again_waits(staff: Staff, gateway: Gateway) -> None:
    """Last here, since it holds for the address."""
    statuses = [
        Visitor(gateway).submit("/sign-in", "/sign-in", token="no").status for _ in range(ATTEMPTS + 1)
    ]
    assert {403, 429} >= set(statuses)
    answer = Visitor(gateway).submit("/sign-in", "/sign-in", token="no")
    assert 429 == answer.status
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert 429 == Visitor(gateway).sign_in(staff.tokens["ben"]).status
