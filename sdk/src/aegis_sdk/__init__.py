"""The SDK of Aegis: what agents' code asks the gateway before it runs a tool, and tells it after.

from aegis_sdk import guard

@guard(tool="desk.crawl")
def crawl(pages: int) -> dict[str, int]: …
"""

from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import Run, add_headers, add_headers_async, current_headers, current_run, report
from aegis_sdk.decision import Approval, Decision, OpenedRun, Reason, RunOutcome, Settlement, ToolCall
from aegis_sdk.errors import (
    AegisError,
    AlreadyDone,
    ApprovalRequired,
    BudgetExhausted,
    Denied,
    InvalidRequest,
    NotRun,
    RateLimited,
    Refused,
    TooManyRuns,
    Unauthorized,
    Unavailable,
)
from aegis_sdk.estimate import BudgetLeft, CheaperModel, Estimate
from aegis_sdk.guard import guard
from aegis_sdk.runs import run
from aegis_sdk.tracing import Trace, in_trace

__all__ = [
    "Aegis",
    "AegisError",
    "AlreadyDone",
    "Approval",
    "ApprovalRequired",
    "AsyncAegis",
    "BudgetExhausted",
    "BudgetLeft",
    "CheaperModel",
    "Decision",
    "Denied",
    "Estimate",
    "InvalidRequest",
    "NotRun",
    "OpenedRun",
    "RateLimited",
    "Reason",
    "Refused",
    "Run",
    "RunOutcome",
    "Settlement",
    "TooManyRuns",
    "ToolCall",
    "Trace",
    "Unauthorized",
    "Unavailable",
    "add_headers",
    "add_headers_async",
    "current_headers",
    "current_run",
    "guard",
    "in_trace",
    "report",
    "run",
]
