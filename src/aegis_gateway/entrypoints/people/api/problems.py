"""How the control API says that something is wrong: problem details (RFC 9457), in words that say what to do.

Rule: every answer that isn't a success has this form, whoever gave it: ours, the framework's, or the store's.
"""

from __future__ import annotations

import http

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from aegis_gateway.domain.errors import AegisError, CallError, NotPermitted
from aegis_gateway.entrypoints.people.office import Office

PREFIX = "/api/"
_CHALLENGE = {"www-authenticate": 'Bearer realm="aegis"'}


def problem(status: int, detail: str, *, field: str | None = None, **more: object) -> Response:
    """A problem, with the field of the request that is at fault, if one is."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **({"field": field} if field is not None else {}),
        **more,
    }
    headers = _CHALLENGE if status == http.HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def tell_problems(app: FastAPI, office: Office) -> None:
    """Have an application say so."""

    async def told(_request: Request, fault: Exception) -> Response:
        match fault:
            case CallError():
                return problem(fault.status, str(fault), field=fault.field)
            case NotPermitted():
                return problem(403, str(fault))
            case RequestValidationError():
                wrong = [
                    {"field": ".".join(map(str, each["loc"][1:])), "detail": str(each["msg"]).lower()}
                    for each in fault.errors()
                ]
                return problem(
                    422, "; ".join(f"`{each['field']}`: {each['detail']}" for each in wrong), errors=wrong
                )
            case _:
                return problem(503, str(fault))

    async def nowhere(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException), "it is the one kind that is told of here"
        headers = dict(fault.headers or {})
        if request.url.path.startswith(PREFIX):
            detail = f"there is no {request.method} {request.url.path}; see /api/docs for what is"
            response = problem(fault.status_code, detail)
        else:
            page = office.templates.render(
                "failure.html",
                {"person": None, "path": "", "title": "There is nothing here", "words": _NOTHING},
            )
            response = HTMLResponse(page, fault.status_code)
        response.headers.update(headers)
        return response

    app.add_exception_handler(HTTPException, nowhere)
    for kind in (AegisError, RequestValidationError):
        app.add_exception_handler(kind, told)


_NOTHING = "The address may have been cut when it was copied."
