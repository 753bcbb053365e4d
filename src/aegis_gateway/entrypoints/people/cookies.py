"""The cookies of a browser, and the proof that a form came from a page that we gave to it.

Rule 1: a browser has one secret: its session's, or before that a visit's, which lets it do nothing.
Rule 2: a form carries the keyed hash of that secret (`csrf`). Who can't read our pages can't know it, and one that was
        given to another browser, or before signing in, is worth nothing.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie

from aegis_gateway.application.sessions import secret_digest

SESSION = "aegis_session"
VISIT = "aegis_visit"


def cookies_of(header: str) -> dict[str, str]:
    """What a `Cookie` header says; nothing where it can't be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def set_cookie(name: str, value: str, *, secure: bool, seconds: int | None) -> str:
    """The `Set-Cookie` header of a secret; `seconds` 0 takes it back, None keeps it while the browser runs."""
    age = "" if seconds is None else f"; Max-Age={seconds}"
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{'; Secure' if secure else ''}"


def csrf_of(secret: str, pepper: bytes) -> str:
    """What a form carries of the browser that it was given to."""
    return secret_digest("csrf", secret, pepper).hex()


def is_csrf_of(given: str, secret: str, pepper: bytes) -> bool:
    """Whether a form was given to the browser that sent it."""
    return hmac.compare_digest(given.encode(), csrf_of(secret, pepper).encode())
