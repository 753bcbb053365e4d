"""The pages on which people sign in and out."""

from __future__ import annotations

from starlette.responses import Response

from aegis_gateway.application.sessions import Begun
from aegis_gateway.domain.errors import NotPermitted
from aegis_gateway.domain.session import SESSION_NS
from aegis_gateway.entrypoints.people.cookies import SESSION, VISIT, set_cookie
from aegis_gateway.entrypoints.people.visits import Visit, own_path, redirect
from aegis_gateway.entrypoints.people.words import sentence

_SESSION_S = SESSION_NS // 1_000_000_000


def show_sign_in(visit: Visit) -> Response:
    """The form; with a link in the address, one button: neither a look at a link nor a preview of it uses it up."""
    back = own_path(visit.query.get("next", "/"))
    if visit.signed_in is not None and "link" not in visit.query:
        return redirect(back)
    return _form(visit, back, link=visit.query.get("link", ""))


def sign_in(visit: Visit) -> Response:
    """Begin a session, if what was shown lets somebody in."""
    office, back, link = visit.office, own_path(visit.field("next") or "/"), visit.field("link")
    wait_s = office.attempts.wait_s(visit.address)
    if wait_s:
        words = f"Too many attempts from your address. Try again in {wait_s} s."
        response = _form(visit, back, link=link, status=429, error=words)
        response.headers["retry-after"] = str(wait_s)
        return response
    try:
        with office.store() as store:
            sessions = office.sessions(store)
            begun = sessions.begin_by_link(link) if link else sessions.begin_by_token(visit.field("token"))
    except NotPermitted as fault:
        office.attempts.fail(visit.address)
        return _form(visit, back, link="", status=403, error=sentence(str(fault)))
    return _begin(visit, begun, back)


def sign_out(visit: Visit) -> Response:
    """End the session: it is worth nothing afterwards, whoever has kept its cookie."""
    with visit.office.store() as store:
        visit.office.sessions(store).end(visit.secret)
    return signed_out(visit)


def signed_out(visit: Visit) -> Response:
    """What a browser is told whose session is over."""
    response = redirect("/sign-in")
    response.headers.append("set-cookie", set_cookie(SESSION, "", secure=visit.is_secure, seconds=0))
    return response


def _begin(visit: Visit, begun: Begun, back: str) -> Response:
    response = redirect(back)
    secure = visit.is_secure
    response.headers.append(
        "set-cookie", set_cookie(SESSION, begun.secret, secure=secure, seconds=_SESSION_S)
    )
    response.headers.append("set-cookie", set_cookie(VISIT, "", secure=secure, seconds=0))
    return response


def _form(visit: Visit, back: str, *, link: str, status: int = 200, error: str = "") -> Response:
    is_local = not visit.office.has_people()
    return visit.page("sign_in.html", status=status, back=back, link=link, error=error, is_local=is_local)
