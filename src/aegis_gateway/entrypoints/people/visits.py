"""One request of a browser to a page, from its cookie to its answer, in a thread.

Rule 1: who is signed in is looked up for each request; nobody is remembered.
Rule 2: nothing is done for a form without the proof that this browser was given it (`cookies`).
Rule 3: who isn't signed in is sent to do so and comes back; where they come back to is a path here, nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from aegis_gateway.adapters.attention import Attention, attention
from aegis_gateway.domain.errors import AegisError, NotPermitted
from aegis_gateway.domain.people import Person
from aegis_gateway.domain.session import SignedIn
from aegis_gateway.entrypoints.people.cookies import (
    SESSION,
    VISIT,
    cookies_of,
    csrf_of,
    is_csrf_of,
    set_cookie,
)
from aegis_gateway.entrypoints.people.navigation import COUNTED_MOST, page_of
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.saved.menu import ViewsMenu, views_menu

_FIELDS_MAX = 256
_FORM = "application/x-www-form-urlencoded"

_log = logging.getLogger("aegis.people")


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A request and whoever makes it. `secret` is the browser's, `signed_in` is None where nobody is; `menu` are
    their saved views, for a whole page, and `attention` is what waits in the tenants that they may see.
    """

    office: Office
    method: str
    path: str
    at: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    address: str
    secret: str
    is_new: bool
    signed_in: SignedIn | None
    menu: ViewsMenu | None = None
    attention: Attention = Attention()
    begun_s: float = msgspec.field(default_factory=time.perf_counter)
    begun_cpu_s: float = msgspec.field(default_factory=time.thread_time)

    @property
    def person(self) -> Person:
        """Whoever is signed in; pages that may be seen without don't ask."""
        assert self.signed_in is not None, "the page is shown to people who are signed in"
        return self.signed_in.person

    @property
    def readable(self) -> list[str]:
        """The tenants that whoever is signed in may see, by name."""
        return self.office.readable(self.person)

    @property
    def tenant(self) -> str | None:
        """The tenant that the address is about: the one it names, or else the first. None where they may not see it."""
        readable = self.readable
        named = self.query.get("tenant") or next(iter(readable), "")
        return named if named in readable else None

    @property
    def is_part(self) -> bool:
        """Whether a page that is there asks for a part of itself anew."""
        return "hx-request" in self.headers

    @property
    def is_secure(self) -> bool:
        """Whether the browser came by https: by the settings, or as a proxy says, which only makes it stricter."""
        return self.office.is_secure or self.headers.get("x-forwarded-proto", "") == "https"

    def field(self, name: str) -> str:
        """One field of a form; empty where there is none."""
        return self.form.get(name, ("",))[-1].strip()

    def page(self, template: str, *, status: int = 200, **values: object) -> Response:
        """A page from a template."""
        return self.answer(self.render(template, values), status)

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """A page's text, with what all pages show."""
        return self.office.templates.render(
            template,
            {
                "person": self.signed_in.person if self.signed_in is not None else None,
                "path": self.path,
                "menu": self.menu,
                "attention": self.attention,
                "csrf": csrf_of(self.secret, self.office.pepper),
                "now_ns": self.office.now_ns(),
                **values,
            },
        )

    def answer(self, page: str, status: int = 200) -> Response:
        """A page as it is sent. A browser without a secret is given one, so that its forms can be told."""
        response = HTMLResponse(page, status_code=status)
        if self.is_new:
            cookie = set_cookie(VISIT, self.secret, secure=self.is_secure, seconds=None)
            response.headers.append("set-cookie", cookie)
        return response

    def failure(self, status: int, title: str, words: str) -> Response:
        """A page that says what is wrong and what to do."""
        # What isn't there, or isn't theirs to see, is no view to save: its address isn't shown again.
        menu = None if self.menu is None else msgspec.structs.replace(self.menu, here=None)
        return self.page("failure.html", status=status, title=title, words=words, menu=menu)

    def without_tenant(self) -> Response:
        """What is shown in the place of a page of one tenant: whoever may see none at all is told what to do."""
        if self.readable:
            return self.no_tenant()
        if self.is_part:
            # The page was open when the last role was taken: it is loaded as a whole, and says so.
            return Response(status_code=204, headers={"hx-refresh": "true"})
        page = page_of(self.path)
        return self.page("none.html", title="Overview" if page is None else page.name)

    def no_tenant(self) -> Response:
        """What is said of a tenant that isn't there, or that whoever is signed in may not see."""
        return self.failure(
            404,
            "There is no such tenant",
            "The address may have been cut when it was copied, or it is a tenant that you may not see.",
        )


