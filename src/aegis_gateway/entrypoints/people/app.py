"""The application of pages and control API: which address leads where."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import cast

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aegis_gateway import bootstrap
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.pace import ReadPace
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.entrypoints.agents.policy_texts import PolicyTexts
from aegis_gateway.entrypoints.data_plane.mcp.origins import Origins
from aegis_gateway.entrypoints.people import signing_in
from aegis_gateway.entrypoints.people.agents.routes import agent_routes
from aegis_gateway.entrypoints.people.api import agents as agents_api
from aegis_gateway.entrypoints.people.api import audit as audit_api
from aegis_gateway.entrypoints.people.api import calls as calls_api
from aegis_gateway.entrypoints.people.api import kpi as kpi_api
from aegis_gateway.entrypoints.people.api import notifications as notifications_api
from aegis_gateway.entrypoints.people.api import report as report_api
from aegis_gateway.entrypoints.people.api import rollout as rollout_api
from aegis_gateway.entrypoints.people.api.manual import operations
from aegis_gateway.entrypoints.people.api.operations import router
from aegis_gateway.entrypoints.people.api.problems import tell_problems
from aegis_gateway.entrypoints.people.approvals import pages as approvals
from aegis_gateway.entrypoints.people.audit.routes import audit_routes
from aegis_gateway.entrypoints.people.bridge import Application, AsgiApp
from aegis_gateway.entrypoints.people.budgets import pages as budgets
from aegis_gateway.entrypoints.people.calls import pages as calls
from aegis_gateway.entrypoints.people.incidents import pages as incidents
from aegis_gateway.entrypoints.people.kpi import pages as kpi
from aegis_gateway.entrypoints.people.live.looker import StoreLooker
from aegis_gateway.entrypoints.people.live.pages import LivePages
from aegis_gateway.entrypoints.people.live.watch import Watch
from aegis_gateway.entrypoints.people.metrics.door import MetricsDoor
from aegis_gateway.entrypoints.people.notifications import pages as notifications
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.overview import pages as overview
from aegis_gateway.entrypoints.people.policies.routes import policy_routes
from aegis_gateway.entrypoints.people.pool import StorePool
from aegis_gateway.entrypoints.people.rendering import static_files
from aegis_gateway.entrypoints.people.report.pages import ReportPages
from aegis_gateway.entrypoints.people.rollout.pages import RolloutPages
from aegis_gateway.entrypoints.people.runs import pages as runs
from aegis_gateway.entrypoints.people.saved import pages as saved
from aegis_gateway.entrypoints.people.security import Secured
from aegis_gateway.entrypoints.people.settings.pages import SettingsPages
from aegis_gateway.entrypoints.people.shadow.pages import ShadowPages
from aegis_gateway.entrypoints.people.slack.door import SlackDoor
from aegis_gateway.entrypoints.people.visits import Handler, Visit, page
from aegis_gateway.entrypoints.rollout import Rollouts

THREADS = 2
"""How many answers are worked out at once, each with a store of its own."""

_SIGNED_BY_ITSELF = ("/slack/",)
_A_YEAR = "public, max-age=31536000, immutable"


def bound_threads() -> None:
    """Have the running event loop work out so many answers at once."""
    current_default_thread_limiter().total_tokens = THREADS


def build(
    settings: Settings, tenants: Callable[[], Mapping[str, TenantView]], read_pace: ReadPace
) -> Application:
    """The application on an installation. `tenants` are those in force now; `read_pace` says how fast calls go."""
    office = Office(
        StorePool(lambda: bootstrap.store(settings), THREADS),
        bootstrap.pepper(settings),
        os.urandom,
        bootstrap.system_clock().now_ns,
        tenants,
        bootstrap.VerifiedRegistries(settings),
        is_secure=settings.pages_url.startswith("https:"),
        trace_url=settings.trace_url,
    )
    watch = Watch(StoreLooker(StorePool(lambda: bootstrap.store(settings), 1), office.now_ns), tenants)
    url = settings.pages_url
    rollouts = Rollouts(settings)
    texts = PolicyTexts(settings)
    app = FastAPI(
        title="Aegis control API",
        version="1",
        description="What people do on pages and by commands, for programs in their name.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        routes=[
            Route("/live", page(office, LivePages(watch).listen), methods=["GET"]),
            *_pages(office, settings, rollouts),
            *agent_routes(office, settings, texts),
            *_slack(office, url),
            Route(
                "/metrics",
                MetricsDoor(office, (settings.host, *settings.page_hosts), read_pace).endpoint,
                methods=["GET"],
            ),
        ],
    )
    app.state.office = office
    app.state.policy_texts = texts
    app.include_router(router)
    app.include_router(audit_api.router(settings))
    app.include_router(notifications_api.router)
    app.include_router(kpi_api.router)
    app.include_router(calls_api.router)
    app.include_router(rollout_api.router(rollouts))
    app.include_router(agents_api.router)
    app.include_router(report_api.router(rollouts))
    tell_problems(app, office)

    def show_manual(visit: Visit) -> Response:
        return visit.page("api.html", operations=operations(app.openapi(), url))

    app.router.routes.append(Route("/api/docs", page(office, show_manual, is_open=True), methods=["GET"]))
    secured = Secured(
        cast(AsgiApp, app), Origins(settings.host, settings.page_hosts), trusted_prefixes=_SIGNED_BY_ITSELF
    )
    paths = tuple(
        each.path for each in app.routes if isinstance(each, Route) and "GET" in (each.methods or ())
    )
    return Application(app=secured, hang_up=watch.close, paths=paths)


def _pages(office: Office, settings: Settings, rollouts: Rollouts) -> list[Route]:
    shadow, rollout, report = ShadowPages(settings), RolloutPages(rollouts), ReportPages(settings, rollouts)
    own = SettingsPages(settings)

    def get(path: str, handler: Handler, *, is_open: bool = False) -> Route:
        return Route(path, page(office, handler, is_open=is_open), methods=["GET"])

    def post(path: str, handler: Handler, *, is_open: bool = False) -> Route:
        return Route(path, page(office, handler, is_open=is_open), methods=["POST"])

    return [
        get("/", overview.show_overview),
        get("/overview/series", overview.show_series),
        get("/overview/table.{ending}", overview.export_table),
        get("/overview/days/table.{ending}", overview.export_days),
        get("/overview/figures/table.{ending}", overview.export_figures),
        get("/budgets", budgets.show_all),
        get("/budgets/table.{ending}", budgets.export_all),
        get("/budgets/{tenant}/{budget}", budgets.show_one),
        get("/budgets/{tenant}/{budget}/course", budgets.show_course),
        get("/budgets/{tenant}/{budget}/{table}/table.{ending}", budgets.export_one),
        get("/calls", calls.show_all),
        get("/calls/table.{ending}", calls.export_table),
        get("/calls/{tenant}/{call}", calls.show_one),
        get("/kpi", kpi.show_figures),
        get("/kpi/table.{ending}", kpi.export_table),
        get("/kpi/work", kpi.show_work),
        get("/kpi/work/table.{ending}", kpi.export_work),
        get("/runs/{tenant}/{run}", runs.show_one),
        get("/runs/{tenant}/{run}/table.{ending}", runs.export_one),
        get("/settings", own.show),
        post("/settings/sessions", own.end_sessions),
        post("/views", saved.save_view),
        post("/views/{view}", saved.change_view),
        get("/sign-in", signing_in.show_sign_in, is_open=True),
        post("/sign-in", signing_in.sign_in, is_open=True),
        post("/sign-out", signing_in.sign_out),
        get("/approvals", approvals.show_inbox),
        get("/approvals/table.{ending}", approvals.export_waiting),
        get("/approvals/decided", approvals.show_decided),
        get("/approvals/decided/table.{ending}", approvals.export_decided),
        get("/approvals/{approval}", approvals.show_one),
        post("/approvals/{approval}", approvals.answer_one),
        get("/approvals/{tenant}/{approval}", approvals.go_to_one),
        get("/incidents", incidents.show_all),
        get("/incidents/table.{ending}", incidents.export_all),
        get("/incidents/{tenant}/{incident}", incidents.show_one),
        post("/incidents/{tenant}/{incident}", incidents.close_one),
        get("/notifications", notifications.show_all),
        get("/notifications/table.{ending}", notifications.export_all),
        post("/notifications", notifications.retry_all),
        get("/notifications/{delivery}", notifications.show_one),
        post("/notifications/{delivery}", notifications.retry_one),
        get("/report", report.show),
        post("/report", report.send),
        get("/report/{table}/table.{ending}", report.export),
        get("/rollout", rollout.show),
        post("/rollout", rollout.review),
        *policy_routes(office, settings),
        *audit_routes(office, settings),
        get("/shadow", shadow.show_tenants),
        get("/shadow/{tenant}", shadow.show_all),
        get("/shadow/{tenant}/table.{ending}", shadow.export_all),
        get("/shadow/{tenant}/{rule}", shadow.show_one),
        post("/shadow/{tenant}/{rule}", shadow.enforce_one),
        Route("/static/{name}", _static, methods=["GET"]),
    ]


def _slack(office: Office, pages_url: str) -> list[Route]:
    door = SlackDoor(office, bootstrap.reference_secrets(), pages_url)
    return [Route("/slack/interactions", door.endpoint, methods=["POST"])]


async def _static(request: Request) -> Response:
    file = static_files().get(request.path_params["name"])
    if file is None:
        return Response("there is no such file\n", status_code=404, media_type="text/plain")
    headers = {"cache-control": _A_YEAR, "etag": f'"{file.tag}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers={**headers, "content-type": file.type})