Handler = Callable[[Visit], Response]


def redirect(path: str) -> Response:
    """Go on at another page, by a GET."""
    return RedirectResponse(path, status_code=303)


def own_path(text: str) -> str:
    """A path to come back to, if it is one of ours; else the first page."""
    is_ours = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_ours and len(text) <= 2_048 else "/"


def page(office: Office, handler: Handler, *, is_open: bool = False) -> Callable[[Request], object]:
    """An endpoint that has a handler answer visits, in a thread. `is_open`: nobody needs to be signed in."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(_answer, office, handler, request, body, is_open)

    return endpoint


def _answer(office: Office, handler: Handler, request: Request, body: bytes, is_open: bool) -> Response:
    visit = _visit(office, request, body, None)
    try:
        cookie = cookies_of(visit.headers.get("cookie", "")).get(SESSION)
        found = office.signed_in(cookie) if cookie else None
        if found is not None and cookie is not None:
            visit = msgspec.structs.replace(visit, signed_in=found, secret=cookie, is_new=False)
            visit = _with_menu(visit, found.person)
        if visit.signed_in is None and not is_open:
            return _sign_in_first(visit, request)
        if visit.method == "POST" and not is_csrf_of(visit.field("csrf"), visit.secret, office.pepper):
            return visit.failure(
                403,
                "This form is not from a page that you were given",
                "Nothing was done. The page was open since before you signed in, or another page sent it. "
                "Go back, reload the page and try again.",
            )
        return handler(visit)
    except NotPermitted as fault:
        return visit.failure(403, "You may not do this", f"{fault}")
    except AegisError as fault:
        _log.warning("a page could not be shown: %s", fault)
        return visit.failure(503, "This can't be shown now", f"{fault}")


def _with_menu(visit: Visit, person: Person) -> Visit:
    """A visit with what its page's menus show. Of saved views nothing is read for a part of a page.

    Before anything else has a store: a thread that held one and waited for another could wait for ever.
    """
    readable = visit.office.readable(person)
    with visit.office.store() as store:
        waits = attention(store.query, readable, COUNTED_MOST + 1)
        menu = None if visit.is_part else views_menu(store, person, readable, visit.path, visit.query)
    return msgspec.structs.replace(visit, menu=menu, attention=waits)


def _visit(office: Office, request: Request, body: bytes, signed_in: SignedIn | None) -> Visit:
    headers = dict(request.headers.items())
    known = cookies_of(headers.get("cookie", "")).get(VISIT)
    return Visit(
        office=office,
        method=request.method,
        path=request.url.path,
        at={name: _storable(str(value)) for name, value in request.path_params.items()},
        query={name: _storable(value) for name, value in request.query_params.items()},
        form=_form(headers.get("content-type", ""), body),
        headers=headers,
        address=request.client.host if request.client else "",
        secret=known or office.random_bytes(32).hex(),
        is_new=known is None,
        signed_in=signed_in,
    )


def _form(content_type: str, body: bytes) -> dict[str, tuple[str, ...]]:
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        return {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), _storable(value))
    return found


def _storable(text: str) -> str:
    """A text that every store takes: none of PostgreSQL's has a NUL, and nothing here is named with one."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _sign_in_first(visit: Visit, request: Request) -> Response:
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if visit.method != "GET":
        section = visit.path.split("/")[1]
        back = "/" if section.startswith("sign-") else f"/{section}"
    address = "/sign-in?" + urlencode({"next": back})
    if visit.is_part:
        # A part of a page that is open: the whole page goes to sign in, not the part.
        return Response(status_code=204, headers={"hx-redirect": address})
    return redirect(address)
